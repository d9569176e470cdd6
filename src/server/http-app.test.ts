import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, test } from "node:test";
import { systemClock } from "../base/clock.ts";
import { silentLogger } from "../base/logger.ts";
import { HttpApp, type HttpTimeouts } from "./http-app.ts";
import { Metrics } from "./metrics.ts";

/** It doesn't listen itself, and node:http keeps its timeouts only for servers that it thinks do. */
describe("connections handed to the HTTP app", () => {
  const never = 1_000_000;
  const timeouts: HttpTimeouts = { headersMs: never, requestMs: never, keepAliveMs: never, checkMs: 5 };

  test("whose head doesn't end are closed", async () => {
    const answer = await talk({ ...timeouts, headersMs: 10 }, "GET / HTTP/1.1\r\nhost: localhost\r\n");
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test("whose body doesn't end are closed", async () => {
    // The head's time may not exceed the whole request's.
    const answer = await talk(
      { ...timeouts, headersMs: 10, requestMs: 10 },
      "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n1",
    );
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test("that are idle after a request are closed", async () => {
    const answer = await talk({ ...timeouts, keepAliveMs: 10 }, "GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 404 .*404 page not found\n$/s);
  });
});

/** All that an app answers until it closes the connection. */
async function talk(timeouts: HttpTimeouts, bytes: string): Promise<string> {
  const metrics = new Metrics();
  const app = new HttpApp({ logger: silentLogger, metrics, clock: systemClock, isLoopbackOnly: true, timeouts });
  app.fastify.post("/", (request) => {
    request.raw.resume();
    return new Promise<never>(() => {});
  });
  await app.ready();
  app.serve();
  const server = createServer({ allowHalfOpen: true }, (socket) => app.takeConnection(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.once("close", () => resolve(text));
    socket.write(bytes);
    return await promise;
  } finally {
    server.close();
    await app.close();
    metrics.close();
  }
}
