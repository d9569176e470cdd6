import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createVirtualClock } from "../../sim/clock.ts";
import { grpcDeadlineTickMs } from "../base/limits.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";

describe("deadlines", () => {
  test("fire in their tick, never early, and only once", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4000), { maxLength: 30 }), (eighths) => {
        const deadlines = eighths.map((eighth) => eighth / 8);
        const clock = createVirtualClock();
        const wheel = new DeadlineWheel(clock);
        const fired: { deadline: number; at: number }[] = [];
        for (const deadline of deadlines) wheel.add({ expire: () => fired.push({ deadline, at: wheel.now() }) }, deadline);
        clock.advance(1000);
        assert.equal(fired.length, deadlines.length);
        for (const { deadline, at } of fired)
          assert.ok(at >= deadline && at <= deadline + grpcDeadlineTickMs, `${deadline} at ${at}`);
        assert.equal(clock.timerCount, 0);
      }),
    );
  });

  test("that are removed don't fire, and those that stay do", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(300), fc.boolean()), { maxLength: 40 }), (calls) => {
        const clock = createVirtualClock();
        const wheel = new DeadlineWheel(clock);
        let fired = 0;
        const added = calls.map(([deadline, isKept]) => {
          const expirable = { expire: () => (fired += 1) };
          return { expirable, tick: wheel.add(expirable, deadline), isKept };
        });
        for (const { expirable, tick, isKept } of added) if (!isKept) wheel.remove(expirable, tick);
        clock.advance(1000);
        assert.equal(fired, calls.filter(([, isKept]) => isKept).length);
      }),
    );
  });

  test("of any number of calls need one timer", () => {
    const clock = createVirtualClock();
    const wheel = new DeadlineWheel(clock);
    for (let count = 0; count < 100; count += 1) wheel.add({ expire: () => {} }, 1000 - count);
    assert.equal(clock.timerCount, 1);
    for (let count = 0; count < 1000; count += 1) {
      const expirable = { expire: () => {} };
      wheel.remove(expirable, wheel.add(expirable, 5000 + count));
    }
    assert.equal(clock.timerCount, 1);
    wheel.clear();
    assert.equal(clock.timerCount, 0);
  });

  test("may be added and removed by one that fires", () => {
    const clock = createVirtualClock();
    const wheel = new DeadlineWheel(clock);
    const fired: string[] = [];
    const other = { expire: () => fired.push("other") };
    const otherTick = wheel.add(other, 60);
    wheel.add(
      {
        expire: () => {
          fired.push("first");
          wheel.remove(other, otherTick);
          wheel.add({ expire: () => fired.push("late") }, wheel.now() + 100);
        },
      },
      50,
    );
    clock.advance(1000);
    assert.deepEqual(fired, ["first", "late"]);
  });

  test("removing one that fired is fine", () => {
    const clock = createVirtualClock();
    const wheel = new DeadlineWheel(clock);
    const expirable = { expire: () => {} };
    const tick = wheel.add(expirable, 10);
    clock.advance(50);
    wheel.remove(expirable, tick);
  });
});
