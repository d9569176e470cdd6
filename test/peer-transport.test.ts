import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "../src/base/clock.ts";
import { ProglogError } from "../src/base/error.ts";
import { peerAnswerMaxMs } from "../src/base/cluster-limits.ts";
import {
  peerAddressesOfNameMaxCount,
  peerAskedAddressesMaxCount,
  peerBackoffMaxMs,
  peerBackoffStartMs,
  peerBodyMaxBytes,
  peerCloseMaxMs,
  peerHandshakeMaxMs,
  peerIdleMaxMs,
  peerPingMs,
  peerQuestionsMaxBytes,
  peerQuestionsMaxCount,
  peerSilenceMaxMs,
} from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { append, createSteppedClock, Happenings, heartbeat, numbersOf, RawPeer, TestPeer } from "./peer-world.ts";

/** Nodes of one process that talk over real sockets. */
describe("messages between nodes", () => {
  test("they arrive in order, both ways, with their entries as they were", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await Promise.all([a.knows(b), b.knows(a)]);
    assert.deepEqual([a.told, b.told], [["connected b 1"], ["connected a 1"]]);
    const count = 200;
    for (let index = 0; index < count; index += 1) {
      const entries = [Buffer.alloc(index * 500, index), Buffer.alloc(10, index)];
      assert.equal(a.send(b, "group", index % 2 === 0 ? append(index, ...entries) : heartbeat(index)), true);
      assert.equal(b.send(a, "group", heartbeat(index)), true);
    }
    await b.until(() => b.received.length === count);
    await a.until(() => a.received.length === count);
    assert.deepEqual(
      numbersOf(b),
      Array.from({ length: count }, (_, index) => index),
    );
    assert.deepEqual(numbersOf(a), numbersOf(b));
    const last = b.received[count - 2];
    assert.deepEqual(last?.from, a.identity);
    assert.deepEqual(last?.message.frames, [Buffer.alloc((count - 2) * 500, count - 2), Buffer.alloc(10, count - 2)]);
    assert.deepEqual({ ...last?.message.message }, { ...append(count - 2).message, from: "a", fromStorage: "s-a/1", to: "b" });
  });

  test("three nodes have a connection each way", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await using c = await TestPeer.start("c");
    const all = [a, b, c];
    const others = (node: TestPeer): TestPeer[] => all.filter((each) => each !== node);
    await Promise.all(all.map((node) => node.knows(...others(node))));
    for (const node of all) for (const other of others(node)) assert.equal(node.send(other, "group", heartbeat(1)), true);
    for (const node of all) {
      await node.until(() => node.received.length === 2);
      assert.deepEqual(node.transport.status(), {
        knownCount: 2,
        reachedCount: 2,
        incomingCount: 2,
        bufferedBytes: 0,
        questionsCount: 0,
      });
    }
  });

  test("a broken connection is told of, and made anew; nothing goes while there is none", async () => {
    const { virtual, clock } = createSteppedClock();
    await using a = await TestPeer.start("a", { clock });
    await using b = await TestPeer.start("b", { clock });
    await a.knows(b);
    b.sockets[0]?.destroy();
    await a.until(() => a.told.length === 2);
    assert.deepEqual(a.told, ["connected b 1", "disconnected b"]);
    assert.equal(a.send(b, "group", heartbeat(1)), false);
    assert.equal(a.droppedCount, 1);
    await assert.rejects(a.ask(b, "k"), { code: "UNAVAILABLE" });
    virtual.advance(peerBackoffMaxMs);
    await a.until(() => a.told.length === 3);
    assert.equal(a.send(b, "group", heartbeat(2)), true);
    await b.until(() => b.received.length === 1);
    assert.deepEqual(numbersOf(b), [2]);
  });

  test("a node that isn't there is tried again, less and less often, and found when it comes", async () => {
    const { virtual, clock } = createSteppedClock();
    const triedAt: number[] = [];
    const resolve = async (): Promise<string[]> => {
      triedAt.push(virtual.monotonic());
      return ["127.0.0.1"];
    };
    await using a = await TestPeer.start("a", { clock, resolve, connect: () => Promise.reject(new Error("nobody")) });
    a.transport.setPeers([{ nodeId: "b", address: "b.example:8000" }]);
    for (let count = 1; count <= 12; count += 1) {
      await a.until(() => a.lines.length === count);
      while (triedAt.length === count) assert.ok(virtual.runNext());
    }
    const waits = triedAt.slice(1).map((at, position) => at - (triedAt[position] ?? 0));
    assert.ok((waits[0] ?? 0) < 2 * peerBackoffStartMs && (waits.at(-1) ?? 0) > peerBackoffMaxMs / 2, waits.join());
    assert.ok(Math.max(...waits) < 1.5 * peerBackoffMaxMs, waits.join());
    assert.deepEqual(a.told, []);
    assert.equal(a.lines.filter(({ level }) => level === "info").length, 1, "said once");
    assert.match(a.lines[0]?.message ?? "", /cannot connect/);
  });

  test("a node that was heard of is dialed at once", async () => {
    const { clock } = createSteppedClock();
    await using b = await TestPeer.start("b", { clock });
    const a = await TestPeer.start("a", { clock });
    const { address } = a.identity;
    await a[Symbol.asyncDispose]();
    b.transport.setPeers([{ nodeId: "a", address }]);
    await b.until(() => b.lines.length === 1);
    // The clock stands still: nothing but being dialed makes b dial.
    await using again = await TestPeer.start("a", { clock, address, bootCounter: 2 });
    await again.knows(b);
    await b.until(() => b.told.length === 1);
    assert.deepEqual(b.told, ["connected a 2"]);
  });

  test("a new life of a node ends what an earlier one had, both ways, without waiting for silence", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await Promise.all([a.knows(b), b.knows(a)]);
    // The first life goes on, as one does that is cut off and doesn't know.
    await using again = await TestPeer.start("b", { bootCounter: 2 });
    a.transport.setPeers([{ nodeId: "b", address: again.identity.address }]);
    await a.until(() => a.told.length === 3);
    assert.deepEqual(a.told, ["connected b 1", "disconnected b", "connected b 2"]);
    await b.until(() => b.told.includes("disconnected a"));
    assert.equal(a.transport.status().incomingCount, 0, "the first life's connection is ended");
    await again.knows(a);
    assert.equal(again.send(a, "group", heartbeat(1)), true);
    await a.until(() => a.received.length === 1);
    assert.equal(a.received[0]?.from.bootCounter, 2);
    // And it is refused as long as the second is there.
    await a.until(() => a.refused.includes("unwanted"));
    await b.until(() => JSON.stringify(b.lines).includes("start 1 of its directory, and start 2 is connected"));
  });

  test("a connection to an earlier life goes when a later one is heard of, though nothing has broken it", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    b.leavePort();
    await using again = await TestPeer.start("b", { bootCounter: 2, address: b.identity.address });
    await again.knows(a);
    await a.until(() => a.told.length === 3);
    assert.deepEqual(a.told, ["connected b 1", "disconnected b", "connected b 2"]);
  });

  test("a second process on a copy of a directory is refused while the first is there", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await b.knows(a);
    await using copy = await TestPeer.start("b");
    copy.transport.setPeers([{ nodeId: "a", address: a.identity.address }]);
    await a.until(() => a.refused.length > 0);
    await copy.until(() => copy.lines.length > 0);
    assert.match(JSON.stringify(copy.lines), /runs on a copy of its directory/);
    assert.equal(b.send(a, "group", heartbeat(1)), true, "the first goes on");
    await using self = await TestPeer.start("a");
    await assert.rejects(self.transport.ask({ address: a.identity.address }, "k", Buffer.alloc(0)), {
      code: "PEER_REFUSED",
      hint: /Stop one of the two/,
      details: { node: "a", storageId: "s-a", reason: "copy" },
    });
  });

  test("a peer of another cluster is refused by either end, with what it refuses for", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b", { clusterId: "two" });
    a.transport.setPeers([{ nodeId: "b", address: b.identity.address }]);
    await b.until(() => b.refused.length > 0);
    await a.until(() => a.lines.length > 0);
    assert.equal(b.refused[0], "unwanted");
    const why = "Cannot speak with a: it belongs to cluster one";
    assert.deepEqual([a.told, b.told, b.received.length, a.refusals[0]], [[], [], 0, why]);
    await assert.rejects(a.transport.ask({ address: b.identity.address }, "k", Buffer.alloc(0)), {
      ...{ code: "PEER_REFUSED", message: why },
      hint: "Look at its addresses.",
      details: { clusterId: "one" },
    });
  });

  test("who answers at a node's address and is somebody else isn't taken for it", async () => {
    await using a = await TestPeer.start("a");
    await using c = await TestPeer.start("c");
    a.transport.setPeers([{ nodeId: "b", address: c.identity.address }]);
    await a.until(() => a.lines.length > 0);
    assert.match(JSON.stringify(a.lines), /Cannot speak with b at 127.0.0.1:\d+: c answers there/);
    assert.deepEqual(a.told, []);
  });

  test("a node that says anew who it is is checked again by all, and told of", async () => {
    await using a = await TestPeer.start("a", { clusterId: undefined });
    await using b = await TestPeer.start("b", { clusterId: undefined });
    a.identity = { ...a.identity, clusterId: undefined };
    b.identity = { ...b.identity, clusterId: undefined };
    await Promise.all([a.knows(b), b.knows(a)]);
    a.identity = { ...a.identity, clusterId: "one" };
    a.transport.announce();
    await b.until(() => b.told.length === 2);
    assert.deepEqual(b.told, ["connected a 1", "connected a 1"]);
    a.send(b, "group", heartbeat(1));
    await b.until(() => b.received.length === 1);
    assert.equal(b.received[0]?.from.clusterId, "one");
    b.identity = { ...b.identity, clusterId: "another" };
    b.transport.announce();
    await Promise.all([a, b].map((node) => node.until(() => node.told.at(-1)?.startsWith("disconnected") === true)));
    assert.equal(a.send(b, "group", heartbeat(2)), false);
  });

  test("a node that becomes somebody amid a handshake says so when it is greeted", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    a.identity = { ...a.identity, clusterId: undefined };
    b.onCheck = () => {
      if (a.identity.clusterId !== undefined) return;
      a.identity = { ...a.identity, clusterId: "one" };
      a.transport.announce();
    };
    await a.knows(b);
    a.send(b, "group", heartbeat(1));
    await b.until(() => b.received.length === 1);
    assert.equal(b.received[0]?.from.clusterId, "one");
  });

  test("a peer that isn't named any more is disconnected, and one whose address changed is dialed there", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    a.transport.setPeers([{ nodeId: "a", address: a.identity.address }]);
    assert.deepEqual(a.told.at(-1), "disconnected b");
    assert.equal(a.transport.status().knownCount, 0, "nobody dials itself");
    await b.until(() => b.transport.status().incomingCount === 0);
    await a.knows(b);
    await using moved = await TestPeer.start("b", { bootCounter: 2 });
    await a.knows(moved);
    await a.until(() => a.told.at(-1) === "connected b 2");
  });

  test("a peer that falls silent is dropped by both ends, and one that is only idle isn't", async () => {
    const { virtual, clock } = createSteppedClock();
    await using a = await TestPeer.start("a", { clock });
    await using b = await TestPeer.start("b", { clock });
    await a.knows(b);
    for (let count = 0; count < 3 * (peerSilenceMaxMs / peerPingMs); count += 1) {
      const { bytesWritten } = b.sockets[0] ?? { bytesWritten: 0 };
      virtual.advance(peerPingMs);
      // The pong, and the turn in which both ends look whether anybody was silent.
      for (; b.sockets[0]?.bytesWritten === bytesWritten; ) await clock.turn();
      for (let turn = 0; turn < 5; turn += 1) await clock.turn();
    }
    assert.deepEqual(a.told, ["connected b 1"]);
    // Neither reads any more, as over a line that is cut.
    b.sockets[0]?.pause();
    for (let count = 0; a.told.length === 1; count += 1) {
      assert.ok(count < 2 * (peerSilenceMaxMs / peerPingMs), "it is noticed");
      virtual.advance(peerPingMs);
      for (let turn = 0; turn < 5; turn += 1) await clock.turn();
    }
    assert.match(JSON.stringify(a.lines), /has said nothing for/);
    await b.until(() => b.transport.status().incomingCount === 0);
  });

  test("a node that stood still itself hears what has come meanwhile before it finds that a peer was silent", async () => {
    const { virtual, clock } = createSteppedClock();
    let stoodStillMs = 0;
    const stalling = { ...clock, monotonic: () => clock.monotonic() + stoodStillMs };
    await using a = await TestPeer.start("a", { clock: stalling });
    await using b = await TestPeer.start("b");
    await b.knows(a);
    assert.equal(b.send(a, "group", heartbeat(1)), true);
    // Behind the turn in which it is written, and before the one in which it is read.
    await clock.turn();
    stoodStillMs = 10 * peerSilenceMaxMs;
    virtual.advance(peerPingMs);
    assert.equal(a.received.length, 0);
    await a.until(() => a.received.length === 1);
    for (let turn = 0; turn < 5; turn += 1) await clock.turn();
    assert.equal(a.transport.status().incomingCount, 1);
  });

  test("a peer that doesn't read costs no more than its buffer, and gets all that was taken once it reads", async () => {
    const { clock } = createSteppedClock();
    await using a = await TestPeer.start("a", { clock });
    await using b = await TestPeer.start("b", { clock });
    await a.knows(b);
    b.sockets[0]?.pause();
    const entry = Buffer.alloc(MiB, "x");
    let taken = 0;
    // The kernel takes some of it, for a while.
    for (let refused = 0; refused < 20; ) {
      if (a.send(b, "group", append(taken, entry))) taken += 1;
      else refused += 1;
      await clock.turn();
    }
    assert.ok(a.transport.status().bufferedBytes <= 34 * MiB);
    assert.equal(a.send(b, "other", heartbeat(7)), true, "a heartbeat has its reserve");
    b.sockets[0]?.resume();
    await b.until(() => b.received.length === taken + 1);
    const appends = numbersOf(b).filter((_, at) => b.received[at]?.groupId === "group");
    assert.deepEqual(
      appends,
      Array.from({ length: taken }, (_, index) => index),
    );
    const overtaken = b.received.length - 1 - b.received.findIndex(({ groupId }) => groupId === "other");
    assert.ok(overtaken > 20, `it overtook ${overtaken} appends of another group`);
  });

  test("what a peer says and fails inside this node costs the connection, and is logged", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    b.onReceived = () => {
      throw new TypeError("a fault");
    };
    a.send(b, "group", heartbeat(1));
    await a.until(() => a.told.length >= 2);
    assert.equal(a.told[1], "disconnected b");
    assert.ok(b.lines.some(({ level, fields }) => level === "error" && JSON.stringify(fields).includes("a fault")));
  });

  test("both ends may close at the same time, and closing twice is fine", async () => {
    const a = await TestPeer.start("a");
    const b = await TestPeer.start("b");
    await Promise.all([a.knows(b), b.knows(a)]);
    b.answer = () => new Promise(() => {});
    const asked = assert.rejects(a.ask(b, "k"), { code: "UNAVAILABLE" });
    a.send(b, "group", heartbeat(1));
    await Promise.all([a.transport.close(), b.transport.close(), a.transport.close()]);
    await asked;
    assert.equal(a.send(b, "group", heartbeat(1)), false);
    await assert.rejects(a.transport.ask({ address: b.identity.address }, "k", Buffer.alloc(0)), { code: "UNAVAILABLE" });
    assert.deepEqual(a.transport.status(), {
      knownCount: 0,
      reachedCount: 0,
      incomingCount: 0,
      bufferedBytes: 0,
      questionsCount: 0,
    });
    a.stopListening();
    b.stopListening();
  });

  test("a close doesn't wait for a peer that doesn't take its end for longer than its time", async () => {
    const { virtual, clock } = createSteppedClock();
    await using b = await TestPeer.start("b", { clock });
    const raw = await RawPeer.greet(b);
    raw.socket.allowHalfOpen = true;
    const closing = b.transport.close();
    let isClosed = false;
    void closing.then(() => {
      isClosed = true;
    });
    virtual.advance(peerCloseMaxMs - 1);
    for (let turn = 0; turn < 10; turn += 1) await clock.turn();
    assert.equal(isClosed, false);
    virtual.advance(1);
    await closing;
    raw.socket.destroy();
  });

  test("what was sent before a close still arrives", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    for (let index = 0; index < 100; index += 1) a.send(b, "group", append(index, Buffer.alloc(64 * KiB)));
    await a.transport.close();
    await b.until(() => b.received.length === 100);
  });
});

