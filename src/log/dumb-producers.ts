import type { ProducerBatch, ProducerClaim, ProducerLimits } from "./producer-table.ts";

/** An entry of a log: of a producer, or of nobody. */
export interface DumbEntry {
  readonly claim: ProducerClaim | undefined;
  readonly baseOffset: number;
  readonly appendTime: number;
}

interface DumbProducer {
  readonly id: number;
  epoch: number;
  isComplete: boolean;
  /** All of them since it was last unknown, or began anew. */
  batches: ProducerBatch[];
}

/** The dumb twin of the producer table: keeps all entries, and looks through all of them for each question. */
export class DumbProducers {
  readonly #limits: ProducerLimits;
  entries: DumbEntry[] = [];

  constructor(limits: ProducerLimits) {
    this.#limits = limits;
  }

  /** In the order of ids. */
  known(): DumbProducer[] {
    let producers: DumbProducer[] = [];
    for (const { claim, baseOffset, appendTime } of this.entries) {
      producers = this.#alive(producers, appendTime);
      if (claim === undefined) continue;
      const { producerId, producerEpoch, baseSequence, recordCount } = claim;
      const batch = { baseSequence, recordCount, baseOffset, appendTime };
      const producer = producers.find(({ id }) => id === producerId);
      if (producer === undefined || producer.epoch !== producerEpoch || next(producer) !== baseSequence) {
        producers = producers.filter(({ id }) => id !== producerId);
        producers.push({ id: producerId, epoch: producerEpoch, isComplete: baseSequence === 0, batches: [batch] });
      } else producer.batches.push(batch);
      if (producers.length > this.#limits.maxCount) {
        const idle = Math.min(...producers.map(({ batches }) => batches.at(-1)?.baseOffset ?? 0));
        producers = producers.filter(({ batches }) => batches.at(-1)?.baseOffset !== idle);
      }
    }
    return producers.sort((a, b) => a.id - b.id);
  }

  /** A word for what is to be done with the claim, and a number with it. */
  judge(claim: ProducerClaim, appendTime: number): string {
    const producer = this.#alive(this.known(), appendTime).find(({ id }) => id === claim.producerId);
    if (producer === undefined) return "new";
    if (claim.producerEpoch < producer.epoch) return `fenced by ${producer.epoch}`;
    if (claim.producerEpoch > producer.epoch) return claim.baseSequence === 0 ? "new" : "out of order, 0 expected";
    const lastFive = producer.batches.slice(-5);
    for (const { baseSequence, recordCount, baseOffset } of lastFive) {
      if (baseSequence === claim.baseSequence && recordCount === claim.recordCount) return `duplicate of ${baseOffset}`;
    }
    if (claim.baseSequence === next(producer)) return "new";
    const oldest = lastFive[0]?.baseSequence ?? 0;
    const isOld = oldest < next(producer) && claim.baseSequence + claim.recordCount <= oldest;
    return isOld && producer.isComplete ? "too old" : `out of order, ${next(producer)} expected`;
  }

  #alive(producers: readonly DumbProducer[], time: number): DumbProducer[] {
    return producers.filter(({ batches }) => time - (batches.at(-1)?.appendTime ?? 0) <= this.#limits.expiryMs);
  }
}

function next({ batches }: DumbProducer): number {
  const { baseSequence, recordCount } = batches.at(-1) ?? { baseSequence: 0, recordCount: 0 };
  const sum = baseSequence + recordCount;
  return sum > 2 ** 31 - 1 ? sum - 2 ** 31 : sum;
}
