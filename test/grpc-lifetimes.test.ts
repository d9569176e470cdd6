import assert from "node:assert/strict";
import { once } from "node:events";
import {
  constants,
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import {
  grpcBackoffStartMs,
  grpcClientCallsMaxCount,
  grpcConnectMaxMs,
  grpcKeepaliveMs,
  grpcKeepaliveTimeoutMs,
  grpcReceiveQueueBytes,
  grpcSendHeldMaxBytes,
  grpcSendQueueBytes,
} from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import {
  type CallContext,
  connect,
  GrpcServer,
  type GrpcStatusError,
  grpcServerLimits,
  serve,
  statusCodes,
} from "../src/grpc/index.ts";
import { bytesMethod, GrpcPair, textMethod } from "./grpc-pair.ts";
import {
  frame,
  frameFlags,
  frameTypes,
  preface,
  type RawFrame,
  RawHttp2,
  readFrames,
  settingsFrame,
  uint32Frame,
  unaryCall,
} from "./raw-http2.ts";

/** Deadlines, cancellation, connections that come and go, and who waits for whom. */

const echo = textMethod("/test.Test/Echo", "unary");
const hang = textMethod("/test.Test/Hang", "unary");
const chat = textMethod("/test.Test/Chat", "bidi-stream");
const blobs = bytesMethod("/test.Test/Blobs", "server-stream");
const upload = bytesMethod("/test.Test/Upload", "client-stream");

/** A handler that answers when the test says so, and tells what became of its calls. */
class Hanging {
  readonly calls: CallContext[] = [];
  readonly #waiting: ((answer: string) => void)[] = [];
  #onCall: (() => void) | undefined;

  readonly served = serve(hang, (_, call) => {
    this.calls.push(call);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.push(resolve);
    this.#onCall?.();
    return promise;
  });

  async called(count: number): Promise<void> {
    while (this.calls.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onCall = resolve;
      await promise;
    }
  }

  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve("answered");
  }
}

/** Resolves when the call is over at the server. */
async function over(call: CallContext): Promise<void> {
  if (!call.signal.aborted) await once(call.signal, "abort");
}

describe("a deadline", () => {
  test("reaches the server, and ends the call at both ends with DEADLINE_EXCEEDED", async () => {
    const hanging = new Hanging();
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [hanging.served], clock });
    const call = pair.connect({ clock }).unary(hang, "", { timeoutMs: 500 });
    await hanging.called(1);
    const [atServer] = hanging.calls;
    assert.ok(atServer !== undefined);
    assert.equal(atServer.timeLeftMs, 500);
    clock.advance(499);
    assert.equal(atServer.timeLeftMs, 1);
    assert.equal(atServer.isOver, false);
    clock.advance(20);
    await assert.rejects(call, { status: "DEADLINE_EXCEEDED" });
    assert.ok(atServer.isOver && atServer.signal.aborted);
    hanging.answer();
  });

  test("of the client alone counts, too: its call is reset at the server", async () => {
    const hanging = new Hanging();
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [hanging.served] });
    const call = pair.connect({ clock }).unary(hang, "", { timeoutMs: 60_000 });
    await hanging.called(1);
    clock.advance(60_010);
    await assert.rejects(call, { status: "DEADLINE_EXCEEDED" });
    await over(hanging.calls[0] as CallContext);
    assert.equal(pair.ended[0]?.code ?? 1, 1);
  });

  test("of the server alone is a status that the client gets", async () => {
    const hanging = new Hanging();
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [hanging.served], clock });
    const call = pair.connect().unary(hang, "", { timeoutMs: 20_000 });
    await hanging.called(1);
    clock.advance(20_010);
    await assert.rejects(call, { status: "DEADLINE_EXCEEDED", message: "Cannot finish the call: its deadline has passed" });
  });

  test("that is over before there is a connection ends the call", async () => {
    const clock = createVirtualClock();
    await using silent = await Listening.open(() => {});
    await using channel = connect({ address: silent.address, clock });
    const call = channel.unary(echo, "", { timeoutMs: 100 });
    clock.advance(110);
    await assert.rejects(call, { status: "DEADLINE_EXCEEDED" });
  });
});

