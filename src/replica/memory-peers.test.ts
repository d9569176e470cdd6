import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { ProglogError } from "../base/error.ts";
import { peerAnswerMaxMs } from "../base/cluster-limits.ts";
import type { AppendMessage, Heartbeat } from "../raft/message.ts";
import { MemoryPeers } from "./memory-peers.ts";
import type { PeerIdentity, PeerMessage, PeerTransport } from "./peer-network.ts";

describe("peers in memory", () => {
  test("messages between two nodes arrive in order, in a later turn, and share no bytes with what was sent", async () => {
    const world = new World();
    const [a, b] = [world.add("a"), world.add("b")];
    await world.peers.settled();
    const frame = Buffer.from("one");
    assert.equal(a.transport.send("b", "group", append(frame)), true);
    assert.equal(a.transport.send("b", "group", heartbeat(7)), true);
    assert.equal(b.received.length, 0);
    await world.peers.settled();
    assert.deepEqual(
      b.received.map(({ message }) => message.kind),
      ["append", "heartbeat"],
    );
    b.received[0]?.frames[0]?.fill(0);
    assert.equal(frame.toString(), "one");
  });

  test("both ends are told of a connection, of its end, and of a new life behind the end of the old one", async () => {
    const world = new World();
    const a = world.add("a");
    world.add("b");
    await world.peers.settled();
    assert.deepEqual(a.told, ["connected b 1"]);
    world.add("b", { bootCounter: 2 });
    await world.peers.settled();
    assert.deepEqual(a.told, ["connected b 1", "disconnected b", "connected b 2"]);
  });

  test("what was sent to an earlier life doesn't reach the next", async () => {
    const world = new World();
    const a = world.add("a");
    const b = world.add("b");
    a.transport.send("b", "group", heartbeat(1));
    const again = world.add("b", { bootCounter: 2 });
    await world.peers.settled();
    assert.equal(b.received.length + again.received.length, 0);
  });

  test("a cut is one way: its sender is told and drops, and the other end goes on", async () => {
    const world = new World();
    const [a, b] = [world.add("a"), world.add("b")];
    await world.peers.settled();
    a.transport.send("b", "group", heartbeat(1));
    world.peers.cut("a", "b");
    assert.equal(a.transport.send("b", "group", heartbeat(2)), false);
    assert.equal(b.transport.send("a", "group", heartbeat(3)), true);
    await world.peers.settled();
    assert.deepEqual([b.received.length, a.received.length], [0, 1]);
    assert.deepEqual([a.told, b.told], [["connected b 1", "disconnected b"], ["connected a 1"]]);
    world.peers.mend("a", "b");
    assert.equal(a.transport.send("b", "group", heartbeat(4)), true);
  });

  test("an isolated node reaches nobody until all is mended", async () => {
    const world = new World();
    const [a] = [world.add("a"), world.add("b"), world.add("c")];
    world.peers.isolate("a");
    assert.deepEqual([a.transport.send("b", "g", heartbeat(1)), a.transport.send("c", "g", heartbeat(1))], [false, false]);
    world.peers.mendAll();
    assert.deepEqual([a.transport.send("b", "g", heartbeat(1)), a.transport.send("c", "g", heartbeat(1))], [true, true]);
  });

  test("a question is answered, by name and by address, and a refusal keeps its code, hint and details", async () => {
    const world = new World();
    const a = world.add("a");
    const b = world.add("b");
    b.answer = async (kind, body) => Buffer.from(`${kind}:${body.toString()}`);
    assert.equal((await a.transport.ask({ nodeId: "b" }, "echo", Buffer.from("x"))).toString(), "echo:x");
    assert.equal((await a.transport.ask({ address: "b:8000" }, "echo", Buffer.from("y"))).toString(), "echo:y");
    b.answer = async () => {
      throw new ProglogError("NOT_LEADER", "Cannot change: b doesn't lead", { hint: "Ask c.", details: { leaderId: "c" } });
    };
    await assert.rejects(a.transport.ask({ nodeId: "b" }, "change", Buffer.alloc(0)), {
      code: "NOT_LEADER",
      hint: "Ask c.",
      details: { leaderId: "c" },
    });
    b.answer = () => {
      throw new TypeError("a secret");
    };
    await assert.rejects(a.transport.ask({ nodeId: "b" }, "change", Buffer.alloc(0)), {
      code: "INTERNAL",
      message: /inside the node/,
    });
  });

  test("a question fails when nothing answers in time, when it is cancelled, and when the way breaks or isn't there", async () => {
    const world = new World();
    const a = world.add("a");
    const b = world.add("b");
    const given: boolean[] = [];
    b.answer = (_kind, _body, signal) => {
      signal.addEventListener("abort", () => given.push(true));
      return new Promise(() => {});
    };
    const late = a.transport.ask({ nodeId: "b" }, "k", Buffer.alloc(0));
    await world.peers.settled();
    world.clock.advance(peerAnswerMaxMs);
    await assert.rejects(late, { code: "TIMEOUT" });
    const abort = new AbortController();
    const cancelled = a.transport.ask({ address: "b:8000" }, "k", Buffer.alloc(0), { signal: abort.signal });
    await world.peers.settled();
    abort.abort();
    await assert.rejects(cancelled, { code: "CANCELLED" });
    for (const to of [{ nodeId: "b" }, { address: "b:8000" }]) {
      const broken = a.transport.ask(to, "k", Buffer.alloc(0));
      await world.peers.settled();
      world.peers.stop("b");
      await assert.rejects(broken, { code: "UNAVAILABLE" });
      await assert.rejects(a.transport.ask(to, "k", Buffer.alloc(0)), { code: "UNAVAILABLE" });
      world.add("b").answer = b.answer;
    }
    assert.equal(given.length, 4);
    assert.equal(world.clock.timerCount, 0);
  });

  test("an answer doesn't come back over a cut", async () => {
    const world = new World();
    const [a, b] = [world.add("a"), world.add("b")];
    b.answer = async () => Buffer.alloc(0);
    const asked = a.transport.ask({ nodeId: "b" }, "k", Buffer.alloc(0));
    world.peers.cut("b", "a");
    await assert.rejects(asked, { code: "UNAVAILABLE" });
  });

  test("who is refused by either end isn't connected, and asks in vain", async () => {
    const world = new World();
    const a = world.add("a");
    const b = world.add("b", { clusterId: "other" });
    await world.peers.settled();
    assert.deepEqual([a.told, b.told], [[], []]);
    assert.equal(a.transport.send("b", "group", heartbeat(1)), false);
    await assert.rejects(b.transport.ask({ address: "a:8000" }, "k", Buffer.alloc(0)), { code: "PEER_REFUSED" });
  });

  test("who says anew who it is is checked again", async () => {
    const world = new World();
    const [a, b] = [world.add("a", { clusterId: undefined }), world.add("b", { clusterId: undefined })];
    await world.peers.settled();
    a.identity = { ...a.identity, clusterId: "one" };
    a.transport.announce();
    await world.peers.settled();
    assert.deepEqual(b.told, ["connected a 1", "connected a 1"]);
    b.identity = { ...b.identity, clusterId: "another" };
    b.transport.announce();
    await world.peers.settled();
    assert.deepEqual(b.told.at(-1), "disconnected a");
    assert.equal(a.transport.send("b", "group", heartbeat(1)), false);
  });

  test("with peers named, only those are connected", async () => {
    const world = new World();
    const [a, b] = [world.add("a"), world.add("b"), world.add("c")];
    a.transport.setPeers([{ nodeId: "c", address: "c:8000" }]);
    assert.deepEqual([a.transport.send("b", "g", heartbeat(1)), a.transport.send("c", "g", heartbeat(1))], [false, true]);
    assert.equal(b.transport.send("a", "g", heartbeat(1)), true, "each way is its sender's");
  });

  test("a closed end sends nothing, and closing twice is fine", async () => {
    const world = new World();
    const [a, b] = [world.add("a"), world.add("b")];
    await a.transport.close();
    await a.transport.close();
    await world.peers.settled();
    assert.equal(a.transport.send("b", "g", heartbeat(1)), false);
    await assert.rejects(a.transport.ask({ address: "b:8000" }, "k", Buffer.alloc(0)), { code: "UNAVAILABLE" });
    assert.equal(b.told.at(-1), "disconnected a");
  });
});

