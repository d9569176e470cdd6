import { manifestPartitionsMaxCount } from "../../base/cluster-limits.ts";
import type { Manifest, ManifestTopic } from "../../log/manifest.ts";
import type { CatalogChange, NodeIdentity, PlacedPartitions } from "./catalog-command.ts";
import { catalogVersion } from "./catalog-fold.ts";
import type { CatalogState } from "./catalog-state.ts";
import { policyDigest } from "../policy-store.ts";

/**
 * What a single node's manifest says, as changes of a catalog that doesn't say it yet: the cluster of that one node, who may do what, then its
 * topics as they are, with their uuids, times, settings and the ids of their logs, one replica each. A catalog that has some of it, since
 * the node was stopped on the way, gets the rest. Logs that the manifest has as deleted are the node's own business.
 *
 * `logIdOf` says what a partition's log is seeded with, by the partition's uuid: each log drew its own when it was made.
 */
export function changesOfManifest(
  { topics, policy }: Manifest,
  state: CatalogState,
  { clusterId, node, logIdOf }: ManifestOwner,
): readonly CatalogChange[] {
  const changes: CatalogChange[] = [];
  if (state.clusterId === undefined) changes.push({ kind: "form-cluster", version: catalogVersion, clusterId, nodes: [node] });
  // Before the topics: none of them is there for a moment without it. One that the cluster has by now stays.
  if (policy !== undefined && state.policy === "") changes.push({ kind: "set-policy", policy, basis: policyDigest("") });
  for (const topic of topics) {
    const known = state.topics.get(topic.name);
    // Somebody made another one meanwhile: the older one's logs stay where they are, and nobody names them.
    if (known !== undefined && known.uuid !== topic.uuid) continue;
    changes.push(...changesOfTopic(topic, known?.partitions.length ?? 0, { node, logIdOf }));
  }
  return changes;
}

export interface ManifestOwner {
  readonly clusterId: string;
  readonly node: NodeIdentity;
  /** 32 hex digits. */
  readonly logIdOf: (uuid: string) => string;
}

function* changesOfTopic(
  { name, uuid, createdAt, settings, partitions }: ManifestTopic,
  knownCount: number,
  { node, logIdOf }: Omit<ManifestOwner, "clusterId">,
): Generator<CatalogChange> {
  for (let first = knownCount; first < partitions.length; first += manifestPartitionsMaxCount) {
    const placed: PlacedPartitions = {
      nodes: [node.name],
      partitions: partitions
        .slice(first, first + manifestPartitionsMaxCount)
        .map(({ uuid: group }) => ({ uuid: group, logId: logIdOf(group), replicas: [0] })),
    };
    if (first === 0) yield { kind: "create-topic", name, uuid, createdAt, replicationFactor: 1, settings, placed };
    else yield { kind: "alter-topic", name, uuid, settings: {}, added: { first, ...placed } };
  }
}
