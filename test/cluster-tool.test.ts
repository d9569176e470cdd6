import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { makeFolder } from "./command-process.ts";
import { findFreePorts } from "./free-ports.ts";
import { repository } from "./source-code.ts";
import { waitUntil } from "./wait-until.ts";

describe("make cluster", () => {
  test("starts three nodes, says what to try, starts again what is killed, and ends them all", async () => {
    using folder = makeFolder();
    const first = await findThreeInARow();
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const flags = ["--data-dir", folder.path, "--port", String(first)];
    const tool = spawn(process.execPath, [join(repository, "tools/cluster/run.ts"), ...flags], { stdio: "pipe", env });
    const exit = once(tool, "exit");
    let said = "";
    for (const output of [tool.stdout, tool.stderr]) output.on("data", (piece: Buffer) => (said += piece.toString()));
    const says = (pattern: RegExp): Promise<RegExpExecArray> =>
      waitUntil(`it says ${pattern}: ${said}`, () => pattern.exec(said) ?? undefined);
    try {
      const [, leader] = await says(/3 nodes, one cluster\. (n[123]) leads its catalog/);
      const [, pid] = await says(/kill -9 (\d+); /);
      process.kill(Number(pid), "SIGKILL");
      await says(new RegExp(`${leader} ended \\(SIGKILL\\), and starts again`));
      const port = first + Number(leader?.slice(1)) - 1;
      await waitUntil("the killed one is gone", async () => !(await isListening(port)));
      await waitUntil("it is back", () => isListening(port));
    } finally {
      tool.kill("SIGTERM");
    }
    assert.deepEqual(await exit, [0, null], said);
    for (let port = first; port < first + 3; port += 1) assert.equal(await isListening(port), false);
  });
});

async function findThreeInARow(): Promise<number> {
  for (;;) {
    const [first = 0, , last = 0] = await findFreePorts(3);
    if (last === first + 2) return first;
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
