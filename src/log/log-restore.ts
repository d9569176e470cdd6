import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import { producersMaxCount } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { BaseRecord } from "./base-record.ts";
import { BaseSlots } from "./base-slots.ts";
import type { ChainPoint } from "./chain.ts";
import { corruptError } from "./corrupt-error.ts";
import { DamageBook } from "./damage-book.ts";
import { encodeControlFrame, type Frame, frameHeadBytes, logSeed } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { IndexBuilder } from "./index-builder.ts";
import type { LogContext } from "./log-context.ts";
import { resolveOptions } from "./log-options.ts";
import { OpenFiles } from "./open-files.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";
import { findScanFault } from "./store-scan.ts";
import { StoreWriter } from "./store-writer.ts";
import { SyncMarkFile } from "./sync-mark.ts";

/** What a log is made anew of: a base record, and the stores behind it, in order, whatever their names are. */
export interface RestoredParts {
  readonly base: BaseRecord;
  /** One at least: of an empty log that of its first segment, which has a header only. */
  readonly storePaths: readonly string[];
}

export interface RestoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Told of bytes as they are written. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Makes a log in a directory that isn't there yet: with the same indexes, terms, offsets, times and batches, and by itself. Who its
 * replicas were goes: a membership becomes an entry of the same index that says nothing. Else the log would belong to nodes that aren't
 * there, and whoever is given it could never lead it.
 *
 * All is verified as it is copied, and what the sync mark then says is what has to be there: an end that gets lost afterwards is damage, and
 * not a write that a crash tore. Throws LOG_CORRUPT for parts that aren't sound, or don't follow each other.
 */
export async function restoreLog(directory: string, parts: RestoredParts, options: RestoreOptions): Promise<ChainPoint> {
  const { disk, clock, random, logger } = options;
  const { logId } = parts.base;
  const context: LogContext = {
    directory,
    disk,
    clock,
    random,
    logger,
    observer: {},
    openFiles: new OpenFiles(),
    damages: new DamageBook(logger, {}),
    mmap: undefined,
    producerLimits: { expiryMs: resolveOptions({}).producerExpiryMs, maxCount: producersMaxCount },
    logId,
    seed: logSeed(logId),
  };
  await disk.makeDirectory(directory);
  const { baseIndex, baseTerm, nextOffset } = parts.base;
  let last: ChainPoint = { index: baseIndex, term: baseTerm, nextOffset, appendTime: 0 };
  let newest: { readonly baseIndex: number; readonly end: number } | undefined;
  for (const [number, path] of parts.storePaths.entries()) {
    const restored = await restoreStore(context, path, { last, isFirst: number === 0, onBytes: options.onBytes });
    const { builder, end } = restored;
    if (number < parts.storePaths.length - 1) SealedSegment.replacing(context, builder).settle();
    newest = { baseIndex: restored.baseIndex, end };
    last = builder.last;
  }
  if (newest === undefined) throw damaged(directory, 0, "no store of it is there", last);
  if (parts.base.describedIndex > last.index)
    throw damaged(
      directory,
      0,
      `its base record describes entry ${parts.base.describedIndex}, and its last is ${last.index}`,
      last,
    );
  const mark = { ...last, segmentBaseIndex: newest.baseIndex, position: newest.end, newsIndex: null };
  const markFile = await SyncMarkFile.create(disk, directory, logId, {
    ...mark,
    isClean: false,
    isCutting: false,
    isPoisoned: false,
  });
  markFile.close();
  await BaseSlots.create(disk, directory, withoutMembers(parts.base));
  await disk.syncDirectory(directory);
  return last;
}

async function restoreStore(
  context: LogContext,
  sourcePath: string,
  {
    last,
    isFirst,
    onBytes,
  }: { readonly last: ChainPoint; readonly isFirst: boolean; readonly onBytes?: ((bytes: number) => void) | undefined },
): Promise<{ readonly builder: IndexBuilder; readonly baseIndex: number; readonly end: number }> {
  const { disk, directory, logId, seed } = context;
  const source = disk.open(sourcePath, "read");
  let target: DiskFile | undefined;
  try {
    const header = Buffer.alloc(segmentHeaderBytes);
    const read = readSegmentHeader(header.subarray(0, source.readSync(header, 0)));
    if ("fault" in read) throw damaged(sourcePath, 0, read.fault, last);
    const { before } = read;
    if (!read.header.logId.equals(logId)) throw damaged(sourcePath, 0, "it belongs to another log", last);
    if (!follows(before, last, isFirst))
      throw damaged(sourcePath, 0, `it begins behind entry ${before.index} where ${last.index} was the last`, last);
    const baseIndex = before.index + 1;
    target = disk.open(segmentPath(directory, baseIndex, storeSuffix), "create");
    const writer = new StoreWriter(target, new IndexBuilder(before), seed);
    writer.addHeader(header);
    const scanner = new FrameScanner({
      file: source,
      position: segmentHeaderBytes,
      endPosition: source.size(),
      chain: before,
      seed,
    });
    do {
      for (const frame of await scanner.next()) writer.add(frame.kind === "membership" ? silenced(frame, seed) : frame);
      const written = await writer.flush();
      onBytes?.(written);
    } while (scanner.end === undefined);
    const fault = findScanFault(source, scanner);
    if (fault !== undefined) throw damaged(sourcePath, scanner.position, fault, scanner.chain);
    await target.datasync();
    return { builder: writer.builder, baseIndex, end: writer.end };
  } finally {
    target?.close();
    source.close();
  }
}

/** Of the entry before the first segment only index, term and offset are known elsewhere. */
function follows(before: ChainPoint, last: ChainPoint, isFirst: boolean): boolean {
  if (before.index !== last.index || before.term !== last.term || before.nextOffset !== last.nextOffset) return false;
  return isFirst || before.appendTime === last.appendTime;
}

function silenced(frame: Frame, seed: number): Frame {
  const bytes = encodeControlFrame({ ...frame, kind: "no-op" }, Buffer.alloc(0), seed);
  return { ...frame, kind: "no-op", byteLength: bytes.length, payload: bytes.subarray(frameHeadBytes) };
}

function withoutMembers(base: BaseRecord): BaseRecord {
  const entries = base.controls.entries.filter(({ kind }) => kind !== "membership");
  return { ...base, membership: Buffer.alloc(0), controls: { fromIndex: 1, entries } };
}

function damaged(file: string, position: number, reason: string, { nextOffset }: ChainPoint) {
  return corruptError("restore a log", { file, position, firstOffset: nextOffset, nextOffset, reason });
}

/** The directory of a node's log. */
export function logDirectoryOf(dataDir: string, uuid: string): string {
  return join(dataDir, "logs", uuid);
}
