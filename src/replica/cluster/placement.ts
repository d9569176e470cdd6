import { assert } from "../../base/assert.ts";
import type { Random } from "../../base/random.ts";
import { type CatalogState, partitionsOf } from "./catalog-state.ts";

/**
 * Deals new partitions over nodes: each partition's replicas, the first of which is to lead it. Where both counts differed by at most
 * one between the nodes they do so afterwards, whatever the numbers of replicas; from a worse start they come closer.
 *
 * Replicas go to the nodes that have the fewest. The trap lies in the leaders: when those who could take another replica all lead one
 * more than the rest, the next partition of one replica unbalances one count or the other. It never gets there if the nodes with few
 * replicas are always among those with few leaders, or the other way round. So of several with as few replicas one is taken that
 * leads the least, to lead, and the others are taken from those that lead the most; and of those that lead the least that one leads
 * which has the most replicas.
 *
 * A node that is down gets a replica only where too few are up for all of a partition, and is to lead only where none is: a group begins with
 * fewer than it is to have, or not at all, as long as it is away. What becomes uneven so is the controller's to move when it is back.
 */
export function placePartitions(request: PlacementRequest): readonly (readonly string[])[] {
  const { loads, count, replicationFactor, random, isUp = () => true } = request;
  assert(replicationFactor >= 1 && replicationFactor <= loads.length, "there are enough nodes");
  const nodes: Drawn[] = loads.map((load) => ({ ...load, luck: 0 }));
  const up = nodes.filter(({ name }) => isUp(name));
  const down = nodes.filter((node) => !up.includes(node));
  return Array.from({ length: count }, () => {
    // So that the partitions of a node have their other replicas all over the cluster: what a node leaves behind is shared by all.
    for (const node of nodes) node.luck = random.float();
    const first = chooseNodes(up, Math.min(replicationFactor, up.length));
    const chosen = [...first, ...chooseNodes(down, replicationFactor - first.length)];
    const candidates = first.length > 0 ? first : chosen;
    const [leader] = candidates.toSorted((a, b) => a.leaders - b.leaders || b.replicas - a.replicas || a.luck - b.luck);
    assert(leader !== undefined, "a partition has a leader");
    for (const node of chosen) node.replicas += 1;
    leader.leaders += 1;
    return [leader.name, ...chosen.filter((node) => node !== leader).map(({ name }) => name)];
  });
}

export interface PlacementRequest {
  /** Of the nodes that may take replicas. */
  readonly loads: readonly NodeLoad[];
  readonly count: number;
  /** At most as many as there are nodes. */
  readonly replicationFactor: number;
  readonly random: Pick<Random, "float">;
  /** Whether there is a way to a node. Default: to all. */
  readonly isUp?: (node: string) => boolean;
}

export interface NodeLoad {
  readonly name: string;
  readonly replicas: number;
  /** Partitions that it is to lead. */
  readonly leaders: number;
}

/** What the nodes that don't drain are to have. */
export function loadsOf(state: CatalogState): NodeLoad[] {
  const loads = new Map<string, { name: string; replicas: number; leaders: number }>();
  for (const { name, isDraining } of state.nodes.values()) if (!isDraining) loads.set(name, { name, replicas: 0, leaders: 0 });
  for (const { partition } of partitionsOf(state)) {
    for (const { node } of partition.replicas) {
      const load = loads.get(node);
      if (load !== undefined) load.replicas += 1;
    }
    const load = loads.get(partition.leader ?? "");
    if (load !== undefined) load.leaders += 1;
  }
  return [...loads.values()];
}

/** Replicas of a partition whose topic doesn't say how many, in a cluster of that many nodes. */
export function defaultReplicationFactor(nodeCount: number): number {
  return Math.min(3, nodeCount);
}

type Drawn = { -readonly [Field in keyof NodeLoad]: NodeLoad[Field] } & { luck: number };

function chooseNodes(nodes: readonly Drawn[], count: number): readonly Drawn[] {
  if (count === 0) return [];
  const sorted = nodes.toSorted((a, b) => a.replicas - b.replicas);
  const limit = sorted[count - 1]?.replicas ?? 0;
  const below = sorted.filter(({ replicas }) => replicas < limit);
  const level = sorted.filter(({ replicas }) => replicas === limit).sort((a, b) => b.leaders - a.leaders || a.luck - b.luck);
  const least = level.pop();
  assert(least !== undefined, "somebody is the last to be chosen");
  return [...below, least, ...level.slice(0, count - below.length - 1)];
}
