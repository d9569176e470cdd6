import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { SyncGate } from "./sync-gate.ts";

/** Syncs that end when told, and the order in which they began. */
class Syncs {
  readonly gate: SyncGate;
  readonly began: string[] = [];
  readonly clock = createVirtualClock();
  readonly #ends = new Map<string, PromiseWithResolvers<void>>();

  constructor(maxCount: number) {
    this.gate = new SyncGate(this.clock, maxCount);
  }

  run(key: string, name = key, isUrgent = false): Promise<void> {
    const end = Promise.withResolvers<void>();
    this.#ends.set(name, end);
    return this.gate.run(key, isUrgent, () => {
      this.began.push(name);
      return end.promise;
    });
  }

  async end(name: string, error?: Error): Promise<void> {
    const end = this.#ends.get(name);
    if (error === undefined) end?.resolve();
    else end?.reject(error);
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  }
}

describe("a sync gate", () => {
  test("as many as may run at once, and the next one when one has ended", async () => {
    const syncs = new Syncs(3);
    for (const key of ["a", "b", "c", "d", "e"]) void syncs.run(key);
    assert.deepEqual(syncs.began, ["a", "b", "c"], "at once, where there is room");
    assert.deepEqual([syncs.gate.runningCount, syncs.gate.waitingCount], [3, 2]);
    await syncs.end("b");
    assert.deepEqual(syncs.began, ["a", "b", "c", "d"]);
    for (const name of ["a", "c", "d"]) await syncs.end(name);
    assert.deepEqual(syncs.began, ["a", "b", "c", "d", "e"]);
    await syncs.end("e");
    assert.deepEqual([syncs.gate.runningCount, syncs.gate.waitingCount], [0, 0]);
  });

  test("those of one file go in order, one at a time, and a file that asks often waits for the others", async () => {
    const syncs = new Syncs(2);
    for (const name of ["a1", "a2", "a3", "b1", "b2", "c1"]) void syncs.run(name.slice(0, 1), name);
    assert.deepEqual(syncs.began, ["a1", "b1"]);
    for (let at = 0; at < 6; at += 1) await syncs.end(syncs.began[at] ?? "");
    assert.deepEqual(syncs.began, ["a1", "b1", "a2", "b2", "c1", "a3"]);
  });

  test("urgent ones go first", async () => {
    const syncs = new Syncs(1);
    for (const name of ["a", "b", "c"]) void syncs.run(name);
    void syncs.run("votes", "votes", true);
    await syncs.end("a");
    await syncs.end("votes");
    assert.deepEqual(syncs.began, ["a", "votes", "b"]);
  });

  test("one that fails tells its caller alone, and makes room", async () => {
    const syncs = new Syncs(1);
    const failing = syncs.run("a");
    const next = syncs.run("b");
    const failed = assert.rejects(failing, /EIO/);
    await syncs.end("a", new Error("EIO"));
    await failed;
    await syncs.end("b");
    await next;
    await assert.rejects(
      syncs.gate.run("c", false, () => {
        throw new Error("at once");
      }),
      /at once/,
    );
    assert.equal(syncs.gate.runningCount, 0);
  });

  test("it tells for how long the oldest has been running", async () => {
    const syncs = new Syncs(2);
    assert.equal(syncs.gate.oldestMs, 0);
    void syncs.run("a");
    syncs.clock.advance(300);
    void syncs.run("b");
    void syncs.run("c");
    syncs.clock.advance(200);
    assert.equal(syncs.gate.oldestMs, 500);
    await syncs.end("a");
    assert.equal(syncs.gate.oldestMs, 200);
    await syncs.end("b");
    assert.equal(syncs.gate.oldestMs, 0, "what waited has just begun");
    await syncs.end("c");
  });
});
