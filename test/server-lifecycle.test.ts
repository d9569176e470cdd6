import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { nodeDisk } from "../src/base/node-disk.ts";
import { connect as connectClient } from "../src/client/index.ts";
import { connect } from "../src/grpc/index.ts";
import { failureOf, produceBytes, produceOnce, produceStream } from "./log-calls.ts";
import { type JsonObject, startTestNode, type TestNode } from "./test-node.ts";

describe("starting a node", () => {
  test("it says where it answers, lives and is ready", async () => {
    await using node = await startTestNode();
    assert.match(node.node.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    for (const path of ["/livez", "/readyz"]) {
      const answer = await node.get(path);
      assert.equal(answer.status, 200);
      assert.equal(answer.text, "ok\n");
    }
    const status = await node.json("GET", "/v1/status");
    assert.equal(status["phase"], "serving");
    assert.equal(status["storageId"], node.node.storageId);
    assert.deepEqual(status["partitions"], []);
  });

  test("metrics are Prometheus' text, with the requests by route and status", async () => {
    await using node = await startTestNode();
    await node.get("/?offset=7");
    const answer = await node.get("/metrics");
    assert.match(String(answer.headers["content-type"]), /^text\/plain/);
    assert.match(answer.text, /^proglog_http_requests_total\{route="\/",status="404"\} 1$/m);
    for (const name of ["proglog_event_loop_delay_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"]) {
      assert.match(answer.text, new RegExp(`^# TYPE ${name} `, "m"));
    }
  });

  test("the storage id is made once", async () => {
    const disk = createMemoryDisk();
    const ids: string[] = [];
    for (let start = 0; start < 2; start += 1) {
      await using node = await startTestNode({ disk });
      ids.push(node.node.storageId);
    }
    assert.match(ids[0] ?? "", /^[0-9a-f]{32}$/);
    assert.equal(ids[0], ids[1]);
  });

  test("an address beyond this machine is refused before anything is made", async () => {
    const disk = createMemoryDisk();
    await assert.rejects(startTestNode({ disk, flags: { "bind-addr": "0.0.0.0" } }), { code: "INSECURE_ADDRESS" });
    assert.equal(disk.isDirectory("/data"), false);
    await using node = await startTestNode({ disk, flags: { "bind-addr": "0.0.0.0", insecure: true } });
    assert.match(node.node.url, /^http:\/\/0\.0\.0\.0:\d+$/);
  });

  test("a port that is taken is refused, and leaves the directory to others", async () => {
    await using first = await startTestNode();
    const disk = createMemoryDisk();
    await assert.rejects(startTestNode({ disk, flags: { "rpc-port": first.port } }), { code: "ADDRESS_IN_USE" });
    await using second = await startTestNode({ disk });
    assert.equal((await second.get("/readyz")).status, 200);
  });

  test("an address that isn't this machine's is refused", async () => {
    await assert.rejects(startTestNode({ flags: { "bind-addr": "192.0.2.1", insecure: true } }), { code: "INVALID_CONFIG" });
  });

  test("a directory that another node has open is refused, naming it", async () => {
    const disk = createMemoryDisk();
    await using first = await startTestNode({ disk });
    await assert.rejects(startTestNode({ disk }), { code: "LOG_LOCKED", message: /\/data/ });
    assert.equal((await first.get("/readyz")).status, 200);
  });

  test("while logs are opened the node lives, isn't ready, and asks to be tried again", async () => {
    const disk = createSimDisk();
    {
      await using node = await startTestNode({ disk });
      await node.post("/", '{"record":{"value":"YQ=="}}');
    }
    // The first append after a clean stop takes the mark back; so the next start has something to sync.
    const started = await startTestNode({ disk });
    await started.post("/", '{"record":{"value":"Yg=="}}');
    const next = disk.endProcess();
    const hold = next.holdSync();
    const port = started.port;
    await started.node.close().catch(() => {});
    const starting = startTestNode({ disk: next, flags: { "rpc-port": port } });
    await hold.waiting(1);
    const ask = (path: string, method = "GET") => fetch(`http://127.0.0.1:${port}${path}`, { method });
    assert.equal((await ask("/livez")).status, 200);
    assert.equal((await ask("/readyz")).status, 503);
    assert.equal((await ask("/metrics")).status, 200);
    const answer = await ask("/v1/topics");
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get("retry-after"), "1");
    const problem = (await answer.json()) as JsonObject;
    assert.deepEqual([problem["code"], problem["retryable"], problem["outcome"]], ["UNAVAILABLE", true, "not-appended"]);
    assert.equal((await ask("/", "POST")).status, 503);
    // Over gRPC, too: a producer that heard that its topic isn't there would give up.
    const channel = connect({ address: `127.0.0.1:${port}` });
    const record = { value: "c" };
    const refused = await failureOf(produceOnce(channel, { record }));
    assert.deepEqual([refused.code, refused.details["outcome"]], ["UNAVAILABLE", "not-appended"]);
    const stream = await channel.bidiStream(produceStream);
    await stream.send(produceBytes({ record }));
    assert.equal((await failureOf(stream.responses.read())).code, "UNAVAILABLE");
    const client = connectClient(`127.0.0.1:${port}`);
    const patient = client.producer().send(record);
    hold.release();
    await using node = await starting;
    assert.equal((await patient).offset, 2);
    await client.close();
    await channel.close();
    assert.equal((await node.get("/readyz")).status, 200);
    assert.equal((await node.get("/?offset=1")).status, 200);
  });
});