describe("a cancellation", () => {
  test("by the signal ends the call at both ends", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served] });
    const controller = new AbortController();
    const call = pair.connect().unary(hang, "", { signal: controller.signal });
    await hanging.called(1);
    controller.abort();
    await assert.rejects(call, { status: "CANCELLED" });
    await over(hanging.calls[0] as CallContext);
    // What the handler answers now goes nowhere.
    hanging.answer();
  });

  test("before the call is made makes none", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served] });
    const channel = pair.connect();
    await assert.rejects(channel.unary(hang, "", { signal: AbortSignal.abort() }), { status: "CANCELLED" });
    await channel.ready();
    await assert.rejects(channel.unary(hang, "", { signal: AbortSignal.abort() }), { status: "CANCELLED" });
    assert.equal(channel.callCount, 1, "the stream that was made for it is closing");
  });

  test("of a stream ends the handler's reading with CANCELLED, not with its end", async () => {
    const heard = Promise.withResolvers<unknown>();
    await using pair = await GrpcPair.open({
      methods: [
        serve(chat, async (requests, responses) => {
          try {
            for await (const request of requests) await responses.send(request);
            heard.resolve("ended");
          } catch (error) {
            heard.resolve((error as GrpcStatusError).status);
          }
        }),
      ],
    });
    const call = await pair.connect().bidiStream(chat);
    await call.send("a");
    assert.equal(await call.responses.read(), "a");
    call.cancel();
    await assert.rejects(call.responses.read(), { status: "CANCELLED" });
    assert.equal(await heard.promise, "CANCELLED");
  });

  test("resets the stream, and doesn't end it first as if all had been sent", async () => {
    const received: Buffer[] = [];
    await using server = await Listening.open((socket) => {
      socket.on("data", (chunk: Buffer) => received.push(chunk));
      socket.write(settingsFrame([]));
    });
    await using channel = connect({ address: server.address });
    const call = await channel.clientStream(upload);
    await call.send(Buffer.from("half"));
    const framesOf = (): RawFrame[] => readFrames(Buffer.concat(received).subarray(preface.length));
    while (!framesOf().some(({ type }) => type === frameTypes.data)) await turn();
    call.cancel();
    await assert.rejects(call.response, { status: "CANCELLED" });
    while (!framesOf().some(({ type }) => type === frameTypes.rstStream)) await turn();
    const ends = framesOf().filter(({ type, flags }) => type === frameTypes.data && (flags & frameFlags.endStream) !== 0);
    assert.deepEqual(ends, []);
  });
});

describe("a client that ends its side and resets it in one breath, as node:http2 does", () => {
  test("has cancelled the call: its handler isn't told that all was sent", async () => {
    const heard = Promise.withResolvers<unknown>();
    await using pair = await GrpcPair.open({
      methods: [
        serve(upload, async (requests) => {
          try {
            for await (const _ of requests);
            heard.resolve("ended");
          } catch (error) {
            heard.resolve((error as GrpcStatusError).status);
          }
          return Buffer.alloc(0);
        }),
      ],
    });
    await using raw = await RawHttp2.open(pair.port);
    raw.write(unaryCall(1, upload.path, "half"), uint32Frame("rstStream", 1, constants.NGHTTP2_CANCEL));
    assert.equal(await heard.promise, "CANCELLED");
  });
});

