import { PassThrough, Writable } from "node:stream";
import { type Clock, systemClock } from "../base/clock.ts";
import type { CommandIo, StopSignal } from "./command-io.ts";

/** A world for one command, in memory: a test writes its input, reads its output and sends it signals. */
export class MemoryIo implements CommandIo {
  readonly stdin: PassThrough & { isTTY: boolean };
  readonly stdout: MemoryOutput;
  readonly stderr: MemoryOutput;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** What the command wanted the process to end with, at once. */
  exitedWith: number | undefined;
  readonly #stopListeners = new Set<(signal: StopSignal) => void>();
  readonly #reloadListeners = new Set<() => void>();

  /** Without `stdin` the input stays open, and the test writes to it. */
  constructor(
    options: {
      readonly stdin?: string | Buffer;
      readonly isInputTerminal?: boolean;
      readonly isOutputTerminal?: boolean;
      readonly env?: Record<string, string>;
      readonly clock?: Clock;
    } = {},
  ) {
    const { stdin, isInputTerminal = false, isOutputTerminal = false, env = {}, clock = systemClock } = options;
    this.clock = clock;
    this.stdin = Object.assign(new PassThrough(), { isTTY: isInputTerminal });
    if (stdin !== undefined) this.stdin.end(stdin);
    this.stdout = new MemoryOutput(isOutputTerminal);
    this.stderr = new MemoryOutput(isOutputTerminal);
    this.env = env;
  }

  onStopSignal(run: (signal: StopSignal) => void): () => void {
    this.#stopListeners.add(run);
    return () => void this.#stopListeners.delete(run);
  }

  onReloadSignal(run: () => void): () => void {
    this.#reloadListeners.add(run);
    return () => void this.#reloadListeners.delete(run);
  }

  exit(code: number): void {
    this.exitedWith = code;
  }

  /** True when somebody listened; else the process would be gone. */
  send(signal: StopSignal): boolean {
    for (const run of this.#stopListeners) run(signal);
    return this.#stopListeners.size > 0;
  }

  /** Sends SIGHUP. True when somebody listened; else the process would be gone. */
  sendReload(): boolean {
    for (const run of this.#reloadListeners) run();
    return this.#reloadListeners.size > 0;
  }
}

export class MemoryOutput extends Writable {
  readonly isTTY: boolean;
  #bytes = Buffer.alloc(0);
  #waiting: { readonly pattern: RegExp; readonly resolve: (match: RegExpExecArray) => void }[] = [];
  #room: (() => void) | undefined;
  #isHeld = false;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  get text(): string {
    return this.#bytes.toString();
  }

  /** Resolves once what was written matches. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve) => {
      this.#waiting.push({ pattern, resolve });
      this.#answer();
    });
  }

  /** Is a reader that takes nothing, until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#room?.();
    this.#room = undefined;
  }

  /** Is a reader that goes away: writing fails with EPIPE. */
  breakPipe(): void {
    this.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    this.#answer();
    if (this.#isHeld) this.#room = () => done();
    else done();
  }

  #answer(): void {
    this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
      const match = pattern.exec(this.text);
      if (match !== null) resolve(match);
      return match === null;
    });
  }
}
