import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { BareWriter } from "./bare-writer.ts";
import { medianOf } from "./spread.ts";

/**
 * The ceiling of the HTTP door: a server of node:http alone that takes and gives the same bytes. It parses nothing, routes by a
 * word, and keeps nothing but a file.
 *
 *     POST /echo          takes the body and answers
 *     POST /append        writes as many bytes, all that wait together, syncs, and answers each
 *     POST /lines         the same, and parses each line as JSON before
 *     GET  /syncs/<n>     p50 of so many writes and fdatasyncs of 256 bytes, in ms
 *     GET  /answers/<n>   one of the bodies that it was given
 *     GET  /lists/<n>     the records that stand in it, made JSON of anew
 */
export class BareHttpServer {
  readonly #server: Server;
  readonly #writer: BareWriter;
  readonly #answers: readonly Buffer[];
  readonly #lists: readonly (() => Buffer)[];
  #waiting: { readonly bytes: number; readonly response: ServerResponse }[] = [];
  #isWriting = false;

  private constructor(directory: string, answers: readonly Buffer[]) {
    this.#writer = new BareWriter(directory, Buffer.alloc(4 * 1024 * 1024, "0123456789abcdef"));
    this.#answers = answers;
    this.#lists = answers.map(stringifierOf);
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(directory: string, answers: readonly Buffer[]): Promise<BareHttpServer> {
    const server = new BareHttpServer(directory, answers);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.#writer.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const [, route, number] = (request.url ?? "").split("/");
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
      if (route === "echo") answer(response, appended);
      else if (route === "append") this.#append(bytes, response);
      else if (route === "lines") {
        parseLines(Buffer.concat(pieces, bytes).toString());
        this.#append(bytes, response);
      } else if (route === "lists") answer(response, this.#lists[Number(number)]?.() ?? appended);
      else if (route === "syncs") void this.#sync(Number(number), response);
      else answer(response, this.#answers[Number(number)] ?? appended);
    });
  }

  #append(bytes: number, response: ServerResponse): void {
    this.#waiting.push({ bytes, response });
    if (!this.#isWriting) void this.#writeGroups();
  }

  async #writeGroups(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      await this.#writer.write([group.reduce((sum, { bytes }) => sum + bytes, 0)]);
      for (const { response } of group) answer(response, appended);
    }
    this.#isWriting = false;
  }

  async #sync(count: number, response: ServerResponse): Promise<void> {
    const durations = await this.#writer.write(Array.from({ length: count }, () => 256));
    answer(response, Buffer.from(`${medianOf(durations)}`));
  }
}

function parseLines(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}

/** Makes the same text again of what stands in it: one value, or a value a line. */
function stringifierOf(body: Buffer): () => Buffer {
  const values = parseLines(body.toString());
  return () => Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
}

const appended = Buffer.from('{"partition":0,"baseOffset":1000,"count":1,"isDurable":true}\n');

function answer(response: ServerResponse, body: Buffer): void {
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.setHeader("content-length", body.length);
  response.end(body);
}
