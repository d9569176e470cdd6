import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createVirtualClock } from "../../sim/clock.ts";
import type { ProglogError } from "../base/error.ts";
import { lineBatchBytes, lineOverheadBytes, uploadIdleMaxMs } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import { HeldBytes } from "./held-bytes.ts";
import { uploadLines } from "./line-upload.ts";
import { LiveBody } from "./live-body.ts";
import type { ProducedRange } from "./produce-service.ts";

describe("an upload of lines", () => {
  test("gathers while an append is under way, and holds no more than a batch beside it", async () => {
    const world = new World();
    const first = world.answers.next();
    await world.send(line("a"));
    await world.appending(1);
    const large = line("x".repeat(100_000));
    for (let count = 0; count < 30; count += 1) void world.send(large);
    await settle();
    assert.equal(world.appends.length, 1);
    const held = world.held.bytes;
    assert(held > lineBatchBytes && held < lineBatchBytes + 3 * large.length, String(held));
    assert(world.stream.readableLength > 0, "the rest is left unread");
    world.release();
    assert.deepEqual((await first).value, { kind: "appended", ranges: [range(0, 1)], firstLine: 1, lastLine: 1 });
    const second = world.answers.next();
    await world.appending(2);
    assert.equal(world.appends[1]?.length, 10);
    world.release();
    await second;
    await world.answers.return();
    assert.equal(world.held.bytes, 0);
  });

  test("whose answers nobody asks for reads no more than a batch", async () => {
    const world = new World({ isReleased: true });
    const first = world.answers.next();
    await world.send(line("a"));
    await first;
    const large = line("x".repeat(100_000));
    for (let count = 0; count < 30; count += 1) void world.send(large);
    await settle();
    assert.equal(world.appends.length, 1);
    assert(world.held.bytes < lineBatchBytes);
    await world.answers.return();
    assert.equal(world.held.bytes, 0);
  });

  test("that is ended by its client waits for the append under way, and gives back what it held", async () => {
    const world = new World();
    const first = world.answers.next();
    await world.send(line("a"));
    await world.appending(1);
    await world.send(line("b") + line("c").slice(0, 5));
    world.stream.destroy();
    await settle();
    world.release();
    assert.equal((await first).value?.kind, "appended");
    const second = world.answers.next();
    await world.appending(2);
    world.release();
    assert.equal((await second).value?.kind, "appended");
    const last = (await world.answers.next()).value;
    assert(last?.kind === "refused");
    assert.deepEqual([last.line, (last.error as ProglogError).code], [3, "CANCELLED"]);
    assert.equal((await world.answers.next()).done, true);
    assert.equal(world.held.bytes, 0);
  });

  test("is refused at the line for which there is no room, and those before it are appended", async () => {
    const world = new World({ isReleased: true, heldMaxBytes: 2 * (line("a").length + lineOverheadBytes) });
    const first = world.answers.next();
    await world.send(line("a") + line("b") + line("c"));
    assert.deepEqual((await first).value, { kind: "appended", ranges: [range(0, 2)], firstLine: 1, lastLine: 2 });
    const last = (await world.answers.next()).value;
    assert(last?.kind === "refused");
    assert.deepEqual([last.line, (last.error as ProglogError).code], [3, "OVERLOADED"]);
    await world.answers.return();
    assert.equal(world.held.bytes, 0);
  });

  test("counts a line that doesn't end, and refuses what is too much", async () => {
    const world = new World({ heldMaxBytes: 100 });
    const first = world.answers.next();
    await world.send("x".repeat(60));
    await settle();
    assert.equal(world.held.bytes, 60);
    await world.send("x".repeat(60));
    const last = (await first).value;
    assert(last?.kind === "refused");
    assert.deepEqual([last.line, (last.error as ProglogError).code], [1, "OVERLOADED"]);
    assert.equal((await world.answers.next()).done, true);
    assert.equal(world.held.bytes, 0);
  });

  test("whose client doesn't take its answers is cut off in the end", async () => {
    const world = new World({ isReleased: true });
    const first = world.answers.next();
    await world.send(line("a"));
    await first;
    world.clock.advance(uploadIdleMaxMs - 1);
    assert.equal(world.stream.destroyed, false);
    world.clock.advance(1);
    assert.equal(world.stream.destroyed, true);
    await world.answers.return();
    assert.equal(world.clock.timerCount, 0);
  });

  test("has a limit to its silence, and an empty line ends one", async () => {
    const world = new World();
    const first = world.answers.next();
    await world.send(line("a"));
    await world.appending(1);
    world.release();
    await first;
    const second = world.answers.next();
    await settle();
    world.clock.advance(uploadIdleMaxMs - 1);
    await world.send("\n");
    await settle();
    world.clock.advance(uploadIdleMaxMs - 1);
    await settle();
    world.clock.advance(1);
    const last = (await second).value;
    assert(last?.kind === "refused");
    assert.deepEqual([last.line, (last.error as ProglogError).code], [3, "TIMEOUT"]);
    await world.answers.return();
    assert.equal(world.clock.timerCount, 0);
  });
});

/** A body that a test writes, and a log that appends when it is told to. */
class World {
  readonly clock = createVirtualClock();
  readonly stream = new PassThrough();
  readonly appends: (readonly RecordInput[])[] = [];
  readonly held: HeldBytes;
  readonly answers;
  readonly #isReleased: boolean;
  #release: (() => void) | undefined;
  #nextOffset = 0;

  constructor({ isReleased = false, heldMaxBytes = 100_000_000 } = {}) {
    this.#isReleased = isReleased;
    this.held = new HeldBytes(heldMaxBytes);
    const request = this.stream as unknown as IncomingMessage;
    const body = new LiveBody(request, { clock: this.clock, idleMs: uploadIdleMaxMs, onLeave: () => {} });
    this.answers = uploadLines({ body, held: this.held, append: (records) => this.#append(records) });
  }

  async #append(records: readonly RecordInput[]): Promise<readonly ProducedRange[]> {
    this.appends.push(records);
    if (!this.#isReleased) {
      await new Promise<void>((resolve) => {
        this.#release = resolve;
      });
    }
    this.#nextOffset += records.length;
    return [range(this.#nextOffset - records.length, records.length)];
  }

  release(): void {
    this.#release?.();
  }

  /** Resolves when it is taken from the writer. */
  send(text: string): Promise<void> {
    return new Promise((resolve) => void this.stream.write(text, () => resolve()));
  }

  async appending(count: number): Promise<void> {
    while (this.appends.length < count) await setImmediate();
  }
}

function line(value: string): string {
  return `${JSON.stringify({ value })}\n`;
}

function range(baseOffset: number, count: number): ProducedRange {
  return { partition: 0, baseOffset, count, appendTime: 0, isDurable: true, isDuplicate: false };
}

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
}
