import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { KiB } from "../src/base/units.ts";

export interface ServerCommand {
  /** For errors. */
  readonly what: string;
  readonly command: string;
  readonly parameters: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where it listens, once it serves. */
  readonly port: number;
}

/**
 * A server that is measured, as a process of its own on this machine. It is ended by its process id and nothing else, also when
 * the benchmark is interrupted: `killServers` is called then.
 */
export class ServerProcess {
  readonly port: number;
  readonly #what: string;
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  #output = "";

  private constructor({ what, command, parameters, env, port }: ServerCommand) {
    this.port = port;
    this.#what = what;
    this.#process = spawn(command, parameters, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    running.add(this.#process);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on("data", (piece: Buffer) => {
        this.#output = (this.#output + piece.toString()).slice(-outputKeptBytes);
      });
    }
    this.#closed = once(this.#process, "close").then(
      () => running.delete(this.#process),
      (error: unknown) => {
        running.delete(this.#process);
        this.#output += String(error);
      },
    );
  }

  /** Resolves when something listens on its port. Throws what it wrote when it ends instead. */
  static async start(command: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(command);
    for (const deadline = performance.now() + startMaxMs; !(await isListening(command.port)); await pause(50)) {
      if (!running.has(server.#process)) throw new Error(`${command.what} ended instead of starting: ${server.#output}`);
      if (performance.now() < deadline) continue;
      await server.stop();
      throw new Error(`${command.what} didn't listen within ${startMaxMs / 1000} s: ${server.#output}`);
    }
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The memory it has now, or at most since it started. Linux only: undefined elsewhere. */
  residentBytes(which: "now" | "peak" = "now"): number | undefined {
    const field = which === "now" ? "VmRSS" : "VmHWM";
    try {
      const status = readFileSync(`/proc/${this.#process.pid}/status`, "latin1");
      return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * KiB;
    } catch {
      return undefined;
    }
  }

  /** The most memory it had counts from now on. Linux only: elsewhere there is none to forget. */
  forgetPeak(): void {
    if (process.platform === "linux") writeFileSync(`/proc/${this.#process.pid}/clear_refs`, "5");
  }

  signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#process.kill(signal);
  }

  /** Processor time that it has had, in seconds. Linux only: undefined elsewhere. */
  cpuSeconds(): number | undefined {
    try {
      const fields = readFileSync(`/proc/${this.#process.pid}/stat`, "latin1")
        .replace(/^.*\) /, "")
        .split(" ");
      // User and system time, in ticks of which Linux has a hundred a second on every machine.
      return (Number(fields[11]) + Number(fields[12])) / 100;
    } catch {
      return undefined;
    }
  }

  /** Resolves when its process is gone. */
  async ended(): Promise<void> {
    await this.#closed;
  }

  /** Asks it to end, and ends it when it doesn't. Throws when it had ended by itself before. */
  async stop(): Promise<void> {
    if (!running.has(this.#process)) throw new Error(`${this.#what} ended before it was told to: ${this.#output}`);
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), stopMaxMs);
    await this.#closed;
    clearTimeout(timer);
  }
}

/** At once, whatever they are doing: for the end of this process. */
export function killServers(): void {
  for (const each of running) each.kill("SIGKILL");
}

/** A port that nobody listens on just now: what isn't told which one it got has to be told which one to take. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const running = new Set<ChildProcess>();
const outputKeptBytes = 4 * KiB;
const startMaxMs = 60_000;
const stopMaxMs = 15_000;

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
