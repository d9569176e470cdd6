import type { LogContext } from "./log-context.ts";
import { indexSuffix, parseStoreName, type SegmentFile, segmentPath, storeSuffix, timeIndexSuffix } from "./segment-name.ts";

/** Base indexes of the stores in a log's directory, ascending. */
export function listBaseIndexes(context: Pick<LogContext, "disk" | "directory">): number[] {
  return context.disk
    .list(context.directory)
    .map(parseStoreName)
    .filter((baseIndex) => baseIndex !== undefined)
    .sort((a, b) => a - b);
}

/** Removes a segment's files; the caller syncs the directory. The store goes last: while it is there, the segment is. */
export function removeSegment(context: Pick<LogContext, "disk" | "directory" | "openFiles">, baseIndex: number): void {
  removeFiles(context, baseIndex, [indexSuffix, timeIndexSuffix, storeSuffix]);
}

/** Removes a segment's index files; the caller syncs the directory. */
export function removeIndexes(context: Pick<LogContext, "disk" | "directory" | "openFiles">, baseIndex: number): void {
  removeFiles(context, baseIndex, [indexSuffix, timeIndexSuffix]);
}

function removeFiles(
  { disk, directory, openFiles }: Pick<LogContext, "disk" | "directory" | "openFiles">,
  baseIndex: number,
  suffixes: readonly SegmentFile[],
): void {
  for (const suffix of suffixes) {
    const path = segmentPath(directory, baseIndex, suffix);
    openFiles.forget(path);
    disk.remove(path);
  }
}
