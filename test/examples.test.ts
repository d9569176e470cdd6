import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { type Node, parseConfig, startNode } from "../src/server/index.ts";
import { listFiles, repository } from "./source-code.ts";

const examples = [
  "append-on-condition",
  "consume-and-resume",
  "embed-in-an-app",
  "embed-the-log",
  "event-sourcing",
  "follow-with-signal",
  "keep-your-offset",
  "keep-your-offset-http",
  "live-page",
  "outbox",
  "outbox-http",
  "produce-and-consume",
  "test-with-memory-log",
] as const;

/** Each example runs as its reader would run it: a process of its own, with the package imported by its name. */
describe("examples", () => {
  test("each has a test here", () => {
    // What only other examples import runs with them.
    const files = listFiles("examples/*.ts").filter((path) => path !== "examples/state-file.ts");
    assert.deepEqual(files, examples.map((name) => `examples/${name}.ts`).sort());
  });

  test("embed-the-log appends, reads, and goes on where it was", async () => {
    using folder = new Folder();
    const rest = ["order-1 was placed", "+0 order-1 placed", "+1 order-1 paid", "+2 order-1 (tombstone)"];
    const tail = [...rest, "+3 order-2 a", "+4 order-2 b", "+5 order-2 c", "6 records", "OFFSET_OUT_OF_RANGE"];
    assert.deepEqual(await run("embed-the-log", folder.path), ["opened (created), the next offset is 0", ...tail]);
    assert.deepEqual(await run("embed-the-log", folder.path), ["opened (clean), the next offset is 6", ...tail]);
  });

  test("embed-in-an-app keeps its notes over restarts, and ends in good order when it is told to", async () => {
    using folder = new Folder();
    const start = () => new RunningExample(process.execPath, exampleParameters("embed-in-an-app", folder.path, "0"));
    const put = async (url: string, body: string): Promise<number> => (await fetch(url, { method: "PUT", body })).status;
    {
      await using example = start();
      const [url = "", , count] = (await example.next()).split(" ");
      assert.equal(count, "0");
      const notes = [
        { name: "tea", text: "green" },
        { name: "cake", text: "none" },
        { name: "cake", text: null },
      ];
      for (const note of notes) assert.equal(await put(url, JSON.stringify(note)), 204);
      assert.deepEqual(await (await fetch(url)).json(), { tea: "green" });
      assert.deepEqual(
        [await put(url, "{}"), await put(url, JSON.stringify({ name: "x", text: "y".repeat(2 ** 21) }))],
        [400, 413],
      );
      await using second = start();
      await assert.rejects(second.next(), /LOG_LOCKED/);
      assert.equal(await example.stop(), 0);
    }
    await using example = start();
    const [url = "", , count] = (await example.next()).split(" ");
    assert.equal(count, "1");
    assert.deepEqual(await (await fetch(url)).json(), { tea: "green" });
  });

  test("keep-your-offset counts each record once over several runs", async () => {
    using folder = new Folder();
    const first = ["goes on at offset 0", '{"nextOffset":3,"totals":{"ann":7,"bob":5}}'];
    const second = ["goes on at offset 3", '{"nextOffset":6,"totals":{"ann":14,"bob":10}}'];
    assert.deepEqual(await run("keep-your-offset", folder.path), first);
    assert.deepEqual(await run("keep-your-offset", folder.path), second);
  });

  test("keep-your-offset-http counts each record of a server once over several runs", async () => {
    using folder = new Folder();
    await using node = await startMemoryNode();
    const state = join(folder.path, "counted.json");
    await produce(node, "a", "b");
    assert.deepEqual(await run("keep-your-offset-http", node.url, "orders", state), ['{"nextOffset":2,"count":2}']);
    await produce(node, "c");
    assert.deepEqual(await run("keep-your-offset-http", node.url, "orders", state), ['{"nextOffset":3,"count":3}']);
    assert.deepEqual(await run("keep-your-offset-http", node.url, "orders", state), ['{"nextOffset":3,"count":3}']);
  });

  test("follow-with-signal reads what is appended meanwhile, and ends when it is told to", async () => {
    using folder = new Folder();
    const lines = ["+0 one", "+1 two", "+2 three", "stopped"];
    assert.deepEqual(await run("follow-with-signal", folder.path), lines);
    assert.deepEqual(await run("follow-with-signal", folder.path), lines);
  });

  test("test-with-memory-log passes", async () => {
    const lines = await run("test-with-memory-log");
    assert.ok(
      lines.some((line) => /\bpass 2$/.test(line)),
      lines.join("\n"),
    );
  });

  test("outbox moves each row once, also when the relay died before it deleted it", async () => {
    using folder = new Folder();
    const placed = (id: number, item: string): string => JSON.stringify({ type: "order-placed", id, item });
    const first = ["relayed 2", "relayed 0", placed(1, "tea"), placed(2, "cake")];
    assert.deepEqual(await run("outbox", folder.path), first);
    assert.deepEqual(await run("outbox", folder.path), [...first, placed(3, "tea"), placed(4, "cake")]);
  });

  test("outbox-http moves each row once, also when the relay died before it deleted them and more were placed", async () => {
    using folder = new Folder();
    await using node = await startMemoryNode();
    const file = join(folder.path, "shop.sqlite");
    for (const item of ["tea", "cake"]) assert.deepEqual(await run("outbox-http", file, "place", item), []);
    await assert.rejects(run("outbox-http", file, "relay-and-die", node.url, "orders"), { code: 1 });
    await run("outbox-http", file, "place", "milk");
    const lines = ["relayed 2 from offset 0 on, as before", "relayed 1 from offset 2 on"];
    assert.deepEqual(await run("outbox-http", file, "relay", node.url, "orders"), lines);
    assert.deepEqual(await run("outbox-http", file, "relay", node.url, "orders"), []);
    const placed = ["tea", "cake", "milk"].map((item, i) => JSON.stringify({ type: "order-placed", id: i + 1, item }));
    assert.deepEqual(await consume(node), placed);
  });

  test("event-sourcing lets one of two commands win, and the other decide again", async () => {
    await using node = await startMemoryNode();
    const lines = ["balance 100", "refused at try 2: 80 of 20", "withdrawn at try 1: 80", "balance 20"];
    assert.deepEqual(await run("event-sourcing", node.url, "account-7"), lines);
  });

  test("produce-and-consume sends over gRPC and reads what was sent", async () => {
    await using node = await startMemoryNode();
    const sent = ["sent 2, durable: true", "sent 3 more"];
    const records = ["order-1 placed", "order-1 paid", "order-2 a", "order-2 b", "order-2 c"];
    const linesOf = (count: number): string[] =>
      Array.from({ length: count }, (_, offset) => `+${offset} ${records[offset % records.length]}`);
    assert.deepEqual(await run("produce-and-consume", new URL(node.url).host), [...sent, ...linesOf(5)]);
    assert.deepEqual(await run("produce-and-consume", new URL(node.url).host), [...sent, ...linesOf(10)]);
  });

  test("append-on-condition gives each seat away once", async () => {
    await using node = await startMemoryNode();
    assert.deepEqual(await run("append-on-condition", new URL(node.url).host), ["2 seats taken, 3 asked"]);
  });

  test("consume-and-resume goes on where it was when the node is back", async () => {
    const disk = createMemoryDisk();
    const stopped = await startMemoryNode({ disk });
    await produce(stopped, "one");
    const { host, port } = new URL(stopped.url);
    await using example = new RunningExample(process.execPath, exampleParameters("consume-and-resume", host, "orders"));
    assert.equal(await example.next(), "reads from offset 0");
    assert.equal(await example.next(), "+0 one");
    await stopped.close();
    assert.equal(await example.next(), "lost the node");
    await using node = await startMemoryNode({ disk, port: Number(port) });
    assert.equal(await example.next(), "reads from offset 1");
    await produce(node, "two");
    assert.equal(await example.next(), "+1 two");
  });

  test("live-page serves a page, and a tail that goes on where a browser left it", async () => {
    await using node = await startMemoryNode();
    await produce(node, "one", "two");
    await using example = new RunningExample(process.execPath, exampleParameters("live-page", node.url, "orders", "0"));
    const url = await example.next();
    const page = await fetch(url);
    assert.match(await page.text(), /new EventSource\("\/events"\)/);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);

    const eventsFrom = async (count: number, lastId?: string): Promise<{ id: string; value: string }[]> => {
      const stop = new AbortController();
      const headers = lastId === undefined ? {} : { "last-event-id": lastId };
      const response = await fetch(new URL("/events", url), { headers, signal: stop.signal });
      assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
      const found: { id: string; value: string }[] = [];
      let text = "";
      for await (const piece of response.body ?? []) {
        text += Buffer.from(piece).toString();
        found.length = 0;
        for (const [, id = "", data = ""] of text.matchAll(/^id: (.*)\ndata: (.*)\n\n/gm))
          found.push({ id, value: (JSON.parse(data) as { value: string }).value });
        if (found.length >= count) break;
      }
      stop.abort();
      return found;
    };
    const seen = await eventsFrom(2);
    assert.deepEqual(
      seen.map(({ value }) => value),
      ["one", "two"],
    );
    const next = eventsFrom(1, seen[1]?.id);
    await produce(node, "three");
    assert.deepEqual(
      (await next).map(({ value }) => value),
      ["three"],
    );
    assert.equal((await fetch(new URL("/other", url))).status, 404);
  });

  const hasCurl = spawnSync("curl", ["--version"]).status === 0;
  const curlSkip = hasCurl ? false : "SKIPPED: follow-with-curl needs curl, which isn't installed";
  test("follow-with-curl prints records as they come, and goes on where it was", { skip: curlSkip }, async () => {
    using folder = new Folder();
    await using node = await startMemoryNode();
    const parameters = [join(repository, "examples/follow-with-curl.sh"), node.url, "orders", join(folder.path, "offset")];
    const valueOf = (line: string): unknown => (JSON.parse(line) as { value: string }).value;
    await produce(node, "one", "two");
    {
      await using example = new RunningExample("sh", parameters);
      assert.deepEqual([valueOf(await example.next()), valueOf(await example.next())], ["one", "two"]);
      await produce(node, "three");
      assert.equal(valueOf(await example.next()), "three");
      // The offset is written behind the line: only with the next one is it known to be.
      await produce(node, "four");
      assert.equal(valueOf(await example.next()), "four");
    }
    await using example = new RunningExample("sh", parameters);
    await produce(node, "five");
    const first = valueOf(await example.next());
    // It may have been killed between printing "four" and noting it.
    assert.equal(first === "four" ? valueOf(await example.next()) : first, "five");
  });

  /** The lines that it wrote. Fails when it fails, or says anything on standard error. */
  async function run(name: (typeof examples)[number], ...parameters: readonly string[]): Promise<string[]> {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env; // so that an example may be a test
    const argv = exampleParameters(name, ...parameters);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, argv, { env, cwd: tmpdir() });
    assert.equal(stderr, "");
    return stdout.split("\n").slice(0, -1);
  }

  function exampleParameters(name: (typeof examples)[number], ...parameters: readonly string[]): string[] {
    const preload = pathToFileURL(join(repository, "test/package-source.ts")).href;
    return ["--import", preload, join(repository, "examples", `${name}.ts`), ...parameters];
  }

  function startMemoryNode({ disk = createMemoryDisk(), port = 0 } = {}): Promise<Node> {
    const config = parseConfig({ flags: { "rpc-port": port, "log-level": "silent" } });
    return startNode(config, { disk });
  }

  async function produce(node: Node, ...values: readonly string[]): Promise<void> {
    const body = values.map((value) => `${JSON.stringify({ value })}\n`).join("");
    const headers = { "content-type": "application/x-ndjson" };
    const response = await fetch(`${node.url}/v1/topics/orders/records`, { method: "POST", headers, body });
    assert.equal(response.status, 200, await response.text());
  }

  async function consume(node: Node): Promise<string[]> {
    const response = await fetch(`${node.url}/v1/topics/orders/records`);
    const { records } = (await response.json()) as { records: { value: string }[] };
    return records.map(({ value }) => value);
  }
});

/** An example that goes on until it is stopped. */
class RunningExample implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #stderr = "";

  constructor(command: string, parameters: readonly string[]) {
    // A group of its own: a shell's children are stopped with it.
    const child = spawn(command, parameters, { stdio: ["ignore", "pipe", "pipe"], detached: true, cwd: tmpdir() });
    child.stderr.on("data", (piece: Buffer) => {
      this.#stderr += piece.toString();
    });
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Its next line. Fails when it ends. */
  async next(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done === true) assert.fail(`the example ended: ${this.#stderr}`);
    return line.value;
  }

  /** Asks it to end, and returns the code with which it did. */
  async stop(): Promise<number | null> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    const [code] = (await ended) as [number | null];
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = once(this.#process, "exit");
    process.kill(-pid, "SIGKILL");
    await ended;
  }
}

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "proglog-example-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
