import { crc32c } from "../src/batch/crc32c.ts";
import { messageOf } from "../src/base/error.ts";
import { type CrashChoice, type CrashPoint, countChoices, everyChoice, keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import type { SimDisk } from "../sim/disk.ts";
import type { Call, CallKind } from "../sim/fault-plan.ts";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { logDirectory, OwingLog, type OwingLogOptions } from "./owing-log.ts";
import type { OwedRecords } from "./owed-records.ts";

/** PROVE=1 tries many more images of each moment: minutes instead of seconds. */
export const isProving = process.env["PROVE"] === "1";

/** A disk that a power cut may leave, and what the log on it owes. */
export interface Crash {
  readonly image: SimDisk;
  readonly owed: OwedRecords;
  /** When the power went, for reports. */
  readonly moment: string;
}

/** What happens until the power goes. It opens its log by way of the stage, which then knows what the log owes. */
export type Workload = (stage: Stage) => Promise<void>;

export interface ExploreOptions {
  /** Above so many combinations of what was lost and kept at one moment, so many are tried by chance. */
  readonly imagesMax: number;
  /** What to try instead, at each moment. */
  readonly choices?: readonly CrashChoice[];
  /** Images that were tried before: equal ones aren't tried again. */
  readonly tried: TriedImages;
}

/**
 * Runs a workload from `start` and cuts the power at every moment of it: before each call to the disk, and after each
 * acknowledgement. For each moment all combinations are tried of what the cut may lose, or many by chance where they are too
 * many. `check` is called with each image that differs from those before, once the workload is through.
 */
export async function forEachCrash(
  workload: Workload,
  check: (crash: Crash) => Promise<void>,
  start: Crash,
  options: ExploreOptions,
): Promise<void> {
  const { imagesMax, tried } = options;
  const crashes: Crash[] = [];
  let lastDecisions = "";
  await play(workload, start, (disk, owed, moment) => {
    const points = disk.crashPoints();
    // Most calls change nothing that a crash could lose.
    const decisions = JSON.stringify([owed, points]);
    if (decisions === lastDecisions) return;
    lastDecisions = decisions;
    tried.momentCount += 1;
    for (const choice of options.choices ?? choicesOf(points, imagesMax, tried.random)) {
      const image = disk.crash(choice, { isRecording: false });
      tried.imageCount += 1;
      if (tried.isNew(image, owed)) crashes.push({ image, owed, moment });
    }
  });
  for (const crash of crashes) await reporting(crash, check);
}

/** Runs a workload and cuts the power at one of its first `momentMax` moments, by chance. */
export async function crashOnce(workload: Workload, start: Crash, momentMax: number, random: SeededRandom): Promise<Crash> {
  let left = 1 + random.integer(momentMax);
  let crash: Crash | undefined;
  await play(workload, start, (disk, owed, moment) => {
    left -= 1;
    if (left >= 0) crash = { image: disk.crash(randomChoice(random), { isRecording: false }), owed, moment };
  });
  return crash ?? start;
}

/** Calls that change something. */
const changingCalls: readonly CallKind[] = [
  "create",
  "write",
  "truncate",
  "datasync",
  "rename",
  "remove",
  "make-directory",
  "sync-directory",
];

/**
 * Runs a workload again and again, and kills its process at each call that changes something. `check` is given the disk as the
 * next process finds it: with everything that was written, and much of it not synced.
 */
export async function forEachKill(workload: Workload, check: (crash: Crash) => Promise<void>, start: Crash): Promise<number> {
  for (let nth = 1; ; nth += 1) {
    let left = nth;
    const { promise: killed, resolve } = Promise.withResolvers<Crash>();
    const ended = play(workload, start, (disk, owed, moment, call) => {
      if (call === undefined || !changingCalls.includes(call.kind)) return;
      left -= 1;
      if (left === 0)
        resolve({ image: disk.endProcess({ isRecording: false }), owed, moment: `${moment}, of the process only,` });
    });
    // What was killed fails or never ends: its calls aren't answered any more.
    const unharmed = ended.then(() => undefined);
    unharmed.catch(() => {});
    const crash = await Promise.race([killed, unharmed]);
    if (crash === undefined) return nth - 1;
    await reporting(crash, check);
  }
}

/** Calls `check`, and says with its error which crash it was. */
export async function reporting(crash: Crash, check: (crash: Crash) => Promise<void>): Promise<void> {
  try {
    await check(crash);
  } catch (error) {
    const files = digestOf(crash.image).replaceAll(/:\d+(?= |$)/g, "");
    throw new Error(`${messageOf(error)}\nafter a crash ${crash.moment}\nwith ${files}\nowed ${JSON.stringify(crash.owed)}`, {
      cause: error,
    });
  }
}

/** What was explored so far in one proof. */
export class TriedImages {
  readonly random: SeededRandom;
  readonly #keys = new Set<string>();
  /** Moments at which the power was cut. */
  momentCount = 0;
  /** Images made, equal ones counted each time. */
  imageCount = 0;

  constructor(seed: string) {
    this.random = createSeededRandom(seed);
  }

  /** Different images that were checked. */
  get count(): number {
    return this.#keys.size;
  }

  /** True the first time that it is asked for this image and this debt. */
  isNew(image: SimDisk, owed: OwedRecords): boolean {
    const sizeBefore = this.#keys.size;
    this.#keys.add(`${digestOf(image)} ${JSON.stringify(owed)}`);
    return this.#keys.size > sizeBefore;
  }
}

/** Where a workload runs. */
export interface Stage {
  readonly disk: SimDisk;
  /** Opens the log on the disk and checks it. From then on it is what it owes that counts. */
  openLog(options: StageLogOptions): Promise<OwingLog>;
}

export interface StageLogOptions extends Omit<OwingLogOptions, "owed" | "onChange"> {
  /** Whether what ends the workload is a power cut (default), or only the end of the process. */
  readonly owes?: "kill";
}

async function play(
  workload: Workload,
  start: Crash,
  look: (disk: SimDisk, owed: OwedRecords, moment: string, call?: Call) => void,
): Promise<void> {
  let owed = (): OwedRecords => start.owed;
  let momentCount = 0;
  const lookNow = (when: string, call?: Call): void => {
    momentCount += 1;
    look(disk, owed(), `${start.moment === "" ? "" : `${start.moment}, then `}at moment ${momentCount}, ${when}`, call);
  };
  const disk: SimDisk = start.image.crash(keepAll, {
    isRecording: false,
    onCall: (call) => lookNow(`before ${call.kind} ${call.path} ${call.position ?? ""}`, call),
  });
  try {
    await workload({
      disk,
      async openLog(options) {
        const onChange = (): void => lookNow("after an acknowledgement");
        const log = new OwingLog(disk, { ...options, owed: start.owed, onChange });
        owed = () => (options.owes === "kill" ? log.owedToKill() : log.owed());
        await log.open();
        return log;
      },
    });
    lookNow("at the end");
  } finally {
    disk.turnOff();
  }
}

function choicesOf(points: readonly CrashPoint[], imagesMax: number, random: SeededRandom): Iterable<CrashChoice> {
  if (countChoices(points) <= imagesMax) return everyChoice(points);
  return [loseAll, keepAll, ...Array.from({ length: imagesMax - 2 }, () => randomChoice(random))];
}

/** Name, length and checksum of each file. */
function digestOf(image: SimDisk): string {
  if (!image.isDirectory(logDirectory)) return "no directory";
  return image
    .list(logDirectory)
    .map((name) => {
      const content = image.contentOf(`${logDirectory}/${name}`);
      return `${name}:${content.length}:${crc32c(content)}`;
    })
    .join(" ");
}
