import { isProglogError } from "../base/error.ts";
import { lineBatchBytes } from "../base/limits.ts";
import { checkRecord, packedRecordOverheadBytes, type RecordInput } from "../batch/record.ts";

/**
 * Packs the records of many callers into one batch. A record that goes alone costs 117 bytes of batch and frame, a checksum, an
 * entry in the index and a place in the queue; a thousand callers with a record each have one of all that.
 *
 * Nobody is kept waiting for company. What comes in one turn of the loop goes together; while two batches are under way (one
 * being synced, one behind it, so that the disk is never idle), what comes is gathered, and goes when one of them is done or
 * when it is large enough. So a single caller pays nothing, and batches grow with the load.
 *
 * Each caller's records stay together and in order: a batch is appended whole or not at all. When a batch is refused for what
 * is in it, its callers' records are appended caller by caller, so that only the guilty one hears of it; in the same turn of the
 * loop, so that nothing that came later gets before them.
 */
export class RecordPacker<Answer extends PackedAnswer> {
  readonly #prepare: PrepareAppend<Answer>;
  #parcels: Parcel<Answer>[] = [];
  /** Of the records in `#parcels`. */
  #bytes = 0;
  #underWay = 0;
  #isFlushDue = false;

  constructor(prepare: PrepareAppend<Answer>) {
    this.#prepare = prepare;
  }

  /** Records that wait for company or for their turn, in bytes: never much more than one batch's worth. */
  get gatheredBytes(): number {
    return this.#bytes;
  }

  /** Appends `records`, at least one, and resolves with the answer for these alone. Throws INVALID_RECORD or RECORD_TOO_LARGE. */
  async append(records: readonly RecordInput[]): Promise<Answer> {
    let bytes = 0;
    for (const record of records) bytes += checkRecord(record) + packedRecordOverheadBytes;
    if (this.#bytes + bytes > lineBatchBytes) this.flush();
    // What fills a batch by itself gains nothing from company. Flushed before, so that the order is kept.
    if (bytes > lineBatchBytes) return this.#prepare(records)();
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#parcels.push({ records, resolve, reject });
    this.#bytes += bytes;
    if (!this.#isFlushDue && this.#underWay < underWayMaxCount) {
      this.#isFlushDue = true;
      queueMicrotask(() => {
        this.#isFlushDue = false;
        this.flush();
      });
    }
    return promise;
  }

  /** Hands over what was gathered. Whoever appends past this packer calls it first, so that what came before lies before. */
  flush(): void {
    const parcels = this.#parcels;
    if (parcels.length === 0) return;
    this.#parcels = [];
    this.#bytes = 0;
    this.#appendTogether(parcels);
  }

  #appendTogether(parcels: readonly Parcel<Answer>[]): void {
    const records = parcels.length === 1 ? (parcels[0]?.records ?? []) : parcels.flatMap((parcel) => parcel.records);
    let append: () => Promise<Answer>;
    try {
      append = this.#prepare(records);
    } catch (error) {
      const isShared = parcels.length > 1 && refusalsOfRecords.some((code) => isProglogError(error, code));
      for (const parcel of parcels) {
        if (isShared) this.#appendTogether([parcel]);
        else parcel.reject(error);
      }
      return;
    }
    this.#underWay += 1;
    void this.#answer(parcels, append());
  }

  /** Never rejects: the callers hear of failures. */
  async #answer(parcels: readonly Parcel<Answer>[], appended: Promise<Answer>): Promise<void> {
    try {
      const answer = await appended;
      this.#arrived();
      let position = 0;
      for (const { records: own, resolve } of parcels) {
        const baseOffset = answer.baseOffset + position;
        position += own.length;
        resolve({ ...answer, baseOffset, lastOffset: baseOffset + own.length - 1, count: own.length });
      }
    } catch (error) {
      this.#arrived();
      for (const { reject } of parcels) reject(error);
    }
  }

  #arrived(): void {
    this.#underWay -= 1;
    this.flush();
  }
}

/** Throws what is wrong with records that are to be one batch; else what it returns appends them, and settles when that is decided. */
export type PrepareAppend<Answer> = (records: readonly RecordInput[]) => () => Promise<Answer>;

/** What an append is answered with; the rest of it holds for all records of a batch. */
export interface PackedAnswer {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly count: number;
}

interface Parcel<Answer> {
  readonly records: readonly RecordInput[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** One that is synced, and the next, which is packed and checked meanwhile. */
const underWayMaxCount = 2;

/** What says that a batch was refused for the records that are in it. */
const refusalsOfRecords = ["INVALID_RECORD", "RECORD_TOO_LARGE", "INVALID_BATCH", "BATCH_TOO_LARGE"] as const;
