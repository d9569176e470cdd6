import assert from "node:assert/strict";
import { test } from "node:test";
import { watchedTopicsMaxCount } from "../../base/security-limits.ts";
import { WatchedTopics } from "./watched-topics.ts";

test("a stream rests on each topic once, and on as many as may be", () => {
  const topics = new WatchedTopics();
  for (let times = 0; times < 2; times += 1)
    for (let number = 0; number < watchedTopicsMaxCount; number += 1) topics.add(`t${number}`);
  assert.equal([...topics.names].length, watchedTopicsMaxCount);
  topics.add("one-more");
  assert.deepEqual([[...topics.names].length, [...topics.names].includes("one-more")], [watchedTopicsMaxCount, false]);
});
