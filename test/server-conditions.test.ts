import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { type Answer, type JsonObject, startTestNode, type TestNode } from "./test-node.ts";

/** Appends on a condition and retries, over HTTP down to the disk. */
describe("appending on a condition", () => {
  test("goes from one answer's ETag to the next, and is refused when somebody else came between", async () => {
    await using node = await startTestNode();
    const first = await post(node, [{ value: "a" }, { value: "b" }], { "if-match": '"0"' });
    assert.deepEqual([first.status, first.headers["etag"]], [200, '"2"']);
    const second = await post(node, { value: "c" }, { "if-match": '"2"' });
    assert.deepEqual([second.status, second.headers["etag"]], [200, '"3"']);
    const late = await post(node, { value: "d" }, { "if-match": '"2"' });
    assert.deepEqual([late.status, late.headers["etag"]], [412, '"3"']);
    const problem = JSON.parse(late.text) as JsonObject;
    assert.deepEqual([problem["code"], problem["outcome"]], ["CONDITION_FAILED", "not-appended"]);
    assert.deepEqual(problem["details"], { expectedOffset: 2, logEndOffset: 3 });
    assert.deepEqual(await valuesOf(node), ["a", "b", "c"]);
  });

  test("by a read's ETag fails unless the read came to the end", async () => {
    await using node = await startTestNode();
    await post(node, [{ value: "a" }, { value: "b" }]);
    const part = await node.get(`${path}?limit=1`);
    assert.equal(part.headers["etag"], '"1"');
    assert.equal((await post(node, { value: "c" }, { "if-match": '"1"' })).status, 412);
    const whole = await node.get(path, { headers: { accept: "application/x-ndjson" } });
    assert.equal((await post(node, { value: "c" }, { "if-match": String(whole.headers["etag"]) })).status, 200);
  });

  test("lets one of many through, though all come at once", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk, clock: createVirtualClock() });
    await post(node, { value: "first" });
    const hold = disk.holdSync({ path: ".store" });
    const answers = Array.from({ length: 10 }, (_, number) => post(node, { value: `${number}` }, { "if-match": '"1"' }));
    await hold.waiting(1);
    hold.release();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === 200).length, 1);
    assert.equal(statuses.filter((status) => status === 412).length, 9);
    assert.equal((await valuesOf(node)).length, 2);
  });
});

describe("a retry", () => {
  const producer = { "producer-id": "7", "producer-sequence": "0" };

  test("gets the first answer, across a restart too, and appends nothing", async () => {
    const disk = createSimDisk();
    const records = [{ value: "a" }, { value: "b" }];
    const range = { partition: 0, baseOffset: 0, count: 2, isDurable: true };
    {
      await using node = await startTestNode({ disk });
      assert.deepEqual(bodyOf(await post(node, records, producer)), range);
      await post(node, { value: "other" });
      const retry = await post(node, records, producer);
      assert.deepEqual([bodyOf(retry), retry.headers["etag"]], [{ ...range, duplicate: true }, '"2"']);
    }
    await using node = await startTestNode({ disk });
    assert.deepEqual(bodyOf(await post(node, records, producer)), { ...range, duplicate: true });
    assert.deepEqual(bodyOf(await post(node, { value: "c" }, { ...producer, "producer-sequence": "2" })), {
      partition: 0,
      baseOffset: 3,
      count: 1,
      isDurable: true,
    });
    assert.deepEqual(await valuesOf(node), ["a", "b", "other", "c"]);
  });

  test("is known before its condition is looked at", async () => {
    await using node = await startTestNode();
    const headers = { ...producer, "if-match": '"0"' };
    assert.equal((await post(node, { value: "a" }, headers)).status, 200);
    const retry = await post(node, { value: "a" }, headers);
    assert.deepEqual([retry.status, bodyOf(retry)["duplicate"]], [200, true]);
  });

  test("of a producer that skipped, was replaced, or comes too late is refused, each in its own words", async () => {
    await using node = await startTestNode();
    for (let sequence = 0; sequence < 7; sequence += 1)
      await post(node, { value: `${sequence}` }, { ...producer, "producer-sequence": `${sequence}` });
    for (const [headers, code] of [
      [{ "producer-sequence": "8" }, "OUT_OF_ORDER_SEQUENCE"],
      [{ "producer-sequence": "0" }, "DUPLICATE_SEQUENCE"],
      [{ "producer-epoch": "1", "producer-sequence": "5" }, "OUT_OF_ORDER_SEQUENCE"],
    ] as const) {
      const answer = await post(node, { value: "x" }, { ...producer, ...headers });
      assert.deepEqual([answer.status, bodyOf(answer)["code"]], [409, code]);
    }
    assert.equal((await post(node, { value: "7" }, { ...producer, "producer-epoch": "1" })).status, 200);
    const fenced = await post(node, { value: "x" }, { ...producer, "producer-sequence": "7" });
    assert.deepEqual([fenced.status, bodyOf(fenced)["code"]], [409, "PRODUCER_FENCED"]);
    assert.equal((await valuesOf(node)).length, 8);
  });
});

const path = "/v1/topics/orders/records";

function post(node: TestNode, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  return node.post(path, body, headers);
}

function bodyOf(answer: Answer): JsonObject {
  return JSON.parse(answer.text) as JsonObject;
}

async function valuesOf(node: TestNode): Promise<unknown[]> {
  const { records } = await node.json<{ records: JsonObject[] }>("GET", path);
  return records.map(({ value }) => value);
}
