import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { appliedCommandsMaxCount } from "../../base/cluster-limits.ts";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange, CatalogCommand, NodeIdentity } from "./catalog-command.ts";
import { decodeState, encodeState } from "./catalog-snapshot.ts";
import { emptyCatalogState, findPartition, mayDeleteReplica, memberOf } from "./catalog-state.ts";
import { applyDumbly, type DumbCatalog, emptyDumbCatalog } from "./dumb-catalog.ts";
import { randomCommand } from "./random-commands.ts";
import { policyDigest } from "../policy-store.ts";

const clusterId = "c".repeat(32);
const groups = ["1", "2", "3"].map((digit) => `${digit.repeat(8)}-0000-4000-8000-000000000000`);
const [group = "", otherGroup = "", thirdGroup = ""] = groups;

describe("the catalog's commands", () => {
  test("do what their dumb twins do, and what doesn't apply changes nothing", () => {
    const seen = new Map<string, number>();
    for (let seed = 0; seed < 20; seed += 1) {
      const random = createSeededRandom(`catalog ${seed}`);
      const state = emptyCatalogState();
      let twin: DumbCatalog = emptyDumbCatalog;
      for (let offset = 0; offset < 150; offset += 1) {
        const command = randomCommand(random, state, offset);
        const before = encodeState(state);
        const outcome = applyCommand(state, command, offset);
        twin = applyDumbly(twin, command, offset);
        const after = encodeState(state);
        if (outcome.kind !== "applied") assert.equal(after, before, `${command.kind} ${outcome.kind}`);
        assert.deepEqual(JSON.parse(after), sortedTwin(twin), `seed ${seed}, offset ${offset}: ${JSON.stringify(command)}`);
        if (state.clusterId !== undefined) assert.equal(encodeState(decodeState(after)), after);
        const what = `${command.kind} ${outcome.kind}`;
        seen.set(what, (seen.get(what) ?? 0) + 1);
      }
    }
    // A test whose commands are all refused proves little.
    for (const kind of changingKinds) assert.ok((seen.get(`${kind} applied`) ?? 0) > 5, `${kind}: ${[...seen].join(" ")}`);
    for (const kind of changingKinds.filter((it) => it !== "forget-deleted"))
      assert.ok((seen.get(`${kind} refused`) ?? 0) > 5, `${kind}: ${[...seen].join(" ")}`);
  });

  test("a policy is set on the basis of the one that there is, or not at all", () => {
    const world = new World();
    world.form("n1");
    world.is("applied", { kind: "set-policy", policy: "a", basis: policyDigest("") });
    assert.match(world.refusal({ kind: "set-policy", policy: "b", basis: policyDigest("") }), /it was changed meanwhile/);
    assert.equal(world.state.policy, "a");
    world.is("applied", { kind: "set-policy", policy: "b", basis: policyDigest("a") });
    world.is("applied", { kind: "set-policy", policy: "c" });
    assert.equal(world.state.policy, "c");
  });

  test("nothing applies before the cluster is formed, and it is formed once", () => {
    const world = new World();
    assert.match(world.refusal({ kind: "set-policy", policy: "p" }), /the cluster isn't formed yet/);
    world.form("n1", "n2");
    world.is("repeated", { kind: "form-cluster", version: 1, clusterId, nodes: [nodeOf("n1")] });
    const other = { kind: "form-cluster", version: 1, clusterId: "d".repeat(32), nodes: [nodeOf("n1")] } as const;
    assert.match(world.refusal(other), /this is cccc/);
    assert.deepEqual([...world.state.nodes.keys()], ["n1", "n2"]);
  });

  test("a name stands for one directory, and a directory for one name", () => {
    const world = new World().form("n1");
    world.apply({ kind: "add-node", node: nodeOf("n2") });
    assert.match(
      world.refusal({ kind: "add-node", node: { ...nodeOf("n2"), storageId: "9".repeat(32) } }),
      /another directory/,
    );
    assert.match(world.refusal({ kind: "add-node", node: { ...nodeOf("n3"), storageId: nodeOf("n2").storageId } }), /as n2/);
    world.apply({ kind: "add-node", node: { ...nodeOf("n2"), address: "elsewhere:8000" } });
    assert.equal(world.state.nodes.get("n2")?.address, "elsewhere:8000");
    assert.equal(world.state.nodes.get("n2")?.incarnation, 1, "it is the same replica of group 0");
    world.apply({ kind: "update-node", node: nodeOf("n2"), isRenewed: true });
    assert.equal(world.state.nodes.get("n2")?.incarnation, world.offset - 1);
  });

  test("a replica's incarnation is the offset at which it was placed, and one that is replaced is somebody else", () => {
    const world = new World().form("n1", "n2", "n3").createTopic("orders", [group], ["n1", "n2"]);
    const placedAt = world.offset - 1;
    assert.deepEqual(world.partition().replicas, [
      { node: "n1", incarnation: placedAt },
      { node: "n2", incarnation: placedAt },
    ]);
    const replicas = [{ node: "n2" }, { node: "n1", incarnation: placedAt }];
    world.apply({ kind: "place-partition", group, basis: placedAt, replicas, leader: "n1" });
    const replacedAt = world.offset - 1;
    const { leaving, isMoving } = world.partition();
    assert.deepEqual({ leaving, isMoving }, { leaving: [{ node: "n2", incarnation: placedAt }], isMoving: true });
    assert.deepEqual(memberOf(world.state, { node: "n2", incarnation: replacedAt }), {
      nodeId: "n2",
      storageId: `${nodeOf("n2").storageId}/${replacedAt}`,
    });
    // Its files stay until the group is known to be without it.
    const old = { node: "n2", incarnation: placedAt };
    assert.equal(mayDeleteReplica(world.state, group, old), false);
    assert.match(world.refusal({ kind: "replica-left", group, basis: placedAt, replica: old }), /it was placed anew since/);
    world.is("repeated", { kind: "replica-left", group, basis: replacedAt, replica: { ...old, incarnation: 77 } });
    world.apply({ kind: "replica-left", group, basis: replacedAt, replica: old });
    assert.equal(mayDeleteReplica(world.state, group, old), true);
    assert.equal(world.partition().isMoving, true);
    world.apply({ kind: "placement-done", group, basis: replacedAt });
    assert.equal(mayDeleteReplica(world.state, group, old), true);
    assert.equal(mayDeleteReplica(world.state, group, { node: "n2", incarnation: replacedAt }), false);
  });

  test("a placement that was planned on another one doesn't apply", () => {
    const world = new World().form("n1", "n2", "n3").createTopic("orders", [group], ["n1"]);
    const basis = world.offset - 1;
    world.apply({ kind: "place-partition", group, basis, replicas: [{ node: "n2" }], leader: "n2" });
    const late = { kind: "place-partition", group, basis, replicas: [{ node: "n3" }], leader: "n3" } as const;
    assert.match(world.refusal(late), /it was placed anew since, at 2/);
    assert.match(world.refusal({ kind: "placement-done", group, basis }), /it was placed anew since/);
    // One that is leaving may be called back as it is.
    const back = {
      kind: "place-partition",
      group,
      basis: 2,
      replicas: [{ node: "n1", incarnation: basis }],
      leader: "n1",
    } as const;
    world.apply(back);
    assert.deepEqual(world.partition().leaving, [{ node: "n2", incarnation: 2 }]);
  });

  test("another wished leader alone moves nothing", () => {
    const world = new World().form("n1", "n2").createTopic("orders", [group], ["n1", "n2"]);
    const { replicas, placedAt } = world.partition();
    world.apply({ kind: "place-partition", group, basis: placedAt, replicas, leader: "n2" });
    assert.deepEqual(world.partition(), { ...world.partition(), leader: "n2", isMoving: false, leaving: [], replicas });
  });

  test("a topic is deleted for good once every node says that it has none of it", () => {
    const world = new World().form("n1", "n2", "n3").createTopic("orders", [group, otherGroup], ["n1", "n2"]);
    const uuid = world.state.topics.get("orders")?.uuid ?? "";
    world.apply({ kind: "delete-topic", name: "orders", uuid });
    const replica = { node: "n3", incarnation: 0 };
    assert.equal(mayDeleteReplica(world.state, group, replica), true, "it may have had a replica while it was down");
    world.apply({ kind: "forget-deleted", node: "n1", groups: [group, otherGroup] });
    world.is("repeated", { kind: "forget-deleted", node: "n1", groups: [group] });
    world.apply({ kind: "forget-deleted", node: "n2", groups: [group] });
    assert.deepEqual(world.state.deleted.get(group), ["n3"]);
    world.apply({ kind: "drain-node", name: "n3", isDraining: true });
    world.apply({ kind: "remove-node", name: "n3", isForced: false });
    assert.deepEqual([...world.state.deleted], [[otherGroup, ["n2"]]]);
    assert.equal(mayDeleteReplica(world.state, group, replica), false, "missing metadata deletes nothing");
  });

  test("a node with replicas is removed by force only, and what it alone had is left without one", () => {
    const world = new World()
      .form("n1", "n2")
      .createTopic("orders", [group], ["n2", "n1"])
      .createTopic("own", [otherGroup], ["n2"]);
    assert.match(world.refusal({ kind: "remove-node", name: "n2", isForced: false }), /it has replicas of 2 partitions/);
    world.apply({ kind: "remove-node", name: "n2", isForced: true });
    const shared = findPartition(world.state, group);
    assert.deepEqual([shared?.replicas.map(({ node }) => node), shared?.leader, shared?.isMoving], [["n1"], "n1", true]);
    assert.deepEqual(findPartition(world.state, otherGroup)?.replicas, []);
    assert.equal(findPartition(world.state, otherGroup)?.leader, undefined);
    assert.match(world.refusal({ kind: "remove-node", name: "n1", isForced: true }), /no other node would be left/);
  });

  test("a draining node can go on again, and the last one isn't drained", () => {
    const world = new World().form("n1", "n2");
    world.apply({ kind: "drain-node", name: "n1", isDraining: true });
    assert.match(world.refusal({ kind: "drain-node", name: "n2", isDraining: true }), /no other node would be left/);
    world.apply({ kind: "drain-node", name: "n1", isDraining: false });
    world.apply({ kind: "drain-node", name: "n2", isDraining: true });
  });

  test("who is told that a node stays isn't overtaken by its removal, and who comes too late hears that it is gone", () => {
    const world = new World().form("n1", "n2", "n3");
    world.apply({ kind: "drain-node", name: "n3", isDraining: true });
    world.apply({ kind: "drain-node", name: "n3", isDraining: false });
    assert.match(world.refusal({ kind: "remove-node", name: "n3", isForced: false }), /it isn't being drained, or is no more/);
    world.apply({ kind: "drain-node", name: "n3", isDraining: true });
    world.apply({ kind: "remove-node", name: "n3", isForced: false });
    assert.match(
      world.refusal({ kind: "drain-node", name: "n3", isDraining: false }),
      /^Cannot keep node n3: the cluster has no node n3/,
    );
  });

  test("a topic made again under its uuid is made once, whatever the command's id", () => {
    const world = new World().form("n1").createTopic("orders", [group], ["n1"]);
    const { uuid = "" } = world.state.topics.get("orders") ?? {};
    const again = createTopic("orders", uuid, [group], ["n1"]);
    world.is("repeated", again);
    assert.match(world.refusal({ ...again, uuid: thirdGroup }), /it is there already/);
  });

  test("partitions are added behind those that the proposer saw, or not at all", () => {
    const world = new World().form("n1").createTopic("orders", [group], ["n1"]);
    const { uuid = "" } = world.state.topics.get("orders") ?? {};
    const added = { first: 1, nodes: ["n1"], partitions: [{ uuid: otherGroup, replicas: [0] }] };
    world.apply({ kind: "alter-topic", name: "orders", uuid, settings: { retentionMs: 5 }, added });
    assert.match(
      world.refusal({ kind: "alter-topic", name: "orders", uuid, settings: { retentionMs: 6 }, added }),
      /it has 2 partitions by now/,
    );
    assert.deepEqual(world.state.topics.get("orders")?.settings, { retentionMs: 5 });
    world.apply({ kind: "alter-topic", name: "orders", uuid, settings: { retentionMs: null, ofALaterVersion: [1] } });
    assert.deepEqual(world.state.topics.get("orders")?.settings, { ofALaterVersion: [1] });
    assert.deepEqual(findPartition(world.state, otherGroup)?.logId, otherGroup.replaceAll("-", ""));
  });

  test("the version is raised when every node knows it, and no older node comes in then", () => {
    const world = new World().form("n1", "n2");
    world.apply({ kind: "update-node", node: { ...nodeOf("n1"), version: 2 }, isRenewed: false });
    assert.match(world.refusal({ kind: "raise-version", version: 2 }), /n2 knows the catalog's version 1, not 2/);
    world.apply({ kind: "update-node", node: { ...nodeOf("n2"), version: 2 }, isRenewed: false });
    world.apply({ kind: "raise-version", version: 2 });
    assert.match(world.refusal({ kind: "add-node", node: nodeOf("n3") }), /n3 knows the catalog's version 1/);
    assert.match(world.refusal({ kind: "update-node", node: nodeOf("n2"), isRenewed: false }), /n2 knows/);
  });

  test(`an id is known for the ${appliedCommandsMaxCount} changes behind it, and for no more`, () => {
    const world = new World().form("n1");
    world.apply({ kind: "set-policy", policy: "first" }, "mine");
    for (let count = 1; count < appliedCommandsMaxCount; count += 1) world.apply({ kind: "set-policy", policy: `${count}` });
    world.is("repeated", { kind: "set-policy", policy: "again" }, "mine");
    world.apply({ kind: "set-policy", policy: "one more" });
    world.apply({ kind: "set-policy", policy: "again" }, "mine");
    assert.equal(world.state.applied.size, appliedCommandsMaxCount);
  });
});

const changingKinds: readonly CatalogCommand["kind"][] = [
  "form-cluster",
  "add-node",
  "update-node",
  "drain-node",
  "remove-node",
  "create-topic",
  "alter-topic",
  "delete-topic",
  "place-partition",
  "replica-left",
  "placement-done",
  "forget-deleted",
  "set-policy",
];

class World {
  readonly state = emptyCatalogState();
  offset = 0;

  form(...names: readonly string[]): this {
    return this.apply({ kind: "form-cluster", version: 1, clusterId, nodes: names.map(nodeOf) });
  }

  createTopic(name: string, uuids: readonly string[], nodes: readonly string[]): this {
    return this.apply(createTopic(name, `${name.padEnd(8, "0").replaceAll(/[^0-9a-f]/g, "0")}${group.slice(8)}`, uuids, nodes));
  }

  apply(change: CatalogChange, id = `c${this.offset}`): this {
    return this.is("applied", change, id);
  }

  is(kind: string, change: CatalogChange, id = `c${this.offset}`): this {
    const outcome = applyCommand(this.state, { id, ...change }, this.offset);
    this.offset += 1;
    assert.equal(outcome.kind, kind, outcome.kind === "refused" ? outcome.error.message : "");
    return this;
  }

  refusal(change: CatalogChange): string {
    const before = encodeState(this.state);
    const outcome = applyCommand(this.state, { id: `c${this.offset}`, ...change }, this.offset);
    this.offset += 1;
    assert.ok(outcome.kind === "refused", outcome.kind);
    assert.equal(encodeState(this.state), before);
    return outcome.error.message;
  }

  partition() {
    const partition = findPartition(this.state, group);
    assert.ok(partition !== undefined);
    return partition;
  }
}

function nodeOf(name: string): NodeIdentity {
  return { name, storageId: (name.at(-1) ?? "0").repeat(32), address: `${name}:8000`, version: 1 };
}

function createTopic(name: string, uuid: string, uuids: readonly string[], nodes: readonly string[]) {
  const partitions = uuids.map((it) => ({ uuid: it, replicas: nodes.map((_, at) => at) }));
  const placed = { nodes, partitions };
  return { kind: "create-topic", name, uuid, createdAt: 5, replicationFactor: nodes.length, settings: {}, placed } as const;
}

/** In the order of a snapshot. */
function sortedTwin(twin: DumbCatalog): unknown {
  const by =
    <Item>(key: (item: Item) => string) =>
    (a: Item, b: Item) =>
      key(a) < key(b) ? -1 : 1;
  return {
    ...twin,
    nodes: twin.nodes.toSorted(by(({ name }) => name)),
    topics: twin.topics.toSorted(by(({ name }) => name)),
    deleted: twin.deleted.toSorted(by(({ group: id }) => id)),
  };
}
