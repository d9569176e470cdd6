import { unreachable } from "../src/base/assert.ts";
import { storeSuffix } from "../src/log/segment-name.ts";
import { findDataEnd } from "../src/log/active-store.ts";
import { segmentHeaderBytes } from "../src/log/segment-header.ts";
import { fairWeather } from "./network.ts";
import type { NodeSlot } from "./node-slot.ts";
import { createSeededRandom, type SeededRandom } from "./random.ts";
import type { World } from "./world.ts";
import { drawWeather, type WorldSettings } from "./world-settings.ts";

export type FaultKind =
  | "kill"
  | "power-cut"
  | "power-cut-in-sync"
  | "power-cut-all"
  | "power-cut-at-start"
  | "stop"
  | "cut-off"
  | "lonely"
  | "split"
  | "one-way"
  | "bridge"
  | "storm"
  | "slow-disk"
  | "full-disk"
  | "failing-sync"
  | "failing-write"
  | "wall-jump"
  | "early-election"
  | "rot"
  | "wipe"
  | "change-membership"
  | "hand-over";

/** Something that is done to a world, decided before it begins: one can be left out, and the others stay as they are. */
export interface WorldFault {
  readonly id: number;
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Of the node that it strikes. */
  readonly node: number;
  readonly durationMs: number;
}

const weights: Readonly<Record<FaultKind, number>> = {
  kill: 3,
  "power-cut": 6,
  "power-cut-in-sync": 4,
  "power-cut-all": 2,
  "power-cut-at-start": 2,
  stop: 3,
  "cut-off": 4,
  lonely: 3,
  split: 3,
  "one-way": 4,
  bridge: 1,
  storm: 3,
  "slow-disk": 3,
  "full-disk": 2,
  "failing-sync": 2,
  "failing-write": 1,
  "wall-jump": 2,
  "early-election": 2,
  rot: 2,
  wipe: 1,
  "change-membership": 6,
  "hand-over": 3,
};

const leaderChance = 0.4;

const kinds = (Object.keys(weights) as FaultKind[]).flatMap((kind) => Array.from({ length: weights[kind] }, () => kind));

export function planFaults(random: SeededRandom, settings: WorldSettings): WorldFault[] {
  const { faultMeanMs, safetyMs, voters, spares, size } = settings;
  const faults: WorldFault[] = [];
  // Some runs know a few kinds only: what goes wrong often together then shows.
  const allowed = random.chance(0.3) ? new Set(Array.from({ length: 5 }, () => random.pick(kinds))) : undefined;
  for (let atMs = 500; ; ) {
    atMs += -Math.log(1 - random.float()) * faultMeanMs;
    if (atMs >= safetyMs) return faults;
    const kind = random.pick(kinds);
    const node = random.integer(voters + spares);
    const durationMs = -Math.log(1 - random.float()) * (size === "lite" ? 1_000 : random.pick([500, 3_000, 10_000]));
    if (allowed === undefined || allowed.has(kind)) faults.push({ id: faults.length, atMs, kind, node, durationMs });
  }
}

export function scheduleFaults(world: World, faults: readonly WorldFault[], seed: string): void {
  for (const fault of faults) {
    world.after(fault.atMs, () => {
      const random = createSeededRandom(`${seed}/fault ${fault.id}`);
      // Whoever leads is struck more often than its share: there, most is at stake.
      const slot = (random.chance(leaderChance) ? world.findLeader() : undefined) ?? world.slots[fault.node];
      if (slot === undefined || world.nowMs >= world.settings.safetyMs) return;
      world.note(5, fault.id);
      world.tell(() => `fault ${fault.id}: ${fault.kind} ${slot.nodeId} for ${fault.durationMs.toFixed(0)} ms`);
      strike(world, slot, fault, random);
    });
  }
}

