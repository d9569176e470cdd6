import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { peerAssemblyBytes } from "../base/cluster-limits.ts";
import { MiB } from "../base/units.ts";
import { encodePeerFrame, PeerDeframer, type PeerFrame, peerFrameTypes, type PeerFrameType, peerMagic } from "./peer-frame.ts";

describe("frames between nodes", () => {
  test("they have these bytes", () => {
    assert.equal(peerMagic.toString("hex"), "00504c5045455231");
    assert.equal(joined("ping").toString("hex"), "01000000727da9a907");
    assert.equal(joined("cancel", "01000000").toString("hex"), "0500000088b736dc0601000000");
    assert.equal(joined("answer", "01000000", "626f6479").toString("hex"), "09000000db155ff60401000000626f6479");
    // Of messages the crc covers the heads, so it is the same whatever the entries are.
    assert.equal(joined("messages", "01000000aa", "0102").toString("hex"), "080000009449338f0201000000aa0102");
    assert.equal(joined("messages", "01000000aa", "0103").toString("hex"), "080000009449338f0201000000aa0103");
  });

  test("a stream is cut into the same frames however it comes in pieces", () => {
    const frames = fc.array(
      fc.record({
        type: fc.constantFrom(...types),
        payload: fc.uint8Array({ maxLength: 60 }),
        body: fc.uint8Array({ maxLength: 60 }),
      }),
      { maxLength: 6 },
    );
    const cuts = fc.array(fc.nat(60), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(frames, cuts, (sent, sizes) => {
        const written = sent.map(({ type, payload, body }) => {
          // What lies before the entries begins with its own length.
          const head = type === "messages" ? Buffer.concat([lengthOf(payload.length), payload]) : Buffer.from(payload);
          return { type, head, body: Buffer.from(body) };
        });
        const stream = Buffer.concat(
          written.flatMap(({ type, head, body }) => encodePeerFrame(type, head, [body], type !== "messages")),
        );
        const got: PeerFrame[] = [];
        const deframer = new PeerDeframer(
          () => 1000,
          (frame) => got.push(frame),
        );
        let at = 0;
        for (let turn = 0; at < stream.length; turn += 1) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0);
          deframer.push(stream.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(
          got.map(({ type, payload }) => [type, payload.toString("hex")]),
          written.map(({ type, head, body }) => [type, Buffer.concat([head, body]).toString("hex")]),
        );
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test("a bit flipped anywhere but in entries is found", () => {
    const frame = joined("messages", "03000000aabbcc", "00112233");
    for (let bit = 0; bit < 8 * (frame.length - 4); bit += 1) {
      const flipped = Buffer.from(frame);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const got: PeerFrame[] = [];
      const deframer = new PeerDeframer(
        () => 100,
        (found) => got.push(found),
      );
      try {
        deframer.push(flipped);
        // A length that became larger waits for what never comes.
        assert.equal(got.length, 0, `bit ${bit}`);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "PEER_REFUSED");
      }
    }
  });

  test("a payload at its type's limit is taken, one beyond is refused by its first nine bytes", () => {
    const got: PeerFrame[] = [];
    const limited = (): PeerDeframer =>
      new PeerDeframer(
        (type) => (type === "answer" ? 10 : undefined),
        (frame) => got.push(frame),
      );
    limited().push(joined("answer", "00".repeat(10)));
    assert.equal(got.length, 1);
    assert.throws(() => limited().push(joined("answer", "00".repeat(11)).subarray(0, 9)), {
      code: "PEER_REFUSED",
      message: /limit is 10/,
    });
    assert.throws(() => limited().push(joined("ping")), { code: "PEER_REFUSED", message: /isn't to come now/ });
    for (const start of ["010000000000000000", "010000000000000009", "000000000000000007", "474554202f20485454"])
      assert.throws(() => limited().push(Buffer.from(start, "hex")), { code: "PEER_REFUSED" });
  });

  test("a length alone allocates no more than the first buffer, and tiny pieces add up to the frame", () => {
    const frame = joined("answer", Buffer.alloc(3 * MiB, "x").toString("hex"));
    const got: PeerFrame[] = [];
    const deframer = new PeerDeframer(
      () => 32 * MiB,
      (found) => got.push(found),
    );
    const before = process.memoryUsage().arrayBuffers;
    deframer.push(frame.subarray(0, 10));
    assert.ok(process.memoryUsage().arrayBuffers - before <= 2 * peerAssemblyBytes);
    for (let at = 10; at < frame.length; at += 1000) deframer.push(frame.subarray(at, at + 1000));
    assert.ok(got[0]?.payload.equals(frame.subarray(9)));
  });

  test("once stopped it hands on nothing, not even what lies in the same chunk", () => {
    const got: PeerFrame[] = [];
    const deframer: PeerDeframer = new PeerDeframer(
      () => 10,
      (frame) => {
        got.push(frame);
        deframer.stop();
      },
    );
    deframer.push(Buffer.concat([joined("ping"), joined("pong")]));
    deframer.push(joined("pong"));
    assert.deepEqual(
      got.map(({ type }) => type),
      ["ping"],
    );
  });
});

const types = Object.keys(peerFrameTypes) as PeerFrameType[];

/** `head` and `body` in hex. */
function joined(type: PeerFrameType, head = "", body = ""): Buffer {
  return Buffer.concat(encodePeerFrame(type, Buffer.from(head, "hex"), [Buffer.from(body, "hex")], type !== "messages"));
}

function lengthOf(count: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(count);
  return bytes;
}