describe("a damaged node", () => {
  test("a damaged partition answers with its error, and the one beside it works", async () => {
    const firstDisk = createSimDisk();
    const first = await startTestNode({ disk: firstDisk });
    for (const topic of ["bad", "good"]) {
      for (const value of ["a", "b"]) await first.post(`/v1/topics/${topic}/records`, { value });
    }
    const store = await storeOf(first, "bad");
    // Not a clean stop, so the next start looks at every frame.
    const disk = firstDisk.endProcess();
    first.node.close().catch(() => {});
    disk.flipBit(store, 200, 3);
    await using node = await startTestNode({ disk });
    assert.equal((await node.get("/readyz")).status, 200);
    for (const answer of [
      await node.get("/v1/topics/bad/records"),
      await node.post("/v1/topics/bad/records", { value: "d" }),
    ]) {
      const problem = JSON.parse(answer.text) as JsonObject;
      assert.equal(answer.status, 500);
      assert.equal(problem["code"], "LOG_CORRUPT");
      assert.equal(problem["outcome"], "not-appended");
    }
    assert.equal((await node.get("/v1/topics/good/records")).status, 200);
    assert.equal((await node.post("/v1/topics/good/records", { value: "c" })).status, 200);
    const { partitions } = await node.json<{ partitions: JsonObject[] }>("GET", "/v1/topics/bad");
    assert.equal(partitions[0]?.["state"], "failed");
    assert.equal((partitions[0]["error"] as JsonObject)["code"], "LOG_CORRUPT");
    assert.equal(await node.metric('proglog_logs{state="failed"}'), 1);
    assert.equal(await node.metric('proglog_logs{state="open"}'), 1);
    assert(
      node.lines.some(
        ({ level, fields, message }) =>
          level === "error" && message === "a log doesn't open" && "topic" in fields && fields.topic === "bad",
      ),
    );
  });

  test("rot that a read finds is answered, counted and logged, and what lies behind it can be read", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    for (const value of ["a", "b", "c"])
      await node.post("/", JSON.stringify({ record: { value: Buffer.from(value).toString("base64") } }));
    const store = await storeOf(node, "default");
    const content = disk.contentOf(store);
    disk.flipBit(store, content.indexOf("b", 128 + 2 * 56 + 61), 3);
    assert.equal((await node.get("/?offset=0")).status, 200);
    const plain = await node.get("/?offset=1");
    assert.equal(plain.status, 500);
    assert.equal(plain.headers["content-type"], "text/plain; charset=utf-8");
    const { records, nextOffset } = await node.json<{ records: JsonObject[]; nextOffset: number }>(
      "GET",
      "/v1/topics/default/records",
    );
    assert.deepEqual([records.length, nextOffset], [1, 1]);
    const problem = JSON.parse((await node.get("/v1/topics/default/records?from=1")).text) as JsonObject;
    assert.equal(problem["code"], "LOG_CORRUPT");
    assert.equal((await node.get("/?offset=2")).status, 200);
    assert((await node.metric("proglog_log_damages_total")) >= 1);
    assert(node.lines.some(({ level, message }) => level === "error" && message === "a log is damaged"));
  });

  test("a partition whose log is missing says so, and isn't made anew", async () => {
    const disk = createMemoryDisk();
    let directory: string;
    {
      await using node = await startTestNode({ disk });
      await node.post("/", '{"record":{"value":"YQ=="}}');
      directory = dirname(await storeOf(node, "default"));
    }
    for (const name of disk.list(directory)) disk.remove(join(directory, name));
    disk.removeDirectory(directory);
    await using node = await startTestNode({ disk });
    const answer = await node.post("/v1/topics/default/records", { value: "b" });
    assert.equal((JSON.parse(answer.text) as JsonObject)["code"], "LOG_NOT_FOUND");
    assert.equal(disk.isDirectory(directory), false);
  });

  test("a damaged manifest, or logs without one, keep the node from starting, and are left as they are", async () => {
    const disk = createSimDisk();
    {
      await using node = await startTestNode({ disk });
      await node.post("/", '{"record":{"value":"YQ=="}}');
    }
    const manifest = disk.contentOf("/data/manifest");
    disk.flipBit("/data/manifest", 50, 0);
    const damaged = disk.contentOf("/data/manifest");
    await assert.rejects(startTestNode({ disk }), { code: "MANIFEST_CORRUPT" });
    assert.deepEqual(disk.contentOf("/data/manifest"), damaged);
    disk.remove("/data/manifest");
    await assert.rejects(startTestNode({ disk }), { code: "MANIFEST_CORRUPT", message: /no manifest/ });
    assert.equal(disk.size("/data/manifest"), undefined);
    const file = disk.open("/data/manifest", "create");
    file.writeSync([manifest], 0);
    file.close();
    await using node = await startTestNode({ disk });
    assert.equal((await node.get("/?offset=0")).status, 200);
  });

  test("a directory of a log that nobody names is reported and left alone", async () => {
    const disk = createMemoryDisk();
    await (await startTestNode({ disk })).node.close();
    await disk.makeDirectory("/data/logs/somebody's copy");
    await using node = await startTestNode({ disk });
    assert.equal(await node.metric("proglog_orphan_logs"), 1);
    const { orphans } = await node.json<{ orphans: JsonObject }>("GET", "/v1/status");
    assert.deepEqual(orphans, { count: 1, names: ["somebody's copy"] });
    assert(node.lines.some(({ level }) => level === "warn"));
    assert.equal(disk.isDirectory("/data/logs/somebody's copy"), true);
  });
});

