import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import { catalogRetryMaxMs } from "../../base/cluster-limits.ts";
import type { Disk } from "../../base/disk.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { sleep } from "../../base/sleep.ts";
import { readBaseRecord } from "../../log/base-record.ts";
import { manifestName, readManifest, writeManifest } from "../../log/manifest.ts";
import { removeTree } from "../replica-set.ts";
import type { CatalogChange, NodeIdentity } from "./catalog-command.ts";
import { catalogVersion } from "./catalog-fold.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import type { ClusterIdentity } from "./cluster-identity.ts";
import { changesOfManifest } from "./from-manifest.ts";

/**
 * Writes the first commands of a new cluster: who forms it, and the topics that a single node brings along. Whoever of those that formed it
 * leads group 0 at first does so; again and again until it is written, since a command that is there already changes nothing. When a
 * single node's topics are in the catalog, its manifest no longer has them. Never rejects.
 */
export async function formCatalog(parts: FormCatalogParts): Promise<void> {
  const { identity, clock, logger, signal } = parts;
  if (identity.membership?.role === "joined") return;
  await removeDeletedLogs(parts);
  while (!signal.aborted) {
    try {
      if (await isFormed(parts)) return;
    } catch (error) {
      if (signal.aborted) return;
      const level = isProglogError(error) ? "debug" : "error";
      logger[level]({ reason: messageOf(error) }, "the catalog can't be begun yet");
    }
    await sleep(clock, catalogRetryMaxMs, signal);
  }
}

export interface FormCatalogParts {
  readonly catalog: Pick<ClusterCatalog, "state" | "refresh" | "propose" | "isLeader">;
  readonly identity: ClusterIdentity;
  readonly disk: Disk;
  /** The data directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** True when nothing is left to be written by this node. */
async function isFormed({ catalog, identity, disk, directory, logger, signal }: FormCatalogParts): Promise<boolean> {
  const { membership } = identity;
  const clusterId = membership?.clusterId;
  if (membership === undefined || clusterId === undefined) return true;
  if (!catalog.isLeader && catalog.state.clusterId === undefined) return false;
  await catalog.refresh();
  if (catalog.state.clusterId === undefined) {
    if (!catalog.isLeader) return false;
    const nodes = membership.members.map(({ name, storageId, address }): NodeIdentity => {
      return { name, storageId, address, version: catalogVersion };
    });
    await catalog.propose({ kind: "form-cluster", version: catalogVersion, clusterId, nodes });
  }
  const path = join(directory, manifestName);
  const manifest = readManifest(disk, path);
  if (manifest === undefined || (manifest.topics.length === 0 && manifest.policy === undefined)) return true;
  const { storageId, address } = identity.peer;
  const node: NodeIdentity = { name: identity.name, storageId, address, version: catalogVersion };
  const logIdOf = (uuid: string): string => logIdAt(disk, join(directory, "logs", uuid));
  for (const change of changesOfManifest(manifest, catalog.state, { clusterId, node, logIdOf })) {
    if (signal.aborted) return false;
    await propose(catalog, change);
  }
  const { policy, ...rest } = manifest;
  if (policy !== undefined && policy !== catalog.state.policy)
    logger.error({}, "a single node's access policy isn't the cluster's: the cluster had one already");
  // From here on the catalog has them: a topic that is deleted there must not come back from here. What it couldn't take stays named.
  const topics = manifest.topics.filter(({ name, uuid }) => catalog.state.topics.get(name)?.uuid !== uuid);
  for (const { name } of topics)
    logger.error(
      { topic: name },
      "a single node's topic isn't the cluster's: another one has its name. Its records stay where they are",
    );
  if (topics.length === manifest.topics.length && policy === undefined) return true;
  await writeManifest(disk, path, { ...rest, generation: manifest.generation + 1, topics });
  logger.info({ topics: manifest.topics.length - topics.length }, "a single node's topics are the cluster's now");
  return true;
}

/** What the single node had deleted, and couldn't remove before it was stopped, goes. Whatever stays is tried at the next start. */
async function removeDeletedLogs({ disk, directory, logger }: FormCatalogParts): Promise<void> {
  try {
    const path = join(directory, manifestName);
    const manifest = readManifest(disk, path);
    if (manifest === undefined || manifest.deleted.length === 0) return;
    const logs = join(directory, "logs");
    for (const uuid of manifest.deleted) if (disk.isDirectory(join(logs, uuid))) removeTree(disk, join(logs, uuid));
    if (disk.isDirectory(logs)) await disk.syncDirectory(logs);
    await writeManifest(disk, path, { ...manifest, generation: manifest.generation + 1, deleted: [] });
  } catch (error) {
    logger.warn({ reason: messageOf(error) }, "deleted logs of the single node that this was can't be removed yet");
  }
}

/** The topics of this directory that `formCatalog` is to bring into the catalog. */
export function topicsToTake(disk: Disk, directory: string, identity: ClusterIdentity): ReadonlySet<string> {
  if (identity.membership?.role === "joined") return new Set();
  return new Set(readManifest(disk, join(directory, manifestName))?.topics.map(({ name }) => name));
}

async function propose(catalog: FormCatalogParts["catalog"], change: CatalogChange): Promise<void> {
  await catalog.propose(change).catch((error: unknown) => {
    const isTaken = isProglogError(error, "TOPIC_ALREADY_EXISTS");
    if (!isTaken && !(isProglogError(error, "CHANGE_IN_PROGRESS") && change.kind === "set-policy")) throw error;
  });
}

/** What a log's frames are seeded with. Throws where that can't be read: such a partition is to be repaired first. */
function logIdAt(disk: Disk, directory: string): string {
  const base = readBaseRecord(disk, directory);
  if (base.state === "valid") return base.record.logId.toString("hex");
  throw new Error(`the base record of ${directory} is ${base.state}`);
}
