import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { catchUpBytesPerSecond, catchUpsMaxCount, fetchPieceBytes } from "../../base/cluster-limits.ts";
import { MiB } from "../../base/units.ts";
import { ByteRate } from "./byte-rate.ts";
import { CopyShare } from "./log-copies.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a rate of bytes", () => {
  test("lets through so many a second, over all who ask, one after the other", async () => {
    const clock = createVirtualClock(0);
    const rate = new ByteRate(clock, 1000);
    const done: string[] = [];
    for (const name of ["a", "b", "c"]) void rate.take(500).then(() => done.push(name));
    await turn();
    assert.deepEqual(done, ["a"]);
    clock.advance(499);
    await turn();
    assert.deepEqual(done, ["a"]);
    clock.advance(1);
    await turn();
    assert.deepEqual(done, ["a", "b"]);
    clock.advance(500);
    await turn();
    assert.deepEqual(done, ["a", "b", "c"]);
  });

  test("counts what it was in the end, saves nothing up, and keeps nobody who gives up", async () => {
    const clock = createVirtualClock(0);
    const rate = new ByteRate(clock, 1000);
    await rate.take(5000);
    rate.correct(-4900);
    const second = rate.take(100);
    clock.advance(100);
    await second;
    clock.advance(60_000);
    await rate.take(1000);
    const given = new AbortController();
    const waiting = rate.take(1, given.signal);
    given.abort();
    await waiting;
    await rate.take(1, given.signal);
  });

  test("of a node is fifty pieces a second, and four logs are received at a time", async () => {
    const clock = createVirtualClock(0);
    assert.equal(catchUpBytesPerSecond, 50 * MiB);
    assert.equal(fetchPieceBytes, 1 * MiB);
    const share = new CopyShare(clock);
    let running = 0;
    const ends: (() => void)[] = [];
    const work = Array.from({ length: catchUpsMaxCount + 1 }, () =>
      share.receiving.run(async () => {
        running += 1;
        await new Promise<void>((resolve) => ends.push(resolve));
      }),
    );
    await turn();
    assert.equal(running, catchUpsMaxCount);
    ends[0]?.();
    await turn();
    assert.equal(running, catchUpsMaxCount + 1);
    for (const end of ends) end();
    await Promise.all(work);
  });
});
