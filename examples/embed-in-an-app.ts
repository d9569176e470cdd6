import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { isProglogError, openLog } from "proglog/log";

/**
 * A log in an app of yours that keeps nothing else: what happened is appended, and what is the case is folded from it. Here it is notes
 * over HTTP: `PUT /` with `{ "name", "text" }`, `GET /` for all of them.
 *
 * `node embed-in-an-app.ts ./notes 8080`
 */
const [directory = "./notes", port = "8080"] = process.argv.slice(2);
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

// One process has the directory: a second one ends here, with LOG_LOCKED and the pid of the first.
await using log = await openLog(directory, {
  // After a failed write nobody knows what is on the disk. Opening again finds out, so let whoever started this process start it again.
  observer: { poisoned: ({ error }) => stop.abort(error) },
});

const notes = new Map<string, string>();
/** The first offset that isn't in `notes`. */
let nextOffset = log.logStartOffset;
let folding: Promise<void> = Promise.resolve();

/** Takes up what came since the last time. One after the other: two that ask at once would count a record twice. */
function catchUp(): Promise<void> {
  const before = folding.catch(() => {}); // what failed for another is tried anew
  folding = before.then(async () => {
    for await (const { offset, key, value } of log.records({ from: nextOffset })) {
      if (value === null) notes.delete(String(key));
      else notes.set(String(key), String(value));
      nextOffset = offset + 1;
    }
  });
  return folding;
}

await catchUp();
const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    response.writeHead(statusOf(error)).end(`${error instanceof Error ? error.message : String(error)}\n`);
  });
});
server.listen(Number(port), "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port} with ${notes.size} notes`);

if (!stop.signal.aborted) await once(stop.signal, "abort");
server.close();
server.closeIdleConnections();
await once(server, "close"); // requests under way have their answers
if (isProglogError(stop.signal.reason)) process.exitCode = 1;
// `await using` closes the log here: the next start has nothing to recover.

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "PUT") {
    const { name, text } = (await json(request)) as { readonly name?: string; readonly text?: string | null };
    if (name === undefined || text === undefined) throw new SyntaxError("A note has a name and a text");
    // Resolves when it is on the disk; requests that wait at once share one sync. A null value takes the note away.
    await log.append({ key: name, value: text });
    response.writeHead(204).end();
  } else {
    await catchUp();
    response.setHeader("content-type", "application/json").end(`${JSON.stringify(Object.fromEntries(notes))}\n`);
  }
}

/** What the client may do about it: come back later, or change what it sent. */
function statusOf(error: unknown): number {
  if (isProglogError(error, "APPEND_QUEUE_FULL") || isProglogError(error, "OVERLOADED")) return 503;
  if (isProglogError(error, "DISK_FULL")) return 507;
  if (isProglogError(error, "RECORD_TOO_LARGE")) return 413;
  return error instanceof SyntaxError ? 400 : 500;
}
