import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/**
 * A process of its own for what must start, be measured or die alone. The scripts in `process/` tell what they have to say as
 * lines of JSON on their standard output.
 */
export class Child {
  readonly startedAt: number;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<unknown>;
  #stderr = "";

  /** Starts `process/<script>.ts`. With `descriptors`, under that limit of open files. */
  constructor(script: string, parameters: readonly string[], options: { readonly descriptors?: number } = {}) {
    const command = [process.execPath, join(import.meta.dirname, "process", `${script}.ts`), ...parameters];
    this.startedAt = performance.now();
    this.#process =
      options.descriptors === undefined
        ? spawn(process.execPath, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] })
        : spawn("sh", ["-c", `ulimit -n ${options.descriptors}; exec "$@"`, "sh", ...command], {
            stdio: ["ignore", "pipe", "pipe"],
          });
    const { stdout, stderr } = this.#process;
    if (stdout === null || stderr === null) throw new Error("a child has its output piped");
    stderr.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.#closed = once(this.#process, "close");
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** The next line, parsed. Throws what the process wrote on its standard error when it ends instead. */
  async next<T>(): Promise<T> {
    const line = await this.#lines.next();
    if (line.done !== true) return JSON.parse(line.value) as T;
    await this.#closed;
    throw new Error(`a process of the benchmark ended early: ${this.#stderr}`);
  }

  /** kill -9, whatever it is doing. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#closed;
  }
}