describe("questions between nodes", () => {
  test("they are answered, many at a time and of any size, or refused with a code", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    const answers = await Promise.all(
      Array.from({ length: peerQuestionsMaxCount }, (_, number) => a.ask(b, "echo", `${number}`)),
    );
    assert.deepEqual(
      answers.map(String),
      answers.map((_, number) => `echo:${number}`),
    );
    b.answer = async (_from, _kind, body) => body;
    const large = Buffer.alloc(peerBodyMaxBytes, "x");
    assert.ok((await a.ask(b, "k", large)).equals(large));
    assert.ok((await a.ask(b, "k", Buffer.alloc(0))).length === 0);
    await assert.rejects(a.ask(b, "k", Buffer.alloc(peerBodyMaxBytes + 1)), { code: "REQUEST_TOO_LARGE" });
    b.answer = async () => {
      throw new ProglogError("NOT_LEADER", "Cannot change", { hint: "Ask c.", details: { leaderId: "c", term: 3 } });
    };
    await assert.rejects(a.ask(b, "k"), {
      code: "NOT_LEADER",
      message: "Cannot change",
      hint: "Ask c.",
      details: { leaderId: "c", term: 3 },
    });
    b.answer = () => {
      throw new TypeError("a secret");
    };
    await assert.rejects(a.ask(b, "k"), { code: "INTERNAL", message: /inside the node/ });
    b.answer = async () => Buffer.alloc(peerBodyMaxBytes + 1);
    await assert.rejects(a.ask(b, "k"), { code: "INTERNAL" });
    assert.equal(b.lines.filter(({ message }) => message === "a peer's question failed").length, 2);
  });

  test("one that isn't answered in time, or is cancelled, fails here and ends there", async () => {
    const { virtual, clock } = createSteppedClock();
    await using a = await TestPeer.start("a", { clock });
    await using b = await TestPeer.start("b", { clock });
    await a.knows(b);
    const asked = new Happenings();
    const signals: AbortSignal[] = [];
    b.answer = (_from, _kind, _body, signal) => {
      signals.push(signal);
      signal.addEventListener("abort", () => asked.happened());
      asked.happened();
      return new Promise(() => {});
    };
    const late = assert.rejects(a.ask(b, "k", "", { timeoutMs: 500 }), {
      code: "TIMEOUT",
      message: /no answer came within 500 ms/,
    });
    await asked.until(() => signals.length === 1);
    virtual.advance(500);
    await late;
    await asked.until(() => signals[0]?.aborted === true);
    const abort = new AbortController();
    const cancelled = assert.rejects(a.ask(b, "k", "", { signal: abort.signal }), { code: "CANCELLED" });
    await asked.until(() => signals.length === 2);
    abort.abort();
    await cancelled;
    await asked.until(() => signals[1]?.aborted === true);
    assert.equal(b.transport.status().questionsCount, 0);
    await assert.rejects(a.ask(b, "k", "", { signal: abort.signal }), { code: "CANCELLED" });
    assert.equal(signals.length, 2, "one that was given up before isn't asked");
  });

  test("one whose connection breaks fails, and whoever works at its answer is told", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    const asked = new Happenings();
    let signal: AbortSignal | undefined;
    b.answer = (_from, _kind, _body, given) => {
      signal = given;
      given.addEventListener("abort", () => asked.happened());
      asked.happened();
      return new Promise(() => {});
    };
    const failed = assert.rejects(a.ask(b, "k"), { code: "UNAVAILABLE" });
    await asked.until(() => signal !== undefined);
    b.sockets[0]?.destroy();
    await failed;
    await asked.until(() => signal?.aborted === true);
  });

  test("those beyond their number, here or there, are refused, and so is what is too much in bytes", async () => {
    await using a = await TestPeer.start("a");
    await using b = await TestPeer.start("b");
    await a.knows(b);
    const release = Promise.withResolvers<Buffer>();
    b.answer = () => release.promise;
    const all = Array.from({ length: peerQuestionsMaxCount }, () => a.ask(b, "k"));
    await assert.rejects(a.ask(b, "k"), { code: "OVERLOADED" });
    release.resolve(Buffer.alloc(0));
    await Promise.all(all);
    const wait = Promise.withResolvers<Buffer>();
    b.answer = () => wait.promise;
    const large = Buffer.alloc(peerBodyMaxBytes);
    const fitting = peerQuestionsMaxBytes / peerBodyMaxBytes;
    const asked: Promise<Buffer>[] = [];
    for (let count = 0; count < fitting; count += 1) {
      asked.push(a.ask(b, "k", large));
      while (a.transport.status().bufferedBytes > 0) await systemClock.turn();
    }
    await assert.rejects(a.ask(b, "k", "x"), { code: "OVERLOADED", hint: /earlier questions/ });
    wait.resolve(Buffer.alloc(0));
    await Promise.all(asked);
    await a.ask(b, "k", "x");
  });

  test("an address is asked without being known, over one connection that goes when it idles", async () => {
    const { virtual, clock } = createSteppedClock();
    await using a = await TestPeer.start("a", { clock });
    await using b = await TestPeer.start("b", { clock });
    const to = { address: b.identity.address };
    const answers = await Promise.all([1, 2].map((number) => a.transport.ask(to, "k", Buffer.from(`${number}`))));
    assert.deepEqual(answers.map(String), ["k:1", "k:2"]);
    assert.equal(b.sockets.length, 1);
    assert.deepEqual([a.told, b.told], [[], []], "there is no way to a node that isn't known");
    for (let passed = 0; passed <= peerIdleMaxMs + 2 * peerPingMs; passed += peerPingMs) {
      virtual.advance(peerPingMs);
      for (let turn = 0; turn < 10; turn += 1) await clock.turn();
    }
    await b.until(() => b.transport.status().incomingCount === 0);
    assert.equal((await a.transport.ask(to, "k", Buffer.from("3"))).toString(), "k:3");
    assert.equal(b.sockets.length, 2);
  });

  test("a node may ask itself by one of its addresses", async () => {
    await using a = await TestPeer.start("a");
    assert.equal((await a.transport.ask({ address: a.identity.address }, "k", Buffer.from("x"))).toString(), "k:x");
  });

  test("a name stands for many addresses: each is tried, and the name is asked again each time", async () => {
    let answers: readonly string[] = ["127.0.0.2", "127.0.0.1"];
    const asked: string[] = [];
    await using a = await TestPeer.start("a", {
      resolve: async (host) => {
        asked.push(host);
        return answers;
      },
    });
    await using b = await TestPeer.start("b");
    const to = { address: `b.example:${b.port}` };
    assert.equal((await a.transport.ask(to, "k", Buffer.alloc(0))).toString(), "k:");
    b.sockets[0]?.destroy();
    await b.until(() => b.transport.status().incomingCount === 0);
    for (const [what, pattern] of [
      [[], /stands for no address/],
      [["127.0.0.2"], /ECONNREFUSED/],
    ] as const) {
      answers = what;
      // The connection's end takes a turn to get here.
      for (let isOver = false; !isOver; ) {
        const failure: unknown = await a.transport.ask(to, "k", Buffer.alloc(0)).catch((error: unknown) => error);
        isOver = failure instanceof ProglogError && failure.code === "UNAVAILABLE" && pattern.test(failure.message);
      }
    }
    assert.ok(asked.length >= 3);
    assert.ok(asked.every((host) => host === "b.example"));
  });

  test("of a name's addresses so many are tried, and so many addresses are asked at a time", async () => {
    const tried: string[] = [];
    const hosts = Array.from({ length: peerAddressesOfNameMaxCount + 1 }, (_, number) => `10.0.0.${number}`);
    let isStuck = false;
    await using a = await TestPeer.start("a", {
      resolve: () => Promise.resolve(hosts),
      connect: ({ host }) => {
        tried.push(host);
        return isStuck ? new Promise(() => {}) : Promise.reject(new Error("nobody"));
      },
    });
    await assert.rejects(a.transport.ask({ address: "b.example:80" }, "k", Buffer.alloc(0)), {
      code: "UNAVAILABLE",
      message: /nobody/,
    });
    assert.deepEqual(tried, hosts.slice(0, peerAddressesOfNameMaxCount));
    isStuck = true;
    const abort = new AbortController();
    const ask = (port: number): Promise<void> =>
      assert.rejects(a.transport.ask({ address: `b.example:${port}` }, "k", Buffer.alloc(0), { signal: abort.signal }), {
        code: "CANCELLED",
      });
    const all = Array.from({ length: peerAskedAddressesMaxCount }, (_, port) => ask(port + 1));
    const beyond = { address: "b.example:999" };
    await assert.rejects(a.transport.ask(beyond, "k", Buffer.alloc(0)), {
      code: "UNAVAILABLE",
      message: /64 other addresses are being asked/,
    });
    abort.abort();
    await Promise.all(all);
    // Nobody waits for the others any more: one of them makes room.
    await assert.rejects(a.transport.ask(beyond, "k", Buffer.alloc(0), { timeoutMs: 1 }), { code: "TIMEOUT" });
  });

  test("an address that is none, a name that isn't known and one where nobody answers in time fail with a code", async () => {
    const { virtual, clock } = createSteppedClock();
    const connecting = new Happenings();
    let isConnecting = false;
    await using a = await TestPeer.start("a", {
      clock,
      resolve: (host) => (host === "nowhere" ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve([host])),
      connect: () => {
        isConnecting = true;
        connecting.happened();
        return new Promise(() => {});
      },
    });
    const ask = (address: string, timeoutMs = peerAnswerMaxMs): Promise<Buffer> =>
      a.transport.ask({ address }, "k", Buffer.alloc(0), { timeoutMs });
    for (const address of ["", "b", "b:0", "b:70000", "::1:80", "[b]:80", "a b", "b:80:90"])
      await assert.rejects(ask(address), { code: "INVALID_ARGUMENT" }, address);
    await assert.rejects(ask("nowhere:80"), { code: "UNAVAILABLE", message: /can't be resolved \(ENOTFOUND\)/ });
    const slow = assert.rejects(ask("10.0.0.1:80"), { code: "UNAVAILABLE", message: /longer than 5000 ms/ });
    await connecting.until(() => isConnecting);
    virtual.advance(peerHandshakeMaxMs);
    await slow;
    const hasty = assert.rejects(ask("10.0.0.1:80", 100), { code: "TIMEOUT" });
    virtual.advance(100);
    await hasty;
  });
});
