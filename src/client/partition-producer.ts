import type { Clock, Timer } from "../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { clientHintsMaxCount, clientRerouteMaxMs, sequenceDoubtMaxMs } from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import type { Compression } from "../batch/compression.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { RecordInput } from "../batch/record.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import type { Acks, ProduceResponse } from "../wire/produce-message.ts";
import { hourMs } from "../base/units.ts";
import {
  isAboutRoute,
  isNaming,
  isRefusal,
  notAppended,
  outcomeOf,
  replicaCodes,
  sequenceLostError,
  toProglogError,
  withOutcome,
} from "./append-error.ts";
import { backoffMs } from "./backoff.ts";
import type { ProduceChannel } from "./produce-channel.ts";
import type { RouteFailure } from "./routes.ts";

/**
 * A producer's records on their way to one partition, in order.
 *
 *     send → open batch → (packed, numbered) → under way → answered
 *
 * Batching is natural: a batch that isn't full goes only while fewer than two are under way, so batches grow with the load and a
 * single record doesn't wait; full ones go until five are under way, which is as many as the node remembers of a producer.
 *
 * Every batch has the producer's id, its epoch and a sequence number, so a batch that is sent again is recognised. When one
 * fails, nothing new is sent until all that is under way has its answer: behind a batch that wasn't appended none is, since its
 * number doesn't follow. Then each is judged: appended; failed for good, which its callers hear; or to be sent again, in
 * the old order, under the old numbers. A number that can't follow any more, because one before it failed for good, is
 * answered OUT_OF_ORDER_SEQUENCE; the epoch is raised then and what remains is numbered anew.
 *
 * Without idempotence one batch is under way at a time, and one whose outcome isn't known is not sent again.
 *
 * In a cluster, another node may lead from one moment to the next. A batch goes there under its old number: what the old leader had
 * committed the new one has, so it recognises what is there already. A leader that was deposed and hasn't heard of it knows less than
 * the new one, and says of what comes behind that it doesn't follow. So when that is said of a batch that may be there already, it
 * isn't believed until it has been said for as long as a deposed leader can be in error; and then the batch fails, since under a new
 * number it could be there twice.
 */
export class PartitionProducer {
  readonly #partition: number;
  readonly #context: ProducerContext;
  #state: "flowing" | "settling" | "waiting" = "flowing";
  #channel: ProduceChannel | undefined;
  readonly #open: Batch[] = [];
  #underWay: Batch[] = [];
  #unanswered = 0;
  #isPumpDue = false;
  #attempt = 0;
  /** Other leaders that were named and gone to at once, in a row. */
  #hints = 0;
  /** Since when it is said of the first batch, which may be there already, that it doesn't follow. */
  #doubtSinceMs: number | undefined;
  #renumberings = 0;
  #epoch = 0;
  #nextSequence = 0;
  /** When the node last answered a batch of this epoch, and so knows what number comes next; undefined before. */
  #confirmedAtMs: number | undefined;
  #lingerTimer: Timer | undefined;
  #deadlineTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #closed: ProglogError | undefined;
  /** Nothing more is sent; what is under way is still answered. */
  #isHalted = false;

  constructor(partition: number, context: ProducerContext) {
    this.#partition = partition;
    this.#context = context;
  }

  /** Whether the next record begins a batch: the moment to go on to another partition, for records without a key. */
  get isBetweenBatches(): boolean {
    return this.#open.length === 0;
  }

  /** Whether something of it waits for an answer there. */
  isWaitingFor(channel: ProduceChannel): boolean {
    return this.#channel === channel && this.#unanswered > 0;
  }

