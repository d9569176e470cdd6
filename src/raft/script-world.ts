import { describeMessage, describeState } from "./describe.ts";
import {
  beginSync,
  breakConnection,
  crash,
  emptyFakeLog,
  endSync,
  entryAt,
  type FakeEffects,
  type FakeReplica,
  hasUnsynced,
  lastOf,
  membershipAt,
  newFakeReplica,
  processReady,
  reportSent,
  restart,
  sendAll,
  sendOne,
  syncHardState,
  tailOf,
  viewOf,
} from "./fake-replica.ts";
import { newGroupWitness, witness, witnessAnswer, witnessAsked, witnessMessage } from "./group-witness.ts";
import { findViolations, marksOf } from "./invariants.ts";
import type { Member, NodeId } from "./member.ts";
import { type Membership, unknownMembership } from "./membership.ts";
import type { Message } from "./message.ts";
import { findProgress } from "./progress.ts";
import type { Raft } from "./raft.ts";
import { defaultSettings, type RaftSettings } from "./raft-settings.ts";
import type { ReadOutcome } from "./read-index.ts";
import type { Ready } from "./ready.ts";

/**
 * A group in which nothing happens unless it is told to: no message arrives, no disk syncs, no clock ticks. What scripts and
 * property tests are run on. After each step of a core its invariants and the group's are checked.
 */
export class ScriptWorld {
  readonly replicas = new Map<NodeId, FakeReplica>();
  network: Message[] = [];
  readonly settings: RaftSettings;
  /** What happened, a line each, since it was last taken. */
  lines: string[] = [];
  readonly #cuts = new Set<string>();
  readonly #held = new Set<string>();
  readonly #witness = newGroupWitness();
  readonly #isWitnessed: boolean;

  /** Not witnessed is a world in which a script plays some of the replicas itself. */
  constructor(settings: Partial<RaftSettings> = {}, isWitnessed = true) {
    this.#isWitnessed = isWitnessed;
    this.settings = { ...defaultSettings, electionTicks: 10, heartbeatTicks: 1, ...settings };
  }

  add(self: Member, start: { readonly membership?: Membership; readonly disk?: FakeReplica["disk"] }): void {
    const log = emptyFakeLog(start.membership ?? unknownMembership);
    const replica = newFakeReplica(self, start.disk ?? { term: 0, vote: undefined, log }, this.settings);
    this.replicas.set(self.nodeId, replica);
    this.#settle(replica);
  }

  get(nodeId: NodeId): FakeReplica {
    const replica = this.replicas.get(nodeId);
    if (replica === undefined) throw new Error(`there is no ${nodeId}`);
    return replica;
  }

  /** One event for one core, and what follows from it. */
  act<Result>(nodeId: NodeId, event: (raft: Raft) => Result): Result {
    const replica = this.get(nodeId);
    if (!replica.isUp) throw new Error(`${nodeId} is down`);
    const before = marksOf(replica.raft.state);
    const result = event(replica.raft);
    this.#check(nodeId, findViolations(replica.raft.state, before));
    this.#settle(replica);
    return result;
  }