describe("a lost connection", () => {
  test("ends its calls with UNAVAILABLE at the client and CANCELLED at the server, and the next call makes another", async () => {
    const hanging = new Hanging();
    const heard = Promise.withResolvers<unknown>();
    await using pair = await GrpcPair.open({
      methods: [
        hanging.served,
        serve(echo, (request) => request),
        serve(upload, async (requests) => {
          const all: Buffer[] = [];
          try {
            for await (const request of requests) all.push(request);
            heard.resolve("ended");
          } catch (error) {
            heard.resolve((error as GrpcStatusError).status);
          }
          return Buffer.concat(all);
        }),
      ],
    });
    const channel = pair.connect();
    const call = channel.unary(hang, "");
    const stream = await channel.clientStream(upload);
    await stream.send(Buffer.from("half of what was to come"));
    await hanging.called(1);
    pair.cut();
    await assert.rejects(call, { status: "UNAVAILABLE", isUnprocessed: false });
    await assert.rejects(stream.response, { status: "UNAVAILABLE" });
    await over(hanging.calls[0] as CallContext);
    assert.equal(await heard.promise, "CANCELLED");
    assert.equal(await channel.unary(echo, "again"), "again");
  });

  test("is found out by a ping that nobody answers", async () => {
    const clock = createVirtualClock();
    // Speaks HTTP/2 as far as it must, and then no more: a machine that lost its power.
    await using silent = await Listening.open((socket) => socket.write(settingsFrame([])));
    await using channel = connect({ address: silent.address, clock });
    await channel.ready();
    const call = channel.unary(hang, "");
    // Makes the ping; its time counts from there.
    clock.advance(grpcKeepaliveMs);
    clock.advance(grpcKeepaliveTimeoutMs);
    await assert.rejects(call, { status: "UNAVAILABLE", message: "Cannot finish /test.Test/Hang: the connection was lost" });
  });
});

describe("a server that goes in peace", () => {
  test("sees its calls through, takes no new ones, and closes its connections", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served, serve(echo, (request) => request)] });
    const channel = pair.connect();
    const call = channel.unary(hang, "");
    await hanging.called(1);
    const drained = pair.server.drain({ limitMs: 60_000 });
    // The client hears of it, and makes a connection of its own for the next call, which is asked to go at once, too.
    hanging.answer();
    assert.equal(await call, "answered");
    await drained;
    assert.equal(pair.server.sessionCount, 0);
  });

  test("ends with UNAVAILABLE what isn't done in time", async () => {
    const hanging = new Hanging();
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [hanging.served], clock });
    const channel = pair.connect();
    const call = channel.unary(hang, "");
    await hanging.called(1);
    const drained = pair.server.drain({ limitMs: 5_000 });
    clock.advance(5_000);
    await assert.rejects(call, { status: "UNAVAILABLE" });
    await drained;
    assert.equal(pair.server.sessionCount, 0);
  });

  test("names the last call that it took, and takes none that crosses its GOAWAY", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served, serve(echo, (request) => request)] });
    await using raw = await RawHttp2.open(pair.port);
    raw.write(unaryCall(1, hang.path, ""));
    await hanging.called(1);
    const drained = pair.server.drain({ limitMs: 60_000 });
    assert.equal((await raw.frame("goaway")).payload.readUInt32BE(0), 1);
    raw.write(unaryCall(3, echo.path, "crossing"));
    await turns(10);
    hanging.answer();
    assert.equal((await raw.frame("data", 1)).payload.toString("latin1", 5), "answered");
    await raw.closed();
    assert.equal(pair.ended.length, 1);
    await drained;
  });

  test("leaves a call that it never saw to be made elsewhere", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served, serve(echo, (request) => request)] });
    const channel = pair.connect();
    const call = channel.unary(hang, "");
    await hanging.called(1);
    // In one turn: the client on node:http2 can't send the request any more when it hears of the GOAWAY.
    const drained = pair.server.drain({ limitMs: 60_000 });
    await assert.rejects(channel.unary(echo, "late"), { status: "UNAVAILABLE", isUnprocessed: true });
    hanging.answer();
    assert.equal(await call, "answered");
    await drained;
  });

  test("without a call under way closes at once", async () => {
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [serve(echo, (request) => request)], clock });
    const channel = pair.connect();
    await channel.ready();
    await pair.server.drain({ limitMs: 60_000 });
    assert.equal(pair.server.sessionCount, 0);
  });

  test("closed at once ends its calls with UNAVAILABLE; twice is fine", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served] });
    const call = pair.connect().unary(hang, "");
    await hanging.called(1);
    const closed = pair.server.close();
    await assert.rejects(call, { status: "UNAVAILABLE" });
    await closed;
    await pair.server.close();
  });
});

