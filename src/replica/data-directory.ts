import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { Disk, DiskLock } from "../base/disk.ts";
import { type ErrorDetails, isProglogError, messageOf, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { LogObserver, LogOptions } from "../log/index.ts";
import { type Manifest, manifestName, readManifest, writeManifest } from "../log/manifest.ts";
import { OpenFiles } from "../log/open-files.ts";
import type { TopicSettings } from "../base/topic-settings.ts";
import type { Catalog, Topic } from "./catalog.ts";
import { effectiveSettings } from "./effective-settings.ts";
import { ManifestCatalog, topicNotFound } from "./manifest-catalog.ts";
import type { NodeStorage, PartitionPlace } from "./node-storage.ts";
import type { PolicyStore } from "./policy-store.ts";
import type { Replica } from "./replica.ts";
import { ReplicaSet } from "./replica-set.ts";

/**
 * A node's data directory: one lock for all of it, the manifest, and the logs of the partitions (docs/format.md). Opening takes the
 * lock and reads the manifest, which is quick and fails for good reasons; `openReplicas` then takes as long as recoveries take, while
 * the node can already say that it lives.
 */
export class DataDirectory implements NodeStorage {
  readonly path: string;
  readonly storageId: string;
  readonly catalog: Catalog;
  readonly policy: PolicyStore;
  readonly replicas: ReplicaSet;
  /** Directories under `logs/` that the manifest doesn't name: a create that a crash cut short, or somebody's copy. Never removed. */
  readonly orphans: readonly string[];
  readonly #catalog: ManifestCatalog;
  readonly #lock: DiskLock;
  readonly #openFiles: OpenFiles;
  readonly #log: LogSettings;
  #closing: Promise<void> | undefined;

  private constructor(parts: DataDirectoryParts) {
    this.path = parts.path;
    this.storageId = parts.storageId;
    this.catalog = parts.catalog;
    this.policy = parts.catalog;
    this.replicas = parts.replicas;
    this.orphans = parts.orphans;
    this.#catalog = parts.catalog;
    this.#lock = parts.lock;
    this.#openFiles = parts.openFiles;
    this.#log = parts.log;
  }

  /** Throws LOG_LOCKED, MANIFEST_CORRUPT, UNSUPPORTED_FORMAT, INVALID_CONFIG, DISK_FULL or DISK_FAILED. */
  static async open(path: string, options: DataDirectoryOptions): Promise<DataDirectory> {
    const { disk } = options;
    let lock: DiskLock | undefined;
    try {
      await disk.makeDirectory(path);
      lock = disk.lock(join(path, "lock"));
      return new DataDirectory(await openParts(path, lock, options));
    } catch (error) {
      lock?.release();
      if (isProglogError(error)) throw error;
      throw new ProglogError("DISK_FAILED", `Cannot use the data directory ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Finishes the deletes that were decided, and opens the logs of all partitions. A log that doesn't open is a failed replica. */
  async openReplicas(): Promise<void> {
    await this.#catalog.finishDeletes();
    await this.replicas.openAll(await this.catalog.listTopics());
  }

  /** This node's replica of a partition. Throws TOPIC_NOT_FOUND or PARTITION_NOT_FOUND. */
  getReplica(topicName: string, partition: number): Replica {
    return this.getReplicaOf(this.getTopic(topicName), partition);
  }

  /** The topic as this node knows it. Throws TOPIC_NOT_FOUND. */
  getTopic(name: string): Topic {
    const topic = this.catalog.findTopic(name);
    if (topic === undefined) throw topicNotFound(name, "use");
    return topic;
  }

  getReplicaOf(topic: Topic, partition: number): Replica {
    const uuid = topic.partitions[partition]?.uuid;
    const replica = uuid === undefined ? undefined : this.replicas.find(uuid);
    if (replica !== undefined) return replica;
    if (uuid !== undefined) throw topicNotFound(topic.name, "use");
    const count = topic.partitions.length;
    throw new ProglogError(
      "PARTITION_NOT_FOUND",
      `Cannot use partition ${partition} of topic ${topic.name}: it has ${count}, from 0`,
    );
  }

  getLeaderOf(topic: Topic, partition: number): Replica {
    return this.getReplicaOf(topic, partition);
  }

  /** Each log has a queue of its own. */
  whenRoom(_bytes: number): undefined {
    return undefined;
  }

  async handOver(): Promise<void> {
    // There is nobody.
  }

  findPlace(): PartitionPlace {
    return here;
  }

  findSuccessor(): ErrorDetails {
    return {};
  }

  /** What holds for a topic, its own settings and the node's together. */
  effectiveSettings({ settings }: Topic): TopicSettings {
    return effectiveSettings(settings, this.#log);
  }

  /** Read descriptors open at the moment. */
  get openFileCount(): number {
    return this.#openFiles.count;
  }

  /** Waits for the topic change under way, syncs and closes all logs, and gives the lock back. Twice is fine. */
  close(reason: ProglogError): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: ProglogError): Promise<void> {
    try {
      await this.#catalog.close(reason);
      await this.replicas.close(reason);
    } finally {
      this.#openFiles.forgetAll("");
      this.#lock.release();
    }
  }
}

/** There is one node, and it is the one that was asked. */
const here: PartitionPlace = { leader: undefined, replicas: [], term: 0 };

export interface DataDirectoryOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What all logs are opened with. */
  readonly log: LogSettings;
  /** Hears of all logs alike. */
  readonly observer?: LogObserver;
}

/** How the logs of a node behave, as configured. */
export type LogSettings = Pick<
  LogOptions,
  | "sync"
  | "syncIntervalMs"
  | "segmentMaxBytes"
  | "segmentMaxAgeMs"
  | "retentionMaxBytes"
  | "retentionMaxAgeMs"
  | "retentionIntervalMs"
  | "index"
  | "compression"
  | "scrubIntervalMs"
>;

export type { LogObserver };

interface DataDirectoryParts {
  readonly path: string;
  readonly storageId: string;
  readonly catalog: ManifestCatalog;
  readonly replicas: ReplicaSet;
  readonly orphans: readonly string[];
  readonly lock: DiskLock;
  readonly openFiles: OpenFiles;
  readonly log: LogSettings;
}

async function openParts(
  path: string,
  lock: DiskLock,
  { disk, clock, random, logger, log, observer }: DataDirectoryOptions,
): Promise<DataDirectoryParts> {
  const manifestPath = join(path, manifestName);
  const logsPath = join(path, "logs");
  const manifest = readManifest(disk, manifestPath) ?? (await makeManifest(disk, path, logsPath, random));
  await disk.makeDirectory(logsPath);
  const orphans = findOrphans(disk.list(logsPath), manifest);
  if (orphans.length > 0) logger.warn({ path: logsPath, orphans }, "there are log directories that no topic names");
  const openFiles = new OpenFiles();
  const shared = { disk, clock, random, logger, openFiles, ...(observer === undefined ? {} : { observer }) };
  const replicas = new ReplicaSet(logsPath, disk, { logger, log: { ...log, ...shared } });
  const catalog = new ManifestCatalog(manifest, {
    disk,
    clock,
    random,
    path: manifestPath,
    replicas,
    logger,
  });
  return { path, storageId: manifest.storageId, catalog, replicas, orphans, lock, openFiles, log };
}

/** A new directory's first manifest, written before anything else: so logs without a manifest always mean that it was lost. */
async function makeManifest(disk: Disk, path: string, logsPath: string, random: Random): Promise<Manifest> {
  const logs = disk.isDirectory(logsPath) ? disk.list(logsPath) : [];
  if (logs.length > 0) {
    throw new ProglogError(
      "MANIFEST_CORRUPT",
      `Cannot use the data directory ${path}: it has ${logs.length} logs and no manifest`,
      {
        hint: "The logs are untouched. Put back a copy of the manifest; it is never taken for an empty one.",
        details: { file: join(path, manifestName) },
      },
    );
  }
  if (disk.list(path).some((name) => name.endsWith(".store"))) {
    throw new ProglogError("INVALID_CONFIG", `Cannot use the data directory ${path}: it is the directory of a single log`, {
      hint: "Name another directory; this one is opened by openLog.",
    });
  }
  const manifest: Manifest = { generation: 1, storageId: random.bytes(16).toString("hex"), topics: [], deleted: [] };
  await writeManifest(disk, join(path, manifestName), manifest);
  return manifest;
}

function findOrphans(names: readonly string[], manifest: Manifest): readonly string[] {
  const named = new Set([
    ...manifest.deleted,
    ...manifest.topics.flatMap(({ partitions }) => partitions.map(({ uuid }) => uuid)),
  ]);
  return names.filter((name) => !named.has(name));
}
