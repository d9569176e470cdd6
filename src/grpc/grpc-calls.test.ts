import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bytesMethod, GrpcPair, textMethod } from "../../test/grpc-pair.ts";
import { grpcMessageMaxBytes, grpcStatusDetailsMaxBytes, grpcStatusMessageMaxBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { type CallContext, GrpcStatusError, Metadata, serve, statusCodes } from "./index.ts";

const unary = textMethod("/test.Test/Unary", "unary");
const upload = bytesMethod("/test.Test/Upload", "client-stream");
const download = textMethod("/test.Test/Download", "server-stream");
const chat = textMethod("/test.Test/Chat", "bidi-stream");
const bytes = bytesMethod("/test.Test/Bytes", "unary");

describe("a unary call", () => {
  test("has one request and one response", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(unary, (request) => `hello ${request}`)] });
    const channel = pair.connect();
    assert.equal(await channel.unary(unary, "you"), "hello you");
    assert.deepEqual(await Promise.all(["a", "b", "c"].map((name) => channel.unary(unary, name))), [
      "hello a",
      "hello b",
      "hello c",
    ]);
    await channel.close({ graceMs: 10_000 });
    assert.equal(channel.callCount, 0);
    assert.deepEqual(
      pair.ended.map(({ code }) => code),
      [0, 0, 0, 0],
    );
  });

  test("fails alone when its handler throws at once on a message that was inflated beside the loop", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(bytes, (request) => {
          if (request[0] === 1) throw new GrpcStatusError("ABORTED", "Cannot go on: it is thrown at once");
          return Buffer.from("ok");
        }),
      ],
    });
    const channel = pair.connect();
    await assert.rejects(channel.unary(bytes, Buffer.alloc(1 * MiB, 1), { isCompressing: true }), { status: "ABORTED" });
    assert.equal(String(await channel.unary(bytes, Buffer.alloc(1 * MiB), { isCompressing: true })), "ok");
  });

  test("may be answered later, and by an empty message", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(unary, async (request) => {
          await Promise.resolve();
          return request;
        }),
      ],
    });
    assert.equal(await pair.connect().unary(unary, ""), "");
  });

  test("fails with the status that the handler throws, its details and its trailers", async () => {
    const trailers = Metadata.of({ hint: "ask for 40", "more-bin": Buffer.from([1, 2]) });
    const details = Buffer.from([0x08, 0x0b]);
    await using pair = await GrpcPair.open({
      methods: [
        serve(unary, (request) => {
          throw new GrpcStatusError("OUT_OF_RANGE", `offset out of range: ${request} ☺\n`, { details, trailers });
        }),
      ],
    });
    const received: Metadata[] = [];
    await assert.rejects(pair.connect().unary(unary, "12", { onTrailers: (metadata) => received.push(metadata) }), (error) => {
      assert.ok(error instanceof GrpcStatusError);
      assert.equal(error.code, statusCodes.OUT_OF_RANGE);
      assert.equal(error.status, "OUT_OF_RANGE");
      assert.equal(error.message, "offset out of range: 12 ☺\n");
      assert.deepEqual(error.details, details);
      assert.equal(error.trailers?.get("hint"), "ask for 40");
      assert.deepEqual(error.trailers?.getBytes("more-bin"), Buffer.from([1, 2]));
      assert.equal(error.isUnprocessed, false);
      return true;
    });
    assert.equal(received[0]?.get("hint"), "ask for 40");
  });

  test("leaves out of the trailers what is too much for them", async () => {
    const big = Metadata.of({ "big-bin": Buffer.alloc(4000) });
    const details = Buffer.alloc(grpcStatusDetailsMaxBytes);
    await using pair = await GrpcPair.open({
      methods: [
        serve(unary, (request, call) => {
          call.trailers.tryAppendAll(big);
          const more = request === "more" ? 1 : 0;
          throw new GrpcStatusError("ABORTED", "x".repeat(5000), {
            details: Buffer.alloc(details.length + more),
            trailers: big,
          });
        }),
      ],
    });
    const channel = pair.connect();
    for (const request of ["just", "more"])
      await assert.rejects(channel.unary(unary, request), (error) => {
        assert.ok(error instanceof GrpcStatusError);
        assert.equal(error.status, "ABORTED");
        assert.equal(error.message.length, grpcStatusMessageMaxBytes);
        assert.deepEqual(error.details, request === "just" ? details : undefined);
        assert.equal(error.trailers?.getAllBytes("big-bin").length, 1);
        return true;
      });
  });

  test("carries names twice that mean something else where they stand once", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(unary, (_, call) => {
          for (const value of call.metadata.getAll("authorization")) call.trailers.append("etag", value);
          call.headers.append("age", "1");
          call.headers.append("age", "2");
          return "";
        }),
      ],
    });
    const received: string[][] = [];
    await pair.connect().unary(unary, "", {
      metadata: Metadata.of({ authorization: ["a", "b"] }),
      onHeaders: (headers) => received.push(headers.getAll("age")),
      onTrailers: (trailers) => received.push(trailers.getAll("etag")),
    });
    assert.deepEqual(received, [
      ["1", "2"],
      ["a", "b"],
    ]);
  });

  test("whose large request was inflated first fails with what its handler throws", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(bytes, () => {
          throw new GrpcStatusError("NOT_FOUND", "thrown");
        }),
      ],
    });
    const request = Buffer.alloc(300 * KiB);
    await assert.rejects(pair.connect().unary(bytes, request, { isCompressing: true }), { status: "NOT_FOUND" });
  });

  test("carries a status that isn't on the list through as a number", async () => {
    await using pair = await GrpcPair.open({
      methods: [serve(unary, () => Promise.reject(new GrpcStatusError(404, "offset out of range: 3")))],
    });
    await assert.rejects(pair.connect().unary(unary, ""), { code: 404, status: "UNKNOWN", message: "offset out of range: 3" });
  });

  test("says nothing of what else a handler throws, unless the server is told what it means", async () => {
    const methods = [
      serve(unary, () => {
        throw new Error("secret");
      }),
    ];
    await using pair = await GrpcPair.open({ methods });
    await assert.rejects(pair.connect().unary(unary, ""), {
      status: "UNKNOWN",
      message: "Cannot finish the call: its handler failed",
    });
    await using other = await GrpcPair.open({
      methods,
      statusOf: (error, path) => new GrpcStatusError("DATA_LOSS", `${path} ${(error as Error).name}`),
    });
    await assert.rejects(other.connect().unary(unary, ""), { status: "DATA_LOSS", message: "/test.Test/Unary Error" });
  });

  test("carries metadata both ways, text and bytes", async () => {
    let seen: CallContext | undefined;
    await using pair = await GrpcPair.open({
      methods: [
        serve(unary, (request, call) => {
          seen = call;
          call.headers.set("x-initial", call.metadata.get("x-ask") ?? "");
          for (const value of call.metadata.getAllBytes("x-ask-bin")) call.trailers.append("x-trailing-bin", value);
          return request;
        }),
      ],
    });
    const received: Record<string, Metadata> = {};
    const answer = await pair.connect({ userAgent: "test/1" }).unary(unary, "x", {
      metadata: Metadata.of({ "x-ask": "why", "x-ask-bin": [Buffer.from([0]), Buffer.from([255, 254])] }),
      onHeaders: (headers) => (received["headers"] = headers),
      onTrailers: (trailers) => (received["trailers"] = trailers),
    });
    assert.equal(answer, "x");
    assert.equal(received["headers"]?.get("x-initial"), "why");
    assert.deepEqual(received["trailers"]?.getAllBytes("x-trailing-bin"), [Buffer.from([0]), Buffer.from([255, 254])]);
    assert.equal(seen?.metadata.get("user-agent"), "test/1");
    assert.equal(seen?.path, "/test.Test/Unary");
    assert.equal(seen?.timeLeftMs, undefined);
    assert.ok(seen?.isOver);
  });

  test("to a method or service that isn't there is UNIMPLEMENTED", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(unary, (request) => request)] });
    const channel = pair.connect();
    await assert.rejects(channel.unary({ ...unary, path: "/test.Test/Other" }, ""), {
      status: "UNIMPLEMENTED",
      message: "Cannot call /test.Test/Other: the service test.Test has no such method",
    });
    for (const path of ["/other.Test/Unary", "/test.Test/unary", "//Unary", "/test.Test/Unary/"])
      await assert.rejects(channel.unary({ ...unary, path }, ""), { status: "UNIMPLEMENTED" }, path);
    // HTTP/2 itself knows no path that doesn't begin with a slash.
    await assert.rejects(channel.unary({ ...unary, path: "test.Test/Unary" }, ""), { status: "INTERNAL" });
    assert.equal(await channel.unary(unary, "still here"), "still here");
  });

  test("is sent and answered compressed where both ends say so", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(bytes, (request, call) => {
          call.isCompressing = true;
          return request;
        }),
      ],
    });
    const message = Buffer.alloc(300 * KiB, "compressible ");
    assert.ok((await pair.connect().unary(bytes, message, { isCompressing: true })).equals(message));
  });

  test("whose request can't be encoded leaves nothing behind", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(unary, (request) => request)] });
    const channel = pair.connect();
    const broken = { ...unary, request: { ...unary.request, encode: () => assert.fail("no such shape") } };
    await assert.rejects(channel.unary(broken, ""), { message: "no such shape" });
    assert.equal(await channel.unary(unary, "next"), "next");
  });

  test("whose request can't be decoded, or response encoded, ends with a status, and the server goes on", async () => {
    const failing = {
      encode: () => assert.fail("encoding failed"),
      decode: () => assert.fail("decoding failed"),
    };
    const wrongRequest = textMethod("/test.Test/WrongRequest", "unary");
    const wrongResponse = textMethod("/test.Test/WrongResponse", "unary");
    await using pair = await GrpcPair.open({
      methods: [
        serve({ ...wrongRequest, request: failing }, () => ""),
        serve({ ...wrongResponse, response: failing }, () => ""),
        serve(unary, (request) => request),
      ],
    });
    const channel = pair.connect();
    await assert.rejects(channel.unary(wrongRequest, "abc"), {
      status: "INTERNAL",
      message: "Cannot decode a message of 3 bytes: decoding failed",
    });
    await assert.rejects(channel.unary(wrongResponse, "abc"), { status: "UNKNOWN" });
    assert.equal(await channel.unary(unary, "x"), "x");
  });
});

