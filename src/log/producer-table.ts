import { assert } from "../base/assert.ts";

/**
 * What makes retries harmless: for each producer that wrote lately, its epoch and its last batches.
 *
 * A producer that got no answer sends its batch again, and the log can't tell from the records whether they came before. So each
 * batch says who sent it (producer id), in which life (epoch) and where its records stand among all that this producer sent to this
 * log (sequence). The rules are Kafka's: the next batch has to follow the last one, one of the last five is answered
 * as it was answered before, a higher epoch shuts out the lower ones and begins at 0, and who isn't known may begin anywhere.
 *
 * The table is a function of the log's entries alone, in their order, and of nothing else: no clock, no randomness. So every replica
 * has the same, and a restart brings it back. A truncation makes it as if what was cut had never been, also for a producer that was
 * forgotten by what is cut: the table itself doesn't know it any more, so the entries that stay are read again (replay.ts). Only
 * what was trimmed away before can't be.
 *
 * Invariants: each producer has 1 to 5 batches, in the order of their offsets; the producers stand in the order of their newest
 * batches, so the first is the one that has been idle the longest.
 */
export class ProducerTable {
  readonly #limits: ProducerLimits;
  readonly #producers = new Map<number, ProducerState>();

  /** `producers` in any order. */
  constructor(limits: ProducerLimits, producers: Iterable<ProducerState> = []) {
    this.#limits = limits;
    const sorted = [...producers].sort((a, b) => newestOf(a).baseOffset - newestOf(b).baseOffset);
    for (const producer of sorted) this.#producers.set(producer.producerId, producer);
    this.#forgetBeyondLimit();
  }

  get count(): number {
    return this.#producers.size;
  }

