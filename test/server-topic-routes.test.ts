import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { topicSettingNames } from "../src/base/topic-settings.ts";
import { MiB } from "../src/base/units.ts";
import { type Answer, type JsonObject, startTestNode, type TestNode } from "./test-node.ts";

describe("topics over /v1", () => {
  test("a topic made is described, listed and still there after a restart", async () => {
    const disk = createMemoryDisk();
    const clock = createVirtualClock();
    let description: JsonObject;
    {
      await using node = await startTestNode({ disk, clock });
      const answer = await node.post("/v1/topics", { name: "orders", partitions: 2 });
      assert.equal(answer.status, 201);
      assert.equal(answer.headers["location"], "/v1/topics/orders");
      description = JSON.parse(answer.text) as JsonObject;
      assert.equal(description["name"], "orders");
      assert.equal(description["createdAt"], clock.now());
      assert.deepEqual(
        (description["partitions"] as JsonObject[]).map(({ partition, state, logStartOffset, logEndOffset }) => [
          partition,
          state,
          logStartOffset,
          logEndOffset,
        ]),
        [
          [0, "open", 0, 0],
          [1, "open", 0, 0],
        ],
      );
      assert.deepEqual(await node.json("GET", "/v1/topics/orders"), description);
    }
    await using node = await startTestNode({ disk, clock });
    const found = await node.json("GET", "/v1/topics/orders");
    assert.equal(found["uuid"], description["uuid"]);
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [found] });
  });

  test("topics are listed by name", async () => {
    await using node = await startTestNode();
    for (const name of ["b", "C", "a"]) await node.post("/v1/topics", { name });
    const { topics } = await node.json<{ topics: { name: string }[] }>("GET", "/v1/topics");
    assert.deepEqual(
      topics.map(({ name }) => name),
      ["C", "a", "b"],
    );
  });

  test("a description tells offsets and bytes", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics/orders/records", [{ value: "a" }, { value: "b" }]);
    const { partitions } = await node.json<{ partitions: JsonObject[] }>("GET", "/v1/topics/orders");
    assert.equal(partitions[0]?.["logEndOffset"], 2);
    assert.equal(partitions[0]["highWatermark"], 2);
    assert(Number(partitions[0]["storeBytes"]) > 128);
  });

  test("a topic deleted is gone, and one made again is another and empty", async () => {
    const disk = createMemoryDisk();
    await using node = await startTestNode({ disk });
    await node.post("/v1/topics/orders/records", { value: "a" });
    const before = await node.json("GET", "/v1/topics/orders");
    assert.equal(await node.metric('proglog_log_end_offset{topic="orders",partition="0"}'), 1);
    const answer = await node.send("DELETE", "/v1/topics/orders");
    assert.equal(answer.status, 204);
    assert.equal(answer.text, "");
    assert.deepEqual(disk.list("/data/logs"), []);
    assert.equal((await node.get("/v1/topics/orders")).status, 404);
    assert.equal((await node.get("/v1/topics/orders/records")).status, 404);
    assert.equal(Number.isNaN(await node.metric('proglog_log_end_offset{topic="orders",partition="0"}')), true);
    await node.post("/v1/topics/orders/records", { value: "b" });
    const after = await node.json<{ uuid: string; partitions: JsonObject[] }>("GET", "/v1/topics/orders");
    assert.notEqual(after.uuid, before["uuid"]);
    assert.equal(after.partitions[0]?.["logEndOffset"], 1);
  });

  test("a topic is made with settings, changed while it is produced to, and as changed after a restart", async () => {
    const disk = createMemoryDisk();
    {
      await using node = await startTestNode({ disk, flags: { "segment-max-bytes": "8MiB" } });
      const made = await node.post("/v1/topics", { name: "orders", settings: { retentionMs: 60_000, cleanup: null } });
      assert.equal(made.status, 201);
      const topic = JSON.parse(made.text) as JsonObject;
      assert.deepEqual(topic["settings"], { retentionMs: 60_000 });
      const effective = topic["effectiveSettings"] as JsonObject;
      assert.deepEqual(Object.keys(effective), [...topicSettingNames]);
      assert.deepEqual(
        [effective["retentionMs"], effective["retentionBytes"], effective["segmentBytes"], effective["cleanup"]],
        [60_000, "unlimited", 8 * MiB, "delete"],
      );
      const produced = Array.from({ length: 20 }, () => node.post("/v1/topics/orders/records", { value: "x".repeat(100) }));
      const changed = await patch(node, "orders", { settings: { maxRecordBytes: 50, retentionMs: null } });
      assert.equal(changed.status, 200);
      assert.deepEqual((JSON.parse(changed.text) as JsonObject)["settings"], { maxRecordBytes: 50 });
      // Each of them was appended or refused as too large, and nothing else.
      for (const { status } of await Promise.all(produced)) assert(status === 200 || status === 413, String(status));
      assert.equal((await node.post("/v1/topics/orders/records", { value: "x".repeat(51) })).status, 413);
    }
    await using node = await startTestNode({ disk });
    assert.deepEqual((await node.json("GET", "/v1/topics/orders"))["settings"], { maxRecordBytes: 50 });
    assert.equal((await node.post("/v1/topics/orders/records", { value: "x".repeat(51) })).status, 413);
    assert.equal((await patch(node, "orders", { settings: { maxRecordBytes: null } })).status, 200);
    assert.equal((await node.post("/v1/topics/orders/records", { value: "x".repeat(51) })).status, 200);
  });

  test("records that go to several partitions are refused whole when one is too large for their topic", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 8, settings: { maxRecordBytes: 10 } });
    const records = Array.from({ length: 50 }, (_, key) => ({
      key: String(key),
      value: key === 25 ? "123456789" : "12345678",
    }));
    const answer = await node.post("/v1/topics/orders/records", records);
    assert.equal(answer.status, 413);
    const { code, outcome } = JSON.parse(answer.text) as JsonObject;
    assert.deepEqual([code, outcome], ["RECORD_TOO_LARGE", "not-appended"]);
    const { partitions } = await node.json<{ partitions: JsonObject[] }>("GET", "/v1/topics/orders");
    for (const { logEndOffset } of partitions) assert.equal(logEndOffset, 0);
  });

  test("where the topic says so, records have the time of their append and its codec", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    const settings = { timestampType: "append", compression: "zstd" };
    await node.post("/v1/topics", { name: "orders", settings });
    await node.post("/v1/topics/orders/records", [{ value: "a".repeat(10_000), timestamp: 5 }]);
    const { records } = await node.json<{ records: JsonObject[] }>("GET", "/v1/topics/orders/records");
    assert.equal(records[0]?.["timestamp"], clock.now());
    const { partitions } = await node.json<{ partitions: JsonObject[] }>("GET", "/v1/topics/orders");
    assert(Number(partitions[0]?.["storeBytes"]) < 1_000);
  });

  test("a topic that is compacted takes keyed records only, and keeps the newest of each key by itself", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    await node.post("/v1/topics", { name: "states", settings: { cleanup: "compact", segmentBytes: 4096 } });
    const refused = await node.post("/v1/topics/states/records", [{ value: "no key" }]);
    assert.deepEqual([refused.status, (JSON.parse(refused.text) as JsonObject)["code"]], [400, "INVALID_RECORD"]);
    for (let i = 0; i < 10; i += 1)
      await node.post("/v1/topics/states/records", [{ key: `k${i % 3}`, value: `${i}`.padEnd(1500) }]);
    assert.equal(await node.metric('proglog_log_dirty_ratio{topic="states",partition="0"}'), 1);
    clock.advance(60_000);
    const isCompacted = async (): Promise<boolean> =>
      (await node.metric('proglog_log_dirty_ratio{topic="states",partition="0"}')) === 0;
    for (let asked = 0; !(await isCompacted()); asked += 1) assert.ok(asked < 1_000, "it runs by itself");
    const { records } = await node.json<{ records: JsonObject[] }>("GET", "/v1/topics/states/records");
    assert.deepEqual(
      records.map(({ offset }) => offset),
      [5, 6, 7, 8, 9],
    );
  });

  test("partitions are added by a change, and keys go to the new ones too", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders" });
    const answer = await patch(node, "orders", { partitions: 8 }, "application/merge-patch+json");
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.text) as { partitions: unknown[] }).partitions.length, 8);
    const records = Array.from({ length: 50 }, (_, key) => ({ key: String(key), value: "a" }));
    const { partitions } = JSON.parse((await node.post("/v1/topics/orders/records", records)).text) as {
      partitions: unknown[];
    };
    assert(partitions.length > 4);
    assert.equal((await node.metric('proglog_log_end_offset{topic="orders",partition="7"}')) > 0, true);
  });

  test("a wrong setting is told with what was meant", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders" });
    const answer = await patch(node, "orders", { settings: { retentionMS: 5 } });
    const { code, hint, details } = JSON.parse(answer.text) as JsonObject;
    assert.deepEqual([code, hint, details], ["INVALID_ARGUMENT", "Did you mean retentionMs?", { setting: "retentionMS" }]);
  });

  const refused: readonly (readonly [string, string, string | undefined, number, string])[] = [
    ["POST", "/v1/topics", '{"name":"orders"}', 409, "TOPIC_ALREADY_EXISTS"],
    ["POST", "/v1/topics", '{"name":"__x"}', 400, "INVALID_TOPIC_NAME"],
    ["POST", "/v1/topics", '{"name":""}', 400, "INVALID_TOPIC_NAME"],
    ["POST", "/v1/topics", '{"name":"x","partitions":0}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":"x","partitions":1.5}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":"x","partitions":"2"}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":"x","partitions":10001}', 409, "TOO_MANY_PARTITIONS"],
    ["POST", "/v1/topics", '{"name":"x","partition":2}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":1}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", "{}", 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", "[]", 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", "{", 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", "", 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", undefined, 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics?x=1", '{"name":"x"}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":"x","settings":{"segmentBytes":1}}', 400, "INVALID_ARGUMENT"],
    ["POST", "/v1/topics", '{"name":"x","settings":[]}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"settings":{"deepCheck":true,"segmentBytes":1}}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"settings":{"__proto__":{"deepCheck":true}}}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"settings":null}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"retentionMs":5}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"name":"x"}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"partitions":0}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"partitions":null}', 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders", '{"partitions":10001,"settings":{"deepCheck":true}}', 409, "TOO_MANY_PARTITIONS"],
    ["PATCH", "/v1/topics/orders", "", 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/orders?x=1", "{}", 400, "INVALID_ARGUMENT"],
    ["PATCH", "/v1/topics/none", "{}", 404, "TOPIC_NOT_FOUND"],
    ["PATCH", "/v1/topics/a%20b", "{}", 400, "INVALID_TOPIC_NAME"],
    ["GET", "/v1/topics?x=1", undefined, 400, "INVALID_ARGUMENT"],
    ["GET", "/v1/topics/none", undefined, 404, "TOPIC_NOT_FOUND"],
    ["GET", "/v1/topics/a%20b", undefined, 400, "INVALID_TOPIC_NAME"],
    ["GET", "/v1/topics/%", undefined, 400, "INVALID_ARGUMENT"],
    ["GET", `/v1/topics/${"a".repeat(3000)}`, undefined, 400, "INVALID_ARGUMENT"],
    ["DELETE", "/v1/topics/none", undefined, 404, "TOPIC_NOT_FOUND"],
    ["DELETE", "/v1/topics/orders?x=1", undefined, 400, "INVALID_ARGUMENT"],
    ["PUT", "/v1/topics/orders", "{}", 405, "METHOD_NOT_ALLOWED"],
    ["DELETE", "/v1/topics", undefined, 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/v1/nothing", undefined, 404, "ROUTE_NOT_FOUND"],
    ["POST", "/v1/", "{}", 404, "ROUTE_NOT_FOUND"],
  ];
  for (const [method, path, body, status, code] of refused) {
    test(`${method} ${path.slice(0, 40)} ${body ?? ""} is ${status} ${code}, and changes nothing`, async () => {
      await using node = await startTestNode();
      await node.post("/v1/topics", { name: "orders" });
      const before = await node.json("GET", "/v1/topics");
      const answer = await node.send(method, path, body === undefined ? {} : { body });
      assert.equal(answer.status, status, answer.text);
      const problem = JSON.parse(answer.text) as JsonObject;
      assert.equal(problem["code"], code);
      assert.equal(typeof problem["detail"], "string");
      assert(answer.text.length < 1000);
      assert.deepEqual(await node.json("GET", "/v1/topics"), before);
    });
  }

  test("of many creates at once, one makes the topic", async () => {
    await using node = await startTestNode();
    const answers = await Promise.all(Array.from({ length: 8 }, () => node.post("/v1/topics", { name: "orders" })));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [201, 409, 409, 409, 409, 409, 409, 409],
    );
  });
});

function patch(node: TestNode, topic: string, change: object, mediaType = "application/json"): Promise<Answer> {
  return node.send("PATCH", `/v1/topics/${topic}`, { body: JSON.stringify(change), headers: { "content-type": mediaType } });
}
