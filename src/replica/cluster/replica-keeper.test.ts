import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { forgottenGroupsMaxCount, replicaKeeperRetryMs } from "../../base/cluster-limits.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange } from "./catalog-command.ts";
import { emptyCatalogState, findPartition } from "./catalog-state.ts";
import { NodeRecord } from "./node-record.ts";
import { ReplicaKeeper } from "./replica-keeper.ts";

const clusterId = "c".repeat(32);
const storageOf = (node: string): string => node.repeat(32);
const uuids = [1, 2, 3].map((number) => `00000000-0000-4000-8000-00000000000${number}`);

/** A catalog in memory, and a set of groups that remembers what it was told. */
class World {
  readonly clock = createVirtualClock();
  readonly state = emptyCatalogState();
  readonly told: string[] = [];
  readonly present = new Set<string>();
  /** What creating fails with, next. */
  failures: Error[] = [];
  /** Why no replica can be made, though it is listed. */
  fault: Error | undefined;
  changedCount = 0;
  #watcher = (): void => {};
  #offset = 0;
  readonly #changes: CatalogChange[] = [];
  readonly #record: NodeRecord;
  readonly #keeper: ReplicaKeeper;
  /** Whether the state is as far as is known to be committed. */
  isCurrent = true;

  private constructor(record: NodeRecord) {
    this.#record = record;
    const isCurrent = (): boolean => this.isCurrent;
    const nextOffset = (): number => this.#offset;
    this.#keeper = new ReplicaKeeper({
      catalog: {
        state: this.state,
        get isCurrent() {
          return isCurrent();
        },
        get nextOffset() {
          return nextOffset();
        },
        watch: (run) => {
          this.#watcher = run;
          return () => {
            this.#watcher = () => {};
          };
        },
        propose: async (change) => {
          this.told.push(`propose ${change.kind}`);
          this.apply(change);
        },
      },
      record,
      groups: {
        create: async ({ groupId, incarnation, logId, firstMembers }) => {
          const failure = this.failures.shift();
          if (failure !== undefined) throw failure;
          await record.addReplicas([{ groupId, incarnation, logId, firstMembers }]);
          this.present.add(groupId);
          if (this.fault !== undefined) throw this.fault;
          this.told.push(`create ${groupId.slice(-1)} of ${firstMembers?.length ?? "others"}`);
          return Promise.reject(new Error("nobody asks for the member"));
        },
        delete: async (groupId, incarnation) => {
          await record.setReplicaState(groupId, incarnation, "deleting");
          await record.setReplicaState(groupId, incarnation, "deleted");
          this.present.delete(groupId);
          this.told.push(`delete ${groupId.slice(-1)}`);
        },
        reopen: async (groupId) => void this.told.push(`reopen ${groupId.slice(-1)}`),
        forgetLeader: (groupId) => void this.told.push(`forget ${groupId.slice(-1)}`),
        stateOf: (groupId) => {
          if (!this.present.has(groupId)) return undefined;
          return this.fault === undefined ? { kind: "opening" } : { kind: "failed", error: this.fault };
        },
      },
      self: "a",
      clock: this.clock,
      logger: silentLogger,
      changed: () => {
        this.changedCount += 1;
      },
    });
  }

  static async open(): Promise<World> {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/data");
    const world = new World(await NodeRecord.open(disk, "/data", () => storageOf("a")));
    const nodes = ["a", "b"].map((name) => ({ name, storageId: storageOf(name), address: `${name}:1`, version: 1 }));
    world.apply({ kind: "form-cluster", version: 1, clusterId, nodes });
    return world;
  }

  apply(change: CatalogChange): void {
    this.#changes.push(change);
    const outcome = applyCommand(this.state, { id: `id${this.#offset}`, ...change }, this.#offset);
    assert.notEqual(outcome.kind, "refused");
    this.#offset += 1;
    this.#watcher();
  }

  topic(name: string, groups: readonly string[]): void {
    const uuid = `00000000-0000-4000-9000-${name.padStart(12, "0")}`;
    const placed = { nodes: ["a", "b"], partitions: groups.map((group) => ({ uuid: group, replicas: [0, 1] })) };
    this.apply({ kind: "create-topic", name, uuid, createdAt: 0, replicationFactor: 2, settings: {}, placed });
  }

  /** The catalog is once more as it was after so many changes. */
  readAgain(count: number): void {
    const changes = this.#changes.splice(0);
    for (const part of [this.state.nodes, this.state.topics, this.state.groups, this.state.deleted, this.state.applied])
      part.clear();
    this.state.clusterId = undefined;
    this.#offset = 0;
    for (const change of changes.slice(0, count)) this.apply(change);
  }

  deleteTopic(name: string): void {
    this.apply({ kind: "delete-topic", name, uuid: `00000000-0000-4000-9000-${name.padStart(12, "0")}` });
  }

  get replicas() {
    return this.#record.state.replicas;
  }

  async settle(): Promise<void> {
    for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    await this.#keeper.close();
  }
}

