import assert from "node:assert/strict";
import { test } from "node:test";
import { createSeededRandom } from "./random.ts";

test("a seed gives the same sequence today as on the day it was printed", () => {
  const random = createSeededRandom(1);
  assert.deepEqual(
    [random.integer(1_000_000), random.integer(1_000_000), random.bytes(6).toString("hex"), random.float()],
    [833909, 992848, "ccfb4a3f32f6", 0.31239743706590184],
  );
});

test("neighbouring seeds have nothing in common", () => {
  const drawn = new Set<number>();
  for (let seed = 0; seed < 1000; seed += 1) drawn.add(createSeededRandom(seed).integer(2 ** 40));
  assert.equal(drawn.size, 1000);
});

test("floats lie in [0, 1), evenly, and integers below their end", () => {
  const random = createSeededRandom("even");
  const counts = Array.from({ length: 10 }, () => 0);
  for (let round = 0; round < 100_000; round += 1) {
    const float = random.float();
    assert.ok(float >= 0 && float < 1);
    const tenth = random.integer(10);
    counts[tenth] = (counts[tenth] ?? 0) + 1;
  }
  assert.equal(counts.length, 10);
  // Five standard deviations of a binomial around 10,000: the seed is fixed, so this is no matter of luck.
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 475, String(counts));
});

test("bytes take every value", () => {
  assert.equal(new Set(createSeededRandom("bytes").bytes(10_000)).size, 256);
  assert.equal(createSeededRandom("bytes").bytes(0).length, 0);
});

test("a fork doesn't hang on what was drawn before, nor shift what is drawn after", () => {
  const one = createSeededRandom("fork");
  const two = createSeededRandom("fork");
  one.float();
  assert.equal(one.fork("disk").float(), two.fork("disk").float());
  assert.notEqual(two.fork("disk").float(), two.fork("network").float());
  two.float();
  assert.equal(one.float(), two.float());
});

test("chance and pick go by the same source", () => {
  const random = createSeededRandom("pick");
  assert.equal(random.chance(0), false);
  assert.equal(random.chance(1), true);
  const picked = new Set(Array.from({ length: 100 }, () => random.pick(["a", "b", "c"])));
  assert.deepEqual([...picked].sort(), ["a", "b", "c"]);
  assert.throws(() => random.pick([]), { name: "AssertionError" });
  assert.throws(() => random.integer(0), { name: "AssertionError" });
});
