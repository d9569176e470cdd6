import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { applyCommand } from "./apply-command.ts";
import type { CatalogChange } from "./catalog-command.ts";
import { type CatalogState, emptyCatalogState } from "./catalog-state.ts";
import type { ReplicaRecord } from "./node-record-state.ts";
import { findPlacedBefore, planReplicas } from "./replica-plan.ts";

const clusterId = "c".repeat(32);
const group = "00000000-0000-4000-8000-000000000001";
const storageOf = (node: string): string => node.repeat(32);
const self = { node: "a", storageId: storageOf("a"), catalogIncarnation: 0, placedBefore: 0, replicas: [] };

/** A cluster of four nodes, and then these commands, each at the offset that is its number. */
function catalogOf(...changes: readonly CatalogChange[]): CatalogState {
  const state = emptyCatalogState();
  const nodes = ["a", "b", "c", "d"].map((name) => ({ name, storageId: storageOf(name), address: `${name}:1`, version: 1 }));
  for (const [offset, change] of [{ kind: "form-cluster", version: 1, clusterId, nodes } as const, ...changes].entries()) {
    const outcome = applyCommand(state, { id: `id${offset}`, ...change }, offset);
    assert.equal(outcome.kind, "applied", outcome.kind === "refused" ? outcome.error.message : "");
  }
  return state;
}

function topic(nodes: readonly string[]): CatalogChange {
  const placed = { nodes, partitions: [{ uuid: group, replicas: nodes.map((_, at) => at) }] };
  const base = { name: "orders", uuid: "00000000-0000-4000-8000-000000000009", createdAt: 0 };
  return { kind: "create-topic", ...base, replicationFactor: nodes.length, settings: {}, placed };
}

function place(basis: number, replicas: readonly { node: string; incarnation?: number }[]): CatalogChange {
  return { kind: "place-partition", group, basis, replicas, leader: replicas[0]?.node ?? "" };
}

function listed(incarnation: number, state: ReplicaRecord["state"] = "created"): ReplicaRecord {
  return { groupId: group, incarnation, logId: "0".repeat(32), firstMembers: undefined, state };
}

