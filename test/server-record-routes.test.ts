import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { recordMaxBytes } from "../src/base/limits.ts";
import { partitionOfKey } from "../src/wire/partitioner.ts";
import { type Answer, type JsonObject, startTestNode, type TestNode } from "./test-node.ts";

const lines = { "content-type": "application/x-ndjson" };
const bytes = { "content-type": "application/octet-stream" };

describe("producing over /v1", () => {
  test("one record is answered with its partition, offset and count", async () => {
    await using node = await startTestNode();
    const answer = await node.post("/v1/topics/orders/records", { key: "k", value: "v" });
    assert.equal(answer.status, 200);
    assert.deepEqual(JSON.parse(answer.text), { partition: 0, baseOffset: 0, count: 1, isDurable: true });
  });

  test("an array is one batch", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics/orders/records", { value: "a" });
    const answer = await node.post("/v1/topics/orders/records", [{ value: "b" }, { value: "c" }]);
    assert.deepEqual(JSON.parse(answer.text), { partition: 0, baseOffset: 1, count: 2, isDurable: true });
    assert.equal(await node.metric("proglog_log_appended_batches_total"), 2);
    assert.deepEqual(await valuesOf(node, "orders"), ["a", "b", "c"]);
  });

  test("key, headers, timestamp and bytes come back as they were sent", async () => {
    await using node = await startTestNode();
    const record = {
      keyBase64: "/w==",
      valueBase64: "AP8=",
      headers: [
        { key: "a", value: "1" },
        { key: "a", valueBase64: "/w==" },
        { key: "b", value: null },
      ],
      timestamp: 1_760_000_000_000,
    };
    await node.post("/v1/topics/orders/records", record);
    const { records } = await node.json<{ records: JsonObject[] }>("GET", "/v1/topics/orders/records");
    assert.deepEqual(records, [{ offset: 0, ...record }]);
  });

  const wrongBodies: readonly (readonly [string, string | Buffer, Record<string, string>, number, string])[] = [
    ["nothing", "", {}, 400, "INVALID_ARGUMENT"],
    ["no JSON", "{", {}, 400, "INVALID_ARGUMENT"],
    ["two JSON values", '{"value":"a"}{"value":"b"}', {}, 400, "INVALID_ARGUMENT"],
    ["bytes that are no UTF-8", Buffer.from('{"value":"\xff"}', "latin1"), {}, 400, "INVALID_ARGUMENT"],
    ["an empty array", "[]", {}, 400, "INVALID_ARGUMENT"],
    ["blank lines", "\n\n", lines, 400, "INVALID_ARGUMENT"],
    ["a number", "1", {}, 400, "INVALID_RECORD"],
    ["an array with a wrong record at its end", '[{"value":"a"},{"value":1}]', {}, 400, "INVALID_RECORD"],
    ["lines with a wrong one at their beginning", '{"valu":"a"}\n{"value":"b"}\n', lines, 400, "INVALID_RECORD"],
    ["a line that breaks off", '{"value":"b', lines, 400, "INVALID_ARGUMENT"],
    ["compressed lines", '{"value":"a"}', { ...lines, "content-encoding": "gzip" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["a key beside JSON", '{"value":"a"}', { "proglog-key": "k" }, 400, "INVALID_ARGUMENT"],
    ["bytes with a key that is no Base64", "a", { ...bytes, "proglog-key-base64": "a" }, 400, "INVALID_ARGUMENT"],
    ["bytes with a key beyond ASCII in a header", "a", { ...bytes, "proglog-key": "\xfc" }, 400, "INVALID_ARGUMENT"],
    ["bytes with two keys", "a", { ...bytes, "proglog-key": "k", "proglog-key-base64": "aw==" }, 400, "INVALID_ARGUMENT"],
    ["bytes too many for a record", "x".repeat(recordMaxBytes + 1), bytes, 413, "RECORD_TOO_LARGE"],
    ["an unknown field", '{"value":"a","partition":0}', {}, 400, "INVALID_RECORD"],
    ["a form", "value=a", { "content-type": "application/x-www-form-urlencoded" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["no content type that is one", '{"value":"a"}', { "content-type": "json" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["a compressed body", '{"value":"a"}', { "content-encoding": "gzip" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["a record too large", JSON.stringify({ value: "x".repeat(recordMaxBytes + 1) }), {}, 413, "RECORD_TOO_LARGE"],
    [
      "an array too large for a batch",
      JSON.stringify(Array.from({ length: 5 }, () => ({ value: "x".repeat(recordMaxBytes) }))),
      {},
      413,
      "BATCH_TOO_LARGE",
    ],
  ];
  for (const [what, body, headers, status, code] of wrongBodies) {
    test(`${what} is ${status} ${code}, and nothing is appended`, async () => {
      await using node = await startTestNode();
      await node.post("/v1/topics/orders/records", { value: "before" });
      assertProblem(await node.send("POST", "/v1/topics/orders/records", { body, headers }), status, code, "not-appended");
      assert.deepEqual(await valuesOf(node, "orders"), ["before"]);
    });
  }

  test("bytes are the value of one record, its key in the query or in a header", async () => {
    await using node = await startTestNode();
    const value = Buffer.from([0, 255, 10, 13]);
    const asked: readonly (readonly [string, Record<string, string>])[] = [
      ["", {}],
      ["?key=gr%C3%BC%C3%9Fe", {}],
      ["?keyBase64=%2Fw==", {}],
      ["", { "proglog-key": "a b" }],
      ["", { "proglog-key-base64": "/w==" }],
      ["?key=", {}],
    ];
    for (const [offset, [query, headers]] of asked.entries()) {
      const answer = await node.send("POST", `/v1/topics/orders/records${query}`, {
        body: value,
        headers: { ...bytes, ...headers },
      });
      assert.deepEqual(JSON.parse(answer.text), { partition: 0, baseOffset: offset, count: 1, isDurable: true });
    }
    await node.send("POST", "/v1/topics/orders/records", { body: "", headers: bytes });
    const { records } = await node.json<{ records: JsonObject[] }>("GET", "/v1/topics/orders/records");
    assert.deepEqual(
      records.map(({ key, keyBase64 }) => key ?? keyBase64),
      [null, "grüße", "/w==", "a b", "/w==", "", null].map((key) => key ?? undefined),
    );
    assert.deepEqual([records[0]?.["key"], records[0]?.["valueBase64"], records[6]?.["value"]], [null, "AP8KDQ==", ""]);
  });

  test("a body of the largest size is taken, and one byte more is 413, with and without its length told", async () => {
    await using node = await startTestNode({ flags: { "max-body-bytes": 4096 } });
    const fits = JSON.stringify({ value: "x".repeat(4096 - '{"value":""}'.length) });
    assert.equal(fits.length, 4096);
    assert.equal((await node.post("/v1/topics/orders/records", fits)).status, 200);
    const chunked = { "transfer-encoding": "chunked" };
    assert.equal((await node.send("POST", "/v1/topics/orders/records", { body: fits, headers: chunked })).status, 200);
    for (const headers of [{}, chunked]) {
      assertProblem(
        await node.send("POST", "/v1/topics/orders/records", { body: `${fits} `, headers }),
        413,
        "REQUEST_TOO_LARGE",
        "not-appended",
      );
    }
    assert.equal(await node.metric("proglog_http_body_bytes"), 0);
    assert.equal((await valuesOf(node, "orders")).length, 2);
  });

  test("a topic that isn't there is made by a produce, and by no consume", async () => {
    await using node = await startTestNode();
    assertProblem(await node.get("/v1/topics/orders/records"), 404, "TOPIC_NOT_FOUND");
    await Promise.all(Array.from({ length: 10 }, () => node.post("/v1/topics/orders/records", { value: "v" })));
    const { topics } = await node.json<{ topics: { name: string }[] }>("GET", "/v1/topics");
    assert.deepEqual(
      topics.map(({ name }) => name),
      ["orders"],
    );
    assert.equal((await valuesOf(node, "orders")).length, 10);
  });

  test("without auto-create it isn't, and the answer says so", async () => {
    await using node = await startTestNode({ flags: { "auto-create-topics": "false" } });
    const problem = assertProblem(
      await node.post("/v1/topics/orders/records", { value: "v" }),
      404,
      "TOPIC_NOT_FOUND",
      "not-appended",
    );
    assert.match(String(problem["hint"]), /Create it/);
  });

  test("a wrong topic name, partition or parameter is refused, and makes no topic", async () => {
    await using node = await startTestNode();
    const refused: readonly (readonly [string, number, string])[] = [
      ["/v1/topics/__x/records", 400, "INVALID_TOPIC_NAME"],
      ["/v1/topics/%2e%2e/records", 400, "INVALID_TOPIC_NAME"],
      ["/v1/topics/a%2fb/records", 400, "INVALID_TOPIC_NAME"],
      [`/v1/topics/${"a".repeat(250)}/records`, 400, "INVALID_TOPIC_NAME"],
      ["/v1/topics/orders/records?partition=1", 404, "PARTITION_NOT_FOUND"],
      ["/v1/topics/orders/records?partition=-1", 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?partition=0x0", 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?partition=", 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?partition=0&partition=0", 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?partiton=0", 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?acks=0", 400, "INVALID_ARGUMENT"],
    ];
    for (const [path, status, code] of refused)
      assertProblem(await node.post(path, { value: "v" }), status, code, "not-appended");
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [] });
  });

  test("keys choose the partition as Kafka's client does, and one named goes before them", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 5 });
    for (const key of ["21", "foobar", "abc", ""]) {
      const answer = await node.post("/v1/topics/orders/records", { key, value: key });
      assert.equal((JSON.parse(answer.text) as { partition: number }).partition, partitionOfKey(Buffer.from(key), 5), key);
    }
    const named = await node.post("/v1/topics/orders/records?partition=4", [{ key: "21", value: "v" }, { value: "w" }]);
    assert.equal((JSON.parse(named.text) as { partition: number }).partition, 4);
  });

  test("records without a key stay together, and requests take turns", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 3 });
    const partitions: number[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const answer = await node.post("/v1/topics/orders/records", [{ value: "a" }, { value: "b" }]);
      const { partition, count } = JSON.parse(answer.text) as { partition: number; count: number };
      assert.equal(count, 2);
      partitions.push(partition);
    }
    assert.deepEqual(partitions, [0, 1, 2, 0]);
  });

  test("records of several partitions are answered by partition", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 3 });
    const keys = Array.from({ length: 12 }, (_, number) => `key-${number}`);
    const body = keys.map((key) => ({ key, value: key }));
    const answer = JSON.parse((await node.post("/v1/topics/orders/records", body)).text) as SpreadAnswer;
    assert.equal(answer.count, 12);
    assert.deepEqual(
      answer.partitions.map(({ partition }) => partition),
      [0, 1, 2],
    );
    for (const { partition, baseOffset, count } of answer.partitions) {
      const expected = keys.filter((key) => partitionOfKey(Buffer.from(key), 3) === partition);
      assert.equal(baseOffset, 0);
      assert.equal(count, expected.length);
      assert.deepEqual(await valuesOf(node, "orders", `?partition=${partition}`), expected);
    }
  });

  test("a failed sync leaves the outcome open, and later appends are refused", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    await node.post("/v1/topics/orders/records", { value: "a" });
    disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    assertProblem(await node.post("/v1/topics/orders/records", { value: "b" }), 500, "DISK_FAILED", "unknown");
    assertProblem(await node.post("/v1/topics/orders/records", { value: "c" }), 500, "LOG_POISONED", "not-appended");
    assert.deepEqual(await valuesOf(node, "orders"), ["a"]);
    assert.equal(await node.metric("proglog_log_poisonings_total"), 1);
    assert.equal(await node.metric('proglog_logs{state="poisoned"}'), 1);
    assert(node.lines.some(({ level, message }) => level === "error" && message === "a log takes no more appends"));
  });

  test("when one of several batches fails the outcome is unknown", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    await node.post("/v1/topics", { name: "orders", partitions: 2 });
    const keys = ["key-0", "key-1", "key-2", "key-3"];
    assert.equal(new Set(keys.map((key) => partitionOfKey(Buffer.from(key), 2))).size, 2);
    disk.fail({ kind: "write", path: ".store", code: "ENOSPC" });
    const answer = await node.post(
      "/v1/topics/orders/records",
      keys.map((key) => ({ key, value: key })),
    );
    assertProblem(answer, 507, "DISK_FULL", "unknown");
  });
});

