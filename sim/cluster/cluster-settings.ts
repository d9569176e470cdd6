import { KiB, minuteMs } from "../../src/base/units.ts";
import { defaultSettings, type RaftSettings } from "../../src/raft/raft-settings.ts";
import type { LogSettings } from "../../src/replica/data-directory.ts";
import type { CrashModel } from "../crash.ts";
import type { NetworkWeather } from "../network.ts";
import type { SeededRandom } from "../random.ts";
import { drawWeather } from "../world-settings.ts";

/** Everything about a world of whole nodes that its seed decides before it begins. */
export interface ClusterSettings {
  /** Nodes that begin the cluster. */
  readonly firstNodes: number;
  /** Machines that may join. */
  readonly spares: number;
  /** Whether the first forms a cluster of one, and the others join; else they form it together. */
  readonly isBootstrapped: boolean;
  /** Of faults; the healing comes on top. */
  readonly safetyMs: number;
  readonly clients: number;
  /** Users of the client library. */
  readonly realClients: number;
  /** Mean time between a client's answer and its next question. */
  readonly thinkMs: number;
  /** Mean time between the operator's wishes. */
  readonly operatorMeanMs: number;
  readonly faultMeanMs: number;
  readonly valueMaxBytes: number;
  readonly weather: NetworkWeather;
  readonly syncMeanMs: number;
  readonly crashModel: CrashModel;
  readonly clockSkew: number;
  readonly tickMs: number;
  readonly raft: RaftSettings;
  readonly log: LogSettings;
  readonly hasLyingDisks: boolean;
  /** Mean time between bytes that go bad at rest; undefined where none do. */
  readonly rotMeanMs: number | undefined;
  /** Mean time between disks that stall; undefined where none do. */
  readonly stallMeanMs: number | undefined;
}

export function drawClusterSettings(random: SeededRandom): ClusterSettings {
  // From a source of its own: seeds that are kept remain the worlds that they were, as far as they have none of it.
  const rotRandom = random.fork("rot");
  const rotMeanMs = rotRandom.chance(0.4) ? rotRandom.pick([2_000, 5_000]) : undefined;
  const stallRandom = random.fork("stalls");
  const trimRandom = random.fork("retention");
  const isTrimmed = trimRandom.chance(0.4);
  const smallFrom = rotMeanMs !== undefined ? rotRandom : isTrimmed ? trimRandom : undefined;
  const clientRandom = random.fork("real clients");
  const firstNodes = random.pick([3, 3, 3, 4, 5]);
  return {
    firstNodes,
    spares: random.pick([0, 1, 2]),
    isBootstrapped: random.chance(0.3),
    safetyMs: random.pick([20_000, 40_000, 90_000]),
    clients: random.pick([3, 5, 8]),
    realClients: clientRandom.chance(0.4) ? clientRandom.pick([1, 1, 2]) : 0,
    thinkMs: random.pick([50, 100, 200]),
    operatorMeanMs: random.pick([1_000, 3_000, 8_000]),
    faultMeanMs: random.pick([1_000, 2_500, 6_000]),
    valueMaxBytes: random.pick([20, 200, 2_000]),
    weather: drawWeather(random),
    syncMeanMs: random.pick([0.3, 0.3, 2, 10]),
    crashModel: random.pick(["strict", "strict", "ordered"]),
    clockSkew: random.pick([0, 0.02]),
    tickMs: 50,
    raft: {
      ...defaultSettings,
      electionTicks: random.pick([10, 10, 20]),
      // Longer than between two questions of the controller: it plans on what a group that is awake knows.
      sleepTicks: random.pick([defaultSettings.sleepTicks, 100]),
      sendMaxBytes: random.pick([1 * KiB, 64 * KiB, defaultSettings.sendMaxBytes]),
      promotionMaxLag: random.pick([10, defaultSettings.promotionMaxLag]),
    },
    log: {
      sync: "always",
      segmentMaxBytes: drawSegmentBytes(random, smallFrom),
      retentionIntervalMs: minuteMs,
      ...(isTrimmed && drawRetention(trimRandom)),
      ...(rotMeanMs !== undefined && { scrubIntervalMs: rotRandom.pick([1_000, 4_000]) }),
    },
    hasLyingDisks: false,
    rotMeanMs,
    stallMeanMs: stallRandom.chance(0.3) ? stallRandom.pick([5_000, 15_000]) : undefined,
  };
}

/** What rots is sealed, and what is trimmed too: where that happens there are many small segments. */
function drawSegmentBytes(random: SeededRandom, smallFrom: SeededRandom | undefined): number {
  const bytes = random.pick([4 * KiB, 64 * KiB, 1024 * KiB]);
  return smallFrom === undefined ? bytes : smallFrom.pick([4 * KiB, 16 * KiB]);
}

/** So little that much is trimmed before a world ends, by its bytes or by its age. */
function drawRetention(random: SeededRandom): Partial<LogSettings> {
  const retentionIntervalMs = random.pick([500, 3_000]);
  return random.chance(0.5)
    ? { retentionIntervalMs, retentionMaxBytes: random.pick([4 * KiB, 32 * KiB]) }
    : { retentionIntervalMs, retentionMaxAgeMs: random.pick([3_000, 15_000]) };
}
