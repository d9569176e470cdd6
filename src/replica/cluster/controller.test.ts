import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { catalogLookMs } from "../../base/cluster-limits.ts";
import { ProglogError } from "../../base/error.ts";
import {
  catalogVoterGoneMs,
  controllerIntervalMs,
  controllerMovesMaxCount,
  controllerStepsMaxCount,
  controllerTransfersMaxCount,
  leaderReturnMs,
} from "../../base/limits.ts";
import { silentLogger } from "../../base/logger.ts";
import type { Member } from "../../raft/member.ts";
import { membersOf } from "../../raft/membership.ts";
import type { PeerAddress } from "../peer-network.ts";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange } from "./catalog-command.ts";
import {
  type CatalogPartition,
  type CatalogState,
  emptyCatalogState,
  findPartition,
  mayDeleteReplica,
  memberOf,
  partitionsOf,
  type PlacedReplica,
  replicaStorageId,
} from "./catalog-state.ts";
import { Controller } from "./controller.ts";
import type { ControllerFacts } from "./controller-work.ts";
import { delay, FakeGroup } from "./fake-group.ts";
import {
  decodeChangeQuestion,
  decodeStatusQuestion,
  decodeTransferQuestion,
  encodeReport,
  groupQuestions,
} from "./group-questions.ts";
import { loadsOf, placePartitions } from "./placement.ts";
import { randomUuid } from "./random-commands.ts";

