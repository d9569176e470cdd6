import { join } from "node:path";
import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import type { Disk } from "../../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { GatedDisk } from "../../base/gated-disk.ts";
import { diskStallMs, groupTickMs, groupWakeMs, peerLostAfterMs, stallTicks } from "../../base/cluster-limits.ts";
import { logOpensMaxCount } from "../../base/limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { NodeId } from "../../raft/member.ts";
import { defaultSettings } from "../../raft/raft-settings.ts";
import type { NodeRecord } from "../cluster/node-record.ts";
import type { ReplicaRecord } from "../cluster/node-record-state.ts";
import type { PeerIdentity, PeerMessage, PeerNetwork } from "../peer-network.ts";
import { removeBeside } from "../../log/installing.ts";
import { removeTree } from "../replica-set.ts";
import type { GroupMember, GroupSeams } from "./group-member.ts";
import { GroupRest } from "./group-rest.ts";
import type { GroupSetStatus } from "./group-set-status.ts";
import { GroupTicker } from "./group-ticker.ts";
import { hardStateName } from "./hard-state-file.ts";
import { HardStateLog } from "./hard-state-log.ts";
import type { HardStateSlot } from "./hard-state-slot.ts";
import { type CopyQuestionKind, groupOfQuestion } from "./copy-questions.ts";
import { LeaderExchange } from "./leader-exchange.ts";
import type { GroupTerm } from "./leader-news.ts";
import { type GroupLeader, LeaderTable } from "./leader-table.ts";
import { CopyShare } from "./log-copies.ts";
import { OpeningTurns } from "./opening-turns.ts";
import { PeerLiveness } from "./peer-liveness.ts";
import { type UnsyncedAccount, UnsyncedBytes } from "./unsynced-bytes.ts";

export interface GroupSetOptions<Member extends GroupMember> {
  /** The node's. The set puts its gate before it: whoever else syncs much on it is to go through `GroupSet.disk`. */
  readonly disk: Disk;
  /** The node's, with the hard states and `logs/` in it. It is there. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: NodeId;
  readonly record: Pick<NodeRecord, "state" | "addReplicas" | "setReplicaState">;
  readonly peers: Pick<PeerNetwork, "send" | "ask">;
  /** Opens this node's replica of a group. LOG_NOT_FOUND where there are no files, and none are to be made. */
  readonly openMember: (group: ReplicaRecord, seams: GroupSeams) => Promise<Member>;
  /** Default `unsyncedMaxBytes`. */
  readonly unsyncedMaxBytes?: number;
  /** What is sent of logs to those that catch up. Default `catchUpBytesPerSecond`. */
  readonly catchUpBytesPerSecond?: number;
  /** Default `groupTickMs`. */
  readonly tickMs?: number;
  /** Of the members' settings: what is made up after a stall at most. */
  readonly electionTicks?: number;
}

/** How this node's replica of a group stands. */
export type GroupState<Member> =
  | { readonly kind: "opening" }
  | { readonly kind: "open"; readonly member: Member }
  /** It is listed, has voted or acknowledged, and has no files: never made anew in silence. */
  | { readonly kind: "lost"; readonly error: unknown }
  /** It didn't open, or stopped itself. */
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "deleting" };

/**
 * The groups of a node, and what they share: the file of their hard states, the turns at the disk, the tick, the bound of what isn't
 * synced, and what nodes tell each other of who leads. It knows of no topics: which groups there are stands in the node record, and is
 * somebody else's to decide.
 *
 * One that doesn't open, or stops itself, is failed; the others go on. What is told to a group that isn't open is dropped, as on a network.
 */
export class GroupSet<Member extends GroupMember> {
  readonly disk: GatedDisk;
  readonly unsynced: UnsyncedBytes;
  readonly #options: GroupSetOptions<Member>;
  readonly #hardStates: HardStateLog;
  readonly #groups = new Map<string, Group<Member>>();
  readonly #openings = new OpeningTurns(logOpensMaxCount);
  readonly #ticker: GroupTicker;
  readonly #liveness = new PeerLiveness(peerLostAfterMs);
  readonly #leaders = new LeaderTable();
  readonly #exchange: LeaderExchange;
  readonly #copies: CopyShare;
  readonly #rest: GroupRest<Group<Member>>;
  #tickCount = 0;
  #arrivedCount = 0;
  #droppedCount = 0;
  #nextNumber = 0;
  #isDiskStalled = false;
  #closing: Promise<void> | undefined;

