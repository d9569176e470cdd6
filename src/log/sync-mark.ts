import { join } from "node:path";
import { crc32c } from "../batch/crc32c.ts";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { logSeed } from "./frame.ts";

/**
 * Up to where the log is known to be synced, kept beside it in two slots a page apart (docs/format.md). Without it a crash
 * leaves one question open, whether a bad frame at the end is a write that was never acknowledged or rot of one that was, and
 * every system that answered it by guessing has lost data.
 *
 * Written after each sync, and itself synced only when idle, at a roll and at close: it may lag, it never leads.
 */
export interface SyncMark {
  /** The last index known synced, and the log's coordinates there. */
  readonly index: number;
  readonly term: number;
  readonly nextOffset: number;
  readonly appendTime: number;
  readonly segmentBaseIndex: number;
  /** Behind that entry's frame in its segment. */
  readonly position: number;
  /**
   * The newest entry up to `index` that changes what the base record describes; 0 when none does, null when it isn't known.
   * A base record that describes the log up to there describes it up to `index`.
   */
  readonly newsIndex: number | null;
  /** The log was closed; nothing lies behind the position. */
  readonly isClean: boolean;
  /** Everything behind the index is being removed: opening finishes that. */
  readonly isCutting: boolean;
  /** A write or a sync failed: what lies behind the mark must go to a new file. */
  readonly isPoisoned: boolean;
}

export type SyncMarkRead =
  | { readonly state: "valid"; readonly mark: SyncMark; readonly sequence: number }
  | { readonly state: "missing" }
  | { readonly state: "unreadable" };

export const syncMarkName = "sync-mark";
export const syncMarkSlotBytes = 96;
export const syncMarkSlotPositions = [0, 4096] as const;
const syncMarkFileBytes = 8192;

const magic = Buffer.from("PLSYNCM1", "latin1");
const version = 1;
const flagBits = { clean: 1, cutting: 2, poisoned: 4, news: 8 } as const;

export function encodeSyncMark(mark: SyncMark, sequence: number, seed: number): Buffer {
  const slot = Buffer.alloc(syncMarkSlotBytes);
  magic.copy(slot, 0);
  slot.writeUInt16LE(version, 12);
  const flags =
    (mark.isClean ? flagBits.clean : 0) |
    (mark.isCutting ? flagBits.cutting : 0) |
    (mark.isPoisoned ? flagBits.poisoned : 0) |
    (mark.newsIndex === null ? 0 : flagBits.news);
  slot.writeUInt16LE(flags, 14);
  writeUint64LE(slot, sequence, 16);
  writeUint64LE(slot, mark.index, 24);
  writeUint64LE(slot, mark.nextOffset, 32);
  writeUint64LE(slot, mark.segmentBaseIndex, 40);
  writeUint64LE(slot, mark.position, 48);
  writeUint64LE(slot, mark.appendTime, 56);
  slot.writeUInt32LE(mark.term, 64);
  writeUint64LE(slot, mark.newsIndex ?? 0, 72);
  slot.writeUInt32LE(crc32c(slot, 12, syncMarkSlotBytes, seed), 8);
  return slot;
}

/** One slot, or undefined when its bytes are no valid one of this log. */
export function decodeSyncMark(slot: Buffer, seed: number): { mark: SyncMark; sequence: number } | undefined {
  if (slot.length < syncMarkSlotBytes || slot.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32c(slot, 12, syncMarkSlotBytes, seed) !== slot.readUInt32LE(8)) return undefined;
  if (slot.readUInt16LE(12) !== version) {
    throw new ProglogError("UNSUPPORTED_FORMAT", `Cannot read the sync mark: its version is ${slot.readUInt16LE(12)}`, {
      hint: "Use the version of proglog that wrote it, or a newer one.",
    });
  }
  const flags = slot.readUInt16LE(14);
  const mark: SyncMark = {
    index: readUint64LE(slot, 24),
    nextOffset: readUint64LE(slot, 32),
    segmentBaseIndex: readUint64LE(slot, 40),
    position: readUint64LE(slot, 48),
    appendTime: readUint64LE(slot, 56),
    term: slot.readUInt32LE(64),
    newsIndex: (flags & flagBits.news) === 0 ? null : readUint64LE(slot, 72),
    isClean: (flags & flagBits.clean) !== 0,
    isCutting: (flags & flagBits.cutting) !== 0,
    isPoisoned: (flags & flagBits.poisoned) !== 0,
  };
  const sequence = readUint64LE(slot, 16);
  const numbers = [
    sequence,
    mark.index,
    mark.nextOffset,
    mark.segmentBaseIndex,
    mark.position,
    mark.appendTime,
    mark.newsIndex ?? 0,
  ];
  // Beyond 2^53-1 a number read isn't the one that was written: damage, whatever the crc says.
  return numbers.every(Number.isSafeInteger) ? { mark, sequence } : undefined;
}

