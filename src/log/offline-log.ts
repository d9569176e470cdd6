import { join } from "node:path";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { type BaseRecord, type BaseRecordRead, readBaseRecord } from "./base-record.ts";
import { listBaseIndexes } from "./segment-files.ts";
import { lockName } from "./open-log.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";
import { readSyncMark, type SyncMark, type SyncMarkRead } from "./sync-mark.ts";

/** A log's directory as the offline tools have it: locked, read, and not recovered. */
export interface OfflineLog {
  readonly disk: Disk;
  readonly directory: string;
  readonly logId: Buffer;
  readonly baseRead: BaseRecordRead;
  readonly base: BaseRecord | undefined;
  readonly markRead: SyncMarkRead;
  readonly mark: SyncMark | undefined;
}

/** Runs `use` on a log's directory under its lock. Throws LOG_NOT_FOUND, LOG_LOCKED, or LOG_CORRUPT when nothing tells whose log it is. */
export async function withOfflineLog<T>(directory: string, disk: Disk, use: (log: OfflineLog) => Promise<T>): Promise<T> {
  if (!disk.isDirectory(directory)) throw notFoundError(directory);
  const hasLockFile = disk.size(join(directory, lockName)) !== undefined;
  const baseRead = readBaseRecord(disk, directory);
  if (baseRead.state === "missing" && listBaseIndexes({ disk, directory }).length === 0) throw notFoundError(directory);
  const lock = disk.lock(join(directory, lockName));
  try {
    const base = baseRead.state === "valid" ? baseRead.record : undefined;
    const logId = base?.logId ?? findLogId(disk, directory);
    const markRead = readSyncMark(disk, directory, logId);
    const mark = markRead.state === "valid" ? markRead.mark : undefined;
    return await use({ disk, directory, logId, baseRead, base, markRead, mark });
  } finally {
    // A log of a node has no lock file of its own; a tool that only reads leaves none behind. Removed while it is held:
    // afterwards it could be the next holder's.
    if (!hasLockFile) disk.remove(join(directory, lockName));
    lock.release();
  }
}

/** The log id of the first store with a sound header. */
function findLogId(disk: Disk, directory: string): Buffer {
  for (const baseIndex of listBaseIndexes({ disk, directory })) {
    const file = disk.open(segmentPath(directory, baseIndex, storeSuffix), "read");
    try {
      const bytes = Buffer.alloc(segmentHeaderBytes);
      const read = readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
      if (!("fault" in read)) return read.header.logId;
    } finally {
      file.close();
    }
  }
  throw new ProglogError(
    "LOG_CORRUPT",
    `Cannot read ${directory}: neither the base record nor any segment tells the log's id`,
    {
      hint: "Restore the directory from a backup.",
    },
  );
}

function notFoundError(directory: string): ProglogError {
  return new ProglogError("LOG_NOT_FOUND", `Cannot read ${directory}: there is no log`);
}
