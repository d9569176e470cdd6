import assert from "node:assert/strict";
import { isProglogError } from "../src/base/error.ts";
import type { AppendResult, Log, LogOptions } from "../src/log/log.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { openLog } from "../src/log/open-log.ts";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import type { SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { checkOwed, nothingOwed, type OwedRecords, settle } from "./owed-records.ts";
import { batchesOf, checkRetries, producerOf, tagNext } from "./tagged-values.ts";

export const logDirectory = "/log";

export interface OwingLogOptions {
  readonly log?: LogOptions;
  /** What the log on the disk owes already; nothing when not given. */
  readonly owed?: OwedRecords;
  /** Called whenever what the log owes has changed: a place to take a crash image. */
  readonly onChange?: () => void;
}

/** The same for all, so that equal histories make equal files. */
const startTime = 1_760_000_000_000;

/**
 * A log on a simulated disk, with a book beside it of what the log owes: each operation is entered before it begins, as what may
 * happen, and when it resolves, as what did. So at any moment, in the middle of a call too, `owed` tells what a crash may leave.
 */
export class OwingLog {
  readonly disk: SimDisk;
  readonly clock: VirtualClock = createVirtualClock(startTime);
  readonly #options: OwingLogOptions;
  #log: Log | undefined;
  #acknowledged: (readonly string[])[] = [];
  /** Appends whose outcome isn't known, in order: under way, or ended by a failure that leaves it open. */
  #underWay: (readonly string[])[] = [];
  /** Acknowledged batches that were synced. */
  #syncedCount = 0;
  /** A truncation to here is under way, or has failed half-way. */
  #keepMin = Number.POSITIVE_INFINITY;
  /** What was under way when the log was opened and isn't there. */
  #lost: readonly string[] = [];
  #startMin = 0;
  #startMax = 0;

  constructor(disk: SimDisk, options: OwingLogOptions = {}) {
    this.disk = disk;
    this.#options = options;
    this.#take(options.owed ?? nothingOwed);
  }

  /** Opens the log on the disk, and checks what it holds. */
  static async open(disk: SimDisk, options: OwingLogOptions = {}): Promise<OwingLog> {
    const owing = new OwingLog(disk, options);
    await owing.open();
    return owing;
  }

