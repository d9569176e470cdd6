import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { MiB } from "../src/base/units.ts";
import { Driver } from "./peers/driver.ts";
import { type Row, rowOf } from "./row.ts";
import type { ServerProcess } from "./server-process.ts";

/** Strangers who all do the same to a node. Whoever is dropped comes back after a while: the one who floods is to have time for it, too. */
export interface Flood {
  readonly name: string;
  readonly strangers: number;
  readonly comeBackMs: number;
  /** Connects, and begins to say what this stranger says. */
  readonly dial: (port: number) => Socket;
}

export interface FloodedNode {
  readonly node: ServerProcess;
  /** As the driver takes it: of a client that has nothing to do with the floods, and is connected before they begin. */
  readonly address: string;
  readonly floods: readonly Flood[];
  readonly rounds: number;
  readonly seconds: number;
}

/**
 * For each flood, what it does to a client who produces one record after the other, and to the node's memory: during it, beside right before
 * it. Strangers and client share the machine with the node, so what they take of the processors counts, too: it is the worst case, not a
 * network's. Throws when the node doesn't survive.
 */
export async function measureFloods({ node, address, floods, rounds, seconds }: FloodedNode): Promise<Row[]> {
  const driver = await Driver.start("proglog", address);
  const produce = { kind: "produce", topic: "one", recordBytes: 100, recordsPerSend: 1, outstanding: 1, seconds } as const;
  const p99 = async (): Promise<number> => (await driver.tell(produce)).p99Us ?? Number.NaN;
  const memory = (which: "now" | "peak"): number => (node.residentBytes(which) ?? Number.NaN) / MiB;
  const rows: Row[] = [];
  try {
    await p99();
    for (const flood of floods) {
      const figures = { alone: [] as number[], flooded: [] as number[], before: [] as number[], peak: [] as number[] };
      let note = "";
      for (let round = 0; round < rounds; round += 1) {
        figures.alone.push(await p99());
        figures.before.push(memory("now"));
        node.forgetPeak();
        const crowd = new Crowd(flood, node.port);
        figures.flooded.push(await p99());
        figures.peak.push(memory("peak"));
        note = crowd.describe();
        await crowd.stop();
      }
      const alone = { what: "without them", figures: figures.alone };
      const before = { what: "before them", figures: figures.before };
      const name = `${flood.name}, produce one at a time, p99`;
      rows.push(
        rowOf({ name, unit: "µs", figures: figures.flooded, ceilings: alone, target: { of: "ratio", atMost: 5 }, note }),
      );
      rows.push(
        rowOf({ name: `${flood.name}, the node's memory at most`, unit: "MiB", figures: figures.peak, ceilings: before }),
      );
    }
    return rows;
  } finally {
    await driver.stop();
  }
}

/** The strangers of one round. */
class Crowd {
  readonly #flood: Flood;
  readonly #port: number;
  readonly #start = performance.now();
  /** Each with when it was connected, once it is. */
  readonly #open = new Map<Socket, number>();
  #dropped = 0;
  #sentBytes = 0;
  #isOver = false;

  constructor(flood: Flood, port: number) {
    this.#flood = flood;
    this.#port = port;
    for (let count = 0; count < flood.strangers; count += 1) this.#add();
  }

  /** What the node made of them. Who is refused is connected for a moment, so only those count who have been there for longer. */
  describe(): string {
    const now = performance.now();
    const seconds = (now - this.#start) / 1000;
    const held = [...this.#open.values()].filter((since) => now - since > aMomentMs).length;
    let sent = this.#sentBytes;
    for (const socket of this.#open.keys()) sent += socket.bytesWritten;
    const rate = (value: number): string => Math.round(value / seconds).toLocaleString("en-US");
    return `in the last round ${held} of ${this.#flood.strangers} connected at its end, ${rate(this.#dropped)} dropped a second, ${rate(sent / 1000)} kB sent a second`;
  }

  /** Resolves when they are gone, and the node has had a moment to see it. */
  async stop(): Promise<void> {
    this.#isOver = true;
    for (const socket of this.#open.keys()) socket.destroy();
    await pause(aMomentMs);
  }

  #add(): void {
    const socket = this.#flood.dial(this.#port);
    this.#open.set(socket, Number.POSITIVE_INFINITY);
    socket.once("connect", () => this.#open.set(socket, performance.now()));
    socket.on("error", () => {});
    socket.once("close", () => {
      this.#open.delete(socket);
      if (this.#isOver) return;
      this.#dropped += 1;
      this.#sentBytes += socket.bytesWritten;
      setTimeout(() => this.#isOver || this.#add(), this.#flood.comeBackMs);
    });
    socket.resume();
  }
}

const aMomentMs = 200;
