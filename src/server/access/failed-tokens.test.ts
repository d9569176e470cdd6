import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import {
  failedSourceMs,
  failedSourcesMaxCount,
  failedTokenMaxMs,
  failedTokenMinMs,
  refusalsWaitingMaxCount,
} from "../../base/security-limits.ts";
import { FailedTokens } from "./failed-tokens.ts";

describe("wrong tokens", () => {
  test("wait the longer the more came from one address, and others' don't", async () => {
    const clock = createVirtualClock();
    const failed = new FailedTokens(clock);
    const waits: number[] = [];
    for (let count = 0; count < 8; count += 1) waits.push(await waitOf(clock, failed.hold("a")));
    assert.deepEqual(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, failedTokenMaxMs]);
    assert.equal(await waitOf(clock, failed.hold("b")), failedTokenMinMs);
    clock.advance(failedSourceMs + 1);
    assert.equal(await waitOf(clock, failed.hold("a")), failedTokenMinMs);
  });

  test("of as many addresses as may be are remembered, those that failed last", async () => {
    const clock = createVirtualClock();
    const failed = new FailedTokens(clock);
    for (let count = 0; count < failedSourcesMaxCount + 5; count += 1) void failed.hold(`10.0.${count >> 8}.${count & 255}`);
    assert.equal(failed.sourceCount, failedSourcesMaxCount);
    assert.equal(failed.waitingCount, refusalsWaitingMaxCount);
    // One more is refused at once: nothing waits for ever, and nothing fills the memory.
    await failed.hold("late");
    assert.equal(failed.waitingCount, refusalsWaitingMaxCount);
  });
});

async function waitOf(clock: ReturnType<typeof createVirtualClock>, waiting: Promise<void>): Promise<number> {
  const beforeMs = clock.monotonic();
  clock.runNext();
  await waiting;
  return clock.monotonic() - beforeMs;
}
