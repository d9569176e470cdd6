import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createMemoryDisk } from "../base/memory-disk.ts";
import type { Disk } from "../base/disk.ts";
import { crc32c } from "../batch/crc32c.ts";
import { type BaseRecord, decodeBaseRecord, encodeBaseRecord, readBaseRecord, writeBaseRecord } from "./base-record.ts";
import { encodeTrim, noControlEntries } from "./control-entries.ts";

const record: BaseRecord = {
  logId: Buffer.from("000102030405060708090a0b0c0d0e0f", "hex"),
  baseIndex: 81_733,
  baseTerm: 4,
  nextOffset: 90_000,
  logStartOffset: 90_005,
  describedIndex: 81_740,
  termHistory: [
    { term: 1, firstIndex: 1, firstOffset: 0 },
    { term: 4, firstIndex: 80_000, firstOffset: 88_000 },
  ],
  membership: Buffer.from("members"),
  producers: [
    {
      producerId: 2 ** 40,
      producerEpoch: 3,
      isComplete: true,
      batches: [
        { baseSequence: 10, recordCount: 5, baseOffset: 89_000, appendTime: 1_760_000_000_000 },
        { baseSequence: 15, recordCount: 1, baseOffset: 89_010, appendTime: 1_760_000_000_001 },
      ],
    },
    {
      producerId: 7,
      producerEpoch: 0,
      isComplete: false,
      batches: [{ baseSequence: 9, recordCount: 1, baseOffset: 89_011, appendTime: 1_760_000_000_001 }],
    },
  ],
  controls: {
    fromIndex: 81_000,
    entries: [
      { index: 81_500, kind: "membership", payload: Buffer.from("members") },
      { index: 81_735, kind: "trim", payload: encodeTrim(90_007) },
    ],
  },
  otherSections: [{ type: 900, bytes: Buffer.from("of a later version") }],
};
const bare: BaseRecord = {
  ...record,
  termHistory: [],
  membership: Buffer.alloc(0),
  producers: [],
  controls: noControlEntries,
  otherSections: [],
};

/** Records as object literals make them. */
function plain<T>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

function reseal(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32c(bytes, 12), 8);
  return bytes;
}

async function makeDisk(): Promise<Disk> {
  const disk = createMemoryDisk();
  await disk.makeDirectory("/log");
  return disk;
}

function replace(disk: Disk, path: string, bytes: Uint8Array): void {
  disk.remove(path);
  const file = disk.open(path, "create");
  file.writeSync([bytes], 0);
  file.close();
}

