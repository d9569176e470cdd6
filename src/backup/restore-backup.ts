import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { type Disk, systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import { decodeBaseRecord } from "../log/base-record.ts";
import { logDirectoryOf, restoreLog } from "../log/log-restore.ts";
import { type Manifest, manifestName, writeManifest } from "../log/manifest.ts";
import { type BackupFile, type BackupLogEntry, getBackupManifest } from "./backup-manifest.ts";
import { hashFile } from "./store-check.ts";
import { namedLogs, readBase } from "./verify-backup.ts";
import { logsName } from "./write-backup.ts";

export interface RestoreBackupOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onProgress?: (progress: { readonly log: string; readonly bytes: number; readonly totalBytes: number }) => void;
}

export interface RestoreReport {
  readonly topics: number;
  readonly logs: number;
  readonly bytes: number;
  /** Of the backup. */
  readonly finishedAt: number;
  /** The directory's own, and not that of the node whose records it has. */
  readonly storageId: string;
}

/**
 * Makes a single node's data directory of a backup. Every file is checked against the manifest before a byte of it is believed, and every
 * frame as it is copied. The manifest of the directory comes last, and until then something else stands in its place: no node starts
 * there, so a restore that was cut short is never taken for a whole one, nor for a new directory. Throws LOG_NOT_FOUND, MANIFEST_CORRUPT, UNSUPPORTED_FORMAT, LOG_CORRUPT; INVALID_ARGUMENT where the directory
 * isn't empty; LOG_LOCKED; DISK_FULL, DISK_FAILED.
 */
export async function restoreBackup(folder: string, dataDir: string, options: RestoreBackupOptions): Promise<RestoreReport> {
  const { disk, random, onProgress } = options;
  const backup = getBackupManifest(disk, folder, "restore");
  checkEmpty(disk, dataDir);
  await disk.makeDirectory(join(dataDir, logsName));
  const lock = disk.lock(join(dataDir, "lock"));
  try {
    await writePlaceholder(disk, dataDir);
    const totalBytes = backup.logs.flatMap(({ segments }) => segments).reduce((sum, { bytes }) => sum + bytes, 0);
    let bytes = 0;
    for (const { name, log } of namedLogs(backup)) {
      await restoreOne(join(folder, logsName, log.uuid), logDirectoryOf(dataDir, log.uuid), log, options, (more) => {
        bytes += more;
        onProgress?.({ log: name, bytes, totalBytes });
      });
    }
    await disk.syncDirectory(join(dataDir, logsName));
    const storageId = random.bytes(16).toString("hex");
    const topics = backup.topics.map(({ name, uuid, createdAt, settings, partitions }) => {
      return { name, uuid, createdAt, settings, partitions: partitions.map((log, partition) => ({ partition, uuid: log })) };
    });
    const manifest: Manifest = { generation: 1, storageId, topics, deleted: [] };
    await writeManifest(disk, join(dataDir, manifestName), manifest);
    return { topics: topics.length, logs: backup.logs.length, bytes, finishedAt: backup.finishedAt, storageId };
  } catch (error) {
    throw explain(error, dataDir);
  } finally {
    lock.release();
  }
}

/** Where the manifest will stand: a node refuses a directory with a manifest that is none, and would begin anew in one without. */
async function writePlaceholder(disk: Disk, dataDir: string): Promise<void> {
  const file = disk.open(join(dataDir, manifestName), "create");
  try {
    file.writeSync([Buffer.from("A backup is being restored here, and isn't whole.\n")], 0);
    await file.datasync();
  } finally {
    file.close();
  }
  await disk.syncDirectory(dataDir);
}

async function restoreOne(
  source: string,
  target: string,
  log: BackupLogEntry,
  options: RestoreBackupOptions,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { disk } = options;
  for (const file of [log.baseRecord, ...log.segments]) await checkFile(disk, source, file);
  const bytes = readBase(disk, join(source, log.baseRecord.name));
  const base = bytes === undefined ? undefined : decodeBaseRecord(bytes)?.record;
  if (base === undefined || base.logId.toString("hex") !== log.logId)
    throw damaged(source, log.baseRecord.name, "it is no base record of its log");
  const storePaths = log.segments.map(({ name }) => join(source, name));
  const last = await restoreLog(target, { base, storePaths }, { ...options, onBytes });
  if (last.index !== log.lastIndex || last.nextOffset !== log.nextOffset)
    throw damaged(
      source,
      log.segments.at(-1)?.name ?? "",
      `it ends with entry ${last.index}, and should with ${log.lastIndex}`,
    );
}

async function checkFile(disk: Disk, directory: string, { name, bytes, sha256 }: BackupFile): Promise<void> {
  const size = disk.size(join(directory, name));
  if (size === undefined) throw damaged(directory, name, "it is missing");
  if (size !== bytes) throw damaged(directory, name, `it has ${size} bytes, and had ${bytes}`);
  if ((await hashFile(disk, join(directory, name))) !== sha256)
    throw damaged(directory, name, "its checksum isn't the manifest's");
}

function damaged(directory: string, name: string, reason: string): ProglogError {
  return new ProglogError("LOG_CORRUPT", `Cannot restore ${join(directory, name)}: ${reason}`, {
    hint: "Run `proglog backup verify` on the backup; restore another one.",
    details: { file: join(directory, name) },
  });
}

/** Nothing is ever restored over something else. */
function checkEmpty(disk: Disk, dataDir: string): void {
  const isFile = !disk.isDirectory(dataDir) && disk.size(dataDir) !== undefined;
  const [found] = disk.isDirectory(dataDir) ? disk.list(dataDir) : isFile ? [dataDir] : [];
  if (found === undefined) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot restore to ${dataDir}: ${isFile ? "it is a file" : `it holds ${found}`}`, {
    hint: "Name a directory that isn't there yet, or an empty one.",
  });
}

function explain(error: unknown, dataDir: string): unknown {
  const code = systemErrorCode(error);
  if (isProglogError(error) || code === undefined) return error;
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  return new ProglogError(isFull ? "DISK_FULL" : "DISK_FAILED", `Cannot restore to ${dataDir}: ${messageOf(error)}`, {
    hint: "Remove the directory before the next try.",
    cause: error,
  });
}
