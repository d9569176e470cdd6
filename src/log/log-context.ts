import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Mmap } from "../base/mmap.ts";
import type { Random } from "../base/random.ts";
import type { DamageBook } from "./damage-book.ts";
import type { LogObserver } from "./log-observer.ts";
import type { OpenFiles } from "./open-files.ts";
import type { ProducerLimits } from "./producer-table.ts";

/** What every part of one log needs, and none of them changes. */
export interface LogContext {
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observer: LogObserver;
  readonly openFiles: OpenFiles;
  readonly damages: DamageBook;
  /** Set when index files are to be mapped into memory. */
  readonly mmap: Mmap | undefined;
  readonly producerLimits: ProducerLimits;
  readonly logId: Buffer;
  /** Of every crc of this log. */
  readonly seed: number;
}
