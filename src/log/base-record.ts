import { join } from "node:path";
import { crc32c } from "../batch/crc32c.ts";
import { assert } from "../base/assert.ts";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { baseRecordMaxBytes } from "../base/limits.ts";
import { type ControlEntries, decodeControlEntries, encodeControlEntries, noControlEntries } from "./control-entries.ts";
import { type ProducerBatch, type ProducerState, producerBatchesMaxCount } from "./producer-table.ts";
import { logIdBytes } from "./segment-header.ts";

/**
 * What a log knows of what was trimmed away, in two files written in turn (docs/format.md). It is durable before any file
 * goes that it makes superfluous: nothing is deleted before what it alone knew is written elsewhere.
 */
export interface BaseRecord {
  readonly logId: Buffer;
  /** The last index trimmed away; 0 none. */
  readonly baseIndex: number;
  readonly baseTerm: number;
  /** The offset of the first record behind the base index. */
  readonly nextOffset: number;
  /** The first readable offset, at or above `nextOffset`. */
  readonly logStartOffset: number;
  /** The four sections below describe the log up to this index. */
  readonly describedIndex: number;
  readonly termHistory: readonly TermStart[];
  /** As the payload of the newest membership entry; empty when there is none. */
  readonly membership: Buffer;
  readonly producers: readonly ProducerState[];
  readonly controls: ControlEntries;
  /** Sections of a later version, kept as they are. */
  readonly otherSections: readonly { readonly type: number; readonly bytes: Buffer }[];
}

export interface TermStart {
  readonly term: number;
  readonly firstIndex: number;
  readonly firstOffset: number;
}

export const baseRecordNames = ["base-0", "base-1"] as const;

const magic = Buffer.from("PLBASER1", "latin1");
const version = 1;
const fixedBytes = 88;
const sectionTypes = { termHistory: 1, membership: 2, producers: 3, controls: 4 } as const;
const producerHeadBytes = 16;
const producerBatchBytes = 24;
const producerFlags = { complete: 1 } as const;

export function encodeBaseRecord(record: BaseRecord, generation: number): Buffer {
  const sections = [
    { type: sectionTypes.termHistory, bytes: encodeTermHistory(record.termHistory) },
    { type: sectionTypes.membership, bytes: record.membership },
    { type: sectionTypes.producers, bytes: encodeProducers(record.producers) },
    { type: sectionTypes.controls, bytes: encodeControlEntries(record.controls, record.describedIndex) },
    ...record.otherSections,
  ].filter((section) => section.bytes.length > 0);
  const byteLength = sections.reduce((sum, section) => sum + 8 + section.bytes.length, fixedBytes);
  assert(byteLength <= baseRecordMaxBytes, "a base record stays within its limit");
  assert(record.logId.length === logIdBytes, "a log id has 16 bytes");

  const bytes = Buffer.alloc(byteLength);
  magic.copy(bytes, 0);
  bytes.writeUInt32LE(byteLength, 12);
  bytes.writeUInt16LE(version, 16);
  writeUint64LE(bytes, generation, 24);
  record.logId.copy(bytes, 32);
  writeUint64LE(bytes, record.baseIndex, 48);
  writeUint64LE(bytes, record.nextOffset, 56);
  writeUint64LE(bytes, record.logStartOffset, 64);
  writeUint64LE(bytes, record.describedIndex, 72);
  bytes.writeUInt32LE(record.baseTerm, 80);
  bytes.writeUInt32LE(sections.length, 84);
  let at = fixedBytes;
  for (const section of sections) {
    bytes.writeUInt16LE(section.type, at);
    bytes.writeUInt32LE(section.bytes.length, at + 4);
    section.bytes.copy(bytes, at + 8);
    at += 8 + section.bytes.length;
  }
  bytes.writeUInt32LE(crc32c(bytes, 12), 8);
  return bytes;
}

