import { indexTrailerBytes, readIndexSummary, type SegmentSummary } from "./entry-index.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import { indexSuffix, segmentPath, storeSuffix } from "./segment-name.ts";
import { slotBytes } from "./slots.ts";

/**
 * Whether a segment is missing between two that are there, as far as it shows without reading stores: the size of an index says
 * how many entries its segment holds, the name behind which one should follow. That is a size asked for a segment; only where
 * it doesn't fit, the trailer is read, and believed when the store ends where it says, so that an index that is wrong keeps no log
 * from opening. Where the index is lost as well, scrub and readers notice.
 *
 * `onForeign` is told of segments whose index tells of fewer entries and of another store: a crash brought back that of the store
 * before one that segments were merged into. Whoever believed it would not see the entries that came with the others.
 */
export function findMissingSegment(
  context: Pick<LogContext, "disk" | "directory" | "seed">,
  baseIndexes: readonly number[],
  onForeign: (baseIndex: number) => void,
): LogDamage | undefined {
  for (const [i, baseIndex] of baseIndexes.entries()) {
    const nextBaseIndex = baseIndexes[i + 1];
    if (nextBaseIndex === undefined) return undefined;
    const indexBytes = context.disk.size(segmentPath(context.directory, baseIndex, indexSuffix));
    if (indexBytes === undefined || indexBytes === (nextBaseIndex - baseIndex) * slotBytes + indexTrailerBytes) continue;
    const summary = readSummary(context, baseIndex);
    if (summary === undefined || baseIndex + summary.entryCount >= nextBaseIndex) continue;
    const storeBytes = context.disk.size(segmentPath(context.directory, baseIndex, storeSuffix));
    if (storeBytes === summary.storeBytes) return describeGap(context.directory, summary, nextBaseIndex);
    onForeign(baseIndex);
  }
  return undefined;
}

function describeGap(directory: string, summary: SegmentSummary, nextBaseIndex: number): LogDamage {
  const missingIndex = summary.baseIndex + summary.entryCount;
  return {
    file: segmentPath(directory, missingIndex, storeSuffix),
    position: 0,
    firstOffset: summary.nextOffset,
    // How many records its entries spanned is told by the header behind, which `verify` reads.
    nextOffset: summary.nextOffset,
    reason: `the file is missing, and entries ${missingIndex} to ${nextBaseIndex - 1} with it`,
  };
}

function readSummary(
  { disk, directory, seed }: Pick<LogContext, "disk" | "directory" | "seed">,
  baseIndex: number,
): SegmentSummary | undefined {
  const file = disk.open(segmentPath(directory, baseIndex, indexSuffix), "read");
  try {
    return readIndexSummary(file, baseIndex, seed);
  } finally {
    file.close();
  }
}
