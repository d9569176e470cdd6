import type { RunOptions, RunResult } from "../run-seed.ts";
import { createSeededRandom } from "../random.ts";
import { planClusterFaults, scheduleClusterFaults } from "./cluster-faults.ts";
import { checkFiles, checkHistories, closeAll, proveLiveness } from "./cluster-rest.ts";
import { drawClusterSettings } from "./cluster-settings.ts";
import { ClusterWorld } from "./cluster-world.ts";

/** One seed is one run, of whole nodes. */
export async function runClusterSeed(seed: string, options: RunOptions): Promise<RunResult> {
  const { storyLines = 0, hasLyingDisks = false } = options;
  const random = createSeededRandom(`cluster ${seed}`);
  const settings = { ...drawClusterSettings(random.fork("settings")), hasLyingDisks };
  const planned = planClusterFaults(random.fork("faults"), settings);
  const faults = planned.filter(({ id }) => options.faults?.has(id) ?? true);
  const world = new ClusterWorld(random.fork("world"), settings, storyLines);
  scheduleClusterFaults(world, faults, random.seed);
  try {
    await world.begin();
    if (await world.run(settings.safetyMs)) {
      world.heal();
      await proveLiveness(world);
      await checkHistories(world);
      await checkFiles(world);
      await closeAll(world);
    }
  } catch (error) {
    world.failed(error);
  }
  const { network, trace } = world;
  const clients = [...world.clients, ...world.realClients];
  const sum = (of: (client: (typeof clients)[number]) => number): number =>
    clients.reduce((total, client) => total + of(client), 0);
  return {
    seed,
    size: "cluster",
    traceHash: trace.hash,
    violation: world.violation,
    story: trace.story(),
    faults,
    figures: {
      nodes: world.machines.length,
      simulatedMs: Math.round(world.nowMs),
      events: trace.eventCount,
      messages: network.sentCount,
      lostMessages: network.lostCount,
      acknowledged: sum(({ acknowledgedCount }) => acknowledgedCount),
      unknown: sum(({ unknownCount }) => unknownCount),
      refused: sum(({ refusedCount }) => refusedCount),
      reads: sum(({ readCount }) => readCount),
      entries: 0,
      elections: world.checks.electionCount,
      truncations: 0,
      faults: faults.length,
      changes: world.operator.doneCount,
      partitions: world.partitions.length,
      rotten: world.rot.struckCount,
      trimmed: world.checks.trimmedCount,
    },
  };
}