function strike(world: World, slot: NodeSlot, { kind, durationMs }: WorldFault, random: SeededRandom): void {
  const later = (run: () => void): void => world.after(durationMs, run);
  switch (kind) {
    case "kill":
      slot.kill();
      return later(() => slot.start());
    case "power-cut":
      slot.cutPower();
      return later(() => slot.start());
    case "power-cut-in-sync":
      return slot.cutPowerInSync(1 + random.integer(20), () => later(() => slot.start()));
    case "power-cut-all":
      for (const each of world.slots) {
        each.cutPower();
        later(() => each.start());
      }
      return;
    case "power-cut-at-start":
      slot.cutPower();
      slot.start();
      // In the middle of the opening, which takes some syncs.
      return world.after(random.float() * 8 * world.settings.syncMeanMs, () => {
        slot.cutPower();
        later(() => slot.start());
      });
    case "stop":
      if (slot.isStopped) return;
      slot.stop();
      return later(() => slot.isStopped && slot.goOn());
    case "cut-off":
      return cut(
        world,
        pairsOf(world, (from, to) => (from === slot.nodeId) !== (to === slot.nodeId)),
        later,
      );
    case "lonely": {
      // Its clock nearly stands, so it goes on believing whatever it believes; and clients reach it as ever.
      const { clock } = slot;
      clock.setRate(0.02);
      later(() => clock.setRate(1));
      return cut(
        world,
        pairsOf(world, (from, to) => (from === slot.nodeId) !== (to === slot.nodeId)),
        later,
      );
    }
    case "split": {
      const half = new Set(world.nodeIds.filter(() => random.chance(0.5)));
      return cut(
        world,
        pairsOf(world, (from, to) => half.has(from) !== half.has(to)),
        later,
      );
    }
    case "one-way": {
      const isOutgoing = random.chance(0.5);
      const isOne = random.chance(0.5);
      const other = random.pick(world.nodeIds);
      const isCut = (here: string, there: string): boolean => here === slot.nodeId && (!isOne || there === other);
      return cut(
        world,
        pairsOf(world, (from, to) => (isOutgoing ? isCut(from, to) : isCut(to, from))),
        later,
      );
    }
    case "bridge": {
      // Two halves that only one node can talk to both.
      const half = new Set(world.nodeIds.filter(() => random.chance(0.5)));
      const isBridge = (nodeId: string): boolean => nodeId === slot.nodeId;
      return cut(
        world,
        pairsOf(world, (from, to) => !isBridge(from) && !isBridge(to) && half.has(from) !== half.has(to)),
        later,
      );
    }
    case "storm": {
      world.network.weather = {
        ...drawWeather(random),
        lossChance: random.pick([0.1, 0.3]),
        delayMeanMs: random.pick([5, 100]),
      };
      return later(() => {
        const weather = random.chance(0.5) ? world.settings.weather : fairWeather;
        // What has healed meanwhile stays healed.
        if (world.nowMs < world.settings.safetyMs) world.network.weather = weather;
      });
    }
    case "slow-disk":
      slot.slowBy = random.pick([10, 100, 1_000]);
      return later(() => {
        slot.slowBy = 1;
      });
    case "full-disk": {
      const { disk } = slot;
      disk.capacityBytes = disk.usedBytes + random.integer(2_000);
      return later(() => {
        slot.disk.capacityBytes = Number.POSITIVE_INFINITY;
      });
    }
    case "failing-sync":
      slot.failCall({
        kind: "datasync",
        nth: 1 + random.integer(5),
        code: "EIO",
        effect: random.pick(["lost", "half", "all"] as const),
      });
      return;
    case "failing-write":
      slot.failCall({
        kind: "write",
        nth: 1 + random.integer(5),
        code: "EIO",
        effect: random.pick(["none", "half", "all"] as const),
      });
      return;
    case "wall-jump":
      slot.clock.jumpWall(Math.floor((random.float() - 0.5) * 7_200_000));
      return;
    case "early-election":
      for (let left = random.integer(40); left > 0; left -= 1) slot.node?.tickNow();
      return;
    case "rot":
      if (world.operator.mayLose(slot)) rot(world, slot, random);
      return;
    case "wipe":
      if (!world.operator.mayLose(slot)) return;
      slot.wipe();
      return later(() => slot.start());
    case "change-membership":
      return world.operator.change();
    case "hand-over":
      return world.operator.transfer();
    default:
      unreachable(kind);
  }
}

/** How long rot goes unnoticed at most, in a process that goes on. */
const scrubMaxMs = 2_000;

type Pair = readonly [from: string, to: string];

function pairsOf(world: World, isCut: (from: string, to: string) => boolean): Pair[] {
  return world.nodeIds.flatMap((from) =>
    world.nodeIds.filter((to) => to !== from && isCut(from, to)).map((to): Pair => [from, to]),
  );
}

function cut({ network }: World, pairs: readonly Pair[], later: (run: () => void) => void): void {
  for (const [from, to] of pairs) network.cut(from, to);
  later(() => {
    for (const [from, to] of pairs) network.mend(from, to);
  });
}

/**
 * Damages a sealed segment, where a bad byte can't be the tear of a write that was never acknowledged: what rots at the very end of a
 * log can't be told from one (docs/format.md), and no replica could be blamed for it.
 */
function rot(world: World, slot: NodeSlot, random: SeededRandom): void {
  const { disk, nodeId } = slot;
  const directory = `/${nodeId}/log`;
  if (!disk.isDirectory(directory)) return;
  const stores = disk.list(directory).filter((name) => name.endsWith(storeSuffix));
  const sealed = stores.slice(0, -1);
  if (sealed.length === 0) return;
  const path = `${directory}/${random.pick(sealed)}`;
  const file = disk.open(path, "read");
  const end = findDataEnd(file, 0);
  file.close();
  if (end <= segmentHeaderBytes) return;
  const position = segmentHeaderBytes + random.integer(end - segmentHeaderBytes);
  if (random.chance(0.7)) disk.flipBit(path, position, random.integer(8));
  else disk.zeroSector(path, Math.floor(position / 512));
  slot.isRotten = true;
  // Somebody reads it, sooner or later.
  world.after(random.float() * scrubMaxMs, () => void slot.node?.scrub());
  world.tell(() => `${path} rots at ${position}`);
}
