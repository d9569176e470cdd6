import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { partitionsMaxCount } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import { type Manifest, type ManifestTopic, writeManifest } from "../log/manifest.ts";
import type { Catalog, NewTopic, Topic } from "./catalog.ts";
import type { ReplicaSet } from "./replica-set.ts";
import { checkTopicName } from "./topic-name.ts";
import { makeUuid } from "./uuid.ts";

/**
 * A single node's catalog: its manifest. Changes go one after the other, each durable before the next begins. The order of the steps
 * is what a crash is held against:
 *
 * - create: the logs, then the manifest that names them. In between there are directories that nobody names.
 * - delete: a manifest that names the logs as deleted, their files, a manifest without them. In between there is a list to work off.
 *
 * So a log that a manifest names is always there, and files go only by a uuid that stands in a manifest as deleted.
 */
export class ManifestCatalog implements Catalog {
  readonly #options: ManifestCatalogOptions;
  #manifest: Manifest;
  #topics: ReadonlyMap<string, ManifestTopic>;
  /** The last change asked for; the next one waits for it. */
  #lastChange: Promise<unknown> = Promise.resolve();
  /** Set when a write of the manifest left open which one stands on disk: nothing may be changed until a start has looked. */
  #uncertainty: ProglogError | undefined;

  /** `manifest` is the one on disk. */
  constructor(manifest: Manifest, options: ManifestCatalogOptions) {
    this.#options = options;
    this.#manifest = manifest;
    this.#topics = byName(manifest);
  }

  findTopic(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  async listTopics(): Promise<readonly Topic[]> {
    return [...this.#topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async describeTopic(name: string): Promise<Topic> {
    return this.#getTopic(name, "find");
  }

  async createTopic({ name, partitions = 1 }: NewTopic): Promise<Topic> {
    checkTopicName(name);
    if (!Number.isInteger(partitions) || partitions < 1) {
      throw new ProglogError("INVALID_ARGUMENT", `Cannot create topic ${name}: ${partitions} is no number of partitions`);
    }
    return this.#change(() => this.#create(name, partitions));
  }

  async deleteTopic(name: string): Promise<void> {
    return this.#change(() => this.#delete(name));
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

  async #create(name: string, partitionCount: number): Promise<Topic> {
    if (this.#topics.has(name))
      throw new ProglogError("TOPIC_ALREADY_EXISTS", `Cannot create topic ${name}: it is there already`);
    this.#checkPartitionCount(name, partitionCount);
    const { clock, random, replicas } = this.#options;
    const topic: ManifestTopic = {
      name,
      uuid: makeUuid(random),
      createdAt: clock.now(),
      partitions: Array.from({ length: partitionCount }, (_, partition) => ({ partition, uuid: makeUuid(random) })),
      settings: {},
    };
    try {
      await replicas.create(topic);
      await this.#write({ topics: [...this.#manifest.topics, topic] });
    } catch (error) {
      // No manifest names these logs, so they go; unless it can't be known whether one does.
      if (this.#uncertainty === undefined) await replicas.discard(topic);
      throw error;
    }
    return topic;
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

  async #write(change: Partial<Pick<Manifest, "topics" | "deleted">>): Promise<void> {
    const { disk, path } = this.#options;
    const next: Manifest = { ...this.#manifest, ...change, generation: this.#manifest.generation + 1 };
    try {
      await writeManifest(disk, path, next);
    } catch (error) {
      if (isProglogError(error) && error.details["isReplaced"] !== false) {
        this.#uncertainty = new ProglogError("DISK_FAILED", `Cannot change topics: an earlier write of ${path} failed`, {
          hint: "Restart the node: it reads which manifest stands.",
          cause: error,
        });
      }
      throw error;
    }
    this.#manifest = next;
    this.#topics = byName(next);
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

  #getTopic(name: string, attempt: string): ManifestTopic {
    const topic = this.#topics.get(name);
    if (topic !== undefined) return topic;
    throw topicNotFound(name, attempt);
  }

  #checkPartitionCount(name: string, added: number): void {
    const present = this.#manifest.topics.reduce((sum, { partitions }) => sum + partitions.length, 0);
    if (present + added <= partitionsMaxCount) return;
    const reason = `the node has ${present} partitions, and ${partitionsMaxCount} are allowed`;
    throw new ProglogError("TOO_MANY_PARTITIONS", `Cannot create topic ${name} of ${added}: ${reason}`, {
      hint: "Delete topics that nobody needs.",
    });
  }
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
