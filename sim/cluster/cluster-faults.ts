import { unreachable } from "../../src/base/assert.ts";
import { fairWeather } from "../network.ts";
import { createSeededRandom, type SeededRandom } from "../random.ts";
import { drawWeather } from "../world-settings.ts";
import type { ClusterSettings } from "./cluster-settings.ts";
import type { ClusterWorld } from "./cluster-world.ts";
import { type Machine, stallMaxMs } from "./machine.ts";

export type ClusterFaultKind =
  | "kill"
  | "restart"
  | "power-cut"
  | "power-cut-in-sync"
  | "power-cut-all"
  | "power-cut-at-start"
  | "stop"
  | "cut-off"
  | "lonely"
  | "split"
  | "one-way"
  | "storm"
  | "slow-disk"
  | "full-disk"
  | "failing-sync"
  | "failing-write"
  | "wall-jump"
  | "wipe"
  | "rot"
  | "stalled-disk";

/** Something that is done to a world, decided before it begins: one can be left out, and the others stay as they are. */
export interface ClusterFault {
  readonly id: number;
  readonly atMs: number;
  readonly kind: ClusterFaultKind;
  /** Of the machine that it strikes. */
  readonly node: number;
  readonly durationMs: number;
}

const weights: Readonly<Record<ClusterFaultKind, number>> = {
  kill: 4,
  restart: 3,
  "power-cut": 5,
  "power-cut-in-sync": 4,
  "power-cut-all": 2,
  "power-cut-at-start": 2,
  stop: 3,
  "cut-off": 4,
  lonely: 3,
  split: 3,
  "one-way": 4,
  storm: 3,
  "slow-disk": 3,
  "full-disk": 2,
  "failing-sync": 2,
  "failing-write": 1,
  "wall-jump": 2,
  wipe: 3,
  // By plans of their own.
  rot: 0,
  "stalled-disk": 0,
};

const kinds = (Object.keys(weights) as ClusterFaultKind[]).flatMap((kind) => Array.from({ length: weights[kind] }, () => kind));

const catalogLeaderChance = 0.25;

/** How often it is tried to have something rot, and how far apart, until all but that is whole. */
const rotAttemptsMax = 20;
const rotAttemptMs = 100;

export function planClusterFaults(random: SeededRandom, settings: ClusterSettings): ClusterFault[] {
  const faults = planAnyFaults(random, settings);
  for (const { atMs, node } of planEvery(random.fork("rot"), settings.rotMeanMs, settings))
    faults.push({ id: faults.length, atMs, kind: "rot", node, durationMs: 0 });
  const stalls = random.fork("stalls");
  for (const { atMs, node } of planEvery(stalls, settings.stallMeanMs, settings)) {
    // Up to what counts as a stall and by far beyond.
    const durationMs = 1_000 + stalls.float() * (stallMaxMs - 1_000);
    faults.push({ id: faults.length, atMs, kind: "stalled-disk", node, durationMs });
  }
  return faults;
}

function* planEvery(
  random: SeededRandom,
  meanMs: number | undefined,
  { safetyMs, firstNodes, spares }: ClusterSettings,
): Generator<Pick<ClusterFault, "atMs" | "node">> {
  if (meanMs === undefined) return;
  for (let atMs = 0; ; ) {
    atMs += -Math.log(1 - random.float()) * meanMs;
    if (atMs >= safetyMs) return;
    yield { atMs, node: random.integer(firstNodes + spares) };
  }
}

function planAnyFaults(random: SeededRandom, settings: ClusterSettings): ClusterFault[] {
  const { faultMeanMs, safetyMs, firstNodes, spares } = settings;
  const faults: ClusterFault[] = [];
  // Some runs know a few kinds only: what goes wrong often together then shows.
  const allowed = random.chance(0.3) ? new Set(Array.from({ length: 5 }, () => random.pick(kinds))) : undefined;
  for (let atMs = 200; ; ) {
    atMs += -Math.log(1 - random.float()) * faultMeanMs;
    if (atMs >= safetyMs) return faults;
    const kind = random.pick(kinds);
    const node = random.integer(firstNodes + spares);
    const durationMs = -Math.log(1 - random.float()) * random.pick([500, 2_000, 6_000]);
    if (allowed === undefined || allowed.has(kind)) faults.push({ id: faults.length, atMs, kind, node, durationMs });
  }
}

export function scheduleClusterFaults(world: ClusterWorld, faults: readonly ClusterFault[], seed: string): void {
  for (const fault of faults)
    world.after(fault.atMs, () => {
      const random = createSeededRandom(`${seed}/fault ${fault.id}`);
      // Whoever leads the catalog is struck more often than its share: there, most is at stake.
      const leader = random.chance(catalogLeaderChance) ? world.findCatalogLeader() : undefined;
      const machine = leader ?? world.machines[fault.node];
      if (machine === undefined || world.isHealed) return;
      world.note(5, fault.id);
      world.tell(() => `fault ${fault.id}: ${fault.kind} ${machine.name} for ${fault.durationMs.toFixed(0)} ms`);
      strike(world, machine, fault, random);
    });
}

