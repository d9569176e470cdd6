import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatTimeout, parseTimeout } from "./call-timeout.ts";

describe("grpc-timeout", () => {
  test("has a unit, in milliseconds or their parts", () => {
    const cases = { "1H": 3_600_000, "2M": 120_000, "3S": 3000, "4m": 4, "5u": 0.005, "6n": 0.000006, "99999999n": 99.999999 };
    for (const [text, timeoutMs] of Object.entries(cases)) assert.equal(parseTimeout(text), timeoutMs, text);
  });

  test("of another form is none", () => {
    for (const text of ["", "1", "m", "-1m", "1.5S", "1s", "1 m", "123456789m", "1mm", "0x1m", "１m"])
      assert.equal(parseTimeout(text), undefined, text);
  });

  test("is sent in milliseconds, and in a larger unit where eight digits don't hold them", () => {
    assert.equal(formatTimeout(1500), "1500m");
    assert.equal(formatTimeout(99_999_999), "99999999m");
    assert.equal(formatTimeout(100_000_000), "100000S");
    assert.equal(formatTimeout(100_000_000_000), "1666667M");
    assert.equal(formatTimeout(99_999_999 * 3_600_000), "99999999H");
  });

  test("that no eight digits hold isn't sent: no limit", () => {
    assert.equal(formatTimeout(100_000_000 * 3_600_000), undefined);
    assert.equal(formatTimeout(Number.POSITIVE_INFINITY), undefined);
  });

  test("is never shorter than what was asked for, and never zero", () => {
    assert.equal(formatTimeout(0), "1m");
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e14, noNaN: true }), (timeoutMs) => {
        const parsed = parseTimeout(formatTimeout(timeoutMs) ?? "");
        assert.ok(parsed !== undefined && parsed >= timeoutMs);
        assert.ok(parsed <= Math.max(1, timeoutMs + 1, timeoutMs * 1.01 + 1));
      }),
    );
  });
});
