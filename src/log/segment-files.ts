import type { LogContext } from "./log-context.ts";
import { indexSuffix, parseStoreName, segmentPath, storeSuffix, timeIndexSuffix } from "./segment-name.ts";

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
  for (const suffix of [indexSuffix, timeIndexSuffix, storeSuffix] as const) {
    const path = segmentPath(context.directory, baseIndex, suffix);
    context.openFiles.forget(path);
    context.disk.remove(path);
  }
}