function strike(world: ClusterWorld, machine: Machine, { kind, durationMs }: ClusterFault, random: SeededRandom): void {
  const later = (run: () => void): void => world.after(durationMs, run);
  const { name } = machine;
  switch (kind) {
    case "kill":
      machine.kill();
      return later(() => machine.start());
    case "restart":
      machine
        .stopGently()
        .then(() => later(() => machine.start()))
        .catch(world.failed);
      return;
    case "power-cut":
      machine.cutPower();
      return later(() => machine.start());
    case "power-cut-in-sync":
      return machine.cutPowerInSync(1 + random.integer(20), () => later(() => machine.start()));
    case "power-cut-all":
      for (const each of world.machines) {
        each.cutPower();
        later(() => each.start());
      }
      return;
    case "power-cut-at-start":
      machine.cutPower();
      machine.start();
      // In the middle of the opening, which takes some syncs.
      return world.after(random.float() * 20 * world.settings.syncMeanMs, () => {
        machine.cutPower();
        later(() => machine.start());
      });
    case "stop":
      if (machine.isStopped || machine.condition !== "up") return;
      machine.stop();
      return later(() => machine.isStopped && machine.goOn());
    case "cut-off":
      return cut(world, (from, to) => (from === name) !== (to === name), later);
    case "lonely": {
      // Its clock nearly stands, so it goes on believing whatever it believes; and clients reach it as ever.
      const { clock } = machine;
      clock.setRate(0.02);
      later(() => clock.setRate(1));
      return cut(world, (from, to) => (from === name) !== (to === name), later);
    }
    case "split": {
      const half = new Set(world.machines.flatMap((each) => (random.chance(0.5) ? [each.name] : [])));
      return cut(world, (from, to) => half.has(from) !== half.has(to), later);
    }
    case "one-way": {
      const isOutgoing = random.chance(0.5);
      const other = random.chance(0.5) ? random.pick(world.machines).name : undefined;
      const isCut = (here: string, there: string): boolean => here === name && (other === undefined || there === other);
      return cut(world, (from, to) => (isOutgoing ? isCut(from, to) : isCut(to, from)), later);
    }
    case "storm":
      world.network.weather = {
        ...drawWeather(random),
        lossChance: random.pick([0.1, 0.3]),
        delayMeanMs: random.pick([5, 100]),
      };
      return later(() => {
        const weather = random.chance(0.5) ? world.settings.weather : fairWeather;
        // What has healed meanwhile stays healed.
        if (!world.isHealed) world.network.weather = weather;
      });
    case "slow-disk":
      machine.slowBy = random.pick([10, 100, 1_000]);
      return later(() => {
        machine.slowBy = 1;
      });
    case "stalled-disk":
      return machine.stallDisk(durationMs);
    case "full-disk": {
      const { disk } = machine;
      disk.capacityBytes = disk.usedBytes + random.integer(4_000);
      return later(() => {
        machine.disk.capacityBytes = Number.POSITIVE_INFINITY;
      });
    }
    case "failing-sync":
      return fail(world, machine, random, "datasync", random.pick(["lost", "half", "all"]));
    case "failing-write":
      return fail(world, machine, random, "write", random.pick(["none", "half", "all"]));
    case "wall-jump":
      return machine.clock.jumpWall(Math.floor((random.float() - 0.5) * 7_200_000));
    case "wipe":
      if (!world.mayLose(machine)) return;
      world.lose(machine);
      // Some come back under a name of their own.
      if (random.chance(0.3)) machine.nodeName = `${machine.name}-${machine.diskNumber}`;
      return later(() => machine.start());
    case "rot":
      return rot(world, machine, random, rotAttemptsMax);
    default:
      unreachable(kind);
  }
}

/** Where all is whole for a moment, in the next seconds. */
function rot(world: ClusterWorld, machine: Machine, random: SeededRandom, attempts: number): void {
  if (world.isHealed || attempts === 0 || world.letRot(machine, random)) return;
  world.after(rotAttemptMs, () => rot(world, machine, random, attempts - 1));
}

/** What failed is out of action until somebody starts the node again. */
function fail(
  world: ClusterWorld,
  machine: Machine,
  random: SeededRandom,
  kind: "datasync" | "write",
  effect: "lost" | "half" | "all" | "none",
): void {
  const { life } = machine;
  machine.failCall({ kind, nth: 1 + random.integer(5), code: "EIO", effect });
  world.after(1_000 + random.integer(10_000), () => {
    if (machine.life !== life || life === 0) return;
    machine.kill();
    machine.start();
  });
}

function cut(
  { machines, network }: ClusterWorld,
  isCut: (from: string, to: string) => boolean,
  later: (run: () => void) => void,
): void {
  const names = machines.map(({ name }) => name);
  const pairs = names.flatMap((from) => names.filter((to) => to !== from && isCut(from, to)).map((to) => ({ from, to })));
  for (const { from, to } of pairs) network.cut(from, to);
  later(() => {
    for (const { from, to } of pairs) network.mend(from, to);
  });
}
