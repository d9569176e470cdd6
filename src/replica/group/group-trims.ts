import type { Clock, Timer } from "../../base/clock.ts";
import { isProglogError } from "../../base/error.ts";
import { diskFullRetryMs } from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import { decodeTrim, encodeTrim } from "../../log/control-entries.ts";
import { checkOffset, outOfRangeError } from "../../log/offset-range.ts";
import type { ReplicaLog } from "../../log/replica-log.ts";

/**
 * How the log start moves: the leader decides and proposes an entry that says so, and each replica trims when that entry is committed and on its
 * own disk. So all begin at the same offset, and a replica that leads next has no records that were deleted.
 *
 * What some member still has to be sent stays: a trim goes no further than what all of them have on their disks, but for those that
 * haven't been heard of for so long that they are to be replaced.
 */
export class GroupTrims {
  readonly #parts: TrimParts;
  /** Of the last trim entry that was carried out or passed over. */
  #doneIndex = 0;
  #isRunning = false;
  #retry: Timer | undefined;
  #isEnded = false;

  constructor(parts: TrimParts) {
    this.#parts = parts;
  }

  /**
   * On the leader: makes `offset` the log start, or as much below it as is on all members' disks. Resolves with the new log start once that is
   * committed.
   */
  async trim(offset: number): Promise<number> {
    checkOffset("trim to", offset);
    const { log, propose } = this.#parts;
    const { highWatermark } = log.log;
    if (offset > highWatermark) throw outOfRangeError("trim to", offset, highWatermark, log.log);
    const keptOffset = await log.findEndOf(this.#keptIndex());
    const newStart = Math.min(offset, keptOffset);
    if (newStart <= log.log.logStartOffset) return log.log.logStartOffset;
    await propose(encodeTrim(newStart), false);
    return newStart;
  }

  /** On the leader: what the retention options say, for all replicas. */
  async applyRetention(): Promise<void> {
    const { log, propose } = this.#parts;
    const { offset, mustSeal } = await log.findRetention(this.#keptIndex());
    if (offset === undefined && !mustSeal) return;
    await propose(encodeTrim(offset ?? log.log.logStartOffset), mustSeal);
  }

  /** More is shown: trims among it are carried out. */
  shown(): void {
    const newest = this.#parts.log.controls.entries.at(-1);
    if (newest === undefined || newest.index <= this.#doneIndex || this.#isRunning || this.#retry !== undefined) return;
    this.#isRunning = true;
    void this.#run();
  }

  end(): void {
    this.#isEnded = true;
    this.#retry?.cancel();
  }

  /** Never rejects: a trim that can't be done now is done later. */
  async #run(): Promise<void> {
    const { log, trimmed } = this.#parts;
    try {
      for (;;) {
        const { shownIndex } = log;
        const due = log.controls.entries.filter(({ index }) => index > this.#doneIndex && index <= shownIndex);
        const last = due.at(-1);
        if (last === undefined || this.#isEnded) return;
        const offsets = due.filter(({ kind }) => kind === "trim").map(({ payload }) => decodeTrim(payload));
        const offset = Math.max(0, ...offsets);
        if (offset > log.log.logStartOffset) {
          await log.trim(Math.min(offset, log.log.highWatermark));
          if (this.#isEnded) return;
          trimmed();
        }
        this.#doneIndex = last.index;
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isRunning = false;
    }
  }

  #failed(error: unknown): void {
    const { clock, logger, failed } = this.#parts;
    // A log that is closed or poisoned has told so itself.
    if (this.#isEnded || isProglogError(error, "LOG_CLOSED") || isProglogError(error, "LOG_POISONED")) return;
    if (!isProglogError(error, "DISK_FULL") && !isProglogError(error, "OVERLOADED")) {
      failed(error);
      return;
    }
    logger.warn({ error }, "could not trim a log yet");
    this.#retry = clock.setTimer(diskFullRetryMs, () => {
      this.#retry = undefined;
      if (!this.#isEnded) this.shown();
    });
  }

  #keptIndex(): number {
    return Math.min(this.#parts.log.shownIndex, this.#parts.keptIndex());
  }
}

export interface TrimParts {
  readonly log: ReplicaLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Up to here all members that count have the log on their disks. */
  readonly keptIndex: () => number;
  readonly propose: (payload: Buffer, beginsSegment: boolean) => Promise<void>;
  /** The log begins behind another base now. */
  readonly trimmed: () => void;
  readonly failed: (error: unknown) => void;
}