describe("an old or idle connection", () => {
  test("is asked to go, and the client makes another for its next call", async () => {
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({ methods: [serve(echo, (request) => request)], clock, random: fixedRandom });
    const channel = pair.connect();
    for (const ageMs of [grpcServerLimits.idleMaxMs, grpcServerLimits.connectionAgeMaxMs]) {
      assert.equal(await channel.unary(echo, "x"), "x");
      while (pair.server.callCount > 0) await turn();
      // Its pings are answered on the way.
      for (let passedMs = 0; passedMs < ageMs && pair.server.sessionCount > 0; passedMs += 10_000) {
        clock.advance(10_000);
        await turns(10);
      }
      while (pair.server.sessionCount > 0) await turn();
    }
    assert.deepEqual(pair.refused, []);
    assert.equal(await channel.unary(echo, "y"), "y");
  });

  test("isn't, while it has a call and isn't old", async () => {
    const clock = createVirtualClock();
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served], clock, random: fixedRandom });
    const call = pair.connect().unary(hang, "");
    await hanging.called(1);
    for (let passedMs = 0; passedMs < 2 * grpcServerLimits.idleMaxMs; passedMs += 10_000) {
      clock.advance(10_000);
      await turns(10);
    }
    assert.equal(pair.server.callCount, 1);
    hanging.answer();
    assert.equal(await call, "answered");
  });
});