/** The mark of a log directory: the valid slot of the higher sequence. */
export function readSyncMark(disk: Disk, directory: string, logId: Buffer): SyncMarkRead {
  const path = join(directory, syncMarkName);
  if (disk.size(path) === undefined) return { state: "missing" };
  const file = disk.open(path, "read");
  try {
    const seed = logSeed(logId);
    let newest: { mark: SyncMark; sequence: number } | undefined;
    for (const position of syncMarkSlotPositions) {
      const slot = Buffer.alloc(syncMarkSlotBytes);
      if (file.readSync(slot, position) < syncMarkSlotBytes) continue;
      const found = decodeSyncMark(slot, seed);
      if (found !== undefined && (newest === undefined || found.sequence > newest.sequence)) newest = found;
    }
    return newest === undefined ? { state: "unreadable" } : { state: "valid", ...newest };
  } finally {
    file.close();
  }
}

/** The open mark of a log that is being written. */
export class SyncMarkFile {
  readonly #file: DiskFile;
  readonly #seed: number;
  #sequence: number;
  #mark: SyncMark;
  #isSynced: boolean;

  private constructor(file: DiskFile, seed: number, sequence: number, mark: SyncMark, isSynced: boolean) {
    this.#file = file;
    this.#seed = seed;
    this.#sequence = sequence;
    this.#mark = mark;
    this.#isSynced = isSynced;
  }

  /** Makes the file with `mark` in both slots, synced; the directory is the caller's to sync. Replaces what was there. */
  static async create(disk: Disk, directory: string, logId: Buffer, mark: SyncMark): Promise<SyncMarkFile> {
    const path = join(directory, syncMarkName);
    disk.remove(path);
    const file = disk.open(path, "create");
    try {
      file.writeSync([Buffer.alloc(syncMarkFileBytes)], 0);
      const created = new SyncMarkFile(file, logSeed(logId), 0, mark, false);
      await created.writeBoth(mark);
      return created;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Opens the file whose newest slot was read as `mark` with `sequence`. */
  static open(disk: Disk, directory: string, logId: Buffer, sequence: number, mark: SyncMark): SyncMarkFile {
    return new SyncMarkFile(disk.open(join(directory, syncMarkName), "write"), logSeed(logId), sequence, mark, true);
  }

  get mark(): SyncMark {
    return this.#mark;
  }

  /** Whether the newest slot is durable. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Writes the other slot; durable only after `sync`. */
  write(described: SyncMark): void {
    // Once poisoned it stays so until the log is opened anew, whatever was under way meanwhile.
    const mark = this.#mark.isPoisoned ? { ...described, isPoisoned: true, isClean: false } : described;
    this.#sequence += 1;
    this.#mark = mark;
    this.#isSynced = false;
    const position = syncMarkSlotPositions[this.#sequence % 2] ?? 0;
    this.#file.writeSync([encodeSyncMark(mark, this.#sequence, this.#seed)], position);
  }

  async sync(): Promise<void> {
    if (this.#isSynced) return;
    const sequence = this.#sequence;
    await this.#file.datasync();
    // What was written while the sync ran isn't covered by it.
    if (sequence === this.#sequence) this.#isSynced = true;
  }

  /**
   * Writes both slots, one after the other, each synced: after it no higher mark is left to come back. A crash between the
   * two leaves the newer one whole.
   */
  async writeBoth(mark: SyncMark): Promise<void> {
    this.write(mark);
    await this.#file.datasync();
    this.write(mark);
    await this.sync();
  }

  close(): void {
    this.#file.close();
  }
}
