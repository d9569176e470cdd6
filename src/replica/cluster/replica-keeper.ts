import type { Clock, Timer } from "../../base/clock.ts";
import {
  firstCampaignsMs,
  forgottenGroupsMaxCount,
  replicaKeeperCreatesMaxCount,
  replicaKeeperRetryMs,
} from "../../base/cluster-limits.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import type { GroupMember } from "../group/group-member.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import type { NodeRecord } from "./node-record.ts";
import { findPlacedBefore, type PlannedReplica, planReplicas, type ReplicaPlan } from "./replica-plan.ts";

/**
 * Sees to it that this node has the replicas that the catalog places on it, and no others: whenever the catalog changes, and again a
 * little later where something failed. It knows of no state of its own, so it may begin anywhere.
 */
export class ReplicaKeeper {
  readonly #options: ReplicaKeeperOptions;
  readonly #stopWatching: () => void;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;
  #retry: Timer | undefined;
  /** Of groups that were just made. */
  readonly #campaigns = new Set<Timer>();
  /** Groups whose replicas are noted and couldn't be made. */
  readonly #unmade = new Set<string>();
  #isClosed = false;

  constructor(options: ReplicaKeeperOptions) {
    this.#options = options;
    this.#stopWatching = options.catalog.watch(() => this.#wake());
    this.#wake();
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopWatching();
    this.#retry?.cancel();
    for (const timer of this.#campaigns) timer.cancel();
    await this.#running;
  }

  #wake(): void {
    if (this.#isClosed) return;
    if (this.#running !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#running = this.#takeTurn()
      .catch((error: unknown) => this.#failed("a turn of the replicas failed", error))
      .finally(() => {
        this.#running = undefined;
        if (!this.#isAskedAgain) return;
        this.#isAskedAgain = false;
        this.#wake();
      });
  }

  async #takeTurn(): Promise<void> {
    const { catalog, record, groups, self, changed } = this.#options;
    // What was deleted, and forgotten because this node had nothing of it, would be made as the fold passes by and never be deleted again. The end
    // of what is known wakes this anew.
    if (catalog.state.clusterId === undefined || !catalog.isCurrent) return;
    const plan = (): ReplicaPlan => planReplicas(catalog.state, { node: self, ...record.state });
    await inTurns(plan().remove, async ({ groupId, incarnation }) => {
      // One whose deletion a start found is being deleted already.
      if (groups.stateOf(groupId) === undefined) return;
      await groups
        .delete(groupId, incarnation)
        .catch((error: unknown) => this.#failed("a replica couldn't be deleted yet", error, groupId));
    });
    await inTurns([...this.#unmade], async (groupId) => this.#makeAgain(groupId));
    // Planned anew: where one has gone its successor can be made now, and nothing else would wake this for it.
    await inTurns(plan().create, async (planned) => this.#create(planned));
    changed();
    await this.#forgetReplicas();
    await this.#forgetDeleted();
  }

  /** What was deleted stands in the node record no longer than it must, or that would grow with each topic that ever was. */
  async #forgetReplicas(): Promise<void> {
    const { catalog, record, self } = this.#options;
    if (!record.state.replicas.some(({ state }) => state === "deleted") || !catalog.isCurrent) return;
    const placedBefore = findPlacedBefore(catalog.state, catalog.nextOffset, { node: self, ...record.state });
    if (placedBefore !== undefined) await record.forgetReplicas(placedBefore);
  }

  async #create({ groupId, incarnation, logId, firstMembers, isWishedLeader }: PlannedReplica): Promise<void> {
    if (this.#isClosed) return;
    try {
      const member = await this.#options.groups.create({ groupId, incarnation, logId, firstMembers });
      // The others leave it the time of an election.
      if (firstMembers !== undefined && isWishedLeader) for (const delayMs of firstCampaignsMs) this.#campaign(member, delayMs);
    } catch (error) {
      this.#unmade.add(groupId);
      this.#failed("a replica couldn't be made yet", error, groupId);
    }
  }

  /** It is listed by now, so that no plan names it any more: a disk that was full for a moment must not cost it for ever. */
  async #makeAgain(groupId: string): Promise<void> {
    const { groups } = this.#options;
    this.#unmade.delete(groupId);
    if (this.#isClosed || groups.stateOf(groupId)?.kind !== "failed") return;
    await groups.reopen(groupId);
    const state = groups.stateOf(groupId);
    if (state?.kind !== "failed") return;
    this.#unmade.add(groupId);
    this.#failed("a replica couldn't be made yet", state.error, groupId);
  }

  /** Tells the cluster of deleted groups that this node has nothing of any more, so that it need not remember them for its sake. */
  async #forgetDeleted(): Promise<void> {
    const { catalog, record, groups, self } = this.#options;
    const present = new Set(record.state.replicas.flatMap(({ groupId, state }) => (state === "deleted" ? [] : [groupId])));
    const gone = [...catalog.state.deleted].flatMap(([group, nodes]) => {
      return nodes.includes(self) && !present.has(group) ? [group] : [];
    });
    for (const group of gone) groups.forgetLeader(group);
    // A node that was away for long has much to say, and what is said at once is bounded.
    for (let at = 0; at < gone.length && !this.#isClosed; at += forgottenGroupsMaxCount) {
      const some = gone.slice(at, at + forgottenGroupsMaxCount);
      const isSaid = await catalog.propose({ kind: "forget-deleted", node: self, groups: some }).then(
        () => true,
        (error: unknown) => {
          // Nobody leads, mostly: it is said later.
          if (!isProglogError(error)) throw error;
          return false;
        },
      );
      if (!isSaid) return this.#retryLater();
    }
  }

  #campaign(member: GroupMember, delayMs: number): void {
    if (this.#isClosed) return;
    const timer = this.#options.clock.setTimer(delayMs, () => {
      this.#campaigns.delete(timer);
      if (member.leader === undefined) member.campaign?.();
    });
    this.#campaigns.add(timer);
  }

  #failed(what: string, error: unknown, group?: string): void {
    this.#options.logger.warn({ ...(group !== undefined && { group }), reason: messageOf(error) }, what);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#retry !== undefined || this.#isClosed) return;
    this.#retry = this.#options.clock.setTimer(replicaKeeperRetryMs, () => {
      this.#retry = undefined;
      this.#wake();
    });
  }
}

export interface ReplicaKeeperOptions {
  readonly catalog: Pick<ClusterCatalog, "state" | "nextOffset" | "isCurrent" | "watch" | "propose">;
  readonly record: NodeRecord;
  readonly groups: Pick<GroupSet<GroupMember>, "create" | "delete" | "forgetLeader" | "reopen" | "stateOf">;
  /** This node's name. */
  readonly self: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The replicas are as the catalog had them; settings may be others. */
  readonly changed: () => void;
}

/** For each, some at a time: what they make durable goes together. */
async function inTurns<Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const worker = async (): Promise<void> => {
    for (const item of waiting) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(replicaKeeperCreatesMaxCount, items.length) }, worker));
}
