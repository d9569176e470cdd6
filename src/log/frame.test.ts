import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { entryControlMaxBytes, entryMaxBytes } from "../base/limits.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { dumbFrame } from "./dumb-frame.ts";
import {
  dataHeadBytes,
  encodeControlFrame,
  encodeDataFrame,
  type EntryHeader,
  findEntryHeader,
  frameHeadBytes,
  logSeed,
  readFrame,
} from "./frame.ts";

const logId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const seed = logSeed(logId);
const otherSeed = logSeed(Buffer.alloc(16, 0xee));

const batch = encodeBatch([{ key: "k", value: "hello" }, { value: null }], { now: 1_760_000_000_000 });
const dataHeader: EntryHeader = {
  kind: "data",
  index: 7,
  term: 3,
  span: 2,
  baseOffset: 40,
  appendTime: 1_760_000_000_000,
  syncedBack: 1,
  flags: 1,
};
const dataFrame = encodeDataFrame(dataHeader, batch, seed);
const controlHeader: EntryHeader = { ...dataHeader, kind: "trim", span: 0, flags: 0 };
const controlFrame = encodeControlFrame(controlHeader, Buffer.from("0102030405060708", "hex"), seed);

describe("frames", () => {
  const anyNumbers = {
    index: fc.maxSafeNat(),
    term: fc.nat(2 ** 31 - 1),
    baseOffset: fc.maxSafeNat(),
    appendTime: fc.maxSafeNat(),
    syncedBack: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    flags: fc.integer({ min: 0, max: 7 }),
  };

  test("a data frame is read as it was written, wherever it lies, and its batch but for offset and epoch unchanged", () => {
    const anyRecords = fc.array(fc.record({ value: fc.uint8Array({ maxLength: 40 }) }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.record(anyNumbers), anyRecords, fc.nat(100), fc.nat(100), (numbers, records, before, behind) => {
        const packed = encodeBatch(records, { now: 5 });
        const header: EntryHeader = { ...numbers, kind: "data", span: records.length };
        const frame = encodeDataFrame(header, packed, seed);
        const buffer = Buffer.concat([Buffer.alloc(before, 0x50), frame, Buffer.alloc(behind, 0x50)]);
        const read = readFrame(buffer, before, buffer.length, 1000, seed);
        assert.ok(read.outcome === "frame");
        const { payload, position, byteLength, ...rest } = read.frame;
        assert.deepEqual(rest, header);
        assert.equal(position, 1000);
        assert.equal(byteLength, frame.length);
        assert.deepEqual(payload.subarray(21), packed.subarray(21));
        assert.equal(payload.readBigInt64BE(0), BigInt(header.baseOffset));
        assert.equal(payload.readUInt32BE(12), header.term);
        assert.deepEqual(findEntryHeader(buffer, before, buffer.length, seed), header);
      }),
    );
  });

  test("frames have the bytes that the dumb twin makes from the format's table", () => {
    fc.assert(
      fc.property(fc.record(anyNumbers), fc.uint8Array({ maxLength: 100 }), (numbers, payload) => {
        const { index, baseOffset, appendTime, ...small } = numbers;
        const wide = { index: BigInt(index), baseOffset: BigInt(baseOffset), appendTime: BigInt(appendTime), ...small };
        const control = encodeControlFrame({ ...numbers, kind: "membership", span: 0 }, Buffer.from(payload), seed);
        assert.deepEqual(control, dumbFrame({ ...wide, kind: 3, payload }, logId));
        const stamped = Buffer.from(batch);
        stamped.writeBigInt64BE(BigInt(baseOffset), 0);
        stamped.writeUInt32BE(numbers.term, 12);
        const data = encodeDataFrame({ ...numbers, kind: "data", span: 2 }, batch, seed);
        assert.deepEqual(data, dumbFrame({ ...wide, span: 2, payload: stamped }, logId));
      }),
    );
  });

  for (const [name, frame] of [["data", dataFrame] as const, ["control", controlFrame] as const]) {
    test(`a ${name} frame with any bit flipped is no frame`, () => {
      for (let at = 0; at < frame.length; at += 1) {
        for (let bit = 0; bit < 8; bit += 1) {
          const flipped = Buffer.concat([frame, Buffer.alloc(frame.length)]);
          flipped.writeUInt8(frame.readUInt8(at) ^ (1 << bit), at);
          const { outcome } = readFrame(flipped, 0, flipped.length, 0, seed);
          assert.notEqual(outcome, "frame", `bit ${bit} of byte ${at}`);
          assert.notEqual(outcome, "unsupported", `bit ${bit} of byte ${at}`);
        }
      }
    });

    test(`a ${name} frame cut at any byte says how much is needed to tell`, () => {
      for (let end = 0; end < frame.length; end += 1) {
        const read = readFrame(frame, 0, end, 0, seed);
        assert.ok(read.outcome === "short" && read.byteLength > end && read.byteLength <= frame.length, `cut at ${end}`);
      }
    });
  }

  test("77 bytes are enough to trust a data frame's length, and none of its batch is asked for before", () => {
    const read = readFrame(dataFrame, 0, dataHeadBytes, 0, seed);
    assert.deepEqual(read, { outcome: "short", byteLength: dataFrame.length });
    assert.deepEqual(readFrame(dataFrame, 0, dataHeadBytes - 1, 0, seed), { outcome: "short", byteLength: dataHeadBytes });
    assert.deepEqual(findEntryHeader(dataFrame, 0, dataHeadBytes, seed), dataHeader);
  });

  test("a length beyond the limit is bad before anything of that size is asked for", () => {
    const outcomeOf = (length: bigint, kind: number) =>
      readFrame(dumbFrame({ length, kind, payload: Buffer.alloc(100) }, logId), 0, 156, 0, seed);
    assert.equal(outcomeOf(BigInt(entryMaxBytes) + 1n, 0).outcome, "bad");
    assert.equal(outcomeOf(2n ** 63n, 0).outcome, "bad");
    assert.equal(outcomeOf(47n, 2).outcome, "bad");
    assert.equal(outcomeOf(48n + 60n, 0).outcome, "bad");
    assert.equal(outcomeOf(48n + BigInt(entryControlMaxBytes) + 1n, 3).outcome, "bad");
    assert.equal(outcomeOf(48n + BigInt(entryControlMaxBytes), 3).outcome, "short");
  });

  test("a frame of another log is no frame of this one", () => {
    for (const frame of [dataFrame, controlFrame]) {
      assert.deepEqual(readFrame(frame, 0, frame.length, 0, otherSeed), {
        outcome: "bad",
        reason: "the frame's crc doesn't match",
      });
      assert.equal(findEntryHeader(frame, 0, frame.length, otherSeed), undefined);
    }
  });

  test("a length of zero means that nothing was written here", () => {
    assert.deepEqual(readFrame(Buffer.alloc(100), 0, 100, 0, seed), { outcome: "empty" });
    assert.deepEqual(readFrame(Buffer.alloc(8), 0, 8, 0, seed), { outcome: "empty" });
    assert.deepEqual(readFrame(Buffer.alloc(7), 0, 7, 0, seed), { outcome: "short", byteLength: 8 });
  });

  test("a sound frame of a later version, of an unknown kind or with an unknown flag is unsupported, not bad", () => {
    const of = (fields: Parameters<typeof dumbFrame>[0]) => {
      const frame = dumbFrame({ payload: batch, span: 2, ...fields }, logId);
      return readFrame(frame, 0, frame.length, 0, seed);
    };
    assert.equal(of({}).outcome, "frame");
    assert.deepEqual(of({ version: 2 }), { outcome: "unsupported", reason: "an entry of version 2" });
    assert.deepEqual(of({ kind: 6 }), { outcome: "unsupported", reason: "an entry of kind 6" });
    assert.deepEqual(of({ flags: 8 }), { outcome: "unsupported", reason: "an entry with flags 8" });
    // Where the crc is wrong, what the fields say is no fact about who wrote it.
    assert.equal(of({ version: 2, crc: 1 }).outcome, "bad");
  });

  test("a frame whose crc is right but whose batch is another's is bad", () => {
    const reasonOf = (fields: Parameters<typeof dumbFrame>[0]): string => {
      const frame = dumbFrame({ payload: batch, span: 2, ...fields }, logId);
      const read = readFrame(frame, 0, frame.length, 0, seed);
      return read.outcome === "bad" ? read.reason : read.outcome;
    };
    const cutShort = batch.subarray(0, batch.length - 1);
    const changed = (at: number): Buffer => {
      const copy = Buffer.from(batch);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      return copy;
    };
    assert.equal(reasonOf({ baseOffset: 1n }), "the batch's base offset isn't the frame's");
    assert.equal(reasonOf({ term: 1 }), "the batch's epoch isn't the frame's term");
    assert.equal(reasonOf({ span: 3 }), "the batch doesn't span what the frame says");
    assert.equal(reasonOf({ payload: changed(11) }), "the batch's length isn't the frame's");
    assert.equal(reasonOf({ payload: cutShort }), "the batch's crc doesn't match");
    assert.equal(reasonOf({ payload: changed(batch.length - 1) }), "the batch's crc doesn't match");
  });

  test("stamping leaves the batch that was handed in as it is", () => {
    const before = Buffer.from(batch);
    const frame = encodeDataFrame(dataHeader, batch, seed);
    assert.deepEqual(batch, before);
    assert.deepEqual(
      decodeBatch(frame.subarray(frameHeadBytes)).map(({ offset }) => offset),
      [40, 41],
    );
  });
});
