import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/**
 * Records in a browser as they come: a page of a few lines (live-page.html) and the server that it comes from, which hands the
 * browser a live tail of a topic. The node itself stays on loopback, and the browser has to do with your server only: that is where
 * you check who asks.
 *
 * `node live-page.ts http://127.0.0.1:8000 orders 8080`, then open http://127.0.0.1:8080
 */
const [node = "http://127.0.0.1:8000", topic = "orders", port = "8080"] = process.argv.slice(2);
const page = await readFile(new URL("live-page.html", import.meta.url));

const server = createServer((request, response) => {
  if (request.url === "/") response.setHeader("content-type", "text/html; charset=utf-8").end(page);
  else if (request.url === "/events") void tail(request, response);
  else response.writeHead(404).end();
});
server.listen(Number(port), "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

/** Passes the node's answer on, byte for byte, until either side ends. */
async function tail(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const lastId = request.headers["last-event-id"];
  try {
    const events = await fetch(new URL(`/v1/topics/${topic}/records?partition=0&from=start`, node), {
      headers: { accept: "text/event-stream", ...(lastId !== undefined && { "last-event-id": String(lastId) }) },
      signal: gone.signal,
    });
    response.writeHead(events.status, { "content-type": events.headers.get("content-type") ?? "text/plain" });
    if (events.body === null) response.end();
    else await pipeline(Readable.fromWeb(events.body), response);
  } catch {
    // The browser left, or the node did: then the browser comes back.
    response.destroy();
  }
}
