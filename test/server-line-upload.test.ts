import assert from "node:assert/strict";
import { request } from "node:http";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { lineBatchBytes, lineBatchMaxCount, lineMaxBytes, uploadIdleMaxMs, uploadRestMaxMs } from "../src/base/limits.ts";
import { partitionOfKey } from "../src/wire/partitioner.ts";
import { type JsonObject, startTestNode, type TestNode } from "./test-node.ts";

/** A body of lines that is appended while it comes, and answered while it is appended. */
describe("lines streamed in", () => {
  test("each batch is answered as soon as it is appended, while the body goes on", async () => {
    await using node = await startTestNode();
    const upload = new Upload(node);
    upload.write('{"value":"a"}\n{"value":"b"}\n');
    assert.deepEqual(await upload.nextAnswer(), {
      partition: 0,
      baseOffset: 0,
      count: 2,
      isDurable: true,
      firstLine: 1,
      lastLine: 2,
    });
    assert.deepEqual(await valuesOf(node), ["a", "b"]);
    upload.write('{"value":"c"}\n');
    assert.deepEqual([(await upload.nextAnswer())["baseOffset"], upload.last["firstLine"]], [2, 3]);
    upload.end();
    assert.equal(await upload.rest(), "");
    assert.equal(upload.status, 200);
    assert.match(String(upload.mediaType), /^application\/x-ndjson/);
    assert.equal(await node.metric("proglog_http_body_bytes"), 0);
    assert.equal(await node.metric("proglog_http_uploads"), 0);
  });

  test("lines are cut anywhere, end as they like, may be empty, and count from 1", async () => {
    await using node = await startTestNode();
    const body = Buffer.from('\n{"value":"grüße"}\r\n \t\r\n\n{"value":"b"}\n{"value":"c"}');
    const upload = new Upload(node);
    for (const byte of body) {
      await upload.sent(Buffer.of(byte));
    }
    upload.end();
    const answers = parseAnswers(await upload.rest());
    assert.deepEqual(await valuesOf(node), ["grüße", "b", "c"]);
    assert.equal(answers[0]?.["firstLine"], 2);
    assert.equal(answers.at(-1)?.["lastLine"], 6);
    assert.equal(
      answers.reduce((sum, { count }) => sum + Number(count), 0),
      3,
    );
  });

  test("a body without an end is cut into batches by bytes and by count, in the order of its lines", async () => {
    await using node = await startTestNode();
    const count = 2 * lineBatchMaxCount + 1;
    const small = Array.from({ length: count }, (_, line) => `{"value":"${line}"}\n`).join("");
    const large = Array.from({ length: 25 }, (_, line) => `{"value":"${`${line} `.padEnd(100_000, "x")}"}\n`).join("");
    const answers = parseAnswers((await node.post("/v1/topics/orders/records", small + large, lines)).text);
    let line = 1;
    for (const { firstLine, lastLine, count: taken, baseOffset } of answers) {
      assert.deepEqual([firstLine, lastLine, baseOffset], [line, line + Number(taken) - 1, line - 1]);
      assert(Number(taken) <= lineBatchMaxCount);
      line += Number(taken);
    }
    assert.equal(line - 1, count + 25);
    assert.equal(await node.metric("proglog_log_appended_batches_total"), answers.length);
    assert(answers.length >= 2 + Math.floor((25 * 100_000) / lineBatchBytes));
  });

  test("a body has no largest size", async () => {
    await using node = await startTestNode({ flags: { "max-body-bytes": "1KiB" } });
    const body = '{"value":"0123456789"}\n'.repeat(1000);
    const answers = parseAnswers((await node.post("/v1/topics/orders/records", body, lines)).text);
    assert.equal(answers.at(-1)?.["lastLine"], 1000);
  });

  test("a wrong line ends it: those before it are appended, it and those behind it aren't", async () => {
    await using node = await startTestNode();
    for (const [wrong, code] of [
      ['{"valu":"c"}', "INVALID_RECORD"],
      ["c", "INVALID_ARGUMENT"],
      [`{"value":"${"x".repeat(lineMaxBytes)}"}`, "RECORD_TOO_LARGE"],
    ] as const) {
      const upload = new Upload(node, "wrong");
      upload.write(`{"value":"a"}\n\n{"value":"b"}\n${wrong}\n{"value":"d"}\n`);
      const answer = parseAnswers(await upload.rest()).at(-1);
      assert.equal(answer?.["line"], 4);
      const error = errorOf(answer);
      assert.deepEqual([error["code"], error["outcome"]], [code, "not-appended"]);
      assert.equal("lastLine" in answer, false);
    }
    assert.deepEqual(await valuesOf(node, "wrong"), ["a", "b", "a", "b", "a", "b"]);
    assert.equal(await node.metric("proglog_http_body_bytes"), 0);
  });

  test("a line as long as may be is taken", async () => {
    await using node = await startTestNode();
    const line = `{"value":"a"${" ".repeat(lineMaxBytes - '{"value":"a"}'.length)}}`;
    assert.equal(line.length, lineMaxBytes);
    const answers = parseAnswers((await node.post("/v1/topics/orders/records", `${line}\n`, lines)).text);
    assert.equal(answers[0]?.["count"], 1);
  });

  test("an error before anything is appended has its own status, and names the line", async () => {
    await using node = await startTestNode();
    const answer = await node.post("/v1/topics/orders/records", '\n{"valu":"a"}\n{"value":"b"}\n', lines);
    assert.equal(answer.status, 400);
    const problem = JSON.parse(answer.text) as JsonObject;
    assert.deepEqual([problem["code"], problem["details"]], ["INVALID_RECORD", { line: 2 }]);
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [] });
  });

  test("after an error the rest of the body is read and dropped, and the connection goes on", async () => {
    await using node = await startTestNode();
    const body = `{"value":"a"}\nx\n${'{"value":"b"}\n'.repeat(100_000)}`;
    const head = "POST /v1/topics/orders/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n";
    const socket = node.connect().write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    await socket.waitFor(/"line":2\}\n\r\n0\r\n\r\n$/);
    socket.write("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert.match(await socket.closed, /ok\n$/);
    assert.deepEqual(await valuesOf(node), ["a"]);
  });

  test("a connection that is to be closed is, behind the rest of the body, so that no reset takes the answer away", async () => {
    await using node = await startTestNode();
    for (const first of ['{"value":"a"}\nx\n', "x\n"]) {
      const rest = '{"value":"b"}\n'.repeat(10_000);
      const head = "POST /v1/topics/orders/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n";
      const socket = node.connect().write(`${head}connection: close\r\ncontent-length: ${first.length + rest.length}\r\n\r\n`);
      socket.write(first);
      if (first !== "x\n") await socket.waitFor(/"line":2\}\n\r\n$/);
      await node.until(async () => (await node.metric("proglog_http_uploads")) === 0);
      assert.equal(socket.socket.readyState, "open");
      socket.write(rest);
      assert.match(await socket.closed, first === "x\n" ? /"line":1\}\}\n$/ : /"line":2\}\n\r\n0\r\n\r\n$/);
    }
  });

  test("a client that goes on sending after an error is cut off a little later", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    const upload = new Upload(node);
    upload.write('{"value":"a"}\nx\n');
    await upload.rest();
    await node.until(async () => (await node.metric("proglog_http_uploads")) === 0);
    upload.write("y\n");
    clock.advance(uploadRestMaxMs + 1_000);
    await upload.closed;
  });

  test("goes by the partitions there are when a batch comes, however long the upload lasts", async () => {
    await using node = await startTestNode();
    const upload = new Upload(node);
    upload.write('{"key":"k","value":"a"}\n');
    assert.equal((await upload.nextAnswer())["partition"], 0);
    const partitions = 7;
    const expected = partitionOfKey(Buffer.from("k"), partitions);
    assert.notEqual(expected, 0);
    const headers = { "content-type": "application/json" };
    await node.json("PATCH", "/v1/topics/orders", { body: JSON.stringify({ partitions }), headers });
    upload.write('{"key":"k","value":"b"}\n');
    assert.equal((await upload.nextAnswer())["partition"], expected);
    upload.end();
    await upload.rest();
  });

  test("an upload may take any time, as long as something comes", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    const upload = new Upload(node);
    for (let line = 1; line <= 4; line += 1) {
      upload.write('{"value":"a"}\n');
      assert.equal((await upload.nextAnswer())["lastLine"], line);
      clock.advance(uploadIdleMaxMs - 1);
    }
    clock.advance(1);
    const answer = parseAnswers(await upload.rest()).at(-1);
    assert.equal(answer?.["line"], 5);
    assert.deepEqual([errorOf(answer)["code"], errorOf(answer)["outcome"]], ["TIMEOUT", "not-appended"]);
  });

  test("a client that goes away amid a line leaves none of it", async () => {
    await using node = await startTestNode();
    const upload = new Upload(node);
    upload.write('{"value":"a"}\n{"value":"b"');
    await upload.nextAnswer();
    upload.destroy();
    await node.until(async () => (await node.metric("proglog_http_uploads")) === 0);
    assert.deepEqual(await valuesOf(node), ["a"]);
    assert.equal(await node.metric("proglog_http_body_bytes"), 0);
  });

  test("a client that ends its side amid a body gets no second answer", async () => {
    await using node = await startTestNode();
    const head = "POST /v1/topics/orders/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n";
    const socket = node.connect().write(`${head}transfer-encoding: chunked\r\n\r\ne\r\n{"value":"a"}\n\r\n`);
    await socket.waitFor(/"lastLine":1\}\n\r\n$/);
    socket.socket.end();
    assert.equal((await socket.closed).match(/HTTP\/1\.1/g)?.length, 1);
  });

  test("keys lead to partitions, and an answer is for lines", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 3 });
    const keys = Array.from({ length: 12 }, (_, number) => `key-${number}`);
    const body = keys.map((key) => `${JSON.stringify({ key, value: key })}\n`).join("");
    const [answer] = parseAnswers((await node.post("/v1/topics/orders/records", body, lines)).text);
    assert.deepEqual([answer?.["count"], answer?.["firstLine"], answer?.["lastLine"]], [12, 1, 12]);
    for (const { partition, count } of (answer?.["partitions"] ?? []) as { partition: number; count: number }[])
      assert.equal(count, keys.filter((key) => partitionOfKey(Buffer.from(key), 3) === partition).length);
  });

  test("a slow disk gathers what comes into the next batch, and holds the client back beyond that", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    await node.post("/v1/topics/orders/records", { value: "first" });
    const hold = disk.holdSync({ path: ".store" });
    const upload = new Upload(node);
    const line = `{"value":"${"x".repeat(99_990)}"}\n`;
    upload.write(line);
    await hold.waiting(1);
    // Far more than the server takes up and the system's buffers hold.
    const lineCount = 400;
    for (let count = 1; count < lineCount; count += 1) upload.write(line);
    await node.until(async () => (await node.metric("proglog_http_body_bytes")) > lineBatchBytes);
    for (let asked = 0; asked < 50; asked += 1)
      assert((await node.metric("proglog_http_body_bytes")) < 2 * lineBatchBytes + 1_000_000);
    upload.end();
    hold.release();
    const answers = parseAnswers(await upload.rest());
    assert.deepEqual([answers[0]?.["count"], answers[1]?.["count"], answers.at(-1)?.["lastLine"]], [1, 10, lineCount]);
    assert.equal(await node.metric("proglog_http_body_bytes"), 0);
  });

  test("a failed sync names the lines in doubt, and appends nothing more", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    const upload = new Upload(node);
    upload.write('{"value":"a"}\n');
    await upload.nextAnswer();
    disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    upload.write('{"value":"b"}\n{"value":"c"}\n');
    const answer = parseAnswers(await upload.rest()).at(-1);
    assert.deepEqual([answer?.["line"], answer?.["lastLine"]], [2, 3]);
    assert.deepEqual([errorOf(answer)["code"], errorOf(answer)["outcome"]], ["DISK_FAILED", "unknown"]);
    assert(node.lines.some(({ level, message }) => level === "error" && message === "a request failed"));
  });

  test("a topic that is deleted meanwhile isn't made again", async () => {
    await using node = await startTestNode();
    const upload = new Upload(node);
    upload.write('{"value":"a"}\n');
    await upload.nextAnswer();
    assert.equal((await node.send("DELETE", "/v1/topics/orders")).status, 204);
    upload.write('{"value":"b"}\n');
    const answer = parseAnswers(await upload.rest())[0];
    assert.deepEqual([answer?.["line"], errorOf(answer)["code"]], [2, "TOPIC_NOT_FOUND"]);
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [] });
  });

  test("a stop ends uploads with an answer, and what was acknowledged is there", async () => {
    const disk = createSimDisk();
    const node = await startTestNode({ disk, clock: createVirtualClock() });
    const upload = new Upload(node);
    upload.write('{"value":"a"}\n{"value');
    await upload.nextAnswer();
    const closed = node.node.close();
    const answer = parseAnswers(await upload.rest())[0];
    assert.deepEqual([answer?.["line"], errorOf(answer)["code"]], [2, "SHUTTING_DOWN"]);
    await closed;
    await using next = await startTestNode({ disk });
    assert.deepEqual(await valuesOf(next), ["a"]);
  });
});