describe("a message of a size", () => {
  test("at the limit passes both ways, and one byte beyond is refused at either end", async () => {
    const size = bytesMethod("/test.Test/Size", "unary");
    await using pair = await GrpcPair.open({
      methods: [serve(size, (request) => (request.length === 4 ? Buffer.alloc(request.readUInt32BE(0)) : Buffer.from("ok")))],
    });
    const channel = pair.connect();
    const answerOf = (length: number): Promise<Buffer> => {
      const request = Buffer.alloc(4);
      request.writeUInt32BE(length);
      return channel.unary(size, request);
    };
    assert.equal((await channel.unary(size, Buffer.alloc(grpcMessageMaxBytes))).toString(), "ok");
    assert.equal((await answerOf(grpcMessageMaxBytes)).length, grpcMessageMaxBytes);
    await assert.rejects(channel.unary(size, Buffer.alloc(grpcMessageMaxBytes + 1)), {
      status: "RESOURCE_EXHAUSTED",
      message: `Cannot receive a message of ${grpcMessageMaxBytes + 1} bytes: the limit is ${grpcMessageMaxBytes}`,
    });
    await assert.rejects(answerOf(grpcMessageMaxBytes + 1), { status: "RESOURCE_EXHAUSTED" });
    assert.equal((await channel.unary(size, Buffer.alloc(10))).toString(), "ok");
  });

  test("is limited after inflation, too", async () => {
    const limits = { messageMaxBytes: 1 * MiB };
    await using pair = await GrpcPair.open({ methods: [serve(bytes, (request) => request.subarray(0, 1))], limits });
    const channel = pair.connect();
    assert.equal((await channel.unary(bytes, Buffer.alloc(MiB), { isCompressing: true })).length, 1);
    await assert.rejects(channel.unary(bytes, Buffer.alloc(MiB + 1), { isCompressing: true }), {
      status: "RESOURCE_EXHAUSTED",
      message: `Cannot inflate a message: it is of more than ${MiB} bytes`,
    });
  });
});

