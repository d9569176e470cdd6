import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { sleep } from "../../base/sleep.ts";
import { ProglogError } from "../../base/error.ts";
import {
  catchUpBytesPerSecond,
  catchUpMaxMs,
  catchUpRetryMaxMs,
  catchUpRetryMinMs,
  catchUpsMaxCount,
  fetchPieceBytes,
} from "../../base/cluster-limits.ts";
import type { ReplicaLog } from "../../log/replica-log.ts";
import type { NodeId } from "../../raft/member.ts";
import { encodeMembership } from "../../raft/membership-payload.ts";
import { type Membership, unknownMembership } from "../../raft/membership.ts";
import type { CatchUpOrder, CatchUpWithdrawal } from "../../raft/ready.ts";
import type { PeerNetwork } from "../peer-network.ts";
import { CatchUps } from "./catch-ups.ts";
import { ByteRate } from "./byte-rate.ts";
import {
  copyQuestions,
  type CopyQuestionKind,
  decodeCatchUpAnswer,
  decodeCatchUpQuestion,
  decodeFetchQuestion,
  encodeBaseAnswer,
  encodeCatchUpAnswer,
  encodeCopyQuestion,
  encodeEntriesAnswer,
  type FetchQuestion,
} from "./copy-questions.ts";
import { findMemberships } from "./group-log.ts";
import { LogRepairs, type RepairParts } from "./log-repairs.ts";
import { LogReceiver, type ReceiverParts } from "./log-receiver.ts";
import { OpeningTurns } from "./opening-turns.ts";

/** What the groups of a node share where logs are copied. */
export class CopyShare {
  readonly rate: ByteRate;
  readonly pieceBytes: number;
  readonly receiving = new OpeningTurns(catchUpsMaxCount);
  /** Of frames, sent to those who fetch. */
  sentBytes = 0;

  constructor(clock: Clock, options: { readonly bytesPerSecond?: number | undefined; readonly pieceBytes?: number } = {}) {
    const { bytesPerSecond = catchUpBytesPerSecond, pieceBytes = fetchPieceBytes } = options;
    this.rate = new ByteRate(clock, bytesPerSecond);
    // Whoever asks for one waits for no longer than a second of it.
    this.pieceBytes = Math.min(pieceBytes, bytesPerSecond);
  }
}

/**
 * One group's part in copying logs between replicas: a leader has a peer catch up, and every replica answers what others fetch. It is the
 * receiver who asks for each piece, so nothing is sent that there is no room for, and a broken connection costs one.
 *
 * Entries are asked for by index, and not as files: whatever compaction does to the files meanwhile, an index means the same entry. Only a
 * trim would take them away, and that waits for who catches up (`GroupTrims`).
 */
export class LogCopies {
  readonly #parts: CopyParts;
  readonly #receiver: LogReceiver;
  readonly #catchUps: CatchUps;
  readonly #repairs: LogRepairs;
  /** Of catch-ups that fail, by peer. */
  readonly #retryMs = new Map<NodeId, number>();

