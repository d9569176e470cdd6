import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { repository } from "./source-code.ts";

/** The command as a process of its own: what only a process can show, signals, pipes and kill -9. */
class Command implements AsyncDisposable {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #changed = Promise.withResolvers<void>();

  constructor(...argv: readonly string[]) {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    this.child = spawn(process.execPath, [join(repository, "src/cli/bin.ts"), ...argv], { stdio: "pipe", env });
    this.child.stdout?.on("data", (chunk: Buffer) => this.#take("stdout", chunk));
    this.child.stderr?.on("data", (chunk: Buffer) => this.#take("stderr", chunk));
    // What it didn't read when it ended is no news.
    this.child.stdin?.on("error", () => {});
    this.#exit = once(this.child, "close").then(([code, signal]) => {
      this.#changed.resolve();
      return { code, signal };
    });
  }

  #take(name: "stdout" | "stderr", chunk: Buffer): void {
    this[name] += chunk.toString();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async waitFor(name: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this[name]);
      if (match !== null) return match;
      assert.equal(
        this.child.exitCode ?? this.child.signalCode,
        null,
        `it ended before it said ${pattern}: ${this.stdout}${this.stderr}`,
      );
      await this.#changed.promise;
    }
  }

  exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#exit;
  }
}

async function serve(folder: string): Promise<{ command: Command; url: string }> {
  const command = new Command("serve", "--data-dir", folder, "--rpc-port", "0", "--log-level", "warn");
  const match = await command.waitFor("stdout", /serves (http:\S+),/);
  return { command, url: match[1] ?? "" };
}

function makeFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "proglog-cli-process-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test("a node stops in good order on SIGTERM and on SIGINT, and gives its directory back", async () => {
  using folder = makeFolder();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const { command } = await serve(folder.path);
    await using _ = command;
    command.child.kill(signal);
    assert.deepEqual(await command.exit(), { code: exitCodes.done, signal: null });
    assert.equal(command.stderr, "");
  }
});

test("a reader that is cut off by head ends quietly", async () => {
  using folder = makeFolder();
  const { command: node, url } = await serve(folder.path);
  await using _ = node;
  await using producer = new Command("produce", "--server", url);
  producer.child.stdin?.end("some line\n".repeat(200_000));
  assert.deepEqual(await producer.exit(), { code: 0, signal: null }, producer.stderr);
  await using consumer = new Command("consume", "--server", url);
  await consumer.waitFor("stdout", /some line\n/);
  consumer.child.stdout?.destroy();
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
  assert.equal(consumer.stderr, "");
});

test("a reader that follows ends well on Ctrl-C", async () => {
  using folder = makeFolder();
  const { command: node, url } = await serve(folder.path);
  await using _ = node;
  await using producer = new Command("produce", "--server", url, "a");
  await producer.exit();
  await using consumer = new Command("consume", "--follow", "--server", url);
  await consumer.waitFor("stdout", /^a\n/);
  consumer.child.kill("SIGINT");
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
});

test("a node killed under load has every acknowledged line when it is back, and the producer says where to go on", async () => {
  using folder = makeFolder();
  const { command: killed, url } = await serve(folder.path);
  await using _killed = killed;
  await using producer = new Command("produce", "--print-offsets", "--server", url);
  const { stdin } = producer.child;
  assert.ok(stdin);
  let line = 0;
  const feed = (): void => {
    while (stdin.writable && stdin.write(`line ${(line += 1)}\n`));
  };
  stdin.on("drain", feed);
  feed();
  await producer.waitFor("stdout", /(?:\d+ \d+\n){5}/);
  killed.child.kill("SIGKILL");
  const { code } = await producer.exit();
  assert.ok(code === exitCodes.unknown || code === exitCodes.unreachable, producer.stderr);

  let acknowledged = 0;
  for (const answer of producer.stdout.trimEnd().split("\n")) {
    const [baseOffset, count] = answer.split(" ").map(Number) as [number, number];
    assert.equal(baseOffset, acknowledged);
    acknowledged += count;
  }
  const grouped = acknowledged.toLocaleString("en-US");
  assert.match(
    producer.stderr,
    new RegExp(`^proglog: UNAVAILABLE: [^\n]+; ${grouped} records acknowledged, offsets 0-${acknowledged - 1}; `),
  );

  const { command: restarted, url: newUrl } = await serve(folder.path);
  await using _restarted = restarted;
  await using consumer = new Command("consume", "--server", newUrl);
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
  const lines = consumer.stdout.split("\n").slice(0, -1);
  assert.ok(lines.length >= acknowledged, `${lines.length} lines of ${acknowledged} acknowledged`);
  assert.deepEqual(
    lines.filter((text, offset) => text !== `line ${offset + 1}`),
    [],
  );
});
