import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command, makeFolder } from "./command-process.ts";
import { findFreePorts } from "./free-ports.ts";
import { repository } from "./source-code.ts";
import { waitUntil } from "./wait-until.ts";

const skip = spawnSync("curl", ["--version"]).status === 0 ? false : "SKIPPED: the page uses curl, which isn't installed";

/** What installs, packs or starts a cluster is tried by hand, and by tests of its own (package.test.ts, cluster-tool.test.ts). */
const leftOut = /^(git clone|cd |make (build|pack|cluster)$|tools\/run-node examples\/|mkdir )/;

test("every command of docs/getting-started.md does what the page says, one after the other", { skip }, async () => {
  const page = readFileSync(join(repository, "docs/getting-started.md"), "utf8");
  using folder = makeFolder();
  const [port = 0] = await findFreePorts(1);
  const serve = () => new Command("serve", "--data-dir", join(folder.path, "data"), "--rpc-port", String(port));
  let node: Command | undefined;
  let following: Follower | undefined;
  try {
    for (const { commands, shown } of stepsOf(page)) {
      let output = "";
      for (const command of commands) {
        if (leftOut.test(command)) continue;
        if (command === "make run") {
          // The second time it is killed first, as hard as can be.
          node?.child.kill("SIGKILL");
          await node?.exit();
          node = serve();
          await node.waitFor("stdout", /serves http:/);
        } else if (command.includes("--follow")) {
          following = new Follower(command, port);
          await waitUntil("it follows", async () => /^proglog_grpc_consume_streams 1$/m.test(await metricsOf(port)));
        } else output += await run(command, port);
      }
      if (commands.includes("make run")) output = node?.stdout.split("\n")[0]?.concat("\n") ?? "";
      if (shown !== undefined) assert.equal(plain(output), plain(shown), commands.join("\n"));
    }
    assert.ok(following !== undefined);
    // It saw what came, and lost the node since.
    await waitUntil("what came was shown", () => following?.shown === "order-1 was shipped\n");
    await waitUntil("it goes on", async () => /^proglog_grpc_consume_streams 1$/m.test(await metricsOf(port)));
  } finally {
    await following?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  }
});

/** A command that goes on until it is stopped, with the shell that it runs in. */
class Follower implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  shown = "";

  constructor(command: string, port: number) {
    this.#child = spawn("sh", ["-c", adapted(command, port)], {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
      env: envFor(port),
    });
    this.#child.stdout?.on("data", (piece: Buffer) => (this.shown += piece.toString()));
    this.#ended = once(this.#child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
    await this.#ended;
  }
}

async function metricsOf(port: number): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

interface Step {
  readonly commands: readonly string[];
  /** What the page shows behind them. */
  readonly shown: string | undefined;
}

function stepsOf(page: string): readonly Step[] {
  const steps = [...page.matchAll(/^```sh\n(.*?)^```\n(.*?)(?=^```|^## |$(?![\s\S]))/gms)].map(
    ([, block = "", behind = ""]) => {
      // The first indented block, if it is what comes next but for words.
      const lines = [...behind.matchAll(/^ {4}(.*)$/gm)].map(([, line = ""]) => line);
      return { commands: block.trimEnd().split("\n"), shown: lines.length === 0 ? undefined : `${lines.join("\n")}\n` };
    },
  );
  assert.ok(steps.filter(({ shown }) => shown !== undefined).length >= 5, "the page shows what comes of its commands");
  return steps;
}

function adapted(command: string, port: number): string {
  return command
    .replaceAll("./bin/proglog", join(repository, "bin/proglog"))
    .replaceAll("http://127.0.0.1:8000", `http://127.0.0.1:${port}`)
    .replaceAll(/\bcurl /g, "curl -sSf --max-time 20 ");
}

function envFor(port: number): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return { ...env, NODE: process.execPath, PROGLOG_SERVER: `127.0.0.1:${port}` };
}

async function run(command: string, port: number): Promise<string> {
  const child = spawn("sh", ["-c", adapted(command, port)], { stdio: ["ignore", "pipe", "pipe"], env: envFor(port) });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (stderr += piece.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  assert.equal(code, 0, `${command}\n${stderr}`);
  return stdout;
}

/** Without what is another each time: where it runs, and when. */
function plain(output: string): string {
  return output
    .replaceAll(/\r?\n\n*/g, "\n")
    .replaceAll(/127\.0\.0\.1:\d+/g, "<address>")
    .replaceAll(/data in \S+/g, "data in <directory>")
    .replaceAll(/"timestamp":\d+/g, '"timestamp":<time>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>");
}