  constructor(parts: CopyParts) {
    const { ask, act, raft, share } = parts;
    this.#parts = parts;
    const fetch: ReceiverParts["fetch"] = (from, question, signal) => this.#fetch(from, question, signal);
    this.#repairs = new LogRepairs({ ...parts, fetch });
    this.#receiver = new LogReceiver({
      ...parts,
      fetch,
      inTurn: (run) => share.receiving.run(run),
    });
    this.#catchUps = new CatchUps({
      ...parts,
      catchUp: ask && ((order, withdrawn) => this.#catchUp(ask, order, withdrawn)),
      caughtUp: (report) => act(() => raft.caughtUp(report)),
      failed: (report) => act(() => raft.catchUpFailed(report)),
    });
  }

  begin(order: CatchUpOrder): void {
    this.#catchUps.begin(order);
  }

  withdraw(withdrawal: CatchUpWithdrawal): void {
    this.#catchUps.withdraw(withdrawal);
  }

  /** Puts in place what was received and the core has been told of. What was bad in the log before goes with it. */
  async install(): Promise<void> {
    await this.#receiver.install();
    this.#repairs.forgetAll();
  }

  /** A store of the log is bad somewhere: it is repaired from the other members. */
  damaged(store: string): void {
    if (this.#parts.ask !== undefined) this.#repairs.found(store);
  }

  /** More was committed here. */
  progressed(): void {
    void this.#receiver.progressed();
  }

  end(): void {
    this.#catchUps.end();
    this.#receiver.end();
    this.#repairs.end();
  }

  /** Behind `end`: resolves when nothing is done to what was being received any more. */
  ended(): Promise<void> {
    return this.#receiver.ended();
  }

  /** Brings a peer up to what is committed in sealed segments here, and resolves with the index that it has then. */
  async #catchUp(ask: PeerNetwork["ask"], { to, term }: CatchUpOrder, withdrawn: AbortSignal): Promise<number> {
    const { clock, groupName: group } = this.#parts;
    try {
      const question = encodeCopyQuestion({ group, term });
      const options = { signal: withdrawn, timeoutMs: catchUpMaxMs };
      const { lastIndex } = decodeCatchUpAnswer(await ask({ nodeId: to }, copyQuestions.catchUp, question, options));
      this.#retryMs.delete(to);
      return lastIndex;
    } catch (error) {
      // The core asks again as soon as it hears that this one failed.
      const retryMs = this.#retryMs.get(to) ?? catchUpRetryMinMs;
      this.#retryMs.set(to, Math.min(2 * retryMs, catchUpRetryMaxMs));
      await sleep(clock, retryMs, withdrawn);
      throw error;
    }
  }

  /** Asks a peer for a piece of its log. */
  async #fetch(from: NodeId, question: FetchQuestion, signal: AbortSignal): Promise<Buffer> {
    const { ask } = this.#parts;
    if (ask === undefined) throw new ProglogError("UNAVAILABLE", "Cannot ask another node: this replica has no way to");
    return ask({ nodeId: from }, copyQuestions.fetch, encodeCopyQuestion(question), { signal });
  }

  /** Answers what a peer asks. Throws what is to be its answer. */
  async answer(from: NodeId, kind: CopyQuestionKind, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (kind === copyQuestions.fetch) return this.#answerFetch(decodeFetchQuestion(body), signal);
    const { term } = decodeCatchUpQuestion(body);
    const { raft } = this.#parts;
    if (term < raft.term) {
      throw new ProglogError(
        "NOT_LEADER",
        `Cannot catch up with ${from}: it leads term ${term}, and this replica is in term ${raft.term}`,
      );
    }
    return encodeCatchUpAnswer({ lastIndex: await this.#receiver.receive(from, term, signal) });
  }

  async #answerFetch(question: FetchQuestion, signal: AbortSignal): Promise<Buffer> {
    const { log, raft, share } = this.#parts;
    if (question.wants === "base") {
      // What isn't committed may yet be replaced; and what the newest segment holds comes soon enough by the stream.
      const lastIndex = Math.max(log.base.index, Math.min(log.sealedIndex, raft.commitIndex, log.durableIndex));
      const membership = encodeMembership(await this.#findBaseMembership());
      return encodeBaseAnswer({ lastIndex, logStartOffset: log.log.logStartOffset, membership, record: log.describeBase() });
    }
    const { index } = question;
    const { rate, pieceBytes } = share;
    await rate.take(pieceBytes, signal);
    if (signal.aborted) {
      rate.correct(-pieceBytes);
      throw new ProglogError("CANCELLED", `Cannot send entry ${index}: nobody waits for it any more`);
    }
    // Looked at after the wait: it may have been trimmed, or truncated, meanwhile.
    const { base } = log;
    const lastIndex = Math.min(question.lastIndex, log.durableIndex, log.last.index);
    if (index <= base.index || index > lastIndex) {
      rate.correct(-pieceBytes);
      throw missingError(index, log);
    }
    const frames = (await log.read(index, pieceBytes)).filter((frame) => frame.index <= lastIndex);
    const pieces = frames.map((frame) => log.encodeForPeer(frame));
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    rate.correct(bytes - pieceBytes);
    share.sentBytes += bytes;
    assert(frames[0] === undefined || frames[0].index === index, "a piece begins with what was asked for");
    return encodeEntriesAnswer({ frames: pieces, baseIndex: base.index });
  }

  /**
   * The membership in force at the base. Where it stood in no entry, and this replica isn't one of the first members, the next one that is
   * committed takes its place: nobody goes back behind that.
   */
  async #findBaseMembership(): Promise<Membership> {
    const { log, raft, firstMembership = unknownMembership } = this.#parts;
    const { base } = log;
    const inLog = await findMemberships(log, firstMembership);
    const known = [...inLog, ...raft.state.log.memberships].filter(
      ({ index, membership }) => index <= raft.commitIndex && membership.voters.length > 0,
    );
    const found = known.findLast(({ index }) => index <= base.index) ?? known[0];
    if (found !== undefined) return found.membership;
    throw new ProglogError(
      "UNAVAILABLE",
      "Cannot send what the log begins with: this replica doesn't know the group's members",
    );
  }
}

export interface CopyParts extends Omit<ReceiverParts & RepairParts, "fetch" | "inTurn"> {
  /** Undefined where there is no network to ask on. */
  readonly ask: PeerNetwork["ask"] | undefined;
  readonly share: CopyShare;
  readonly firstMembership: Membership | undefined;
}

function missingError(index: number, log: ReplicaLog): ProglogError {
  const { base, durableIndex } = log;
  return new ProglogError(
    "OFFSET_OUT_OF_RANGE",
    `Cannot send entry ${index}: this replica has ${base.index + 1} to ${durableIndex}`,
    { details: { baseIndex: base.index, lastIndex: durableIndex, logStartOffset: log.log.logStartOffset } },
  );
}
