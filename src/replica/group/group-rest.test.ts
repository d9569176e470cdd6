import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GroupRest, type RestingGroup } from "./group-rest.ts";

const wakeTicks = 1_000;

describe("the rest of groups", () => {
  test("who leads has its turn before a follower that fell asleep at the same time", () => {
    for (const number of [0, 1, 7, 999]) {
      const [led, following] = [true, false].map((isLed) => turnOf({ number, isLed }));
      assert.ok(led !== undefined && led >= wakeTicks / 2 && led <= wakeTicks, `${led}`);
      assert.ok(following !== undefined && following >= wakeTicks && following <= (3 * wakeTicks) / 2, `${following}`);
    }
  });

  test("the turns of groups that fell asleep together lie apart", () => {
    const rest = new GroupRest(wakeTicks);
    for (let number = 0; number < 100; number += 1) rest.slept({ number, isLed: true }, 0);
    for (let tick = 0; tick <= wakeTicks; tick += 1) assert.ok(rest.due(tick).length <= 1);
  });

  test("who wakes by itself has no turn any more, and who doesn't wake of its turn has another", () => {
    const rest = new GroupRest(wakeTicks);
    const [waking, sleeping] = [group(1), group(2)];
    rest.slept(waking, 0);
    rest.slept(sleeping, 0);
    rest.woke(waking);
    assert.deepEqual([...rest.awake], [waking]);
    let turns = 0;
    for (let tick = 0; tick <= 2 * wakeTicks; tick += 1) {
      const due = rest.due(tick);
      assert.ok(!due.includes(waking));
      turns += due.length;
    }
    assert.ok(turns >= 2);
  });

  test("who falls asleep again has one turn, and who is forgotten none", () => {
    const rest = new GroupRest(wakeTicks);
    const [again, gone] = [group(3), group(4)];
    for (const tick of [0, 10]) rest.slept(again, tick);
    rest.slept(gone, 0);
    rest.forget(gone);
    let turns = 0;
    for (let tick = 0; tick <= wakeTicks + 10 && turns === 0; tick += 1) turns += rest.due(tick).length;
    assert.equal(turns, 1);
    assert.deepEqual([...rest.awake], []);
  });
});

function group(number: number): RestingGroup {
  return { number, isLed: true };
}

function turnOf(resting: RestingGroup): number | undefined {
  const rest = new GroupRest(wakeTicks);
  rest.slept(resting, 0);
  for (let tick = 0; tick <= 2 * wakeTicks; tick += 1) if (rest.due(tick).length > 0) return tick;
  return undefined;
}
