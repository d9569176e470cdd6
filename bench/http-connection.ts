import { connect, type Socket } from "node:net";
import { once } from "node:events";

export interface HttpAnswer {
  readonly status: number;
  readonly bodyBytes: number;
  /** The body, where it is short enough to be looked at. */
  readonly text: string;
}

/**
 * One connection, one request after the other, and as little as can be done about it: a load generator shares the machine with
 * the server that it loads, and node:http's client costs more than the server does. It counts a body's bytes and keeps none but
 * short ones. It understands answers with a length and chunked ones.
 */
export class HttpConnection {
  readonly #socket: Socket;
  #pending: Buffer = Buffer.alloc(0);
  #answer: { readonly resolve: (answer: HttpAnswer) => void; readonly reject: (error: Error) => void } | undefined;
  /** Of the answer that is coming in; -1 while its head is. */
  #status = -1;
  /** Bytes left of a body with a length, or of a chunk; undefined where the next line tells. */
  #left: number | undefined;
  #isChunked = false;
  #isLastChunk = false;
  #bodyBytes = 0;
  #text = "";

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (piece: Buffer) => this.#take(piece));
    socket.on("error", (error) => this.#answer?.reject(error));
    socket.on("close", () => this.#answer?.reject(new Error("the server closed the connection")));
  }

  static async open(url: URL): Promise<HttpConnection> {
    const socket = connect(Number(url.port), url.hostname);
    await once(socket, "connect");
    return new HttpConnection(socket);
  }

  /** Sends a whole request, head and body, and waits for its answer. */
  async ask(request: Buffer): Promise<HttpAnswer> {
    return await new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#answer = undefined;
    this.#socket.destroy();
  }

  #take(piece: Buffer): void {
    this.#pending = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    while (this.#step()) {
      // Until what is there doesn't suffice.
    }
  }

  /** True when something was taken, and there may be more to take. */
  #step(): boolean {
    if (this.#status < 0) return this.#takeHead();
    if (this.#left === undefined) return this.#takeChunkSize();
    if (this.#left > 0) return this.#takeBody(this.#left);
    if (!this.#isChunked || this.#isLastChunk) return this.#finish();
    this.#left = undefined;
    return true;
  }

  #takeHead(): boolean {
    const end = this.#pending.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = this.#pending.toString("latin1", 0, end);
    this.#pending = this.#pending.subarray(end + 4);
    this.#status = Number(head.slice(9, 12));
    this.#isChunked = /^transfer-encoding: *chunked/im.test(head);
    this.#left = this.#isChunked ? undefined : Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    return true;
  }

  /** A chunk is its size, a line's end, its bytes, and a line's end, which is counted with it. */
  #takeChunkSize(): boolean {
    const end = this.#pending.indexOf("\r\n");
    if (end < 0) return false;
    const size = Number.parseInt(this.#pending.toString("latin1", 0, end), 16);
    this.#pending = this.#pending.subarray(end + 2);
    this.#isLastChunk = size === 0;
    this.#bodyBytes -= 2;
    this.#left = size + 2;
    return true;
  }

  #takeBody(left: number): boolean {
    const taken = Math.min(left, this.#pending.length);
    if (taken === 0) return false;
    if (this.#text.length < shortBytes) this.#text += this.#pending.toString("utf8", 0, Math.min(taken, shortBytes));
    this.#pending = this.#pending.subarray(taken);
    this.#left = left - taken;
    this.#bodyBytes += taken;
    return true;
  }

  #finish(): boolean {
    const answer = { status: this.#status, bodyBytes: this.#bodyBytes, text: this.#text };
    this.#status = -1;
    this.#isLastChunk = false;
    this.#bodyBytes = 0;
    this.#text = "";
    const waiting = this.#answer;
    this.#answer = undefined;
    waiting?.resolve(answer);
    return this.#pending.length > 0;
  }
}

const shortBytes = 500;