  private constructor(options: GroupSetOptions<Member>, disk: GatedDisk, hardStates: HardStateLog) {
    const { clock, logger, peers, tickMs = groupTickMs, electionTicks = defaultSettings.electionTicks } = options;
    this.#options = options;
    this.disk = disk;
    this.unsynced = new UnsyncedBytes(options.unsyncedMaxBytes);
    this.#hardStates = hardStates;
    this.#copies = new CopyShare(clock, { bytesPerSecond: options.catchUpBytesPerSecond });
    this.#rest = new GroupRest(Math.ceil(groupWakeMs / tickMs));
    this.#ticker = new GroupTicker({
      clock,
      tickMs,
      stallTicks,
      madeUpMaxTicks: electionTicks,
      arrivedCount: () => this.#arrivedCount,
      tick: (ticks, isLate) => this.#tick(ticks, isLate),
    });
    this.#exchange = new LeaderExchange({
      ask: (...question) => peers.ask(...question),
      clock,
      logger,
      table: this.#leaders,
      led: () => this.#led(),
      out: () => this.#out(),
      heardOut: (nodeId, groupId, isOut) => this.#heardOut(nodeId, groupId, isOut),
    });
  }

  /** Opens the hard states, and begins to tick. Throws MANIFEST_CORRUPT, UNSUPPORTED_FORMAT, DISK_FULL, DISK_FAILED. */
  static async open<Member extends GroupMember>(options: GroupSetOptions<Member>): Promise<GroupSet<Member>> {
    const { directory, clock, logger, record } = options;
    const path = join(directory, hardStateName);
    const disk = new GatedDisk(options.disk, clock, { isUrgent: (file) => file.startsWith(path) });
    const { storageId, replicas } = record.state;
    const hardStates = await HardStateLog.open(disk, path, { storageId, logger, createIfMissing: replicas.length === 0 });
    const set = new GroupSet(options, disk, hardStates);
    set.#ticker.start();
    return set;
  }

  /** Opens what the node record lists, and goes on with deletions that were begun; a few at a time. Resolves when each is open, lost or failed. */
  async openAll(): Promise<void> {
    const work = this.#options.record.state.replicas.map(async (record) => {
      if (record.state === "created") await this.#add(record).work;
      if (record.state !== "deleting") return;
      try {
        await this.#remove(this.#addEntry(record));
      } catch (error) {
        this.#options.logger.error({ group: record.groupId, reason: messageOf(error) }, "a replica couldn't be deleted");
      }
    });
    await Promise.all(work);
  }

  /** Makes this node's replica of a group: notes it, durably, and makes its log. It is in the set even where that fails. */
  async create(record: Omit<ReplicaRecord, "state">): Promise<Member> {
    this.#checkOpen(`create a replica of group ${record.groupId}`);
    assert(groupIdPattern.test(record.groupId), "a group's id is a uuid, or 32 hex digits");
    if (this.#groups.get(record.groupId)?.state.kind === "deleting") {
      throw new ProglogError(
        "CHANGE_IN_PROGRESS",
        `Cannot create a replica of group ${record.groupId}: an earlier one is still being deleted`,
        { hint: "Try again when it is gone." },
      );
    }
    assert(!this.#groups.has(record.groupId), "a group has one replica here");
    const group = this.#addEntry({ ...record, state: "created" });
    try {
      await this.#options.record.addReplicas([record]);
    } catch (error) {
      this.#groups.delete(record.groupId);
      throw error;
    }
    await this.#open(group);
    if (group.state.kind === "open") return group.state.member;
    throw "error" in group.state ? group.state.error : this.#closedError(`create a replica of group ${record.groupId}`);
  }

  /**
   * Closes a replica and removes its files, its hard state last. Only where that is decided by a committed delete, or by the group itself:
   * never because nothing is known of it. What was begun is finished at the next start.
   */
  async delete(groupId: string, incarnation: number): Promise<void> {
    const group = this.#groups.get(groupId);
    assert(group?.record.incarnation === incarnation, "a replica that is deleted is one of the set");
    await this.#options.record.setReplicaState(groupId, incarnation, "deleting");
    await this.#inTurn(group, () => this.#remove(group));
  }

  /** Opens one again that failed, or is to begin anew from its files. */
  async reopen(groupId: string): Promise<void> {
    const group = this.#groups.get(groupId);
    assert(group !== undefined, "a replica that is opened again is one of the set");
    await this.#inTurn(group, async () => {
      if (group.state.kind === "deleting") return;
      await this.#closeMember(group, new ProglogError("UNAVAILABLE", "Cannot use this replica: it is being opened again"));
      await this.#openNow(group);
    });
  }

  /** The groups, with how their replicas stand. */
  *states(): Generator<{ readonly record: ReplicaRecord; readonly state: GroupState<Member> }> {
    for (const { record, state } of this.#groups.values()) yield { record, state };
  }

  stateOf(groupId: string): GroupState<Member> | undefined {
    return this.#groups.get(groupId)?.state;
  }

  /** The replica, where it is open. */
  find(groupId: string): Member | undefined {
    const state = this.#groups.get(groupId)?.state;
    return state?.kind === "open" ? state.member : undefined;
  }

  /** Who leads a group of the cluster, as far as this node has heard. */
  findLeader(groupId: string): GroupLeader | undefined {
    return this.#leaders.find(groupId);
  }

  /** The group is deleted, everywhere. */
  forgetLeader(groupId: string): void {
    this.#leaders.forget(groupId);
  }

  /** Nodes whose replicas of a group are out of action while the nodes live, as they say; this one too. */
  outOf(groupId: string): readonly NodeId[] {
    const kind = this.#groups.get(groupId)?.state.kind;
    const others = this.#exchange.outOf(groupId);
    return kind === "lost" || kind === "failed" ? [...others, this.#options.nodeId] : others;
  }

  get status(): GroupSetStatus {
    const { disk, unsynced } = this;
    return {
      stallCount: this.#ticker.stallCount,
      isDiskStalled: this.#isDiskStalled,
      unsyncedBytes: unsynced.bytes,
      copiedBytes: this.#copies.sentBytes,
      droppedCount: this.#droppedCount,
      syncsWaitingCount: disk.syncsWaitingCount,
      hardStateSyncCount: this.#hardStates.syncCount,
      hardStateError: this.#hardStates.poison,
      lostPeers: this.#liveness.lost,
    };
  }

  // What comes from other nodes.

  /** Nodes of the cluster besides this one. */
  setPeers(nodeIds: readonly NodeId[]): void {
    this.#liveness.expect(nodeIds, this.#options.clock.monotonic());
  }

  received(groupId: string, message: PeerMessage): void {
    this.#arrivedCount += 1;
    const group = this.#groups.get(groupId);
    if (group?.state.kind !== "open") return;
    const { member } = group.state;
    const bytes = message.frames.reduce((sum, frame) => sum + frame.length, 0);
    if (bytes > 0 && !this.unsynced.hasRoom(bytes)) {
      // As if it were lost: its leader sends it again, once this replica answers a heartbeat.
      this.#droppedCount += 1;
      return;
    }
    this.#let(group, () => member.receive(message));
  }

  /** There is a way to a node: it, or a later life of it. */
  connected(peer: PeerIdentity): void {
    for (const change of this.#liveness.connected(peer)) this.#tellLiveness(peer.nodeId, change);
    this.#exchange.connected(peer.nodeId);
  }

  /** There is none any more. */
  disconnected(nodeId: NodeId): void {
    this.#liveness.disconnected(nodeId, this.#options.clock.monotonic());
    this.#exchange.disconnected(nodeId);
    this.#letAll((member) => member.disconnected(nodeId));
  }

  /** What another node asks by `leadersQuestion`. Throws INVALID_ARGUMENT. */
  answerLeaders(from: NodeId, body: Buffer): Buffer {
    return this.#exchange.answer(from, body);
  }

  /** What another node asks that is a copy question (`isCopyQuestion`). What it throws is its answer: NOT_A_REPLICA where there is none. */
  async answerCopy(from: NodeId, kind: CopyQuestionKind, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    const groupId = groupOfQuestion(body);
    const member = this.find(groupId);
    if (member?.answerCopy !== undefined) return member.answerCopy(from, kind, body, signal);
    throw new ProglogError(
      "NOT_A_REPLICA",
      `Cannot copy the log of group ${groupId}: this node has no replica of it that is open`,
    );
  }

  /** Hands over whatever is led here, to whoever is furthest ahead: before a planned stop. Who is alone leads on. */
  handOverAll(): void {
    this.#letAll((member) => member.isLeader && member.transferLeadership());
  }

  /** Closes all members; the hard states last. Twice is fine. */
  close(reason: ProglogError): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  /** Stops at once, and leaves everything open. For a process that is gone. */
  halt(): void {
    this.#ticker.stop();
    this.#closing ??= Promise.resolve();
  }

  async #close(reason: ProglogError): Promise<void> {
    this.#ticker.stop();
    const failures: unknown[] = [];
    const closings = [...this.#groups.values()].map((group) =>
      this.#inTurn(group, () => this.#openings.run(() => this.#closeMember(group, reason))).catch((error: unknown) =>
        failures.push(error),
      ),
    );
    await Promise.all(closings);
    await this.#hardStates.close();
    if (failures.length > 0) throw failures[0];
  }

  #tick(ticks: number, isLate: boolean): void {
    for (let left = ticks; left > 0; left -= 1) {
      this.#tickCount += 1;
      for (const group of this.#rest.awake) {
        if (group.state.kind !== "open") continue;
        const { member } = group.state;
        this.#let(group, () => member.tick());
      }
      for (const group of this.#rest.due(this.#tickCount)) {
        if (group.state.kind !== "open") continue;
        const { member } = group.state;
        this.#let(group, () => member.wake?.());
      }
    }
    // After a stall a connection looks as long gone, and a sync as long under way, as the stall was.
    if (isLate) return;
    for (const nodeId of this.#liveness.tick(this.#options.clock.monotonic())) this.#tellLiveness(nodeId, "lost");
    this.#watchDisk();
    this.#exchange.tell();
  }

  /** Whoever leads on a disk that stalls keeps everybody waiting: another node's may be well. Each tick, since it may be elected again. */
  #watchDisk(): void {
    const { oldestSyncMs } = this.disk;
    const isStalled = oldestSyncMs >= diskStallMs;
    if (isStalled !== this.#isDiskStalled) {
      const { logger } = this.#options;
      if (isStalled) logger.warn({ syncMs: oldestSyncMs }, "the disk stalls: what is led here is handed over");
      else logger.info({}, "the disk goes on");
    }
    this.#isDiskStalled = isStalled;
    // Without hard states nobody here enters another term: whoever leads can't follow the next leader, but can still make one.
    if (isStalled || this.#hardStates.poison !== undefined) this.handOverAll();
  }

  #tellLiveness(nodeId: NodeId, change: "lost" | "found"): void {
    this.#letAll((member) => (change === "lost" ? member.peerLost?.(nodeId) : member.peerFound?.(nodeId)));
  }

  #letAll(run: (member: Member) => unknown): void {
    for (const group of this.#groups.values()) {
      if (group.state.kind !== "open") continue;
      const { member } = group.state;
      this.#let(group, () => run(member));
    }
  }

  /** What one throws is its own affair, and doesn't keep the others from their turn. */
  #let(group: Group<Member>, run: () => unknown): void {
    try {
      run();
    } catch (error) {
      this.#failed(group, error);
    }
  }

  *#led(): Generator<GroupTerm> {
    for (const { record, ledTerm } of this.#groups.values()) if (ledTerm > 0) yield [record.groupId, ledTerm];
  }

  /** Whose replicas here say nothing any more, though the node lives. */
  *#out(): Generator<string> {
    for (const { record, state } of this.#groups.values())
      if (state.kind === "failed" || state.kind === "lost") yield record.groupId;
  }

  #heardOut(nodeId: NodeId, groupId: string, isOut: boolean): void {
    const group = this.#groups.get(groupId);
    if (group?.state.kind !== "open") return;
    const { member } = group.state;
    this.#let(group, () => (isOut ? member.peerLost?.(nodeId) : member.peerFound?.(nodeId)));
  }

  #setState(group: Group<Member>, state: GroupState<Member>): void {
    group.state = state;
    if (state.kind === "open") this.#sleepChanged(group, state.member.isAsleep === true);
    else this.#rest.forget(group);
    this.#exchange.outChanged();
  }

  #sleepChanged(group: Group<Member>, isAsleep: boolean): void {
    if (group.state.kind !== "open") return;
    if (isAsleep) this.#rest.slept(group, this.#tickCount);
    else this.#rest.woke(group);
  }

  #roleChanged(group: Group<Member>, { term, leader }: { readonly term: number; readonly leader: NodeId | undefined }): void {
    const { nodeId: leaderId } = this.#options;
    const { groupId } = group.record;
    const { ledTerm } = group;
    const isLed = leader === leaderId;
    if (ledTerm > 0 && (!isLed || ledTerm !== term)) {
      this.#leaders.left(groupId, { leaderId, term: ledTerm });
      this.#exchange.changed([groupId, ledTerm], false);
    }
    group.ledTerm = isLed ? term : 0;
    if (leader !== undefined) this.#leaders.led(groupId, { leaderId: leader, term });
    if (isLed) this.#exchange.changed([groupId, term], true);
  }

  #add(record: ReplicaRecord): Group<Member> {
    const group = this.#addEntry(record);
    void this.#open(group);
    return group;
  }

  #addEntry(record: ReplicaRecord): Group<Member> {
    const group: Group<Member> = {
      record,
      number: this.#nextNumber,
      state: { kind: record.state === "created" ? "opening" : "deleting" },
      unsynced: undefined,
      ledTerm: 0,
      get isLed() {
        return this.ledTerm > 0;
      },
      work: Promise.resolve(),
    };
    this.#nextNumber += 1;
    this.#groups.set(record.groupId, group);
    return group;
  }

  /** Runs it when all that was asked of the group before is done. */
  #inTurn(group: Group<Member>, run: () => Promise<void>): Promise<void> {
    const done = group.work.then(run);
    group.work = done.catch(() => {});
    return done;
  }

  #open(group: Group<Member>): Promise<void> {
    return this.#inTurn(group, () => this.#openNow(group));
  }

  /** Never rejects: what fails is how the group stands. */
  async #openNow(group: Group<Member>): Promise<void> {
    if (group.state.kind === "deleting" || this.#closing !== undefined) return;
    group.state = { kind: "opening" };
    const { groupId } = group.record;
    try {
      const member = await this.#openings.run(async () => {
        const hardState = await this.#hardStates.openSlot(groupId);
        this.#checkOpen(`open a replica of group ${groupId}`);
        return this.#options.openMember(group.record, this.#seamsOf(group, hardState));
      });
      // It may have stopped itself before it was here.
      if (group.state.kind !== "opening") {
        await member.close(this.#closedError(`use a replica of group ${groupId}`));
        return;
      }
      this.#setState(group, { kind: "open", member });
      for (const nodeId of [...this.#liveness.lost, ...this.#exchange.outOf(groupId)]) member.peerLost?.(nodeId);
      if (member.leader !== undefined) this.#roleChanged(group, { term: member.term, leader: member.leader });
    } catch (error) {
      this.#leaveAll(group);
      const isLost = isProglogError(error, "LOG_NOT_FOUND");
      this.#setState(group, { kind: isLost ? "lost" : "failed", error });
      if (this.#closing !== undefined) return;
      this.#options.logger.error({ group: groupId, reason: messageOf(error) }, "a replica didn't open; the others go on");
    }
  }

  #seamsOf(group: Group<Member>, hardState: HardStateSlot): GroupSeams {
    const { groupId } = group.record;
    const unsynced = this.unsynced.account();
    group.unsynced = unsynced;
    const isCurrent = (): boolean => group.unsynced === unsynced;
    return {
      groupId,
      directory: this.#directoryOf(groupId),
      // Before the first vote and the first acknowledgement there is a hard state. Where there is none, its making was cut short, and it has
      // nothing to forget: were it lost, a crash while a topic is made would leave partitions that nobody ever leads.
      createIfMissing: hardState.saved === undefined,
      hardState,
      send: (...message) => this.#options.peers.send(...message),
      ask: (...question) => this.#options.peers.ask(...question),
      copies: this.#copies,
      unsynced,
      checkRoom: (bytes) => this.unsynced.checkRoom("append", bytes),
      roleChanged: (change) => {
        if (isCurrent()) this.#roleChanged(group, change);
      },
      sleepChanged: (isAsleep) => {
        if (isCurrent()) this.#sleepChanged(group, isAsleep);
      },
      failed: (error) => {
        if (isCurrent()) this.#failed(group, error);
      },
    };
  }

  #failed(group: Group<Member>, error: unknown): void {
    const { state } = group;
    if (state.kind === "deleting") return;
    this.#options.logger.error(
      { group: group.record.groupId, reason: messageOf(error) },
      "a replica stopped itself; the others go on",
    );
    this.#leaveAll(group);
    this.#setState(group, { kind: "failed", error });
    if (state.kind !== "open") return;
    const { member } = state;
    void this.#inTurn(group, () => member.close(this.#closedError("use a replica that has stopped itself"))).catch(() => {
      // It has failed already, and why is known.
    });
  }

  /** It holds nothing any more, and leads nothing. */
  #leaveAll(group: Group<Member>): void {
    group.unsynced?.end();
    group.unsynced = undefined;
    this.#roleChanged(group, { term: group.ledTerm, leader: undefined });
  }

  async #closeMember(group: Group<Member>, reason: ProglogError): Promise<void> {
    const { state } = group;
    this.#leaveAll(group);
    if (state.kind !== "open") return;
    this.#setState(group, { kind: "failed", error: reason });
    await state.member.close(reason);
  }

  async #remove(group: Group<Member>): Promise<void> {
    const { groupId, incarnation } = group.record;
    const { record, logger } = this.#options;
    // Asked for twice: another one may be there by now.
    if (this.#groups.get(groupId) !== group) return;
    const reason = new ProglogError("NOT_A_REPLICA", "Cannot use this replica: it is deleted");
    // What it fails to sync is about to go anyway.
    await this.#closeMember(group, reason).catch((error: unknown) =>
      logger.warn({ group: groupId, reason: messageOf(error) }, "a replica that is deleted didn't close"),
    );
    group.state = { kind: "deleting" };
    const directory = this.#directoryOf(groupId);
    // Where a crash came between the names of two logs, there is something beside it alone.
    removeBeside(this.disk, directory);
    if (this.disk.isDirectory(directory)) removeTree(this.disk, directory);
    const logs = join(this.#options.directory, logsName);
    if (this.disk.isDirectory(logs)) await this.disk.syncDirectory(logs);
    await this.#hardStates.remove(groupId);
    await record.setReplicaState(groupId, incarnation, "deleted");
    // Who leads it stays known: others have it still, mostly, and tell nobody again before that changes.
    this.#groups.delete(groupId);
  }

  #directoryOf(groupId: string): string {
    return join(this.#options.directory, logsName, groupId);
  }

  #checkOpen(attempt: string): void {
    if (this.#closing !== undefined) throw this.#closedError(attempt);
  }

  #closedError(attempt: string): ProglogError {
    return new ProglogError("SHUTTING_DOWN", `Cannot ${attempt}: the node is stopping`);
  }
}

const logsName = "logs";
const groupIdPattern = /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/;

interface Group<Member> {
  readonly record: ReplicaRecord;
  /** In the order of their coming: spreads what is done for one after the other. */
  readonly number: number;
  state: GroupState<Member>;
  /** Of the member that is opening or open. */
  unsynced: UnsyncedAccount | undefined;
  /** The term that it leads, as far as others were told; 0 none. */
  ledTerm: number;
  readonly isLed: boolean;
  /** What is under way or waits; never rejects. */
  work: Promise<void>;
}
