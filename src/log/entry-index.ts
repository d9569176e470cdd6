import { crc32c } from "../batch/crc32c.ts";
import { assert } from "../base/assert.ts";
import { readInt64LE, readUint64LE, writeInt64LE, writeUint64LE } from "../base/bytes.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import type { Mmap } from "../base/mmap.ts";
import { HeapSlots, MappedSlots, type SlotMemory } from "./slot-memory.ts";
import { findLastAtOrBelow, readSlot, slotBytes, type SlotSource, writeSlot } from "./slots.ts";

/**
 * The index of a segment: slot `i` says at which position in the store the entry of index `baseIndex + i` begins, and which
 * offset it begins with (docs/format.md). Never trusted: whoever reads by it checks that the frame found is the one it asked
 * for, and has the file built anew from the store when it isn't.
 */
export interface EntryLocation {
  readonly index: number;
  readonly baseOffset: number;
  readonly position: number;
}

/** What the trailer of a sealed segment's index says of the segment. */
export interface SegmentSummary {
  readonly baseIndex: number;
  readonly entryCount: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Position after the last frame. */
  readonly storeBytes: number;
  /** Of all batches; -1 when there are none. */
  readonly maxTimestamp: number;
  readonly lastAppendTime: number;
  readonly lastTerm: number;
}

export const indexTrailerBytes = 80;

const magic = Buffer.from("PLINDEX1", "latin1");

/** The slot of the entry that holds `offset`: the last one at or below it whose span isn't 0. */
export function findSlotOfOffset(slots: SlotSource, offset: number): number {
  // Among slots of equal offset, all but the last span nothing; so the last at or below is the one, unless it is a control
  // entry at the very end, whose offset nobody has yet.
  return findLastAtOrBelow(slots, offset);
}

/** The index of the active segment. */
export class ActiveIndex implements SlotSource {
  readonly path: string;
  readonly #disk: Disk;
  readonly #mmap: Mmap | undefined;
  #place: SlotPlace;
  #count: number;

  private constructor(disk: Disk, path: string, mmap: Mmap | undefined, place: SlotPlace, count: number) {
    this.path = path;
    this.#disk = disk;
    this.#mmap = mmap;
    this.#place = place;
    this.#count = count;
  }

  /** Makes the file, replacing what was there, with `slots` as its first ones. Mapped into memory when `mmap` is given. */
  static create(disk: Disk, path: string, mmap: Mmap | undefined, slots: Buffer = Buffer.alloc(0)): ActiveIndex {
    return new ActiveIndex(disk, path, mmap, createPlace(disk, path, mmap, slots), slots.length / slotBytes);
  }

  /**
   * Goes on with a file that was sealed and holds just `slots`. It is left as it is until room is made for more: a process that
   * is killed before it appended leaves a log that opens as if it had been closed.
   */
  static resume(disk: Disk, path: string, mmap: Mmap | undefined, slots: Buffer): ActiveIndex {
    return new ActiveIndex(disk, path, mmap, { kind: "sealed", bytes: slots }, slots.length / slotBytes);
  }

  get count(): number {
    return this.#count;
  }

  get memoryKind(): "mmap" | "heap" {
    return this.#mmap === undefined ? "heap" : "mmap";
  }

  /** The file is there as it was sealed. */
  get isSealed(): boolean {
    return this.#place.kind === "sealed";
  }

