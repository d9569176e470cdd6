import { join } from "node:path";
import { findBatchProducer, readBatchHeader } from "../src/batch/batch-header.ts";
import { crc32c } from "../src/batch/crc32c.ts";
import { assert } from "../src/base/assert.ts";
import type { Clock } from "../src/base/clock.ts";
import type { Disk } from "../src/base/disk.ts";
import { isProglogError, messageOf } from "../src/base/error.ts";
import type { Random } from "../src/base/random.ts";
import type { Frame } from "../src/log/frame.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { openReplicaLog, type ReplicaLog, storeBytesOf } from "../src/log/replica-log.ts";
import type { StampedEntry } from "../src/log/stamped-entry.ts";
import type { Entry } from "../src/raft/entry.ts";
import type { MembershipAt } from "../src/raft/log-coordinates.ts";
import type { Member, NodeId } from "../src/raft/member.ts";
import type { ChangeOutcome } from "../src/raft/membership-change.ts";
import { decodeMembership } from "../src/raft/membership-payload.ts";
import type { Membership, MembershipChange } from "../src/raft/membership.ts";
import type { Message } from "../src/raft/message.ts";
import { createRaft, type Raft } from "../src/raft/raft.ts";
import type { RaftSettings } from "../src/raft/raft-settings.ts";
import type { RaftState } from "../src/raft/raft-state.ts";
import type { Ready, SendOrder } from "../src/raft/ready.ts";
import { EntryWriter } from "./entry-writer.ts";
import { HardStateFile, type SavedHardState } from "./hard-state-file.ts";
import { HardStateWriter } from "./hard-state-writer.ts";

/**
 * One replica of one group: the core, its log and its hard state, and the effects of the one carried out on the others. It stands
 * in for the replica that a node will have, and does of it what the proof of core and log needs: no deduplication of producers, no
 * trimming and no catch-up by files, one group a node, a hard-state file of its own.
 */
export interface RaftNodeOptions {
  readonly self: Member;
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly groupId: Buffer;
  /** Of the group, as it was made; unknown to a node that joins. */
  readonly firstMembership: Membership;
  readonly settings: RaftSettings;
  readonly segmentMaxBytes: number;
  readonly tickMs: number;
  readonly listener: RaftNodeListener;
}

/** What a replica tells those around it. */
export interface RaftNodeListener {
  /** The log was read, and this is what the core begins with. */
  recovered(state: RaftState): void;
  send(message: PeerMessage): void;
  /** Term and vote are on the disk. */
  saved(hardState: SavedHardState): void;
  /** Something happened to the core, and what followed was begun. */
  stepped(ready: Ready | undefined): void;
  /** The core ordered a write: what lies behind `truncateTo` is to go, if that is given, and these entries follow. */
  handed(truncateTo: number | undefined, entries: readonly StampedEntry[]): void;
  /** Entries are in the log, and synced. */
  wrote(entries: readonly StampedEntry[]): void;
  /** What lay behind `index` is going. */
  truncating(index: number): void;
  /** The replica is out: its disk failed, or it stopped itself. */
  failed(error: unknown): void;
}

/** A message as it travels: the entries of an append are frames. */
export interface PeerMessage {
  readonly message: Message;
  readonly frames: readonly Buffer[];
}

export type ProposeAnswer =
  | { readonly outcome: "committed"; readonly baseOffset: number; readonly index: number }
  | { readonly outcome: "refused"; readonly leader: NodeId | undefined }
  /** It may be committed yet, or never. */
  | { readonly outcome: "unknown" };

export interface ReadAnswer {
  readonly batches: readonly SeenBatch[];
  /** Where what is shown ends. */
  readonly nextOffset: number;
}

export interface SeenBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Of everything that the producer sealed. */
  readonly crc: number;
  readonly producerId: number;
  readonly baseSequence: number;
}

const readsWaitingMaxCount = 10_000;

export class RaftNode {
  readonly raft: Raft;
  readonly log: ReplicaLog;
  readonly #options: RaftNodeOptions;
  readonly #hardState: HardStateWriter;
  readonly #writer: EntryWriter;
  /** The frames of entries that the core was given, by its own objects. */
  readonly #stamped = new WeakMap<Entry, StampedEntry>();
  readonly #batches = new WeakMap<Entry, Buffer>();
  #proposals: { readonly index: number; readonly term: number; readonly baseOffset: number; answer(a: ProposeAnswer): void }[] =
    [];
  readonly #reads = new Map<number, (index: number | undefined) => void>();
  #lastRead = 0;
  #shownWaiters: { readonly index: number; readonly resolve: () => void }[] = [];
  #isShowing = false;
  #isPumping = false;
  #isEnded = false;

