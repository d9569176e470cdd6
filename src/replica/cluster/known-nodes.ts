import { bootCountersMaxCount, formationFreshMs, formationNodesMaxCount } from "../../base/cluster-limits.ts";
import { boundTo, type NodeView } from "./formation-view.ts";

/**
 * What a node without a cluster heard of others. Two kinds of things: who is there, which ages; and what a storage id is bound to and
 * which clusters were formed, which are facts for ever, however late they are heard.
 */
export class KnownNodes {
  readonly #byRun = new Map<string, Heard>();
  /** By storage id, the cluster that it promised or belongs to. */
  readonly #bonds = new Map<string, string>();
  readonly #formed = new Set<string>();

  /** True when something came new. */
  hear(view: NodeView, nowMs: number): boolean {
    const wasKnown = this.#noteFacts(view);
    const known = this.#byRun.get(view.run);
    for (const [run, { view: other }] of this.#byRun) {
      if (run === view.run || other.storageId !== view.storageId) continue;
      // What an earlier start said, and comes late.
      if (other.bootCounter > view.bootCounter) return !wasKnown;
      if (other.bootCounter < view.bootCounter) this.#byRun.delete(run);
    }
    // Messages overtake each other: an older view says no more than that it is there.
    const newer = known !== undefined && known.view.generation > view.generation ? known.view : view;
    this.#byRun.delete(view.run);
    this.#byRun.set(view.run, { view: newer, heardAtMs: nowMs });
    if (this.#byRun.size > formationNodesMaxCount) forgetFirst(this.#byRun);
    return !wasKnown || known === undefined || nowMs - known.heardAtMs > formationFreshMs || !saysSame(known.view, newer);
  }

  /** Those heard of lately, by storage id. */
  fresh(nowMs: number): readonly NodeView[] {
    return [...this.#byRun.values()]
      .filter(({ heardAtMs }) => nowMs - heardAtMs <= formationFreshMs)
      .map(({ view }) => view)
      .toSorted((a, b) => (a.storageId < b.storageId ? -1 : 1));
  }

  /** What a storage id is known to be bound to. */
  bondOf(storageId: string): string | undefined {
    return this.#bonds.get(storageId);
  }

  /** True when somebody is known to belong to it: so everybody who had to has promised it. */
  isFormed(clusterId: string): boolean {
    return this.#formed.has(clusterId);
  }

  #noteFacts(view: NodeView): boolean {
    const bond = boundTo(view);
    if (bond === undefined) return true;
    const wasKnown =
      this.#bonds.get(view.storageId) === bond && (view.clusterId === undefined || this.#formed.has(view.clusterId));
    this.#bonds.set(view.storageId, bond);
    if (view.clusterId !== undefined) this.#formed.add(view.clusterId);
    if (this.#bonds.size > bootCountersMaxCount) forgetFirst(this.#bonds);
    if (this.#formed.size > bootCountersMaxCount) forgetFirst(this.#formed);
    return wasKnown;
  }
}

interface Heard {
  readonly view: NodeView;
  readonly heardAtMs: number;
}

function saysSame(a: NodeView, b: NodeView): boolean {
  return (
    a.generation === b.generation &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, position) => address === b.addresses[position])
  );
}

function forgetFirst<Key>(from: { keys(): Iterator<Key>; delete(key: Key): boolean }): void {
  const first = from.keys().next();
  if (first.done !== true) from.delete(first.value);
}
