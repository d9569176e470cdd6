import type { StoredRecord } from "../batch/record.ts";
import type { StoredBatch } from "./log.ts";

type Step = IteratorResult<StoredRecord, void>;

/**
 * The records of batches, one by one. Written out because an async generator takes three turns of the microtask queue for each
 * `yield`, which halves the rate of a consumer of small records; here a record of a batch that is there already takes one.
 */
export class RecordIterator implements AsyncGenerator<StoredRecord, void, undefined> {
  readonly #batches: AsyncGenerator<StoredBatch, void, undefined>;
  readonly #from: () => number;
  #left: number;
  #records: readonly StoredRecord[] = [];
  #position = 0;
  /** Calls that aren't answered yet: later ones wait for them, as those of a generator do. */
  #waitingCount = 0;
  #lastStep: Promise<unknown> = Promise.resolve();

  /** Records below `from` are passed over; it is asked once the first batch is there. */
  constructor(
    batches: AsyncGenerator<StoredBatch, void, undefined>,
    options: { readonly from: () => number; readonly limit: number },
  ) {
    this.#batches = batches;
    this.#from = options.from;
    this.#left = options.limit;
  }

  next(): Promise<Step> {
    const record = this.#waitingCount === 0 ? this.#take() : undefined;
    if (record !== undefined) return Promise.resolve({ value: record, done: false });
    return this.#inTurn(() => this.#fetch());
  }

  return(): Promise<Step> {
    return this.#inTurn(() => this.#end());
  }

  async throw(error: unknown): Promise<Step> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #inTurn(step: () => Promise<Step>): Promise<Step> {
    this.#waitingCount += 1;
    const result = this.#lastStep.then(step).finally(() => {
      this.#waitingCount -= 1;
    });
    this.#lastStep = result.catch(() => {});
    return result;
  }

  /** The next record of the batch that is there. */
  #take(): StoredRecord | undefined {
    const record = this.#left > 0 ? this.#records[this.#position] : undefined;
    if (record === undefined) return undefined;
    this.#position += 1;
    this.#left -= 1;
    return record;
  }

  async #fetch(): Promise<Step> {
    try {
      for (;;) {
        const record = this.#take();
        if (record !== undefined) return { value: record, done: false };
        if (this.#left <= 0) return await this.#end();
        const { value: batch, done } = await this.#batches.next();
        if (done === true || batch === undefined) return await this.#end();
        this.#records = batch.records();
        // The first batch may begin before the offset that was asked for.
        const from = this.#from();
        this.#position = batch.baseOffset >= from ? 0 : this.#records.filter(({ offset }) => offset < from).length;
      }
    } catch (error) {
      await this.#end();
      throw error;
    }
  }

  async #end(): Promise<Step> {
    this.#left = 0;
    this.#records = [];
    await this.#batches.return();
    return { value: undefined, done: true };
  }
}
