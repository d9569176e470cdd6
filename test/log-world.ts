import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { keepAll } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { type Call, type CallMatch, matches } from "../sim/fault-plan.ts";
import { createSeededRandom } from "../sim/random.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { openLog } from "../src/log/open-log.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { segmentPath, storeSuffix, type SegmentFile } from "../src/log/segment-name.ts";

/** Where the tests' logs begin: the time of the worked example in docs/format.md. */
export const startMs = 1_760_000_000_000;

/**
 * One log on a simulated disk under a virtual clock, and what a test does to it behind its back: ends its process, holds its
 * disk calls, changes its files.
 */
export class LogWorld {
  readonly directory = "/log";
  disk: SimDisk;
  clock: VirtualClock = createVirtualClock(startMs);
  openFiles = new OpenFiles();
  /** Waited for in each asynchronous call: a disk that takes its time. */
  delay: () => Promise<void> = async () => {};
  #holds: CallHold[] = [];
  readonly #isRecording: boolean;

  /** `isRecording` keeps every call in `disk.operations`. */
  constructor({
    disk = createSimDisk(),
    isRecording = false,
  }: { readonly disk?: SimDisk; readonly isRecording?: boolean } = {}) {
    this.#isRecording = isRecording;
    this.disk = disk.endProcess(this.#process());
  }

  open(options: LogOptions = {}): Promise<Log> {
    return this.openAt(this.directory, options);
  }

  /** A log in another directory of the same disk. */
  openAt(directory: string, options: LogOptions = {}): Promise<Log> {
    const { disk, clock, openFiles } = this;
    return openLog(directory, { disk, clock, openFiles, random: createSeededRandom("log-world"), ...options });
  }

  /** Ends the process as kill -9 does: nothing is closed, and what was written is there. */
  kill(): void {
    this.disk = this.disk.endProcess(this.#process());
    // Its timers and descriptors end with it.
    this.clock = createVirtualClock(this.clock.now());
    this.openFiles = new OpenFiles();
    this.#holds = [];
  }

  /** A world of its own with the same files: what is done there doesn't show here. */
  copy(): LogWorld {
    const copied = new LogWorld({ disk: this.disk.crash(keepAll) });
    copied.clock = createVirtualClock(this.clock.now());
    return copied;
  }

  /** Lets everything run that can run without time passing or a held call coming free. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Keeps asynchronous calls that match from taking effect until they are let go. */
  hold(match: CallMatch): CallHold {
    const hold = new CallHold(match);
    this.#holds.push(hold);
    return hold;
  }

  path(baseIndex: number, suffix: SegmentFile = storeSuffix): string {
    return segmentPath(this.directory, baseIndex, suffix);
  }

  file(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** All files of the log with their bytes. */
  files(): Map<string, Buffer> {
    return new Map(this.disk.list(this.directory).map((name) => [name, this.disk.contentOf(this.file(name))]));
  }

  /** Replaces a whole file, or makes it. */
  replace(path: string, bytes: Uint8Array): void {
    this.disk.remove(path);
    const file = this.disk.open(path, "create");
    file.writeSync([bytes], 0);
    file.close();
  }

  truncate(path: string, byteLength: number): void {
    const file = this.disk.open(path, "write");
    file.truncate(byteLength);
    file.close();
  }

  /** Base indexes of the stores that are there. */
  segments(): number[] {
    const names = this.disk.list(this.directory).filter((name) => name.endsWith(storeSuffix));
    return names.map((name) => Number(name.slice(0, -storeSuffix.length)));
  }

  #process(): { readonly isRecording: boolean; readonly delay: (call: Call) => Promise<void> } {
    return {
      isRecording: this.#isRecording,
      delay: async (call) => {
        await this.delay();
        for (const hold of this.#holds) await hold.pass(call);
      },
    };
  }
}

export class CallHold {
  readonly #match: CallMatch;
  readonly #held: (() => void)[] = [];
  #arrived = Promise.withResolvers<void>();
  #isReleased = false;

  constructor(match: CallMatch) {
    this.#match = match;
  }

  /** Resolves as soon as a call is held. */
  get arrived(): Promise<void> {
    return this.#arrived.promise;
  }

  /** Lets all go, and holds none from now on. */
  release(): void {
    this.#isReleased = true;
    for (const letGo of this.#held.splice(0)) letGo();
  }

  async pass(call: Call): Promise<void> {
    if (this.#isReleased || !matches(this.#match, call)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.push(resolve);
    this.#arrived.resolve();
    await promise;
  }
}
