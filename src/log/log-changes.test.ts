import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld, startMs } from "../../test/log-world.ts";
import { KiB, MiB, minuteMs } from "../base/units.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { changeOptions } from "./log-changes.ts";
import type { Log, LogChanges } from "./log.ts";
import { resolveOptions } from "./log-options.ts";

const value = "x".repeat(100);

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value });
}

describe("changing the options of an open log", () => {
  test("segments follow with the next append", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await fill(log, 10);
    assert.deepEqual(world.segments(), [1]);
    log.configure({ segmentMaxBytes: 1 * KiB });
    await fill(log, 1);
    assert.deepEqual(world.segments(), [1, 11]);
    log.configure({ segmentMaxBytes: 1 * MiB });
    await fill(log, 10);
    assert.deepEqual(world.segments(), [1, 11]);
    log.configure({ segmentMaxAgeMs: minuteMs });
    world.clock.advance(minuteMs);
    await fill(log, 1);
    assert.deepEqual(world.segments(), [1, 11, 22]);
    await log.close();
  });

  test("retention follows at its next look", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1 * KiB, retentionIntervalMs: minuteMs });
    await fill(log, 20);
    world.clock.advance(minuteMs);
    await world.settle();
    assert.equal(log.logStartOffset, 0);
    log.configure({ retentionMaxBytes: 2 * KiB });
    world.clock.advance(minuteMs);
    await world.settle();
    const start = log.logStartOffset;
    assert(start > 0 && start < 20);
    log.configure({ retentionMaxBytes: Number.POSITIVE_INFINITY });
    await fill(log, 20);
    await log.applyRetention();
    assert.equal(log.logStartOffset, start);
    log.configure({ retentionMaxAgeMs: 1 });
    world.clock.advance(2);
    await log.applyRetention();
    assert.equal(log.logStartOffset, log.logEndOffset);
    await log.close();
  });

  test("what is accepted follows with the next append", async () => {
    const log = await new LogWorld().open();
    log.configure({ recordMaxBytes: 50 });
    await assert.rejects(log.append({ value }), { code: "RECORD_TOO_LARGE" });
    await assert.rejects(log.appendBatch(encodeBatch([{ value }], { now: 1 })), { code: "RECORD_TOO_LARGE" });
    log.configure({ recordMaxBytes: 100, compression: "gzip", batchCompression: "zstd" });
    await log.append({ value });
    await log.appendBatch(encodeBatch([{ value }], { now: 1 }));
    const codecs: string[] = [];
    for await (const { batch } of log.batches()) codecs.push(readBatchHeader(batch).compression);
    assert.deepEqual(codecs, ["gzip", "zstd"]);
    await log.close();
  });

  test("where the log sets the times, records read back carry that of their append, however they came", async () => {
    const world = new LogWorld();
    const log = await world.open({ timestampType: "append" });
    await log.append([{ value: "a", timestamp: 5 }, { value: "b" }]);
    world.clock.advance(10);
    await log.appendBatch(encodeBatch([{ value: "c", timestamp: 7 }, { value: "d" }], { now: 1, compression: "gzip" }));
    // A clock that is set back takes no record with it.
    world.clock.jumpWall(-1_000_000);
    await log.append({ value: "e" });
    log.configure({ timestampType: "create" });
    await log.append({ value: "f", timestamp: 5 });
    assert.deepEqual(
      (await readAll(log)).map(({ timestamp }) => timestamp),
      [startMs, startMs, startMs + 10, startMs + 10, startMs + 10, 5],
    );
    assert.equal(await log.findOffset({ timestamp: startMs + 1 }), 2);
    await log.close();
    const again = await world.open();
    assert.equal((await again.read(3)).timestamp, startMs + 10);
    await again.close();
  });

  test("in the middle of appends loses, doubles and mixes up none of them", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const changes: LogChanges[] = [
      { segmentMaxBytes: 1 * KiB },
      { timestampType: "append", compression: "gzip" },
      { segmentMaxBytes: 3 * KiB, batchCompression: "zstd" },
      { recordMaxBytes: 10_000, deepCheck: true },
      { timestampType: "create", segmentMaxAgeMs: 1 },
      { segmentMaxBytes: 1 * MiB, batchCompression: "none", segmentMaxAgeMs: minuteMs },
    ];
    const appends: Promise<unknown>[] = [];
    for (let number = 0; number < 300; number += 1) {
      const record = { value: `${number}`.padEnd(100, ".") };
      appends.push(number % 2 === 0 ? log.append(record) : log.appendBatch(encodeBatch([record], { now: 1 })));
      const change = changes[(number / 5) % changes.length];
      if (change !== undefined) log.configure(change);
      if (number % 7 === 0) await world.settle();
      world.clock.advance(1);
    }
    await Promise.all(appends);
    assert(world.segments().length > 10);
    const expected = Array.from({ length: 300 }, (_, number) => `${number}`.padEnd(100, "."));
    assert.deepEqual(
      (await readAll(log)).map((record) => record.value),
      expected,
    );
    await log.close();
    const again = await world.open();
    assert.deepEqual(
      (await readAll(again)).map((record) => record.value),
      expected,
    );
    assert.deepEqual((await again.scrub()).damages, []);
    await again.close();
  });

  test("is refused whole when one of the changes is wrong", async () => {
    const log = await new LogWorld().open();
    for (const [changes, option] of [
      [{ recordMaxBytes: 50, segmentMaxBytes: 1 }, "segmentMaxBytes"],
      [{ recordMaxBytes: 50, compression: "brotli" }, "compression"],
      [{ recordMaxBytes: 50, sync: "never" }, "sync"],
      [{ recordMaxBytes: 50, segmentBytes: 4096 }, "segmentBytes"],
      [{ recordMaxBytes: 50, toString: 1 }, "toString"],
    ] as const) {
      assert.throws(() => log.configure(changes as LogChanges), { code: "INVALID_ARGUMENT", details: { option } });
      await log.append({ value });
    }
    await log.close();
    assert.throws(() => log.configure({}), { code: "LOG_CLOSED" });
  });

  test("leaves the others as they were, and what is undefined too", () => {
    const options = resolveOptions({ segmentMaxBytes: 2 * KiB, retentionMaxAgeMs: 5, compression: "zstd" });
    const before = { ...options };
    changeOptions(options, { recordMaxBytes: 7, segmentMaxBytes: undefined } as unknown as LogChanges);
    assert.deepEqual(options, { ...before, recordMaxBytes: 7 });
  });
});