const lines = { "content-type": "application/x-ndjson" };

/** A request whose body goes on while its answer comes. */
class Upload {
  last: JsonObject = {};
  status = 0;
  mediaType: unknown;
  readonly closed: Promise<void>;
  readonly #sent;
  readonly #received: Promise<AsyncIterator<Buffer>>;
  #text = "";

  constructor(node: TestNode, topic = "orders") {
    const { promise, resolve, reject } = Promise.withResolvers<AsyncIterator<Buffer>>();
    this.#received = promise;
    const headers = { ...lines, connection: "keep-alive" };
    this.#sent = request(`${node.node.url}/v1/topics/${topic}/records`, { method: "POST", agent: false, headers });
    this.#sent.on("error", reject);
    this.#sent.once("response", (response) => {
      this.status = response.statusCode ?? 0;
      this.mediaType = response.headers["content-type"];
      resolve(response[Symbol.asyncIterator]() as AsyncIterator<Buffer>);
    });
    this.closed = new Promise((done) => this.#sent.once("close", () => done()));
    promise.catch(() => {});
  }

  write(text: string): void {
    this.#sent.write(text);
  }

  /** Resolves when it is on its way. */
  sent(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => void this.#sent.write(bytes, () => resolve()));
  }

  end(): void {
    this.#sent.end();
  }

  destroy(): void {
    this.#sent.destroy();
  }

  async nextAnswer(): Promise<JsonObject> {
    const received = await this.#received;
    while (!this.#text.includes("\n")) {
      const { value, done } = await received.next();
      assert.notEqual(done, true, "the answer ended");
      this.#text += String(value);
    }
    const end = this.#text.indexOf("\n") + 1;
    this.last = JSON.parse(this.#text.slice(0, end)) as JsonObject;
    this.#text = this.#text.slice(end);
    return this.last;
  }

  /** What comes until the answer ends. */
  async rest(): Promise<string> {
    const received = await this.#received;
    for (let next = await received.next(); next.done !== true; next = await received.next()) this.#text += String(next.value);
    return this.#text;
  }
}

function parseAnswers(text: string): JsonObject[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as JsonObject);
}

function errorOf(answer: JsonObject | undefined): JsonObject {
  assert(answer?.["error"] !== undefined);
  return answer["error"] as JsonObject;
}

async function valuesOf(node: TestNode, topic = "orders"): Promise<string[]> {
  const { records } = await node.json<{ records: { value: string }[] }>("GET", `/v1/topics/${topic}/records?limit=10000`);
  return records.map(({ value }) => value);
}