describe("consuming over /v1", () => {
  test("records come with their offsets, and where to go on", async () => {
    await using node = await startTestNode();
    await produce(node, ["a", "b", "c"]);
    const read = await node.json<ReadAnswer>("GET", "/v1/topics/orders/records?from=1&limit=1");
    assert.equal(read.records.length, 1);
    assert.equal(read.records[0]?.offset, 1);
    assert.equal(read.records[0]?.value, "b");
    assert.deepEqual([read.nextOffset, read.logStartOffset, read.highWatermark], [2, 0, 3]);
  });

  test("from is start, end, an offset or a time", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    for (const timestamp of [1000, 2000, 3000])
      await node.post("/v1/topics/orders/records", { value: `${timestamp}`, timestamp });
    const cases = [
      ["start", ["1000", "2000", "3000"]],
      ["end", []],
      ["2", ["3000"]],
      ["3", []],
      ["@1500", ["2000", "3000"]],
      ["@3001", []],
      ["1970-01-01T00:00:02Z", ["2000", "3000"]],
    ] as const;
    for (const [from, values] of cases) assert.deepEqual(await valuesOf(node, "orders", `?from=${from}`), values, from);
  });

  test("a read within a batch begins and ends where it was told", async () => {
    await using node = await startTestNode();
    await produce(node, ["a", "b", "c", "d", "e"]);
    assert.deepEqual(await valuesOf(node, "orders", "?from=1&limit=3"), ["b", "c", "d"]);
  });

  test("limit and maxBytes bound an answer, and one batch is always given", async () => {
    await using node = await startTestNode();
    for (const value of ["a", "b", "c"]) await node.post("/v1/topics/orders/records", { value });
    assert.deepEqual(await valuesOf(node, "orders", "?limit=2"), ["a", "b"]);
    assert.deepEqual(await valuesOf(node, "orders", "?maxBytes=1"), ["a"]);
    assert.deepEqual(await valuesOf(node, "orders", "?limit=999999999&maxBytes=999999999"), ["a", "b", "c"]);
  });

  test("as lines, with where to go on in the head", async () => {
    await using node = await startTestNode();
    await produce(node, ["a", "b"]);
    const answer = await node.get("/v1/topics/orders/records", { headers: { accept: "application/x-ndjson" } });
    assert.match(String(answer.headers["content-type"]), /^application\/x-ndjson/);
    const values = answer.text
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { value: string }).value);
    assert.deepEqual(values, ["a", "b"]);
    assert.equal(answer.headers["proglog-next-offset"], "2");
    assert.equal(answer.headers["proglog-log-start-offset"], "0");
    assert.equal(answer.headers["proglog-high-watermark"], "2");
  });

  test("an offset beyond the end is out of range, with the range told", async () => {
    await using node = await startTestNode();
    await produce(node, ["a"]);
    const problem = assertProblem(await node.get("/v1/topics/orders/records?from=2"), 416, "OFFSET_OUT_OF_RANGE");
    assert.deepEqual(problem["details"], { offset: 2, logStartOffset: 0, highWatermark: 1 });
    assert.equal("outcome" in problem, false);
  });

  test("wrong parameters are refused", async () => {
    await using node = await startTestNode();
    await produce(node, ["a"]);
    const wrong = [
      "from=x",
      "from=-1",
      "from=",
      "limit=a",
      "limit=1.5",
      "waitMs=-1",
      "maxBytes=1e3",
      "from=1&from=2",
      "offset=0",
      "partition=9007199254740992",
    ];
    for (const query of wrong) assertProblem(await node.get(`/v1/topics/orders/records?${query}`), 400, "INVALID_ARGUMENT");
    assertProblem(await node.get("/v1/topics/orders/records?partition=1"), 404, "PARTITION_NOT_FOUND");
  });

  test("answers that a client doesn't take are counted until it does or is gone", async () => {
    await using node = await startTestNode();
    for (let count = 0; count < 8; count += 1) await produce(node, ["x".repeat(recordMaxBytes)]);
    const socket = node.connect();
    socket.socket.pause();
    // More than the system's buffers between the two hold.
    socket.write("GET /v1/topics/orders/records?maxBytes=8000000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(5));
    await node.until(async () => (await node.metric("proglog_http_answer_bytes")) > 16 * recordMaxBytes);
    socket.socket.destroy();
    await node.until(async () => (await node.metric("proglog_http_answer_bytes")) === 0);
  });

  test("a read that waits is woken by a produce", async () => {
    await using node = await startTestNode({ clock: createVirtualClock() });
    await produce(node, ["a"]);
    const waiting = node.json<ReadAnswer>("GET", "/v1/topics/orders/records?from=end&waitMs=50000");
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 1);
    await produce(node, ["b", "c"]);
    const read = await waiting;
    assert.deepEqual(
      read.records.map(({ value }) => value),
      ["b", "c"],
    );
    assert.equal(await node.metric("proglog_consume_waits"), 0);
  });

  test("a read that waits in vain ends after its time, with nothing", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    await produce(node, ["a"]);
    const waiting = node.json<ReadAnswer>("GET", "/v1/topics/orders/records?from=1&waitMs=30000");
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 1);
    clock.advance(30_000);
    assert.deepEqual(await waiting, { records: [], nextOffset: 1, logStartOffset: 0, highWatermark: 1 });
  });

  test("a read that waits ends when its client goes away", async () => {
    await using node = await startTestNode({ clock: createVirtualClock() });
    await produce(node, ["a"]);
    const gone = new AbortController();
    const waiting = node.get("/v1/topics/orders/records?from=end&waitMs=50000", { signal: gone.signal });
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 1);
    gone.abort();
    await assert.rejects(waiting);
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 0);
    await node.until(
      async () => (await node.metric('proglog_http_requests_total{route="/v1/topics/:topic/records",status="499"}')) === 1,
    );
  });

  test("a read that waits hears that its topic was deleted", async () => {
    await using node = await startTestNode({ clock: createVirtualClock() });
    await produce(node, ["a"]);
    const waiting = node.get("/v1/topics/orders/records?from=end&waitMs=50000");
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 1);
    assert.equal((await node.send("DELETE", "/v1/topics/orders")).status, 204);
    assertProblem(await waiting, 404, "TOPIC_NOT_FOUND");
  });
});

interface SpreadAnswer {
  readonly count: number;
  readonly partitions: readonly { readonly partition: number; readonly baseOffset: number; readonly count: number }[];
}

interface ReadAnswer {
  readonly records: readonly { readonly offset: number; readonly value: string }[];
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

async function produce(node: TestNode, values: readonly string[]): Promise<void> {
  const answer = await node.post(
    "/v1/topics/orders/records",
    values.map((value) => ({ value })),
  );
  assert.equal(answer.status, 200, answer.text);
}

async function valuesOf(node: TestNode, topic: string, query = ""): Promise<string[]> {
  const { records } = await node.json<ReadAnswer>("GET", `/v1/topics/${topic}/records${query}`);
  return records.map(({ value }) => value);
}

function assertProblem(answer: Answer, status: number, code: string, outcome?: string): JsonObject {
  assert.equal(answer.status, status, answer.text);
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json/);
  const problem = JSON.parse(answer.text) as JsonObject;
  assert.equal(problem["code"], code, answer.text);
  assert.equal(problem["status"], status);
  if (outcome !== undefined) assert.equal(problem["outcome"], outcome, answer.text);
  assert.doesNotMatch(answer.text, /\.ts:|node:internal/);
  return problem;
}
