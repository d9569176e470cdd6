import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { partitionFilesCount, partitionsMaxCount, reservedFilesCount } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { TopicSettingChanges } from "../base/topic-settings.ts";
import { type Manifest, type ManifestPartition, type ManifestTopic, writeManifest } from "../log/manifest.ts";
import type { Catalog, NewTopic, Topic, TopicChange } from "./catalog.ts";
import { changeSettings, type SettingsOfTopic } from "./effective-settings.ts";
import { checkPartitionCount } from "./partition-count.ts";
import { policyChanged, type PolicyStore } from "./policy-store.ts";
import type { ReplicaSet } from "./replica-set.ts";
import { checkTopicName } from "./topic-name.ts";
import { makeUuid } from "./uuid.ts";

/**
 * A single node's catalog: its manifest. Changes go one after the other, each durable before the next begins. The order of the steps
 * is what a crash is held against:
 *
 * - create: the logs, then the manifest that names them. In between there are directories that nobody names.
 * - change: the logs of partitions that come new, the manifest, then the open logs. A crash in between leaves what a start goes by.
 * - delete: a manifest that names the logs as deleted, their files, a manifest without them. In between there is a list to work off.
 *
 * So a log that a manifest names is always there, and files go only by a uuid that stands in a manifest as deleted.
 */
export class ManifestCatalog implements Catalog, PolicyStore {
  readonly #options: ManifestCatalogOptions;
  #manifest: Manifest;
  #topics: ReadonlyMap<string, ManifestTopic>;
  /** The same, as they are shown. */
  #shown: ReadonlyMap<string, Topic>;
  /** The last change asked for; the next one waits for it. */
  #lastChange: Promise<unknown> = Promise.resolve();
  /** Set when a write of the manifest left open which one stands on disk: nothing may be changed until a start has looked. */
  #uncertainty: ProglogError | undefined;
  readonly #policyWatchers = new Set<() => void>();

  /** `manifest` is the one on disk. */
  constructor(manifest: Manifest, options: ManifestCatalogOptions) {
    this.#options = options;
    this.#manifest = manifest;
    this.#topics = byName(manifest);
    this.#shown = shownByName(manifest);
  }

  findTopic(name: string): Topic | undefined {
    return this.#shown.get(name);
  }

