import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { CuttableProxy } from "./cuttable-proxy.ts";
import type { PeerConnect } from "../src/server/peer-context.ts";

/**
 * The network between nodes of one process: each dials each through a proxy of its own, so each directed link can be cut (its connections
 * break, none comes about) or stalled (nothing breaks, nothing arrives). Clients don't go through it.
 */
export class PeerLinks implements AsyncDisposable {
  readonly #nameOf: (port: number) => string | undefined;
  readonly #links = new Map<string, Promise<CuttableProxy>>();

  constructor(nameOf: (port: number) => string | undefined) {
    this.#nameOf = nameOf;
  }

  /** What node `from` dials others with. */
  connectFrom(from: string): PeerConnect {
    return async ({ host, port }, signal) => {
      const to = this.#nameOf(port);
      const link = to === undefined ? undefined : await this.#linkOf(from, to, port);
      return dial(host, link?.port ?? port, signal);
    };
  }

  async cut(from: string, to: string, port: number): Promise<void> {
    (await this.#linkOf(from, to, port)).cut();
  }

  async stall(from: string, to: string, port: number): Promise<void> {
    (await this.#linkOf(from, to, port)).stall();
  }

  async mendAll(): Promise<void> {
    for (const link of this.#links.values()) (await link).mend();
  }

  #linkOf(from: string, to: string, port: number): Promise<CuttableProxy> {
    const key = `${from} ${to}`;
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const link = CuttableProxy.open(port);
    this.#links.set(key, link);
    return link;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.#links.values()) await (await link)[Symbol.asyncDispose]();
  }
}

async function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true });
  try {
    await once(socket, "connect", { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
