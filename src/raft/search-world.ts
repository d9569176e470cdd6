import {
  beginSync,
  crash,
  endSync,
  type FakeEffects,
  type FakeReplica,
  hasUnsynced,
  processReady,
  restart,
  syncHardState,
  viewOf,
} from "./fake-replica.ts";
import { describeEntry } from "./describe.ts";
import type { Entry } from "./entry.ts";
import { type GroupWitness, newGroupWitness, witness, witnessMessage } from "./group-witness.ts";
import { findViolations, marksOf } from "./invariants.ts";
import type { Message } from "./message.ts";
import type { Raft } from "./raft.ts";
import { copyReplica } from "./state-copy.ts";

/** How much of what a search may do is left. */
export interface Budget {
  readonly elections: number;
  readonly proposals: number;
  readonly crashes: number;
  readonly heartbeats: number;
  readonly repetitions: number;
  readonly changes: number;
  /** Of a node, as another sees it. */
  readonly losses: number;
}

export const budgetNames = ["elections", "proposals", "crashes", "heartbeats", "repetitions", "changes", "losses"] as const;

export interface DiskRules {
  /** A sync of the log happens with the write; or is a step of its own; or two, and what is written between isn't covered by it. */
  readonly syncs: "instant" | "stepwise" | "slow";
  /** A hard state's sync is a step of its own. Else it is instant: a crash before it is a crash before what caused it. */
  readonly hasSlowHardStates?: boolean;
}

/**
 * A world of a search, while a step is taken in it. Replicas, messages and witness are shared with the world it was forked from;
 * what a step changes is copied first. Each step returns what it broke.
 */
export class SearchWorld {
  readonly replicas: FakeReplica[];
  readonly budget: Record<keyof Budget, number>;
  network: Message[] = [];
  witness: GroupWitness = newGroupWitness();
  readonly #rules: DiskRules;

  constructor(replicas: readonly FakeReplica[], budget: Budget, rules: DiskRules) {
    this.replicas = [...replicas];
    this.budget = { ...budget };
    this.#rules = rules;
  }

  fork(): SearchWorld {
    const world = new SearchWorld(this.replicas, this.budget, this.#rules);
    world.network = this.network;
    world.witness = this.witness;
    return world;
  }

  /** One event for one replica, with all that follows from it. */
  act(position: number, event: (raft: Raft) => unknown): string[] {
    const replica = this.#copy(position);
    const before = marksOf(replica.raft.state);
    event(replica.raft);
    const found = findViolations(replica.raft.state, before);
    return found.length > 0 ? found : this.#settle(replica);
  }

  onDisk(position: number, change: (replica: FakeReplica) => void): string[] {
    const replica = this.#copy(position);
    change(replica);
    return this.#settle(replica);
  }

  deliver(message: Message, isRepeated = false): string[] {
    if (isRepeated) this.budget.repetitions -= 1;
    else this.network = this.network.filter((other) => other !== message);
    return this.act(this.positionOf(message.to), (raft) => raft.step(message));
  }

  positionOf(nodeId: string): number {
    return this.replicas.findIndex(({ raft }) => raft.state.self.nodeId === nodeId);
  }

  /** It times out, and the pre-votes are asked for and given at once. */
  campaign(position: number): string[] {
    this.budget.elections -= 1;
    const before = this.network;
    this.network = [];
    const found = this.act(position, (raft) => {
      raft.wake();
      for (let left = raft.state.electionTimeout - raft.state.electionElapsed; left > 0; left -= 1) raft.tick();
    });
    for (let turns = 0; turns < 2; turns += 1)
      for (const message of this.network.filter(({ kind }) => kind.startsWith("pre-vote")))
        found.push(...this.deliver(message));
    this.network = [...before, ...this.network.filter(({ kind }) => !kind.startsWith("pre-vote"))];
    return found;
  }

  crash(position: number, keepsWritten: boolean): string[] {
    this.budget.crashes -= 1;
    return this.onDisk(position, (replica) => {
      crash(replica, keepsWritten);
      restart(replica);
    });
  }

  #copy(position: number): FakeReplica {
    const replica = this.replicas[position];
    if (replica === undefined) throw new Error(`there is no replica ${position}`);
    const copy = copyReplica(replica);
    this.replicas[position] = copy;
    return copy;
  }

