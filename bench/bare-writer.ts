import fs from "node:fs";
import { join } from "node:path";
import { zeroAheadMaxBytes, zeroAheadMinBytes } from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";

/**
 * The ceiling of an append: a loop that writes and syncs the same bytes in the same groups as a log did, with zeros ahead of
 * small groups by the same rule and files of the same size, and does nothing else. No checksum, no index, no promise for a
 * batch. What the log adds to that is what it costs.
 */
export class BareWriter {
  readonly #directory: string;
  /** Written over and over, from front to end: as large as what the log is fed from, so that caches treat both alike. */
  readonly #source: Buffer;
  #sourceAt = 0;
  #fd: number;
  #fileCount = 1;
  #end = 0;
  #zeroEnd = 0;
  #zeroStep: number = zeroAheadMinBytes;
  #zeroing: Promise<void> | undefined;

  constructor(directory: string, source: Buffer) {
    this.#directory = directory;
    this.#source = source;
    this.#fd = this.#open();
  }

  /** Writes groups of these sizes, each synced before the next. Returns the milliseconds that each took. */
  async write(groupBytes: readonly number[]): Promise<number[]> {
    const durations: number[] = [];
    for (const bytes of groupBytes) {
      const start = performance.now();
      await this.#writeGroup(bytes);
      durations.push(performance.now() - start);
      this.#zeroAhead(bytes);
    }
    return durations;
  }

  async close(): Promise<void> {
    await this.#zeroing;
    fs.closeSync(this.#fd);
  }

  #open(): number {
    return fs.openSync(join(this.#directory, `${this.#fileCount}.bare`), "w");
  }

  async #writeGroup(bytes: number): Promise<void> {
    if (this.#end + bytes > segmentBytes) await this.#nextFile();
    if (this.#zeroing !== undefined && this.#end + bytes > this.#zeroEnd) await this.#zeroing;
    for (let left = bytes; left > 0; ) {
      const length = Math.min(left, writeBytes, this.#source.length - this.#sourceAt);
      const written = fs.writeSync(this.#fd, this.#source, this.#sourceAt, length, this.#end);
      this.#sourceAt = (this.#sourceAt + written) % this.#source.length;
      this.#end += written;
      left -= written;
    }
    this.#zeroEnd = Math.max(this.#zeroEnd, this.#end);
    await call((done) => fs.fdatasync(this.#fd, done));
  }

  async #nextFile(): Promise<void> {
    await this.close();
    this.#fileCount += 1;
    this.#fd = this.#open();
    this.#end = 0;
    this.#zeroEnd = 0;
    this.#zeroStep = zeroAheadMinBytes;
  }

  #zeroAhead(groupBytes: number): void {
    if (this.#zeroing !== undefined || groupBytes > smallGroupMaxBytes) return;
    if (this.#zeroEnd - this.#end > Math.max(2 * groupBytes, this.#zeroStep / 4)) return;
    const start = this.#zeroEnd;
    const step = this.#zeroStep;
    this.#zeroStep = Math.min(2 * step, zeroAheadMaxBytes);
    const pieces = Array.from({ length: Math.ceil(step / zeros.length) }, (_, piece) =>
      zeros.subarray(0, Math.min(zeros.length, step - piece * zeros.length)),
    );
    this.#zeroing = call((done) => fs.writev(this.#fd, pieces, start, done)).then(() => {
      this.#zeroEnd = Math.max(this.#zeroEnd, start + step);
      this.#zeroing = undefined;
    });
  }
}

/** As in a log's default options, its writer and its active store. */
const segmentBytes = 256 * MiB;
const writeBytes = 1 * MiB;
const smallGroupMaxBytes = 256 * KiB;

const zeros = Buffer.alloc(256 * KiB);

function call(start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
