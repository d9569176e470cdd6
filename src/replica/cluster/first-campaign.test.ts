import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSimDisk } from "../../../sim/disk.ts";
import type { ProglogError } from "../../base/error.ts";
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

describe("a group that was just made", () => {
  test("who is to lead a new group asks for votes at once, and again while nobody leads", async () => {
    for (const first of ["a", "b"] as const) {
      await using world = await World.open();
      world.createTopic(first === "a" ? ["a", "b"] : ["b", "a"]);
      await world.run();
      await world.run();
      assert.equal(world.campaigns, first === "a" ? 1 : 0);
      await world.run(50);
      assert.equal(world.campaigns, first === "a" ? 2 : 0);
      world.leader = "b";
      await world.run(1000);
      assert.equal(world.campaigns, first === "a" ? 2 : 0);
    }
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
  campaigns = 0;
  leader: string | undefined;
  readonly #keeper: ReplicaKeeper;
  #watcher: () => void = () => {};
  #offset = 0;

  private constructor(record: NodeRecord) {
    this.record = record;
    const member: GroupMember = Object.defineProperty(
      { ...memberThatDoesNothing, campaign: () => void (this.campaigns += 1) },
      "leader",
      { get: () => this.leader },
    );
    const open = (): void => {
      this.attempts += 1;
      this.state = this.fault === undefined ? { kind: "open", member } : { kind: "failed", error: this.fault };
    };
    this.#keeper = new ReplicaKeeper({
      catalog: {
        state: this.catalog,
        isCurrent: true,
        nextOffset: 2,
        watch: (run) => {
          this.#watcher = run;
          return () => {};
        },
        propose: async () => {},
      },
      record,
      groups: {
        forgetLeader: () => {},
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
    const nodes = ["a", "b"].map((name) => ({ name, storageId: name.repeat(32), address: `${name}:1`, version: 1 }));
    world.#apply({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes });
    return world;
  }

  createTopic(nodes: readonly string[] = ["a"]): void {
    const placed = { nodes, partitions: [{ uuid: group, replicas: nodes.map((_, number) => number) }] };
    const uuid = "00000000-0000-4000-8000-000000000009";
    this.#apply({ kind: "create-topic", name: "t", uuid, createdAt: 0, replicationFactor: nodes.length, settings: {}, placed });
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

const memberThatDoesNothing: GroupMember = {
  isLeader: false,
  term: 0,
  leader: undefined,
  receive: () => {},
  tick: () => {},
  disconnected: () => {},
  transferLeadership: () => {},
  close: async () => {},
};
