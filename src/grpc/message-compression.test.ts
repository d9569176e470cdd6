import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { grpcInflateAtOnceMaxBytes } from "../base/limits.ts";
import { MiB } from "../base/units.ts";
import { deflateMessage, inflateMessage } from "./message-compression.ts";

describe("a compressed message", () => {
  test("comes back as it was, at once when it is small, and from the thread pool when it isn't", async () => {
    const small = Buffer.alloc(grpcInflateAtOnceMaxBytes, "ab");
    const inflated = inflateMessage(deflateMessage(small), MiB);
    assert.ok(Buffer.isBuffer(inflated) && inflated.equals(small));
    const large = Buffer.alloc(grpcInflateAtOnceMaxBytes + 1, "ab");
    const later = inflateMessage(deflateMessage(large), MiB);
    assert.ok(later instanceof Promise);
    assert.ok((await later).equals(large));
  });

  test("of nothing is nothing", () => {
    assert.deepEqual(inflateMessage(deflateMessage(Buffer.alloc(0)), 10), Buffer.alloc(0));
  });

  test("inflates to the limit, and to no byte more", async () => {
    for (const limit of [10, grpcInflateAtOnceMaxBytes, 3 * MiB]) {
      assert.equal((await inflateMessage(gzipSync(Buffer.alloc(limit)), limit)).length, limit);
      await assert.rejects(async () => inflateMessage(gzipSync(Buffer.alloc(limit + 1)), limit), {
        status: "RESOURCE_EXHAUSTED",
        message: `Cannot inflate a message: it is of more than ${limit} bytes`,
      });
    }
  });

  test("that is a bomb is refused", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MiB));
    await assert.rejects(async () => inflateMessage(bomb, 4 * MiB), { status: "RESOURCE_EXHAUSTED" });
  });

  test("that is none, or cut short, is refused", async () => {
    const message = deflateMessage(Buffer.alloc(1000, "ab"));
    for (const broken of [Buffer.from("no gzip"), message.subarray(0, message.length - 9), Buffer.alloc(0)])
      await assert.rejects(async () => inflateMessage(broken, MiB), { status: "INTERNAL" });
  });
});
