import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { peerBufferMaxBytes, peerFrameEntriesBytes, peerReserveBytes, peerSocketBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { PeerDeframer } from "../wire/peer-frame.ts";
import { decodeMessages, type WireEnds, type WireMessage } from "../wire/peer-messages.ts";
import { PeerSender } from "./peer-sender.ts";

const ends: WireEnds = { from: "a", fromStorage: "s", to: "b" };

describe("what is sent to a peer", () => {
  test("all that is handed over in a turn leaves in one write, messages of many groups in one frame", async () => {
    const world = new World();
    for (let group = 0; group < 1_000; group += 1) assert.equal(world.sender.message(heartbeat(`g${group}`)), true);
    world.sender.frame("ping");
    assert.equal(world.writes.length, 0, "not before the turn is over");
    await world.turn();
    assert.equal(world.writes.length, 1);
    assert.deepEqual(world.sent(), ["ping", Array.from({ length: 1_000 }, (_, group) => `g${group}`)]);
    assert.equal(world.sender.bufferedBytes, 0);
  });

  test("what is light overtakes other groups' appends, and never a message of its own group", async () => {
    const world = new World();
    world.isStuck = true;
    world.sender.message(append("first", MiB));
    await world.turn();
    for (let count = 0; count < 4; count += 1) world.sender.message(append("busy", MiB));
    world.sender.message(heartbeat("busy"));
    world.sender.message(heartbeat("idle"));
    world.sender.frame("answer", Buffer.alloc(4, 1), Buffer.alloc(MiB));
    world.sender.frame("ping");
    world.release();
    await world.turn();
    const order = world.sent().map((each) => (typeof each === "string" ? each : each.join()));
    assert.deepEqual(order, ["first", "ping", "idle", "busy", "busy", "busy", "busy,busy", "answer"]);
    world.sender.message(heartbeat("busy"));
    world.sender.message(append("other", MiB));
    await world.turn();
    assert.deepEqual(world.sent().slice(-2), [["busy"], ["other"]], "and is light again when nothing of its group waits");
  });

  test("appends share a frame up to its limit, and one that is larger has its own", async () => {
    const world = new World();
    world.sender.message(append("a", peerFrameEntriesBytes / 2));
    world.sender.message(append("b", peerFrameEntriesBytes / 2));
    world.sender.message(append("c", 1));
    world.sender.message(append("d", 2 * peerFrameEntriesBytes));
    world.sender.message(append("e", 1));
    await world.turn();
    assert.deepEqual(world.sent(), [["a", "b"], ["c"], ["d"], ["e"]]);
  });

  test("no more is handed to the socket than it should hold, and one frame", async () => {
    const world = new World();
    world.isStuck = true;
    for (let count = 0; count < 100; count += 1) world.sender.message(append("g", 64 * KiB));
    await world.turn();
    assert.ok(world.socket.writableLength < peerSocketBytes + peerFrameEntriesBytes + KiB);
    world.release();
    await world.turn();
    assert.equal(world.sent().flat().length, 100);
  });

  test("a full buffer drops what has entries, keeps a reserve for what has none, and then drops that too", async () => {
    const world = new World();
    world.isStuck = true;
    const large = append("g", MiB);
    let taken = 0;
    while (world.sender.message(large)) taken += 1;
    assert.equal(taken, peerBufferMaxBytes / MiB - 1, "their heads count, too");
    let light = 0;
    while (world.sender.message(heartbeat("other"))) light += 1;
    assert.ok(light > peerReserveBytes / KiB && light < (MiB + peerReserveBytes) / 256, `${light}`);
    assert.equal(world.sender.frame("pong"), false);
    assert.ok(world.sender.bufferedBytes <= peerBufferMaxBytes + peerReserveBytes);
    world.release();
    await world.turn();
    assert.equal(world.sent().flat().length, taken + light);
    assert.equal(world.sender.bufferedBytes, 0);
    assert.equal(world.sender.message(large), true);
  });

  test("something larger than the buffer goes when nothing waits", () => {
    const world = new World();
    assert.equal(world.sender.message(append("g", peerBufferMaxBytes)), true);
    assert.equal(world.sender.message(append("g", 1)), false);
  });

  test("entries of some KiB are written as they lie there, and small ones together", async () => {
    const world = new World();
    const large = Buffer.alloc(64 * KiB, "x");
    const small = Array.from({ length: 1_000 }, (_, count) => Buffer.alloc(100, count));
    world.sender.message({ ...append("g", 0), frames: [large, ...small] });
    await world.turn();
    assert.equal(world.sent().length, 1);
    assert.equal(world.writes[0]?.[1]?.buffer, large.buffer, "the very bytes");
    assert.ok((world.writes[0]?.length ?? 0) < 6);
  });

  test("a message that can't be written down is told of, and doesn't end the process", async () => {
    const world = new World();
    world.sender.message(heartbeat("x".repeat(300)));
    await world.turn();
    assert.match(String(world.faults[0]), /an id has at most 255 bytes/);
  });

  test("once stopped it sends nothing, and holds nothing", async () => {
    const world = new World();
    world.isStuck = true;
    for (let count = 0; count < 10; count += 1) world.sender.message(append("g", MiB));
    await world.turn();
    world.sender.stop();
    world.release();
    await world.turn();
    assert.ok(world.sent().length <= 2);
    assert.equal(world.sender.bufferedBytes, 0);
  });
});

/** A sender whose socket takes what it is given, or doesn't. */
class World {
  /** Each with the pieces that were written at once. */
  readonly writes: Buffer[][] = [];
  readonly faults: unknown[] = [];
  isStuck = false;
  #stuck: (() => void)[] = [];
  readonly socket = new Writable({
    highWaterMark: 16 * KiB,
    writev: (chunks, done) =>
      this.#write(
        chunks.map(({ chunk }) => chunk as Buffer),
        done,
      ),
    write: (chunk: Buffer, _encoding, done) => this.#write([chunk], done),
  });
  readonly sender = new PeerSender(this.socket as Socket, {
    clock: createVirtualClock(),
    ends: () => ends,
    onFault: (error) => this.faults.push(error),
  });

  /** Until the socket has nothing more to do. */
  async turn(): Promise<void> {
    for (let count = 0; count < 100; count += 1) await new Promise((resolve) => void setImmediate(resolve));
  }

  release(): void {
    this.isStuck = false;
    for (const done of this.#stuck.splice(0)) done();
  }

  /** Frames as they were sent: their type, or of messages the groups. */
  sent(): (string | string[])[] {
    const frames: (string | string[])[] = [];
    const deframer = new PeerDeframer(
      () => Number.MAX_SAFE_INTEGER,
      ({ type, payload }) =>
        frames.push(type === "messages" ? decodeMessages(payload, ends).map(({ groupId }) => groupId) : type),
    );
    for (const pieces of this.writes) for (const piece of pieces) deframer.push(piece);
    return frames;
  }

  #write(pieces: Buffer[], done: () => void): void {
    this.writes.push(pieces);
    if (this.isStuck) this.#stuck.push(done);
    else done();
  }
}

const envelope = { from: "a", fromStorage: "s/1", to: "b", term: 1 } as const;

function heartbeat(groupId: string): WireMessage {
  return { groupId, message: { kind: "heartbeat", ...envelope, commitIndex: 0, matchIndex: 0, round: 0 }, frames: [] };
}

function append(groupId: string, bytes: number): WireMessage {
  const message = { kind: "append", ...envelope, prevIndex: 0, prevTerm: 0, entries: [], commitIndex: 0 } as const;
  return { groupId, message, frames: [Buffer.alloc(bytes)] };
}
