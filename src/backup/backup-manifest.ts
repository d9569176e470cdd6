import { backupManifestMaxBytes } from "../base/backup-limits.ts";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import {
  checkFields,
  checkList,
  type CorruptFile,
  corruptFile,
  encodeWholeFile,
  isObject,
  readWholeFile,
  type WholeFile,
  type WholeFileFormat,
  writeWholeFile,
} from "../log/whole-file.ts";

/**
 * What a folder holds of a backup, in one checksummed file that is replaced whole (docs/backup.md). It alone makes a backup of the files
 * beside it: it is written when all of them are durable, and names each with its length and its SHA-256. So a run that was cut short has
 * changed nothing that counts, and the backup of before is still whole.
 */
export interface BackupManifest {
  /** Counts up with each backup into the folder, from 1. */
  readonly generation: number;
  readonly source: BackupSourceIdentity;
  /** The release of proglog that made it. */
  readonly release: string;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly topics: readonly BackupTopicEntry[];
  readonly logs: readonly BackupLogEntry[];
}

/** Whose records these are. Only one's go to a folder: of another, entries of the same index may be others. */
export interface BackupSourceIdentity {
  /** Of a cluster; null of a single node. */
  readonly clusterId: string | null;
  /** Of a single node's directory; null of a cluster, any of whose nodes may have been asked. */
  readonly storageId: string | null;
}

export interface BackupTopicEntry {
  readonly name: string;
  readonly uuid: string;
  readonly createdAt: number;
  readonly replicationFactor: number;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Their logs' uuids, in order. */
  readonly partitions: readonly string[];
}

export interface BackupLogEntry {
  readonly uuid: string;
  readonly logId: string;
  readonly logStartOffset: number;
  readonly lastIndex: number;
  readonly nextOffset: number;
  readonly isCompacted: boolean;
  readonly baseRecord: BackupFile;
  readonly segments: readonly BackupSegmentEntry[];
}

/** A file of a log, in `logs/<uuid>/`. */
export interface BackupFile {
  readonly name: string;
  readonly bytes: number;
  /** 64 hex digits. */
  readonly sha256: string;
}

export interface BackupSegmentEntry extends BackupFile {
  readonly baseIndex: number;
  /** One below the base index where it holds no entry. */
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly nextOffset: number;
  readonly lastAppendTime: number;
}

export const backupManifestName = "backup";

const format: WholeFileFormat = {
  noun: "backup manifest",
  magic: "PLBACKU1",
  version: 1,
  maxBytes: backupManifestMaxBytes,
  corruptHint: "Use another backup; without its manifest nothing says what belongs to this one.",
};

/** Undefined where there is none. Throws MANIFEST_CORRUPT, or UNSUPPORTED_FORMAT for a later version's. */
export function findBackupManifest(disk: Disk, folder: string): BackupManifest | undefined {
  const path = `${folder}/${backupManifestName}`;
  const file = readWholeFile(disk, path, format);
  return file === undefined ? undefined : parse(file, path);
}

/** As `findBackupManifest`, and LOG_NOT_FOUND where there is none. `attempt` is for the error. */
export function getBackupManifest(disk: Disk, folder: string, attempt: string): BackupManifest {
  const manifest = findBackupManifest(disk, folder);
  if (manifest !== undefined) return manifest;
  const isThere = disk.isDirectory(folder);
  const reason = isThere ? "it holds no whole backup: none was finished there" : "there is no such folder";
  throw new ProglogError("LOG_NOT_FOUND", `Cannot ${attempt} ${folder}: ${reason}`, {
    ...(isThere ? { hint: "Run the same backup again: it goes on with what is there." } : {}),
  });
}

/** Durably. Throws DISK_FULL, DISK_FAILED or OVERLOADED. */
export async function writeBackupManifest(disk: Disk, folder: string, { generation, ...body }: BackupManifest): Promise<void> {
  await writeWholeFile(disk, `${folder}/${backupManifestName}`, format, encodeWholeFile({ generation, body }, format));
}

function parse({ generation, body }: WholeFile, path: string): BackupManifest {
  const corrupt = corruptFile(path, format);
  const names = ["source", "release", "startedAt", "finishedAt", "topics", "logs"] as const;
  const { source, release, startedAt, finishedAt, topics, logs } = checkFields(body, names, "its body", corrupt);
  const check = new Checks(corrupt);
  const { clusterId, storageId } = checkFields(source, ["clusterId", "storageId"], "its source", corrupt);
  const manifest: BackupManifest = {
    generation,
    source: { clusterId: check.optionalId(clusterId), storageId: check.optionalId(storageId) },
    release: check.text(release, "its release", /^.{1,100}$/),
    startedAt: check.integer(startedAt, "its beginning"),
    finishedAt: check.integer(finishedAt, "its end"),
    topics: checkList(topics, "its topics", corrupt).map((topic) => check.topic(topic)),
    logs: checkList(logs, "its logs", corrupt).map((log) => check.log(log)),
  };
  const held = new Set(manifest.logs.map(({ uuid }) => uuid));
  const named = manifest.topics.flatMap(({ partitions }) => partitions);
  if (held.size !== manifest.logs.length || new Set(named).size !== named.length) throw corrupt("a log stands there twice");
  if (named.length !== held.size || named.some((uuid) => !held.has(uuid))) throw corrupt("its logs aren't those of its topics");
  return manifest;
}