describe("the controller", () => {
  test("a replica is moved: it learns, catches up, and takes the other's vote in one change", async () => {
    await using world = new World("move", 4);
    const partition = world.createTopic(1, 3);
    const [first, second, third] = partition.replicas;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const free = world.names.find((name) => !partition.replicas.some(({ node }) => node === name)) ?? "";
    await world.run(2_000);
    const group = world.groupOf(partition);
    world.place(partition, [second, third, { node: free }], second.node);
    const seen: string[] = [];
    await world.until(() => {
      const { voters, learners } = group.membership;
      const line = `${namesOf(voters)} + ${namesOf(learners)}`;
      if (seen.at(-1) !== line) seen.push(line);
      return world.isConverged();
    });
    const [a, b, c] = [first.node, second.node, third.node];
    const all = (...names: readonly string[]): string => names.toSorted().join(" ");
    assert.deepEqual(seen, [`${all(a, b, c)} + `, `${all(a, b, c)} + ${free}`, `${all(b, c, free)} + `]);
    assert.equal(group.leader, second.node);
  });

  test("who has begun to lead group 0 does nothing before it knows all of the catalog", async () => {
    await using world = new World("late", 4);
    const { promise, resolve } = Promise.withResolvers<void>();
    world.refreshHold = promise;
    world.createTopic(6, 3);
    world.apply({ kind: "drain-node", name: "n4", isDraining: true });
    await world.run(5_000);
    assert.equal(world.questionsAtOnce, 0);
    resolve();
    await world.until(() => world.isConverged() && !world.state.nodes.has("n4"));
  });

  test("leadership comes back to a node that was away, but not at once", async () => {
    await using world = new World("return", 3);
    world.createTopic(12, 3);
    await world.run(2_000);
    world.stop("n2");
    await world.run(3_000);
    assert.equal(world.ledBy("n2"), 0);
    world.start("n2");
    await world.run(leaderReturnMs - 1_000);
    assert.equal(world.ledBy("n2"), 0);
    await world.run(15_000);
    assert.equal(world.ledBy("n2"), 4);
  });

  test("few lead elsewhere at a time, and few questions are under way", async () => {
    await using world = new World("few", 3);
    world.createTopic(60, 3);
    await world.run(2_000);
    world.stop("n2");
    await world.run(3_000);
    world.start("n2");
    await world.until(() => world.isConverged());
    assert.equal(world.ledBy("n2"), 20);
    assert.equal(world.transfersAtOnce, controllerTransfersMaxCount);
    assert.ok(world.questionsAtOnce <= controllerStepsMaxCount);
  });

  test("a voter of group 0 that is away for long gives its vote to another node", async () => {
    await using world = new World("gone", 4);
    const name = world.catalogGroup.membership.voters.find(({ nodeId }) => nodeId !== world.catalogGroup.leader)?.nodeId ?? "";
    await world.run(2_000);
    assert.equal(namesOf(world.catalogGroup.membership.learners), "n4");
    world.stop(name);
    await world.run(catalogVoterGoneMs - 5_000);
    assert.ok(namesOf(world.catalogGroup.membership.voters).includes(name));
    await world.run(5_000 + catalogLookMs + controllerIntervalMs);
    assert.ok(namesOf(world.catalogGroup.membership.voters).includes("n4"));
    assert.equal(namesOf(world.catalogGroup.membership.learners), name);
  });

  test("while nothing changes group 0 is left to sleep, and a change is looked at soon", async () => {
    await using world = new World("rest", 3);
    world.createTopic(4, 3);
    await world.until(() => world.isConverged());
    await world.run(2_000);
    const before = world.questionCount;
    await world.run(catalogLookMs);
    assert.ok(world.questionCount - before <= 2, `${world.questionCount - before} questions`);
    world.addNode();
    await world.run(2 * controllerIntervalMs);
    assert.ok(membersOf(world.catalogGroup.membership).some(({ nodeId }) => nodeId === "n4"));
  });

  test("a node that drains is emptied, even of group 0 and its lead, and leaves", async () => {
    await using world = new World("drain", 4);
    world.createTopic(10, 3);
    await world.run(2_000);
    const name = world.catalogGroup.leader ?? "";
    world.apply({ kind: "drain-node", name, isDraining: true });
    await world.until(() => world.isConverged() && !world.state.nodes.has(name));
    assert.ok(!membersOf(world.catalogGroup.membership).some(({ nodeId }) => nodeId === name));
    for (const { partition } of partitionsOf(world.state)) {
      assert.equal(partition.replicas.length, 3);
      assert.ok(!membersOf(world.groupOf(partition).membership).some(({ nodeId }) => nodeId === name));
    }
  });

  test("where no other node can take them, replicas of a draining node are given up", async () => {
    await using world = new World("shrink", 3);
    world.createTopic(6, 3);
    await world.run(2_000);
    world.apply({ kind: "drain-node", name: "n3", isDraining: true });
    await world.until(() => world.isConverged() && !world.state.nodes.has("n3"));
    for (const { partition } of partitionsOf(world.state)) assert.equal(world.groupOf(partition).membership.voters.length, 2);
  });

  test("a lost replica is begun anew under another incarnation, and only then", async () => {
    await using world = new World("lost", 3);
    const partition = world.createTopic(1, 3);
    await world.run(2_000);
    const replica = partition.replicas.find(({ node }) => node !== world.groupOf(partition).leader);
    assert.ok(replica !== undefined);
    world.lose(partition.uuid, replica);
    const placed = () => findPartition(world.state, partition.uuid)?.replicas.find(({ node }) => node === replica.node);
    await world.until(() => (placed()?.incarnation ?? 0) > replica.incarnation && world.isConverged());
    assert.deepEqual(
      namesOf(world.groupOf(partition).membership.voters),
      partition.replicas
        .map(({ node }) => node)
        .sort()
        .join(" "),
    );
  });

  test("nodes that join get their share of a few groups at a time, and group 0 its voters", async () => {
    await using world = new World("join", 2);
    world.createTopic(40, 1);
    await world.run(2_000);
    assert.equal(world.catalogGroup.membership.voters.length, 2);
    world.addNode();
    world.addNode();
    let most = 0;
    await world.until(() => {
      const copying = [...world.groups.values()].filter((group) => {
        return group !== world.catalogGroup && membersOf(group.membership).length > 1;
      });
      most = Math.max(most, copying.length);
      return world.isConverged();
    });
    assert.ok(most > 1 && most <= controllerMovesMaxCount, `${most}`);
    assert.deepEqual(
      loadsOf(world.state).map(({ replicas }) => replicas),
      [10, 10, 10, 10],
    );
    assert.equal(world.catalogGroup.membership.voters.length, 3);
    assert.equal(world.catalogGroup.membership.learners.length, 1);
  });

  test("groups that can't get further don't keep others from moving", async () => {
    await using world = new World("stuck", 4);
    world.createTopic(controllerMovesMaxCount + 4, 1);
    await world.run(2_000);
    world.stop("n4");
    const partitions = [...partitionsOf(world.state)].map(({ partition }) => partition);
    const stuck = partitions.filter(({ leader }) => leader !== "n4").slice(0, controllerMovesMaxCount);
    for (const partition of stuck) world.place(partition, [{ node: "n4" }], "n4");
    await world.run(5_000);
    const other = partitions.find((partition) => partition.leader !== "n4" && !stuck.includes(partition));
    assert.ok(other !== undefined);
    const target = world.names.find((name) => name !== other.leader && name !== "n4") ?? "";
    world.place(other, [{ node: target }], target);
    await world.until(() => findPartition(world.state, other.uuid)?.isMoving === false);
    world.start("n4");
    await world.until(() => world.isConverged());
  });

  test("through random faults it never leaves too few, changes one thing at a time, and ends where it should", async () => {
    const first = Number(process.env["SEED"] ?? 1);
    const count = process.env["PROVE"] === "1" ? 300 : 5;
    for (let seed = first; seed < first + count; seed += 1) {
      await using world = new World(`chaos ${seed}`, 3 + (seed % 3));
      const { random } = world;
      for (let topic = 0; topic < 4; topic += 1) world.createTopic(1 + random.integer(4), 1 + random.integer(3));
      for (let step = 0; step < 60; step += 1) {
        world.disturb();
        await world.run(500 + random.integer(3_000));
      }
      world.heal();
      await world.until(() => world.isConverged());
      assert.ok(world.changeCount > 5, `seed ${seed}: ${world.changeCount}`);
    }
  });
});

