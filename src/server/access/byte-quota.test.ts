import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { isProglogError } from "../../base/error.ts";
import { quotaPrincipalsMaxCount, quotaWaitMaxMs } from "../../base/security-limits.ts";
import { ByteQuota } from "./byte-quota.ts";
import { type Caller, insider } from "./caller.ts";

const kib = 1_024;

function callerNamed(name: string): Caller {
  return { ...insider, principal: { kind: "token", name }, isAdmin: false };
}
const alice = callerNamed("alice");

describe("how many bytes a second somebody may have", () => {
  test("a second's at once, and what goes beyond is waited for, for as long as it takes", () => {
    const clock = createVirtualClock();
    const quota = new ByteQuota({ bytesPerSecond: kib, verb: "produce", clock });
    quota.charge(alice, kib);
    quota.check(alice);
    quota.charge(alice, 2 * kib);
    assert.throws(
      () => quota.check(alice),
      (error) => isProglogError(error, "QUOTA_EXCEEDED") && error.details["retryAfterMs"] === 2_000,
    );
    clock.advance(1_999);
    assert.throws(() => quota.check(alice), { message: /^Cannot produce now: alice has had its 1024 bytes a second/ });
    clock.advance(1);
    quota.check(alice);
    // Nothing is saved up beyond that.
    clock.advance(3_600_000);
    quota.charge(alice, kib + 1);
    assert.throws(() => quota.check(alice), { code: "QUOTA_EXCEEDED" });
  });

  test("is each one's own, and nobody's who may do everything", () => {
    const clock = createVirtualClock();
    const quota = new ByteQuota({ bytesPerSecond: kib, verb: "consume", clock });
    quota.charge(alice, 100 * kib);
    quota.charge(insider, 100 * kib);
    quota.check(callerNamed("bob"));
    quota.check(insider);
    assert.throws(() => quota.check(alice), { code: "QUOTA_EXCEEDED" });
    const off = new ByteQuota({ bytesPerSecond: null, verb: "consume", clock });
    off.charge(alice, 100 * kib);
    off.check(alice);
    assert.deepEqual([off.isOn, off.accountCount], [false, 0]);
  });

  test("a stream goes on when it may, or as soon as it looks once it is over", async () => {
    const clock = createVirtualClock();
    const quota = new ByteQuota({ bytesPerSecond: kib, verb: "produce", clock });
    const gone = new AbortController();
    assert.equal(quota.whenAllowed(alice, gone.signal), undefined);
    quota.charge(alice, 4 * kib);
    let isAllowed = false;
    const waiting = quota.whenAllowed(alice, gone.signal)?.then(() => (isAllowed = true));
    for (let second = 1; second <= 2; second += 1) {
      clock.advance(1_000);
      await new Promise(setImmediate);
      assert.equal(isAllowed, false);
    }
    clock.advance(1_000);
    await waiting;
    quota.charge(alice, 3_600 * kib);
    const long = quota.whenAllowed(alice, gone.signal);
    gone.abort();
    clock.advance(quotaWaitMaxMs);
    await long;
    assert.equal(clock.timerCount, 0);
  });

  test("is counted for as many as may be, and for those that owe something longest", () => {
    const clock = createVirtualClock();
    const quota = new ByteQuota({ bytesPerSecond: kib, verb: "produce", clock });
    for (let number = 0; number < quotaPrincipalsMaxCount; number += 1) quota.charge(callerNamed(`p${number}`), 2 * kib);
    assert.equal(quota.accountCount, quotaPrincipalsMaxCount);
    quota.charge(alice, 2 * kib);
    assert.equal(quota.accountCount, quotaPrincipalsMaxCount);
    quota.check(callerNamed("p0"));
    assert.throws(() => quota.check(callerNamed("p1")), { code: "QUOTA_EXCEEDED" });
    clock.advance(2_000);
    quota.charge(alice, 1);
    assert.equal(quota.accountCount, 1);
  });
});