  private constructor(options: RaftNodeOptions, raft: Raft, log: ReplicaLog, hardState: HardStateFile) {
    this.#options = options;
    this.raft = raft;
    this.log = log;
    this.#hardState = new HardStateWriter(hardState, {
      durable: (order) => {
        options.listener.saved(order);
        this.#act(() => raft.hardStateDurable(order.sequence));
      },
      failed: (error) => this.#fail(error),
    });
    this.#writer = new EntryWriter(log, options.clock, {
      truncating: (index) => options.listener.truncating(index),
      wrote: (entries) => options.listener.wrote(entries),
      durable: (report) => this.#act(() => raft.durable(report)),
      stuck: (isStuck) => this.#act(() => raft.setDamaged(isStuck)),
      failed: (error) => this.#fail(error),
    });
  }

  /** `onFrame` is told of every entry that was recovered. */
  static async open(options: RaftNodeOptions, onFrame: (frame: Frame) => void): Promise<RaftNode> {
    const { self, directory, disk, clock, random, groupId, settings, segmentMaxBytes } = options;
    await disk.makeDirectory(directory);
    const { file, saved } = await HardStateFile.open(disk, directory, crc32c(groupId));
    try {
      const openFiles = new OpenFiles();
      const log = await openReplicaLog(join(directory, "log"), {
        logId: groupId,
        disk,
        clock,
        random,
        openFiles,
        index: "heap",
        segmentMaxBytes,
      });
      const memberships: MembershipAt[] = [{ index: 0, membership: options.firstMembership }];
      await log.scan(log.base.index + 1, (frame) => {
        if (frame.kind === "membership") memberships.push({ index: frame.index, membership: membershipOf(frame) });
        onFrame(frame);
      });
      const { base, last, termHistory } = log;
      const start = {
        self,
        term: saved?.term ?? 0,
        vote: saved?.vote,
        base,
        lastIndex: last.index,
        nextOffset: last.nextOffset,
      };
      const raft = createRaft({ ...start, termHistory, memberships, durableIndex: log.durableIndex }, settings, random);
      const node = new RaftNode(options, raft, log, file);
      options.listener.recovered(raft.state);
      if (saved !== undefined) options.listener.saved(saved);
      node.#armTick();
      node.#pump();
      return node;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get state(): RaftState {
    return this.raft.state;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** A tick out of turn: an election timer that is early. */
  tickNow(): void {
    this.#act(() => this.raft.tick());
  }

  /** Ends it in order. */
  async close(): Promise<void> {
    this.end();
    await this.log.close();
    this.#hardState.close();
  }

  /** The process is gone: whatever still comes back changes nothing. */
  end(): void {
    this.#isEnded = true;
    this.#writer.end();
    this.#hardState.end();
    this.#answerProposals(() => ({ outcome: "unknown" }));
    for (const answer of this.#reads.values()) answer(undefined);
    this.#reads.clear();
    for (const { resolve } of this.#shownWaiters.splice(0)) resolve();
  }

  receive({ message, frames }: PeerMessage): void {
    if (this.#isEnded) return;
    if (message.kind !== "append") {
      this.#act(() => this.raft.step(message));
      return;
    }
    const entries: Entry[] = [];
    for (const frame of frames) {
      const stamped = this.log.decodeFromPeer(frame);
      if (stamped === undefined) return;
      const entry = entryOf(stamped);
      this.#stamped.set(entry, stamped);
      entries.push(entry);
    }
    this.#act(() => this.raft.step({ ...message, entries }));
  }

  propose(batch: Buffer): Promise<ProposeAnswer> {
    const { promise, resolve } = Promise.withResolvers<ProposeAnswer>();
    this.#act(() => {
      const span = readBatchHeader(batch).lastOffsetDelta + 1;
      const outcome = this.raft.propose([{ kind: "data", span, bytes: storeBytesOf({ payload: batch }) }]);
      const [entry] = outcome.outcome === "appended" ? outcome.entries : [];
      if (entry === undefined) {
        resolve({ outcome: "refused", leader: outcome.outcome === "not-leader" ? outcome.leader : undefined });
        return;
      }
      this.#batches.set(entry, batch);
      const { index, term, baseOffset } = entry;
      this.#proposals.push({ index, term, baseOffset, answer: resolve });
    });
    return promise;
  }

  changeMembership(changes: readonly MembershipChange[]): ChangeOutcome | undefined {
    let outcome: ChangeOutcome | undefined;
    this.#act(() => (outcome = this.raft.changeMembership(changes)));
    return outcome;
  }

  transferLeadership(to?: NodeId): void {
    this.#act(() => this.raft.transferLeadership(to));
  }

  /** What is shown here from `from` on. Undefined when it couldn't be read. */
  async readShown(from: number, limit: number): Promise<ReadAnswer | undefined> {
    if (this.#isEnded) return undefined;
    const { log } = this.log;
    const batches: SeenBatch[] = [];
    try {
      const { highWatermark } = log;
      if (from > highWatermark) return { batches, nextOffset: highWatermark };
      for await (const { baseOffset, nextOffset, batch } of log.batches({ from, limit })) {
        const { producerId = -1, baseSequence = -1 } = findBatchProducer(batch) ?? {};
        batches.push({ baseOffset, nextOffset, crc: batch.readUInt32BE(17), producerId, baseSequence });
      }
      return { batches, nextOffset: Math.max(highWatermark, batches.at(-1)?.nextOffset ?? 0) };
    } catch (error) {
      if (isProglogError(error, "LOG_CORRUPT")) this.#fail(error);
      return undefined;
    }
  }

  /** The same, once everything is shown that was acknowledged before it was asked for. Undefined when it has to be asked again. */
  async readLatest(from: number, limit: number): Promise<ReadAnswer | undefined> {
    if (this.#isEnded || this.#reads.size >= readsWaitingMaxCount) return undefined;
    this.#lastRead += 1;
    const id = this.#lastRead;
    const index = await new Promise<number | undefined>((resolve) => {
      this.#reads.set(id, resolve);
      this.#act(() => {
        if (this.raft.readIndex(id).outcome !== "waiting") this.#answerRead(id, undefined);
      });
    });
    if (index === undefined) return undefined;
    if (this.log.shownIndex < index) await new Promise<void>((resolve) => this.#shownWaiters.push({ index, resolve }));
    return this.#isEnded || this.log.shownIndex < index ? undefined : this.readShown(from, limit);
  }

  #answerRead(id: number, index: number | undefined): void {
    const answer = this.#reads.get(id);
    this.#reads.delete(id);
    answer?.(index);
  }

  /** Lets something happen to the core, and does what follows. */
  #act(event: () => unknown): void {
    if (this.#isEnded) return;
    try {
      event();
      this.#pump();
    } catch (error) {
      this.#fail(error);
    }
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (;;) {
        const ready = this.raft.ready();
        if (ready !== undefined) this.#carryOut(ready);
        this.#options.listener.stepped(ready);
        if (ready === undefined || this.#isEnded) break;
      }
    } finally {
      this.#isPumping = false;
    }
  }

  /** Everything at once: what must wait for what is the core's affair, and it hands out nothing before its time. */
  #carryOut(ready: Ready): void {
    if (ready.hardState !== undefined) this.#hardState.write(ready.hardState);
    if (ready.write !== undefined) {
      const { entries } = ready.write;
      const stamped = entries.map((entry) => this.#stamped.get(entry) ?? this.#writer.stamp(entry, this.#batches.get(entry)));
      this.#options.listener.handed(ready.write.truncateTo, stamped);
      this.#writer.write(ready.write, stamped);
    }
    if (ready.role !== undefined && ready.role.kind !== "leader") this.#answerProposals(() => ({ outcome: "unknown" }));
    if (ready.commitIndex !== undefined) this.#answerCommitted(ready.commitIndex);
    for (const order of ready.sends) this.#dispatch(order);
    for (const message of ready.messages) this.#options.listener.send({ message, frames: [] });
    for (const { to } of ready.catchUps) this.raft.catchUpFailed(to);
    for (const read of ready.reads) this.#answerRead(read.id, read.outcome === "confirmed" ? read.index : undefined);
    void this.#show();
  }

  #dispatch(order: SendOrder): void {
    const unwritten = this.#writer.unwritten(order.prevIndex + 1, order.maxBytes);
    if (unwritten.length > 0) {
      this.#send(order, unwritten);
      return;
    }
    const { last } = this.log;
    // What the core knows of and isn't here was cut, and the order is of before.
    if (order.prevIndex >= last.index) {
      this.raft.unreachable(order.to);
      return;
    }
    this.log.read(order.prevIndex + 1, order.maxBytes).then(
      (frames) => this.#act(() => this.#send(order, frames)),
      (error: unknown) => this.#fail(error),
    );
  }

  #send(order: SendOrder, entries: readonly StampedEntry[]): void {
    const { to, term, prevIndex, prevTerm, commitIndex } = order;
    const isCurrent = term === this.raft.term && order.generation === this.raft.generation;
    const fits = entries.every(
      (entry, position) => entry.index === prevIndex + 1 + position && this.raft.termAt(entry.index) === entry.term,
    );
    if (!isCurrent || !fits || entries.length === 0) {
      this.raft.unreachable(to);
      return;
    }
    const { nodeId, storageId } = this.#options.self;
    const frames = entries.map((entry) => this.log.encodeForPeer(entry));
    this.#options.listener.send({
      message: {
        kind: "append",
        from: nodeId,
        fromStorage: storageId,
        to,
        term,
        prevIndex,
        prevTerm,
        commitIndex,
        entries: [],
      },
      frames,
    });
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    this.raft.sent({ to, order: order.id, lastIndex: prevIndex + entries.length, bytes });
  }

  #answerCommitted(commitIndex: number): void {
    this.#answerProposals(({ index, term, baseOffset }) => {
      if (index > commitIndex) return undefined;
      return this.raft.termAt(index) === term ? { outcome: "committed", baseOffset, index } : { outcome: "unknown" };
    });
  }

  #answerProposals(
    answerOf: (proposal: { index: number; term: number; baseOffset: number }) => ProposeAnswer | undefined,
  ): void {
    const waiting = this.#proposals;
    this.#proposals = [];
    for (const proposal of waiting) {
      const answer = answerOf(proposal);
      if (answer === undefined) this.#proposals.push(proposal);
      else proposal.answer(answer);
    }
  }

  /** Shows readers what is committed and durable here, one step after the other. */
  async #show(): Promise<void> {
    if (this.#isShowing) return;
    this.#isShowing = true;
    try {
      for (;;) {
        const index = Math.min(this.raft.commitIndex, this.log.durableIndex, this.state.log.durableIndex);
        if (this.#isEnded || index <= this.log.shownIndex) break;
        await this.log.show(index);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#isShowing = false;
    }
    const { shownIndex } = this.log;
    const shown = this.#shownWaiters.filter(({ index }) => index <= shownIndex);
    this.#shownWaiters = this.#shownWaiters.filter(({ index }) => index > shownIndex);
    for (const { resolve } of shown) resolve();
  }

  #armTick(): void {
    this.#options.clock.setTimer(this.#options.tickMs, () => {
      if (this.#isEnded) return;
      this.#armTick();
      this.#act(() => this.raft.tick());
    });
  }

  /** The replica leaves: it does nothing any more, and whoever runs it hears why. */
  #fail(error: unknown): void {
    if (this.#isEnded) return;
    this.end();
    this.#options.listener.failed(error);
  }
}

export function entryOf(stamped: StampedEntry): Entry {
  const { index, term, kind, span, baseOffset } = stamped;
  assert(kind !== "segment-header" && kind !== "pad", `an entry has an index: ${kind}`);
  const entry = { index, term, kind, span, baseOffset, bytes: storeBytesOf(stamped) };
  return kind === "membership" ? { ...entry, membership: membershipOf(stamped) } : entry;
}

function membershipOf({ index, payload }: Pick<StampedEntry, "index" | "payload">): Membership {
  const membership = decodeMembership(payload);
  if (membership === undefined) throw new Error(`the membership at ${index} is unreadable`);
  return membership;
}

/** Why a replica is out, for a story. */
export function describeFailure(error: unknown): string {
  return isProglogError(error) ? `${error.code}: ${error.message}` : messageOf(error);
}
