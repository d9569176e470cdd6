import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { measure } from "./load.ts";

/** Calls that take 2 ms each, one caller: so that every figure can be told beforehand. */
function twoMsCalls(records = 10): {
  readonly clock: ReturnType<typeof createVirtualClock>;
  readonly call: () => Promise<{ records: number; bytes: number }>;
} {
  const clock = createVirtualClock();
  return {
    clock,
    call: async () => {
      clock.advance(2);
      return { records, bytes: records * 100 };
    },
  };
}

const { signal } = new AbortController();

test("a tenth goes before and doesn't count, by records", async () => {
  const { clock, call } = twoMsCalls();
  const measured = await measure({ clock, call, callers: 1, limit: { records: 1_000 }, signal });
  assert.equal(measured.records, 1_000);
  assert.equal(measured.bytes, 100_000);
  assert.equal(measured.calls.count, 100);
  assert.equal(measured.durationMs, 200);
  assert.ok(Math.abs(measured.calls.percentileMs(0.5) - 2) < 0.1);
  assert.equal(clock.monotonic(), 220);
});

test("a tenth goes before and doesn't count, by time", async () => {
  const { clock, call } = twoMsCalls();
  const measured = await measure({ clock, call, callers: 1, limit: { durationMs: 1_000 }, signal });
  assert.equal(measured.durationMs, 1_000);
  assert.equal(measured.records, 5_000);
});

test("it ends when there is nothing more to call for", async () => {
  const { clock, call } = twoMsCalls();
  let left = 20;
  const measured = await measure({
    clock,
    call: async () => ((left -= 1) >= 0 ? call() : undefined),
    callers: 1,
    limit: { records: 1_000 },
    signal,
  });
  assert.equal(measured.records, 100);
});

test("each caller waits for its answer before it calls again", async () => {
  const clock = createVirtualClock();
  let [under, most] = [0, 0];
  const call = async (): Promise<{ records: number; bytes: number }> => {
    under += 1;
    most = Math.max(most, under);
    await new Promise(setImmediate);
    under -= 1;
    return { records: 1, bytes: 1 };
  };
  await measure({ clock, call, callers: 7, limit: { records: 100 }, signal });
  assert.deepEqual([under, most], [0, 7]);
});

test("it ends early by the signal with what was measured, and by a failure with that", async () => {
  const { clock, call } = twoMsCalls();
  const stop = new AbortController();
  const onCall = ({ records }: { readonly records: number }): void => {
    if (records >= 50) stop.abort();
  };
  const limit = { records: 1_000 };
  assert.equal((await measure({ clock, call, callers: 1, limit, signal: stop.signal, onCall })).records, 50);
  let calls = 0;
  const failing = async (): Promise<never> => {
    calls += 1;
    throw new Error("broken");
  };
  await assert.rejects(measure({ clock, call: failing, callers: 3, limit, signal }), /broken/);
  assert.ok(calls <= 3);
});
