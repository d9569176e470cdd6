import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

export interface Pushed {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly message: unknown;
}

/** A collector on a free port, which keeps what it is sent and answers as a test says. */
export class OtlpCollector implements AsyncDisposable {
  readonly #server: Server;
  readonly url: string;
  readonly #pushes: Pushed[] = [];
  #waiting: ((pushed: Pushed) => void)[] = [];
  answer: (response: ServerResponse) => void = (response) => void response.end("{}");

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(): Promise<OtlpCollector> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const collector = new OtlpCollector(server);
    server.on("request", (request, response: ServerResponse) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const message: unknown = JSON.parse(gunzipSync(Buffer.concat(chunks)).toString());
        collector.#take({ path: request.url ?? "", headers: request.headers, message });
        collector.answer(response);
      });
    });
    return collector;
  }

  /** The next one, which may have come already. */
  next(): Promise<Pushed> {
    const first = this.#pushes.shift();
    return first === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(first);
  }

  #take(pushed: Pushed): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#pushes.push(pushed);
    else waiting(pushed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
