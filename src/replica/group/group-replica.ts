import { isProglogError, type ProglogError } from "../../base/error.ts";
import { type Logger, silentLogger } from "../../base/logger.ts";
import type { RecordInput } from "../../batch/record.ts";
import type { AppendResult, Log } from "../../log/index.ts";
import type { LogObserver } from "../../log/log-observer.ts";
import type { ReplicaLog, ReplicaLogOptions } from "../../log/replica-log.ts";
import type { Entry } from "../../raft/entry.ts";
import type { TransferOutcome } from "../../raft/handover.ts";
import type { Member, NodeId } from "../../raft/member.ts";
import type { ChangeOutcome } from "../../raft/membership-change.ts";
import type { Membership, MembershipChange } from "../../raft/membership.ts";
import { createRaft, type Raft } from "../../raft/raft.ts";
import { defaultSettings } from "../../raft/raft-settings.ts";
import { membershipOf } from "../../raft/raft-state.ts";
import type { Ready, RoleChange } from "../../raft/ready.ts";
import { PartitionTraffic } from "../partition-traffic.ts";
import type { PeerMessage } from "../peer-network.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { CopyQuestionKind } from "./copy-questions.ts";
import { EntryWriter } from "./entry-writer.ts";
import { GroupAppends, type GroupAppendOptions } from "./group-appends.ts";
import { closedError, isOwnFault, type KnownLeader, notLeaderError, stoppedError, withSuccessor } from "./group-errors.ts";
import { findEntryOf, openGroupLog } from "./group-log.ts";
import { checkRepaired, GroupDamage } from "./group-damage.ts";
import { GroupEvents } from "./group-events.ts";
import type { GroupReplicaOptions } from "./group-options.ts";
import { findRefusal, findSuccessor } from "./group-refusal.ts";
import { GroupReads } from "./group-reads.ts";
import { describeGroup, type GroupStatus } from "./group-status.ts";
import { GroupTrims } from "./group-trims.ts";
import { CopyShare, LogCopies } from "./log-copies.ts";
import { HardStateWriter } from "./hard-state-writer.ts";
import { KeptEntries } from "./kept-entries.ts";
import { SendDispatch } from "./send-dispatch.ts";

/**
 * This node's replica of one group: the core, its log, and the effects of the one carried out on the other (docs/raft.md, "What the caller
 * owes"). Whatever happens is told to the core in one turn, and what it says then is begun in the same: it holds back what must wait, so
 * nothing here has an order to get wrong but that of writes.
 *
 * It has no clock that ticks: whoever has many groups ticks them together. Reading goes through `log`, at any time and in any role:
 * what is shown there is committed and on this disk, and never changes.
 */
