import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { type JsonObject, startTestNode } from "./test-node.ts";

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
