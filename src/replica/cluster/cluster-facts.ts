import type { NodeId } from "../../raft/member.ts";
import type { CatalogPartition, PlacedReplica } from "./catalog-state.ts";
import type { ControllerFacts } from "./controller-work.ts";

/** What this node knows of the world beside the catalog: who is there, who leads what, which replicas are out of action for good. */
export class ClusterFacts implements ControllerFacts {
  readonly #parts: ClusterFactsParts;
  readonly #presence = new Map<NodeId, { readonly isConnected: boolean; readonly sinceMs: number }>();
  /** Since when replicas are out of action, by group, node and incarnation. */
  #outSinceMs = new Map<string, number>();
  #lost = new Set<string>();
  #lostVersion = 0;

  constructor(parts: ClusterFactsParts) {
    this.#parts = parts;
  }

  connected(node: NodeId): void {
    this.#note(node, true);
  }

  disconnected(node: NodeId): void {
    this.#note(node, false);
  }

  leaderOf(group: string): NodeId | undefined {
    return this.#parts.leaderOf(group);
  }

  presenceOf(node: NodeId): { readonly isConnected: boolean; readonly sinceMs: number } {
    const { self, startedMs } = this.#parts;
    if (node === self) return { isConnected: true, sinceMs: startedMs };
    return this.#presence.get(node) ?? { isConnected: false, sinceMs: startedMs };
  }

  isLost(group: string, replica: PlacedReplica): boolean {
    return this.#lost.has(keyOf(group, replica));
  }

  get lostVersion(): number {
    return this.#lostVersion;
  }

  /** To be called now and then: what has been out of action for long enough, while its node is there, is lost. */
  watchReplicas(partitions: () => Iterable<Pick<CatalogPartition, "uuid" | "replicas">>): void {
    const { now, outOf, lostAfterMs } = this.#parts;
    const nowMs = now();
    const out = new Map<string, number>();
    const lost = new Set<string>();
    for (const { uuid, replicas } of partitions()) {
      const nodes = outOf(uuid);
      if (nodes.length === 0) continue;
      for (const replica of replicas) {
        if (!nodes.includes(replica.node) || !this.presenceOf(replica.node).isConnected) continue;
        const key = keyOf(uuid, replica);
        const sinceMs = this.#outSinceMs.get(key) ?? nowMs;
        out.set(key, sinceMs);
        if (nowMs - sinceMs >= lostAfterMs) lost.add(key);
      }
    }
    this.#outSinceMs = out;
    if (lost.size === this.#lost.size && [...lost].every((key) => this.#lost.has(key))) return;
    this.#lost = lost;
    this.#lostVersion += 1;
  }

  #note(node: NodeId, isConnected: boolean): void {
    if (this.#presence.get(node)?.isConnected === isConnected) return;
    this.#presence.set(node, { isConnected, sinceMs: this.#parts.now() });
  }
}

export interface ClusterFactsParts {
  readonly self: NodeId;
  readonly startedMs: number;
  /** Of the monotonic clock. */
  readonly now: () => number;
  readonly leaderOf: (group: string) => NodeId | undefined;
  /** The nodes whose replicas of a group are out of action, while the nodes live. */
  readonly outOf: (group: string) => readonly NodeId[];
  readonly lostAfterMs: number;
}

function keyOf(group: string, { node, incarnation }: PlacedReplica): string {
  return `${group} ${node} ${incarnation}`;
}
