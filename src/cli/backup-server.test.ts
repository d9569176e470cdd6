import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { backupPieceBytes } from "../base/backup-limits.ts";
import { ProglogError } from "../base/error.ts";
import { toProblem } from "../wire/problem.ts";
import { BackupServer } from "./backup-server.ts";

const partition = { topic: "orders", partition: 0, uuid: "00000000-0000-4000-8000-000000000001" };
const piece = { version: "a-0-0", baseIndex: 1, position: 0, endPosition: 100 };

/** A server that answers as the test says. */
async function serving<Result>(
  answer: RequestListener,
  use: (source: BackupServer, port: number) => Promise<Result>,
): Promise<Result> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const choice = { addresses: [{ host: "127.0.0.1", port }], tls: undefined };
  const source = new BackupServer(choice, { signal: new AbortController().signal });
  try {
    return await use(source, port);
  } finally {
    await source.close();
    server.closeAllConnections();
    server.close();
  }
}

describe("a server that a backup is made of", () => {
  test("is told by its own words what is wrong", async () => {
    const problem = toProblem(new ProglogError("CHANGE_IN_PROGRESS", "Cannot copy it", { hint: "Begin again." }));
    await serving(
      (_request, response) => response.writeHead(503).end(JSON.stringify(problem)),
      (source) =>
        assert.rejects(source.log(partition), { code: "CHANGE_IN_PROGRESS", message: "Cannot copy it", hint: "Begin again." }),
    );
  });

  test("is refused when it is none, or too old to know of backups", async () => {
    await serving(
      (_request, response) => response.writeHead(404).end("<html>not found</html>"),
      (source) =>
        assert.rejects(source.topics(), { code: "UNAVAILABLE", message: /it answers 404, and is no proglog server$/ }),
    );
    const problem = toProblem(new ProglogError("ROUTE_NOT_FOUND", "Cannot GET it: there is no such route"));
    await serving(
      (_request, response) => response.writeHead(404).end(JSON.stringify(problem)),
      (source) => assert.rejects(source.topics(), { code: "UNSUPPORTED_FORMAT" }),
    );
    await serving(
      (_request, response) => response.end("<html>welcome</html>"),
      (source) => assert.rejects(source.topics(), { code: "INVALID_ARGUMENT", message: /^Cannot read what the server says/ }),
    );
  });

  test("that gives more than was asked for, or less than it promised, isn't believed", async () => {
    await serving(
      (_request, response) => response.end(Buffer.alloc(backupPieceBytes)),
      async (source) => assert.equal((await source.read(partition, piece)).length, backupPieceBytes),
    );
    await serving(
      (_request, response) => response.end(Buffer.alloc(backupPieceBytes + 1)),
      (source) =>
        assert.rejects(source.read(partition, piece), { code: "UNAVAILABLE", message: /has more than 4194304 bytes$/ }),
    );
    await serving(
      (_request, response) => {
        response.writeHead(200, { "content-length": 100 }).write("half of it");
        response.flushHeaders();
        setImmediate(() => response.destroy());
      },
      (source) => assert.rejects(source.read(partition, piece), { code: "UNAVAILABLE" }),
    );
  });

  test("sends on to who leads, who is then asked at once; round and round it doesn't go", async () => {
    const asked: string[] = [];
    await serving(
      (request, response) => response.end(`from ${request.headers.host}`),
      async (_leader, leaderPort) => {
        await serving(
          (request, response) => {
            asked.push(request.url ?? "");
            response.writeHead(307, { location: `http://127.0.0.1:${leaderPort}${request.url}` }).end();
          },
          async (source) => {
            for (let i = 0; i < 3; i += 1)
              assert.equal(String(await source.read(partition, piece)), `from 127.0.0.1:${leaderPort}`);
          },
        );
      },
    );
    assert.deepEqual(asked, [
      "/v1/backup/topics/orders/partitions/0/store?version=a-0-0&baseIndex=1&position=0&endPosition=100",
    ]);
    let count = 0;
    await serving(
      (request, response) => {
        count += 1;
        response.writeHead(307, { location: `http://${request.headers.host}${request.url}` }).end();
      },
      (source) => assert.rejects(source.read(partition, piece), { code: "UNAVAILABLE" }),
    );
    assert.equal(count, 4);
  });

  test("that is gone is passed over for the next address", async () => {
    await serving(
      (_request, response) => response.end("here"),
      async (_one, port) => {
        const addresses = [1, port].map((number) => ({ host: "127.0.0.1", port: number }));
        const source = new BackupServer({ addresses, tls: undefined }, { signal: new AbortController().signal });
        await assert.rejects(source.read(partition, piece), { code: "UNAVAILABLE" });
        assert.equal(String(await source.read(partition, piece)), "here");
        await source.close();
      },
    );
  });
});