describe("a channel", () => {
  test("to where nobody listens fails with UNAVAILABLE, and tries again only after a while", async () => {
    const clock = createVirtualClock();
    const gone = await Listening.open(() => {});
    const { address } = gone;
    await gone[Symbol.asyncDispose]();
    await using channel = connect({ address, clock, random: fixedRandom });
    const expected = { status: "UNAVAILABLE", isUnprocessed: true, message: new RegExp(`Cannot connect to 127.0.0.1 port`) };
    await assert.rejects(channel.unary(echo, ""), expected);
    assert.equal(clock.timerCount, 1, "the wait before the next try");
    await assert.rejects(channel.unary(echo, ""), expected);
    assert.equal(clock.timerCount, 1);
    clock.advance(grpcBackoffStartMs);
    assert.equal(clock.timerCount, 0, "without a call nobody tries");
    await assert.rejects(channel.unary(echo, ""), expected);
  });

  test("lets a patient call wait until there is a server", async () => {
    const clock = createVirtualClock();
    const gone = await Listening.open(() => {});
    await gone[Symbol.asyncDispose]();
    await using channel = connect({ address: gone.address, clock, random: fixedRandom });
    const failed = assert.rejects(channel.unary(echo, ""), { status: "UNAVAILABLE" });
    const call = channel.unary(echo, "waited", { isPatient: true });
    await failed;
    assert.equal(channel.callCount, 1);
    const server = new GrpcServer({ methods: [serve(echo, (request) => request)] });
    await using _listening = await Listening.open((socket) => server.acceptSocket(socket), gone.port);
    clock.advance(grpcBackoffStartMs);
    assert.equal(await call, "waited");
    await channel.close();
    await server.close();
  });

  test("gives up on a server that never speaks", async () => {
    const clock = createVirtualClock();
    await using silent = await Listening.open(() => {});
    await using channel = connect({ address: silent.address, clock });
    const call = channel.unary(echo, "");
    clock.advance(grpcConnectMaxMs);
    await assert.rejects(call, { status: "UNAVAILABLE", message: /it took longer than/ });
  });

  test("says what it found where there is no HTTP/2", async () => {
    for (const answer of ["HTTP/1.1 400 Bad Request\r\n\r\n", ""]) {
      await using wrong = await Listening.open((socket) => socket.end(answer));
      await using channel = connect({ address: wrong.address });
      await assert.rejects(channel.unary(echo, ""), { status: "UNAVAILABLE" });
    }
  });

  test("takes as many calls as the limit says, and not one more", async () => {
    await using silent = await Listening.open(() => {});
    await using channel = connect({ address: silent.address });
    const calls = Array.from({ length: grpcClientCallsMaxCount }, () => channel.unary(echo, ""));
    await assert.rejects(channel.unary(echo, ""), { status: "RESOURCE_EXHAUSTED" });
    assert.equal(channel.callCount, grpcClientCallsMaxCount);
    const settled = Promise.allSettled(calls);
    await channel.close();
    for (const result of await settled) assert.equal(result.status, "rejected");
    assert.equal(channel.callCount, 0);
  });

  test("makes more calls than the server takes at a time: the others wait for their turn", async () => {
    const hanging = new Hanging();
    await using pair = await GrpcPair.open({ methods: [hanging.served], limits: { streamsMaxCount: 10 } });
    const channel = pair.connect();
    await channel.ready();
    const calls = Array.from({ length: 35 }, () => channel.unary(hang, ""));
    for (let count = 10; hanging.calls.length < 35; count = Math.min(35, count + 10)) {
      await hanging.called(count);
      assert.ok(pair.server.callCount <= 10);
      hanging.answer();
    }
    hanging.answer();
    assert.equal((await Promise.all(calls)).length, 35);
  });

  test("given up while it connects leaves no connection behind", async () => {
    const closed = Promise.withResolvers<void>();
    await using silent = await Listening.open((socket) => void socket.on("close", () => closed.resolve()).resume());
    const channel = connect({ address: silent.address });
    const call = assert.rejects(channel.unary(echo, ""), { status: "UNAVAILABLE" });
    await turns(10);
    await channel.close();
    await call;
    await closed.promise;
  });

  test("closed refuses calls, and closing twice is fine", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(echo, (request) => request)] });
    const channel = pair.connect();
    assert.equal(await channel.unary(echo, "x"), "x");
    await channel.close();
    await channel.close();
    await assert.rejects(channel.unary(echo, ""), {
      status: "UNAVAILABLE",
      message: "Cannot make the call: the channel is closed",
    });
  });

  test("is refused an address that is none", () => {
    for (const address of ["", "localhost", "localhost:", ":8000", "a:b:1", "localhost:99999", "http://localhost:1"])
      assert.throws(() => connect({ address }), { status: "INVALID_ARGUMENT" }, address);
  });

  test("makes a call once more that the server refused to take", async () => {
    let count = 0;
    await using pair = await GrpcPair.open({ methods: [serve(echo, (request) => request)] });
    // In front of it: refuses the first stream of each connection, as a server does that is full.
    await using proxy = await Http2Listening.open((stream, headers, raw) => {
      count += 1;
      if (count === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else pair.server.acceptStream(stream, headers, raw);
    });
    await using channel = connect({ address: proxy.address });
    assert.equal(await channel.unary(echo, "x"), "x");
    assert.equal(count, 2);
  });

  test("makes a call once more that was behind the last one that the server took notice of, and not a third time", async () => {
    let count = 0;
    await using server = await Listening.open((socket) => {
      count += 1;
      socket.write(settingsFrame([]));
      // At the first bytes of the call: no call was taken, and there is something wrong with the connection.
      const calm = Buffer.alloc(8);
      calm.writeUInt32BE(constants.NGHTTP2_ENHANCE_YOUR_CALM, 4);
      let receivedBytes = 0;
      socket.on("data", (chunk: Buffer) => {
        receivedBytes += chunk.length;
        if (receivedBytes > 200) socket.end(frame("goaway", 0, 0, calm));
      });
    });
    await using channel = connect({ address: server.address });
    await assert.rejects(channel.unary(echo, "x".repeat(200)), { status: "UNAVAILABLE", isUnprocessed: true });
    assert.equal(count, 2);
  });

  test("doesn't make a call once more that the server may have seen", async () => {
    let count = 0;
    await using proxy = await Http2Listening.open((stream) => {
      count += 1;
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
    await using channel = connect({ address: proxy.address });
    await assert.rejects(channel.unary(echo, "x"), { status: "INTERNAL" });
    assert.equal(count, 1);
  });
});

describe("an answer that isn't gRPC's", () => {
  const cases: readonly (readonly [string, Record<string, string | number>, string])[] = [
    ["HTTP status 404", { ":status": 404, "content-type": "text/html" }, "UNIMPLEMENTED"],
    ["HTTP status 503", { ":status": 503 }, "UNAVAILABLE"],
    ["another content type", { ":status": 200, "content-type": "application/json" }, "UNKNOWN"],
    ["no status", { ":status": 200, "content-type": "application/grpc" }, "INTERNAL"],
    ["a status that is no number", { ":status": 200, "content-type": "application/grpc", "grpc-status": "fine" }, "UNKNOWN"],
    ["a status without a response", { ":status": 200, "content-type": "application/grpc", "grpc-status": "0" }, "INTERNAL"],
    [
      "a compression that isn't known",
      { ":status": 200, "content-type": "application/grpc", "grpc-encoding": "br" },
      "INTERNAL",
    ],
  ];
  for (const [what, headers, status] of cases)
    test(`but ${what} ends the call with ${status}`, async () => {
      await using server = await Http2Listening.open((stream) =>
        stream.respond(headers, { endStream: headers["grpc-encoding"] === undefined }),
      );
      await using channel = connect({ address: server.address });
      await assert.rejects(channel.unary(echo, "x"), { status });
      const call = await channel.serverStream(blobs, Buffer.alloc(0));
      if (what === "a status without a response") assert.equal(await call.responses.read(), undefined);
      else await assert.rejects(call.responses.read(), { status });
    });

  test("but a stream that ends without trailers ends the call with INTERNAL", async () => {
    await using server = await Http2Listening.open((stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.end(Buffer.from([0, 0, 0, 0, 1, 65]));
    });
    await using channel = connect({ address: server.address });
    await assert.rejects(channel.unary(echo, "x"), { status: "INTERNAL", message: /without a status/ });
  });

  test("but more responses than one, or half of one, end the call with INTERNAL", async () => {
    for (const bytes of ["0000000001410000000001410a", "00000000014100000000", "000000000241"]) {
      await using server = await Http2Listening.open((stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.from(bytes, "hex"));
      });
      await using channel = connect({ address: server.address });
      await assert.rejects(channel.unary(echo, "x"), { status: "INTERNAL" }, bytes);
    }
  });
});