  get log(): Log {
    assert.ok(this.#log !== undefined, "the log is open");
    return this.#log;
  }

  get isOpen(): boolean {
    return this.#log !== undefined;
  }

  /** What the log owes to a power cut now. */
  owed(): OwedRecords {
    return this.#owed(this.#isSyncedAlways ? this.#acknowledged.length : this.#syncedCount);
  }

  /** What it owes when only the process dies, and to its readers. */
  owedToKill(): OwedRecords {
    return this.#owed(this.#acknowledged.length);
  }

  async open(): Promise<void> {
    const owed = this.owed();
    this.#log = await openLog(logDirectory, {
      index: "heap",
      openFiles: new OpenFiles(),
      ...this.#options.log,
      disk: this.disk,
      clock: this.clock,
      random: createSeededRandom("the log's id"),
    });
    assert.equal(this.#log.highWatermark, this.#log.logEndOffset, "what an opened log holds is durable");
    const settled = settle(this.#log, owed);
    this.#take(settled);
    this.#lost = owed.values.slice(settled.values.length);
    this.#changed();
    await checkOwed(this.#log, settled);
    await checkRetries(this.#log, settled.values);
  }

  /** Tags the values of one batch as the next of a producer: appended then, they are sent as that producer's. */
  tagged(producerId: number, ...values: readonly string[]): string[] {
    return tagNext(producerId, values, [...this.#acknowledged, ...this.#underWay].flat());
  }

  /** Appends what producers had sent and the crash before the opening took away, as they do who got no answer. */
  async retryLost(): Promise<void> {
    for (const batch of batchesOf(this.#lost)) {
      const { isDuplicate } = await this.append(...batch.values);
      assert.equal(isDuplicate, false, "what isn't there is appended");
    }
    await checkRetries(this.log, this.owedToKill().values);
  }

  /** Appends one batch, as a producer's where the values are tagged. */
  async append(...values: readonly string[]): Promise<AppendResult> {
    this.#underWay.push(values);
    let result: AppendResult;
    try {
      const records = values.map((value) => ({ value }));
      result = await this.log.append(records, producerOf(values));
    } catch (error) {
      if (!isOutcomeUnknown(error)) this.#underWay.splice(this.#underWay.indexOf(values), 1);
      throw error;
    }
    assert.equal(this.#underWay.shift(), values, "appends are acknowledged in order");
    assert.equal(result.baseOffset, endOf(this.#acknowledged), "an append gets the next offset");
    assert.equal(result.count, values.length);
    this.#acknowledged.push(values);
    if (result.isDurable) this.#syncedCount = this.#acknowledged.length;
    this.#changed();
    return result;
  }

  /** Appends batches of one value each in the same turn, so that they make a group. */
  async appendGroup(...values: readonly string[]): Promise<void> {
    await Promise.all(values.map((value) => this.append(value)));
  }

  async truncate(offset: number): Promise<void> {
    const keepMinBefore = this.#keepMin;
    this.#keepMin = Math.min(keepMinBefore, offset);
    try {
      await this.log.truncate(offset);
    } catch (error) {
      if (!isOutcomeUnknown(error)) this.#keepMin = keepMinBefore;
      throw error;
    }
    while (endOf(this.#acknowledged) > offset) this.#acknowledged.pop();
    this.#syncedCount = this.#acknowledged.length;
    this.#keepMin = Number.POSITIVE_INFINITY;
    this.#changed();
  }

  async trim(offset: number): Promise<void> {
    this.#startMax = Math.max(this.#startMax, offset);
    await this.log.trim(offset);
    this.#startMin = Math.max(this.#startMin, offset);
    this.#changed();
  }

  async applyRetention(): Promise<void> {
    this.#startMax = endOf(this.#acknowledged);
    await this.log.applyRetention();
    this.#startMin = this.log.logStartOffset;
    this.#startMax = this.#startMin;
    this.#changed();
  }

  async sync(): Promise<void> {
    const count = this.#acknowledged.length;
    await this.log.sync();
    this.#syncedCount = Math.max(this.#syncedCount, count);
    this.#changed();
  }

  /** Lets so much time pass that the sync mark is synced, and waits for that. */
  async idle(): Promise<void> {
    this.clock.advance(1_000);
    await this.sync();
  }

  async close(): Promise<void> {
    const count = this.#acknowledged.length;
    const log = this.log;
    this.#log = undefined;
    await log.close();
    this.#syncedCount = count;
    this.#changed();
  }

  async reopen(): Promise<void> {
    await this.close();
    await this.open();
  }

  /** Reads everything, and throws where the open log doesn't show what it owes. */
  async check(): Promise<void> {
    await checkOwed(this.log, this.owedToKill());
  }

  #take(owed: OwedRecords): void {
    const end = owed.ends[0] ?? 0;
    // Where one batch ended and the next began is known no more of what is there for good.
    this.#acknowledged = owed.values.slice(0, end).map((value) => [value]);
    this.#underWay = [];
    let from = end;
    for (const to of owed.ends.slice(1)) {
      this.#underWay.push(owed.values.slice(from, to));
      from = to;
    }
    this.#syncedCount = this.#acknowledged.length;
    this.#keepMin = Number.POSITIVE_INFINITY;
    this.#startMin = owed.startMin;
    this.#startMax = owed.startMax;
  }

  #owed(keptCount: number): OwedRecords {
    const kept = this.#acknowledged.slice(0, keptCount);
    const open = [...this.#acknowledged.slice(keptCount), ...this.#underWay];
    const ends = [endOf(kept)];
    for (const batch of open) ends.push((ends.at(-1) ?? 0) + batch.length);
    if (this.#keepMin < endOf(kept)) {
      const before = kept.map((_, count) => endOf(kept.slice(0, count)));
      ends.unshift(...before.filter((end) => end >= this.#keepMin));
    }
    return { values: [...kept, ...open].flat(), ends, startMin: this.#startMin, startMax: this.#startMax };
  }

  get #isSyncedAlways(): boolean {
    return (this.#options.log?.sync ?? "always") === "always";
  }

  #changed(): void {
    this.#options.onChange?.();
  }
}

function endOf(batches: readonly (readonly string[])[]): number {
  return batches.reduce((sum, batch) => sum + batch.length, 0);
}

/** The one code that leaves open whether something was done. */
function isOutcomeUnknown(error: unknown): boolean {
  return !isProglogError(error) || error.code === "DISK_FAILED";
}