export class GroupReplica {
  readonly raft: Raft;
  readonly traffic: PartitionTraffic;
  readonly #options: GroupReplicaOptions;
  readonly #logger: Logger;
  readonly #log: ReplicaLog;
  readonly #hardState: HardStateWriter;
  readonly #writer: EntryWriter;
  readonly #dispatch: SendDispatch;
  readonly #appends: GroupAppends;
  readonly #reads: GroupReads;
  readonly #trims: GroupTrims;
  /** The frames of entries that came from a leader, by the core's own objects. */
  readonly #stamped = new WeakMap<Entry, StampedEntry>();
  readonly #kept: KeptEntries;
  #committedIndex: number;
  /** The term that this replica leads, as far as appends know; 0 none. */
  #ledTerm = 0;
  #leadership: AbortController | undefined;
  readonly #damage: GroupDamage;
  readonly #copies: LogCopies;
  readonly #events: GroupEvents;
  #isPumping = false;
  #isPumpDue = false;
  #isShowing = false;
  #ended: ProglogError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: GroupReplicaOptions, { raft, log, logOptions, traffic }: OpenedParts) {
    const { clock, self, hardState, writeTurn = (write) => write(), logger = silentLogger } = options;
    this.#options = options;
    this.traffic = traffic;
    this.#logger = logger;
    this.raft = raft;
    this.#log = log;
    this.#events = new GroupEvents(options);
    this.#kept = new KeptEntries(raft.state, clock);
    this.#committedIndex = raft.commitIndex;
    this.#damage = new GroupDamage((damage) => {
      this.#events.push((listener) => listener.damaged?.(damage));
      this.#act(() => (damage === undefined ? checkRepaired(raft.repaired(log)) : raft.setDamaged()));
    });
    this.#hardState = new HardStateWriter(hardState, clock, {
      durable: ({ sequence }) => this.#act(() => raft.hardStateDurable(sequence)),
      failed: (error) => this.#writeFailed(error),
    });
    this.#writer = new EntryWriter(
      log,
      clock,
      writeTurn,
      {
        install: () => this.#copies.install(),
        truncating: (index) => options.witness?.truncating?.(index),
        wrote: (entries) => {
          options.witness?.wrote?.(entries);
          this.#appends.written();
        },
        durable: (report) => {
          this.#act(() => raft.durable(report));
          this.#appends.durable(raft.state.log.durableIndex);
          // What a quorum committed before this disk had it is news for readers alone.
          if (!this.#isShowing) void this.#show();
        },
        stuck: (error) => (isProglogError(error, "LOG_CORRUPT") ? this.#readFailed(error) : this.#damage.stuck(error)),
        failed: (error) => this.#writeFailed(error),
      },
      options.unsynced,
    );
    this.#dispatch = new SendDispatch({
      self,
      log,
      raft,
      writer: this.#writer,
      send: (message) => this.#send(message),
      act: (event) => this.#act(event),
      readFailed: (error) => this.#readFailed(error),
    });
    this.#appends = new GroupAppends({
      log,
      raft,
      writer: this.#writer,
      actLater: (event) => this.#actLater(event),
      confirm: () => this.#reads.confirm(),
      monotonic: () => clock.monotonic(),
      checkRoom: options.checkRoom,
      findRefusal: (attempt) => this.#findRefusal(attempt),
      knownLeader: () => this.#knownLeader(),
      rpcAddressOf: (nodeId) => this.#rpcAddressOf(nodeId),
    });
    this.#reads = new GroupReads({
      patienceTicks: 4 * raft.state.settings.electionTicks,
      findRefusal: () => this.#ended,
      ask: (id, asked) => this.#act(() => asked(raft.readIndex(id))),
      shownIndex: () => log.shownIndex,
    });
    const { groupName, directory, disk, ask, firstMembership, copies: share = new CopyShare(clock) } = options;
    this.#copies = new LogCopies({
      ...{ groupName, directory, disk, clock, log, logOptions, raft, logger, ask, share, firstMembership },
      act: (event) => this.#act(event),
      trimmed: () => this.#act(() => raft.trimmed({ index: log.base.index, nextOffset: log.base.nextOffset })),
      observer: (event) => this.#events.push(() => options.observer?.repaired?.(event)),
      repaired: () => this.#act(() => this.repaired()),
    });
    this.#trims = new GroupTrims({
      log,
      clock,
      logger,
      keptIndex: () => this.#kept.trimMaxIndex,
      propose: (payload, beginsSegment) => this.#appends.proposeTrim(payload, beginsSegment),
      trimmed: () => this.#act(() => raft.trimmed({ index: log.base.index, nextOffset: log.base.nextOffset })),
      failed: (error) => this.#readFailed(error),
    });
  }

  /**
   * Opens the log, or makes it, and begins. Errors as those of `openLog`; LOG_CORRUPT too for the log of another group. Nothing is sent, and the
   * listener isn't called, before it resolves.
   */
  static async open(options: GroupReplicaOptions): Promise<GroupReplica> {
    const { self, directory, disk, clock, random, groupId, hardState, settings = defaultSettings, logger, openFiles } = options;
    let replica: GroupReplica | undefined;
    const traffic = new PartitionTraffic();
    const observer: LogObserver = {
      ...traffic.counting(options.log?.observer),
      damaged(damage) {
        if (replica !== undefined) replica.#rotted(damage);
        options.log?.observer?.damaged?.(damage);
      },
      poisoned(event) {
        if (replica !== undefined) replica.#writeFailed(event.error);
        options.log?.observer?.poisoned?.(event);
      },
    };
    const shared = { disk, clock, random, ...(logger && { logger }), ...(openFiles && { openFiles }) };
    const logOptions = { takesLock: false, ...options.log, ...shared, observer, logId: groupId };
    const { firstMembership } = options;
    const { log, start } = await openGroupLog(directory, logOptions, { self, firstMembership, saved: hardState.saved });
    try {
      const raft = createRaft(start, settings, random);
      await options.witness?.opened?.(raft.state, log);
      replica = new GroupReplica(options, { raft, log, logOptions, traffic });
    } catch (error) {
      await log.close();
      throw error;
    }
    // When whoever waits for it has it.
    const opened = replica;
    queueMicrotask(() => void opened.#actLater(() => {}));
    return replica;
  }

  /** For reading alone: nothing is appended, truncated, trimmed or configured by it but options. */
  get log(): Log {
    return this.#log.log;
  }

  get self(): Member {
    return this.#options.self;
  }

  get role(): RoleChange["kind"] {
    return this.raft.state.role.kind;
  }

  get term(): number {
    return this.raft.term;
  }

  /** Who leads, as far as it is known here. */
  get leader(): NodeId | undefined {
    return this.raft.leader;
  }

  get isLeader(): boolean {
    return this.raft.state.role.kind === "leader";
  }

  get membership(): Membership {
    return membershipOf(this.raft.state);
  }

  /** It does nothing any more: closed, or stopped by itself. */
  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Takes in what a peer said. */
  receive({ message, frames }: PeerMessage): void {
    if (this.#ended !== undefined) return;
    this.#kept.heard(message.from);
    const entries: Entry[] = [];
    for (const frame of frames) {
      const stamped = this.#log.decodeFromPeer(frame);
      const entry = stamped === undefined ? undefined : findEntryOf(stamped);
      if (stamped === undefined || entry === undefined) {
        this.#logger.error({ group: this.#options.groupName, from: message.from }, "a peer sent what is no entry of the group");
        return;
      }
      this.#stamped.set(entry, stamped);
      entries.push(entry);
    }
    this.#act(() => {
      const outcome = this.raft.step(message.kind === "append" ? { ...message, entries } : message);
      if (outcome === "contradiction")
        this.#logger.error(
          { group: this.#options.groupName, from: message.from, term: message.term },
          "a peer's log and this one promise different things",
        );
    });
  }

  /** A tick of the node's clock has passed. */
  tick(): void {
    this.#act(() => this.raft.tick());
    this.#reads.tick();
  }

  /** It needn't be ticked until something happens to it (docs/raft.md, "Sleeping groups"). */
  get isAsleep(): boolean {
    return this.raft.isAsleep;
  }

  /** A node is lost: none of its groups may sleep on because of what it said. */
  peerLost(nodeId: NodeId): void {
    this.#act(() => this.raft.peerLost(nodeId));
  }

  peerFound(nodeId: NodeId): void {
    this.#act(() => this.raft.peerFound(nodeId));
  }

  wake(): void {
    this.#act(() => this.raft.wake());
  }

  /** Asks for votes at once, where nobody is known to lead. */
  campaign(): void {
    this.#act(() => this.raft.campaign());
  }

  /** The connection to a peer broke. */
  disconnected(nodeId: NodeId): void {
    this.#dispatch.forget(nodeId);
    this.#act(() => {
      this.raft.unreachable(nodeId);
      this.raft.disconnected(nodeId);
    });
  }

  /**
   * Appends records as one batch. Errors of `Log.append`; NOT_LEADER with details {leaderId, leaderRpcAddr, term} where known, LEADERSHIP_LOST
   * (outcome unknown), OVERLOADED, DISK_FULL, LOG_POISONED, LOG_CORRUPT.
   */
  async append(records: readonly RecordInput[], options: GroupAppendOptions = {}): Promise<AppendResult> {
    return this.prepare(records, options)();
  }

  /** The first half of `append`, as `Log.prepare` has it. */
  prepare(records: readonly RecordInput[], options: GroupAppendOptions = {}): () => Promise<AppendResult> {
    return this.#appends.prepare(records, options);
  }

  /** Appends a packed batch. It isn't changed, and must not be any more: it may be written and sent after it is answered. */
  appendBatch(batch: Buffer, options: Pick<GroupAppendOptions, "acks" | "expectedOffset"> = {}): Promise<AppendResult> {
    return this.#appends.appendBatch(batch, options);
  }

  /**
   * Resolves once this replica shows everything that was acknowledged before the call. UNAVAILABLE when nobody leads or that can't be told in
   * time, OVERLOADED.
   */
  confirm(): Promise<void> {
    return this.#reads.confirm();
  }

  /**
   * Resolves once a quorum has said after the call that this replica leads, or follows who does. A leader that was replaced and doesn't know yet
   * hears so, or nothing: UNAVAILABLE, OVERLOADED.
   */
  confirmLead(): Promise<void> {
    return this.#reads.confirmLead();
  }

  changeMembership(changes: readonly MembershipChange[]): ChangeOutcome {
    return this.#ask((): ChangeOutcome => this.raft.changeMembership(changes));
  }

  /** To the voter furthest ahead when none is named. */
  transferLeadership(to?: NodeId): TransferOutcome {
    return this.#ask((): TransferOutcome => this.raft.transferLeadership(to));
  }

  /**
   * On the leader: makes `offset` the log start in all replicas, or what all of them have. Resolves with the new log start once that is committed;
   * files go soon after. OFFSET_OUT_OF_RANGE, and the errors of an append.
   */
  trim(offset: number): Promise<number> {
    const refusal = this.#findRefusal("trim");
    return refusal === undefined ? this.#trims.trim(offset) : Promise.reject(refusal);
  }

  /** On the leader: trims what the log's options no longer keep. Elsewhere nothing happens. */
  async applyRetention(): Promise<void> {
    if (this.isLeader && this.#findRefusal("trim") === undefined) await this.#trims.applyRetention();
  }

  /** Rot that was found is repaired: nothing of the log is lost up to what was reported durable. */
  repaired(): void {
    this.#damage.repaired();
    // Perhaps it was what is to be shown next that couldn't be read.
    if (!this.#isShowing) void this.#show();
  }

  /** What a peer asks of this replica's log, or has it do (`isCopyQuestion`). What it throws is the peer's answer. */
  answerCopy(from: NodeId, kind: CopyQuestionKind, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    this.#kept.fetched(from);
    return this.#copies.answer(from, kind, body, signal);
  }

  /** Aborted, with NOT_LEADER, when this replica no longer leads. Throws NOT_LEADER where it doesn't. */
  leadership(attempt: string): AbortSignal {
    if (!this.isLeader) throw this.#ended ?? notLeaderError(attempt, this.#knownLeader());
    this.#leadership ??= new AbortController();
    return this.#leadership.signal;
  }

  status(): GroupStatus {
    return describeGroup(this.raft.state, {
      shownIndex: this.#log.shownIndex,
      damage: this.#damage.reason,
      heldBytes: this.#appends.heldBytes,
    });
  }

  /** Ends it in order. What waits is answered: appends with LEADERSHIP_LOST, all else with `reason`. Twice is fine. */
  close(reason: ProglogError = closedError()): Promise<void> {
    this.end(reason);
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const [closed] = await Promise.allSettled([this.#log.close(), this.#copies.ended()]);
    if (closed.status === "rejected") throw closed.reason;
  }

  /** Stops at once, and leaves the log open: whatever still comes back changes nothing. For a process that is gone. */
  end(reason: ProglogError = closedError()): void {
    if (this.#ended !== undefined) return;
    this.#ended = withSuccessor(reason, this.successor);
    this.#writer.end();
    this.#hardState.end();
    this.#trims.end();
    this.#loseLeadership("the replica was closed");
    this.#reads.end(this.#ended);
    this.#copies.end();
  }

  /** Lets something happen to the core, and does what follows. */
  #act(event: () => void): boolean {
    if (this.#ended !== undefined) return false;
    try {
      event();
      this.#pump();
    } catch (error) {
      this.#fail(error);
      return false;
    }
    this.#tell();
    return true;
  }

  /** The same, but what follows is done for all that happens in this turn together. */
  #actLater(event: () => void): boolean {
    if (this.#ended !== undefined) return false;
    try {
      event();
    } catch (error) {
      this.#fail(error);
      return false;
    }
    if (this.#isPumpDue) return true;
    this.#isPumpDue = true;
    queueMicrotask(() => {
      this.#isPumpDue = false;
      this.#act(() => {});
    });
    return true;
  }

  #ask<Outcome>(question: () => Outcome | { readonly outcome: "not-leader"; readonly leader: NodeId | undefined }) {
    let outcome: ReturnType<typeof question> = { outcome: "not-leader", leader: undefined };
    this.#act(() => (outcome = question()));
    return outcome as Outcome;
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (;;) {
        const ready = this.raft.ready();
        if (ready !== undefined) this.#carryOut(ready);
        this.#options.witness?.stepped?.(ready);
        if (ready === undefined || this.#ended !== undefined) break;
      }
    } finally {
      this.#isPumping = false;
    }
  }

  /** Everything at once: what must wait for what is the core's affair, and it hands out nothing before its time. */
  #carryOut(ready: Ready): void {
    if (ready.hardState !== undefined) this.#hardState.write(ready.hardState);
    if (ready.write !== undefined) {
      const { entries, truncateTo } = ready.write;
      const stamped = entries.map(
        (entry) => this.#stamped.get(entry) ?? this.#writer.stamp(entry, this.#appends.contentOf(entry)),
      );
      this.#options.witness?.handed?.(truncateTo, stamped);
      this.#writer.write(ready.write, stamped);
    }
    // Before the role: what it committed as a leader is committed, whatever it is now.
    if (ready.commitIndex !== undefined) this.#committed(ready.commitIndex);
    if (ready.role !== undefined) this.#roleChanged(ready.role);
    const { isAsleep } = ready;
    if (isAsleep !== undefined) this.#events.push((listener) => listener.sleepChanged?.(isAsleep));
    if (this.#writer.isOut && !this.isLeader) this.#writer.forget();
    for (const order of ready.sends) this.#dispatch.dispatch(order);
    for (const message of ready.messages) this.#send({ message, frames: [] });
    for (const order of ready.catchUps) this.#copies.begin(order);
    for (const withdrawal of ready.withdrawals) this.#copies.withdraw(withdrawal);
    for (const read of ready.reads) this.#reads.answer(read);
    if (!this.#isShowing) void this.#show();
  }

  #send(message: PeerMessage): boolean {
    const { to } = message.message;
    const isTaken = this.#options.send(to, this.#options.groupName, message);
    const { frames } = message;
    if (isTaken && frames.length > 0 && this.#options.observer?.sent !== undefined) {
      const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
      this.#events.push(() => this.#options.observer?.sent?.({ to, entries: frames.length, bytes }));
    }
    return isTaken;
  }

  #committed(commitIndex: number): void {
    const entries = commitIndex - this.#committedIndex;
    this.#committedIndex = commitIndex;
    const waitedMs = this.#appends.committed(commitIndex);
    this.#events.push(() => this.#options.observer?.committed?.({ entries, waitedMs }));
    this.#copies.progressed();
    this.#events.push((listener) => listener.progress?.());
  }

  #roleChanged(change: RoleChange): void {
    const { role } = this.raft.state;
    if (this.#ledTerm !== 0 && (role.kind !== "leader" || change.term !== this.#ledTerm))
      this.#loseLeadership("this node stopped leading the partition");
    if (role.kind === "leader" && this.#ledTerm === 0) {
      this.#ledTerm = change.term;
      this.#kept.led();
      this.#appends.led(role.noOpIndex);
      this.#events.push(() => this.#options.observer?.elected?.({ term: change.term }));
    }
    this.#events.push((listener) => listener.roleChanged?.(change));
  }

  #loseLeadership(reason: string): void {
    this.#ledTerm = 0;
    this.#appends.lost(reason);
    this.#leadership?.abort(this.#ended ?? notLeaderError("go on reading", this.#knownLeader()));
    this.#leadership = undefined;
  }

  /** Shows readers what is committed and durable here, one step after the other. Never rejects. */
  async #show(): Promise<void> {
    this.#isShowing = true;
    try {
      for (;;) {
        const index = Math.min(this.raft.commitIndex, this.#log.durableIndex, this.raft.state.log.durableIndex);
        if (this.#ended !== undefined || index <= this.#log.shownIndex) break;
        await this.#log.show(index);
        if (this.#ended !== undefined) break;
        this.#reads.shown(this.#log.shownIndex);
        this.#trims.shown();
        this.#events.push((listener) => listener.progress?.());
        this.#tell();
      }
    } catch (error) {
      this.#readFailed(error);
    } finally {
      this.#isShowing = false;
    }
  }

  #tell(): void {
    if (!this.#isPumping) this.#events.tell();
  }

  #writeFailed(error: unknown): void {
    if (this.#ended !== undefined) return;
    if (isOwnFault(error)) this.#fail(error);
    else this.#damage.writeFailed(error);
  }

  /** An entry that is there couldn't be read: this replica doesn't know what it knew. */
  #readFailed(error: unknown): void {
    if (this.#ended !== undefined || isProglogError(error, "LOG_CLOSED")) return;
    if (isProglogError(error, "LOG_CORRUPT")) this.#rotted({ ...error.details, reason: error.message });
    else this.#writeFailed(error);
  }

  #rotted({ file, reason }: { readonly file?: unknown; readonly reason: string }): void {
    // Whoever is alone has nobody to hand over to, and nobody to repair it: what isn't hit goes on.
    const { voters, outgoing } = this.membership;
    if (voters.length + outgoing.length > 1) this.#damage.rotted(reason);
    if (typeof file === "string") this.#copies.damaged(file);
  }

  /** The replica leaves: it does nothing any more, and whoever runs it hears why. The node goes on, and readers of the log do. */
  #fail(error: unknown): void {
    if (this.#ended !== undefined) return;
    this.end(stoppedError(error));
    this.#events.push((listener) => listener.failed?.(error));
    this.#isPumping = false;
    this.#tell();
  }

  /** Who leads in this replica's place, or is to: whoever is sent away goes there. */
  get successor(): KnownLeader | undefined {
    return findSuccessor(this.raft.state, (nodeId) => this.#rpcAddressOf(nodeId));
  }

  /** Why nothing is appended here; undefined when it may be. */
  #findRefusal(attempt: string): ProglogError | undefined {
    const damage = this.#damage.reason;
    return this.#ended ?? findRefusal(this.raft.state, { attempt, damage, successor: this.successor });
  }

  #knownLeader(): KnownLeader {
    return this.successor ?? { nodeId: undefined, rpcAddress: undefined, term: this.term };
  }

  #rpcAddressOf(nodeId: NodeId): string | undefined {
    return this.#options.rpcAddressOf?.(nodeId);
  }
}

type OpenedParts = Pick<GroupReplica, "raft" | "traffic"> & {
  readonly log: ReplicaLog;
  readonly logOptions: ReplicaLogOptions;
};
