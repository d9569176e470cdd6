import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { parseConfig, startNode } from "../src/server/index.ts";
import { listFiles, repository } from "./source-code.ts";

const examples = [
  "embed-the-log",
  "follow-with-signal",
  "keep-your-offset",
  "keep-your-offset-http",
  "outbox",
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

  test("keep-your-offset counts each record once over several runs", async () => {
    using folder = new Folder();
    const first = ["goes on at offset 0", '{"nextOffset":3,"totals":{"ann":7,"bob":5}}'];
    const second = ["goes on at offset 3", '{"nextOffset":6,"totals":{"ann":14,"bob":10}}'];
    assert.deepEqual(await run("keep-your-offset", folder.path), first);
    assert.deepEqual(await run("keep-your-offset", folder.path), second);
  });

  test("keep-your-offset-http counts each record of a server once over several runs", async () => {
    using folder = new Folder();
    const config = parseConfig({ flags: { "rpc-port": 0, "log-level": "silent" } });
    await using node = await startNode(config, { disk: createMemoryDisk() });
    const produce = async (...values: readonly string[]): Promise<void> => {
      const body = values.map((value) => `${JSON.stringify({ value })}\n`).join("");
      const headers = { "content-type": "application/x-ndjson" };
      const response = await fetch(`${node.url}/v1/topics/orders/records`, { method: "POST", headers, body });
      assert.equal(response.status, 200, await response.text());
    };
    const state = join(folder.path, "counted.json");
    await produce("a", "b");
    assert.deepEqual(await run("keep-your-offset-http", node.url, "orders", state), ['{"nextOffset":2,"count":2}']);
    await produce("c");
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

  /** The lines that it wrote. Fails when it fails, or says anything on standard error. */
  async function run(name: (typeof examples)[number], ...parameters: readonly string[]): Promise<string[]> {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env; // so that an example may be a test
    const preload = pathToFileURL(join(repository, "test/package-source.ts")).href;
    const argv = ["--import", preload, join(repository, "examples", `${name}.ts`), ...parameters];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, argv, { env, cwd: tmpdir() });
    assert.equal(stderr, "");
    return stdout.split("\n").slice(0, -1);
  }
});

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "proglog-example-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