/** The checksum has held; but names become paths, and numbers are counted on. */
class Checks {
  readonly #corrupt: CorruptFile;

  constructor(corrupt: CorruptFile) {
    this.#corrupt = corrupt;
  }

  topic(value: unknown): BackupTopicEntry {
    const names = ["name", "uuid", "createdAt", "replicationFactor", "settings", "partitions"] as const;
    const fields = checkFields(value, names, "a topic", this.#corrupt);
    if (!isObject(fields.settings)) throw this.#corrupt("a topic has no settings");
    const partitions = checkList(fields.partitions, "a topic's partitions", this.#corrupt);
    if (partitions.length === 0) throw this.#corrupt("a topic has no partition");
    return {
      name: this.text(fields.name, "a topic's name", /^[A-Za-z0-9._-]{1,249}$/),
      uuid: this.#uuid(fields.uuid),
      createdAt: this.integer(fields.createdAt, "a topic's time"),
      replicationFactor: this.integer(fields.replicationFactor, "a topic's count of replicas"),
      settings: fields.settings,
      partitions: partitions.map((uuid) => this.#uuid(uuid)),
    };
  }

  log(value: unknown): BackupLogEntry {
    const names = [
      "uuid",
      "logId",
      "logStartOffset",
      "lastIndex",
      "nextOffset",
      "isCompacted",
      "baseRecord",
      "segments",
    ] as const;
    const fields = checkFields(value, names, "a log", this.#corrupt);
    if (typeof fields.isCompacted !== "boolean") throw this.#corrupt("a log doesn't say whether it is compacted");
    const segments = checkList(fields.segments, "a log's segments", this.#corrupt).map((segment) => this.#segment(segment));
    if (segments.length === 0) throw this.#corrupt("a log has no segment");
    const baseRecord = checkFields(fields.baseRecord, fileFields, "a base record", this.#corrupt);
    return {
      uuid: this.#uuid(fields.uuid),
      logId: this.text(fields.logId, "a log id", idPattern),
      logStartOffset: this.integer(fields.logStartOffset, "a log start offset"),
      lastIndex: this.integer(fields.lastIndex, "a last index"),
      nextOffset: this.integer(fields.nextOffset, "an end offset"),
      isCompacted: fields.isCompacted,
      baseRecord: this.#file(baseRecord),
      segments,
    };
  }

  #segment(value: unknown): BackupSegmentEntry {
    const names = [...fileFields, "baseIndex", "lastIndex", "lastTerm", "nextOffset", "lastAppendTime"] as const;
    const fields = checkFields(value, names, "a segment", this.#corrupt);
    return {
      ...this.#file(fields),
      baseIndex: this.integer(fields.baseIndex, "a base index"),
      lastIndex: this.integer(fields.lastIndex, "a last index"),
      lastTerm: this.integer(fields.lastTerm, "a term"),
      nextOffset: this.integer(fields.nextOffset, "an offset"),
      lastAppendTime: this.integer(fields.lastAppendTime, "an append time"),
    };
  }

  #file({ name, bytes, sha256 }: Readonly<Record<(typeof fileFields)[number], unknown>>): BackupFile {
    return {
      name: this.text(name, "a file's name", /^[0-9a-z][0-9a-z.-]{0,80}$/),
      bytes: this.integer(bytes, "a file's length"),
      sha256: this.text(sha256, "a checksum", /^[0-9a-f]{64}$/),
    };
  }

  #uuid(value: unknown): string {
    return this.text(value, "a uuid", /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  }

  optionalId(value: unknown): string | null {
    return value === null ? null : this.text(value, "an id", idPattern);
  }

  text(value: unknown, what: string, pattern: RegExp): string {
    if (typeof value === "string" && pattern.test(value)) return value;
    throw this.#corrupt(`${what} isn't what it should be`);
  }

  integer(value: unknown, what: string): number {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#corrupt(`${what} is no number from 0 to 2^53-1`);
  }
}

const idPattern = /^[0-9a-f]{32}$/;
const fileFields = ["name", "bytes", "sha256"] as const;