describe("a node's replicas follow the catalog", () => {
  test("what is placed here is made, once", async () => {
    const world = await World.open();
    world.topic("1", uuids.slice(0, 2));
    await world.settle();
    assert.deepEqual(world.told.toSorted(), ["create 1 of 2", "create 2 of 2"]);
    world.topic("2", uuids.slice(2));
    await world.settle();
    assert.deepEqual(world.told.slice(2), ["create 3 of 2"]);
    assert.ok(world.changedCount >= 2);
    await world.close();
  });

  test("what is deleted goes, and the cluster is told that nothing of it is left here", async () => {
    const world = await World.open();
    world.topic("1", uuids.slice(0, 1));
    await world.settle();
    world.deleteTopic("1");
    await world.settle();
    assert.deepEqual(world.told, ["create 1 of 2", "delete 1", "forget 1", "propose forget-deleted"]);
    assert.deepEqual(world.state.deleted.get(uuids[0] ?? ""), ["b"]);
    await world.close();
  });

  test("what was deleted is listed no more, and isn't made when the catalog is read again from an earlier offset", async () => {
    const world = await World.open();
    world.topic("1", uuids.slice(0, 1));
    world.topic("2", uuids.slice(1, 2));
    await world.settle();
    world.deleteTopic("1");
    await world.settle();
    assert.deepEqual(
      world.replicas.map(({ groupId, state }) => [groupId, state]),
      [[uuids[1], "created"]],
    );
    // As after a start whose log begins before all that.
    world.readAgain(2);
    await world.settle();
    assert.ok(world.state.topics.has("1"));
    assert.deepEqual(world.told.filter((told) => told.startsWith("create")).toSorted(), ["create 1 of 2", "create 2 of 2"]);
    await world.close();
  });

  test("of more groups than fit into a command the cluster is told in several", async () => {
    const world = await World.open();
    world.isCurrent = false;
    const many = Array.from({ length: forgottenGroupsMaxCount + 1 }, (_, number) => {
      return `00000000-0000-4000-8001-${String(number).padStart(12, "0")}`;
    });
    world.topic("1", many);
    world.deleteTopic("1");
    world.isCurrent = true;
    world.topic("2", uuids.slice(0, 1));
    await world.settle();
    assert.equal(world.told.filter((told) => told === "propose forget-deleted").length, 2);
    assert.ok([...world.state.deleted.values()].every((nodes) => !nodes.includes("a")));
    await world.close();
  });

  test("what couldn't be made is made a little later, though it is listed by then, and is left alone after that", async () => {
    const world = await World.open();
    world.fault = new ProglogError("DISK_FULL", "Cannot create: the disk is full");
    world.topic("1", uuids.slice(0, 1));
    await world.settle();
    world.clock.advance(replicaKeeperRetryMs);
    await world.settle();
    assert.deepEqual(world.told, ["reopen 1"]);
    world.fault = undefined;
    world.clock.advance(replicaKeeperRetryMs);
    await world.settle();
    world.topic("2", uuids.slice(1, 2));
    await world.settle();
    assert.deepEqual(world.told, ["reopen 1", "create 2 of 2"]);
    await world.close();
  });

  test("what the fold passes by on its way to what is known isn't made", async () => {
    const world = await World.open();
    world.isCurrent = false;
    world.topic("1", uuids.slice(0, 1));
    await world.settle();
    world.deleteTopic("1");
    world.topic("2", uuids.slice(1, 2));
    world.isCurrent = true;
    world.topic("3", uuids.slice(2));
    await world.settle();
    assert.deepEqual(world.told.filter((told) => told.startsWith("create")).toSorted(), ["create 2 of 2", "create 3 of 2"]);
    await world.close();
  });

  test("the successor of a replica is made as soon as that has gone", async () => {
    const world = await World.open();
    const [group = ""] = uuids;
    world.topic("1", [group]);
    await world.settle();
    const before = findPartition(world.state, group);
    assert.ok(before !== undefined);
    const [first, second] = before.replicas;
    assert.ok(first?.node === "a" && second !== undefined);
    world.apply({ kind: "place-partition", group, basis: before.placedAt, replicas: [{ node: "a" }, second], leader: "b" });
    await world.settle();
    const { placedAt } = findPartition(world.state, group) ?? before;
    world.apply({ kind: "replica-left", group, basis: placedAt, replica: first });
    await world.settle();
    assert.deepEqual(world.told, ["create 1 of 2", "delete 1", "create 1 of others"]);
    await world.close();
  });

  test("what fails is tried again a little later, and keeps nobody else waiting", async () => {
    const world = await World.open();
    world.failures = [new ProglogError("DISK_FULL", "Cannot create: the disk is full")];
    world.topic("1", uuids.slice(0, 2));
    await world.settle();
    assert.deepEqual(world.told, ["create 2 of 2"]);
    world.clock.advance(replicaKeeperRetryMs);
    await world.settle();
    assert.deepEqual(world.told, ["create 2 of 2", "create 1 of 2"]);
    await world.close();
  });

  test("nothing is done once it is closed", async () => {
    const world = await World.open();
    await world.close();
    world.topic("1", uuids.slice(0, 1));
    await world.settle();
    assert.deepEqual(world.told, []);
  });
});
