import { join } from "node:path";
import { backupRetryMaxMs, backupRetryMinMs, backupTriesMaxCount } from "../base/backup-limits.ts";
import type { Clock } from "../base/clock.ts";
import { sleep } from "../base/sleep.ts";
import { type Disk, systemErrorCode } from "../base/disk.ts";
import { type ErrorCode, isProglogError, messageOf, ProglogError } from "../base/error.ts";
import type { BackupTopics } from "../wire/backup-message.ts";
import {
  type BackupLogEntry,
  type BackupManifest,
  backupManifestName,
  type BackupSourceIdentity,
  findBackupManifest,
  writeBackupManifest,
} from "./backup-manifest.ts";
import type { BackupPartition, BackupSource } from "./backup-source.ts";
import { LogCopy } from "./log-copy.ts";

export interface WriteOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  /** The release of proglog that makes it. */
  readonly release: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: BackupProgress) => void;
}

export interface BackupProgress {
  /** "orders/0". */
  readonly log: string;
  readonly logNumber: number;
  readonly logCount: number;
  /** Fetched so far, of all logs. */
  readonly bytes: number;
}

export interface BackupReport {
  readonly generation: number;
  readonly topics: number;
  readonly logs: number;
  readonly segments: number;
  /** Of the whole backup. */
  readonly bytes: number;
  /** What this run copied, and what it found there from before. */
  readonly fetchedBytes: number;
  readonly keptBytes: number;
  /** Topics that were deleted while it ran: they aren't in it. */
  readonly deleted: readonly string[];
}

/**
 * Brings a folder up to what the source has committed now: what is there already of an earlier backup stays, or of a run that was cut
 * short; the rest is fetched, checked frame by frame and made durable; and then the manifest is put in the place of the one before. What
 * nothing names any more is removed last.
 *
 * Each partition is as it was at one moment, and each at another: what is produced meanwhile is in it or not. Throws INVALID_ARGUMENT for a
 * folder that holds something else, or the records of another node or cluster; LOG_LOCKED while another backup goes there; LOG_CORRUPT
 * for what the source has damaged; else what the source or the disk throws. Then the backup of before stands.
 */
export async function writeBackup(source: BackupSource, folder: string, options: WriteOptions): Promise<BackupReport> {
  const { disk, clock, release, signal, onProgress } = options;
  const startedAt = clock.now();
  checkFolder(disk, folder);
  await disk.makeDirectory(join(folder, logsName));
  const lock = disk.lock(join(folder, lockName));
  try {
    const previous = findBackupManifest(disk, folder);
    const topics = await source.topics();
    const identity = identityOf(topics);
    checkSameSource(folder, previous, identity);
    const generation = (previous?.generation ?? 0) + 1;
    const copies = partitionsOf(topics).map((partition) => {
      const directory = join(folder, logsName, partition.uuid);
      const before = previous?.logs.find(({ uuid }) => uuid === partition.uuid);
      return new LogCopy({ source, partition, disk, directory, generation, before, signal });
    });
    const fetched = (): number => copies.reduce((sum, copy) => sum + copy.fetchedBytes, 0);
    const entries = new Map<string, BackupLogEntry>();
    const deleted = new Set<string>();
    for (const [number, copy] of copies.entries()) {
      const { topic, partition } = copy.partition;
      if (deleted.has(topic)) continue;
      const log = `${topic}/${partition}`;
      copy.onBytes = () => onProgress?.({ log, logNumber: number + 1, logCount: copies.length, bytes: fetched() });
      copy.onBytes();
      const entry = await copyPatiently(copy, options);
      if (entry === undefined) deleted.add(topic);
      else entries.set(entry.uuid, entry);
    }
    const kept = topics.topics.filter(({ name }) => !deleted.has(name));
    const logs = kept.flatMap(({ partitions }) => partitions.flatMap((uuid) => entries.get(uuid) ?? []));
    await disk.syncDirectory(join(folder, logsName));
    const manifest: BackupManifest = {
      ...{ generation, source: identity, release, startedAt, finishedAt: clock.now(), topics: kept, logs },
    };
    await writeBackupManifest(disk, folder, manifest);
    await removeUnnamed(disk, folder, manifest);
    const bytes = bytesOf(logs);
    const fetchedBytes = copies
      .filter((copy) => entries.has(copy.partition.uuid))
      .reduce((sum, copy) => sum + copy.newBytes, 0);
    return {
      generation,
      topics: kept.length,
      logs: logs.length,
      segments: logs.reduce((sum, { segments }) => sum + segments.length, 0),
      ...{ bytes, fetchedBytes, keptBytes: bytes - fetchedBytes, deleted: [...deleted] },
    };
  } catch (error) {
    throw explain(error, folder);
  } finally {
    lock.release();
  }
}

export const logsName = "logs";
const lockName = "lock";

