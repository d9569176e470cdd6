import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { KiB } from "../src/base/units.ts";

/**
 * Stands before nodes on one machine, so that one can be cut off as by a pulled cable: nothing more gets from or to it, and no connection
 * ends. Each node says to others that it listens where its door is. Who opened a connection is told by the name in a node's hello.
 */
export class CuttableNetwork {
  readonly #names: readonly string[];
  readonly #doors: readonly Server[];
  readonly #lines = new Set<Line>();
  #cutOff: string | undefined;

  private constructor(names: readonly string[], doors: readonly Server[]) {
    this.#names = names;
    this.#doors = doors;
  }

  /** A door for each node, in front of the port where it will listen. */
  static async open(nodes: readonly { readonly name: string; readonly port: number }[]): Promise<CuttableNetwork> {
    const doors = nodes.map(() => createServer({ noDelay: true }));
    const network = new CuttableNetwork(
      nodes.map(({ name }) => name),
      doors,
    );
    for (const [i, { name, port }] of nodes.entries()) doors[i]?.on("connection", (near) => network.#join(near, name, port));
    for (const door of doors) {
      door.listen(0, "127.0.0.1");
      await once(door, "listening");
    }
    return network;
  }

  get ports(): readonly number[] {
    return this.#doors.map((door) => (door.address() as AddressInfo).port);
  }

  cut(name: string): void {
    this.#cutOff = name;
    for (const line of this.#lines) this.#hold(line);
  }

  /** Connections that were cut end now: what lies in them is too old to be told from what is new. */
  heal(): void {
    const name = this.#cutOff;
    this.#cutOff = undefined;
    for (const line of this.#lines) if (name !== undefined && isOf(line, name)) end(line);
  }

  async close(): Promise<void> {
    for (const line of this.#lines) end(line);
    await Promise.all(
      this.#doors.map(async (door) => {
        door.close();
        await once(door, "close");
      }),
    );
  }

  #join(near: Socket, to: string, port: number): void {
    const far = connect({ port, host: "127.0.0.1", noDelay: true });
    const line: Line = { near, far, to, from: undefined };
    this.#lines.add(line);
    near.once("data", (first: Buffer) => {
      const hello = first.subarray(0, 4 * KiB);
      line.from = this.#names.find((name) => hello.includes(name));
      this.#hold(line);
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on("data", (piece: Buffer) => {
        // What was under way when the cable was pulled is lost.
        if (this.#isCut(line)) return;
        if (!other.write(piece)) one.pause();
      });
      other.on("drain", () => {
        if (!this.#isCut(line)) one.resume();
      });
      one.on("end", () => {
        if (!this.#isCut(line)) other.end();
      });
      one.on("error", () => {
        if (!this.#isCut(line)) end(line);
      });
      one.on("close", () => {
        if (this.#isCut(line)) return;
        end(line);
        this.#lines.delete(line);
      });
    }
    this.#hold(line);
  }

  #isCut(line: Line): boolean {
    return this.#cutOff !== undefined && isOf(line, this.#cutOff);
  }

  /** Nothing is taken from either end, so whoever sends finds that its messages aren't acknowledged, and nothing else. */
  #hold(line: Line): void {
    if (!this.#isCut(line)) return;
    line.near.pause();
    line.far.pause();
  }
}

interface Line {
  readonly near: Socket;
  readonly far: Socket;
  /** Whose door it came to. */
  readonly to: string;
  /** The node that opened it; undefined for a client. */
  from: string | undefined;
}

function isOf({ from, to }: Line, name: string): boolean {
  return from === name || to === name;
}

function end({ near, far }: Line): void {
  near.destroy();
  far.destroy();
}
