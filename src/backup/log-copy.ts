import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { writeNewFile } from "../base/write-new-file.ts";
import { decodeBaseRecord } from "../log/base-record.ts";
import type { BackupLog, BackupSegment } from "../wire/backup-message.ts";
import type { BackupFile, BackupLogEntry, BackupSegmentEntry } from "./backup-manifest.ts";
import type { BackupPartition, BackupSource } from "./backup-source.ts";
import { checkStore, type CheckedStore } from "./store-check.ts";

/**
 * One partition's log on its way into a backup. Files carry the generation of the backup that they were fetched for, so that none of a
 * backup that stands is ever written over.
 *
 * A file of before counts where it holds the same entries, which its range, its length and its last entry tell: what is committed is the
 * same for ever, unless it is compacted. Of a log that is compacted nothing of before counts, since an old record that came back from
 * there could outlive the tombstone that it was removed for; so all of it is fetched, and under one version.
 */
export class LogCopy {
  readonly partition: BackupPartition;
  /** Of all tries. */
  fetchedBytes = 0;
  /** Of what the last try put into the backup, those that it, or a run that was cut short, fetched for it. */
  newBytes = 0;
  /** Files that were fetched whole and stay, whatever comes. */
  filesDone = 0;
  onBytes: () => void = () => {};
  readonly #parts: LogCopyParts;

  constructor(parts: LogCopyParts) {
    this.partition = parts.partition;
    this.#parts = parts;
  }

  /** Throws TOPIC_NOT_FOUND where the log isn't the topic's any more, and what the source throws. */
  async run(): Promise<BackupLogEntry> {
    const { source, disk, directory, before } = this.#parts;
    const { topic, partition, uuid } = this.partition;
    const log = await source.log(this.partition);
    if (log.uuid !== uuid)
      throw new ProglogError(
        "TOPIC_NOT_FOUND",
        `Cannot copy partition ${partition} of topic ${topic}: it was deleted and made again`,
      );
    const base = decodeBaseRecord(log.baseRecord)?.record;
    if (base === undefined || base.logId.toString("hex") !== log.logId || base.describedIndex > log.lastIndex)
      throw this.#damaged("the base record that came isn't sound");
    await disk.makeDirectory(directory);
    const isFresh = log.isCompacted || before?.isCompacted === true || (before !== undefined && before.logId !== log.logId);
    const known = isFresh ? new Map<number, KnownFile>() : this.#findKnown(before);
    this.newBytes = 0;
    const segments: BackupSegmentEntry[] = [];
    for (let fromIndex = base.baseIndex + 1; segments.length === 0 || fromIndex <= log.lastIndex; ) {
      const page = await source.segments(this.partition, { version: log.version, fromIndex, lastIndex: log.lastIndex });
      if (page.length === 0) throw this.#damaged(`no segment holds entry ${fromIndex}`);
      for (const segment of page) {
        if (segment.baseIndex !== fromIndex)
          throw this.#damaged(`a segment begins at ${segment.baseIndex} where ${fromIndex} follows`);
        segments.push(await this.#copySegment(log, segment, known));
        fromIndex = segment.lastIndex + 1;
      }
      if (fromIndex <= base.baseIndex + 1) break;
    }
    const last = segments.at(-1);
    if (last === undefined || last.lastIndex !== log.lastIndex || last.nextOffset !== log.nextOffset)
      throw this.#damaged("the segments that came aren't those of the log");
    const baseRecord = await this.#writeBase(log.baseRecord);
    await disk.syncDirectory(directory);
    const { logId, logStartOffset, lastIndex, nextOffset, isCompacted } = log;
    return { ...{ uuid, logId, logStartOffset, lastIndex, nextOffset, isCompacted }, baseRecord, segments };
  }

  async #copySegment(log: BackupLog, segment: BackupSegment, known: Map<number, KnownFile>): Promise<BackupSegmentEntry> {
    const found = known.get(segment.baseIndex);
    const entry = found === undefined ? undefined : await this.#findUsable(log, segment, found);
    if (entry !== undefined) {
      if (found?.entry === undefined) this.newBytes += entry.bytes;
      return entry;
    }
    const fetched = await this.#fetch(log, segment);
    // Found again by the next try.
    if (!log.isCompacted && segment.isSealed) this.filesDone += 1;
    this.newBytes += fetched.bytes;
    return fetched;
  }