describe("a stream of requests", () => {
  test("is read one by one and has one response", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(upload, async (requests) => {
          const lengths: number[] = [];
          for await (const request of requests) lengths.push(request.length);
          return Buffer.from(JSON.stringify(lengths));
        }),
      ],
    });
    const call = await pair.connect().clientStream(upload);
    for (const length of [0, 1, 10 * KiB, 300 * KiB]) await call.send(Buffer.alloc(length));
    call.end();
    call.end();
    assert.equal((await call.response).toString(), "[0,1,10240,307200]");
  });

  test("may be read all that is here at a time", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(upload, async (requests) => {
          let count = 0;
          for (;;) {
            const some = await requests.readAvailable();
            if (some.length === 0) return Buffer.from(String(count));
            count += some.length;
          }
        }),
      ],
    });
    const call = await pair.connect().clientStream(upload);
    for (let count = 0; count < 10_000; count += 1) await call.send(Buffer.from([count & 0xff]));
    call.end();
    assert.equal((await call.response).toString(), "10000");
  });

  test("may be answered before it ends: who sends on hears of it", async () => {
    await using pair = await GrpcPair.open({
      methods: [serve(upload, async (requests) => (await requests.read()) ?? Buffer.alloc(0))],
    });
    const call = await pair.connect().clientStream(upload);
    await call.send(Buffer.from("first"));
    assert.equal((await call.response).toString(), "first");
    await assert.rejects(call.send(Buffer.from("second")), { status: "CANCELLED" });
  });

  test("that the handler refuses fails the response", async () => {
    await using pair = await GrpcPair.open({
      methods: [serve(upload, () => Promise.reject(new GrpcStatusError("PERMISSION_DENIED", "not you")))],
    });
    const call = await pair.connect().clientStream(upload);
    await assert.rejects(call.response, { status: "PERMISSION_DENIED", message: "not you" });
  });
});

