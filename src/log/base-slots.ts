import type { Disk } from "../base/disk.ts";
import { type BaseRecord, type NewestBaseRecord, syncBaseRecord, writeBaseRecord } from "./base-record.ts";

/** The two files of an open log's base record, and which of them is the newer. */
export class BaseSlots {
  readonly #disk: Disk;
  readonly #directory: string;
  #record: BaseRecord;
  #generation: number;
  #slot: 0 | 1;
  #doSlotsAgree: boolean;

  constructor(disk: Disk, directory: string, newest: NewestBaseRecord) {
    this.#disk = disk;
    this.#directory = directory;
    this.#record = newest.record;
    this.#generation = newest.generation;
    this.#slot = newest.slot;
    this.#doSlotsAgree = newest.other !== undefined && saysSameOfTrim(newest.record, newest.other);
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

  /** Writes both files, one after the other: whichever rots, what was trimmed stays known. */
  async write(record: BaseRecord): Promise<void> {
    this.#doSlotsAgree = false;
    await this.#writeOther(record);
    await this.#writeOther(record);
    this.#doSlotsAgree = true;
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
    await writeBaseRecord(this.#disk, this.#directory, { slot, generation: this.#generation + 1 }, record);
    this.#slot = slot;
    this.#generation += 1;
    // It counts from the first one on: that is what an opening would find.
    this.#record = record;
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
