import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TokenBucket } from "./token-bucket.ts";

describe("a token bucket", () => {
  test("gives its burst, and then so many a second", () => {
    const bucket = new TokenBucket({ burst: 3, perSecond: 2, nowMs: 0 });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => bucket.take(0)),
      [true, true, true, false],
    );
    assert.equal(bucket.take(499), false);
    assert.equal(bucket.take(1000), true);
  });

  test("never holds more than its burst, whether filled by time or by hand", () => {
    const bucket = new TokenBucket({ burst: 2, perSecond: 1, nowMs: 0 });
    bucket.add(100);
    assert.deepEqual(
      [1, 2, 3].map(() => bucket.take(1_000_000)),
      [true, true, false],
    );
    bucket.add(1);
    assert.equal(bucket.take(1_000_000), true);
  });
});