  /** The parcel's records go in one batch, appended whole or not at all. */
  send(parcel: Parcel): void {
    const { byteLength } = parcel;
    if (this.#closed !== undefined) {
      this.#context.release(byteLength, 1);
      parcel.reject(this.#closed);
      return;
    }
    let batch = this.#open.at(-1);
    if (batch === undefined || batch.wasSent || batch.byteLength + byteLength > this.#context.batchMaxBytes) {
      batch = { parcels: [], byteLength: 0, since: this.#context.clock.monotonic(), wasSent: false };
      this.#open.push(batch);
    }
    batch.parcels.push(parcel);
    batch.byteLength += byteLength;
    this.#armDeadline();
    if (!this.#isPumpDue) {
      this.#isPumpDue = true;
      queueMicrotask(() => {
        this.#isPumpDue = false;
        this.#pump();
      });
    }
  }

  /** Looks again whether what is gathered may go, now that there is a hurry. */
  hurry(): void {
    this.#lingerTimer?.cancel();
    this.#lingerTimer = undefined;
    this.#pump();
  }

  /** Sends nothing more: what wasn't sent is rejected, and what is under way hears its answer, and isn't sent again. */
  halt(reason: ProglogError): void {
    this.#isHalted = true;
    this.#lingerTimer?.cancel();
    this.#retryTimer?.cancel();
    // What was sent before and is to go under new numbers was refused, too.
    for (const batch of this.#open.splice(0)) this.#reject(batch, notAppended(reason));
    if (this.#unanswered === 0 && this.#underWay.length > 0) this.#judge();
    this.#armDeadline();
  }

  /** Rejects everything that isn't answered. */
  close(reason: ProglogError): void {
    this.#closed = reason;
    for (const timer of [this.#lingerTimer, this.#deadlineTimer, this.#retryTimer]) timer?.cancel();
    for (const batch of this.#underWay) if (batch.result === undefined) batch.isInDoubt = true;
    const left = [...this.#underWay.splice(0), ...this.#open.splice(0)];
    for (const batch of left) this.#reject(batch, reason);
  }

  #pump(): void {
    if (this.#state !== "flowing" || this.#isOver || this.#open.length === 0) return;
    if (this.#channel?.isOpen !== true) {
      if (this.#underWay.length === 0) this.#connect();
      // Else what is under way hears that the channel broke, and is judged before anything else goes.
      return;
    }
    while (this.#mayGo()) {
      const batch = this.#open.shift();
      if (batch === undefined) return;
      this.#underWay.push(batch);
      this.#transmit(batch, this.#channel);
    }
  }

  get #isOver(): boolean {
    return this.#closed !== undefined || this.#isHalted;
  }

  #mayGo(): boolean {
    const [first] = this.#open;
    if (first === undefined || this.#underWay.length >= this.#underWayMaxCount) return false;
    if (this.#open.length > 1) return true;
    if (this.#isLingering(first)) return false;
    return this.#underWay.length < naturalMaxCount;
  }

  /**
   * A node that doesn't know a producer, or doesn't any more, takes whatever number comes first: so until it has answered one,
   * no second is under way that could come before a first that was refused.
   */
  get #underWayMaxCount(): number {
    const { clock, underWayMaxCount } = this.#context;
    const isConfirmed = this.#confirmedAtMs !== undefined && clock.monotonic() - this.#confirmedAtMs < forgottenAfterMs;
    return isConfirmed ? underWayMaxCount : 1;
  }

  #isLingering(batch: Batch): boolean {
    const { lingerMs, clock } = this.#context;
    const leftMs = lingerMs - (clock.monotonic() - batch.since);
    if (lingerMs === 0 || leftMs <= 0 || this.#context.isHurried()) return false;
    this.#lingerTimer ??= clock.setTimer(leftMs, () => {
      this.#lingerTimer = undefined;
      this.#pump();
    });
    return true;
  }

  #connect(): void {
    this.#state = "waiting";
    this.#context.openChannel(this.#partition).then(
      (channel) => {
        if (this.#isOver) return;
        this.#channel = channel;
        this.#resume();
      },
      (error: unknown) => {
        if (this.#isOver) return;
        // Nothing was sent now: what fails for good fails for everything that waits.
        const failure = toProglogError(error);
        if (this.#isRetryable(failure)) return this.#retryLater(failure, backoffMs(this.#attempt, this.#context.random));
        for (const batch of this.#takeAll()) this.#reject(batch, failure);
        this.#armDeadline();
        this.#state = "flowing";
        this.#context.onFailure(failure);
      },
    );
  }

  #takeAll(): Batch[] {
    return [...this.#underWay.splice(0), ...this.#open.splice(0)];
  }

  /**
   * What is under way again, in its order; what is new only when that is settled. Else new batches could be appended behind one
   * whose answer was lost, until the node has forgotten it.
   */
  #resume(): void {
    const channel = this.#channel;
    const again = [...this.#underWay];
    this.#state = again.length > 0 ? "settling" : "flowing";
    if (channel !== undefined) for (const batch of again) this.#transmit(batch, channel);
    if (this.#state === "settling" && this.#unanswered === 0) this.#judge();
    else this.#pump();
  }

  #transmit(batch: Batch, channel: ProduceChannel): void {
    const { topic, acks } = this.#context;
    try {
      batch.packed ??= this.#pack(batch);
    } catch (error) {
      // It has no number yet: those behind it don't miss it.
      this.#underWay = this.#underWay.filter((other) => other !== batch);
      const failure = toProglogError(error);
      this.#reject(batch, failure);
      this.#armDeadline();
      this.#context.onFailure(failure);
      return;
    }
    batch.wasSent = true;
    batch.result = undefined;
    this.#unanswered += 1;
    channel.produce({ topic, partition: this.#partition, records: [], batch: batch.packed, acks }).then(
      (response) => this.#answered(batch, { kind: "appended", response }),
      (error: unknown) => this.#answered(batch, { kind: "failed", error: toProglogError(error) }),
    );
  }

  #pack(batch: Batch): Buffer {
    const { clock, compression, isIdempotent, producerId, recordMaxBytes } = this.#context;
    const records = recordsOf(batch);
    const now = Math.max(0, clock.now());
    if (!isIdempotent) return encodeBatch(records, { now, compression, recordMaxBytes });
    const baseSequence = batch.baseSequence ?? this.#nextSequence;
    const options = { now, compression, recordMaxBytes, producerId, producerEpoch: this.#epoch, baseSequence };
    const packed = encodeBatch(records, options);
    if (batch.baseSequence === undefined) {
      batch.baseSequence = baseSequence;
      this.#nextSequence = followingSequence(baseSequence, records.length);
    }
    return packed;
  }

  #answered(batch: Batch, result: BatchResult): void {
    this.#unanswered -= 1;
    if (this.#closed !== undefined || !this.#underWay.includes(batch)) return;
    batch.result = result;
    if (result.kind === "failed" && outcomeOf(result.error) === "unknown") batch.isInDoubt = true;
    if (result.kind === "failed" && this.#state === "flowing") this.#state = "settling";
    if (this.#state === "flowing" && this.#underWay[0] === batch) {
      this.#underWay.shift();
      this.#resolve(batch, result);
      this.#armDeadline();
      this.#pump();
      return;
    }
    if (this.#state === "settling" && this.#unanswered === 0) this.#judge();
  }

  /** Everything under way has its answer. */
  #judge(): void {
    const remaining: Batch[] = [];
    let failure: ProglogError | undefined;
    let final: ProglogError | undefined;
    this.#checkDoubt();
    for (const [position, batch] of this.#underWay.entries()) {
      if (batch.result?.kind === "failed") {
        const { error } = batch.result;
        if (this.#isFinal(batch, error) || (final !== undefined && this.#context.stopsAtFailure)) {
          // It was never taken, unless by an earlier try: its number is a gap, so nothing that was sent behind it is there.
          if (isRefusal(error) && batch.isInDoubt !== true)
            for (const behind of this.#underWay.slice(position + 1)) behind.isInDoubt = false;
          final ??= error;
          this.#reject(batch, error);
        } else {
          remaining.push(batch);
        }
        const isNews = failure === undefined || (isNaming(error) && !isNaming(failure));
        if (!isProglogError(error, "OUT_OF_ORDER_SEQUENCE") && isNews) failure = error;
      } else {
        this.#resolve(batch, batch.result);
      }
    }
    this.#underWay = remaining;
    if (final !== undefined) this.#context.onFailure(final);
    if (this.#isHalted) return this.#armDeadline();
    const [head] = remaining;
    const outOfOrder = outOfOrderOf(head);
    const isOutOfOrder = outOfOrder !== undefined;
    const isDoubted = isOutOfOrder && head?.isInDoubt === true;
    if (isOutOfOrder && !isDoubted) {
      this.#renumberings += 1;
      this.#renumber();
    }
    this.#armDeadline();
    if (isDoubted) return this.#changeRoute(outOfOrder);
    // A number that didn't follow has nothing to wait for; neither has what is new, behind what failed for good.
    const mustWait = failure !== undefined && remaining.length > 0 && !isOutOfOrder;
    if (failure !== undefined && isAboutRoute(failure)) return this.#changeRoute(failure);
    if (mustWait) return this.#retryLater(failure, backoffMs(this.#attempt, this.#context.random));
    this.#goOn();
  }

  /**
   * "It doesn't follow", said of a batch that may be there already: by a leader that was deposed, or because a leader that had answered
   * for less than a quorum is gone. Only time tells them apart.
   */
  #checkDoubt(): void {
    const { clock, acks, isReplicated } = this.#context;
    const head = this.#underWay.find(({ result }) => result?.kind !== "appended");
    if (outOfOrderOf(head) === undefined || head?.isInDoubt !== true) {
      this.#doubtSinceMs = undefined;
      return;
    }
    // A node that is alone knows what it has. And whoever asks for less than a quorum may lose what was acknowledged.
    if (acks !== "quorum" || !isReplicated(this.#partition)) {
      head.isInDoubt = false;
      return;
    }
    this.#doubtSinceMs ??= clock.monotonic();
    if (clock.monotonic() - this.#doubtSinceMs < sequenceDoubtMaxMs) return;
    this.#doubtSinceMs = undefined;
    for (const batch of this.#underWay) {
      const error = batch.isInDoubt === true ? outOfOrderOf(batch) : undefined;
      if (error !== undefined) batch.result = { kind: "failed", error: sequenceLostError(error) };
    }
  }

  /** Asks anew who leads: at once where another was named, else after a while. */
  #changeRoute(cause: ProglogError): void {
    const { onRouteFailure, random, acks } = this.#context;
    const address = this.#channel?.address ?? "";
    const isNamed = onRouteFailure({ partition: this.#partition, address, error: cause });
    this.#channel = undefined;
    if (acks !== "quorum" && this.#underWay.length > 1) {
      // What the old leader answered the new one may not know of: the first number tells it where we are, and the others follow.
      this.#confirmedAtMs = undefined;
      this.#open.unshift(...this.#underWay.splice(1));
    }
    if (isNamed && this.#hints < clientHintsMaxCount) {
      this.#hints += 1;
      this.#state = "waiting";
      return this.#goOn();
    }
    this.#retryLater(cause, backoffMs(this.#attempt, random, clientRerouteMaxMs));
  }

  /** Old numbers can't follow: a new epoch begins at 0. */
  #renumber(): void {
    this.#epoch += 1;
    this.#nextSequence = 0;
    for (const batch of this.#underWay) {
      batch.baseSequence = undefined;
      batch.packed = undefined;
      // The first isn't there, so none behind it is.
      batch.isInDoubt = false;
    }
    this.#confirmedAtMs = undefined;
    this.#open.unshift(...this.#underWay.splice(1));
  }

  #retryLater(cause: ProglogError | undefined, delayMs: number): void {
    this.#state = "waiting";
    this.#attempt += 1;
    this.#hints = 0;
    const { clock, onRetry } = this.#context;
    if (cause !== undefined) onRetry?.({ partition: this.#partition, delayMs, error: cause });
    this.#retryTimer = clock.setTimer(delayMs, () => {
      this.#retryTimer = undefined;
      this.#goOn();
    });
  }

  #goOn(): void {
    if (this.#channel?.isOpen === true) return this.#resume();
    if (this.#underWay.length === 0 && this.#open.length === 0) this.#state = "flowing";
    else this.#connect();
  }

  #isFinal(batch: Batch, error: ProglogError): boolean {
    if (this.#isHalted) return true;
    if (isProglogError(error, "OUT_OF_ORDER_SEQUENCE") && this.#context.isIdempotent) {
      if (outcomeOf(error) === "unknown") return true;
      return batch.isInDoubt === true ? this.#isOverdue(batch) : this.#renumberings >= renumberingsMaxCount;
    }
    if (this.#isOverdue(batch)) return true;
    if (!this.#isRetryable(error)) return true;
    // Whoever can't be recognised isn't sent twice.
    return !this.#context.isIdempotent && outcomeOf(error) === "unknown";
  }

  #isRetryable(error: ProglogError): boolean {
    const { code } = error;
    const { isRetrying, isReplicated } = this.#context;
    // One replica's disk is the end on a single node alone: in a cluster another one leads soon.
    const isPassing = errorTableEntry(code).isRetryable || (replicaCodes.includes(code) && isReplicated(this.#partition));
    return isPassing && isRetrying(error);
  }

  #resolve(batch: Batch, result: BatchResult | undefined): void {
    if (result?.kind !== "appended") return;
    this.#attempt = 0;
    this.#hints = 0;
    this.#renumberings = 0;
    this.#confirmedAtMs = this.#context.clock.monotonic();
    const { offset, partition, appendTime, isDurable } = result.response;
    this.#context.release(batch.byteLength, batch.parcels.length);
    let baseOffset = offset;
    for (const { records, resolve } of batch.parcels) {
      resolve({ partition, baseOffset, count: records.length, appendTime, isDurable });
      baseOffset += records.length;
    }
  }

  #reject(batch: Batch, error: ProglogError): void {
    this.#context.release(batch.byteLength, batch.parcels.length);
    // What is said of the last try isn't said of those before.
    const outcome = !batch.wasSent ? "not-appended" : batch.isInDoubt === true ? "unknown" : outcomeOf(error);
    const failure = error.details["outcome"] === outcome ? error : withOutcome(error, outcome);
    for (const { reject } of batch.parcels) reject(failure);
  }

  #isOverdue(batch: Batch): boolean {
    return this.#context.clock.monotonic() - batch.since >= this.#context.deliveryTimeoutMs;
  }

  /** One timer, for the oldest batch. */
  #armDeadline(): void {
    const oldest = this.#underWay[0] ?? this.#open[0];
    if (oldest === undefined) {
      this.#deadlineTimer?.cancel();
      this.#deadlineTimer = undefined;
      return;
    }
    if (this.#deadlineTimer !== undefined) return;
    const { clock, deliveryTimeoutMs } = this.#context;
    this.#deadlineTimer = clock.setTimer(Math.max(0, oldest.since + deliveryTimeoutMs - clock.monotonic()), () => {
      this.#deadlineTimer = undefined;
      this.#expire();
      this.#armDeadline();
    });
  }

  #expire(): void {
    const overdue = [...this.#underWay, ...this.#open].filter((batch) => this.#isOverdue(batch));
    if (overdue.length === 0) return;
    this.#underWay = this.#underWay.filter((batch) => !overdue.includes(batch));
    this.#open.splice(0, this.#open.length, ...this.#open.filter((batch) => !overdue.includes(batch)));
    const { deliveryTimeoutMs, topic } = this.#context;
    let failure: ProglogError | undefined;
    for (const batch of overdue) {
      const cause = batch.result?.kind === "failed" ? batch.result.error : undefined;
      const reason = cause === undefined ? "no answer came" : messageOf(cause);
      const error = new ProglogError(
        "TIMEOUT",
        `Cannot produce to partition ${this.#partition} of topic ${topic} within ${deliveryTimeoutMs} ms: ${reason}`,
        { cause },
      );
      failure ??= error;
      this.#reject(batch, error);
    }
    // Its answers could come yet, for batches that are gone: what is left is sent again, on another stream.
    this.#channel?.cancel(new ProglogError("UNAVAILABLE", "The node didn't answer in time"));
    if (failure !== undefined) this.#context.onFailure(failure);
  }
}

export interface ProducerContext {
  readonly topic: string;
  readonly acks: Acks;
  readonly compression: Compression;
  readonly lingerMs: number;
  readonly batchMaxBytes: number;
  readonly recordMaxBytes: number;
  readonly deliveryTimeoutMs: number;
  readonly isIdempotent: boolean;
  /** Whether what fails in passing with this is sent again. */
  readonly isRetrying: (error: ProglogError) => boolean;
  readonly stopsAtFailure: boolean;
  readonly producerId: number;
  /** 5, or 1 without idempotence. */
  readonly underWayMaxCount: number;
  readonly clock: Clock;
  readonly random: Random;
  /** To the node that leads the partition; the same one as long as it is open. */
  readonly openChannel: (partition: number) => Promise<ProduceChannel>;
  /** Tells that a node doesn't lead the partition, or isn't there. Returns whether another is known to. */
  readonly onRouteFailure: (failure: Omit<RouteFailure, "topic">) => boolean;
  /** Whether other nodes have replicas of the partition. */
  readonly isReplicated: (partition: number) => boolean;
  /** Whether somebody waits for all to be sent: then nothing lingers. */
  readonly isHurried: () => boolean;
  /** Called when a batch is answered, with its bytes and the number of `send`s that it settles. */
  readonly release: (bytes: number, sends: number) => void;
  readonly onRetry?: ((event: RetryEvent) => void) | undefined;
  /** Called when something was rejected for good, as the last thing done. */
  readonly onFailure: (error: ProglogError) => void;
}

export interface RetryEvent {
  /** Undefined when it was asked how many there are. */
  readonly partition: number | undefined;
  readonly delayMs: number;
  readonly error: ProglogError;
}

/** Offsets `[baseOffset, baseOffset + count)` of a partition. */
export interface SentRange {
  readonly partition: number;
  readonly baseOffset: number;
  readonly count: number;
  readonly appendTime: number;
  readonly isDurable: boolean;
}

interface Batch {
  readonly parcels: Parcel[];
  byteLength: number;
  /** When its first record came, by the clock that never goes back. */
  readonly since: number;
  packed?: Buffer | undefined;
  baseSequence?: number | undefined;
  wasSent: boolean;
  /** An earlier try of it may have been appended. */
  isInDoubt?: boolean;
  result?: BatchResult | undefined;
}

type BatchResult =
  | { readonly kind: "appended"; readonly response: ProduceResponse }
  | { readonly kind: "failed"; readonly error: ProglogError };

/** Records that somebody waits for. */
export interface Parcel {
  readonly records: readonly RecordInput[];
  /** As they were measured. */
  readonly byteLength: number;
  readonly resolve: (range: SentRange) => void;
  readonly reject: (error: unknown) => void;
}

/** What said of the batch that its number doesn't follow. */
function outOfOrderOf(batch: Batch | undefined): ProglogError | undefined {
  if (batch?.result?.kind !== "failed") return undefined;
  return isProglogError(batch.result.error, "OUT_OF_ORDER_SEQUENCE") ? batch.result.error : undefined;
}

/** Batches that aren't full are sent while fewer are under way: one that is synced, one behind it. */
const naturalMaxCount = 2;
/** Well below the day after which a node forgets a producer that is silent. */
const forgottenAfterMs = hourMs;
/** In a row, without anything appended between them: then it isn't a matter of numbers. */
const renumberingsMaxCount = 3;
const sequenceEnd = 2 ** 31;

/** Kafka's: 31 bits, and after the last one 0. */
function followingSequence(baseSequence: number, count: number): number {
  return (baseSequence + count) % sequenceEnd;
}

function recordsOf({ parcels }: Batch): readonly RecordInput[] {
  const [first] = parcels;
  return first !== undefined && parcels.length === 1 ? first.records : parcels.flatMap(({ records }) => records);
}
