import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { systemClock } from "../src/base/clock.ts";
import { peerConnectionsMaxCount } from "../src/base/limits.ts";
import { Listener, type RefusedReason } from "../src/server/listener.ts";
import { peerMagic } from "../src/wire/peer-frame.ts";
import { Happenings, heartbeat, RawPeer, TestPeer } from "./peer-world.ts";
import { TestSocket } from "./test-node.ts";

/** Other nodes come in by the port that clients use. */
describe("the listener and peers", () => {
  test("a peer is told by its magic and handed over with all that it said, a byte at a time too", async () => {
    await using port = await TestPort.open();
    await using a = await TestPeer.start("a");
    a.transport.setPeers([{ nodeId: "node", address: `127.0.0.1:${port.port}` }]);
    await a.until(() => a.told.length === 1);
    a.transport.send("node", "group", {
      message: { ...heartbeat(1).message, from: "a", fromStorage: "s-a/1", to: "node" },
      frames: [],
    });
    await port.node.until(() => port.node.received.length === 1);
    const raw = RawPeer.connect(port);
    raw.socket.setNoDelay(true);
    for (const byte of peerMagic) await new Promise((resolve) => raw.socket.write(Buffer.of(byte), resolve));
    await port.until(() => port.accepted.length === 2);
    assert.deepEqual(port.accepted, ["peer", "peer"]);
    raw.socket.destroy();
  });

  test("clients at their cap don't keep a peer out, and one more of them is dropped by what it says", async () => {
    await using port = await TestPort.open({ maxConnections: 2 });
    const clients = [port.client(), port.client()];
    await port.until(() => port.accepted.length === 2);
    assert.equal(await port.client().closed, "");
    assert.deepEqual(port.refused, ["too-many"]);
    const peer = await RawPeer.greet(port);
    assert.equal(peer.frames[0]?.type, "hello");
    clients[0]?.socket.destroy();
    await port.until(() => port.listener.connectionCount === 2);
    const next = port.client();
    await port.until(() => port.accepted.length === 4);
    for (const each of [...clients, next, peer]) each.socket.destroy();
  });

  test("connections that say nothing don't keep a peer out: the one that has been silent the longest makes room", async () => {
    await using port = await TestPort.open({ maxConnections: 2 });
    const client = port.client();
    await port.until(() => port.accepted.length === 1);
    const silent: TestSocket[] = [];
    for (let count = 0; count < 1 + peerConnectionsMaxCount; count += 1) {
      silent.push(new TestSocket(connect(port.port, "127.0.0.1")));
      // Nothing tells when a connection has come that says nothing.
      while (port.listener.connectionCount < 1 + silent.length) await systemClock.turn();
    }
    const peer = await RawPeer.greet(port);
    assert.equal(peer.frames[0]?.type, "hello");
    assert.deepEqual(port.refused, ["too-many"]);
    assert.equal(await silent[0]?.closed, "");
    assert.deepEqual(
      silent.slice(1).map(({ socket }) => socket.closed),
      silent.slice(1).map(() => false),
    );
    for (const each of [client, peer, ...silent]) each.socket.destroy();
  });

  test("when every place is taken by one who speaks, one more is dropped", async () => {
    await using port = await TestPort.open({ maxConnections: 1 });
    const client = port.client();
    const peers: RawPeer[] = [];
    // As many as the listener has places for; the transport counts its own.
    for (let count = 0; count < peerConnectionsMaxCount; count += 1)
      peers.push(await RawPeer.greet(port, { storageId: `s-${count}`, nodeId: `n-${count}` }));
    await port.until(() => port.accepted.length === 1 + peerConnectionsMaxCount);
    assert.equal(await port.client().closed, "");
    assert.deepEqual(port.refused, ["too-many"]);
    for (const each of [client, ...peers]) each.socket.destroy();
  });

  test("a node that has no peers refuses their magic as it does any other bytes", async () => {
    await using port = await TestPort.open({ hasPeers: false });
    const raw = RawPeer.connect(port).write(peerMagic);
    await raw.closed();
    assert.deepEqual([port.refused, port.accepted], [["unknown"], []]);
  });
});

/** A listener with a node behind it; what speaks HTTP is kept open and not answered. */
class TestPort extends Happenings implements AsyncDisposable {
  readonly node: TestPeer;
  readonly accepted: string[] = [];
  readonly refused: RefusedReason[] = [];
  #listener: Listener | undefined;

  private constructor(node: TestPeer) {
    super();
    this.node = node;
  }

  static async open({ maxConnections = 10, hasPeers = true } = {}): Promise<TestPort> {
    const port = new TestPort(await TestPeer.start("node"));
    port.#listener = await Listener.open({
      host: "127.0.0.1",
      port: 0,
      maxConnections,
      clock: systemClock,
      onHttp1: (socket) => socket.once("end", () => socket.end()).once("close", () => port.happened()),
      onHttp2: (socket) => socket.destroy(),
      ...(hasPeers ? { onPeer: (socket) => port.node.transport.takeConnection(socket) } : {}),
      onAccepted: (protocol) => {
        port.accepted.push(protocol);
        port.happened();
      },
      onRefused: (reason) => {
        port.refused.push(reason);
        port.happened();
      },
      onError: () => {},
    });
    return port;
  }

  get listener(): Listener {
    if (this.#listener === undefined) throw new Error("the listener is open");
    return this.#listener;
  }

  get port(): number {
    return this.listener.address.port;
  }

  client(): TestSocket {
    return new TestSocket(connect(this.port, "127.0.0.1")).write("GET / HTTP/1.1\r\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.stop();
    this.listener.destroyConnections();
    await this.node[Symbol.asyncDispose]();
  }
}