describe("a stream of responses", () => {
  const counting = serve(download, async (request, responses) => {
    for (let number = 0; number < Number(request); number += 1) await responses.send(String(number));
  });

  test("comes in order, and ends", async () => {
    await using pair = await GrpcPair.open({ methods: [counting] });
    const call = await pair.connect().serverStream(download, "1000");
    const received: string[] = [];
    for await (const response of call.responses) received.push(response);
    assert.deepEqual(
      received,
      Array.from({ length: 1000 }, (_, number) => String(number)),
    );
    assert.equal(await call.responses.read(), undefined);
  });

  test("may be of none", async () => {
    await using pair = await GrpcPair.open({ methods: [counting] });
    const call = await pair.connect().serverStream(download, "0");
    assert.deepEqual(await call.responses.readAvailable(), []);
  });

  test("that fails after some gives those first, and then the status", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(download, async (_, responses) => {
          await responses.send("a");
          await responses.send("b");
          throw new GrpcStatusError("DATA_LOSS", "no more");
        }),
      ],
    });
    const call = await pair.connect().serverStream(download, "");
    assert.equal(await call.responses.read(), "a");
    assert.equal(await call.responses.read(), "b");
    await assert.rejects(call.responses.read(), { status: "DATA_LOSS", message: "no more" });
    await assert.rejects(call.responses.read(), { status: "DATA_LOSS" });
  });

  test("left in the middle is cancelled, and the handler hears of it", async () => {
    const cancelled = Promise.withResolvers<string>();
    await using pair = await GrpcPair.open({
      methods: [
        serve(download, async (_, responses, call) => {
          for (;;) {
            try {
              await responses.send("x".repeat(1000));
              await new Promise((resolve) => void setImmediate(resolve));
            } catch (error) {
              cancelled.resolve(`${(error as GrpcStatusError).status} ${call.signal.aborted} ${call.isOver}`);
              throw error;
            }
          }
        }),
      ],
    });
    const call = await pair.connect().serverStream(download, "");
    for await (const response of call.responses) {
      assert.equal(response.length, 1000);
      break;
    }
    assert.equal(await cancelled.promise, "CANCELLED true true");
    await assert.rejects(call.responses.read(), { status: "CANCELLED" });
  });

  test("of messages in parts is put together", async () => {
    const parts = {
      ...download,
      response: {
        encode: (text: string) => text.split("").map((letter) => Buffer.alloc(5000, letter)),
        decode: (message: Buffer) => `${message.length} ${message[0]} ${message.at(-1)}`,
      },
    };
    await using pair = await GrpcPair.open({
      methods: [
        serve(parts, async (request, responses) => {
          await responses.send(request);
          await responses.send("z");
        }),
      ],
    });
    const call = await pair.connect().serverStream(parts, "abc");
    assert.equal(await call.responses.read(), "15000 97 99");
    assert.equal(await call.responses.read(), "5000 122 122");
    assert.equal(await call.responses.read(), undefined);
  });
});

describe("a call of streams both ways", () => {
  test("goes back and forth, and ends when the client has ended", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(chat, async (requests, responses) => {
          for await (const request of requests) await responses.send(request.toUpperCase());
        }),
      ],
    });
    const call = await pair.connect().bidiStream(chat);
    for (const word of ["a", "b", "c"]) {
      await call.send(word);
      assert.equal(await call.responses.read(), word.toUpperCase());
    }
    call.end();
    assert.equal(await call.responses.read(), undefined);
  });

  test("may be compressed from some message on", async () => {
    await using pair = await GrpcPair.open({
      methods: [
        serve(chat, async (requests, responses, call) => {
          call.isCompressing = true;
          for await (const request of requests) {
            await responses.send(request);
            call.isCompressing = !call.isCompressing;
          }
        }),
      ],
    });
    const call = await pair.connect().bidiStream(chat, { isCompressing: true });
    for (const word of ["a".repeat(100_000), "b", "c".repeat(100_000), ""]) {
      await call.send(word);
      assert.equal(await call.responses.read(), word);
    }
    call.end();
    assert.equal(await call.responses.read(), undefined);
  });

  test("that the server ends first closes on both sides", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(chat, (_, responses) => responses.send("bye"))] });
    const channel = pair.connect();
    const call = await channel.bidiStream(chat);
    assert.equal(await call.responses.read(), "bye");
    assert.equal(await call.responses.read(), undefined);
    await assert.rejects(call.send("x"), { status: "CANCELLED" });
  });
});
