import { KiB } from "../src/base/units.ts";
import { defaultSettings, type RaftSettings } from "../src/raft/raft-settings.ts";
import type { CrashModel } from "./crash.ts";
import { fairWeather, type NetworkWeather } from "./network.ts";
import type { SeededRandom } from "./random.ts";

/** A short run of three nodes, of which many are done in a second; or a long one of up to seven. */
export type WorldSize = "lite" | "full";

/** Everything about a world that its seed decides before it begins. */
export interface WorldSettings {
  readonly size: WorldSize;
  readonly voters: number;
  /** Nodes that may join. */
  readonly spares: number;
  /** Of faults; the healing comes on top. */
  readonly safetyMs: number;
  readonly clients: number;
  /** Mean time between a client's answer and its next question. */
  readonly thinkMs: number;
  readonly tickMs: number;
  readonly raft: RaftSettings;
  readonly segmentMaxBytes: number;
  readonly valueMaxBytes: number;
  readonly weather: NetworkWeather;
  /** Mean of a sync, exponentially. */
  readonly syncMeanMs: number;
  readonly crashModel: CrashModel;
  /** Mean time between faults. */
  readonly faultMeanMs: number;
  /** How much faster or slower than the world's a clock may run. */
  readonly clockSkew: number;
  /** The canary: all disks say that data is synced, and it isn't. No group survives that, and the checks have to say so. */
  readonly hasLyingDisks: boolean;
}

export function drawSettings(random: SeededRandom, size: WorldSize): WorldSettings {
  const isLite = size === "lite";
  const electionTicks = random.pick([5, 10, 10, 20]);
  return {
    size,
    voters: isLite ? 3 : random.pick([1, 2, 3, 3, 3, 4, 5, 5]),
    spares: isLite ? random.pick([0, 0, 1]) : 2,
    safetyMs: isLite ? 10_000 : 300_000,
    clients: isLite ? random.pick([1, 2, 4]) : random.pick([2, 4, 6]),
    thinkMs: isLite ? random.pick([50, 100, 200]) : random.pick([150, 250, 500]),
    tickMs: 50,
    raft: {
      ...defaultSettings,
      electionTicks,
      heartbeatTicks: random.pick([1, 2, 2]),
      sleepTicks: random.fork("sleep").pick([3, 10, 60]),
      sendMaxBytes: random.pick([1, 1 * KiB, 16 * KiB]),
      inflightMaxBytes: random.pick([1 * KiB, 64 * KiB]),
      inflightMaxCount: random.pick([1, 4, 32]),
      uncommittedMaxCount: random.pick([2, 100, 1_000]),
      promotionMaxLag: random.pick([1, 10, 100]),
    },
    segmentMaxBytes: random.pick([1 * KiB, 4 * KiB, 64 * KiB, 1024 * KiB]),
    valueMaxBytes: random.pick([10, 100, 100, 1_500]),
    weather: drawWeather(random),
    syncMeanMs: random.pick([0.3, 0.3, 2, 20]),
    crashModel: random.pick(["strict", "strict", "ordered"]),
    faultMeanMs: isLite ? random.pick([300, 800, 2_000]) : random.pick([1_000, 3_000, 8_000]),
    clockSkew: random.pick([0, 0.02, 0.1]),
    hasLyingDisks: false,
  };
}

/** What the network is like between its faults. */
export function drawWeather(random: SeededRandom): NetworkWeather {
  const isFair = random.chance(0.3);
  if (isFair) return fairWeather;
  return {
    delayMinMs: 0.1,
    delayMeanMs: random.pick([0.4, 2, 10, 40]),
    lossChance: random.pick([0, 0.01, 0.05, 0.2]),
    doubleChance: random.pick([0, 0.02, 0.2]),
    lateChance: random.pick([0, 0.05, 0.2]),
    keepsOrder: random.chance(0.7),
  };
}
