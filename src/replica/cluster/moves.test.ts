import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange } from "./catalog-command.ts";
import {
  type CatalogPartition,
  type CatalogState,
  emptyCatalogState,
  findPartition,
  partitionsOf,
  type PlacedReplica,
} from "./catalog-state.ts";
import { type MoveOptions, type PlannedMove, planMoves } from "./moves.ts";
import { defaultReplicationFactor, loadsOf, placePartitions } from "./placement.ts";
import { randomUuid } from "./random-commands.ts";

const all: MoveOptions = {
  isAvailable: () => true,
  isLost: () => false,
  isLed: () => true,
  tolerance: 0,
  maxCount: Number.POSITIVE_INFINITY,
};

describe("planning moves", () => {
  test("nothing is moved where nothing has to", () => {
    for (let seed = 0; seed < 30; seed += 1) assert.deepEqual(planMoves(randomWorld(seed).state, all), []);
  });

  test("a node that comes takes its share, by no more moves than that takes, and leads its share", () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const world = randomWorld(seed);
      world.addNode();
      const least = leastMoves(loadsOf(world.state).map(({ replicas }) => replicas));
      const moves = planMoves(world.state, all);
      assert.equal(world.movedReplicas(moves), least, `seed ${seed}`);
      world.place(moves);
      world.assertBalanced(`seed ${seed}`);
      assert.deepEqual(planMoves(world.state, all), []);
    }
  });

  test("a partition that nobody leads stays as it is: it may not have begun", () => {
    const world = randomWorld(1, 2);
    const [name = ""] = world.state.nodes.keys();
    world.apply({ kind: "drain-node", name, isDraining: true });
    world.addNode();
    const [first] = planMoves(world.state, all);
    assert.ok(first !== undefined);
    const isLed = (group: string): boolean => group !== first.group;
    assert.ok(!planMoves(world.state, { ...all, isLed, tolerance: 10 }).some(({ group }) => group === first.group));
    const moved = planMoves(world.state, { ...all, isLed });
    const partition = findPartition(world.state, first.group);
    const before = partition?.replicas.map(({ node }) => node);
    for (const move of moved)
      if (move.group === first.group)
        assert.deepEqual(
          move.replicas.map(({ node }) => node),
          before,
        );
    assert.deepEqual(planMoves(world.state, { ...all, isLed: () => false, tolerance: 10 }), []);
  });

  test("what a draining node has goes to others, and nothing else moves", () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const world = randomWorld(seed, 2);
      const name = world.random.pick([...world.state.nodes.keys()]);
      const had = [...partitionsOf(world.state)].filter(({ partition }) =>
        partition.replicas.some(({ node }) => node === name),
      );
      world.apply({ kind: "drain-node", name, isDraining: true });
      const moves = planMoves(world.state, { ...all, tolerance: 10 });
      assert.deepEqual(
        moves.map(({ group }) => group),
        had.map(({ partition }) => partition.uuid),
        `seed ${seed}`,
      );
      world.place(moves);
      for (const { topic, partition } of partitionsOf(world.state)) {
        assert.ok(!partition.replicas.some(({ node }) => node === name));
        assert.equal(partition.replicas.length, Math.min(topic.replicationFactor, world.state.nodes.size - 1));
        assert.ok(partition.replicas.some(({ node }) => node === partition.leader));
      }
    }
  });

  test("whatever happens, in the end all have their number, on nodes that stay, evenly", () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const world = randomWorld(seed, 2);
      for (let step = 0; step < 8; step += 1) {
        world.disturb();
        // What is on its way isn't moved for balance: that comes when it has arrived.
        for (let round = 0; round < 2; round += 1) {
          const moves = planMoves(world.state, all);
          assert.equal(new Set(moves.map(({ group }) => group)).size, moves.length);
          world.place(moves);
          world.settle();
        }
        world.assertBalanced(`seed ${seed}, step ${step}`);
        assert.deepEqual(planMoves(world.state, all), [], `seed ${seed}, step ${step}`);
      }
    }
  });

  test("small differences move nothing, larger ones are made good to the last", () => {
    const world = new World(createSeededRandom("tolerance"), 3);
    world.createTopic(100, 1);
    const [fullest] = loadsOf(world.state).sort((a, b) => b.replicas - a.replicas);
    const others = [...partitionsOf(world.state)]
      .map(({ partition }) => partition)
      .filter(({ leader }) => leader !== fullest?.name);
    assert.equal(fullest?.replicas, 34);
    // The mean is 33.3: one more makes a difference of 2 or 3.
    world.place(others.slice(0, 1).map((it) => moveTo(it, fullest.name)));
    assert.deepEqual(planMoves(world.state, { ...all, tolerance: 0.1 }), []);
    world.place(others.slice(1, 5).map((it) => moveTo(it, fullest.name)));
    world.place(planMoves(world.state, { ...all, tolerance: 0.1 }));
    world.assertBalanced("after");
  });

  test("a lost replica is begun anew where it is, but for the last one of its partition", () => {
    const world = new World(createSeededRandom("lost"), 3);
    world.createTopic(1, 3);
    world.createTopic(1, 1);
    const [three, one] = [...partitionsOf(world.state)].map(({ partition }) => partition);
    assert.ok(three !== undefined && one !== undefined);
    const isLost = (group: string, { node }: { readonly node: string }): boolean => group === one.uuid || node === "n2";
    const [move, ...others] = planMoves(world.state, { ...all, isLost });
    assert.deepEqual(others, []);
    assert.equal(move?.group, three.uuid);
    assert.deepEqual(
      move?.replicas,
      three.replicas.map((replica) => (replica.node === "n2" ? { node: "n2" } : replica)),
    );
    const isAllLost = (): boolean => true;
    assert.deepEqual(planMoves(world.state, { ...all, isLost: isAllLost }), []);
  });

  test("where a topic is to have fewer replicas those on nodes that are away go, and lead no more", () => {
    for (const away of ["n1", "n2", "n3"]) {
      const world = new World(createSeededRandom("fewer"), 3);
      world.createTopic(6, 3);
      const [topic] = world.state.topics.values();
      assert.ok(topic !== undefined);
      const { name, uuid } = topic;
      world.apply({ kind: "alter-topic", name, uuid, settings: {}, replicationFactor: 2 });
      world.place(planMoves(world.state, { ...all, isAvailable: (node) => node !== away }));
      for (const { partition } of partitionsOf(world.state)) {
        assert.equal(partition.replicas.length, 2);
        assert.ok(!partition.replicas.some(({ node }) => node === away), away);
        assert.ok(partition.leader !== away);
      }
    }
  });

  test("a node that is away takes nothing, and what needs it waits", () => {
    const world = new World(createSeededRandom("away"), 4);
    world.createTopic(4, 3);
    world.apply({ kind: "drain-node", name: "n1", isDraining: true });
    const isAvailable = (node: string): boolean => node !== "n4";
    for (const { replicas } of planMoves(world.state, { ...all, isAvailable })) {
      const had = replicas.filter(({ incarnation }) => incarnation !== undefined).map(({ node }) => node);
      assert.ok(!replicas.some(({ node, incarnation }) => node === "n4" && incarnation === undefined), had.join());
    }
    const unplaced = [...partitionsOf(world.state)].filter(
      ({ partition }) => !partition.replicas.some(({ node }) => node === "n4"),
    );
    for (const { partition } of unplaced)
      assert.ok(!planMoves(world.state, { ...all, isAvailable }).some(({ group }) => group === partition.uuid));
  });

  test("a partition on its way isn't sent elsewhere for the sake of balance, and no more is planned than asked for", () => {
    const world = new World(createSeededRandom("moving"), 2);
    world.createTopic(10, 1);
    world.addNode();
    assert.equal(planMoves(world.state, { ...all, maxCount: 2 }).length, 2);
    const [first] = planMoves(world.state, all);
    assert.ok(first !== undefined);
    world.place([first], { isDone: false });
    assert.ok(!planMoves(world.state, all).some(({ group, replicas }) => group === first.group && replicas !== first.replicas));
  });

  test("a replica that is leaving and hasn't left is called back, unless it is lost", () => {
    const world = new World(createSeededRandom("back"), 3);
    world.createTopic(1, 2);
    const [{ partition: before } = { partition: undefined }] = [...partitionsOf(world.state)];
    assert.ok(before !== undefined);
    const [staying, leaving] = before.replicas;
    const free = [...world.state.nodes.keys()].find((name) => !before.replicas.some(({ node }) => node === name)) ?? "";
    assert.ok(staying !== undefined && leaving !== undefined);
    const move = { group: before.uuid, basis: before.placedAt, replicas: [staying, { node: free }], leader: staying.node };
    world.place([move], { isDone: false });
    world.apply({ kind: "drain-node", name: free, isDraining: true });
    assert.deepEqual(planMoves(world.state, all)[0]?.replicas, [staying, leaving]);
    const isLost = (_: string, { node }: PlacedReplica): boolean => node === leaving.node;
    assert.deepEqual(planMoves(world.state, { ...all, isLost })[0]?.replicas, [staying, { node: leaving.node }]);
    // A node that never had it is better: the one that is leaving may be out of the group already.
    world.addNode();
    assert.deepEqual(planMoves(world.state, all)[0]?.replicas, [staying, { node: "n4" }]);
  });

  test("a topic's number of replicas can be changed, either way", () => {
    const world = new World(createSeededRandom("factor"), 5);
    world.createTopic(20, 3);
    for (const replicationFactor of [5, 2, 1, 4]) {
      const [topic] = [...world.state.topics.values()];
      assert.ok(topic !== undefined);
      world.apply({ kind: "alter-topic", name: topic.name, uuid: topic.uuid, settings: {}, replicationFactor });
      world.place(planMoves(world.state, all));
      for (const { partition } of partitionsOf(world.state)) assert.equal(partition.replicas.length, replicationFactor);
      world.assertBalanced(`${replicationFactor}`);
    }
  });
});

