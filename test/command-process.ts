import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository } from "./source-code.ts";

/** A process, and what it says. */
export class ChildCommand implements AsyncDisposable {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #changed = Promise.withResolvers<void>();

  constructor(command: string, parameters: readonly string[]) {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    this.child = spawn(command, parameters, { stdio: "pipe", env });
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

/** The command as a process of its own: what only a process can show, signals, pipes and kill -9. */
export class Command extends ChildCommand {
  constructor(...argv: readonly string[]) {
    super(process.execPath, [script, ...argv]);
  }

  /** By way of a command that runs another in its own place, such as nsenter. */
  static behind([launcher = "", ...parameters]: readonly string[], ...argv: readonly string[]): ChildCommand {
    return new ChildCommand(launcher, [...parameters, process.execPath, script, ...argv]);
  }
}

const script = join(repository, "src/cli/bin.ts");

/** A node on a free port, and its URL. */
export async function serve(folder: string): Promise<{ command: Command; url: string }> {
  const command = new Command("serve", "--data-dir", folder, "--rpc-port", "0", "--log-level", "warn");
  const match = await command.waitFor("stdout", /serves (http:\S+),/);
  return { command, url: match[1] ?? "" };
}

/** A folder on a real disk, removed when it goes out of scope, unless somebody wants to look into it. */
export interface Folder extends Disposable {
  readonly path: string;
  keep(): void;
}

export function makeFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "proglog-cli-process-"));
  let isKept = false;
  return {
    path,
    keep: () => {
      isKept = true;
    },
    [Symbol.dispose]: () => {
      if (!isKept) rmSync(path, { recursive: true, force: true });
    },
  };
}
