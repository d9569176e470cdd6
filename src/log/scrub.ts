import type { Clock } from "../base/clock.ts";
import { isProglogError } from "../base/error.ts";
import { corruptError } from "./corrupt-error.ts";
import { readSealedSlots } from "./entry-index.ts";
import { FrameScanner } from "./frame-scanner.ts";
import type { ScrubReport } from "./log.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import type { SealedSegment } from "./sealed-segment.ts";
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
  listSegments: () => readonly SealedSegment[],
  options: ScrubOptions,
): Promise<ScrubReport> {
  const damages: LogDamage[] = [];
  let bytes = 0;
  let segments = 0;
  let doneUpTo = 0;
  const start = context.clock.monotonic();
  for (;;) {
    // Asked for anew each time: retention may have removed some meanwhile, and a roll added one.
    const segment = listSegments().find((candidate) => candidate.baseIndex > doneUpTo);
    if (segment === undefined || options.signal?.aborted === true) break;
    doneUpTo = segment.baseIndex;
    const isThere = (): boolean => listSegments().includes(segment);
    try {
      await scrubSegment(context, segment, async (readBytes) => {
        bytes += readBytes;
        await pace(context.clock, start, bytes, options.bytesPerSecond);
        return options.signal?.aborted !== true && isThere();
      });
      segments += 1;
    } catch (error) {
      if (!isThere()) continue;
      if (!isProglogError(error, "LOG_CORRUPT")) throw error;
      const damage = damageOf(error.details, segment);
      damages.push(damage);
      context.damages.note(damage);
    }
  }
  context.observer.scrubbed?.({ segments, bytes, damages: damages.length });
  return { segments, bytes, damages };
}

/** `goOn` is asked after each piece. Throws LOG_CORRUPT. */
async function scrubSegment(context: LogContext, segment: SealedSegment, goOn: (readBytes: number) => Promise<boolean>): Promise<void> {
  const { disk, openFiles, seed, directory } = context;
  const file = openFiles.acquire(disk, segment.storePath);
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
      if (!(await goOn(scanner.position - from))) return;
    }
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
  const index = openFiles.acquire(disk, segmentPath(directory, segment.baseIndex, indexSuffix));
  let isIndexSound: boolean;
  try {
    isIndexSound = readSealedSlots(index, segment.baseIndex, seed) !== undefined;
  } finally {
    openFiles.release(index);
  }
  if (!isIndexSound) await segment.rebuild();
}

function damageOf(details: Readonly<Record<string, unknown>>, segment: SealedSegment): LogDamage {
  const numberOf = (key: string): number => (typeof details[key] === "number" ? details[key] : 0);
  return {
    file: segment.storePath,
    position: numberOf("position"),
    firstOffset: numberOf("firstOffset"),
    nextOffset: numberOf("nextOffset"),
    reason: typeof details["reason"] === "string" ? details["reason"] : "the segment header is bad",
  };
}

/** Waits until reading `bytes` since `start` keeps within the rate. */
async function pace(clock: Clock, start: number, bytes: number, bytesPerSecond: number): Promise<void> {
  const aheadMs = (bytes / bytesPerSecond) * 1000 - (clock.monotonic() - start);
  if (aheadMs > 1) await new Promise<void>((resolve) => void clock.setTimer(aheadMs, resolve));
}