  /** Carries out what the core wants and looks at the group. */
  #settle(replica: FakeReplica): string[] {
    const effects: FakeEffects = { messages: [], readies: [], catchUps: [], reads: [] };
    processReady(replica, effects);
    while (this.#syncAtOnce(replica)) processReady(replica, effects);
    // Time is whatever it takes: who doesn't lead may always campaign, and vote.
    const { state } = replica.raft;
    if (state.role.kind !== "leader") state.electionElapsed = state.settings.electionTicks;
    const known = new Set(this.network.map(keyOfMessage));
    const fresh = effects.messages.filter((message) => !known.has(keyOfMessage(message)));
    this.network = [...this.network, ...fresh].filter((message) => !this.#isSpent(message));
    const views = this.replicas.map(viewOf);
    const stepped = views[this.replicas.indexOf(replica)];
    this.witness = { ...this.witness, leaders: [...this.witness.leaders], committed: [...this.witness.committed] };
    const found = stepped === undefined ? [] : witness(this.witness, views, stepped);
    const said = effects.messages.flatMap((message) => witnessMessage(replica.disk, message));
    return [...findViolations(state), ...found, ...said];
  }

  #syncAtOnce(replica: FakeReplica): boolean {
    if (replica.hardStatePending !== undefined && this.#rules.hasSlowHardStates !== true) {
      syncHardState(replica);
      return true;
    }
    if (!hasUnsynced(replica) || this.#rules.syncs !== "instant") return false;
    beginSync(replica);
    endSync(replica);
    return true;
  }

  /**
   * A message that can't change anything any more, however long it is under way: an answer to who doesn't wait for it in that term,
   * and won't again. Worlds that differ in such messages alone are one.
   */
  #isSpent({ kind, term, to }: Message): boolean {
    const { hardState, role } = this.replicas[this.positionOf(to)]?.raft.state ?? {};
    if (hardState === undefined || role === undefined || term > hardState.term) return false;
    switch (kind) {
      case "vote-response":
        return term < hardState.term || role.kind !== "candidate";
      case "append-accepted":
      case "append-rejected":
      case "heartbeat-response":
      case "sleep-response":
      case "read-request":
        return term < hardState.term || role.kind !== "leader";
      case "newer-term":
        return true;
      case "commit-notice":
      case "timeout-now":
      case "read-response":
        return term < hardState.term;
      default:
        return false;
    }
  }
}

const messageKeys = new WeakMap<Message, string>();

/** Equal messages have equal keys. */
export function keyOfMessage(message: Message): string {
  const known = messageKeys.get(message);
  if (known !== undefined) return known;
  const key = JSON.stringify(message);
  messageKeys.set(message, key);
  return key;
}

/** What makes replicas behave alike: counters that only tell old from new count from their newest. */
export function keyOfReplica({ raft, disk, written, syncing, generation, hardStatePending }: FakeReplica): string {
  const {
    self,
    hardState,
    log,
    role,
    effects,
    commitIndex,
    electionElapsed,
    electionTimeout,
    isAsleep,
    removedAt,
    owed,
    lostNodes,
  } = raft.state;
  const { sequence, durableSequence } = hardState;
  const roleKey = role.kind === "candidate" ? { ...role, voteSequence: sequence - role.voteSequence } : role;
  return JSON.stringify([
    [
      self.nodeId,
      hardState.term,
      hardState.vote?.nodeId,
      sequence - durableSequence,
      sequence - (hardStatePending?.sequence ?? sequence),
    ],
    [log.base, log.lastIndex, log.durableIndex, log.memberships, log.handedIndex],
    [commitIndex, electionElapsed, electionTimeout, roleKey, isAsleep, removedAt, owed?.index, [...lostNodes]],
    effects.held.map((held) => [sequence - held.sequence, held.message]),
    [disk.term, disk.vote?.nodeId, disk.log.base, entriesKey(disk.log.entries)],
    [written.base, entriesKey(written.entries)],
    syncing === undefined ? 0 : [generation - syncing.generation, entriesKey(syncing.log.entries)],
    hardStatePending === undefined ? 0 : [hardStatePending.term, hardStatePending.vote?.nodeId],
  ]);
}

function entriesKey(entries: readonly Entry[]): string {
  return entries.map((entry) => `${describeEntry(entry)} ${entry.bytes}`).join(",");
}