describe("what a node makes and removes", () => {
  test("a new partition is made with all that it begins with, and only once", () => {
    const state = catalogOf(topic(["a", "b", "c"]));
    const members = ["a", "b", "c"].map((nodeId) => ({ nodeId, storageId: `${storageOf(nodeId)}/1` }));
    const { create, remove } = planReplicas(state, self);
    assert.deepEqual(
      create.map(({ groupId, incarnation, firstMembers }) => ({ groupId, incarnation, firstMembers })),
      [{ groupId: group, incarnation: 1, firstMembers: members }],
    );
    assert.deepEqual(remove, []);
    assert.deepEqual(planReplicas(state, { ...self, replicas: [listed(1)] }), { create: [], remove: [] });
  });

  test("nothing is made for another disk of the same name", () => {
    const state = catalogOf(topic(["a", "b", "c"]));
    assert.deepEqual(planReplicas(state, { ...self, storageId: storageOf("e") }).create, []);
  });

  test("one that was deleted isn't made again under the same incarnation", () => {
    const state = catalogOf(topic(["a", "b", "c"]));
    assert.deepEqual(planReplicas(state, { ...self, replicas: [listed(1, "deleted")] }).create, []);
  });

  test("one that was deleted needn't be listed for that, once nothing older is still to be made", () => {
    const state = catalogOf(topic(["a", "b", "c"]));
    assert.equal(findPlacedBefore(state, 2, self), 1, "it is still to be made");
    assert.equal(findPlacedBefore(state, 2, { ...self, replicas: [listed(1)] }), 2);
    assert.equal(findPlacedBefore(state, 2, { ...self, replicas: [listed(1, "deleted")] }), 2);
    assert.deepEqual(planReplicas(state, { ...self, placedBefore: 2 }).create, []);
    const moved = catalogOf(topic(["a", "b", "c"]), place(1, [{ node: "b", incarnation: 1 }, { node: "d" }]));
    assert.equal(findPlacedBefore(moved, 3, self), 1, "it may be called back before it was made");
    assert.equal(findPlacedBefore(state, 2, { ...self, storageId: storageOf("e") }), undefined);
    assert.equal(findPlacedBefore(state, 2, { ...self, catalogIncarnation: 1 }), undefined, "it isn't read that far yet");
  });

  test("a replica that is placed later learns its group from the others, even when all are new", () => {
    const some = catalogOf(topic(["b", "c", "d"]), place(1, [{ node: "b", incarnation: 1 }, { node: "a" }]));
    assert.deepEqual(
      planReplicas(some, self).create.map(({ incarnation, firstMembers }) => ({ incarnation, firstMembers })),
      [{ incarnation: 2, firstMembers: undefined }],
    );
    const all = catalogOf(topic(["b", "c"]), place(1, [{ node: "a" }, { node: "d" }]));
    assert.deepEqual(
      planReplicas(all, self).create.map(({ firstMembers }) => firstMembers),
      [undefined],
    );
  });

  test("one that the group begins with is made with the others, also when the partition has been placed anew since", () => {
    const founders = ["a", "b", "c"].map((nodeId) => ({ nodeId, storageId: `${storageOf(nodeId)}/1` }));
    const old = ["a", "b", "c"].map((node) => ({ node, incarnation: 1 }));
    const asFounder = { incarnation: 1, firstMembers: founders };
    const made = (...changes: readonly CatalogChange[]): unknown =>
      planReplicas(catalogOf(topic(["a", "b", "c"]), ...changes), self).create.map(({ incarnation, firstMembers }) => {
        return { incarnation, firstMembers };
      });
    const away = place(1, [...old.slice(1), { node: "d" }]);
    assert.deepEqual(made(place(1, old.toReversed())), [asFounder], "only another leader is wished");
    assert.deepEqual(made(away), [asFounder], "it is leaving");
    assert.deepEqual(made(place(1, [...old.slice(0, 2), { node: "d" }])), [asFounder], "another one is leaving");
    assert.deepEqual(made({ kind: "remove-node", name: "b", isForced: true }), [asFounder]);
    assert.deepEqual(made(away, place(2, [...old.slice(1), { node: "a" }])), [asFounder], "it is to come again");
    // Behind a change that only a group at work could make, it isn't needed.
    assert.deepEqual(made(away, { kind: "replica-left", group, basis: 2, replica: { node: "a", incarnation: 1 } }), []);
    assert.deepEqual(made(away, { kind: "placement-done", group, basis: 2 }), []);
  });

  test("one that moves away stays until the group is known to be without it", () => {
    const moving = catalogOf(topic(["a", "b"]), place(1, [{ node: "b", incarnation: 1 }, { node: "c" }]));
    assert.deepEqual(planReplicas(moving, { ...self, replicas: [listed(1)] }), { create: [], remove: [] });
    const moved = catalogOf(...[topic(["a", "b"]), place(1, [{ node: "b", incarnation: 1 }, { node: "c" }])], {
      kind: "placement-done",
      group,
      basis: 2,
    });
    assert.deepEqual(planReplicas(moved, { ...self, replicas: [listed(1)] }).remove, [listed(1)]);
  });

  test("what was placed since stays when the catalog is read again from an earlier offset", () => {
    const moved = [topic(["a", "b"]), place(1, [{ node: "b", incarnation: 1 }, { node: "a" }])] as const;
    const done = { kind: "placement-done", group, basis: 2 } as const;
    const now = [listed(1, "deleted"), listed(2)];
    for (const changes of [[], moved.slice(0, 1), moved, [...moved, done]])
      assert.deepEqual(planReplicas(catalogOf(...changes), { ...self, replicas: now }), { create: [], remove: [] });
    // Where it was somebody else's in between, too.
    const away = catalogOf(topic(["a", "b"]), place(1, [{ node: "b", incarnation: 1 }, { node: "c" }]), done);
    assert.deepEqual(planReplicas(away, { ...self, replicas: [listed(1, "deleted"), listed(7)] }), { create: [], remove: [] });
  });

  test("the next one is made when the files of the one before are gone", () => {
    const renewed = catalogOf(...[topic(["a", "b"]), place(1, [{ node: "b", incarnation: 1 }, { node: "a" }])], {
      kind: "placement-done",
      group,
      basis: 2,
    });
    const before = planReplicas(renewed, { ...self, replicas: [listed(1)] });
    assert.deepEqual([before.remove, before.create], [[listed(1)], []]);
    assert.deepEqual(planReplicas(renewed, { ...self, replicas: [listed(1, "deleting")] }).create, []);
    assert.deepEqual(
      planReplicas(renewed, { ...self, replicas: [listed(1, "deleted")] }).create.map(({ incarnation }) => incarnation),
      [2],
    );
  });

  test("of a deleted topic everything goes; what the catalog doesn't know stays", () => {
    const deleted = catalogOf(topic(["a", "b"]), {
      kind: "delete-topic",
      name: "orders",
      uuid: "00000000-0000-4000-8000-000000000009",
    });
    assert.deepEqual(planReplicas(deleted, { ...self, replicas: [listed(1)] }).remove, [listed(1)]);
    assert.deepEqual(planReplicas(catalogOf(), { ...self, replicas: [listed(1)] }).remove, []);
    assert.deepEqual(planReplicas(emptyCatalogState(), { ...self, replicas: [listed(1)] }).remove, []);
  });

  test("the catalog's own group is never removed", () => {
    const own = { ...listed(0), groupId: clusterId };
    assert.deepEqual(planReplicas(catalogOf(), { ...self, replicas: [own] }).remove, []);
  });
});
