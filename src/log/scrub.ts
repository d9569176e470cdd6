import type { Clock } from "../base/clock.ts";
import { systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf } from "../base/error.ts";
import { corruptError } from "./corrupt-error.ts";
import { readSealedSlots } from "./entry-index.ts";
import { FrameScanner } from "./frame-scanner.ts";
import type { ScrubReport } from "./log.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { checkSeam, type SegmentEnd } from "./seam.ts";
import type { Segments } from "./segments.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { indexSuffix, segmentPath } from "./segment-name.ts";
import { findScanFault } from "./store-scan.ts";

export interface ScrubOptions {
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads sealed segments whole and verifies them, so that rot is found while there is still another copy, and not by the reader
 * who needs the record. A wrong index is built anew; damage is reported and left as it is.
 */
export async function scrubSegments(
  context: LogContext,
  listSegments: () => Segments,
  options: ScrubOptions,
): Promise<ScrubReport> {
  const damages: LogDamage[] = [];
  let bytes = 0;
  let segments = 0;
  let doneUpTo = 0;
  const start = context.clock.monotonic();
  for (;;) {
    // Asked for anew each time: retention may have removed some meanwhile, and a roll added one.
    const segment = listSegments().findByIndexAbove(doneUpTo);
    if (!(segment instanceof SealedSegment) || options.signal?.aborted === true) break;
    doneUpTo = segment.baseIndex;
    const isThere = (): boolean => listSegments().sealed.includes(segment);
    try {
      const end = await scrubSegment(context, segment, async (readBytes) => {
        bytes += readBytes;
        await pace(context.clock, { start, bytes, ...options });
        return options.signal?.aborted !== true && isThere();
      });
      if (end === undefined) continue;
      segments += 1;
      checkSeam("scrub a segment", segment, end, listSegments().after(segment));
    } catch (error) {
      if (!isThere()) continue;
      const damage = damageOf(error, segment);
      if (damage === undefined) throw error;
      damages.push(damage);
      context.damages.note(damage);
    }
  }
  context.observer.scrubbed?.({ segments, bytes, damages: damages.length });
  return { segments, bytes, damages };
}

/** `goOn` is asked after each piece; undefined when it was told not to. Throws LOG_CORRUPT. */
async function scrubSegment(
  context: LogContext,
  segment: SealedSegment,
  goOn: (readBytes: number) => Promise<boolean>,
): Promise<SegmentEnd | undefined> {
  const { disk, openFiles, seed } = context;
  const file = openFiles.acquire(disk, segment.storePath);
  let end: SegmentEnd;
  try {
    const scanner = new FrameScanner({
      file,
      position: segmentHeaderBytes,
      endPosition: file.size(),
      chain: segment.before(),
      seed,
      reusesMemory: true,
    });
    while (scanner.end === undefined) {
      const from = scanner.position;
      await scanner.next();
      if (!(await goOn(scanner.position - from))) return undefined;
    }
    end = { lastIndex: scanner.chain.index, nextOffset: scanner.chain.nextOffset, storeBytes: scanner.position };
    const fault = findScanFault(file, scanner);
    if (fault !== undefined) {
      const { nextOffset } = scanner.chain;
      throw corruptError("scrub a segment", {
        file: segment.storePath,
        position: scanner.position,
        firstOffset: nextOffset,
        nextOffset,
        reason: fault,
      });
    }
  } finally {
    openFiles.release(file);
  }
  await segment.summary();
  if (!isIndexSound(context, segment)) await segment.rebuild();
  return end;
}

function isIndexSound({ disk, openFiles, directory, seed }: LogContext, segment: SealedSegment): boolean {
  const path = segmentPath(directory, segment.baseIndex, indexSuffix);
  if (disk.size(path) === undefined) return false;
  const index = openFiles.acquire(disk, path);
  try {
    return readSealedSlots(index, segment.baseIndex, seed) !== undefined;
  } finally {
    openFiles.release(index);
  }
}

/** What `error` says is damaged; undefined when it says something else. */
function damageOf(error: unknown, segment: SealedSegment): LogDamage | undefined {
  if (!isProglogError(error)) {
    // What the disk can't read, or has lost whole, is as damaged as what it reads wrong.
    if (systemErrorCode(error) === undefined) return undefined;
    return { file: segment.storePath, position: 0, firstOffset: 0, nextOffset: 0, reason: messageOf(error) };
  }
  if (error.code !== "LOG_CORRUPT") return undefined;
  const details: Readonly<Record<string, unknown>> = error.details;
  const numberOf = (key: string): number => (typeof details[key] === "number" ? details[key] : 0);
  return {
    file: segment.storePath,
    position: numberOf("position"),
    firstOffset: numberOf("firstOffset"),
    nextOffset: numberOf("nextOffset"),
    reason: typeof details["reason"] === "string" ? details["reason"] : "the segment header is bad",
  };
}

/** Waits until reading `bytes` since `start` keeps within the rate, or until it is told to end. */
async function pace(clock: Clock, read: ScrubOptions & { readonly start: number; readonly bytes: number }): Promise<void> {
  const { start, bytes, bytesPerSecond, signal } = read;
  const aheadMs = (bytes / bytesPerSecond) * 1000 - (clock.monotonic() - start);
  if (aheadMs <= 1 || signal?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const timer = clock.setTimer(aheadMs, wake);
  signal?.addEventListener("abort", wake);
  await promise;
  timer.cancel();
  signal?.removeEventListener("abort", wake);
}
