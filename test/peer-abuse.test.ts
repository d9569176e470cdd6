import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { peerHelloMaxBytes } from "../src/base/cluster-limits.ts";
import {
  peerAskersMaxCount,
  peerBodyMaxBytes,
  peerConnectionsMaxCount,
  peerHandshakeMaxMs,
  peerQuestionsMaxCount,
} from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { encodePeerFrame, peerMagic } from "../src/wire/peer-frame.ts";
import { encodePeerHello } from "../src/wire/peer-hello.ts";
import { encodeMessages } from "../src/wire/peer-messages.ts";
import { decodeRefusal, encodeNumber, encodeQuestionHead } from "../src/wire/peer-question.ts";
import { createSteppedClock, heartbeat, helloOf, RawPeer, type SteppedClock, TestPeer } from "./peer-world.ts";

/** What no honest peer does, to a node that has an honest one beside it: whatever comes, the two go on. */
const rounds = process.env["PROVE"] === undefined ? 60 : 5_000;

describe("a node whose peers' port is sent nonsense", () => {
  let stepped: SteppedClock;
  let node: TestPeer;
  let honest: TestPeer;
  let round = 0;
  before(async () => {
    stepped = createSteppedClock();
    node = await TestPeer.start("node", { clock: stepped.clock });
    honest = await TestPeer.start("honest", { clock: stepped.clock });
    await Promise.all([node.knows(honest), honest.knows(node)]);
  });
  after(async () => {
    await honest[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  /** Messages go both ways over the connections that were there before, and a question is answered. */
  async function checkHonest(): Promise<void> {
    round += 1;
    const [atNode, atHonest] = [node.received.length, honest.received.length];
    assert.equal(honest.send(node, "group", heartbeat(round)), true);
    assert.equal(node.send(honest, "group", heartbeat(round)), true);
    await node.until(() => node.received.length > atNode);
    await honest.until(() => honest.received.length > atHonest);
    assert.equal((await honest.ask(node, "k", `${round}`)).toString(), `k:${round}`);
    assert.deepEqual(honest.told, ["connected node 1"]);
    assert.equal(node.transport.status().incomingCount, 1, "nothing is left of the others");
  }

  function reasonOf({ frames }: RawPeer): string {
    const last = frames.at(-1);
    return last?.type === "refusal" ? decodeRefusal(last.payload).error.message : "";
  }

  const hello = encodePeerFrame("hello", encodePeerHello(helloOf()))[0] as Buffer;
  const early: readonly (readonly [what: string, bytes: Buffer])[] = [
    ["no magic", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["magic and then HTTP", Buffer.concat([peerMagic, Buffer.from("GET / HTTP/1.1\r\n\r\n")])],
    ["magic and zeros", Buffer.concat([peerMagic, Buffer.alloc(100)])],
    ["messages before a hello", Buffer.concat([peerMagic, ...encodePeerFrame("messages", Buffer.alloc(4))])],
    ["a question before a hello", Buffer.concat([peerMagic, ...encodePeerFrame("question", encodeQuestionHead(1, "k"))])],
    ["a hello of a flipped bit", Buffer.concat([peerMagic, flipped(hello, 20)])],
    ["a hello that is none", Buffer.concat([peerMagic, ...encodePeerFrame("hello", Buffer.alloc(10))])],
    ["a hello that is too long", Buffer.concat([peerMagic, ...encodePeerFrame("hello", Buffer.alloc(peerHelloMaxBytes + 1))])],
    ["more than a hello", Buffer.concat([peerMagic, hello, Buffer.alloc(peerHelloMaxBytes, "x")])],
  ];
  for (const [what, bytes] of early)
    test(`${what}: dropped, counted, and not heard`, async () => {
      const refused = node.refused.length;
      const raw = RawPeer.connect(node).write(bytes);
      await raw.closed();
      assert.equal(node.refused.length, refused + 1);
      assert.equal(node.refused.at(-1), "garbage");
      assert.ok(raw.frames.every(({ type }) => type === "refusal"));
      await checkHonest();
    });

  test("half a hello, or nothing, is dropped after its time", async () => {
    // Between two sweeps, which are not to take the silent ones for peers that fell silent.
    stepped.virtual.advance(500);
    const raws = [RawPeer.connect(node), RawPeer.connect(node).write(Buffer.concat([peerMagic, hello]).subarray(0, 30))];
    await node.until(() => node.transport.status().incomingCount === 3);
    // A second at a time, so that the honest one's pings and pongs go.
    for (let passed = 0; passed <= peerHandshakeMaxMs; passed += 500) {
      stepped.virtual.advance(500);
      for (let turn = 0; turn < 20; turn += 1) await stepped.clock.turn();
    }
    await Promise.all(raws.map((raw) => raw.closed()));
    assert.deepEqual(node.refused.slice(-2), ["silent", "silent"]);
    await checkHonest();
  });

  test("a hello in single bytes is a hello", async () => {
    const raw = RawPeer.connect(node);
    raw.socket.setNoDelay(true);
    for (const byte of Buffer.concat([peerMagic, hello]))
      await new Promise((resolve) => raw.socket.write(Buffer.of(byte), resolve));
    await raw.until(() => raw.frames.length > 0);
    assert.equal(raw.frames[0]?.type, "hello");
    raw.socket.destroy();
    await node.until(() => node.transport.status().incomingCount === 1);
  });

  const late: readonly (readonly [what: string, say: (raw: RawPeer) => void, reason: RegExp])[] = [
    ["an answer that wasn't asked for", (raw) => raw.frame("answer", encodeNumber(1)), /isn't to come now/],
    ["a pong", (raw) => raw.frame("pong"), /isn't to come now/],
    ["a ping with something in it", (raw) => raw.frame("ping", Buffer.alloc(1)), /the limit is 0/],
    ["a length of 4 GiB", (raw) => raw.write(Buffer.from("ffffffff0000000002", "hex")), /the limit is \d+/],
    ["a type that isn't known", (raw) => raw.write(Buffer.from("010000000000000063", "hex")), /no frames of a peer/],
    ["a message of no kind", (raw) => raw.frame("messages", Buffer.from("0100000000", "hex")), /kind isn't known/],
    ["a checksum that doesn't match", (raw) => raw.write(Buffer.from("010000000000000007", "hex")), /checksum/],
    [
      "a question twice",
      (raw) => raw.frame("question", encodeQuestionHead(1, "wait")).frame("question", encodeQuestionHead(1, "wait")),
      /twice/,
    ],
    ["a question of number 0", (raw) => raw.frame("question", encodeQuestionHead(0, "k")), /number is 0/],
    ["another life", (raw) => raw.frame("hello", encodePeerHello(helloOf({ life: "00000000000000bb" }))), /somebody else/],
    ["another name", (raw) => raw.frame("hello", encodePeerHello(helloOf({ nodeId: "honest" }))), /somebody else/],
  ];
  for (const [what, say, reason] of late)
    test(`${what}, from one who was greeted: told why, and dropped`, async () => {
      node.answer = async (_from, kind, body) =>
        kind === "wait" ? new Promise(() => {}) : Buffer.from(`${kind}:${body.toString()}`);
      const raw = await RawPeer.greet(node);
      say(raw);
      await raw.closed();
      assert.match(reasonOf(raw), reason);
      await checkHonest();
    });

  test("messages on a connection that only asks aren't heard", async () => {
    const raw = await RawPeer.greet(node, { purpose: "questions" });
    const received = node.received.length;
    raw.frame("messages", Buffer.alloc(4));
    await raw.closed();
    assert.equal(node.received.length, received);
    await checkHonest();
  });

  test("versions that have none in common are told so", async () => {
    const raw = await RawPeer.greet(node, { version: 9, oldestVersion: 7 });
    await raw.closed();
    assert.match(reasonOf(raw), /it speaks versions 7 to 9 of the protocol, and this node 1 to 1/);
    assert.equal(node.refused.at(-1), "unwanted");
  });

  test("an older start of a directory is refused while a newer one is connected", async () => {
    const newer = await RawPeer.greet(node, { bootCounter: 5, life: "00000000000000bb" });
    const older = await RawPeer.greet(node, { bootCounter: 4 });
    await older.closed();
    assert.match(reasonOf(older), /start 4 of its directory, and start 5 is connected/);
    assert.equal(newer.isClosed, false);
    const newest = await RawPeer.greet(node, { bootCounter: 6, life: "00000000000000cc" });
    await newer.closed();
    newest.socket.destroy();
    await newest.closed();
    await node.until(() => node.transport.status().incomingCount === 1);
  });

  test("frames cut short, mixed up, doubled and of random bytes bring nobody else down", async () => {
    const random = createSeededRandom(6);
    const ends = { from: "raw", fromStorage: "s-raw", to: "node" };
    const message = {
      kind: "heartbeat",
      from: "raw",
      fromStorage: "s-raw/1",
      to: "node",
      term: 1,
      commitIndex: 0,
      matchIndex: 0,
      round: 1,
    } as const;
    const encoded = encodeMessages([{ groupId: "group", message, frames: [] }], ends);
    const honestFrames = [
      Buffer.concat(encodePeerFrame("messages", encoded.head, encoded.body, false)),
      Buffer.concat(encodePeerFrame("question", encodeQuestionHead(1, "k"), [Buffer.alloc(100)])),
      Buffer.concat(encodePeerFrame("cancel", encodeNumber(1))),
      Buffer.concat(encodePeerFrame("ping")),
      hello,
    ];
    for (let count = 0; count < rounds; count += 1) {
      const raw = await RawPeer.greet(node);
      const pieces = Array.from({ length: 1 + random.integer(5) }, () => {
        const frame = honestFrames[random.integer(honestFrames.length)] ?? hello;
        const dice = random.integer(4);
        if (dice === 0) return frame.subarray(0, random.integer(frame.length));
        if (dice === 1) return flipped(frame, random.integer(frame.length));
        return dice === 2 ? random.bytes(random.integer(200)) : frame;
      });
      raw.write(Buffer.concat(pieces));
      raw.socket.end();
      await raw.closed();
    }
    await node.until(() => node.transport.status().incomingCount === 1);
    await checkHonest();
  });

  test("more questions than may be under way are refused, each with its number, and cancelled ones make room", async () => {
    node.answer = () => new Promise(() => {});
    const raw = await RawPeer.greet(node, { purpose: "questions" });
    for (let number = 1; number <= peerQuestionsMaxCount + 1; number += 1)
      raw.frame("question", encodeQuestionHead(number, "k"));
    await raw.until(() => raw.frames.length === 2);
    assert.match(reasonOf(raw), /too much that this peer asked for/);
    raw.frame("cancel", encodeNumber(1)).frame("cancel", encodeNumber(77_777));
    raw.frame("question", encodeQuestionHead(1, "k")).frame("ping");
    await raw.until(() => raw.frames.length === 3);
    assert.equal(raw.frames.at(-1)?.type, "pong");
    raw.socket.destroy();
    await node.until(() => node.transport.status().incomingCount === 1);
    node.answer = async (_from, kind, body) => Buffer.from(`${kind}:${body.toString()}`);
    await checkHonest();
  });

  test("who asks and doesn't read is refused further answers, and at last dropped", async () => {
    node.answer = async (_from, kind, body) =>
      kind === "large" ? Buffer.alloc(peerBodyMaxBytes) : Buffer.from(`${kind}:${body.toString()}`);
    const raw = await RawPeer.greet(node, { purpose: "questions" });
    raw.socket.pause();
    let number = 0;
    let mostBytes = 0;
    while (!raw.socket.destroyed && node.transport.status().incomingCount === 2) {
      for (let count = 0; count < 100; count += 1)
        raw.frame("question", encodeQuestionHead((number += 1), number < 10 ? "large" : "small"));
      await stepped.clock.turn();
      mostBytes = Math.max(mostBytes, node.transport.status().bufferedBytes);
    }
    assert.ok(mostBytes < 42 * MiB, `${mostBytes}`);
    raw.socket.destroy();
    await checkHonest();
  });

  test("a flood of connections that don't say who they are doesn't keep a peer out", async () => {
    const flood = Array.from({ length: 2 * peerConnectionsMaxCount }, () => RawPeer.connect(node).write(peerMagic));
    await node.until(() => node.refused.filter((reason) => reason === "too-many").length >= peerConnectionsMaxCount);
    assert.ok(node.transport.status().incomingCount <= peerConnectionsMaxCount);
    const raw = await RawPeer.greet(node);
    assert.equal(raw.frames[0]?.type, "hello");
    for (const each of [raw, ...flood]) each.socket.destroy();
    await node.until(() => node.transport.status().incomingCount === 1);
    await checkHonest();
  });

  test("a peer has one connection for messages, the newest, and a few that ask", async () => {
    const first = await RawPeer.greet(node);
    const second = await RawPeer.greet(node);
    await first.closed();
    const askers: RawPeer[] = [];
    for (let count = 0; count < peerAskersMaxCount; count += 1)
      askers.push(await RawPeer.greet(node, { purpose: "questions" }));
    const beyond = await RawPeer.greet(node, { purpose: "questions" });
    await beyond.closed();
    assert.match(reasonOf(beyond), /raw has 4 that ask/);
    assert.deepEqual(
      [second, ...askers].map(({ isClosed }) => isClosed),
      [second, ...askers].map(() => false),
    );
    for (const each of [second, ...askers]) each.socket.destroy();
    await node.until(() => node.transport.status().incomingCount === 1);
    await checkHonest();
  });

  test("a reset amid a frame of a megabyte leaves nothing behind", async () => {
    const raw = await RawPeer.greet(node);
    raw.write((encodePeerFrame("question", encodeQuestionHead(1, "k"), [Buffer.alloc(MiB)])[0] as Buffer).subarray(0, 9));
    raw.write(Buffer.alloc(300 * KiB));
    raw.socket.resetAndDestroy();
    await node.until(() => node.transport.status().incomingCount === 1);
    await checkHonest();
  });
});

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0x10;
  return copy;
}
