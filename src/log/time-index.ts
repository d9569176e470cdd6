import { crc32c } from "../batch/crc32c.ts";
import { writeUint64LE, readUint64LE } from "../base/bytes.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import { KiB } from "../base/units.ts";
import { findFirstAtOrAbove, readSlot, slotBytes, type SlotSource, writeSlot } from "./slots.ts";

/**
 * The time index of a segment: the running maximum of its batches' timestamps, sparse (docs/format.md). The running maximum
 * never falls whatever clients' clocks do, so it can be searched, and the first slot at or above `t` closes the range that
 * holds the first record at or after `t`.
 */
export const timeIndexTrailerBytes = 32;

/** At most one slot per so many bytes of store: an index of some 0.4 %, and a search reads at most this much too much. */
const slotEveryBytes = 4 * KiB;

const magic = Buffer.from("PLTIMEX1", "latin1");

/** Slots of (timestamp, index), on the heap. */
export class TimeSlots implements SlotSource {
  #bytes: Buffer;
  #count: number;

  constructor(bytes: Buffer = Buffer.alloc(0)) {
    this.#bytes = bytes;
    this.#count = bytes.length / slotBytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#count * slotBytes);
  }

  first(slot: number): number {
    return readSlot(this.#bytes, slot).first;
  }

  second(slot: number): number {
    return readSlot(this.#bytes, slot).second;
  }

  push(timestamp: number, index: number): void {
    if ((this.#count + 1) * slotBytes > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(64 * slotBytes, 2 * this.#bytes.length));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    writeSlot(this.#bytes, this.#count, timestamp, index);
    this.#count += 1;
  }

  /** Forgets slots behind `lastIndex`. */
  cut(lastIndex: number): void {
    while (this.#count > 0 && this.second(this.#count - 1) > lastIndex) this.#count -= 1;
  }
}

/** The time index of the active segment: kept on the heap, written at the seal. */
export class ActiveTimeIndex {
  readonly slots: TimeSlots;
  #maxTimestamp: number;
  #maxIndex: number;
  #slotPosition = Number.NEGATIVE_INFINITY;

  /** `slots` are those of a file that was sealed at close: the last one tells the running maximum. */
  constructor(slots: TimeSlots = new TimeSlots()) {
    this.slots = slots;
    this.#maxTimestamp = slots.count === 0 ? -1 : slots.first(slots.count - 1);
    this.#maxIndex = slots.count === 0 ? 0 : slots.second(slots.count - 1);
  }

  get maxTimestamp(): number {
    return this.#maxTimestamp;
  }

  /** Takes note of a batch at `position` in the store. */
  append(maxTimestamp: number, index: number, position: number): void {
    if (maxTimestamp <= this.#maxTimestamp) return;
    this.#maxTimestamp = maxTimestamp;
    this.#maxIndex = index;
    if (position - this.#slotPosition < slotEveryBytes) return;
    this.slots.push(maxTimestamp, index);
    this.#slotPosition = position;
  }

  /** The slots, with one for the last growth of the maximum: what a sealed file holds. */
  sealedSlots(): TimeSlots {
    const last = this.slots.count - 1;
    if (this.#maxIndex > 0 && (last < 0 || this.slots.first(last) < this.#maxTimestamp)) {
      this.slots.push(this.#maxTimestamp, this.#maxIndex);
    }
    return this.slots;
  }

  /**
   * The range of indexes `(after, through]` that holds the first batch with a timestamp at or above `timestamp`, or undefined
   * when the segment has none.
   */
  findRange(timestamp: number): IndexRange | undefined {
    if (this.#maxTimestamp < timestamp) return undefined;
    return findIndexRange(this.slots, timestamp) ?? { after: lastSecond(this.slots), through: this.#maxIndex };
  }
}

export interface IndexRange {
  /** The first candidate follows this index; 0 when it may be the segment's first. */
  readonly after: number;
  readonly through: number;
}

export function findIndexRange(slots: SlotSource, timestamp: number): IndexRange | undefined {
  const slot = findFirstAtOrAbove(slots, timestamp);
  if (slot === slots.count) return undefined;
  return { after: slot === 0 ? 0 : slots.second(slot - 1), through: slots.second(slot) };
}

function lastSecond(slots: SlotSource): number {
  return slots.count === 0 ? 0 : slots.second(slots.count - 1);
}

export function encodeTimeIndex(slots: TimeSlots, baseIndex: number, seed: number): Buffer {
  const entries = slots.bytes;
  const file = Buffer.alloc(entries.length + timeIndexTrailerBytes);
  entries.copy(file);
  magic.copy(file, entries.length);
  file.writeUInt32LE(slots.count, entries.length + 12);
  writeUint64LE(file, baseIndex, entries.length + 16);
  file.writeUInt32LE(timeIndexCrc(file, seed), entries.length + 8);
  return file;
}

/** Over the entries and the trailer from byte 12 on. */
function timeIndexCrc(file: Buffer, seed: number): number {
  const trailerAt = file.length - timeIndexTrailerBytes;
  return crc32c(file, trailerAt + 12, file.length, crc32c(file, 0, trailerAt, seed));
}

/** The slots of a sealed time index, or undefined when the bytes are no valid one for this base index. */
export function decodeTimeIndex(file: Buffer, baseIndex: number, seed: number): TimeSlots | undefined {
  const trailerAt = file.length - timeIndexTrailerBytes;
  if (trailerAt < 0 || trailerAt % slotBytes !== 0) return undefined;
  if (file.compare(magic, 0, 8, trailerAt, trailerAt + 8) !== 0) return undefined;
  if (file.readUInt32LE(trailerAt + 8) !== timeIndexCrc(file, seed)) return undefined;
  if (file.readUInt32LE(trailerAt + 12) * slotBytes !== trailerAt) return undefined;
  if (readUint64LE(file, trailerAt + 16) !== baseIndex) return undefined;
  return new TimeSlots(file.subarray(0, trailerAt));
}

/** Writes a whole time index file, replacing what was there. */
export function writeTimeIndex(disk: Disk, path: string, bytes: Buffer): void {
  disk.remove(path);
  const file = disk.open(path, "create");
  try {
    file.writeSync([bytes], 0);
  } finally {
    file.close();
  }
}

export function readTimeIndex(file: DiskFile, baseIndex: number, seed: number): TimeSlots | undefined {
  const bytes = Buffer.alloc(file.size());
  return decodeTimeIndex(bytes.subarray(0, file.readSync(bytes, 0)), baseIndex, seed);
}
