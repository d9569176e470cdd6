import { join } from "node:path";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { logOpensMaxCount } from "../base/limits.ts";
import type { LogChanges } from "../log/index.ts";
import type { Topic } from "./catalog.ts";
import { logOptionsOf, type SettingsOfTopic } from "./effective-settings.ts";
import { Replica, type ReplicaIdentity, type ReplicaOptions } from "./replica.ts";

/** The replicas that this node has, by uuid, each with its log in `logs/<uuid>`. */
export class ReplicaSet {
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #options: ReplicaOptions;
  readonly #replicas = new Map<string, Replica>();

  /** `directory` holds the logs' directories. */
  constructor(directory: string, disk: Disk, options: ReplicaOptions) {
    this.#directory = directory;
    this.#disk = disk;
    this.#options = options;
  }

  find(uuid: string): Replica | undefined {
    return this.#replicas.get(uuid);
  }

  values(): IterableIterator<Replica> {
    return this.#replicas.values();
  }

  /** Opens what is there, a few at a time. A log that is missing is never made anew: its records would be gone in silence. */
  async openAll(topics: readonly TopicOfLogs[]): Promise<void> {
    await forEach(topics.flatMap(partitionsOf), async ({ identity, settings }) => {
      this.#replicas.set(identity.uuid, await this.#open(identity, settings, { createIfMissing: false }));
    });
  }

  /** Makes the logs of new partitions. Throws when one can't be made; the others are left to `discard`. */
  async create(topic: TopicOfLogs): Promise<void> {
    await forEach(partitionsOf(topic), async ({ identity, settings }) => {
      const replica = await this.#open(identity, settings, { createIfMissing: true });
      if (replica.openError !== undefined) throw replica.openError;
      this.#replicas.set(identity.uuid, replica);
    });
  }

  /** Takes back a `create` that no manifest has named. What can't be removed is an orphan, and harmless. */
  async discard(topic: TopicOfLogs): Promise<void> {
    for (const { uuid } of topic.partitions) await this.remove(uuid).catch(() => {});
  }

  /** What a topic of these settings is opened with. Throws UNSUPPORTED_FORMAT. */
  logOptions(settings: SettingsOfTopic): LogChanges {
    return logOptionsOf(settings, this.#options.log);
  }

  /** Makes the logs of a topic go by `options` from now on. One that isn't open does so when it is opened again. */
  configure(topic: TopicOfLogs, options: LogChanges): void {
    for (const { uuid } of topic.partitions) this.#replicas.get(uuid)?.configure(options);
  }

  /** Closes the replica and removes its files. Only for a uuid whose deletion is decided. */
  async remove(uuid: string): Promise<void> {
    const replica = this.#replicas.get(uuid);
    if (replica !== undefined) {
      this.#replicas.delete(uuid);
      const { topic } = replica.identity;
      // A log that fails to sync its last records is about to lose them anyway.
      await replica.close(new ProglogError("TOPIC_NOT_FOUND", `Cannot use topic ${topic}: it was deleted`)).catch(() => {});
    }
    this.#options.log.openFiles?.forgetAll(join(this.#directory, uuid));
    if (!this.#disk.isDirectory(join(this.#directory, uuid))) return;
    removeTree(this.#disk, join(this.#directory, uuid));
    await this.#disk.syncDirectory(this.#directory);
  }

  async close(reason: ProglogError): Promise<void> {
    const failures: unknown[] = [];
    await forEach([...this.#replicas.values()], async (replica) => {
      await replica.close(reason).catch((error: unknown) => failures.push(error));
    });
    if (failures.length > 0) throw failures[0];
  }

  #open(
    identity: ReplicaIdentity,
    settings: SettingsOfTopic,
    { createIfMissing }: { readonly createIfMissing: boolean },
  ): Promise<Replica> {
    const { log, logger } = this.#options;
    return Replica.open(identity, join(this.#directory, identity.uuid), {
      logger,
      log: { ...log, createIfMissing },
      // Asked for inside of the opening, so that settings nobody here understands are one partition's failure.
      settings: () => this.logOptions(settings),
    });
  }
}

/** What of a topic its logs go by. */
type TopicOfLogs = Pick<Topic, "name" | "partitions" | "settings">;

function partitionsOf({ name, partitions, settings }: TopicOfLogs) {
  return partitions.map(({ partition, uuid }) => ({ identity: { topic: name, partition, uuid }, settings }));
}

/** Runs `run` for all items, `logOpensMaxCount` at a time. Waits for those under way before it throws. */
async function forEach<Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const item of waiting) {
      if (failures.length > 0) return;
      await run(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: logOpensMaxCount }, worker));
  if (failures.length > 0) throw failures[0];
}

export function removeTree(disk: Disk, directory: string): void {
  for (const name of disk.list(directory)) {
    const path = join(directory, name);
    if (disk.isDirectory(path)) removeTree(disk, path);
    else disk.remove(path);
  }
  disk.removeDirectory(directory);
}
