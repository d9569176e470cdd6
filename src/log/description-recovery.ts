import { isProglogError } from "../base/error.ts";
import type { BaseSlots } from "./base-slots.ts";
import type { ChainPoint } from "./chain.ts";
import type { Frame } from "./frame.ts";
import type { LogContext } from "./log-context.ts";
import { describedBase, LogDescription } from "./log-description.ts";
import { describeFrame, type ReplayedSegment, replaySegments } from "./replay.ts";
import type { SyncMark } from "./sync-mark.ts";

/**
 * What an opening knows of a log's entries: what the base record says, and what it reads behind that. Entries of the newest segment
 * come from its scan, where there is one. Nothing has to be read of the others, unless a file of the base record rotted, or couldn't
 * be written when it should have been.
 */
export class DescriptionRecovery {
  readonly #context: LogContext;
  readonly #baseSlots: BaseSlots;
  readonly #note: (note: string) => void;
  readonly #description: LogDescription;
  #isWhole = true;

  constructor(context: LogContext, baseSlots: BaseSlots, mark: SyncMark | undefined, note: (note: string) => void) {
    this.#context = context;
    this.#baseSlots = baseSlots;
    this.#note = note;
    const { record } = baseSlots;
    this.#description = LogDescription.of(record, context.producerLimits);
    if (mark === undefined || mark.newsIndex === null) return;
    // The mark knows of no news behind what is described: up to it nothing has to be read.
    if (mark.newsIndex > record.describedIndex || mark.index < record.describedIndex) return;
    this.#description.passOver(mark);
    this.#description.knowNews(mark.newsIndex);
  }

  /** Reads what isn't known yet of segments that end before `endIndex`. A log opens though they are damaged. */
  async replay(segments: readonly ReplayedSegment[], endIndex: number): Promise<void> {
    await replaySegments(this.#context, segments, endIndex, this.#description, (segment, error) => {
      if (!isProglogError(error, "LOG_CORRUPT")) throw error;
      this.#note(`which producers wrote to ${segment.storePath} isn't known: ${error.message}`);
      this.#isWhole = false;
    });
  }

  /** An entry of the newest segment. */
  noteFrame(frame: Frame): void {
    describeFrame(this.#description, frame);
  }

  /** What is known when `last` is the log's last entry. No base record on disk describes more than that afterwards. */
  async finish(last: ChainPoint): Promise<LogDescription> {
    const description = this.#description.index > last.index ? this.#description.cutTo(last) : this.#description;
    description.passOver(last);
    // Of what couldn't be read nobody knows whether it was news, so the next base record is to say what is known now.
    if (!this.#isWhole) description.knowNews(last.index);
    const { record, maxDescribedIndex } = this.#baseSlots;
    if (maxDescribedIndex > last.index) {
      await this.#baseSlots.write(describedBase(record, description));
      this.#note(`the base record described the log up to entry ${maxDescribedIndex}, and it ends with ${last.index}`);
    }
    return description;
  }
}
