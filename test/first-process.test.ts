import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { makeFolder, type Folder } from "./command-process.ts";
import { repository } from "./source-code.ts";

const canUnshare = spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0;
const skip = canUnshare ? false : "SKIPPED: only root of a Linux may make a namespace in which a process is the first";

/** As in a container: the first process of its namespace, which signals reach only where it listens to them. */
async function startFirst(...parameters: readonly string[]) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const bin = join(repository, "src/cli/bin.ts");
  const outer = spawn("unshare", ["--pid", "--fork", "--kill-child", process.execPath, bin, ...parameters], {
    stdio: "pipe",
    env,
  });
  await once(outer, "spawn");
  const children = (): string => readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, "utf8").trim();
  return {
    outer,
    ended: once(outer, "exit"),
    terminate: () => process.kill(Number(children()), "SIGTERM"),
    async [Symbol.asyncDispose]() {
      if (outer.exitCode === null && outer.signalCode === null) {
        outer.kill("SIGKILL");
        await once(outer, "exit");
      }
    },
  };
}

test("as the first process of a container a command that listens to no signals ends at SIGTERM", { skip }, async () => {
  // Says nothing, so that whoever asks it waits.
  const silent = createServer();
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  try {
    const { port } = silent.address() as AddressInfo;
    const connected = once(silent, "connection");
    await using first = await startFirst("topics", "list", "--server", `127.0.0.1:${port}`);
    const [socket] = await connected;
    first.terminate();
    const [code] = await first.ended;
    assert.equal(code, 143);
    socket.destroy();
  } finally {
    silent.close();
  }
});

test("as the first process of a container a node stops in good order at SIGTERM", { skip }, async () => {
  using folder: Folder = makeFolder();
  await using first = await startFirst("serve", "--data-dir", folder.path, "--rpc-port", "0", "--log-format", "json");
  await once(first.outer.stdout, "data");
  let said = "";
  first.outer.stderr.on("data", (piece: Buffer) => (said += piece.toString()));
  first.terminate();
  const [code] = await first.ended;
  assert.equal(code, 0);
  assert.match(said, /"msg":"stopped"/);
});
