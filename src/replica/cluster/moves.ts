import { assert } from "../../base/assert.ts";
import type { WishedReplica } from "./catalog-command.ts";
import { type CatalogState, partitionsOf, type PlacedReplica } from "./catalog-state.ts";

/**
 * What is to be placed anew: what has to, and no more. In this order of need:
 *
 * - replicas that are lost are begun anew where they are;
 * - replicas of nodes that drain go to other nodes, or are given up where there is no node to take them;
 * - partitions get as many replicas as their topic is to have;
 * - where nodes differ by more than `tolerance` allows, replicas move from who has the most to who has the fewest, each by one that has
 *   to move anyway to make the counts equal;
 * - the same for wished leaders as far as the replicas allow, which costs no copy.
 *
 * One that is leaving a node, and hasn't left, is called back rather than made anew.
 *
 * A partition without any replica that isn't lost is left alone: what is begun anew there would be empty.
 */
export function planMoves(
  state: CatalogState,
  { isAvailable, isLost, isLed, tolerance, maxCount }: MoveOptions,
): readonly PlannedMove[] {
  const plan = new Plan(state, { isAvailable, isLost, isLed });
  for (const draft of plan.drafts) {
    if (!isLed(draft.group)) continue;
    // One that is on its way already is no more work for being sent elsewhere.
    if (plan.changedCount >= maxCount && !draft.isMoving) continue;
    plan.replaceLost(draft);
    plan.leaveDraining(draft);
    plan.adjustCount(draft);
    plan.findLeader(draft);
  }
  plan.balanceReplicas(tolerance, maxCount);
  plan.balanceLeaders(tolerance, maxCount);
  return plan.moves();
}

export interface MoveOptions {
  /** Whether a node can take a new replica now. */
  readonly isAvailable: (node: string) => boolean;
  /** Whether a replica's data is gone, or can't be repaired. */
  readonly isLost: (group: string, replica: PlacedReplica) => boolean;
  /**
   * Whether somebody leads a group. Before a group's first leader those who make it must still find it as it was made, or nobody would know its
   * first members; and later nothing can be moved without one.
   */
  readonly isLed: (group: string) => boolean;
  /** Share of the mean by which nodes may differ before anything moves on that account; 0 for by one. */
  readonly tolerance: number;
  /** How many partitions may be set moving; those that do already aren't counted. */
  readonly maxCount: number;
}

/** As `place-partition` has it. */
export interface PlannedMove {
  readonly group: string;
  readonly basis: number;
  readonly replicas: readonly WishedReplica[];
  readonly leader: string;
}

interface Draft {
  readonly group: string;
  readonly placedAt: number;
  readonly isMoving: boolean;
  readonly replicationFactor: number;
  readonly before: readonly PlacedReplica[];
  readonly leaving: readonly PlacedReplica[];
  replicas: WishedReplica[];
  leaderBefore: string | undefined;
  leader: string | undefined;
}

interface Load {
  readonly name: string;
  readonly isAvailable: boolean;
  /** By what each is of: those that it has, and those that it leads. */
  readonly replicas: Set<Draft>;
  readonly leads: Set<Draft>;
}

class Plan {
  readonly drafts: readonly Draft[];
  /** Of the nodes that don't drain. */
  readonly #loads: ReadonlyMap<string, Load>;
  readonly #changed = new Set<Draft>();
  readonly #isLost: MoveOptions["isLost"];
  readonly #isLed: MoveOptions["isLed"];

