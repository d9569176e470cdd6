import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { HeldBytes } from "./held-bytes.ts";
import { RequestBodies } from "./request-bodies.ts";

describe("request bodies", () => {
  test("are counted while they come and until the answer is out", async () => {
    const held = new HeldBytes(100);
    const bodies = new RequestBodies({ bodyMaxBytes: 10, held });
    const request = new FakeRequest();
    const body = request.read(bodies);
    await request.send("abc");
    assert.equal(held.bytes, 3);
    request.stream.end("de");
    assert.equal((await body).toString(), "abcde");
    assert.equal(held.bytes, 5);
    request.response.emit("close");
    assert.equal(held.bytes, 0);
  });

  test("together hold no more than they may: one beyond is refused, and one that ends makes room", async () => {
    const held = new HeldBytes(10);
    const bodies = new RequestBodies({ bodyMaxBytes: 8, held });
    const first = new FakeRequest();
    const taken = first.read(bodies);
    first.stream.end("12345678");
    await taken;
    const second = new FakeRequest();
    const refused = second.read(bodies);
    second.stream.end("123");
    await assert.rejects(refused, { code: "OVERLOADED" });
    second.response.emit("close");
    assert.equal(held.bytes, 8);
    first.response.emit("close");
    const third = new FakeRequest();
    const last = third.read(bodies);
    third.stream.end("123");
    assert.equal((await last).toString(), "123");
  });

  test("of exactly the bound are taken, and one byte more isn't", async () => {
    for (const [size, isTaken] of [
      [10, true],
      [11, false],
    ] as const) {
      for (const headers of [{}, { "content-length": String(size) }]) {
        const held = new HeldBytes(100);
        const bodies = new RequestBodies({ bodyMaxBytes: 10, held });
        const request = new FakeRequest(headers);
        const body = request.read(bodies);
        request.stream.end("x".repeat(size));
        if (isTaken) assert.equal((await body).length, size);
        else await assert.rejects(body, { code: "REQUEST_TOO_LARGE" });
      }
    }
  });

  test("whose client goes away are given up", async () => {
    const held = new HeldBytes(100);
    const bodies = new RequestBodies({ bodyMaxBytes: 10, held });
    const request = new FakeRequest();
    const body = request.read(bodies);
    await request.send("abc");
    request.stream.destroy();
    await assert.rejects(body, { code: "CANCELLED" });
    request.response.emit("close");
    assert.equal(held.bytes, 0);
  });

  test("that are refused are read to their end all the same, so that the client sees the answer", async () => {
    const held = new HeldBytes(100);
    const bodies = new RequestBodies({ bodyMaxBytes: 4, held });
    const request = new FakeRequest();
    const body = request.read(bodies);
    const ended = new Promise((resolve) => request.stream.once("end", resolve));
    const refused = assert.rejects(body, { code: "REQUEST_TOO_LARGE" });
    await request.send("12345");
    await refused;
    request.stream.end("x".repeat(1_000_000));
    await ended;
    assert.equal(held.bytes, 0);
  });
});

/** As much of a request as is read here. */
class FakeRequest {
  readonly stream = new PassThrough();
  readonly response = new EventEmitter();

  constructor(headers: Readonly<Record<string, string>> = {}) {
    Object.assign(this.stream, { headers });
  }

  read(bodies: RequestBodies): Promise<Buffer> {
    return bodies.read(this.stream as unknown as IncomingMessage, this.response as unknown as ServerResponse);
  }

  /** Resolves once it was read. */
  send(text: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.stream.write(text, () => setImmediate(resolve));
    return promise;
  }
}
