import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export type DriverOrder =
  | { readonly kind: "create" | "remove"; readonly topic: string }
  | { readonly kind: "batches" }
  | ProduceOrder
  | FillOrder
  | ReadOrder;

export interface ProduceOrder {
  readonly kind: "produce";
  readonly topic: string;
  readonly recordBytes: number;
  /** 1 is a promise per record; more, a promise per so many. */
  readonly recordsPerSend: number;
  /** Records sent and not acknowledged. */
  readonly outstanding: number;
  /** So long new ones are sent. */
  readonly seconds: number;
}

export interface FillOrder {
  readonly kind: "fill";
  readonly topic: string;
  readonly recordBytes: number;
  readonly count: number;
}

export interface ReadOrder {
  readonly kind: "read";
  readonly topic: string;
  readonly count: number;
}

export interface DriverAnswer {
  readonly error?: string;
  readonly recordsPerSecond?: number;
  /** Of a send, where one was outstanding at a time. */
  readonly p50Us?: number;
  readonly p99Us?: number;
  readonly hasBatches?: boolean;
}

/**
 * A client of a peer in a process of its own, which stays: each client's code is as warm in the last round as it gets, and none
 * of them shares its memory and its compiled code with another.
 */
export class Driver {
  readonly #process: ChildProcess;
  #pending: PromiseWithResolvers<DriverAnswer> | undefined;
  #stderr = "";

  private constructor(peer: string, address: string) {
    this.#process = fork(join(import.meta.dirname, "../process/drive.ts"), [peer, address], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#process.stderr?.on("data", (piece: Buffer) => {
      this.#stderr += piece.toString();
    });
    this.#process.on("message", (answer: DriverAnswer) => {
      if (answer.error === undefined) this.#pending?.resolve(answer);
      else this.#pending?.reject(new Error(answer.error));
    });
    this.#process.on("exit", () => this.#pending?.reject(new Error(`the client of ${peer} ended early: ${this.#stderr}`)));
  }

  /** Resolves when it is connected. */
  static async start(peer: string, address: string): Promise<Driver> {
    const driver = new Driver(peer, address);
    await driver.#answer();
    return driver;
  }

  /** One order at a time. Throws what went wrong. */
  async tell(order: DriverOrder): Promise<DriverAnswer> {
    this.#process.send(order);
    return await this.#answer();
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exited;
  }

  #answer(): Promise<DriverAnswer> {
    this.#pending = Promise.withResolvers();
    return this.#pending.promise;
  }
}