describe("who is slow holds back who is fast", () => {
  test("a client that doesn't read stops the handler, whose queue is bounded, and others go on", async () => {
    let sentCount = 0;
    const sizeBytes = 64 * KiB;
    await using pair = await GrpcPair.open({
      methods: [
        serve(echo, (request) => request),
        serve(blobs, async (_, responses) => {
          for (;;) {
            await responses.send(Buffer.alloc(sizeBytes));
            sentCount += 1;
          }
        }),
      ],
    });
    const channel = pair.connect();
    const call = await channel.serverStream(blobs, Buffer.alloc(0));
    await call.responses.read();
    const mostBytes = await settledCount(
      () => sentCount * sizeBytes,
      () => channel.unary(echo, "x"),
    );
    // The queues of both ends, the stream's window and what node:http2 reads ahead.
    assert.ok(mostBytes <= grpcSendQueueBytes + grpcReceiveQueueBytes + 1 * MiB + 512 * KiB, `${mostBytes}`);
    const before = sentCount;
    for (let count = 0; count < 100; count += 1) await call.responses.read();
    assert.ok(sentCount > before, "it goes on when the client reads on");
    call.cancel();
  });

  test("a handler that doesn't read stops the client, whose queue is bounded", async () => {
    const { promise: mayRead, resolve: letRead } = Promise.withResolvers<void>();
    await using pair = await GrpcPair.open({
      methods: [
        serve(echo, (request) => request),
        serve(upload, async (requests) => {
          await mayRead;
          let bytes = 0;
          for await (const request of requests) bytes += request.length;
          return Buffer.from(String(bytes));
        }),
      ],
    });
    const channel = pair.connect();
    const call = await channel.clientStream(upload);
    let sentCount = 0;
    const sizeBytes = 64 * KiB;
    const sending = (async () => {
      for (; sentCount < 100; sentCount += 1) await call.send(Buffer.alloc(sizeBytes));
      call.end();
    })();
    const mostBytes = await settledCount(
      () => sentCount * sizeBytes,
      () => channel.unary(echo, "x"),
    );
    assert.ok(mostBytes <= grpcSendQueueBytes + grpcReceiveQueueBytes + 1 * MiB + 512 * KiB, `${mostBytes}`);
    assert.ok(pair.server.callCount === 1);
    letRead();
    await sending;
    assert.equal((await call.response).toString(), String(100 * sizeBytes));
  });

  test("who doesn't wait for room is refused at a limit", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(upload, () => new Promise<Buffer>(() => {}))] });
    const call = await pair.connect().clientStream(upload);
    const sends: Promise<void>[] = [];
    for (let bytes = 0; bytes < grpcSendHeldMaxBytes; bytes += 64 * KiB) sends.push(call.send(Buffer.alloc(64 * KiB)));
    const settled = Promise.allSettled(sends);
    await assert.rejects(call.send(Buffer.alloc(1)), { status: "RESOURCE_EXHAUSTED", message: /await each send/ });
    call.cancel();
    for (const result of (await settled).slice(-1)) assert.equal(result.status, "rejected");
  });

  test("answers that clients don't take count until they are gone: past the limit a call ends instead", async () => {
    const large = "x".repeat(300 * KiB);
    await using pair = await GrpcPair.open({ methods: [serve(echo, () => large)], limits: { heldMaxBytes: 1 * MiB } });
    // A window of nothing: each answer stays with the server.
    await using raw = await RawHttp2.open(pair.port, [[4, 0]]);
    for (const streamId of [1, 3, 5, 7]) raw.write(unaryCall(streamId, echo.path, ""));
    await raw.frame("headers", 7);
    assert.deepEqual(pair.ended, [{ path: echo.path, code: statusCodes.RESOURCE_EXHAUSTED }]);
    // Gone with their client: there is room again.
    raw.reset();
    await raw.closed();
    const channel = pair.connect();
    while (pair.server.heldBytes > 0) await new Promise(setImmediate);
    for (let asked = 0; asked < 6; asked += 1) assert.equal((await channel.unary(echo, "")).length, large.length);
  });

  test("messages that nobody has taken are bounded over all calls of a server", async () => {
    await using pair = await GrpcPair.open({
      // Its time stands still: no sweep comes to help.
      clock: createVirtualClock(),
      limits: { heldMaxBytes: 1 * MiB },
      methods: [serve(upload, stuck), serve(echo, (request) => request)],
    });
    const channel = pair.connect();
    const calls = await Promise.all([1, 2, 3, 4, 5, 6].map(() => channel.clientStream(upload)));
    // A queue each, which together are more.
    const outcomes = calls.map(async (call) => {
      for (let count = 0; count < 4; count += 1) await call.send(Buffer.alloc(64 * KiB));
      return call.response;
    });
    const settled = Promise.allSettled(outcomes);
    while (pair.ended.length === 0) await turn();
    assert.equal(pair.ended[0]?.code, 8);
    assert.ok(pair.ended.length < calls.length, "not all of them: only until it fits");
    for (const call of calls) call.cancel();
    await settled;
    assert.equal(await channel.unary(echo, "x"), "x");
  });

  test("and so are those together with what their windows let in, and what waits to be sent", async () => {
    const clock = createVirtualClock();
    await using pair = await GrpcPair.open({
      clock,
      limits: { heldMaxBytes: 3 * MiB },
      methods: [serve(upload, stuck), serve(echo, (request) => request)],
    });
    const channel = pair.connect();
    const calls = await Promise.all([1, 2, 3, 4, 5, 6].map(() => channel.clientStream(upload)));
    const outcomes = calls.map(async (call) => {
      for (let count = 0; count < 20; count += 1) await call.send(Buffer.alloc(64 * KiB));
      return call.response;
    });
    const settled = Promise.allSettled(outcomes);
    while (pair.ended.length === 0) {
      await turn();
      clock.advance(1_000);
    }
    assert.equal(pair.ended[0]?.code, 8);
    assert.ok(pair.ended.length < calls.length, "not all of them: only until it fits");
    for (const call of calls) call.cancel();
    await settled;
    assert.equal(await channel.unary(echo, "x"), "x");
  });
});

