import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSimDisk } from "../../../sim/disk.ts";
import { replicaKeeperRetryMs } from "../../base/cluster-limits.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import type { GroupMember } from "../group/group-member.ts";
import type { GroupState } from "../group/group-set.ts";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange } from "./catalog-command.ts";
import { emptyCatalogState } from "./catalog-state.ts";
import { NodeRecord } from "./node-record.ts";
import type { ReplicaRecord } from "./node-record-state.ts";
import { ReplicaKeeper } from "./replica-keeper.ts";

const storageId = "a".repeat(32);
const group = "00000000-0000-4000-8000-000000000001";

describe("the keeper of a node's replicas", () => {
  test("what couldn't be made is made a little later, though it is listed by then", async () => {
    await using world = await World.open();
    world.fault = new ProglogError("DISK_FULL", "Cannot make it");
    world.createTopic();
    await world.run();
    assert.deepEqual([world.state?.kind, world.record.state.replicas.length], ["failed", 1]);
    await world.run(replicaKeeperRetryMs);
    assert.equal(world.state?.kind, "failed");
    world.fault = undefined;
    await world.run(replicaKeeperRetryMs);
    assert.equal(world.state?.kind, "open");
    const { attempts } = world;
    await world.run(10 * replicaKeeperRetryMs);
    assert.equal(world.attempts, attempts, "it is left alone then");
  });
});

/** A node whose groups are remembered, and nothing more. */
class World implements AsyncDisposable {
  readonly clock = createVirtualClock();
  readonly catalog = emptyCatalogState();
  readonly record: NodeRecord;
  fault: ProglogError | undefined;
  state: GroupState<GroupMember> | undefined;
  attempts = 0;
  readonly #keeper: ReplicaKeeper;
  #watcher: () => void = () => {};
  #offset = 0;

  private constructor(record: NodeRecord) {
    this.record = record;
    const open = (): void => {
      this.attempts += 1;
      this.state = this.fault === undefined ? { kind: "open", member } : { kind: "failed", error: this.fault };
    };
    this.#keeper = new ReplicaKeeper({
      catalog: {
        state: this.catalog,
        watch: (run) => {
          this.#watcher = run;
          return () => {};
        },
        propose: async () => {},
      },
      record,
      groups: {
        stateOf: () => this.state,
        create: async (replica: Omit<ReplicaRecord, "state">) => {
          await record.addReplicas([replica]);
          open();
          if (this.fault !== undefined) throw this.fault;
          return member;
        },
        reopen: async () => open(),
        delete: async () => assert.fail("nothing is deleted"),
      },
      self: "a",
      clock: this.clock,
      logger: silentLogger,
      changed: () => {},
    });
  }

  static async open(): Promise<World> {
    const disk = createSimDisk({ isRecording: false });
    await disk.makeDirectory("/n");
    const world = new World(await NodeRecord.open(disk, "/n", () => storageId));
    const nodes = [{ name: "a", storageId, address: "a:1", version: 1 }];
    world.#apply({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes });
    return world;
  }

  createTopic(): void {
    const placed = { nodes: ["a"], partitions: [{ uuid: group, replicas: [0] }] };
    const uuid = "00000000-0000-4000-8000-000000000009";
    this.#apply({ kind: "create-topic", name: "t", uuid, createdAt: 0, replicationFactor: 1, settings: {}, placed });
  }

  async run(ms = 0): Promise<void> {
    this.clock.advance(ms);
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.close();
  }

  #apply(change: CatalogChange): void {
    assert.equal(applyCommand(this.catalog, { id: `id${this.#offset}`, ...change }, this.#offset).kind, "applied");
    this.#offset += 1;
    this.#watcher();
  }
}

const member: GroupMember = {
  isLeader: false,
  term: 0,
  leader: undefined,
  receive: () => {},
  tick: () => {},
  unreachable: () => {},
  transferLeadership: () => {},
  close: async () => {},
};