/** Tries again what passes. Undefined when the topic was deleted. */
async function copyPatiently(copy: LogCopy, { clock, signal }: WriteOptions): Promise<BackupLogEntry | undefined> {
  let retryMs = backupRetryMinMs;
  for (let tries = 1; ; tries += 1) {
    const doneBefore = copy.filesDone;
    try {
      signal?.throwIfAborted();
      return await copy.run();
    } catch (error) {
      if (signal?.aborted === true) throw cancelled();
      if (isProglogError(error, "TOPIC_NOT_FOUND")) return undefined;
      if (!isProglogError(error) || !passingCodes.includes(error.code)) throw error;
      // What is copied stays, so a log that is trimmed all the time is done with as well.
      if (copy.filesDone > doneBefore) [tries, retryMs] = [0, backupRetryMinMs];
      if (tries >= backupTriesMaxCount) throw error;
    }
    await sleep(clock, retryMs, signal);
    retryMs = Math.min(2 * retryMs, backupRetryMaxMs);
  }
}

/** The log was changed, is led by another node now, or nobody answered just then. */
const passingCodes: readonly ErrorCode[] = [
  ...(["CHANGE_IN_PROGRESS", "NOT_LEADER", "NOT_A_REPLICA", "LEADERSHIP_LOST"] as const),
  ...(["UNAVAILABLE", "OVERLOADED", "TIMEOUT", "LOG_CLOSED", "SHUTTING_DOWN"] as const),
];

function cancelled(): ProglogError {
  return new ProglogError("CANCELLED", "Cannot go on with the backup: it was told to stop", {
    hint: "Run it again: it goes on with what is there. The backup of before, if there is one, is whole.",
    details: { outcome: "not-appended" },
  });
}

/** A folder of backups, an empty one, or one that isn't there. */
function checkFolder(disk: Disk, folder: string): void {
  if (!disk.isDirectory(folder)) {
    if (disk.size(folder) === undefined) return;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot make a backup in ${folder}: it is a file`);
  }
  const names = disk.list(folder);
  const known = [backupManifestName, `${backupManifestName}.tmp`, logsName, lockName, `${lockName}.pid`];
  const foreign = names.find((name) => !known.includes(name));
  // A node's directory has logs and a lock, too, and other files.
  if (foreign === undefined) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot make a backup in ${folder}: it holds ${foreign}, which is none of a backup's`,
    {
      hint: "Name an empty folder, or that of an earlier backup of the same node or cluster.",
    },
  );
}

function identityOf({ clusterId, storageId }: BackupTopics): BackupSourceIdentity {
  return { clusterId, storageId: clusterId === null ? storageId : null };
}

function checkSameSource(folder: string, previous: BackupManifest | undefined, identity: BackupSourceIdentity): void {
  if (previous === undefined) return;
  const { clusterId, storageId } = previous.source;
  if (clusterId === identity.clusterId && storageId === identity.storageId) return;
  const whose = clusterId === null ? `the node ${storageId}` : `the cluster ${clusterId}`;
  const other = identity.clusterId === null ? `the node ${identity.storageId}` : `the cluster ${identity.clusterId}`;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot make a backup of ${other} in ${folder}: it holds one of ${whose}`, {
    hint: "Name another folder: a node that was restored, or became a cluster, is another one.",
  });
}

function partitionsOf({ topics }: BackupTopics): readonly BackupPartition[] {
  return topics.flatMap(({ name, partitions }) => partitions.map((uuid, partition) => ({ topic: name, partition, uuid })));
}

function bytesOf(logs: readonly BackupLogEntry[]): number {
  return logs.flatMap(({ baseRecord, segments }) => [baseRecord, ...segments]).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** What earlier backups had, and runs that were cut short. Only names that could be ours are looked at, so nothing else is removed. */
async function removeUnnamed(disk: Disk, folder: string, { logs }: BackupManifest): Promise<void> {
  const named = new Map(
    logs.map(({ uuid, baseRecord, segments }) => [uuid, new Set([baseRecord, ...segments].map(({ name }) => name))]),
  );
  const logsPath = join(folder, logsName);
  for (const uuid of disk.list(logsPath)) {
    const directory = join(logsPath, uuid);
    if (!disk.isDirectory(directory)) continue;
    for (const name of disk.list(directory))
      if (named.get(uuid)?.has(name) !== true && ourNamePattern.test(name)) disk.remove(join(directory, name));
    if (!named.has(uuid) && disk.list(directory).length === 0) disk.removeDirectory(directory);
    else await disk.syncDirectory(directory);
  }
  await disk.syncDirectory(logsPath);
}

const ourNamePattern = /^(base-\d+|\d{20}-\d+-\d+\.store)(\.part)?$/;

/** What the folder's disk throws as it is. */
function explain(error: unknown, folder: string): unknown {
  const code = systemErrorCode(error);
  if (isProglogError(error) || code === undefined) return error;
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  return new ProglogError(isFull ? "DISK_FULL" : "DISK_FAILED", `Cannot make a backup in ${folder}: ${messageOf(error)}`, {
    ...(isFull ? { hint: "Free some room, and run it again: it goes on with what is there." } : {}),
    cause: error,
  });
}