describe("many connections", () => {
  test("opened and closed in every way leave nothing behind", async () => {
    await using pair = await GrpcPair.open({ methods: [serve(echo, (request) => request)] });
    for (let round = 0; round < 20; round += 1)
      await Promise.all(
        Array.from({ length: 25 }, async (_, number) => {
          await using raw = await RawHttp2.open(pair.port);
          if (number % 5 !== 0) raw.write(unaryCall(1, echo.path, "hello"));
          if (number % 5 === 1) await raw.frame("data", 1);
          if (number % 5 === 2) raw.reset();
          if (number % 5 === 3) raw.end();
        }),
      );
    while (pair.server.sessionCount > 0 || pair.socketCount > 0) await turn();
    assert.equal(pair.server.callCount, 0);
  });
});

describe("streams that somebody else brings", () => {
  test("of a server of node:http2 are served with their sessions", async () => {
    const server = new GrpcServer({ methods: [serve(echo, (request) => request)] });
    const http2Server = createHttp2Server(server.sessionOptions);
    http2Server.on("session", (session) => server.acceptSession(session));
    http2Server.listen(0, "127.0.0.1");
    await once(http2Server, "listening");
    const channel = connect({ address: `127.0.0.1:${(http2Server.address() as AddressInfo).port}` });
    assert.equal(await channel.unary(echo, "by session"), "by session");
    await channel.close();
    await server.close();
    http2Server.close();
  });
});

