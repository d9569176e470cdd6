import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import type { Disk } from "../../base/disk.ts";
import { isProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { MemoryPeers } from "../memory-peers.ts";
import type { PeerIdentity, PeerListener } from "../peer-network.ts";
import { type ClusterFlags, type ClusterIdentity, openClusterIdentity } from "./cluster-identity.ts";
import { encodeJoinRequest } from "./formation-view.ts";
import { type ClusterNode, judgeJoin } from "./joining.ts";
import { NodeRecord } from "./node-record.ts";
import { mayAsk } from "./peer-check.ts";

const startJoinAddrs = ["a:8000", "b:8000", "c:8000"];

describe("the identity of a node", () => {
  test("is had by forming a cluster over the network between nodes, which knows it anew then", async () => {
    const world = new World();
    const opened = ["a", "b", "c"].map((name) => world.open(name, { initialNodes: 3, startJoinAddrs }));
    const identities = await world.until(Promise.all(opened));
    const [first] = identities;
    assert.ok(first?.membership !== undefined);
    for (const identity of identities) {
      assert.deepEqual(identity?.membership, first.membership);
      assert.equal(identity?.peer.clusterId, first.membership.clusterId);
      assert.equal(identity?.peer.bootCounter, 1);
    }
    assert.equal(world.heard.get("b")?.at(-1)?.clusterId, first.membership.clusterId);
  });

  test("is had by joining, and refused under a name that is taken", async () => {
    const world = new World();
    const a = await world.until(world.open("a", { isBootstrapping: true }));
    const d = await world.until(world.open("d", { startJoinAddrs: ["a:8000"] }));
    assert.equal(d?.membership?.role, "joined");
    assert.equal(d.membership.clusterId, a?.membership?.clusterId);
    world.peers.stop("d");
    const again = world.open("d", { startJoinAddrs: ["a:8000"] }, createMemoryDisk());
    const error = await world.until(again.catch((reason: unknown) => reason));
    assert.ok(isProglogError(error, "NODE_ALREADY_EXISTS"), String(error));
  });

  test("judges others by the formation until a catalog knows more, and remembers their starts", async () => {
    const world = new World();
    const opened = ["a", "b", "c"].map((name) => world.open(name, { initialNodes: 3, startJoinAddrs }));
    const [a, b] = await world.until(Promise.all(opened));
    assert.ok(a !== undefined && b !== undefined);
    const none = { nodes: [], connected: [], mayLead: () => false };
    assert.deepEqual(a.check(b.peer, none), { kind: "member", movedFrom: undefined });
    assert.throws(() => a.check({ ...b.peer, storageId: a.peer.storageId }, none), { code: "PEER_REFUSED" });
    const replaced = { ...b.peer, storageId: "e".repeat(32) };
    assert.equal(a.check(replaced, none).kind, "outsider", "another disk may have taken its place since");
    assert.throws(() => a.check(replaced, { ...none, nodes: [{ name: "b", storageId: b.peer.storageId, address: "b:1" }] }), {
      code: "PEER_REFUSED",
    });
    const moved = [{ name: "b", storageId: b.peer.storageId, address: "elsewhere:1" }];
    assert.deepEqual(a.check(b.peer, { ...none, nodes: moved }), { kind: "member", movedFrom: "elsewhere:1" });
    a.check({ ...b.peer, bootCounter: 7 }, none);
    const stranger = "f".repeat(32);
    assert.equal(a.check({ ...b.peer, clusterId: undefined, nodeId: "x", storageId: stranger }, none).kind, "outsider");
    await world.until(a.record.setName("a"));
    assert.throws(() => a.check(b.peer, none), { code: "PEER_REFUSED" });
    const read = await NodeRecord.open(world.diskOf("a"), "/data", () => assert.fail());
    assert.deepEqual(read.state.bootCounters.get(b.peer.storageId), { bootCounter: 7, life: b.peer.life });
    assert.match(b.peer.life, /^[0-9a-f]{16}$/);
    assert.equal(read.state.bootCounters.has(stranger), false);
  });

  test("takes none of two that ran on copies of one empty directory for an old copy, once the other was stopped", async () => {
    const world = new World();
    const opening = world.open("a", { initialNodes: 2, startJoinAddrs });
    await world.pass(100);
    const a = world.identityOf("a");
    const none = { nodes: [], connected: [], mayLead: () => false };
    const [storageId, clusterId] = ["d".repeat(32), "e".repeat(32)];
    const copy = { clusterId: undefined, nodeId: "b", storageId, bootCounter: 1, address: "b:8000", life: "1".repeat(16) };
    const other = { ...copy, life: "2".repeat(16) };
    for (const peer of [copy, other]) a.check(peer, none);
    await world.pass(100);
    const members = [a.peer, copy].map(({ nodeId, storageId: id, address }) => ({ name: nodeId, storageId: id, address }));
    const sorted = members.toSorted((one, two) => (one.storageId < two.storageId ? -1 : 1));
    await a.record.promise({ clusterId, proposer: sorted[0]?.storageId ?? "", members: sorted });
    await a.record.adopt(clusterId);
    assert.equal(a.check({ ...other, clusterId }, none).kind, "member");
    await world.pass(100);
    assert.throws(() => a.check({ ...copy, clusterId }, none), { code: "PEER_REFUSED", message: /an old copy/ });
    await world.until(opening);
  });

  test("is had by way of a member that comes by itself, though the join addresses lead to nobody else", async () => {
    const world = new World();
    await world.until(world.open("b", { isBootstrapping: true }));
    world.peers.cut("a", "b");
    world.peers.cut("b", "a");
    const opening = world.open("a", { startJoinAddrs: ["a:8000"] });
    await world.pass(10_000);
    assert.equal(world.identityOf("a").membership, undefined);
    world.peers.mendAll();
    assert.equal((await world.until(opening))?.membership?.role, "joined");
  });

  test("takes nobody in before there is a cluster", async () => {
    const world = new World();
    const controller = new AbortController();
    const opening = world.open("a", { initialNodes: 3, startJoinAddrs }, createMemoryDisk(), controller.signal);
    await world.pass(1_000);
    const request = { name: "d", storageId: "0".repeat(32), address: "d:8000" };
    const asked = world.identityOf("a").answer("formation/join", encodeJoinRequest(request), controller.signal);
    await assert.rejects(asked, { code: "UNAVAILABLE" });
    await assert.rejects(world.identityOf("a").answer("formation/odd", Buffer.from("{}"), controller.signal), {
      code: "INVALID_ARGUMENT",
    });
    controller.abort();
    await assert.rejects(world.until(opening), { code: "CANCELLED" });
  });
});

/** Nodes over the network between nodes of one process. */
class World {
  readonly clock = createVirtualClock();
  readonly peers = new MemoryPeers(this.clock);
  readonly heard = new Map<string, PeerIdentity[]>();
  readonly #random = createSeededRandom("identity");
  readonly #disks = new Map<string, Disk>();
  readonly #identities = new Map<string, ClusterIdentity>();
  readonly #catalog: ClusterNode[] = [];

  async open(
    name: string,
    flags: Partial<ClusterFlags>,
    disk: Disk = this.diskOf(name),
    signal: AbortSignal = new AbortController().signal,
  ): Promise<ClusterIdentity | undefined> {
    await disk.makeDirectory("/data");
    const identity = await openClusterIdentity({
      disk,
      directory: "/data",
      clock: this.clock,
      random: this.#random,
      logger: silentLogger,
      flags: { nodeName: name, startJoinAddrs: [], initialNodes: undefined, isBootstrapping: false, ...flags },
      defaultName: name,
      address: `${name}:8000`,
      resolve: async (address) => [address],
      connect: (opened) => {
        this.#identities.set(name, opened);
        return this.peers.join(() => opened.peer, this.#listenerOf(name, opened));
      },
      admit: async (request) => {
        if (judgeJoin(this.#catalog, request).kind === "new") this.#catalog.push(request);
        const clusterIds = [...this.#identities.values()].map(({ membership }) => membership?.clusterId);
        return { clusterId: clusterIds.find((clusterId) => clusterId !== undefined) ?? "", incarnation: 1 };
      },
      signal,
    });
    if (identity?.membership?.role === "voter")
      this.#catalog.push({ name, storageId: identity.peer.storageId, address: identity.peer.address });
    return identity;
  }

  diskOf(name: string): Disk {
    const disk = this.#disks.get(name) ?? createMemoryDisk();
    this.#disks.set(name, disk);
    return disk;
  }

  identityOf(name: string): ClusterIdentity {
    return this.#identities.get(name) ?? assert.fail();
  }

  /** Lets time pass until it is done. */
  async until<Result>(promise: Promise<Result>): Promise<Result> {
    const end = { isReached: false };
    const done = promise.finally(() => (end.isReached = true));
    done.catch(() => {});
    while (!end.isReached && this.clock.monotonic() < 60_000) await this.pass(50);
    assert.ok(end.isReached, "it comes to an end");
    return done;
  }

  async pass(forMs: number): Promise<void> {
    const endMs = this.clock.monotonic() + forMs;
    do {
      await new Promise((resolve) => void setImmediate(resolve));
      this.clock.advance(Math.min(5, endMs - this.clock.monotonic()));
    } while (this.clock.monotonic() < endMs);
  }

  #listenerOf(name: string, identity: ClusterIdentity): PeerListener {
    const nodes = (): readonly ClusterNode[] => (identity.membership === undefined ? [] : this.#catalog);
    const heard: PeerIdentity[] = [];
    this.heard.set(name, heard);
    return {
      check: (peer) => void identity.check(peer, { nodes: nodes(), connected: [], mayLead: () => false }),
      received: () => {},
      answer: async (from, kind, body, signal) => {
        assert.ok(mayAsk(identity.check(from, { nodes: nodes(), connected: [], mayLead: () => false }), kind));
        return identity.answer(kind, body, signal);
      },
      connected: (peer) => void heard.push(peer),
      disconnected: () => {},
    };
  }
}