  /** All of them, the longest idle first. */
  get states(): readonly ProducerState[] {
    return [...this.#producers.values()];
  }

  /** What is known of a producer when the time is `appendTime`. */
  find(producerId: number, appendTime: number): ProducerState | undefined {
    const producer = this.#producers.get(producerId);
    return producer === undefined || this.#isExpired(producer, appendTime) ? undefined : producer;
  }

  /** Takes note of a batch that is in the log now. */
  apply(claim: ProducerClaim, placed: PlacedBatch): void {
    this.expire(placed.appendTime);
    const { producerId } = claim;
    const next = advanceProducer(this.#producers.get(producerId), claim, placed);
    // Deleted first, so that it comes to stand last.
    this.#producers.delete(producerId);
    this.#producers.set(producerId, next);
    this.#forgetBeyondLimit();
  }

  /** The log has an entry of this time: whoever has been idle for too long then is forgotten. */
  expire(appendTime: number): void {
    if (this.#producers.size === 0) return;
    for (const producer of this.#producers.values()) {
      // Append times never fall along the log, so none behind this one is older.
      if (!this.#isExpired(producer, appendTime)) return;
      this.#producers.delete(producer.producerId);
    }
  }

  /** As if the log ended before `nextOffset`, as far as the batches known here tell: what was forgotten stays so. */
  cutTo(nextOffset: number): ProducerTable {
    const kept: ProducerState[] = [];
    for (const producer of this.#producers.values()) {
      const batches = producer.batches.filter((batch) => batch.baseOffset < nextOffset);
      if (batches.length > 0) kept.push({ ...producer, batches });
    }
    return new ProducerTable(this.#limits, kept);
  }

  #isExpired(producer: ProducerState, appendTime: number): boolean {
    return appendTime - newestOf(producer).appendTime > this.#limits.expiryMs;
  }

  #forgetBeyondLimit(): void {
    for (const producerId of this.#producers.keys()) {
      if (this.#producers.size <= this.#limits.maxCount) return;
      this.#producers.delete(producerId);
    }
  }
}

/** A look ahead: what the table will say once the batches noted here are in the log, or never when they don't get there. */
export class ProducerStage {
  readonly #table: ProducerTable;
  readonly #appendTime: number;
  readonly #staged = new Map<number, ProducerState>();

  constructor(table: ProducerTable, appendTime: number) {
    this.#table = table;
    this.#appendTime = appendTime;
  }

  judge(claim: ProducerClaim): ProducerVerdict {
    return judgeClaim(this.#find(claim.producerId), claim);
  }

  note(claim: ProducerClaim, baseOffset: number): void {
    const placed = { baseOffset, appendTime: this.#appendTime };
    this.#staged.set(claim.producerId, advanceProducer(this.#find(claim.producerId), claim, placed));
  }

  /** Whether what is said of a producer rests on a batch noted here. */
  isStaged(producerId: number): boolean {
    return this.#staged.has(producerId);
  }

  #find(producerId: number): ProducerState | undefined {
    return this.#staged.get(producerId) ?? this.#table.find(producerId, this.#appendTime);
  }
}

export interface ProducerLimits {
  /** A producer that wrote nothing for longer is forgotten. */
  readonly expiryMs: number;
  readonly maxCount: number;
}

export interface ProducerState {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** All sequences of this epoch from 0 to the next expected one are in the log: what is too old to be known was appended. */
  readonly isComplete: boolean;
  /** Oldest first. */
  readonly batches: readonly ProducerBatch[];
}

export interface ProducerBatch extends PlacedBatch {
  readonly baseSequence: number;
  readonly recordCount: number;
}

/** Where a batch stands in the log. */
export interface PlacedBatch {
  readonly baseOffset: number;
  readonly appendTime: number;
}

/** What a batch says of its producer. */
export interface ProducerClaim {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

export type ProducerVerdict =
  | { readonly kind: "new" }
  /** It is in the log already, here. */
  | { readonly kind: "duplicate"; readonly batch: ProducerBatch }
  | { readonly kind: "fenced"; readonly currentEpoch: number }
  | { readonly kind: "out-of-order"; readonly expectedSequence: number }
  /** It is in the log already, nobody knows where. */
  | { readonly kind: "too-old" };

/** Of each producer: as many as a client may have under way at once, as in Kafka. */
export const producerBatchesMaxCount = 5;

/** Sequences are of 31 bits: 0 follows the last one. */
const sequenceCount = 2 ** 31;

/** The sequence of the record `count` records on. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % sequenceCount;
}

/** What to do with a batch, by what is known of its producer. */
export function judgeClaim(producer: ProducerState | undefined, claim: ProducerClaim): ProducerVerdict {
  if (producer === undefined) return isNew;
  const { producerEpoch, baseSequence, recordCount } = claim;
  if (producerEpoch < producer.producerEpoch) return { kind: "fenced", currentEpoch: producer.producerEpoch };
  if (producerEpoch > producer.producerEpoch) {
    return baseSequence === 0 ? isNew : { kind: "out-of-order", expectedSequence: 0 };
  }
  const batch = producer.batches.find((known) => known.baseSequence === baseSequence && known.recordCount === recordCount);
  if (batch !== undefined) return { kind: "duplicate", batch };
  const expectedSequence = expectedOf(producer);
  if (baseSequence === expectedSequence) return isNew;
  const oldest = oldestOf(producer).baseSequence;
  // Between the last sequence and the oldest known one, when those known run over the end, it could be either: then it isn't said
  // to be in the log, since who hears that sends it no more.
  const isBefore = baseSequence + recordCount <= oldest && oldest < expectedSequence;
  return isBefore && producer.isComplete ? { kind: "too-old" } : { kind: "out-of-order", expectedSequence };
}

const isNew = { kind: "new" } as const;

/** What is known of a producer once its batch is in the log. A log that didn't judge may hold any: such a one begins anew. */
export function advanceProducer(producer: ProducerState | undefined, claim: ProducerClaim, placed: PlacedBatch): ProducerState {
  const { producerId, producerEpoch, baseSequence, recordCount } = claim;
  const { baseOffset, appendTime } = placed;
  const batch: ProducerBatch = { baseSequence, recordCount, baseOffset, appendTime };
  const follows = producer?.producerEpoch === producerEpoch && expectedOf(producer) === baseSequence;
  if (!follows) return { producerId, producerEpoch, isComplete: baseSequence === 0, batches: [batch] };
  const batches = [...producer.batches.slice(1 - producerBatchesMaxCount), batch];
  return { producerId, producerEpoch, isComplete: producer.isComplete, batches };
}

/** The sequence that the producer's next record has. */
function expectedOf(producer: ProducerState): number {
  const { baseSequence, recordCount } = newestOf(producer);
  return sequenceAfter(baseSequence, recordCount);
}

export function newestOf({ batches }: ProducerState): ProducerBatch {
  const newest = batches.at(-1);
  assert(newest !== undefined, "a producer that is known has a batch");
  return newest;
}

function oldestOf({ batches }: ProducerState): ProducerBatch {
  const [oldest] = batches;
  assert(oldest !== undefined, "a producer that is known has a batch");
  return oldest;
}
