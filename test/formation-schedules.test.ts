import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { FormationWorld, type WorldNode } from "./formation-world.ts";

/**
 * Random schedules of clusters that begin: nodes come and go, power is cut before any call to a disk, messages are lost, doubled and
 * late, also into a node's next life. In between nothing is promised twice; when all are back and the network heals, there is one
 * cluster and everybody is in it. FORMATION_SEEDS=from-to runs others than the suite does.
 */
const [firstSeed = 1, lastSeed = 8] = (process.env["FORMATION_SEEDS"] ?? "").split("-").filter(Boolean).map(Number);

const scenarios: Readonly<Record<string, (world: FormationWorld) => Expectation>> = {
  "nodes of one number": (world) => {
    const count = 1 + world.random.integer(5);
    addCandidates(world, count, count);
    return { isOneCluster: true };
  },
  "one node more than the number": (world) => {
    const count = 2 + world.random.integer(3);
    addCandidates(world, count + 1, count);
    return { isOneCluster: true };
  },
  "one node more, over links that come and go one way": (world) => {
    const nodes = addCandidates(world, 4, 3);
    for (const from of nodes)
      for (const to of nodes) if (world.random.chance(0.4)) world.cuts.add(`${from.address}>${to.address}`);
    return { isOneCluster: true, troubles: 30, linkRate: 0.9 };
  },
  "nodes of different numbers": (world) => {
    const nodes = addCandidates(world, 5, 3);
    for (const node of nodes.slice(0, 2)) node.flags = { ...node.flags, initialNodes: 2 + 2 * world.random.integer(2) };
    // Whoever is told another number at last finds the others.
    return { isOneCluster: false, heal: () => nodes.forEach((node) => setNumber(node, 5)) };
  },
  "one that bootstraps, and others that join": (world) => {
    const nodes = addCandidates(world, 2 + world.random.integer(3), 3);
    for (const [number, node] of nodes.entries())
      node.flags = {
        ...node.flags,
        initialNodes: undefined,
        ...(number === 0 ? { isBootstrapping: true, startJoinAddrs: [] } : {}),
      };
    return { isOneCluster: true };
  },
  "nodes that are wiped before they are in": (world) => {
    addCandidates(world, 3, 3);
    return { isOneCluster: false, wipeRate: 0.3 };
  },
};

describe("schedules of beginning", () => {
  for (const [name, prepare] of Object.entries(scenarios))
    test(`${name}, seeds ${firstSeed} to ${lastSeed}`, async () => {
      for (let seed = firstSeed; seed <= lastSeed; seed += 1) {
        const world = new FormationWorld(createSeededRandom(`${name} ${seed}`));
        try {
          await play(world, prepare(world));
        } catch (error) {
          throw new Error(`seed ${seed}: ${String(error)}\n${world.story.join("\n")}`, { cause: error });
        }
      }
    });
});

interface Expectation {
  /** No disk is wiped, and there are too few nodes for two. */
  readonly isOneCluster: boolean;
  /** How often a node that goes down while it is in no cluster comes back on an empty disk. */
  readonly wipeRate?: number;
  /** How many troubles there are; by chance up to 12 when not given. */
  readonly troubles?: number;
  /** How many of these are a link's, cut or mended. */
  readonly linkRate?: number;
  /** What the operator mends beside what is down. */
  readonly heal?: () => void;
}

async function play(world: FormationWorld, expectation: Expectation): Promise<void> {
  const { random, nodes } = world;
  const { isOneCluster, troubles = random.integer(12), heal } = expectation;
  for (const node of nodes) world.clock.setTimer(random.integer(4_000), () => node.start());
  world.lossRate = random.pick([0, 0.1, 0.4]);
  world.lateRate = random.pick([0, 0.1]);
  world.doubleRate = random.pick([0, 0.2]);
  world.powerCutRate = random.pick([0, 0.02, 0.1]);
  for (let count = 0; count < troubles; count += 1) {
    await world.run(random.integer(random.pick([100, 1_000, 3_000])));
    makeTrouble(world, expectation);
  }
  world.lossRate = 0;
  world.lateRate = 0;
  world.powerCutRate = 0;
  world.cuts.clear();
  heal?.();
  const areAllIn = (): boolean => nodes.every((node) => !node.isUp || node.clusterId !== undefined);
  for (let attempt = 0; attempt < 12; attempt += 1) {
    for (const node of nodes) if (!isStopped(node)) node.start();
    if (await world.run(15_000, areAllIn)) break;
    operate(world);
  }
  world.checkFormed();
  assert.ok(areAllIn(), "everybody who is up is in a cluster");
  assert.ok(nodes.some(({ isUp }) => isUp));
  assert.ok(!isOneCluster || world.clusterIds.length === 1, `one cluster, and not ${world.clusterIds.length}`);
}

const stopped = new WeakSet<WorldNode>();
const isStopped = (node: WorldNode): boolean => stopped.has(node);

/** What an operator does who reads the log: stops who is too many, and empties a directory where he is told to. */
function operate({ nodes }: FormationWorld): void {
  const waiting = nodes.filter((node) => node.isUp && node.clusterId === undefined);
  const tells = (node: WorldNode, what: RegExp): boolean =>
    what.test(node.log.findLast((line) => line.includes("waiting for")) ?? "");
  const lost = waiting.find((node) => tells(node, /runs on another directory now|was started with --initial-nodes/));
  if (lost !== undefined) return lost.wipe();
  const named = new Set(waiting.flatMap(({ state }) => state?.promise?.members.map(({ storageId }) => storageId) ?? []));
  const tooMany =
    waiting.find((node) => tells(node, /who is too many/) && !named.has(node.state?.storageId ?? "")) ??
    waiting.find((node) => tells(node, /is there too/));
  if (tooMany === undefined) return;
  tooMany.kill();
  stopped.add(tooMany);
}

function makeTrouble(world: FormationWorld, { wipeRate = 0, linkRate = 0.3 }: Expectation): void {
  const { random, nodes, cuts } = world;
  const node = random.pick(nodes);
  const link = `${node.address}>${random.pick(nodes).address}`;
  if (random.chance(linkRate)) {
    if (random.chance(0.1)) cuts.clear();
    else if (!cuts.delete(link)) cuts.add(link);
  } else if (!node.isUp) node.start();
  else if (node.state !== undefined && node.state.clusterId === undefined && random.chance(wipeRate)) node.wipe();
  else if (random.chance(0.5)) node.kill();
  else node.cutPower();
}

function addCandidates(world: FormationWorld, count: number, initialNodes: number): WorldNode[] {
  const names = ["a", "b", "c", "d", "e", "f"].slice(0, count);
  const addresses = names.map((name) => `${name}:8000`);
  world.names.set("all:8000", addresses);
  // Where one is too many, the others may begin without the one that all name, and it would name nobody but itself.
  const startJoinAddrs = world.random.pick(
    count > initialNodes ? [addresses, ["all:8000"]] : [addresses, ["all:8000"], addresses.slice(0, 1)],
  );
  return names.map((name) => world.add(name, { initialNodes, startJoinAddrs }));
}

function setNumber(node: WorldNode, initialNodes: number): void {
  node.kill();
  node.flags = { ...node.flags, initialNodes };
}
