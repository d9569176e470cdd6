import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, test } from "node:test";
import { systemClock } from "../base/clock.ts";
import { type ErrorDetails, ProglogError } from "../base/error.ts";
import { silentLogger } from "../base/logger.ts";
import { openHttpAccess } from "./access/http-access.ts";
import { HttpApp, type HttpTimeouts } from "./http-app.ts";
import { Metrics } from "./metrics.ts";

const never = 1_000_000;
const patient: HttpTimeouts = { headersMs: never, requestMs: never, keepAliveMs: never, checkMs: 5 };

/** It doesn't listen itself, and node:http keeps its timeouts only for servers that it thinks do. */
describe("connections handed to the HTTP app", () => {
  test("whose head doesn't end are closed", async () => {
    const answer = await talk({ ...patient, headersMs: 200 }, "GET / HTTP/1.1\r\nhost: localhost\r\n");
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test("whose body doesn't end are closed", async () => {
    // The head's time may not exceed the whole request's.
    const answer = await talk(
      { ...patient, headersMs: 200, requestMs: 200 },
      "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n1",
    );
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test("that are idle after a request are closed", async () => {
    const answer = await talk({ ...patient, keepAliveMs: 200 }, "GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 404 .*404 page not found\n$/s);
  });
});

describe("a request for somebody else", () => {
  const refuse = (details: ErrorDetails) => (): Promise<never> => {
    throw new ProglogError("NOT_LEADER", "Cannot append to orders 0: node b leads it", { details });
  };

  test("is sent to the leader, with its method, path and query", async () => {
    const details = { leaderId: "b", leaderRpcAddr: "127.0.0.1:9002" };
    const answer = await talk(
      { ...patient, keepAliveMs: 200 },
      "GET /v1/x?y=1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
      refuse(details),
    );
    assert.match(answer, /^HTTP\/1\.1 307 .*\r\nlocation: http:\/\/127\.0\.0\.1:9002\/v1\/x\?y=1\r\n/s);
    assert.match(answer, /"status":307,"code":"NOT_LEADER".*"outcome":"not-appended","details":\{"leaderId":"b"/);
  });

  test("is to come back where no leader is known", async () => {
    const answer = await talk(
      { ...patient, keepAliveMs: 200 },
      "GET /v1/x HTTP/1.1\r\nhost: localhost\r\n\r\n",
      refuse({ leaderId: "", leaderRpcAddr: "" }),
    );
    assert.match(answer, /^HTTP\/1\.1 503 .*\r\nretry-after: 1\r\n/s);
  });
});

/** All that an app answers until it closes the connection. */
async function talk(timeouts: HttpTimeouts, bytes: string, onX?: () => Promise<never>): Promise<string> {
  const metrics = new Metrics();
  const app = new HttpApp({
    logger: silentLogger,
    metrics,
    clock: systemClock,
    access: openHttpAccess,
    isLoopbackOnly: true,
    timeouts,
  });
  app.fastify.post("/", (request) => {
    request.raw.resume();
    return new Promise<never>(() => {});
  });
  if (onX !== undefined) app.fastify.get("/v1/x", onX);
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
