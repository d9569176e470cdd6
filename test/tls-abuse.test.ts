import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { after, afterEach, beforeEach, describe, test } from "node:test";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { createSeededRandom } from "../sim/random.ts";
import { headersMaxMs } from "../src/base/limits.ts";
import { clientHelloMaxBytes, refusalLingerMs } from "../src/base/security-limits.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode, TestSocket } from "./test-node.ts";

const rounds = process.env["PROVE"] === undefined ? 150 : 20_000;

/** The first flight of a real client, in one record. */
async function firstFlight(protocols: readonly string[] = ["http/1.1"]): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const end = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      resolve(chunk);
      done();
    },
  });
  const client = connectTls({ socket: end, ALPNProtocols: [...protocols], servername: "localhost" });
  client.on("error", () => {});
  const flight = await promise;
  client.destroy();
  return flight;
}

describe("a port that speaks TLS, and is abused", () => {
  const certificates = new TestCertificates();
  const ca = certificates.clientAuthority.cert;
  const root = certificates.client("root");
  let clock: VirtualClock;
  let node: TestNode;
  beforeEach(async () => {
    clock = createVirtualClock(certificates.now);
    const flags = { ...certificates.serverFlags(), ...certificates.peerFlags("n1"), bootstrap: true, "max-connections": 20 };
    node = await startTestNode({ clock, flags, tls: { ca, ...root } });
  });
  afterEach(() => node.node.close());
  after(() => certificates[Symbol.dispose]());

  const open = (): TestSocket => node.connect();
  const handshakes = async (): Promise<number> =>
    (await node.metric('proglog_tls_handshakes{plane="server"}')) + (await node.metric('proglog_tls_handshakes{plane="peer"}'));
  /** There is no line before the first one. */
  const refused = async (reason: string): Promise<number> =>
    (await node.metric(`proglog_connections_refused_total{reason="${reason}"}`)) || 0;
  /** The node has taken them, so that their time runs; one more is the question's own. */
  const connected = async (sockets: readonly TestSocket[]): Promise<void> => {
    for (const { socket } of sockets) if (socket.connecting) await once(socket, "connect");
    await node.until(async () => (await node.metric("proglog_connections")) > sockets.length);
  };

  test("drops who stops in its first message, or behind it, five seconds after it came", async () => {
    for (const protocols of [["http/1.1"], ["h2"], ["proglog-peer/1"]]) {
      const flight = await firstFlight(protocols);
      const before = await refused("silent");
      const stopped = [open(), open().write(flight.subarray(0, 1)), open().write(flight.subarray(0, -1)), open().write(flight)];
      await connected(stopped);
      // The last one is answered: a node has begun its handshake.
      await stopped[3]?.waitFor(/^./s);
      await node.until(async () => (await handshakes()) === 1);
      clock.advance(headersMaxMs);
      for (const { closed } of stopped) await closed;
      assert.equal((await refused("silent")) - before, stopped.length, protocols.join());
      await node.until(async () => (await handshakes()) === 0);
    }
  });

  test("drops who goes on a byte at a time by then, too", async () => {
    const flight = await firstFlight();
    const slow = open();
    await connected([slow]);
    slow.socket.setNoDelay(true);
    for (let position = 0; position < 5; position += 1) {
      slow.write(flight.subarray(position, position + 1));
      // Others are served meanwhile, and so is what came.
      assert.equal((await node.get("/livez")).status, 200);
      clock.advance(headersMaxMs / 5);
    }
    assert.equal(await slow.closed, "");
    assert.equal(await refused("silent"), 1);
  });

  test("drops a first message that is longer than the limit, as soon as it says so", async () => {
    const flight = await firstFlight();
    const long = Buffer.from(flight);
    long.writeUIntBE(clientHelloMaxBytes, 6, 3);
    assert.equal(await open().write(long).closed, "");
    assert.equal(await refused("unknown"), 1);
    assert.equal(await handshakes(), 0);
  });

  test("drops who is refused and doesn't read why, after a second", async () => {
    // Below the encryption: it goes on answering what TLS wants, and never ends its side.
    const socket = connectSocket({ host: "127.0.0.1", port: node.port, allowHalfOpen: true });
    const client = connectTls({ socket, ca, ALPNProtocols: ["http/1.1"] });
    client.on("error", () => {});
    await once(client, "secureConnect");
    await node.until(async () => (await refused("tls")) === 1);
    const openCount = await node.metric("proglog_connections");
    clock.advance(refusalLingerMs);
    await node.until(async () => (await node.metric("proglog_connections")) === openCount - 1);
    client.destroy();
  });

  test("negotiates nothing anew", async () => {
    const options = {
      host: "127.0.0.1",
      port: node.port,
      ca,
      ...root,
      maxVersion: "TLSv1.2",
      ALPNProtocols: ["http/1.1"],
    } as const;
    const socket = connectTls(options);
    await once(socket, "secureConnect");
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    socket.on("error", (error) => resolve(error));
    socket.once("close", () => resolve(new Error("closed")));
    socket.renegotiate({}, (error) => resolve(error));
    assert.ok((await promise) instanceof Error);
    socket.destroy();
    assert.equal((await node.get("/livez")).status, 200);
  });

  test("takes whom it can when all places are taken by handshakes, and all when they are over", async () => {
    const flight = await firstFlight();
    const silent: TestSocket[] = [];
    // Clients' places, and those beyond them that are for peers; the one that is longest there makes room.
    for (let count = 0; count < 200; count += 1) silent.push(open().write(flight));
    for (const { socket } of silent) if (socket.connecting) await once(socket, "connect");
    await node.until(async () => (await refused("too-many")) > 0);
    assert.equal((await node.get("/livez")).status, 200);
    clock.advance(headersMaxMs);
    for (const { closed } of silent) await closed;
    await node.until(async () => (await handshakes()) === 0);
  });

  test("that is closed amid handshakes closes", async () => {
    const flight = await firstFlight();
    const begun = [open().write(flight), open().write(flight.subarray(0, 20))];
    await connected(begun);
    await begun[0]?.waitFor(/^./s);
    await node.node.close();
    for (const { closed } of begun) await closed;
  });

  test(`outlasts ${rounds} handshakes that went wrong, and holds nothing of them`, async () => {
    const random = createSeededRandom(7);
    const integer = (end: number): number => Math.floor(random.float() * end);
    const flights = [await firstFlight(["http/1.1"]), await firstFlight(["h2"]), await firstFlight(["proglog-peer/1"])];
    for (let round = 0; round < rounds; round += 1) {
      const flight = Buffer.from(flights[integer(flights.length)] ?? Buffer.alloc(0));
      for (let flips = integer(4); flips > 0; flips -= 1) flight[integer(flight.length)] = integer(256);
      const tail = random.float() < 0.5 ? random.bytes(integer(300)) : Buffer.alloc(0);
      const socket: Socket = connectSocket({ host: "127.0.0.1", port: node.port });
      const abused = new TestSocket(socket).write(Buffer.concat([flight.subarray(0, integer(flight.length + 1)), tail]));
      await once(socket, "connect");
      // Half of them end in good order; the others go in the middle of what the node says, or before it says anything.
      if (random.float() < 0.5) socket.end();
      else {
        for (let turns = integer(10); turns > 0; turns -= 1) await setImmediate();
        socket.destroy();
      }
      await abused.closed;
    }
    await node.until(async () => (await handshakes()) === 0);
    assert.equal((await node.get("/livez")).status, 200);
    assert.deepEqual(
      node.lines.filter(({ level }) => level === "error"),
      [],
    );
  });
});