  constructor(state: CatalogState, { isAvailable, isLost, isLed }: Pick<MoveOptions, "isAvailable" | "isLost" | "isLed">) {
    this.#isLost = isLost;
    this.#isLed = isLed;
    const active = [...state.nodes.values()].filter(({ isDraining }) => !isDraining);
    this.#loads = new Map(
      active.map(({ name }) => [name, { name, isAvailable: isAvailable(name), replicas: new Set(), leads: new Set() }]),
    );
    this.drafts = [...partitionsOf(state)].map(({ topic, partition }) => ({
      group: partition.uuid,
      placedAt: partition.placedAt,
      isMoving: partition.isMoving,
      replicationFactor: topic.replicationFactor,
      before: partition.replicas,
      leaving: partition.leaving,
      replicas: [...partition.replicas],
      leaderBefore: partition.leader,
      leader: partition.leader,
    }));
    for (const draft of this.drafts) {
      for (const { node } of draft.replicas) this.#loads.get(node)?.replicas.add(draft);
      this.#loads.get(draft.leader ?? "")?.leads.add(draft);
    }
  }

  get changedCount(): number {
    return [...this.#changed].filter(({ isMoving }) => !isMoving).length;
  }

  moves(): PlannedMove[] {
    return [...this.#changed].map(({ group, placedAt, replicas, leader }) => {
      assert(leader !== undefined, "who is placed anew has a leader");
      return { group, basis: placedAt, replicas, leader };
    });
  }

  replaceLost(draft: Draft): void {
    const lost = draft.before.filter((replica) => this.#isLost(draft.group, replica));
    if (lost.length === 0 || lost.length === draft.before.length) return;
    for (const { node } of lost) {
      // Its node takes a new one, or another node does when that drains.
      if (this.#loads.get(node)?.isAvailable === true) this.#put(draft, node, { node });
    }
  }

  leaveDraining(draft: Draft): void {
    const draining = draft.replicas.filter(({ node }) => !this.#loads.has(node));
    for (const { node } of draining) {
      const activeCount = draft.replicas.length - draft.replicas.filter((it) => !this.#loads.has(it.node)).length;
      const isNeeded = activeCount < Math.min(draft.replicationFactor, this.#loads.size);
      const target = isNeeded ? this.#freest(draft) : undefined;
      if (target !== undefined) this.#put(draft, node, this.#newReplica(draft, target));
      // Else it waits for a node that is away; or nobody else is there to take it, and it is one too many.
      else if (!isNeeded && draft.replicas.length > 1) this.#drop(draft, node);
    }
  }

  adjustCount(draft: Draft): void {
    const wanted = Math.min(draft.replicationFactor, this.#loads.size);
    while (draft.replicas.length > 0 && draft.replicas.length < wanted) {
      const target = this.#freest(draft);
      if (target === undefined) return;
      this.#add(draft, this.#newReplica(draft, target));
    }
    while (draft.replicas.length > wanted && draft.replicas.every(({ node }) => this.#loads.has(node))) {
      const loads = draft.replicas.map(({ node }) => this.#getLoad(node));
      // One that is away first, be it the wished leader: what stays should be what is there.
      const spare = loads.filter(({ name, isAvailable }) => name !== draft.leader || !isAvailable);
      const [fullest] = spare.sort(
        (a, b) => Number(a.isAvailable) - Number(b.isAvailable) || b.replicas.size - a.replicas.size,
      );
      if (fullest === undefined) return;
      this.#drop(draft, fullest.name);
    }
  }

  findLeader(draft: Draft): void {
    if (draft.replicas.some(({ node }) => node === draft.leader)) return;
    const candidates = draft.replicas.map(({ node }) => {
      const { isAvailable = false, leads } = this.#loads.get(node) ?? {};
      return { node, isAvailable, leads: leads?.size ?? 0 };
    });
    const [best] = candidates.sort((a, b) => Number(b.isAvailable) - Number(a.isAvailable) || a.leads - b.leads);
    if (best !== undefined) this.#setLeader(draft, best.node);
  }

  balanceReplicas(tolerance: number, maxCount: number): void {
    const loads = [...this.#loads.values()].filter(({ isAvailable }) => isAvailable);
    const countOf = (load: Load): number => load.replicas.size;
    if (!isUneven(loads.map(countOf), tolerance)) return;
    while (this.changedCount < maxCount) {
      const [from, to] = extremes(loads, countOf);
      if (from === undefined || to === undefined || countOf(from) - countOf(to) < 2) return;
      const movable = [...from.replicas].filter((draft) => !to.replicas.has(draft) && this.#mayBalance(draft, from.name));
      // Whose lead moves along, when that is uneven too.
      const takesLead = from.leads.size > to.leads.size;
      const draft = movable.find((it) => (it.leader === from.name) === takesLead) ?? movable[0];
      if (draft === undefined) return;
      const isLed = draft.leader === from.name;
      this.#put(draft, from.name, { node: to.name });
      if (isLed) this.#setLeader(draft, to.name);
    }
  }

  balanceLeaders(tolerance: number, maxCount: number): void {
    const loads = [...this.#loads.values()].filter(({ isAvailable }) => isAvailable);
    const countOf = (load: Load): number => load.leads.size;
    if (!isUneven(loads.map(countOf), tolerance)) return;
    const settled = new Set<Load>();
    while (this.changedCount < maxCount) {
      const [from] = extremes(
        loads.filter((load) => !settled.has(load)),
        countOf,
      );
      if (from === undefined) return;
      const path = this.#findLeadPath(from);
      if (path === undefined) {
        settled.add(from);
        continue;
      }
      for (const { draft, to } of path) this.#setLeader(draft, to.name);
      // What was handed on may have opened a way to somebody else.
      settled.clear();
    }
  }

  /** Leads to hand on, one to the next, so that `from` has one less and the last, who has two less than it, one more. */
  #findLeadPath(from: Load): readonly { readonly draft: Draft; readonly to: Load }[] | undefined {
    const cameBy = new Map<Load, { readonly draft: Draft; readonly by: Load }>();
    const queue = [from];
    for (const load of queue) {
      for (const draft of load.leads) {
        for (const { node } of draft.replicas) {
          const to = this.#loads.get(node);
          if (to === undefined || to === from || !to.isAvailable || cameBy.has(to)) continue;
          cameBy.set(to, { draft, by: load });
          if (to.leads.size <= from.leads.size - 2) return pathTo(to, cameBy);
          queue.push(to);
        }
      }
    }
    return undefined;
  }

  #newReplica({ group, leaving }: Draft, node: string): WishedReplica {
    return leaving.findLast((replica) => replica.node === node && !this.#isLost(group, replica)) ?? { node };
  }

  #mayBalance(draft: Draft, from: string): boolean {
    // One that is on its way, or is begun anew, isn't sent elsewhere.
    return (
      this.#isLed(draft.group) &&
      !draft.isMoving &&
      draft.replicas.some(({ node, incarnation }) => node === from && incarnation !== undefined)
    );
  }

  /**
   * The available node with the fewest replicas that has none of this partition: one without an older replica, if there is one. What
   * is called back may have been removed from the group already, and would have to be added again.
   */
  #freest(draft: Draft): string | undefined {
    const free = [...this.#loads.values()].filter((load) => {
      return load.isAvailable && !draft.replicas.some(({ node }) => node === load.name);
    });
    const isFresh = ({ name }: Load): boolean => !draft.leaving.some(({ node }) => node === name);
    const candidates = free.some(isFresh) ? free.filter(isFresh) : free;
    return candidates.sort((a, b) => a.replicas.size - b.replicas.size || a.leads.size - b.leads.size)[0]?.name;
  }

  #add(draft: Draft, replica: WishedReplica): void {
    draft.replicas = [...draft.replicas, replica];
    this.#loads.get(replica.node)?.replicas.add(draft);
    this.#changed.add(draft);
  }

  #drop(draft: Draft, node: string): void {
    draft.replicas = draft.replicas.filter((replica) => replica.node !== node);
    this.#loads.get(node)?.replicas.delete(draft);
    this.#changed.add(draft);
  }

  #put(draft: Draft, node: string, replica: WishedReplica): void {
    this.#loads.get(node)?.replicas.delete(draft);
    draft.replicas = draft.replicas.map((it) => (it.node === node ? replica : it));
    this.#loads.get(replica.node)?.replicas.add(draft);
    this.#changed.add(draft);
  }

  #setLeader(draft: Draft, node: string): void {
    this.#loads.get(draft.leader ?? "")?.leads.delete(draft);
    this.#loads.get(node)?.leads.add(draft);
    draft.leader = node;
    this.#changed.add(draft);
  }

  #getLoad(node: string): Load {
    const load = this.#loads.get(node);
    assert(load !== undefined, "a node that doesn't drain has a load");
    return load;
  }
}

function isUneven(counts: readonly number[], tolerance: number): boolean {
  if (counts.length < 2) return false;
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return Math.max(...counts) - Math.min(...counts) > Math.max(1, tolerance * mean);
}

/** Who has the most, and who has the fewest. */
function extremes(loads: readonly Load[], countOf: (load: Load) => number): readonly [Load | undefined, Load | undefined] {
  let [most, fewest] = [loads[0], loads[0]];
  for (const load of loads) {
    if (most === undefined || countOf(load) > countOf(most)) most = load;
    if (fewest === undefined || countOf(load) < countOf(fewest)) fewest = load;
  }
  return [most, fewest];
}

function pathTo(
  end: Load,
  cameBy: ReadonlyMap<Load, { readonly draft: Draft; readonly by: Load }>,
): readonly { readonly draft: Draft; readonly to: Load }[] {
  const path: { readonly draft: Draft; readonly to: Load }[] = [];
  for (let to = end; ; ) {
    const step = cameBy.get(to);
    if (step === undefined) return path;
    path.push({ draft: step.draft, to });
    to = step.by;
  }
}
