import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { silentLogger } from "../base/logger.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { KiB } from "../base/units.ts";
import { guardObserver } from "./guarded-observer.ts";
import type { LogObserver } from "./log-observer.ts";

/** An observer that throws whatever it is told, and what a logger was told of it. */
function thrower(): {
  readonly observer: LogObserver;
  readonly told: Set<string>;
  readonly logged: unknown[];
  readonly logger: typeof silentLogger;
} {
  const told = new Set<string>();
  const logged: unknown[] = [];
  const fail = (event: string) => (): never => {
    told.add(event);
    throw new Error(`${event} threw`);
  };
  const observer: LogObserver = {
    opened: fail("opened"),
    stored: fail("stored"),
    appended: fail("appended"),
    synced: fail("synced"),
    read: fail("read"),
    rolled: fail("rolled"),
    trimmed: fail("trimmed"),
    damaged: fail("damaged"),
    poisoned: fail("poisoned"),
    scrubbed: fail("scrubbed"),
    compacted: fail("compacted"),
    repacked: fail("repacked"),
  };
  const logger = { ...silentLogger, error: (fields: object, message: string) => void logged.push([fields, message]) };
  return { observer, told, logged, logger };
}

describe("an observer that throws", () => {
  test("whatever it is told, harms neither appends nor reads nor care, and is logged once", async () => {
    const { observer, told, logged, logger } = thrower();
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1 * KiB, cleanup: "both", batchCompression: "gzip", observer, logger });
    for (let i = 0; i < 10; i += 1) await log.append({ key: `${i}`, value: `${i}`.padEnd(100) });
    assert.equal((await readAll(log)).length, 10);
    assert.equal((await log.read(3)).offset, 3);
    assert.equal((await log.compact()).isComplete, true);
    world.disk.flipBit(world.path(4), 300, 0);
    assert.equal((await log.scrub()).damages.length, 1);
    await log.appendBatch(encodeBatch([{ key: "p", value: "p" }], { now: 1 }));
    await log.trim(4);
    assert.equal(log.status().state, "open");
    world.disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    await assert.rejects(log.append({ key: "x", value: "x" }), { code: "DISK_FAILED" });
    await log.close();
    assert.deepEqual([...told].sort(), Object.keys(observer).sort());
    const ours = logged.filter((entry) => JSON.stringify(entry).includes("observer"));
    assert.deepEqual(ours, [
      [{ error: new Error("opened threw"), event: "opened" }, "the observer of a log threw; further errors of it aren't told"],
    ]);
  });

  test("later, as an asynchronous one does, is logged, too, and ends no process", async () => {
    const { logged, logger } = thrower();
    const later: unknown = { rolled: () => Promise.reject(new Error("later")) };
    const guarded = guardObserver(later as LogObserver, logger);
    guarded.rolled?.({ baseIndex: 1, durationMs: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(logged.length, 1);
  });

  test("is let be when its logger throws as well", () => {
    const { observer } = thrower();
    const logger = {
      ...silentLogger,
      error: () => {
        throw new Error("the logger, too");
      },
    };
    assert.doesNotThrow(() => guardObserver(observer, logger).read?.({ bytes: 1, batches: 1, appendTime: 0 }));
  });
});

test("an observer is told what happens, as itself", () => {
  class Counter implements LogObserver {
    bytes = 0;
    read({ bytes }: { readonly bytes: number }): void {
      this.bytes += bytes;
    }
  }
  const counter = new Counter();
  const guarded = guardObserver(counter, silentLogger);
  guarded.read?.({ bytes: 7, batches: 1, appendTime: 0 });
  guarded.rolled?.({ baseIndex: 1, durationMs: 1 });
  assert.equal(counter.bytes, 7);
});
