import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { peerHelloMaxBytes } from "../base/cluster-limits.ts";
import { agreePeerVersion, decodePeerHello, encodePeerHello, type PeerHello } from "./peer-hello.ts";

const hello: PeerHello = {
  version: 1,
  oldestVersion: 1,
  purpose: "questions",
  life: "0102030405060708",
  bootCounter: 258,
  clusterId: undefined,
  nodeId: "a",
  storageId: "00ff",
  address: "a:8000",
};

describe("a hello between nodes", () => {
  test("has these bytes", () => {
    assert.equal(
      encodePeerHello(hello).toString("hex"),
      "0100010001010203040506070802010000000000000000010061040030306666060061" + "3a38303030",
    );
  });

  test("is read as it was written, and passes over what a later version says behind it", () => {
    const names = fc.string({ minLength: 1, maxLength: 50, unit: "grapheme" });
    const hellos = fc
      .record({ names: fc.array(names, { minLength: 4, maxLength: 4 }), bootCounter: fc.maxSafeNat(), inCluster: fc.boolean() })
      .map(({ names: [clusterId = "c", nodeId = "n", storageId = "s", address = ""], bootCounter, inCluster }) => ({
        ...hello,
        ...{ clusterId: inCluster ? clusterId : undefined, nodeId, storageId, address, bootCounter },
      }));
    fc.assert(
      fc.property(hellos, (drawn) => {
        const bytes = encodePeerHello(drawn);
        assert.deepEqual(decodePeerHello(bytes), drawn);
        assert.deepEqual(decodePeerHello(Buffer.concat([bytes, Buffer.from("more")])), drawn);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test("at its limit it is written, and beyond it isn't", () => {
    const rest = encodePeerHello({ ...hello, address: "" }).length;
    const longest = { ...hello, address: "x".repeat(peerHelloMaxBytes - rest) };
    assert.equal(encodePeerHello(longest).length, peerHelloMaxBytes);
    assert.throws(() => encodePeerHello({ ...longest, address: `${longest.address}x` }), { code: "INVALID_ARGUMENT" });
  });

  test("cut short, without a name, contradicting itself or not in UTF-8 it is refused", () => {
    const bytes = encodePeerHello(hello);
    for (let length = 0; length < bytes.length; length += 1)
      assert.throws(() => decodePeerHello(bytes.subarray(0, length)), { code: "PEER_REFUSED" });
    for (const wrong of [
      { ...hello, nodeId: "" },
      { ...hello, storageId: "" },
      { ...hello, oldestVersion: 2 },
    ])
      assert.throws(() => decodePeerHello(encodePeerHello(wrong)), { code: "PEER_REFUSED" });
    for (const [at, byte] of [
      [4, 2],
      [20, 0xff],
      [25, 0xff],
    ] as const) {
      const other = Buffer.from(bytes);
      other[at] = byte;
      assert.throws(() => decodePeerHello(other), { code: "PEER_REFUSED" }, `byte ${at}`);
    }
  });

  test("two ends speak the newest version that both know, or none", () => {
    const agree = (ours: [number, number], theirs: [number, number]): number =>
      agreePeerVersion(
        { oldestVersion: ours[0], version: ours[1] },
        { oldestVersion: theirs[0], version: theirs[1], nodeId: "b" },
      );
    assert.equal(agree([1, 1], [1, 1]), 1);
    assert.equal(agree([1, 3], [2, 5]), 3);
    assert.equal(agree([2, 5], [1, 3]), 3);
    assert.throws(() => agree([1, 1], [2, 3]), {
      code: "PEER_REFUSED",
      message: /b: it speaks versions 2 to 3 .* this node 1 to 1/,
    });
    assert.throws(() => agree([2, 3], [1, 1]), { code: "PEER_REFUSED", details: { version: 1 } });
  });
});