/** One slot's record, or undefined when its bytes are no valid one. */
export function decodeBaseRecord(bytes: Buffer): { record: BaseRecord; generation: number } | undefined {
  if (bytes.length < fixedBytes || bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  const byteLength = bytes.readUInt32LE(12);
  // A shorter record written over a longer one leaves the old one's end behind it until the file is cut.
  if (byteLength < fixedBytes || byteLength > bytes.length) return undefined;
  if (crc32c(bytes, 12, byteLength) !== bytes.readUInt32LE(8)) return undefined;
  if (bytes.readUInt16LE(16) !== version) {
    throw new ProglogError("UNSUPPORTED_FORMAT", `Cannot read the base record: its version is ${bytes.readUInt16LE(16)}`, {
      hint: "Use the version of proglog that wrote it, or a newer one.",
    });
  }
  const sections = new Map<number, Buffer>();
  let at = fixedBytes;
  for (let left = bytes.readUInt32LE(84); left > 0; left -= 1) {
    if (at + 8 > byteLength) return undefined;
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    if (end > byteLength) return undefined;
    sections.set(bytes.readUInt16LE(at), Buffer.from(bytes.subarray(at + 8, end)));
    at = end;
  }
  const termHistory = decodeTermHistory(sections.get(sectionTypes.termHistory) ?? Buffer.alloc(0));
  const producers = decodeProducers(sections.get(sectionTypes.producers) ?? Buffer.alloc(0));
  const controls = findControls(sections, readUint64LE(bytes, 72));
  if (at !== byteLength || termHistory === undefined || producers === undefined || controls === undefined) return undefined;
  if (!isSafe(...[24, 48, 56, 64, 72].map((numberAt) => readUint64LE(bytes, numberAt)))) return undefined;
  const known: readonly number[] = Object.values(sectionTypes);
  const record: BaseRecord = {
    logId: Buffer.from(bytes.subarray(32, 48)),
    baseIndex: readUint64LE(bytes, 48),
    nextOffset: readUint64LE(bytes, 56),
    logStartOffset: readUint64LE(bytes, 64),
    describedIndex: readUint64LE(bytes, 72),
    baseTerm: bytes.readUInt32LE(80),
    termHistory,
    membership: sections.get(sectionTypes.membership) ?? Buffer.alloc(0),
    producers,
    controls,
    otherSections: [...sections].filter(([type]) => !known.includes(type)).map(([type, section]) => ({ type, bytes: section })),
  };
  return { record, generation: readUint64LE(bytes, 24) };
}

/** Without the section, a log that has a membership was written by a version that didn't tell where it stands. */
function findControls(sections: ReadonlyMap<number, Buffer>, describedIndex: number): ControlEntries | undefined {
  const section = sections.get(sectionTypes.controls);
  if (section !== undefined) return decodeControlEntries(section, describedIndex);
  return sections.has(sectionTypes.membership) ? { fromIndex: describedIndex + 1, entries: [] } : noControlEntries;
}

function encodeTermHistory(history: readonly TermStart[]): Buffer {
  const bytes = Buffer.alloc(24 * history.length);
  history.forEach((start, i) => {
    bytes.writeUInt32LE(start.term, 24 * i);
    writeUint64LE(bytes, start.firstIndex, 24 * i + 8);
    writeUint64LE(bytes, start.firstOffset, 24 * i + 16);
  });
  return bytes;
}

function decodeTermHistory(bytes: Buffer): TermStart[] | undefined {
  if (bytes.length % 24 !== 0) return undefined;
  const history: TermStart[] = [];
  for (let at = 0; at < bytes.length; at += 24) {
    history.push({
      term: bytes.readUInt32LE(at),
      firstIndex: readUint64LE(bytes, at + 8),
      firstOffset: readUint64LE(bytes, at + 16),
    });
  }
  return history.every(({ firstIndex, firstOffset }) => isSafe(firstIndex, firstOffset)) ? history : undefined;
}

/** The numbers read are whole and exact; what lies beyond 2^53-1 is damage. */
function isSafe(...numbers: readonly number[]): boolean {
  return numbers.every(Number.isSafeInteger);
}

function encodeProducers(producers: readonly ProducerState[]): Buffer {
  return Buffer.concat(
    producers.map(({ producerId, producerEpoch, isComplete, batches }) => {
      assert(batches.length > 0 && batches.length <= producerBatchesMaxCount, "a producer has one to five batches");
      const bytes = Buffer.alloc(producerHeadBytes + producerBatchBytes * batches.length);
      writeUint64LE(bytes, producerId, 0);
      bytes.writeUInt16LE(producerEpoch, 8);
      bytes.writeUInt16LE(isComplete ? producerFlags.complete : 0, 10);
      bytes.writeUInt32LE(batches.length, 12);
      batches.forEach((batch, i) => {
        const at = producerHeadBytes + producerBatchBytes * i;
        bytes.writeUInt32LE(batch.baseSequence, at);
        bytes.writeUInt32LE(batch.recordCount, at + 4);
        writeUint64LE(bytes, batch.baseOffset, at + 8);
        writeUint64LE(bytes, batch.appendTime, at + 16);
      });
      return bytes;
    }),
  );
}

function decodeProducers(bytes: Buffer): ProducerState[] | undefined {
  const producers: ProducerState[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + producerHeadBytes > bytes.length) return undefined;
    const count = bytes.readUInt32LE(at + 12);
    const end = at + producerHeadBytes + producerBatchBytes * count;
    if (count === 0 || count > producerBatchesMaxCount || end > bytes.length) return undefined;
    const batches: ProducerBatch[] = [];
    for (let batchAt = at + producerHeadBytes; batchAt < end; batchAt += producerBatchBytes) {
      const batch: ProducerBatch = {
        baseSequence: bytes.readUInt32LE(batchAt),
        recordCount: bytes.readUInt32LE(batchAt + 4),
        baseOffset: readUint64LE(bytes, batchAt + 8),
        appendTime: readUint64LE(bytes, batchAt + 16),
      };
      if (!isSafe(batch.baseOffset, batch.appendTime)) return undefined;
      batches.push(batch);
    }
    const producerId = readUint64LE(bytes, at);
    if (!isSafe(producerId)) return undefined;
    const isComplete = (bytes.readUInt16LE(at + 10) & producerFlags.complete) !== 0;
    producers.push({ producerId, producerEpoch: bytes.readUInt16LE(at + 8), isComplete, batches });
    at = end;
  }
  return producers;
}

