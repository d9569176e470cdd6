import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { grpcBackoffMaxMs, grpcBackoffStartMs } from "../base/limits.ts";
import { Backoff } from "./backoff.ts";

const random = (float: number) => ({ float: () => float, bytes: (count: number) => Buffer.alloc(count) });

describe("waiting between two tries", () => {
  test("grows from the first to the last, and begins anew after a success", () => {
    const backoff = new Backoff(random(0.5));
    const delays = Array.from({ length: 12 }, () => backoff.next());
    assert.equal(delays[0], grpcBackoffStartMs);
    assert.equal(delays[1], 1.6 * grpcBackoffStartMs);
    assert.equal(delays.at(-1), grpcBackoffMaxMs);
    assert.deepEqual(
      delays,
      delays.toSorted((a, b) => a - b),
    );
    backoff.reset();
    assert.equal(backoff.next(), grpcBackoffStartMs);
  });

  test("differs by a fifth either way", () => {
    assert.equal(new Backoff(random(0)).next(), 0.8 * grpcBackoffStartMs);
    assert.equal(new Backoff(random(1)).next(), 1.2 * grpcBackoffStartMs);
  });
});
