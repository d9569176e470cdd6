import { assert, unreachable } from "../../base/assert.ts";
import { ProglogError } from "../../base/error.ts";
import { heldAppendsMaxCount } from "../../base/cluster-limits.ts";
import type { RecordInput } from "../../batch/record.ts";
import type { AdmittedBatch } from "../../log/admission.ts";
import { judgeAppend } from "../../log/append-judge.ts";
import type { AppendOptions, AppendResult } from "../../log/index.ts";
import { type ReplicaLog, storeBytesOf } from "../../log/replica-log.ts";
import type { Entry, Proposal as RaftProposal } from "../../raft/entry.ts";
import type { ProposeRefusal } from "../../raft/leader.ts";
import type { Raft } from "../../raft/raft.ts";
import type { EntryContent, EntryWriter } from "./entry-writer.ts";
import { handingOverError, type KnownLeader, leadershipLostError, notLeaderError, overloadedError } from "./group-errors.ts";
import { type Acks, Proposals } from "./proposals.ts";
import { ProposedProducers } from "./proposed-producers.ts";

export interface GroupAppendOptions extends AppendOptions {
  /** Default "quorum". */
  readonly acks?: Acks;
}

/**
 * The way of an append to its place in the log: admitted as the log admits it, judged, proposed, all in one turn, so that nothing comes
 * between the judgement and the place. Then it waits for its answer.
 *
 * It is judged against the log's end as the core has it, and against all that is known of producers: what is written, and what is
 * proposed above that. Right after an election the former isn't complete, as long as entries of earlier leaders wait for the disk; so long
 * appends are held.
 *
 * An answer other than "it is new" may rest on something that isn't committed: a retry on its original, a refusal on where the log
 * ends. Such an answer waits until that is committed; a refusal, until it is certain too that nobody else led meanwhile. If leadership is
 * lost before, it isn't known whether it would have been true.
 */
export class GroupAppends {
  readonly #parts: AppendParts;
  readonly #proposals = new Proposals();
  readonly #producers: ProposedProducers;
  #contents = new WeakMap<Entry, EntryContent>();
  /** Everything up to here has to be written before an append can be judged; undefined while somebody else leads. */
  #judgedFrom: number | undefined;
  #held: Append[] = [];
  #heldBytes = 0;

  constructor(parts: AppendParts) {
    this.#parts = parts;
    this.#producers = new ProposedProducers(() => parts.log.producers);
  }

  /** Appends that wait to be judged, in bytes. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Checks and packs records; what it returns proposes them. Throws at once what is wrong with them, or that they can't be taken here. */
  prepare(records: readonly RecordInput[], options: GroupAppendOptions): () => Promise<AppendResult> {
    this.#checkMayAppend();
    const admitted = this.#parts.log.pack(records, options, this.#parts.writer.lastAppendTime);
    return async () => this.#take(admitted, options);
  }

  async appendBatch(batch: Buffer, options: Pick<GroupAppendOptions, "acks" | "expectedOffset">): Promise<AppendResult> {
    this.#checkMayAppend();
    return this.#take(this.#parts.log.admit(batch, options.expectedOffset, this.#parts.writer.lastAppendTime), options);
  }