class World {
  readonly clock: VirtualClock = createVirtualClock();
  readonly peers = new MemoryPeers(this.clock);

  add(nodeId: string, other: Partial<PeerIdentity> = {}): TestPeer {
    const identity = {
      clusterId: "one",
      nodeId,
      storageId: `s-${nodeId}`,
      bootCounter: 1,
      life: "1234567890abcdef",
      address: `${nodeId}:8000`,
    };
    return new TestPeer(this.peers, { ...identity, ...other });
  }
}

class TestPeer {
  identity: PeerIdentity;
  readonly transport: PeerTransport;
  readonly received: PeerMessage[] = [];
  readonly told: string[] = [];
  answer: (kind: string, body: Buffer, signal: AbortSignal) => Promise<Buffer> = async () => Buffer.alloc(0);

  constructor(peers: MemoryPeers, identity: PeerIdentity) {
    this.identity = identity;
    this.transport = peers.join(() => this.identity, {
      check: (peer) => this.check(peer),
      received: (_from, _groupId, message) => this.received.push(message),
      answer: (_from, kind, body, signal) => this.answer(kind, body, signal),
      connected: (peer) => this.connected(peer),
      disconnected: (nodeId) => this.disconnected(nodeId),
    });
  }

  check({ clusterId }: PeerIdentity): void {
    if (clusterId === undefined || this.identity.clusterId === undefined || clusterId === this.identity.clusterId) return;
    throw new ProglogError("PEER_REFUSED", `Cannot speak with a peer of cluster ${clusterId}`);
  }

  connected({ nodeId, bootCounter }: PeerIdentity): void {
    this.told.push(`connected ${nodeId} ${bootCounter}`);
  }

  disconnected(nodeId: string): void {
    this.told.push(`disconnected ${nodeId}`);
  }
}

const envelope = { from: "a", fromStorage: "s-a", to: "b", term: 1 } as const;

function append(frame: Buffer): PeerMessage {
  const message: AppendMessage = { kind: "append", ...envelope, prevIndex: 0, prevTerm: 0, entries: [], commitIndex: 0 };
  return { message, frames: [frame] };
}

function heartbeat(round: number): PeerMessage {
  const message: Heartbeat = { kind: "heartbeat", ...envelope, commitIndex: 0, matchIndex: 0, round };
  return { message, frames: [] };
}
