import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { ProglogError } from "../base/error.ts";
import { silentLogger } from "../base/logger.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { Replica } from "./replica.ts";

const identity = { topic: "orders", partition: 0, uuid: "u" };
const wide = { limit: 1000, maxBytes: 1_000_000 };

describe("a replica", () => {
  test("reads across batches from any offset, up to any limit", async () => {
    const replica = await open(createSimDisk());
    const values = ["a", "b", "c", "d", "e", "f", "g"];
    for (const [start, end] of [
      [0, 1],
      [1, 4],
      [4, 7],
    ] as const)
      await replica.append(values.slice(start, end).map((value) => ({ value })));
    for (let from = 0; from <= values.length; from += 1) {
      for (let limit = 1; limit <= values.length + 1; limit += 1) {
        const read = await replica.read(from, { limit, maxBytes: 1_000_000 });
        assert.deepEqual(
          read.records.map(({ offset, value }) => [offset, value?.toString()]),
          values.map((value, offset) => [offset, value]).slice(from, from + limit),
        );
        assert.equal(read.nextOffset, Math.min(from + limit, values.length));
        assert.deepEqual([read.logStartOffset, read.highWatermark], [0, values.length]);
      }
    }
  });

  test("appends retries once, and under a condition only when it holds", async () => {
    const replica = await open(createSimDisk());
    const producer = { id: 7, epoch: 0, baseSequence: 0 };
    const first = await replica.append([{ value: "a" }, { value: "b" }], { producer, expectedOffset: 0 });
    assert.deepEqual(await replica.append([{ value: "a" }, { value: "b" }], { producer }), { ...first, isDuplicate: true });
    const batch = encodeBatch([{ value: "c" }], { now: 1 });
    await assert.rejects(replica.appendBatch(batch, { expectedOffset: 1 }), { code: "CONDITION_FAILED" });
    assert.equal((await replica.appendBatch(batch, { expectedOffset: 2 })).baseOffset, 2);
    await assert.rejects(replica.append([{ value: "d" }], { expectedOffset: 2 }), { code: "CONDITION_FAILED" });
  });

  test("says when nobody reads a batch any more: once it is appended, and never of one that is refused", async () => {
    const replica = await open(createSimDisk());
    const released: number[] = [];
    const batch = encodeBatch([{ value: "a" }], { now: 1 });
    await replica.appendBatch(batch, undefined, () => released.push(replica.range().highWatermark));
    assert.deepEqual(released, [1]);
    const refused = replica.appendBatch(batch, { expectedOffset: 0 }, () => released.push(-1));
    await assert.rejects(refused, { code: "CONDITION_FAILED" });
    assert.deepEqual(released, [1]);
  });

  test("refuses an offset outside of its log, with the range", async () => {
    const replica = await open(createSimDisk());
    await replica.append([{ value: "a" }]);
    for (const read of [() => replica.read(2, wide), () => replica.findOffset(2), () => replica.read(-1, wide)]) {
      await assert.rejects(read(), (error) => {
        assert(error instanceof ProglogError);
        assert.equal(error.code, "OFFSET_OUT_OF_RANGE");
        assert.equal(error.details["logStartOffset"], 0);
        assert.equal(error.details["highWatermark"], 1);
        return true;
      });
    }
    assert.equal(await replica.findOffset(1), 1);
  });

  test("gives what lies before a damaged batch, and the error only where it begins", async () => {
    const disk = createSimDisk();
    const replica = await open(disk);
    for (const value of ["a", "b", "c"]) await replica.append([{ value }]);
    const store = "/log/00000000000000000001.store";
    disk.flipBit(store, disk.contentOf(store).indexOf("b", 128 + 2 * 56 + 61), 1);
    const read = await replica.read(0, wide);
    assert.deepEqual([read.records.length, read.nextOffset], [1, 1]);
    await assert.rejects(replica.read(1, wide), { code: "LOG_CORRUPT" });
    assert.equal((await replica.read(2, wide)).records.length, 1);
    assert(replica.status().damages >= 1);
  });

  test("tells once there is something to read, and ends a wait that is aborted", async () => {
    const replica = await open(createSimDisk());
    const waiting = replica.waitForOffset(0, new AbortController().signal);
    await replica.append([{ value: "a" }]);
    await waiting;
    const abort = new AbortController();
    const inVain = replica.waitForOffset(1, abort.signal);
    abort.abort();
    await inVain;
    await replica.waitForOffset(1, abort.signal);
  });

  test("takes a packed batch, and hands it on as it lies on disk to those who follow", async () => {
    const replica = await open(createSimDisk());
    await replica.append([{ value: "a" }]);
    const abort = new AbortController();
    const tail = replica.tail(0, { signal: abort.signal, maxBytes: 64 * 1024 });
    const seen: (readonly [number, unknown])[] = [];
    for (let count = 0; count < 2; count += 1) {
      const { value: piece } = await tail.next();
      const batch = piece?.[0];
      assert(batch !== undefined);
      seen.push(...batch.records().map(({ offset, value }) => [offset, value?.toString()] as const));
      if (count === 0) {
        const packed = encodeBatch([{ value: "b" }, { value: "c" }], { now: 5 });
        assert.deepEqual(
          await replica.appendBatch(packed).then(({ baseOffset, count: appended }) => [baseOffset, appended]),
          [1, 2],
        );
      }
    }
    assert.deepEqual(seen, [
      [0, "a"],
      [1, "b"],
      [2, "c"],
    ]);
    const last = tail.next();
    abort.abort();
    assert.equal((await last).done, true);
  });

  test("tells a follower why it ends when it is closed", async () => {
    const replica = await open(createSimDisk());
    const next = replica.tail(0, { signal: new AbortController().signal, maxBytes: 64 * 1024 }).next();
    const ended = assert.rejects(next, { code: "SHUTTING_DOWN" });
    await replica.close(new ProglogError("SHUTTING_DOWN", "over"));
    await ended;
  });

  test("whose log doesn't open answers everything with the reason", async () => {
    const disk = createSimDisk();
    const replica = await open(disk, false);
    assert.equal(replica.openError?.code, "LOG_NOT_FOUND");
    await assert.rejects(replica.append([{ value: "a" }]), { code: "LOG_NOT_FOUND" });
    await assert.rejects(replica.read(0, wide), { code: "LOG_NOT_FOUND" });
    const { state, error } = replica.status();
    assert.equal(state, "failed");
    assert.equal(error?.code, "LOG_NOT_FOUND");
    const reason = new ProglogError("SHUTTING_DOWN", "over");
    await replica.close(reason);
    await assert.rejects(replica.read(0, wide), reason);
  });
});

function open(disk: SimDisk, createIfMissing = true): Promise<Replica> {
  const log = { disk, clock: createVirtualClock(), random: createSeededRandom(1), createIfMissing };
  return Replica.open(identity, "/log", { log, logger: silentLogger });
}
