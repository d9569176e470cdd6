import {
  advanceProducer,
  judgeClaim,
  newestOf,
  type PlacedBatch,
  type ProducerClaim,
  type ProducerState,
  type ProducerTable,
  type ProducerVerdict,
} from "../../log/producer-table.ts";

/**
 * What is proposed and not written yet, as a stage above the log's table of producers. The table is a fold over the entries written, so it
 * lags behind what a leader has proposed by as much as its disk does; judged by it alone, a retry that comes at once would be taken for new.
 *
 * A producer's state stands here until its newest batch is written: the table says the same then. All of it is dropped when
 * leadership is lost, since nobody knows any more what of it will be in the log.
 */
export class ProposedProducers {
  readonly #table: () => ProducerTable;
  /** In the order of their newest batches. */
  readonly #staged = new Map<number, ProducerState>();

  constructor(table: () => ProducerTable) {
    this.#table = table;
  }

  judge(claim: ProducerClaim, appendTime: number): ProducerVerdict {
    return judgeClaim(this.find(claim.producerId, appendTime), claim);
  }

  note(claim: ProducerClaim, placed: PlacedBatch): void {
    const { producerId } = claim;
    const next = advanceProducer(this.find(producerId, placed.appendTime), claim, placed);
    this.#staged.delete(producerId);
    this.#staged.set(producerId, next);
  }

  /** What is known of a producer when the time is `appendTime`. */
  find(producerId: number, appendTime: number): ProducerState | undefined {
    return this.#staged.get(producerId) ?? this.#table().find(producerId, appendTime);
  }

  /** Where the newest batch of a producer begins that is known. */
  newestOffsetOf(producerId: number, appendTime: number): number | undefined {
    const producer = this.find(producerId, appendTime);
    return producer === undefined ? undefined : newestOf(producer).baseOffset;
  }

  /** Records before `nextOffset` are written. */
  written(nextOffset: number): void {
    for (const producer of this.#staged.values()) {
      if (newestOf(producer).baseOffset >= nextOffset) return;
      this.#staged.delete(producer.producerId);
    }
  }

  clear(): void {
    this.#staged.clear();
  }
}