  get #bytes(): Buffer {
    return this.#place.kind === "open" ? this.#place.memory.bytes : this.#place.bytes;
  }

  first(slot: number): number {
    return readInt64LE(this.#bytes, slot * slotBytes);
  }

  second(slot: number): number {
    return readUint64LE(this.#bytes, slot * slotBytes + 8);
  }

  /** Makes room for `count` more slots, so that `append` can't fail. */
  reserve(count: number): void {
    this.#openPlace().memory.reserve((this.#count + count) * slotBytes);
  }

  #openPlace(): SlotPlace & { readonly kind: "open" } {
    if (this.#place.kind === "open") return this.#place;
    const { bytes } = this.#place;
    // Should there be no making the new file, the old one is gone all the same.
    this.#place = { kind: "lost", bytes };
    const place = createPlace(this.#disk, this.path, this.#mmap, bytes);
    this.#place = place;
    return place;
  }

  append(baseOffset: number, position: number): void {
    const bytes = this.#bytes;
    assert((this.#count + 1) * slotBytes <= bytes.length, "index slots are reserved before they are written");
    writeSlot(bytes, this.#count, baseOffset, position);
    this.#count += 1;
  }

  /** Forgets all slots from `count` on. */
  cut(count: number): void {
    assert(count <= this.#count, "an index is cut to fewer slots");
    this.#openPlace().memory.bytes.fill(0, count * slotBytes, this.#count * slotBytes);
    this.#count = count;
  }

  /** Writes what isn't in the file yet, and the trailer, and closes. Whoever wants it durable syncs before: it is a hint. */
  seal(summary: SegmentSummary, seed: number): void {
    if (this.isSealed) return;
    const byteLength = this.#count * slotBytes;
    const { file, memory } = this.#openPlace();
    const trailer = encodeIndexTrailer(summary, crc32c(memory.bytes, 0, byteLength, seed), seed);
    try {
      memory.finish(byteLength);
      file.writeSync([trailer], byteLength);
      file.truncate(byteLength + trailer.length);
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#place.kind !== "open") return;
    this.#place.memory.discard();
    this.#place.file.close();
  }
}

/** Where the slots are: in an open file, or in memory beside a file that was sealed with them, or without one. */
type SlotPlace =
  | { readonly kind: "open"; readonly file: DiskFile; readonly memory: SlotMemory }
  | { readonly kind: "sealed"; readonly bytes: Buffer }
  | { readonly kind: "lost"; readonly bytes: Buffer };

function createPlace(disk: Disk, path: string, mmap: Mmap | undefined, slots: Buffer): SlotPlace & { readonly kind: "open" } {
  disk.remove(path);
  const file = disk.open(path, "create");
  try {
    return { kind: "open", file, memory: mmap === undefined ? new HeapSlots(file, slots) : new MappedSlots(file, mmap, slots) };
  } catch (error) {
    file.close();
    throw error;
  }
}

export function encodeIndexTrailer(summary: SegmentSummary, entriesCrc: number, seed: number): Buffer {
  const trailer = Buffer.alloc(indexTrailerBytes);
  magic.copy(trailer, 0);
  trailer.writeUInt32LE(entriesCrc, 12);
  writeUint64LE(trailer, summary.baseIndex, 16);
  writeUint64LE(trailer, summary.entryCount, 24);
  writeUint64LE(trailer, summary.baseOffset, 32);
  writeUint64LE(trailer, summary.nextOffset, 40);
  writeUint64LE(trailer, summary.storeBytes, 48);
  writeInt64LE(trailer, summary.maxTimestamp, 56);
  writeUint64LE(trailer, summary.lastAppendTime, 64);
  trailer.writeUInt32LE(summary.lastTerm, 72);
  trailer.writeUInt32LE(crc32c(trailer, 12, indexTrailerBytes, seed), 8);
  return trailer;
}

/** The trailer, or undefined when the bytes are no valid one of this log. */
export function decodeIndexTrailer(trailer: Buffer, seed: number): { summary: SegmentSummary; entriesCrc: number } | undefined {
  if (trailer.length !== indexTrailerBytes || trailer.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32c(trailer, 12, indexTrailerBytes, seed) !== trailer.readUInt32LE(8)) return undefined;
  const summary: SegmentSummary = {
    baseIndex: readUint64LE(trailer, 16),
    entryCount: readUint64LE(trailer, 24),
    baseOffset: readUint64LE(trailer, 32),
    nextOffset: readUint64LE(trailer, 40),
    storeBytes: readUint64LE(trailer, 48),
    maxTimestamp: readInt64LE(trailer, 56),
    lastAppendTime: readUint64LE(trailer, 64),
    lastTerm: trailer.readUInt32LE(72),
  };
  return { summary, entriesCrc: trailer.readUInt32LE(12) };
}

/** The summary at the end of a sealed index file, or undefined when there is no valid one for this base index. */
export function readIndexSummary(file: DiskFile, baseIndex: number, seed: number): SegmentSummary | undefined {
  const trailerAt = file.size() - indexTrailerBytes;
  if (trailerAt < 0 || trailerAt % slotBytes !== 0) return undefined;
  const trailer = Buffer.alloc(indexTrailerBytes);
  if (file.readSync(trailer, trailerAt) < indexTrailerBytes) return undefined;
  const summary = decodeIndexTrailer(trailer, seed)?.summary;
  if (summary === undefined || summary.baseIndex !== baseIndex || summary.entryCount * slotBytes !== trailerAt)
    return undefined;
  return summary;
}

/** All slots of a sealed index file with the checksum verified, or undefined when anything is wrong with it. */
export function readSealedSlots(
  file: DiskFile,
  baseIndex: number,
  seed: number,
): { summary: SegmentSummary; slots: Buffer } | undefined {
  if (readIndexSummary(file, baseIndex, seed) === undefined) return undefined;
  const bytes = Buffer.alloc(file.size());
  if (file.readSync(bytes, 0) < bytes.length) return undefined;
  const trailerAt = bytes.length - indexTrailerBytes;
  const trailer = decodeIndexTrailer(bytes.subarray(trailerAt), seed);
  if (trailer === undefined || crc32c(bytes, 0, trailerAt, seed) !== trailer.entriesCrc) return undefined;
  return { summary: trailer.summary, slots: bytes.subarray(0, trailerAt) };
}

/** Slots read one by one from a file: a lookup takes some twenty reads of a microsecond, and no memory. */
export class FileSlots implements SlotSource {
  readonly count: number;
  readonly #file: DiskFile;
  readonly #slot = Buffer.alloc(slotBytes);

  constructor(file: DiskFile, count: number) {
    this.#file = file;
    this.count = count;
  }

  first(slot: number): number {
    return this.#read(slot).first;
  }

  second(slot: number): number {
    return this.#read(slot).second;
  }

  #read(slot: number): { first: number; second: number } {
    // A file cut shorter than its trailer said: zeros, which the reader's check then refuses.
    if (this.#file.readSync(this.#slot, slot * slotBytes) < slotBytes) this.#slot.fill(0);
    return readSlot(this.#slot, 0);
  }
}