  /** Files of the backup before, and of a run for this one that was cut short, by base index. */
  #findKnown(before: BackupLogEntry | undefined): Map<number, KnownFile> {
    const { disk, directory, generation } = this.#parts;
    const known = new Map<number, KnownFile>();
    for (const entry of before?.segments ?? []) known.set(entry.baseIndex, { name: entry.name, entry });
    for (const name of disk.list(directory)) {
      const [, baseIndex, madeFor] = storeNamePattern.exec(name) ?? [];
      if (baseIndex !== undefined && Number(madeFor) === generation) known.set(Number(baseIndex), { name });
    }
    return known;
  }

  /** What is known of a file, when it holds what the segment does. Only a sealed segment tells enough for that. */
  async #findUsable(
    log: BackupLog,
    segment: BackupSegment,
    { name, entry }: KnownFile,
  ): Promise<BackupSegmentEntry | undefined> {
    const { disk, directory } = this.#parts;
    const path = join(directory, name);
    if (segment.end === undefined || disk.size(path) !== segment.bytes) return undefined;
    let candidate = entry;
    if (candidate === undefined) {
      // Whole, as its name says; but no manifest vouches for it.
      const checked = await checkStore(disk, path, log.logId);
      if (typeof checked === "string") return undefined;
      candidate = entryOf(name, checked);
    }
    const { lastTerm, nextOffset, lastAppendTime } = segment.end;
    const isSame =
      candidate.lastIndex === segment.lastIndex &&
      candidate.lastTerm === lastTerm &&
      candidate.nextOffset === nextOffset &&
      candidate.lastAppendTime === lastAppendTime;
    return isSame ? candidate : undefined;
  }

  async #fetch(log: BackupLog, segment: BackupSegment): Promise<BackupSegmentEntry> {
    const { source, disk, directory, generation, signal } = this.#parts;
    const { baseIndex, lastIndex, bytes } = segment;
    const name = `${String(baseIndex).padStart(20, "0")}-${lastIndex}-${generation}.store`;
    const partPath = join(directory, `${name}.part`);
    disk.remove(partPath);
    const file = disk.open(partPath, "create");
    try {
      for (let position = 0; position < bytes; ) {
        signal?.throwIfAborted();
        const piece = { version: log.version, baseIndex, position, endPosition: bytes };
        const read = await source.read(this.partition, piece);
        if (read.length === 0 || position + read.length > bytes)
          throw this.#damaged(`the segment ${baseIndex} ended at ${position} of ${bytes} bytes`);
        await file.write([read], position);
        position += read.length;
        this.fetchedBytes += read.length;
        this.onBytes();
      }
      await file.datasync();
    } finally {
      file.close();
    }
    const checked = await checkStore(disk, partPath, log.logId);
    if (typeof checked === "string") throw this.#damaged(`of the segment ${baseIndex} came: ${checked}`);
    if (checked.before.index !== baseIndex - 1 || checked.last.index !== lastIndex || checked.bytes !== bytes)
      throw this.#damaged(
        `of the segment ${baseIndex} came entries up to ${checked.last.index} where ${lastIndex} is the last`,
      );
    disk.rename(partPath, join(directory, name));
    return entryOf(name, checked);
  }

  async #writeBase(bytes: Buffer): Promise<BackupFile> {
    const { disk, directory, generation } = this.#parts;
    const name = `base-${generation}`;
    const path = join(directory, name);
    await writeNewFile(disk, path, bytes);
    this.newBytes += bytes.length;
    return { name, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  #damaged(reason: string): ProglogError {
    const { topic, partition } = this.partition;
    return new ProglogError("LOG_CORRUPT", `Cannot copy partition ${partition} of topic ${topic}: ${reason}`, {
      hint: "Run `proglog verify` on the node's directory; in a cluster its replicas repair each other when it is read.",
      details: { topic, partition },
    });
  }
}

export interface LogCopyParts {
  readonly source: BackupSource;
  readonly partition: BackupPartition;
  readonly disk: Disk;
  /** Of the log, in the backup's folder. */
  readonly directory: string;
  readonly generation: number;
  /** As the backup before has it. */
  readonly before: BackupLogEntry | undefined;
  readonly signal: AbortSignal | undefined;
}

interface KnownFile {
  readonly name: string;
  /** As the manifest has it; what a run that was cut short has left is in none. */
  readonly entry?: BackupSegmentEntry;
}

const storeNamePattern = /^(\d{20})-\d+-(\d+)\.store$/;

function entryOf(name: string, { before, last, bytes, sha256 }: CheckedStore): BackupSegmentEntry {
  return {
    ...{ name, bytes, sha256 },
    ...{ baseIndex: before.index + 1, lastIndex: last.index, lastTerm: last.term },
    ...{ nextOffset: last.nextOffset, lastAppendTime: last.appendTime },
  };
}