export type BaseRecordRead =
  | ({ readonly state: "valid" } & NewestBaseRecord)
  | { readonly state: "missing" }
  | { readonly state: "unreadable" };

export interface NewestBaseRecord {
  readonly record: BaseRecord;
  readonly generation: number;
  readonly slot: 0 | 1;
  /** What the other slot says; undefined when that isn't valid. */
  readonly other: BaseRecord | undefined;
}

/** The base record of a log directory: the valid slot of the higher generation. */
export function readBaseRecord(disk: Disk, directory: string): BaseRecordRead {
  const valid: { record: BaseRecord; generation: number; slot: 0 | 1 }[] = [];
  let isAnyThere = false;
  for (const slot of [0, 1] as const) {
    const path = join(directory, baseRecordNames[slot]);
    const size = disk.size(path);
    if (size === undefined) continue;
    isAnyThere = true;
    const file = disk.open(path, "read");
    try {
      const bytes = Buffer.alloc(Math.min(size, baseRecordMaxBytes));
      const found = decodeBaseRecord(bytes.subarray(0, file.readSync(bytes, 0)));
      if (found !== undefined) valid.push({ ...found, slot });
    } finally {
      file.close();
    }
  }
  const [newest, other] = valid.sort((a, b) => b.generation - a.generation);
  if (newest !== undefined) return { state: "valid", ...newest, other: other?.record };
  return { state: isAnyThere ? "unreadable" : "missing" };
}

/** Writes `record` over `slot`, durably; the other slot stays as it is. */
export async function writeBaseRecord(
  disk: Disk,
  directory: string,
  slot: { readonly slot: 0 | 1; readonly generation: number },
  record: BaseRecord,
): Promise<void> {
  const path = join(directory, baseRecordNames[slot.slot]);
  const isNew = disk.size(path) === undefined;
  const bytes = encodeBaseRecord(record, slot.generation);
  const file = disk.open(path, isNew ? "create" : "write");
  try {
    file.writeSync([bytes], 0);
    if (file.size() > bytes.length) file.truncate(bytes.length);
    await file.datasync();
  } finally {
    file.close();
  }
  if (isNew) await disk.syncDirectory(directory);
}

/**
 * Brings a slot that was read to the disk, before anything is done that relies on it. A process that was killed, or failed to
 * sync, may have left it in memory only: segments removed by it, or entries appended behind it, would be lost with it in a
 * power cut. It is written again as it is, since a sync alone does nothing for pages that a failed one marked clean.
 */
export async function syncBaseRecord(disk: Disk, directory: string, slot: 0 | 1): Promise<void> {
  const file = disk.open(join(directory, baseRecordNames[slot]), "write");
  try {
    const bytes = Buffer.alloc(file.size());
    file.readSync(bytes, 0);
    file.writeSync([bytes], 0);
    await file.datasync();
  } finally {
    file.close();
  }
  await disk.syncDirectory(directory);
}
