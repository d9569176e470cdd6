import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Stands between a client and a node, and cuts their connections when it is told to. */
export class CuttableProxy implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #sockets = new Set<Socket>();
  readonly #heads: string[] = [];
  #port = 0;
  #isCut = false;

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

  mend(): void {
    this.#isCut = false;
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
    socket.pipe(other).pipe(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