class World {
  readonly state: CatalogState = emptyCatalogState();
  readonly random: SeededRandom;
  #offset = 0;
  #nodes = 0;

  constructor(random: SeededRandom, nodeCount: number) {
    this.random = random;
    this.apply({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes: [this.#newNode()] });
    for (let count = 1; count < nodeCount; count += 1) this.addNode();
  }

  addNode(): void {
    this.apply({ kind: "add-node", node: this.#newNode() });
  }

  createTopic(count: number, replicationFactor: number): void {
    const loads = loadsOf(this.state);
    const nodes = [...this.state.nodes.keys()];
    const partitions = placePartitions({ loads, count, replicationFactor, random: this.random }).map((replicas) => ({
      uuid: randomUuid(this.random),
      replicas: replicas.map((name) => nodes.indexOf(name)),
    }));
    this.apply({
      kind: "create-topic",
      name: `t${this.#offset}`,
      uuid: randomUuid(this.random),
      createdAt: 0,
      replicationFactor,
      settings: {},
      placed: { nodes, partitions },
    });
  }

  disturb(): void {
    const { random, state } = this;
    const names = [...state.nodes.keys()];
    const active = [...state.nodes.values()].filter(({ isDraining }) => !isDraining);
    switch (random.integer(5)) {
      case 0:
        return this.addNode();
      case 1:
        if (active.length > 1) this.apply({ kind: "drain-node", name: random.pick(active).name, isDraining: true });
        return;
      case 2:
        if (active.length > 2) this.apply({ kind: "remove-node", name: random.pick(names), isForced: true });
        return;
      case 3: {
        const topic = random.pick([...state.topics.values()]);
        if (state.topics.size > 1) this.apply({ kind: "delete-topic", name: topic.name, uuid: topic.uuid });
        return;
      }
      default:
        return this.createTopic(1 + random.integer(8), 1 + random.integer(defaultReplicationFactor(active.length)));
    }
  }

  place(moves: readonly PlannedMove[], { isDone = true } = {}): void {
    for (const move of moves) {
      this.apply({ kind: "place-partition", ...move });
      const { placedAt, isMoving } = this.partition(move.group);
      if (isDone && isMoving) this.apply({ kind: "placement-done", group: move.group, basis: placedAt });
    }
  }

  settle(): void {
    for (const { partition } of [...partitionsOf(this.state)])
      if (partition.isMoving) this.apply({ kind: "placement-done", group: partition.uuid, basis: partition.placedAt });
  }

  /** Replicas that are on other nodes by these moves. */
  movedReplicas(moves: readonly PlannedMove[]): number {
    return moves.flatMap(({ replicas }) => replicas.filter(({ incarnation }) => incarnation === undefined)).length;
  }

  assertBalanced(context: string): void {
    const loads = loadsOf(this.state);
    const counts = loads.map(({ replicas }) => replicas);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${context}: ${JSON.stringify(loads)}`);
    for (const { name, leaders } of loads)
      for (const other of this.#mayLeadInstead(name))
        assert.ok((loads.find((load) => load.name === other)?.leaders ?? 0) >= leaders - 1, `${context}: ${name} for ${other}`);
    for (const { topic, partition } of partitionsOf(this.state)) {
      // One that lost its last node stays as it is.
      if (partition.replicas.length === 0) continue;
      assert.equal(partition.replicas.length, Math.min(topic.replicationFactor, loads.length), context);
      assert.ok(
        partition.replicas.every(({ node }) => this.state.nodes.get(node)?.isDraining === false),
        context,
      );
    }
  }

  partition(group: string): CatalogPartition {
    const partition = findPartition(this.state, group);
    assert.ok(partition !== undefined);
    return partition;
  }

  apply(change: CatalogChange): void {
    const outcome = applyCommand(this.state, { id: `c${this.#offset}`, ...change }, this.#offset);
    this.#offset += 1;
    assert.equal(outcome.kind, "applied", outcome.kind === "refused" ? outcome.error.message : "");
  }

  /** Nodes to which a lead of this one can come, by however many that hand one on. Among them no better share is possible. */
  #mayLeadInstead(name: string): ReadonlySet<string> {
    const reached = new Set([name]);
    for (let size = 0; size < reached.size; ) {
      size = reached.size;
      for (const { partition } of partitionsOf(this.state))
        if (reached.has(partition.leader ?? "")) for (const { node } of partition.replicas) reached.add(node);
    }
    return reached;
  }

  #newNode() {
    this.#nodes += 1;
    const storageId = this.#nodes.toString(16).padStart(32, "0");
    return { name: `n${this.#nodes}`, storageId, address: `n${this.#nodes}:8000`, version: 1 };
  }
}

function randomWorld(seed: number, leastNodes = 1): World {
  const random = createSeededRandom(`moves ${seed}`);
  const nodeCount = leastNodes + random.integer(6);
  const world = new World(random, nodeCount);
  for (let topic = 0; topic < 1 + random.integer(5); topic += 1)
    world.createTopic(1 + random.integer(12), 1 + random.integer(Math.min(4, nodeCount)));
  return world;
}

function moveTo({ uuid, placedAt }: CatalogPartition, node: string): PlannedMove {
  return { group: uuid, basis: placedAt, replicas: [{ node }], leader: node };
}

/** How many have to change their node until all have as many, or one more. */
function leastMoves(counts: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const floor = Math.floor(total / counts.length);
  const oneMore = total % counts.length;
  const sorted = counts.toSorted((a, b) => b - a);
  return sorted.reduce((sum, count, at) => sum + Math.max(0, count - (at < oneMore ? floor + 1 : floor)), 0);
}
