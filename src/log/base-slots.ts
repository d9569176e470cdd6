import { assert } from "../base/assert.ts";
import type { Disk } from "../base/disk.ts";
import { type BaseRecord, type NewestBaseRecord, syncBaseRecord, writeBaseRecord } from "./base-record.ts";

/** The two files of an open log's base record, and which of them is the newer. */
export class BaseSlots {
  readonly #disk: Disk;
  readonly #directory: string;
  #record: BaseRecord;
  #generation: number;
  #slot: 0 | 1;
  /** What the other file says, if it is whole. */
  #other: BaseRecord | undefined;
  #doSlotsAgree: boolean;
  #maxDescribedIndex: number;

  constructor(disk: Disk, directory: string, newest: NewestBaseRecord) {
    this.#disk = disk;
    this.#directory = directory;
    this.#record = newest.record;
    this.#generation = newest.generation;
    this.#slot = newest.slot;
    this.#other = newest.other;
    this.#doSlotsAgree = newest.other !== undefined && saysSameOfTrim(newest.record, newest.other);
    this.#maxDescribedIndex = Math.max(newest.record.describedIndex, newest.other?.describedIndex ?? 0);
  }

  /** Makes both files; the directory has none. */
  static async create(disk: Disk, directory: string, record: BaseRecord): Promise<BaseSlots> {
    for (const slot of [0, 1] as const) await writeBaseRecord(disk, directory, { slot, generation: slot + 1 }, record);
    return new BaseSlots(disk, directory, { record, generation: 2, slot: 1, other: record });
  }

  get record(): BaseRecord {
    return this.#record;
  }

  /** Whether both files say the same of what was trimmed away: then either may rot. */
  get doSlotsAgree(): boolean {
    return this.#doSlotsAgree;
  }

  /** The last entry that either file describes, or may: no other entry of that index may be appended before both say less. */
  get maxDescribedIndex(): number {
    return this.#maxDescribedIndex;
  }

  /** The record that describes the most of the log and nothing behind `index`. */
  findUpTo(index: number): BaseRecord | undefined {
    // One that says less of what was trimmed would miss what lay between.
    const other = this.#doSlotsAgree ? this.#other : undefined;
    return [this.#record, other].find((record) => record !== undefined && record.describedIndex <= index);
  }

  /** Writes both files, one after the other: whichever rots, what was trimmed stays known. */
  async write(record: BaseRecord): Promise<void> {
    this.#doSlotsAgree = false;
    await this.#writeOther(record);
    await this.#writeOther(record);
    this.#doSlotsAgree = true;
    this.#maxDescribedIndex = record.describedIndex;
  }

  /**
   * Writes a record that says the same of what was trimmed, and describes more. One file will do: whoever has to fall back on the
   * other one knows as much of what is gone, and finds the rest in the log.
   */
  async describe(record: BaseRecord): Promise<void> {
    assert(saysSameOfTrim(record, this.#record), "only the description moves on");
    const doSlotsAgree = this.#doSlotsAgree;
    this.#doSlotsAgree = false;
    await this.#writeOther(record);
    this.#doSlotsAgree = doSlotsAgree;
  }

  /** Brings the newer file, as an opening has read it, to the disk. */
  async sync(): Promise<void> {
    await syncBaseRecord(this.#disk, this.#directory, this.#slot);
  }

  /** Makes the other file say what the newer one says. */
  async restoreOther(): Promise<void> {
    await this.#writeOther(this.#record);
    this.#doSlotsAgree = true;
  }

  async #writeOther(record: BaseRecord): Promise<void> {
    const slot = this.#slot === 0 ? 1 : 0;
    const previous = this.#record;
    this.#other = undefined;
    this.#maxDescribedIndex = Math.max(this.#maxDescribedIndex, record.describedIndex);
    await writeBaseRecord(this.#disk, this.#directory, { slot, generation: this.#generation + 1 }, record);
    this.#slot = slot;
    this.#generation += 1;
    // It counts from the first one on: that is what an opening would find.
    this.#record = record;
    this.#other = previous;
  }
}

function saysSameOfTrim(a: BaseRecord, b: BaseRecord): boolean {
  return (
    a.logId.equals(b.logId) &&
    a.baseIndex === b.baseIndex &&
    a.baseTerm === b.baseTerm &&
    a.nextOffset === b.nextOffset &&
    a.logStartOffset === b.logStartOffset
  );
}