const fixedRandom = { float: () => 0.5, bytes: (count: number) => Buffer.alloc(count) };

async function turn(): Promise<void> {
  await new Promise((resolve) => void setImmediate(resolve));
}

/** Takes nothing of what it is sent. */
async function stuck(_: unknown, call: CallContext): Promise<Buffer> {
  await over(call);
  return Buffer.alloc(0);
}

/** Enough of them for a round trip between two ends in this process. */
async function turns(count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) await turn();
}

/** What a count comes to when it moves no more over many round trips of others. */
async function settledCount(count: () => number, roundTrip: () => Promise<unknown>): Promise<number> {
  let last = -1;
  for (let still = 0; still < 10; still += 1) {
    if (count() !== last) still = 0;
    last = count();
    await roundTrip();
  }
  return last;
}

/** Takes connections on a port of its own, and drops them at the end. */
class Listening implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  static async open(onSocket: (socket: Socket) => void, port = 0): Promise<Listening> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      onSocket(socket);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return new Listening(server, sockets);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]) => void;

/** The same for HTTP/2, by node:http2's own server. */
class Http2Listening implements AsyncDisposable {
  readonly address: string;
  readonly #listening: Listening;

  private constructor(listening: Listening) {
    this.#listening = listening;
    this.address = listening.address;
  }

  static async open(onStream: OnStream): Promise<Http2Listening> {
    const listening = await Listening.open((socket) => {
      const session = performServerHandshake(socket);
      session.on("error", () => {});
      session.on("stream", (stream, headers, _flags, rawHeaders) => {
        stream.on("error", () => {});
        stream.resume();
        onStream(stream, headers, rawHeaders);
      });
    });
    return new Http2Listening(listening);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listening[Symbol.asyncDispose]();
  }
}