  /** Proposes an entry of our own, and resolves when it is committed. */
  proposeTrim(payload: Buffer, beginsSegment: boolean): Promise<void> {
    this.#checkMayAppend("trim");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const isDone = this.#parts.actLater(() => {
      const appendTime = this.#parts.writer.nextAppendTime();
      const bytes = storeBytesOf({ payload });
      const outcome = this.#propose({ kind: "trim", span: 0, bytes }, { payload, appendTime, beginsSegment });
      if ("refusal" in outcome) reject(outcome.refusal);
      else this.#rest(outcome.entry.index, resolve, reject);
    });
    if (!isDone) reject(leadershipLostError("the replica stopped itself"));
    return promise;
  }

  /** What is to become of an entry that was proposed here; undefined of one that the core made. */
  contentOf(entry: Entry): EntryContent | undefined {
    return this.#contents.get(entry);
  }

  /** This replica leads from entry `noOpIndex` on. */
  led(noOpIndex: number): void {
    this.#judgedFrom = noOpIndex - 1;
    this.#release();
  }

  /** It leads no more. What was proposed has an unknown outcome, what was held hasn't happened. */
  lost(reason: string): void {
    this.#judgedFrom = undefined;
    this.#producers.clear();
    this.#proposals.lose(() => leadershipLostError(reason, this.#parts.knownLeader()));
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    const error = this.#parts.findRefusal("append") ?? notLeaderError("append", this.#parts.knownLeader());
    for (const { reject } of held) reject(error);
  }

  /** Entries are in the log, and synced. */
  written(): void {
    this.#producers.written(this.#parts.log.last.nextOffset);
    if (this.#held.length > 0) this.#release();
  }

  durable(index: number): void {
    this.#proposals.durable(index);
  }

  /** Returns for each append that was waited for how long it took. */
  committed(index: number): readonly number[] {
    const isTheirs = (at: number, term: number): boolean => this.#parts.raft.termAt(at) === term;
    const taken = this.#proposals.committed(index, isTheirs, () =>
      leadershipLostError("another entry took its place", this.#parts.knownLeader()),
    );
    if (taken.length === 0) return taken;
    const nowMs = this.#parts.monotonic();
    return taken.map((takenMs) => nowMs - takenMs);
  }

  #checkMayAppend(attempt = "append"): void {
    const refusal = this.#parts.findRefusal(attempt);
    if (refusal !== undefined) throw refusal;
  }

  #take({ batch, header }: AdmittedBatch, { acks = "quorum", expectedOffset }: GroupAppendOptions): Promise<AppendResult> {
    this.#checkMayAppend();
    this.#parts.checkRoom?.(batch.length);
    const { promise, resolve, reject } = Promise.withResolvers<AppendResult>();
    const append: Append = { batch, header, acks, expectedOffset, takenMs: this.#parts.monotonic(), resolve, reject };
    if (this.#held.length > 0 || !this.#mayJudge()) this.#hold(append);
    else this.#judgeAll([append]);
    return promise;
  }

  #mayJudge(): boolean {
    return this.#judgedFrom !== undefined && this.#parts.writer.hasWritten(this.#judgedFrom);
  }

  #hold(append: Append): void {
    const { appendQueueMaxBytes } = this.#parts.log;
    const { length } = append.batch;
    const isFull = this.#heldBytes + length > appendQueueMaxBytes || this.#held.length >= heldAppendsMaxCount;
    if (isFull && this.#held.length > 0) {
      throw new ProglogError(
        "APPEND_QUEUE_FULL",
        `Cannot append ${length} bytes: ${this.#held.length} appends of ${this.#heldBytes} bytes wait for a leader that has just begun`,
        { hint: "Retry later.", details: { queuedBytes: this.#heldBytes, maxBytes: appendQueueMaxBytes } },
      );
    }
    this.#held.push(append);
    this.#heldBytes += length;
  }

  #release(): void {
    if (this.#held.length === 0 || !this.#mayJudge()) return;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    this.#judgeAll(held);
  }

  #judgeAll(appends: readonly Append[]): void {
    const isDone = this.#parts.actLater(() => {
      for (const append of appends) this.#judge(append);
    });
    if (isDone) return;
    for (const { reject } of appends) reject(leadershipLostError("the replica stopped itself"));
  }

  #judge(append: Append): void {
    const { raft, writer } = this.#parts;
    const appendTime = writer.nextAppendTime();
    const { nextOffset } = raft.state.log;
    const producers = { judge: (claim: Parameters<ProposedProducers["judge"]>[0]) => this.#producers.judge(claim, appendTime) };
    const verdict = judgeAppend(append, producers, nextOffset);
    switch (verdict.kind) {
      case "accepted": {
        const entry = this.#proposeData(append, appendTime);
        if (entry !== undefined && verdict.claim !== undefined)
          this.#producers.note(verdict.claim, { baseOffset: entry.baseOffset, appendTime });
        return;
      }
      case "duplicate": {
        const { baseOffset, recordCount: count, appendTime: originalTime } = verdict.original;
        const result = { baseOffset, lastOffset: baseOffset + count - 1, count, appendTime: originalTime };
        const settle = (): void => append.resolve({ ...result, isDurable: true, isDuplicate: true });
        this.#rest(this.#restIndexOf(baseOffset), settle, append.reject);
        return;
      }
      case "refused": {
        const { producerId } = append.header;
        const restsOn = verdict.by === "producer" ? this.#producers.newestOffsetOf(producerId, appendTime) : undefined;
        this.#rest(this.#restIndexOf(restsOn), () => this.#refuse(append, verdict.error), append.reject);
        return;
      }
      default:
        unreachable(verdict);
    }
  }

  /**
   * What is refused for what isn't in the log is refused by who leads: a leader that was replaced and doesn't know yet would tell a producer
   * that went on elsewhere that its batches are missing.
   */
  #refuse(append: Append, error: ProglogError): void {
    this.#parts.confirm().then(
      () => append.reject(error),
      () => append.reject(leadershipLostError("this node may not lead the partition any more", this.#parts.knownLeader())),
    );
  }

  #proposeData(append: Append, appendTime: number): Entry | undefined {
    const { batch, header, acks, takenMs, resolve, reject } = append;
    const span = header.lastOffsetDelta + 1;
    const bytes = storeBytesOf({ payload: batch });
    const outcome = this.#propose({ kind: "data", span, bytes }, { payload: batch, appendTime });
    if ("refusal" in outcome) {
      reject(outcome.refusal);
      return undefined;
    }
    const { entry } = outcome;
    const { index, term, baseOffset } = entry;
    const lastOffset = baseOffset + span - 1;
    const result = { baseOffset, lastOffset, count: header.recordCount, appendTime, isDurable: false, isDuplicate: false };
    this.#proposals.add({ index, term, acks, takenMs, result, resolve, reject });
    return entry;
  }

  #propose(proposal: RaftProposal, content: EntryContent): { readonly entry: Entry } | { readonly refusal: ProglogError } {
    const outcome = this.#parts.raft.propose([proposal]);
    if (outcome.outcome !== "appended") return { refusal: this.#refusalOf(outcome) };
    const [entry] = outcome.entries;
    assert(entry !== undefined, "each proposal becomes an entry");
    this.#contents.set(entry, content);
    return { entry };
  }

  #refusalOf(outcome: ProposeRefusal): ProglogError {
    switch (outcome.outcome) {
      case "not-leader":
        return notLeaderError("append", this.#parts.knownLeader());
      case "handing-over":
        return handingOverError("append", { nodeId: outcome.to, rpcAddress: this.#parts.rpcAddressOf(outcome.to) });
      case "overloaded":
        return overloadedError("append");
      default:
        return unreachable(outcome);
    }
  }

  /** Settles once everything up to `index` is committed, at once where it is. */
  #rest(index: number, settle: () => void, reject: (error: unknown) => void): void {
    if (index <= this.#parts.raft.commitIndex) {
      settle();
      return;
    }
    try {
      this.#proposals.rest({ index, settle, reject });
    } catch (error) {
      reject(error);
    }
  }

  /** What has to be committed for what is known of the records at `offset` to be true, or of the log's end where none is given. */
  #restIndexOf(offset: number | undefined): number {
    const { raft, log } = this.#parts;
    const { lastIndex } = raft.state.log;
    if (raft.commitIndex >= lastIndex || offset === undefined) return lastIndex;
    if (offset < log.log.highWatermark) return raft.commitIndex;
    return this.#proposals.findIndex(offset) ?? lastIndex;
  }
}

export interface AppendParts {
  readonly log: ReplicaLog;
  readonly raft: Raft;
  readonly writer: EntryWriter;
  /** Lets something happen to the core; what follows is begun when all that happens in this turn has. False when the replica has stopped. */
  readonly actLater: (event: () => void) => boolean;
  /** Resolves once it is certain that this replica led when it was asked. */
  readonly confirm: () => Promise<void>;
  readonly monotonic: () => number;
  /** Throws OVERLOADED where the node has too much that isn't synced. */
  readonly checkRoom: ((bytes: number) => void) | undefined;
  /** Why this replica takes no appends; undefined while it does. */
  readonly findRefusal: (attempt: string) => ProglogError | undefined;
  readonly knownLeader: () => KnownLeader;
  readonly rpcAddressOf: (nodeId: string) => string | undefined;
}

interface Append extends AdmittedBatch {
  readonly acks: Acks;
  readonly expectedOffset: number | undefined;
  /** By the monotonic clock. */
  readonly takenMs: number;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: unknown) => void;
}
