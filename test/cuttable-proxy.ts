import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Stands between a client and a node, and cuts or stalls their connections when it is told to. */
export class CuttableProxy implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #sockets = new Set<Socket>();
  /** Who came, and the connection made for it. */
  readonly #pairs = new Map<Socket, Socket>();
  readonly #heads: string[] = [];
  #port = 0;
  #isCut = false;
  #isStalled = false;

  static async open(port: number): Promise<CuttableProxy> {
    const proxy = new CuttableProxy();
    proxy.#port = port;
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What each connection began with. */
  get heads(): readonly string[] {
    return this.#heads;
  }

  /** Drops all connections, and all that come until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing passes any more, and nobody is told: as when the packets are lost on the way. What comes waits until `mend`. */
  stall(): void {
    this.#isStalled = true;
    for (const [one, other] of this.#pairs) hold(one, other);
  }

  mend(): void {
    this.#isCut = false;
    if (!this.#isStalled) return;
    this.#isStalled = false;
    for (const [one, other] of this.#pairs) one.pipe(other).pipe(one);
  }

  #accept(socket: Socket): void {
    // An end or a reset of the one is the other's, too.
    socket.on("error", () => {});
    if (this.#isCut) return void socket.destroy();
    const other = connect(this.#port, "127.0.0.1");
    other.on("error", () => {});
    for (const [one, another] of [
      [socket, other],
      [other, socket],
    ] as const) {
      this.#sockets.add(one);
      one.once("close", () => {
        this.#sockets.delete(one);
        another.destroy();
      });
    }
    socket.once("data", (chunk: Buffer) => this.#heads.push(chunk.toString("latin1")));
    this.#pairs.set(socket, other);
    socket.once("close", () => this.#pairs.delete(socket));
    if (this.#isStalled) hold(socket, other);
    else socket.pipe(other).pipe(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}

function hold(one: Socket, other: Socket): void {
  one.unpipe(other).pause();
  other.unpipe(one).pause();
}
