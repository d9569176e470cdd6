import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { termMax } from "../../base/cluster-limits.ts";
import { decodeRound, encodeRound, findLaterRound, type HardStateChanges, roundHeadBytes } from "./hard-state-round.ts";

const seed = 7;
const vote = { nodeId: "n1", storageId: "disk-1/0" };
const changes: HardStateChanges = new Map([
  ["group-a", { term: 3, vote }],
  ["group-b", { term: termMax, vote: undefined }],
  ["group-c", undefined],
]);

describe("a round of hard states", () => {
  test("is read as it was written, wherever it lies", () => {
    const round = encodeRound(12, changes, seed);
    assert.equal(round.length % 8, 0);
    const bytes = Buffer.concat([Buffer.alloc(16, 0xff), round, Buffer.alloc(8, 0xff)]);
    assert.deepEqual(decodeRound(bytes, 16, seed), { sequence: 12, changes, byteLength: round.length });
    const empty = encodeRound(1, new Map(), seed);
    assert.equal(empty.length, roundHeadBytes);
    assert.deepEqual(decodeRound(empty, 0, seed)?.changes, new Map());
  });

  test("with any bit flipped, or any byte missing, it is none", () => {
    const round = encodeRound(12, changes, seed);
    for (let at = 0; at < round.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Buffer.from(round);
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
        assert.equal(decodeRound(flipped, 0, seed), undefined, `byte ${at}, bit ${bit}`);
      }
      assert.equal(decodeRound(round.subarray(0, at), 0, seed), undefined);
    }
    assert.equal(decodeRound(round, 0, seed + 1), undefined, "nor under another seed");
  });

  test("a later one is found among bad bytes, and an earlier one isn't", () => {
    const bytes = Buffer.alloc(4096, 0x4c);
    const at = 8 * 77;
    encodeRound(5, changes, seed).copy(bytes, at);
    assert.equal(findLaterRound(bytes, 0, 4, seed), at);
    assert.equal(findLaterRound(bytes, at + 8, 4, seed), undefined);
    assert.equal(findLaterRound(bytes, 0, 5, seed), undefined);
  });

  test("names of 1 to 255 bytes fit", () => {
    const longest = new Map([["g".repeat(255), { term: 1, vote: { nodeId: "n".repeat(255), storageId: "s".repeat(255) } }]]);
    assert.deepEqual(decodeRound(encodeRound(1, longest, seed), 0, seed)?.changes, longest);
    for (const name of ["", "g".repeat(256), "é".repeat(128)])
      assert.throws(() => encodeRound(1, new Map([[name, undefined]]), seed), /1 to 255 bytes/);
    assert.throws(() => encodeRound(1, new Map([["g", { term: termMax + 1, vote: undefined }]]), seed), /32 bits/);
  });
});