describe("base record", () => {
  test("its bytes are those of docs/format.md", () => {
    const head = Buffer.alloc(88);
    head.write("PLBASER1", "latin1");
    head.writeUInt16LE(1, 16);
    head.writeBigUInt64LE(6n, 24);
    record.logId.copy(head, 32);
    head.writeBigUInt64LE(81_733n, 48);
    head.writeBigUInt64LE(90_000n, 56);
    head.writeBigUInt64LE(90_005n, 64);
    head.writeBigUInt64LE(81_740n, 72);
    head.writeUInt32LE(4, 80);
    head.writeUInt32LE(5, 84);
    const sections = [
      "01000000" + "30000000" + "0100000000000000" + "0100000000000000" + "0000000000000000",
      "0400000000000000" + "8038010000000000" + "c057010000000000",
      "02000000" + "07000000" + Buffer.from("members").toString("hex"),
      "03000000" + "68000000" + "0000000000010000" + "0300" + "0100" + "02000000",
      "0a000000" + "05000000" + "a85b010000000000" + "00c02cc899010000",
      "0f000000" + "01000000" + "b25b010000000000" + "01c02cc899010000",
      "0700000000000000" + "0000" + "0000" + "01000000",
      "09000000" + "01000000" + "b35b010000000000" + "01c02cc899010000",
      "04000000" + "3f000000" + "4c3f010000000000" + "683c010000000000",
      "5c3e010000000000" + "0300" + "0000" + "07000000" + Buffer.from("members").toString("hex"),
      "473f010000000000" + "0400" + "0000" + "08000000" + "975f010000000000",
      "84030000" + "12000000" + Buffer.from("of a later version").toString("hex"),
    ].map((hex) => Buffer.from(hex, "hex"));
    const bytes = Buffer.concat([head, ...sections]);
    bytes.writeUInt32LE(bytes.length, 12);
    assert.deepEqual(encodeBaseRecord(record, 6), reseal(bytes));
  });

  test("it is read as it was written", () => {
    const safe = fc.maxSafeNat();
    const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const any = plain({
      logId: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
      baseIndex: safe,
      baseTerm: u32,
      nextOffset: safe,
      logStartOffset: safe,
      describedIndex: safe,
      termHistory: fc.array(plain({ term: u32, firstIndex: safe, firstOffset: safe }), { maxLength: 5 }),
      membership: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      producers: fc.array(
        plain({
          producerId: safe,
          producerEpoch: fc.integer({ min: 0, max: 2 ** 16 - 1 }),
          isComplete: fc.boolean(),
          batches: fc.array(plain({ baseSequence: u32, recordCount: u32, baseOffset: safe, appendTime: safe }), {
            minLength: 1,
            maxLength: 5,
          }),
        }),
        { maxLength: 4 },
      ),
      controls: plain({
        fromIndex: fc.integer({ min: 2 }),
        entries: fc
          .uniqueArray(
            plain({
              index: fc.integer({ min: 1 }),
              kind: fc.constantFrom<"membership" | "trim">("membership", "trim"),
              payload: fc.uint8Array({ maxLength: 9 }).map((b) => Buffer.from(b)),
            }),
            { selector: ({ index }) => index, maxLength: 4 },
          )
          .map((entries) => entries.sort((a, b) => a.index - b.index)),
      }),
      otherSections: fc.uniqueArray(
        plain({
          type: fc.integer({ min: 5, max: 65_535 }),
          bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }).map((b) => Buffer.from(b)),
        }),
        { selector: (section) => section.type, maxLength: 3 },
      ),
    });
    fc.assert(
      fc.property(any, safe, (base, generation) => {
        assert.deepEqual(decodeBaseRecord(encodeBaseRecord(base, generation)), { record: base, generation });
      }),
    );
  });

  test("one with any bit flipped or cut at any byte is none", () => {
    const bytes = encodeBaseRecord(record, 6);
    for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(decodeBaseRecord(flipped), undefined, `bit ${bit & 7} of byte ${bit >> 3}`);
    }
    for (let end = 0; end < bytes.length; end += 1) assert.equal(decodeBaseRecord(bytes.subarray(0, end)), undefined);
  });

  test("one of a later version is unsupported", () => {
    const bytes = encodeBaseRecord(record, 6);
    bytes.writeUInt16LE(2, 16);
    assert.throws(() => decodeBaseRecord(reseal(bytes)), { code: "UNSUPPORTED_FORMAT" });
  });

  test("one whose sections don't fit its bytes is none, however it is sealed", () => {
    const change = (edit: (bytes: Buffer) => void): Buffer => {
      const bytes = encodeBaseRecord(record, 6);
      edit(bytes);
      return reseal(bytes);
    };
    assert.equal(decodeBaseRecord(change((bytes) => bytes.writeUInt32LE(6, 84))), undefined);
    assert.equal(decodeBaseRecord(change((bytes) => bytes.writeUInt32LE(4, 84))), undefined);
    assert.equal(decodeBaseRecord(change((bytes) => bytes.writeUInt32LE(49, 92))), undefined);
    assert.equal(decodeBaseRecord(change((bytes) => bytes.writeUInt32LE(2 ** 32 - 1, 92))), undefined);
    const producerCountAt = 88 + 8 + 48 + 8 + 7 + 8 + 12;
    for (const count of [0, 6])
      assert.equal(decodeBaseRecord(change((bytes) => bytes.writeUInt32LE(count, producerCountAt))), undefined);
  });

  test("one with a number beyond 2^53-1 is none, however it is sealed", () => {
    const termAt = 88 + 8;
    const producerAt = termAt + 48 + 8 + 7 + 8;
    for (const position of [24, 48, 56, 64, 72, termAt + 8, termAt + 16, producerAt, producerAt + 24, producerAt + 32]) {
      const bytes = encodeBaseRecord(record, 6);
      bytes.writeBigUInt64LE(2n ** 53n, position);
      assert.equal(decodeBaseRecord(reseal(bytes)), undefined, `at ${position}`);
    }
  });

  test("the valid slot of the higher generation counts, and a damaged one leaves the other", async () => {
    const disk = await makeDisk();
    assert.deepEqual(readBaseRecord(disk, "/log"), { state: "missing" });
    await writeBaseRecord(disk, "/log", { slot: 0, generation: 1 }, { ...bare, logStartOffset: 1 });
    await writeBaseRecord(disk, "/log", { slot: 1, generation: 2 }, { ...bare, logStartOffset: 2 });
    const startOf = (): number | string => {
      const read = readBaseRecord(disk, "/log");
      return read.state === "valid" ? read.record.logStartOffset : read.state;
    };
    assert.equal(startOf(), 2);
    await writeBaseRecord(disk, "/log", { slot: 0, generation: 3 }, { ...bare, logStartOffset: 3 });
    assert.equal(startOf(), 3);
    replace(disk, "/log/base-0", Buffer.alloc(88));
    assert.equal(startOf(), 2);
    replace(disk, "/log/base-1", Buffer.alloc(0));
    assert.equal(startOf(), "unreadable");
    disk.remove("/log/base-0");
    assert.equal(startOf(), "unreadable");
    disk.remove("/log/base-1");
    assert.equal(startOf(), "missing");
  });

  test("a shorter record written over a longer one leaves nothing of it", async () => {
    const disk = await makeDisk();
    await writeBaseRecord(disk, "/log", { slot: 0, generation: 1 }, record);
    await writeBaseRecord(disk, "/log", { slot: 0, generation: 3 }, bare);
    assert.equal(disk.size("/log/base-0"), 88);
    const read = readBaseRecord(disk, "/log");
    assert.deepEqual(read, { state: "valid", record: bare, generation: 3, slot: 0, other: undefined });
  });

  test("a crash before the longer file is cut leaves the shorter record valid", async () => {
    const disk = await makeDisk();
    await writeBaseRecord(disk, "/log", { slot: 0, generation: 1 }, record);
    const file = disk.open("/log/base-0", "write");
    file.writeSync([encodeBaseRecord(bare, 3)], 0);
    file.close();
    const read = readBaseRecord(disk, "/log");
    assert.ok(read.state === "valid" && read.generation === 3);
  });
});
