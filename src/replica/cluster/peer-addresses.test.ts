import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clusterNodesMaxCount } from "../../base/cluster-limits.ts";
import type { KnownPeer, PeerIdentity } from "../peer-network.ts";
import type { CatalogNode } from "./catalog-state.ts";
import { PeerAddresses } from "./peer-addresses.ts";

const clusterId = "c".repeat(32);
const storageOf = (name: string): string => name.repeat(32);

function peerOf(nodeId: string, address: string, change: Partial<PeerIdentity> = {}): PeerIdentity {
  return { clusterId, nodeId, storageId: storageOf(nodeId), bootCounter: 1, life: "1234567890abcdef", address, ...change };
}

/** What the node `a` knows. */
class World {
  clusterId: string | undefined = clusterId;
  readonly nodes = new Map<string, CatalogNode>();
  leader: string | undefined;
  readonly connected = new Set<string>();
  noted: readonly KnownPeer[] = [];
  readonly addresses = new PeerAddresses({
    self: () => "a",
    clusterId: () => this.clusterId,
    catalog: () => this,
    leader: () => this.leader,
    isConnected: (nodeId) => this.connected.has(nodeId),
  });

  has(...nodes: readonly (readonly [name: string, address: string])[]): this {
    for (const [name, address] of nodes)
      this.nodes.set(name, { name, storageId: storageOf(name), address, version: 1, incarnation: 0, isDraining: false });
    return this;
  }

  get known(): readonly string[] {
    return this.addresses
      .known(this.noted, [{ name: "f", storageId: storageOf("f"), address: "f:1" }])
      .map(({ nodeId, address }) => `${nodeId} ${address}`);
  }
}

describe("where the nodes of a cluster are", () => {
  test("before the catalog is known: who formed it, who was noted, and who came by itself", () => {
    const world = new World();
    world.noted = [{ nodeId: "b", address: "b:1" }];
    assert.equal(world.addresses.introduce(peerOf("b", "b:2")), true);
    assert.equal(world.addresses.introduce(peerOf("b", "b:2")), false, "no news");
    assert.equal(world.addresses.introduce(peerOf("d", "d:1", { clusterId: undefined })), false);
    assert.equal(world.addresses.introduce(peerOf("a", "a:1")), false);
    assert.deepEqual(world.known, ["f f:1", "b b:2"]);
    world.has(["a", "a:1"], ["b", "b:2"], ["c", "c:1"]);
    assert.deepEqual(world.known, ["b b:2", "c c:1"]);
  });

  test("who came before this node noted that it was taken in counts once it has", () => {
    const world = new World();
    world.clusterId = undefined;
    assert.equal(world.addresses.introduce(peerOf("b", "b:1")), false);
    world.clusterId = clusterId;
    assert.deepEqual(world.known, ["f f:1", "b b:1"]);
  });

  test("one that started again elsewhere is reached there, until the catalog says where it is", () => {
    const world = new World().has(["a", "a:1"], ["b", "b:1"], ["c", "c:1"]);
    world.connected.add("b");
    assert.equal(world.addresses.introduce(peerOf("b", "b:2")), false, "there is a way to it");
    world.connected.delete("b");
    assert.equal(world.addresses.introduce(peerOf("b", "b:2")), true);
    assert.deepEqual(world.known, ["b b:2", "c c:1"]);
    assert.deepEqual(world.has(["b", "b:2"]).known, ["b b:2", "c c:1"]);
    assert.deepEqual(world.has(["b", "b:3"]).known, ["b b:3", "c c:1"], "the catalog's word stands again");
  });

  test("one that the catalog doesn't know yet is answered when it leads group 0, or may", () => {
    const world = new World().has(["a", "a:1"], ["b", "b:1"]);
    world.leader = "b";
    assert.equal(world.addresses.introduce(peerOf("d", "d:1")), false);
    world.leader = "d";
    assert.equal(world.addresses.introduce(peerOf("d", "d:1")), true);
    world.leader = undefined;
    assert.equal(world.addresses.introduce(peerOf("e", "e:1")), true);
    assert.deepEqual(world.known, ["b b:1", "d d:1", "e e:1"]);
    world.leader = "d";
    assert.deepEqual(world.known, ["b b:1", "d d:1"]);
  });

  test("one with another directory than the catalog has is answered as long as it may lead group 0", () => {
    const world = new World().has(["a", "a:1"], ["b", "b:1"], ["c", "c:1"]);
    const renewed = peerOf("b", "b:2", { storageId: storageOf("e") });
    world.leader = "c";
    assert.equal(world.addresses.introduce(renewed), false, "another one leads, and will say so");
    world.leader = undefined;
    assert.equal(world.addresses.introduce(renewed), true);
    assert.deepEqual(world.known, ["b b:2", "c c:1"]);
    world.leader = "c";
    assert.deepEqual(world.known, ["b b:1", "c c:1"], "it doesn't lead");
  });

  test("so many are remembered, and no more", () => {
    const world = new World();
    for (let number = 0; number < clusterNodesMaxCount; number += 1)
      assert.equal(world.addresses.introduce(peerOf(`n${number}`, `n${number}:1`)), true);
    assert.equal(world.addresses.introduce(peerOf("more", "more:1")), false);
    assert.equal(world.addresses.introduce(peerOf("n0", "n0:2")), true, "who is remembered may move");
  });
});
