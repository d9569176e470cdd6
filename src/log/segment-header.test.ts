import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { ChainPoint } from "./chain.ts";
import { dumbFrame } from "./dumb-frame.ts";
import { encodeSegmentHeader, readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";

const logId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const before: ChainPoint = { index: 81_733, term: 4, nextOffset: 90_000, appendTime: 1_760_000_000_123 };
const header = encodeSegmentHeader({ logId, createdAt: 1_760_000_000_456 }, before, 81_730);

function payloadOf(
  fields: { readonly magic?: string; readonly baseIndex?: bigint; readonly formatVersion?: number } = {},
): Buffer {
  const payload = Buffer.alloc(72);
  payload.write(fields.magic ?? "PLSTORE1", "latin1");
  logId.copy(payload, 8);
  payload.writeBigUInt64LE(fields.baseIndex ?? 81_734n, 24);
  payload.writeBigUInt64LE(90_000n, 32);
  payload.writeUInt32LE(4, 40);
  payload.writeUInt32LE(fields.formatVersion ?? 1, 44);
  payload.writeBigUInt64LE(1_760_000_000_456n, 48);
  return payload;
}

function dumbHeader(fields: Parameters<typeof dumbFrame>[0] = {}): Buffer {
  const frame = { kind: 1, index: 81_733n, term: 4, baseOffset: 90_000n, appendTime: 1_760_000_000_123n, syncedBack: 3 };
  return dumbFrame({ ...frame, payload: payloadOf(), ...fields }, logId);
}

function faultOf(bytes: Buffer): string | undefined {
  const read = readSegmentHeader(bytes);
  return "fault" in read ? read.fault : undefined;
}

describe("segment header", () => {
  test("its 128 bytes are those of docs/format.md", () => {
    assert.equal(header.length, 128);
    assert.equal(segmentHeaderBytes, 128);
    assert.deepEqual(header, dumbHeader());
  });

  test("it is read as it was written, without knowing the log's id", () => {
    const anyPoint = fc.record(
      { index: fc.nat(2 ** 31 - 1), term: fc.nat(2 ** 31 - 1), nextOffset: fc.maxSafeNat(), appendTime: fc.maxSafeNat() },
      { noNullPrototype: true },
    );
    const anyId = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(anyPoint, anyId, fc.maxSafeNat(), (point, id, createdAt) => {
        const read = readSegmentHeader(encodeSegmentHeader({ logId: Buffer.from(id), createdAt }, point, 0));
        assert.ok(!("fault" in read));
        assert.deepEqual(read.before, point);
        const { index, nextOffset, term } = point;
        assert.deepEqual(read.header, {
          logId: Buffer.from(id),
          baseIndex: index + 1,
          baseOffset: nextOffset,
          termBefore: term,
          createdAt,
        });
      }),
    );
  });

  test("one with any bit flipped is refused", () => {
    for (let bit = 0; bit < 8 * header.length; bit += 1) {
      const flipped = Buffer.from(header);
      flipped.writeUInt8(header.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.ok(faultOf(flipped) !== undefined, `bit ${bit & 7} of byte ${bit >> 3}`);
    }
  });

  test("one cut at any byte is refused", () => {
    for (let end = 0; end < header.length; end += 1) assert.ok(faultOf(header.subarray(0, end)) !== undefined, `cut at ${end}`);
  });

  test("one of a later format is unsupported, in its frame or in itself", () => {
    const unsupported = { name: "ProglogError", code: "UNSUPPORTED_FORMAT" };
    assert.throws(() => readSegmentHeader(dumbHeader({ payload: payloadOf({ formatVersion: 2 }) })), unsupported);
    assert.throws(() => readSegmentHeader(dumbHeader({ version: 2 })), unsupported);
  });

  test("a sound frame that is no segment header, or one that contradicts itself, is refused", () => {
    assert.equal(faultOf(dumbHeader({ kind: 5 })), "the first frame is of kind pad");
    assert.equal(faultOf(dumbHeader({ payload: payloadOf({ magic: "PLSTORE2" }) })), "no segment header magic");
    assert.equal(faultOf(dumbHeader({ payload: payloadOf({ baseIndex: 9n }) })), "the segment header contradicts itself");
  });

  test("one that is far ahead of what is synced says that it vouches for nothing", () => {
    const far = encodeSegmentHeader({ logId, createdAt: 0 }, { ...before, index: 2 ** 33 }, 0);
    assert.equal(far.readUInt32LE(48), 2 ** 32 - 1);
  });
});
