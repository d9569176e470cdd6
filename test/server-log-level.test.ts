import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { logLevelForMaxMs, logLevelForMinMs } from "../src/base/limits.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { startTestNode } from "./test-node.ts";

async function run(argv: readonly string[]) {
  const io = new MemoryIo();
  const code = await main(["log-level", ...argv], io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

function change(body: object) {
  return { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

describe("the log level of a running node", () => {
  test("is shown and changed, and what is logged with it", async () => {
    await using node = await startTestNode();
    const changeCount = () => node.lines.filter(({ message }) => message === "the log level changed").length;
    assert.deepEqual(await node.json("GET", "/v1/log-level"), { level: "info", configured: "info" });
    assert.deepEqual(await node.json("PUT", "/v1/log-level", change({ level: "error" })), {
      level: "error",
      configured: "info",
    });
    assert.equal(changeCount(), 1);
    await node.json("PUT", "/v1/log-level", change({ level: "warn" }));
    assert.equal(changeCount(), 1);
    await node.json("PUT", "/v1/log-level", change({ level: "debug" }));
    assert.equal(changeCount(), 2);
  });

  test("is changed for a while within bounds", async () => {
    await using node = await startTestNode();
    const before = Date.now();
    for (const forMs of [logLevelForMinMs, logLevelForMaxMs]) {
      const { until } = await node.json<{ until: number }>("PUT", "/v1/log-level", change({ level: "debug", forMs }));
      assert.ok(until >= before + forMs);
    }
    for (const body of [
      { level: "debug", forMs: logLevelForMinMs - 1 },
      { level: "debug", forMs: logLevelForMaxMs + 1 },
      { level: "loud" },
      {},
      { level: "info", from: 1 },
    ])
      assert.equal(
        (await node.json<{ code: string }>("PUT", "/v1/log-level", { ...change(body), status: 400 })).code,
        "INVALID_ARGUMENT",
      );
    assert.equal((await node.json<{ level: string }>("GET", "/v1/log-level")).level, "debug");
  });

  test("is shown and changed by the command", async () => {
    await using node = await startTestNode({ flags: { "log-level": "warn" } });
    const server = ["--server", node.node.url];
    assert.deepEqual(await run(server), { code: exitCodes.done, stdout: "warn\n", stderr: "" });
    assert.equal((await run(["info", ...server])).stdout, "info, and warn again when the node is started again\n");
    assert.match((await run(["debug", "--for", "10m", ...server])).stdout, /^debug, and warn again in (10m|599s)\n$/);
    const { level, configured, until } = JSON.parse((await run(["--json", ...server])).stdout) as Record<string, unknown>;
    assert.deepEqual([level, configured, typeof until], ["debug", "warn", "number"]);
    assert.equal((await run(["warn", ...server])).stdout, "warn\n");
  });

  test("isn't changed by a command that is wrong, or to what is no level", async () => {
    await using node = await startTestNode();
    const server = ["--server", node.node.url];
    const loud = await run(["loud", ...server]);
    assert.equal(loud.code, exitCodes.usage);
    assert.match(loud.stderr, /^proglog: INVALID_ARGUMENT: Cannot read the body: level /);
    assert.match((await run(["--for", "10m", ...server])).stderr, /Cannot use --for: there is no level to change to\n$/);
    assert.match((await run(["debug", "--for", "soon", ...server])).stderr, /Cannot use --for "soon": it isn't a duration/);
    assert.deepEqual(await node.json("GET", "/v1/log-level"), { level: "info", configured: "info" });
  });

  test("can't be asked for where nobody answers, and the command says so", async () => {
    const gone = await startTestNode();
    const { url } = gone.node;
    await gone.node.close();
    const { code, stderr } = await run(["--server", url]);
    assert.equal(code, exitCodes.unreachable);
    assert.match(stderr, /^proglog: UNAVAILABLE: Cannot ask for the log level of 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });
});
