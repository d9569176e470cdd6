import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { catalogCommandMaxBytes, clusterNodesMaxCount, deletedGroupsMaxCount } from "../../base/cluster-limits.ts";
import { applyCommand } from "./apply-command.ts";
import { type CatalogChange, decodeCommand, encodeCommand } from "./catalog-command.ts";
import { type CatalogWish, CommandMaker, decodeRequest, encodeRequest } from "./catalog-request.ts";
import { type CatalogState, emptyCatalogState } from "./catalog-state.ts";

const options = { now: 5, random: createSeededRandom("requests") };

describe("making commands of requests", () => {
  test("the size of a command is bounded", () => {
    const maker = new CommandMaker(formed(1), options);
    const overhead = encodeCommand({ id: "c1", kind: "set-policy", policy: "" }).length;
    const wish = (bytes: number): CatalogWish => ({ kind: "set-policy", policy: "p".repeat(bytes - overhead) });
    assert.equal(maker.make({ id: "c1", wish: wish(catalogCommandMaxBytes) }).length, catalogCommandMaxBytes);
    assert.throws(() => maker.make({ id: "c1", wish: wish(catalogCommandMaxBytes + 1) }), {
      code: "INVALID_ARGUMENT",
      message: `Cannot change the catalog: the change takes ${catalogCommandMaxBytes + 1} bytes, and ${catalogCommandMaxBytes} are allowed`,
    });
  });

  test("nothing comes before the cluster is formed, whose offset is its nodes' incarnation", () => {
    const maker = new CommandMaker(emptyCatalogState(), options);
    const wishes: CatalogWish[] = [
      { kind: "set-policy", policy: "" },
      { kind: "add-node", node: nodeOf(1) },
      { kind: "drain-node", name: "n1", isDraining: true },
    ];
    for (const wish of wishes) assert.throws(() => maker.make({ id: "c1", wish }), { code: "UNAVAILABLE" });
    maker.make({ id: "c1", wish: { kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes: [nodeOf(1)] } });
  });

  test("so is the number of nodes, but not for one that is there", () => {
    const almost = new CommandMaker(formed(clusterNodesMaxCount - 1), options);
    almost.make({ id: "c1", wish: { kind: "add-node", node: nodeOf(clusterNodesMaxCount) } });
    const full = new CommandMaker(formed(clusterNodesMaxCount), options);
    full.make({ id: "c1", wish: { kind: "add-node", node: nodeOf(1) } });
    assert.throws(() => full.make({ id: "c1", wish: { kind: "add-node", node: nodeOf(clusterNodesMaxCount + 1) } }), {
      code: "INVALID_ARGUMENT",
      message: `Cannot add node n${clusterNodesMaxCount + 1}: the cluster has ${clusterNodesMaxCount}, and no more are allowed`,
    });
  });

  test("deleted groups that are remembered are bounded, those of one turn among them, and who is waited for is named", () => {
    const state = formed(2);
    const topicOf = (name: string, number: number): CatalogChange => {
      const placed = { nodes: ["n1"], partitions: [{ uuid: uuid(number), replicas: [0] }] };
      return { kind: "create-topic", name, uuid: uuid(number + 1), createdAt: 0, replicationFactor: 1, settings: {}, placed };
    };
    apply(state, encodeCommand({ id: "t1", ...topicOf("bills", 1) }));
    apply(state, encodeCommand({ id: "t2", ...topicOf("orders", 3) }));
    for (let count = 1; count < deletedGroupsMaxCount; count += 1) state.deleted.set(`g${count}`, ["n2"]);
    const maker = new CommandMaker(state, options);
    maker.make({ id: "d1", wish: { kind: "delete-topic", name: "bills", uuid: uuid(2) } });
    assert.throws(() => maker.make({ id: "d2", wish: { kind: "delete-topic", name: "orders", uuid: uuid(4) } }), {
      code: "TOO_MANY_PARTITIONS",
      message: `Cannot delete topic orders: ${deletedGroupsMaxCount} deleted partitions are remembered until n2 removed their files, and ${deletedGroupsMaxCount} may be`,
    });
    // What isn't there is told by the fold, as always.
    maker.make({ id: "d3", wish: { kind: "delete-topic", name: "none", uuid: uuid(9) } });
  });

  test("replicas go where they are wished, and those that are there stay", () => {
    const state = formed(4);
    const maker = new CommandMaker(state, options);
    const wish = {
      kind: "wish-topic",
      name: "orders",
      uuid: uuid(1),
      partitions: 1,
      replicationFactor: 3,
      settings: {},
    } as const;
    apply(state, maker.make({ id: "c1", wish }));
    const partition = state.topics.get("orders")?.partitions[0];
    const names = partition?.replicas.map(({ node }) => node) ?? [];
    const free = [...state.nodes.keys()].find((name) => !names.includes(name)) ?? "";
    const nodes = [free, ...names.slice(1)];
    const move = (leader?: string): CatalogChange => {
      const moved = {
        kind: "wish-replicas",
        topic: "orders",
        partition: 0,
        nodes,
        ...(leader === undefined ? {} : { leader }),
      } as const;
      const command = decodeCommand(maker.make({ id: "c2", wish: moved }));
      assert.ok(command.kind === "place-partition");
      return command;
    };
    const command = move();
    assert.ok(command.kind === "place-partition");
    assert.deepEqual(command.replicas, [{ node: free }, ...(partition?.replicas.slice(1) ?? [])]);
    assert.equal(command.leader, free, "the leader isn't one any more");
    assert.throws(() => move(names[0]), { code: "INVALID_ARGUMENT" });
    applyCommand(state, { id: "c2", ...command }, 9);
    assert.throws(() => move(), { code: "CHANGE_IN_PROGRESS", message: /it is being moved already/ });
  });

  test("a request travels as it is", () => {
    const wishes: readonly CatalogWish[] = [
      { kind: "wish-topic", name: "a", uuid: uuid(1), partitions: 2, settings: { retentionMs: 5 } },
      { kind: "wish-change", name: "a", uuid: uuid(1), settings: { retentionMs: null } },
      { kind: "wish-replicas", topic: "a", partition: 0, nodes: ["n1"] },
      { kind: "delete-topic", name: "a", uuid: uuid(1) },
    ];
    for (const wish of wishes) assert.deepEqual(decodeRequest(encodeRequest({ id: "r1", wish })), { id: "r1", wish });
  });
});

function formed(nodeCount: number): CatalogState {
  const state = emptyCatalogState();
  const nodes = Array.from({ length: nodeCount }, (_, number) => nodeOf(number + 1));
  applyCommand(state, { id: "c0", kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes }, 0);
  return state;
}

function apply(state: CatalogState, value: Buffer): void {
  const command = decodeCommand(value);
  assert.ok(command.kind !== "malformed" && applyCommand(state, command, 1).kind === "applied");
}

function nodeOf(number: number) {
  return { name: `n${number}`, storageId: number.toString(16).padStart(32, "0"), address: `n${number}:8000`, version: 1 };
}

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}