describe("stopping a node", () => {
  test("reads that wait end at once, with an answer", async () => {
    const node = await startTestNode({ clock: createVirtualClock() });
    await node.post("/v1/topics/orders/records", { value: "a" });
    const headers = { connection: "keep-alive" };
    const waiting = Array.from({ length: 3 }, () => node.get("/v1/topics/orders/records?from=end&waitMs=50000", { headers }));
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 3);
    await node.node.close();
    for (const answer of await Promise.all(waiting)) {
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["connection"], "close");
      assert.deepEqual((JSON.parse(answer.text) as JsonObject)["records"], []);
    }
  });

  test("a produce under way is answered, durable, and there after the restart", async () => {
    const disk = createSimDisk();
    const node = await startTestNode({ disk, clock: createVirtualClock() });
    await node.post("/", '{"record":{"value":"YQ=="}}');
    const hold = disk.holdSync({ path: ".store" });
    const produced = node.post("/", '{"record":{"value":"Yg=="}}');
    await hold.waiting(1);
    const closed = node.node.close();
    hold.release();
    assert.equal((await produced).text, '{"offset":1}\n');
    await closed;
    await using next = await startTestNode({ disk });
    assert.equal((await next.get("/?offset=1")).status, 200);
  });

  test("connections that are idle, silent or amid a head don't hold it up", async () => {
    const node = await startTestNode({ clock: createVirtualClock() });
    const idle = node.connect().write("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await idle.waitFor(/ok\n$/);
    const silent = node.connect();
    const slow = node.connect().write("GET /livez HTTP/1.1\r\nhost:");
    await node.until(async () => (await node.metric("proglog_connections")) === 4);
    await node.node.close();
    for (const socket of [idle, silent, slow]) await socket.closed;
  });

  test("a request that doesn't end is cut off after the grace", async () => {
    const clock = createVirtualClock();
    const node = await startTestNode({ clock });
    const slow = node.connect().write("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{");
    await node.until(async () => (await node.metric("proglog_http_body_bytes")) === 1);
    const closed = node.node.close();
    clock.advance(10_000);
    await closed;
    assert.equal(await slow.closed, "");
  });

  test("a request on an open connection is refused while it stops, to be tried elsewhere", async () => {
    const disk = createSimDisk();
    const node = await startTestNode({ disk, clock: createVirtualClock() });
    await node.post("/", '{"record":{"value":"YQ=="}}');
    const hold = disk.holdSync({ path: ".store" });
    const produced = node.post("/", '{"record":{"value":"Yg=="}}');
    await hold.waiting(1);
    const late = node.connect().write("GET /v1/topics HTTP/1.1\r\nhost: localhost\r\n");
    await node.until(async () => (await node.metric('proglog_connections_accepted_total{protocol="http1"}')) >= 3);
    const closed = node.node.close();
    late.write("\r\n");
    const answer = await late.closed;
    assert.match(answer, /^HTTP\/1\.1 503 /);
    assert.match(answer, /"code":"SHUTTING_DOWN"/);
    assert.match(answer, /connection: close/i);
    hold.release();
    assert.equal((await produced).status, 200);
    await closed;
  });

  test("closing twice is fine, and leaves the port and the directory to others", async () => {
    const disk = createMemoryDisk();
    const node = await startTestNode({ disk });
    await Promise.all([node.node.close(), node.node.close()]);
    await node.node.close();
    await using next = await startTestNode({ disk, flags: { "rpc-port": node.port } });
    assert.equal((await next.get("/readyz")).status, 200);
  });

  test("a clean stop leaves a directory that opens without a scan", async () => {
    const directory = mkdtempSync(join(tmpdir(), "proglog-"));
    try {
      const flags = { "data-dir": directory };
      const node = await startTestNode({ disk: nodeDisk, flags });
      await node.post("/", '{"record":{"value":"YQ=="}}');
      await node.node.close();
      assert.deepEqual(
        readdirSync(directory).filter((name) => !name.startsWith("lock")),
        ["logs", "manifest", "manifest.spare"],
      );
      await using next = await startTestNode({ disk: nodeDisk, flags });
      assert.equal(
        next.lines.some(({ message }) => message === "a log was recovered"),
        false,
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** The first store of a topic's first partition. */
async function storeOf(node: TestNode, topic: string): Promise<string> {
  const { partitions } = await node.json<{ partitions: { uuid: string; topic: string }[] }>("GET", "/v1/status");
  const found = partitions.find((partition) => partition.topic === topic);
  assert(found !== undefined);
  return `/data/logs/${found.uuid}/00000000000000000001.store`;
}
