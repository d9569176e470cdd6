import { runClusterSeed } from "./cluster/run-cluster-seed.ts";
import { createSeededRandom } from "./random.ts";
import type { Violation } from "./violation.ts";
import { World } from "./world.ts";
import { planFaults, scheduleFaults } from "./world-faults.ts";
import { drawSettings, type WorldSize } from "./world-settings.ts";

/** A world of one group, short or long, or one of whole nodes. */
export type RunSize = WorldSize | "cluster";

export const runSizes: readonly RunSize[] = ["lite", "full", "cluster"];

export interface RunOptions {
  /** Default "lite". */
  readonly size?: RunSize;
  /** The faults that stay, by id; all when not given. */
  readonly faults?: ReadonlySet<number>;
  /** How many of the last lines of the story are kept. Default 0: none, and the run is quicker. */
  readonly storyLines?: number;
  /** Lets all disks lie about syncs: a run that has to fail. */
  readonly hasLyingDisks?: boolean;
}

export interface RunResult {
  readonly seed: string;
  readonly size: RunSize;
  readonly traceHash: string;
  readonly violation: Violation | undefined;
  readonly story: readonly string[];
  readonly faults: readonly RunFault[];
  readonly figures: RunFigures;
}

/** A fault of the plan. */
export interface RunFault {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  readonly node: number;
  readonly durationMs: number;
}

export interface RunFigures {
  readonly nodes: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly messages: number;
  readonly lostMessages: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly refused: number;
  readonly reads: number;
  readonly entries: number;
  readonly elections: number;
  readonly truncations: number;
  readonly faults: number;
  /** What the operator of whole nodes was told is done, and the partitions that there are in the end. */
  readonly changes?: number;
  readonly partitions?: number;
  /** How often something rotted. */
  readonly rotten?: number;
  /** Files of segments that went since their records were trimmed. */
  readonly trimmed?: number;
}

/** One seed is one run. */
export async function runSeed(seed: string, options: RunOptions = {}): Promise<RunResult> {
  const { size = "lite", storyLines = 0, hasLyingDisks = false } = options;
  if (size === "cluster") return runClusterSeed(seed, options);
  const random = createSeededRandom(`${size} ${seed}`);
  const settings = { ...drawSettings(random.fork("settings"), size), hasLyingDisks };
  const planned = planFaults(random.fork("faults"), settings);
  const faults = planned.filter(({ id }) => options.faults?.has(id) ?? true);
  const world = new World(random.fork("world"), settings, storyLines);
  scheduleFaults(world, faults, random.seed);
  try {
    await world.begin();
    if (await world.run(settings.safetyMs)) {
      world.heal();
      await world.prove();
      if (world.violation === undefined) await world.finish();
    }
  } catch (error) {
    world.failed(error);
  }
  const { history, watch, network, trace } = world;
  return {
    seed,
    size,
    traceHash: trace.hash,
    violation: world.violation,
    story: trace.story(),
    faults,
    figures: {
      nodes: world.slots.length,
      simulatedMs: Math.round(world.nowMs),
      events: trace.eventCount,
      messages: network.sentCount,
      lostMessages: network.lostCount,
      acknowledged: history.acknowledgedCount,
      unknown: history.unknownCount,
      refused: history.refusedCount,
      reads: history.readCount,
      entries: watch.committed.length,
      elections: watch.electionCount,
      truncations: watch.truncationCount,
      faults: faults.length,
    },
  };
}
