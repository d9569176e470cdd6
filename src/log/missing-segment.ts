import type { DiskFile } from "../base/disk.ts";
import { indexTrailerBytes, readIndexSummary } from "./entry-index.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import { indexSuffix, segmentPath, storeSuffix } from "./segment-name.ts";
import { slotBytes } from "./slots.ts";

/**
 * Whether a segment is missing between two that are there, as far as it shows without reading stores: the size of an index says
 * how many entries its segment holds, the name behind which one should follow. That is a size asked for a segment; only where
 * it doesn't fit, the trailer is read, and believed when the store ends where it says, so that an index that is wrong keeps no log
 * from opening. Where the index is lost as well, scrub and readers notice.
 */
export function findMissingSegment(
  context: Pick<LogContext, "disk" | "directory" | "seed">,
  baseIndexes: readonly number[],
): LogDamage | undefined {
  for (const [i, baseIndex] of baseIndexes.entries()) {
    const nextBaseIndex = baseIndexes[i + 1];
    if (nextBaseIndex === undefined) return undefined;
    const indexBytes = context.disk.size(segmentPath(context.directory, baseIndex, indexSuffix));
    if (indexBytes === undefined || indexBytes === (nextBaseIndex - baseIndex) * slotBytes + indexTrailerBytes) continue;
    const damage = describeGap(context, baseIndex, nextBaseIndex);
    if (damage !== undefined) return damage;
  }
  return undefined;
}

function describeGap(
  { disk, directory, seed }: Pick<LogContext, "disk" | "directory" | "seed">,
  baseIndex: number,
  nextBaseIndex: number,
): LogDamage | undefined {
  const file = disk.open(segmentPath(directory, baseIndex, indexSuffix), "read");
  const summary = readAndClose(file, (index) => readIndexSummary(index, baseIndex, seed));
  if (summary === undefined || disk.size(segmentPath(directory, baseIndex, storeSuffix)) !== summary.storeBytes)
    return undefined;
  const missingIndex = baseIndex + summary.entryCount;
  if (missingIndex >= nextBaseIndex) return undefined;
  return {
    file: segmentPath(directory, missingIndex, storeSuffix),
    position: 0,
    firstOffset: summary.nextOffset,
    // How many records its entries spanned is told by the header behind, which `verify` reads.
    nextOffset: summary.nextOffset,
    reason: `the file is missing, and entries ${missingIndex} to ${nextBaseIndex - 1} with it`,
  };
}

function readAndClose<T>(file: DiskFile, read: (file: DiskFile) => T): T {
  try {
    return read(file);
  } finally {
    file.close();
  }
}