  read(nodeId: NodeId, id: number): ReadOutcome {
    witnessAsked(this.#witness, `read ${id} of ${nodeId}`);
    return this.act(nodeId, (raft) => raft.readIndex(id));
  }

  /** Delivers one message; it is lost when its way is cut or its receiver down. */
  deliver(message: Message): void {
    const receiver = this.replicas.get(message.to);
    if (this.isCut(message) || receiver?.isUp !== true) {
      this.lines.push(`lost ${describeMessage(message)}`);
      return;
    }
    const at = this.lines.length;
    const outcome = this.act(message.to, (raft) => raft.step(message));
    if (outcome !== "taken") this.lines.splice(at, 0, `${message.to} passes over ${describeMessage(message)}: ${outcome}`);
  }

  isCut({ from, to }: Message): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  cut(one: NodeId, others: readonly NodeId[], isOneWay: boolean): void {
    for (const other of others) {
      this.#cuts.add(`${one}>${other}`);
      if (!isOneWay) this.#cuts.add(`${other}>${one}`);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  /** Keeps a disk from syncing by itself in `settle`, or send orders from being carried out at once. */
  hold(nodeId: NodeId, what: string): void {
    if (what === "sends") this.get(nodeId).isSlowToSend = true;
    else this.#held.add(`${nodeId} ${what}`);
  }

  release(nodeId: NodeId): void {
    for (const what of ["log", "hard-state"]) this.#held.delete(`${nodeId} ${what}`);
    if (!this.get(nodeId).isSlowToSend) return;
    this.get(nodeId).isSlowToSend = false;
    this.#outside(nodeId, (replica) => {
      const messages: Message[] = [];
      sendAll(replica, messages);
      this.#post(messages);
    });
  }

  /** Carries out the oldest send order, or gives it up. */
  send(nodeId: NodeId, isLost: boolean): void {
    this.#outside(nodeId, (replica) => {
      const message = sendOne(replica, isLost);
      if (message !== undefined) this.#post([message]);
    });
  }

  unreachable(nodeId: NodeId, to: NodeId): void {
    this.#outside(nodeId, (replica) => breakConnection(replica, to));
  }

  /** Reports the oldest that was sent. */
  reportSent(nodeId: NodeId): void {
    this.#outside(nodeId, reportSent);
  }

  syncHardState(nodeId: NodeId): void {
    this.#outside(nodeId, syncHardState);
  }

  beginSync(nodeId: NodeId): void {
    beginSync(this.get(nodeId));
  }

  endSync(nodeId: NodeId): void {
    this.#outside(nodeId, endSync);
  }

  syncLog(nodeId: NodeId): void {
    this.beginSync(nodeId);
    this.endSync(nodeId);
  }

  crash(nodeId: NodeId, keepsWritten: boolean): void {
    crash(this.get(nodeId), keepsWritten);
  }

  restart(nodeId: NodeId): void {
    const replica = this.get(nodeId);
    restart(replica);
    this.#settle(replica);
  }

  /** Starts a replica on a disk that has lost what lies behind `index`, synced as it was: put back from a copy. */
  rollBack(nodeId: NodeId, index: number): void {
    const replica = this.get(nodeId);
    crash(replica, false);
    const { log } = replica.disk;
    replica.disk.log = { ...log, entries: log.entries.slice(0, index - log.base.index) };
    replica.written = replica.disk.log;
    this.restart(nodeId);
  }

  /** Syncs and delivers, in a fixed order, until nothing is left to do. */
  settle(): void {
    for (let turns = 0; turns < 1_000; turns += 1) if (!this.#settleOnce()) return;
    throw new Error("it doesn't settle");
  }

  #settleOnce(): boolean {
    let isBusy = false;
    for (const [nodeId, replica] of this.replicas) {
      if (replica.hardStatePending !== undefined && !this.#held.has(`${nodeId} hard-state`)) {
        this.syncHardState(nodeId);
        isBusy = true;
      }
      if (replica.isUp && hasUnsynced(replica) && !this.#held.has(`${nodeId} log`)) {
        this.syncLog(nodeId);
        isBusy = true;
      }
    }
    const messages = this.network;
    this.network = [];
    for (const message of messages) this.deliver(message);
    return isBusy || messages.length > 0;
  }

  /** What a catch-up order asks for: the sender's base and so many entries behind it go to the receiver, in the place of its log. */
  catchUp(from: NodeId, to: NodeId, count: number): void {
    const { written, raft } = this.get(from);
    const { role } = raft.state;
    const flow = role.kind === "leader" ? findProgress(role.peers, to)?.flow : undefined;
    const { base } = written;
    const log = { ...written, membership: membershipAt(this.get(from), base.index), entries: written.entries.slice(0, count) };
    const receiver = this.get(to);
    receiver.shipped = [...receiver.shipped, log];
    const tail = count > 0 ? { tail: tailOf(receiver.raft.state.self, log) } : {};
    const { membership } = log;
    const outcome = this.act(to, (core) => core.installBase({ from, term: raft.term, base, membership, ...tail }));
    this.lines.push(
      `${to} installs ${base.index}@${base.term}${lastOf(log) > base.index ? ` to ${lastOf(log)}` : ""}: ${outcome}`,
    );
    if (outcome === "stale" || flow?.kind !== "catch-up") return;
    const index = outcome === "accepted" ? lastOf(log) : base.index;
    this.act(from, (core) => core.caughtUp({ to, id: flow.id, index }));
  }

  trim(nodeId: NodeId, index: number): void {
    const replica = this.get(nodeId);
    const { written } = replica;
    const last = entryAt(written, index);
    if (last === undefined) throw new Error(`${nodeId} has no ${index}`);
    const membership = membershipAt(replica, index);
    const nextOffset = last.baseOffset + last.span;
    this.act(nodeId, (raft) => raft.trimmed({ index, nextOffset }));
    const entries = written.entries.slice(index - written.base.index);
    replica.written = { base: { index, term: last.term, nextOffset }, membership, entries };
    if (replica.disk.log === written) replica.disk.log = replica.written;
  }

  describe(nodeId: NodeId): string {
    const { raft, isUp } = this.get(nodeId);
    return isUp ? describeState(raft.state) : `${nodeId} down`;
  }

  /** The terms of its entries, a bar behind the last one on the disk. */
  describeLog(nodeId: NodeId): string {
    const { written, disk, raft } = this.get(nodeId);
    const cells = written.entries.map(({ index, term }) => {
      const isCommitted = index <= raft.commitIndex;
      const isDurable = entryAt(disk.log, index)?.term === term;
      return `${term}${isCommitted ? "" : "?"}${isDurable ? "" : "~"}`;
    });
    return `${nodeId}: ${written.base.index > 0 ? `…${lastOf({ ...written, entries: [] })} ` : ""}${cells.join(" ")}`;
  }

  takeLines(): string[] {
    const { lines } = this;
    this.lines = [];
    return lines;
  }

  #outside(nodeId: NodeId, change: (replica: FakeReplica) => void): void {
    const replica = this.get(nodeId);
    const before = marksOf(replica.raft.state);
    change(replica);
    this.#check(nodeId, findViolations(replica.raft.state, before));
    this.#settle(replica);
  }

  /** Carries out what the core wants and looks at the group. */
  #settle(replica: FakeReplica): void {
    const effects: FakeEffects = { messages: [], readies: [], catchUps: [], reads: [] };
    processReady(replica, effects);
    const { nodeId } = replica.raft.state.self;
    for (const ready of effects.readies) this.#tell(nodeId, ready);
    // What a script plays itself needn't be on a disk.
    if (this.#isWitnessed) for (const message of effects.messages) this.#check(nodeId, witnessMessage(replica.disk, message));
    this.#post(effects.messages);
    this.#check(nodeId, findViolations(replica.raft.state));
    const views = [...this.replicas.values()].map(viewOf);
    const stepped = views.find(({ state }) => state === replica.raft.state);
    if (stepped !== undefined && this.#isWitnessed) this.#check(nodeId, witness(this.#witness, views, stepped));
  }

  #post(messages: readonly Message[]): void {
    for (const message of messages) this.lines.push(describeMessage(message));
    this.network.push(...messages);
  }

  #tell(nodeId: NodeId, { role, write, commitIndex, reads, catchUps, withdrawals, isAsleep }: Ready): void {
    if (role !== undefined) {
      const of = role.kind === "follower" && role.leader !== undefined ? ` of ${role.leader}` : "";
      this.lines.push(`${nodeId} becomes ${role.kind}${of}, term=${role.term}`);
    }
    if (write?.truncateTo !== undefined) this.lines.push(`${nodeId} truncates to ${write.truncateTo}`);
    if (commitIndex !== undefined) this.lines.push(`${nodeId} commits ${commitIndex}`);
    for (const read of reads)
      if (read.outcome === "confirmed")
        this.#check(nodeId, witnessAnswer(this.#witness, `read ${read.id} of ${nodeId}`, read.index));
    for (const read of reads)
      this.lines.push(`${nodeId} read ${read.id} ${read.outcome === "confirmed" ? `at ${read.index}` : "failed"}`);
    if (isAsleep !== undefined) this.lines.push(`${nodeId} ${isAsleep ? "falls asleep" : "wakes"}`);
    for (const { to, matchIndex } of catchUps) this.lines.push(`${nodeId} has ${to} caught up from ${matchIndex}`);
    for (const { to, id } of withdrawals) this.lines.push(`${nodeId} withdraws catch-up ${id} of ${to}`);
  }

  #check(nodeId: NodeId, violations: readonly string[]): void {
    if (violations.length > 0) throw new Error(`${nodeId} breaks ${violations.join("; ")}`);
  }
}