  async listTopics(): Promise<readonly Topic[]> {
    return [...this.#shown.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async describeTopic(name: string): Promise<Topic> {
    return this.#show(name);
  }

  async createTopic({ name, partitions = 1, replicationFactor, settings = {} }: NewTopic): Promise<Topic> {
    checkTopicName(name);
    checkPartitionCount(partitions, `create topic ${name}`);
    checkReplicationFactor(replicationFactor, `create topic ${name}`);
    const checked = changeSettings({}, settings);
    return this.#change(() => this.#create(name, partitions, checked));
  }

  async changeTopic(name: string, { partitions, replicationFactor, settings = {} }: TopicChange): Promise<Topic> {
    if (partitions !== undefined) checkPartitionCount(partitions, `change topic ${name}`);
    checkReplicationFactor(replicationFactor, `change topic ${name}`);
    return this.#change(() => this.#alter(name, partitions, settings));
  }

  async deleteTopic(name: string): Promise<void> {
    return this.#change(() => this.#delete(name));
  }

  /** The access policy. */
  get text(): string {
    return this.#manifest.policy ?? "";
  }

  watch(run: () => void): () => void {
    this.#policyWatchers.add(run);
    return () => void this.#policyWatchers.delete(run);
  }

  async refresh(): Promise<void> {
    await this.#lastChange;
  }

  async replace(basis: string, text: string): Promise<void> {
    await this.#change(async () => {
      if (this.text !== basis) throw policyChanged();
      await this.#write({ policy: text });
    });
    for (const run of [...this.#policyWatchers]) run();
  }

  /** Removes the logs whose deletion was decided before a crash. To be called once, at start. */
  finishDeletes(): Promise<void> {
    return this.#change(() => this.#removeDeleted());
  }

  /** Waits for the change under way, and refuses further ones. */
  async close(reason: ProglogError): Promise<void> {
    this.#uncertainty ??= reason;
    await this.#lastChange.catch(() => {});
  }

  async #create(name: string, partitionCount: number, settings: SettingsOfTopic): Promise<Topic> {
    if (this.#topics.has(name))
      throw new ProglogError("TOPIC_ALREADY_EXISTS", `Cannot create topic ${name}: it is there already`);
    this.#checkPartitionCount(`create topic ${name} of ${partitionCount}`, partitionCount);
    const { clock, random } = this.#options;
    const topic: ManifestTopic = {
      name,
      uuid: makeUuid(random),
      createdAt: clock.now(),
      partitions: this.#makePartitions(0, partitionCount),
      settings,
    };
    await this.#addLogs(topic, () => this.#write({ topics: [...this.#manifest.topics, topic] }));
    return this.#show(name);
  }

  async #alter(name: string, partitionCount: number | undefined, changes: TopicSettingChanges): Promise<Topic> {
    const topic = this.#getTopic(name, "change");
    const { replicas, logger } = this.#options;
    const settings = changeSettings(topic.settings, changes);
    const logOptions = replicas.logOptions(settings);
    const presentCount = topic.partitions.length;
    const addedCount = (partitionCount ?? presentCount) - presentCount;
    if (addedCount < 0) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot give topic ${name} ${partitionCount} partitions: it has ${presentCount}, and its records would have no place`,
        { hint: "Create a topic of fewer partitions, and copy what is to stay." },
      );
    }
    if (addedCount === 0 && isDeepStrictEqual(settings, topic.settings)) return this.#show(name);
    if (addedCount > 0) this.#checkPartitionCount(`give topic ${name} ${addedCount} more`, addedCount);
    const added = this.#makePartitions(presentCount, addedCount);
    const next: ManifestTopic = { ...topic, settings, partitions: [...topic.partitions, ...added] };
    const topics = this.#manifest.topics.map((other) => (other === topic ? next : other));
    await this.#addLogs({ ...next, partitions: added }, () => this.#write({ topics }));
    replicas.configure(next, logOptions);
    logger.info({ topic: name, partitions: next.partitions.length, settings }, "a topic was changed");
    return this.#show(name);
  }

  #makePartitions(first: number, count: number): ManifestPartition[] {
    const { random } = this.#options;
    return Array.from({ length: count }, (_, number) => ({ partition: first + number, uuid: makeUuid(random) }));
  }

  /** Makes logs, and then the manifest that names them. */
  async #addLogs(topic: ManifestTopic, name: () => Promise<void>): Promise<void> {
    const { replicas } = this.#options;
    try {
      await replicas.create(topic);
      await name();
    } catch (error) {
      // No manifest names these logs, so they go; unless it can't be known whether one does.
      if (this.#uncertainty === undefined) await replicas.discard(topic);
      throw error;
    }
  }

  async #delete(name: string): Promise<void> {
    const topic = this.#getTopic(name, "delete");
    const uuids = topic.partitions.map(({ uuid }) => uuid);
    await this.#write({
      topics: this.#manifest.topics.filter((other) => other !== topic),
      deleted: [...this.#manifest.deleted, ...uuids],
    });
    await this.#removeDeleted();
  }

  /** What fails here is tried again at the next start: the topic is gone all the same, and a full disk must not stop a node. */
  async #removeDeleted(): Promise<void> {
    const remaining: string[] = [];
    const { replicas, logger } = this.#options;
    for (const uuid of this.#manifest.deleted) {
      await replicas.remove(uuid).catch((error: unknown) => {
        remaining.push(uuid);
        logger.warn({ uuid, reason: messageOf(error) }, "a deleted log can't be removed yet");
      });
    }
    if (remaining.length === this.#manifest.deleted.length) return;
    await this.#write({ deleted: remaining }).catch((error: unknown) => {
      logger.warn({ reason: messageOf(error) }, "the removal of deleted logs can't be noted yet");
    });
  }

  async #write(change: Partial<Pick<Manifest, "topics" | "deleted" | "policy">>): Promise<void> {
    const { disk, path } = this.#options;
    const next: Manifest = { ...this.#manifest, ...change, generation: this.#manifest.generation + 1 };
    try {
      await writeManifest(disk, path, next);
    } catch (error) {
      if (isProglogError(error) && error.details["isReplaced"] !== false) {
        this.#uncertainty = new ProglogError(
          "DISK_FAILED",
          `Cannot change topics or access: an earlier write of ${path} failed`,
          {
            hint: "Restart the node: it reads which manifest stands.",
            cause: error,
          },
        );
      }
      throw error;
    }
    this.#manifest = next;
    this.#topics = byName(next);
    this.#shown = shownByName(next);
  }

  /** One change at a time; one that fails doesn't stop the next. */
  #change<Result>(run: () => Promise<Result>): Promise<Result> {
    const change = this.#lastChange.then(() => {
      if (this.#uncertainty !== undefined) throw this.#uncertainty;
      return run();
    });
    this.#lastChange = change.catch(() => {});
    return change;
  }

  #show(name: string): Topic {
    const topic = this.#shown.get(name);
    if (topic !== undefined) return topic;
    throw topicNotFound(name, "find");
  }

  #getTopic(name: string, attempt: string): ManifestTopic {
    const topic = this.#topics.get(name);
    if (topic !== undefined) return topic;
    throw topicNotFound(name, attempt);
  }

  #checkPartitionCount(attempt: string, added: number): void {
    const present = this.#manifest.topics.reduce((sum, { partitions }) => sum + partitions.length, 0);
    const { openFilesMaxCount = Number.POSITIVE_INFINITY } = this.#options.disk;
    const openableMaxCount = Math.max(1, Math.floor((openFilesMaxCount - reservedFilesCount) / partitionFilesCount));
    const maxCount = Math.min(partitionsMaxCount, openableMaxCount);
    if (present + added <= maxCount) return;
    const isFewFiles = openableMaxCount < partitionsMaxCount;
    const reason = isFewFiles ? ` where a process may have ${openFilesMaxCount} files open` : "";
    throw new ProglogError(
      "TOO_MANY_PARTITIONS",
      `Cannot ${attempt}: the node has ${present} partitions, and ${maxCount} are allowed${reason}`,
      { hint: `Delete topics that nobody needs${isFewFiles ? ", or raise the limit (ulimit -n)" : ""}.` },
    );
  }
}

function checkReplicationFactor(count: number | undefined, attempt: string): void {
  if (count === undefined || count === 1) return;
  throw new ProglogError("NOT_CLUSTERED", `Cannot ${attempt} with ${count} replicas: a single node keeps one`, {
    hint: "Form a cluster of several nodes, or leave the number of replicas out.",
  });
}

export interface ManifestCatalogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  /** The manifest's file. */
  readonly path: string;
  readonly replicas: ReplicaSet;
  readonly logger: Logger;
}

export function topicNotFound(name: string, attempt: string): ProglogError {
  return new ProglogError("TOPIC_NOT_FOUND", `Cannot ${attempt} topic ${name}: there is none of that name`);
}

function byName(manifest: Manifest): ReadonlyMap<string, ManifestTopic> {
  return new Map(manifest.topics.map((topic) => [topic.name, topic]));
}

function shownByName({ topics }: Manifest): ReadonlyMap<string, Topic> {
  return new Map(topics.map((topic) => [topic.name, { ...topic, replicationFactor: 1 }]));
}