/** A cluster in which groups do at once what raft would do, and nodes, questions and disks fail. */
class World implements AsyncDisposable {
  readonly random: SeededRandom;
  readonly clock = createVirtualClock();
  readonly state = emptyCatalogState();
  readonly groups = new Map<string, FakeGroup>();
  readonly catalogGroup: FakeGroup;
  readonly #controllers = new Map<string, Controller>();
  readonly #up = new Map<string, number>();
  readonly #down = new Map<string, number>();
  readonly #lost = new Set<string>();
  readonly #watchers = new Set<() => void>();
  readonly #asking = new Set<string>();
  #transfers = 0;
  questionCount = 0;
  transfersAtOnce = 0;
  /** Nobody's catalog is up to date before. */
  refreshHold: Promise<void> | undefined;
  questionsAtOnce = 0;
  #offset = 0;
  #nodes = 0;
  #lostVersion = 0;
  #faults = 0;

  constructor(seed: string, nodeCount: number) {
    this.random = createSeededRandom(seed);
    const nodes = Array.from({ length: nodeCount }, () => this.#newNode());
    this.apply({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes });
    const members = nodes.map(({ name, storageId }) => ({ nodeId: name, storageId: replicaStorageId(storageId, 0) }));
    this.catalogGroup = new FakeGroup("c".repeat(32), members.slice(0, 3));
    this.groups.set(this.catalogGroup.id, this.catalogGroup);
    for (const { name } of nodes) this.#control(name);
  }

  get names(): string[] {
    return [...this.state.nodes.keys()];
  }

  get changeCount(): number {
    return [...this.groups.values()].reduce((sum, group) => sum + group.changeCount, 0);
  }

  get nextOffset(): number {
    return this.#offset;
  }

  addNode(): void {
    const node = this.#newNode();
    this.apply({ kind: "add-node", node });
    this.#control(node.name);
  }

  /** Returns its first partition. */
  createTopic(count: number, wishedFactor: number): CatalogPartition {
    const loads = loadsOf(this.state);
    const nodes = this.names;
    const replicationFactor = Math.min(wishedFactor, loads.length);
    const partitions = placePartitions({ loads, count, replicationFactor, random: this.random }).map((replicas) => ({
      uuid: randomUuid(this.random),
      replicas: replicas.map((name) => nodes.indexOf(name)),
    }));
    const name = `t${this.#offset}`;
    const uuid = randomUuid(this.random);
    const placed = { nodes, partitions };
    this.apply({ kind: "create-topic", name, uuid, createdAt: 0, replicationFactor, settings: {}, placed });
    const topic = this.state.topics.get(name);
    for (const partition of topic?.partitions ?? [])
      this.groups.set(partition.uuid, new FakeGroup(partition.uuid, this.#membersOf(partition)));
    const [first] = topic?.partitions ?? [];
    assert.ok(first !== undefined);
    return first;
  }

  place(
    partition: CatalogPartition,
    replicas: Extract<CatalogChange, { kind: "place-partition" }>["replicas"],
    leader: string,
  ) {
    this.apply({ kind: "place-partition", group: partition.uuid, basis: partition.placedAt, replicas, leader });
  }

  groupOf({ uuid }: CatalogPartition): FakeGroup {
    const group = this.groups.get(uuid);
    assert.ok(group !== undefined);
    return group;
  }

  ledBy(name: string): number {
    return [...this.groups.values()].filter((group) => group !== this.catalogGroup && group.leader === name).length;
  }

  stop(name: string): void {
    this.#up.delete(name);
    this.#down.set(name, this.clock.monotonic());
  }

  start(name: string): void {
    if (this.#up.has(name)) return;
    this.#down.delete(name);
    this.#up.set(name, this.clock.monotonic());
  }

  lose(group: string, replica: PlacedReplica): void {
    const storageId = memberOf(this.state, replica)?.storageId ?? "";
    if (this.groups.get(group)?.matches.delete(storageId) !== true) return;
    this.#lost.add(`${group} ${storageId}`);
    this.#lostVersion += 1;
  }

  disturb(): void {
    const { random, state } = this;
    const active = [...state.nodes.values()].filter(({ isDraining }) => !isDraining);
    const name = random.pick(this.names);
    this.#faults = random.pick([0, 0, 0.1, 0.4]);
    switch (random.integer(12)) {
      case 0:
      case 1:
      case 2:
        return this.stop(name);
      case 3:
      case 4:
      case 5:
        for (const it of this.names) this.start(it);
        return;
      case 6:
        if (this.#nodes < 9) this.addNode();
        return;
      case 7:
        if (active.length > 2 && this.random.chance(0.7))
          this.apply({ kind: "drain-node", name, isDraining: random.chance(0.7) });
        return;
      case 8:
        this.createTopic(1 + random.integer(3), 1 + random.integer(3));
        return;
      case 9: {
        const topic = random.pick([...state.topics.values()]);
        if (state.topics.size > 3) this.apply({ kind: "delete-topic", name: topic.name, uuid: topic.uuid });
        return;
      }
      case 10: {
        // One disk at a time, and none whose loss could cost what was committed.
        const { partition } = random.pick([...partitionsOf(state)]);
        const replica = random.pick(partition.replicas);
        const group = this.groupOf(partition);
        const others = group.membership.voters.filter((member) => {
          return member.nodeId !== replica.node && group.matches.get(member.storageId) === group.lastIndex;
        });
        if (!partition.isMoving && 2 * others.length > group.membership.voters.length) this.lose(partition.uuid, replica);
        return;
      }
      default: {
        const { topic, partition } = random.pick([...partitionsOf(state)]);
        const nodes = active.map((node) => node.name).filter(() => random.chance(0.6));
        const [leader] = nodes;
        if (leader === undefined || partition.replicas.length === 0) return;
        const present = [...partition.replicas, ...partition.leaving];
        const replicas = nodes.map((node) => present.find((replica) => replica.node === node) ?? { node });
        // One is begun anew though nothing is wrong with it, where another one stays.
        const mayRenew =
          topic.replicationFactor > 1 &&
          !partition.isMoving &&
          replicas.slice(0, -1).some((replica) => "incarnation" in replica);
        return this.place(
          partition,
          mayRenew && random.chance(0.3) ? [...replicas.slice(0, -1), { node: nodes.at(-1) ?? "" }] : replicas,
          leader,
        );
      }
    }
  }

  heal(): void {
    this.#faults = 0;
    for (const name of this.names) this.start(name);
  }

  /** Lets time pass. */
  async run(totalMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < totalMs; passedMs += tickMs) {
      this.clock.advance(tickMs);
      for (const group of this.groups.values()) {
        this.#removeFiles(group);
        group.pass((nodeId) => this.#up.has(nodeId), {
          appended: this.random.integer(20),
          copied: 500,
          mayBegin: (member) => this.#mayBegin(group, member),
        });
      }
      this.#check();
      await new Promise((resolve) => void setImmediate(resolve));
    }
  }

  async until(isOver: () => boolean): Promise<void> {
    for (let turn = 0; turn < 20_000; turn += 1) {
      if (isOver()) return;
      await this.run(tickMs);
    }
    assert.fail(`it doesn't come to an end: ${this.#describe()}`);
  }

  isConverged(): boolean {
    if ([...this.state.nodes.values()].some(({ isDraining }) => isDraining)) return false;
    const activeCount = this.state.nodes.size;
    const { voters, learners } = this.catalogGroup.membership;
    if (voters.length + learners.length !== activeCount || voters.length !== Math.min(activeCount, activeCount < 5 ? 3 : 5))
      return false;
    for (const { topic, partition } of partitionsOf(this.state)) {
      const group = this.groupOf(partition);
      const wished = this.#membersOf(partition).map(({ storageId }) => storageId);
      const found = group.membership.voters.map(({ storageId }) => storageId);
      if (partition.isMoving || group.membership.learners.length > 0 || group.leader !== partition.leader) return false;
      if (wished.toSorted().join() !== found.toSorted().join()) return false;
      if (partition.replicas.length !== Math.min(topic.replicationFactor, activeCount)) return false;
    }
    return true;
  }

  apply(change: CatalogChange): void {
    const outcome = applyCommand(this.state, { id: `c${this.#offset}`, ...change }, this.#offset);
    this.#offset += 1;
    if (outcome.kind === "refused") throw outcome.error;
    for (const run of this.#watchers) run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = Promise.all([...this.#controllers.values()].map((controller) => controller.close()));
    for (let turn = 0; turn < 20; turn += 1) {
      this.clock.advance(tickMs);
      await new Promise((resolve) => void setImmediate(resolve));
    }
    await closing;
  }

  /** What must be true at any time. */
  #check(): void {
    for (const group of this.groups.values()) {
      assert.deepEqual(group.violations, [], group.id);
      // Files go only of who is no member any more.
      for (const { nodeId, storageId } of membersOf(group.membership)) {
        const incarnation = Number(storageId.split("/")[1]);
        if (group === this.catalogGroup || this.state.deleted.has(group.id)) continue;
        if (this.#isSameDisk(nodeId, storageId))
          assert.equal(
            mayDeleteReplica(this.state, group.id, { node: nodeId, incarnation }),
            false,
            `${group.id} ${storageId}`,
          );
      }
    }
  }

  /** As nodes do: what the catalog names no more goes, if the node is up. */
  #removeFiles(group: FakeGroup): void {
    if (group === this.catalogGroup) return;
    for (const [node, storageId] of this.#replicasOf(group)) {
      const incarnation = Number(storageId.split("/")[1]);
      if (!this.#up.has(node) || !mayDeleteReplica(this.state, group.id, { node, incarnation })) continue;
      group.matches.delete(storageId);
      this.#lost.delete(`${group.id} ${storageId}`);
    }
  }

  /** A node has one replica of a group: the next one is made when the one before is gone, be it only the memory of a lost one. */
  #mayBegin(group: FakeGroup, { nodeId, storageId }: Member): boolean {
    if (group === this.catalogGroup) return true;
    const isNamed = findPartition(this.state, group.id)?.replicas.some((replica) => {
      return replica.node === nodeId && storageId.endsWith(`/${replica.incarnation}`);
    });
    return isNamed === true && !this.#replicasOf(group).some(([node, other]) => node === nodeId && other !== storageId);
  }

  /** All that nodes have, or remember to have had. */
  #replicasOf({ id, matches }: FakeGroup): readonly (readonly [node: string, storageId: string])[] {
    const lost = [...this.#lost].filter((key) => key.startsWith(`${id} `)).map((key) => key.slice(id.length + 1));
    return [...matches.keys(), ...lost].flatMap((storageId) => {
      const node = [...this.state.nodes.values()].find((it) => it.storageId === storageId.split("/")[0]);
      return node === undefined ? [] : [[node.name, storageId] as const];
    });
  }

  #isSameDisk(nodeId: string, storageId: string): boolean {
    return this.state.nodes.get(nodeId)?.storageId === storageId.split("/")[0];
  }

  #membersOf({ replicas }: CatalogPartition): Member[] {
    return replicas.map((replica) => memberOf(this.state, replica)).filter((member) => member !== undefined);
  }

  #control(name: string): void {
    this.start(name);
    const peers = { ask: (to: PeerAddress, kind: string, body: Buffer) => this.#ask(name, to, kind, body) };
    const options = {
      catalog: new CatalogOf(this, name),
      facts: new FactsOf(this),
      peers,
      clock: this.clock,
      logger: silentLogger,
      tolerance: 0,
    };
    this.#controllers.set(name, new Controller(options));
  }

  get lostVersion(): number {
    return this.#lostVersion;
  }

  async propose(name: string, change: CatalogChange): Promise<void> {
    await delay(this.clock, 5 + this.random.integer(50));
    if (this.catalogGroup.leader !== name) throw new ProglogError("NOT_LEADER", `Cannot propose: ${name} doesn't lead`);
    this.apply(change);
    if (this.random.chance(this.#faults)) throw new ProglogError("TIMEOUT", "Cannot say what became of it");
  }

  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }

  presenceOf(node: string): { readonly isConnected: boolean; readonly sinceMs: number } {
    const sinceMs = this.#up.get(node);
    return { isConnected: sinceMs !== undefined, sinceMs: sinceMs ?? this.#down.get(node) ?? 0 };
  }

  isLost(group: string, replica: PlacedReplica): boolean {
    return this.#lost.has(`${group} ${memberOf(this.state, replica)?.storageId ?? ""}`);
  }

  async #ask(from: string, to: PeerAddress, kind: string, body: Buffer): Promise<Buffer> {
    const nodeId = "nodeId" in to ? to.nodeId : "";
    const { group: id } = JSON.parse(body.toString()) as { readonly group: string };
    assert.ok(!this.#asking.has(`${from} ${id}`), "one question a group");
    this.questionCount += 1;
    this.#asking.add(`${from} ${id}`);
    const transfers = kind === groupQuestions.transfer ? 1 : 0;
    this.#transfers += transfers;
    this.transfersAtOnce = Math.max(this.transfersAtOnce, this.#transfers);
    this.questionsAtOnce = Math.max(this.questionsAtOnce, this.#asking.size);
    try {
      await delay(this.clock, 1 + this.random.integer(80));
      if (!this.#up.has(nodeId) || this.random.chance(this.#faults))
        throw new ProglogError("UNAVAILABLE", `Cannot ask ${nodeId}`);
      const answer = this.#answer(nodeId, kind, body);
      await delay(this.clock, 1 + this.random.integer(80));
      if (this.random.chance(this.#faults)) throw new ProglogError("TIMEOUT", `Cannot ask ${nodeId}: no answer came`);
      return answer;
    } finally {
      this.#asking.delete(`${from} ${id}`);
      this.#transfers -= transfers;
    }
  }

  #answer(nodeId: string, kind: string, body: Buffer): Buffer {
    const { group: id } =
      kind === groupQuestions.status
        ? decodeStatusQuestion(body)
        : kind === groupQuestions.change
          ? decodeChangeQuestion(body)
          : decodeTransferQuestion(body);
    const group = this.groups.get(id);
    if (group?.leader !== nodeId) throw new ProglogError("NOT_LEADER", `Cannot say: ${nodeId} doesn't lead`);
    if (kind === groupQuestions.status) return encodeReport(group.report((node) => this.#up.has(node)));
    if (kind === groupQuestions.transfer) group.transfer(decodeTransferQuestion(body).to);
    else {
      const { membership, changes } = decodeChangeQuestion(body);
      group.change(membership, changes);
    }
    return Buffer.alloc(0);
  }

  #newNode() {
    this.#nodes += 1;
    const storageId = this.#nodes.toString(16).padStart(32, "0");
    return { name: `n${this.#nodes}`, storageId, address: `n${this.#nodes}:8000`, version: 1 };
  }

  #describe(): string {
    const partitions = [...partitionsOf(this.state)].map(({ partition }) => {
      const { membership, leader } = this.groupOf(partition);
      const wished = partition.replicas.map(({ node, incarnation }) => `${node}/${incarnation}`).join(" ");
      const found = JSON.stringify([membership.voters, membership.outgoing, membership.learners].map(namesOf));
      return `${partition.uuid.slice(0, 4)} ${partition.isMoving} wished ${wished} led by ${partition.leader}; is ${found} led by ${leader}`;
    });
    const nodes = [...this.state.nodes.values()].map(({ name, isDraining }) => `${name}${isDraining ? " drains" : ""}`);
    return [...nodes, `group 0 ${JSON.stringify(this.catalogGroup.membership)}`, ...partitions].join("\n");
  }
}

/** The catalog as a node's controller has it. */
class CatalogOf {
  readonly #world: World;
  readonly #name: string;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
  }

  get state(): CatalogState {
    return this.#world.state;
  }

  get nextOffset(): number {
    return this.#world.nextOffset;
  }

  get isLeader(): boolean {
    return this.leader === this.#name;
  }

  get leader(): string | undefined {
    return this.#world.catalogGroup.leader;
  }

  async refresh(): Promise<void> {
    await this.#world.refreshHold;
  }

  propose(change: CatalogChange): Promise<void> {
    return this.#world.propose(this.#name, change);
  }

  watch(run: () => void): () => void {
    return this.#world.watch(run);
  }
}

class FactsOf implements ControllerFacts {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  leaderOf(group: string): string | undefined {
    return this.#world.groups.get(group)?.leader;
  }

  presenceOf(node: string) {
    return this.#world.presenceOf(node);
  }

  isLost(group: string, replica: PlacedReplica): boolean {
    return this.#world.isLost(group, replica);
  }

  get lostVersion(): number {
    return this.#world.lostVersion;
  }
}

const tickMs = 50;

function namesOf(members: readonly Member[]): string {
  return members
    .map(({ nodeId }) => nodeId)
    .sort()
    .join(" ");
}
