import assert from "node:assert/strict";
import { constants } from "node:http2";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import {
  grpcHeaderListMaxBytes,
  grpcHeaderPairsMaxCount,
  grpcPingsBurst,
  grpcResetsBurst,
  grpcSendQueueBytes,
  grpcSettingsBurst,
  grpcStreamsMaxCount,
  grpcWindowBytes,
} from "../src/base/limits.ts";
import { KiB } from "../src/base/units.ts";
import { grpcServerLimits, serve } from "../src/grpc/index.ts";
import { GrpcPair, textMethod } from "./grpc-pair.ts";
import {
  callHeaders,
  frame,
  frameFlags,
  frameTypes,
  headerField,
  messageFrame,
  preface,
  RawHttp2,
  settingsFrame,
  uint32Frame,
  unaryCall,
} from "./raw-http2.ts";

/** What a hostile or broken client may send: each ends in a clean close or a coded one, and others are served as before. */

const echo = textMethod("/test.Test/Echo", "unary");
const flood = textMethod("/test.Test/Flood", "server-stream");
const stuck = textMethod("/test.Test/Stuck", "client-stream");
const drop = textMethod("/test.Test/Drop", "client-stream");

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_FLOW_CONTROL_ERROR, NGHTTP2_FRAME_SIZE_ERROR } = constants;
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_STREAM_CLOSED } = constants;

class AbusedPair implements AsyncDisposable {
  readonly clock: VirtualClock = createVirtualClock();
  pair!: GrpcPair;
  sentCount = 0;

  static async open(): Promise<AbusedPair> {
    const abused = new AbusedPair();
    abused.pair = await GrpcPair.open({
      clock: abused.clock,
      methods: [
        serve(echo, (request) => request),
        serve(flood, async (_, responses) => {
          for (;;) {
            await responses.send("x".repeat(16 * KiB));
            abused.sentCount += 1;
          }
        }),
        serve(stuck, (_, call) => {
          const { promise, resolve } = Promise.withResolvers<string>();
          call.signal.addEventListener("abort", () => resolve("over"));
          return promise;
        }),
        serve(drop, async (requests) => {
          let count = 0;
          for await (const _ of requests) count += 1;
          return String(count);
        }),
      ],
    });
    return abused;
  }

  get port(): number {
    return this.pair.port;
  }

  /** Others are served, and nothing of the abuse is left. */
  async checkUnharmed(): Promise<void> {
    await using channel = this.pair.connect();
    assert.equal(await channel.unary(echo, "still here"), "still here");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]();
    assert.equal(this.pair.server.sessionCount, 0);
    assert.equal(this.pair.server.callCount, 0);
    assert.equal(this.clock.timerCount, 0);
  }
}

const open = (): Promise<AbusedPair> => AbusedPair.open();

describe("a connection that doesn't speak HTTP/2", () => {
  for (const [what, bytes] of Object.entries({
    "a request of HTTP/1.1": Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    zeros: Buffer.alloc(64),
    "a preface with one byte wrong": Buffer.from(preface.toString("latin1").replace("SM", "SX"), "latin1"),
    "a TLS hello": Buffer.from("16030100c8010000c40303", "hex"),
  }))
    test(`but ${what} is closed`, async () => {
      await using abused = await open();
      await using raw = await RawHttp2.connect(abused.port);
      raw.write(Buffer.concat([bytes, Buffer.alloc(64)]));
      await raw.closed();
      await abused.checkUnharmed();
    });

  test("and stops in the middle of its preface goes without a trace", async () => {
    await using abused = await open();
    for (const length of [0, 1, 10, preface.length]) {
      await using raw = await RawHttp2.connect(abused.port);
      raw.write(preface.subarray(0, length));
      raw.end();
      await raw.closed();
    }
    await abused.checkUnharmed();
  });

  test("and says nothing after its preface is closed after a while, and not before", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.connect(abused.port);
    raw.write(preface);
    await raw.frame("settings");
    abused.clock.advance(grpcServerLimits.handshakeMaxMs - 1);
    assert.deepEqual(abused.pair.refused, []);
    abused.clock.advance(1_001);
    assert.deepEqual(await raw.goaway(), { code: NGHTTP2_ENHANCE_YOUR_CALM, reason: "no_settings" });
    await raw.closed();
    assert.deepEqual(abused.pair.refused, ["no_settings"]);
    await abused.checkUnharmed();
  });
});

describe("a call in pieces", () => {
  test("of one byte each is served", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.connect(abused.port);
    const bytes = Buffer.concat([preface, settingsFrame([]), unaryCall(1, echo.path, "hello")]);
    for (const byte of bytes) raw.write(Buffer.from([byte]));
    const { payload } = await raw.frame("data", 1);
    assert.equal(payload.toString("latin1", 5), "hello");
  });

  test("that end anywhere leaves nothing behind", async () => {
    await using abused = await open();
    const bytes = Buffer.concat([preface, settingsFrame([]), unaryCall(1, echo.path, "hello")]);
    for (let length = preface.length; length < bytes.length; length += 7) {
      await using raw = await RawHttp2.connect(abused.port);
      raw.write(bytes.subarray(0, length));
      if (length % 2 === 0) raw.reset();
      else raw.end();
      await raw.closed();
    }
    await abused.checkUnharmed();
  });

  test("whose message doesn't get whole ends with DEADLINE_EXCEEDED", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(echo.path)),
      frame("data", 0, 1, Buffer.from([0, 0, 0, 0, 9, 65])),
      frame("ping", 0, 0, Buffer.alloc(8)),
    );
    await raw.frame("ping");
    // The first look finds the call, and time counts from there.
    abused.clock.advance(1_000 + grpcServerLimits.requestMaxMs - 1);
    assert.equal(abused.pair.server.callCount, 1);
    abused.clock.advance(1_000);
    await raw.frame("headers", 1);
    abused.clock.advance(2_000);
    assert.equal(await raw.resetCode(1), NGHTTP2_NO_ERROR);
    assert.deepEqual(abused.pair.ended, [{ path: echo.path, code: 4 }]);
    await abused.checkUnharmed();
  });

  test("that ends in the middle of its message is INTERNAL", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(echo.path)),
      frame("data", frameFlags.endStream, 1, Buffer.from([0, 0, 0, 0, 9, 65])),
      frame("headers", frameFlags.endHeaders, 3, callHeaders(drop.path)),
      frame("data", frameFlags.endStream, 3, Buffer.from([0, 0])),
      frame("headers", frameFlags.endHeaders | frameFlags.endStream, 5, callHeaders(echo.path)),
    );
    for (const streamId of [1, 3, 5]) await raw.frame("headers", streamId);
    await abused.checkUnharmed();
    assert.deepEqual(
      abused.pair.ended.slice(0, 3).map(({ code }) => code),
      [13, 13, 13],
    );
  });
});

describe("headers", () => {
  test("as many as the limit says pass, and one more ends the stream", async () => {
    await using abused = await open();
    const own = 6;
    const more = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => headerField("a", "b")));
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, Buffer.concat([callHeaders(echo.path), more(grpcHeaderPairsMaxCount - own)])),
      messageFrame(1, "many", frameFlags.endStream),
    );
    assert.equal((await raw.frame("data", 1)).payload.toString("latin1", 5), "many");
    raw.write(
      frame(
        "headers",
        frameFlags.endHeaders,
        3,
        Buffer.concat([callHeaders(echo.path), more(grpcHeaderPairsMaxCount - own + 1)]),
      ),
    );
    assert.equal(await raw.resetCode(3), NGHTTP2_ENHANCE_YOUR_CALM);
    await abused.checkUnharmed();
  });

  test("of the largest size pass, and a byte more is refused", async () => {
    await using abused = await open();
    const own = 6 * 32 + callHeaders(echo.path).length - 6 * 3;
    for (const [more, code] of [
      [0, 0],
      [1, 8],
      [grpcHeaderListMaxBytes, 8],
    ] as const) {
      await using raw = await RawHttp2.open(abused.port);
      const value = "x".repeat(grpcHeaderListMaxBytes - own - 32 - 1 + more);
      const block = Buffer.concat([callHeaders(echo.path), headerField("a", value)]);
      raw.write(frame("headers", 0, 1, block.subarray(0, 16_000)));
      raw.write(
        frame("continuation", 0, 1, block.subarray(16_000, 32_000)),
        frame("continuation", frameFlags.endHeaders, 1, block.subarray(32_000)),
      );
      raw.write(messageFrame(1, "large", frameFlags.endStream));
      await raw.frame("headers", 1);
      assert.equal(raw.dataBytes, code === 0 ? 10 : 0);
    }
    await abused.checkUnharmed();
  });

  test("far larger than the limit close the connection", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    const block = Buffer.concat([callHeaders(echo.path), headerField("a", "x".repeat(100 * KiB))]);
    raw.write(frame("headers", 0, 1, block.subarray(0, 16_000)));
    for (let at = 16_000; at < block.length; at += 16_000)
      raw.write(frame("continuation", 0, 1, block.subarray(at, at + 16_000)));
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("without an end close the connection (CVE-2024-27983)", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(frame("headers", 0, 1, callHeaders(echo.path)));
    for (let count = 0; count < 1000; count += 1) raw.write(frame("continuation", 0, 1, headerField("a", "b".repeat(100))));
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("that HTTP/2 forbids end the stream or the connection", async () => {
    await using abused = await open();
    for (const changes of [{ UPPER: "x" }, { connection: "close" }, { ":path": undefined }, { te: "gzip" }]) {
      await using raw = await RawHttp2.open(abused.port);
      raw.write(frame("headers", frameFlags.endHeaders | frameFlags.endStream, 1, callHeaders(echo.path, changes)));
      assert.equal(await raw.resetCode(1), NGHTTP2_PROTOCOL_ERROR, JSON.stringify(changes));
    }
    await abused.checkUnharmed();
  });

  test("that can't be decoded close the connection", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(frame("headers", frameFlags.endHeaders, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])));
    assert.equal((await raw.goaway()).code, constants.NGHTTP2_COMPRESSION_ERROR);
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("of a request that isn't gRPC get an answer in HTTP's words", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    const ended = frameFlags.endHeaders | frameFlags.endStream;
    raw.write(
      frame("headers", ended, 1, callHeaders(echo.path, { ":method": "GET" })),
      frame("headers", ended, 3, callHeaders(echo.path, { "content-type": "application/json" })),
      frame("headers", ended, 5, callHeaders(echo.path, { "content-type": "application/grpc-web" })),
      frame("headers", ended, 7, callHeaders(echo.path, { "content-type": undefined })),
    );
    for (const streamId of [1, 3, 5, 7]) {
      const { flags, payload } = await raw.frame("headers", streamId);
      assert.equal(flags & frameFlags.endStream, 1);
      // An answer of 200 would be HPACK's entry 8.
      assert.notEqual(payload[0], 0x88);
    }
    assert.deepEqual(abused.pair.ended, []);
    await abused.checkUnharmed();
  });

  test("of gRPC that can't be served get a status", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(echo.path, { "grpc-timeout": "soon" })),
      frame("headers", frameFlags.endHeaders, 3, callHeaders(echo.path, { "grpc-encoding": "snappy" })),
      frame("headers", frameFlags.endHeaders, 5, callHeaders(echo.path, { "grpc-timeout": "0m" })),
    );
    await raw.frame("headers", 1);
    await raw.frame("headers", 3);
    abused.clock.advance(20);
    await raw.frame("headers", 5);
    raw.end();
    await raw.closed();
    await abused.checkUnharmed();
    assert.deepEqual(
      abused.pair.ended.slice(0, 3).map(({ code }) => code),
      [13, 12, 4],
    );
  });
});

describe("floods", () => {
  test("of calls that are cancelled at once close the connection, and its burst doesn't (CVE-2023-44487)", async () => {
    await using abused = await open();
    const rapid = (count: number, first: number): Buffer =>
      Buffer.concat(
        Array.from({ length: count }, (_, number) => {
          const streamId = first + 2 * number;
          return Buffer.concat([
            frame("headers", frameFlags.endHeaders, streamId, callHeaders(echo.path)),
            uint32Frame("rstStream", streamId, NGHTTP2_CANCEL),
          ]);
        }),
      );
    await using raw = await RawHttp2.open(abused.port);
    raw.write(rapid(grpcResetsBurst, 1), frame("ping", 0, 0, Buffer.alloc(8)));
    await raw.frame("ping");
    assert.equal(raw.isClosed, false);
    raw.write(rapid(1, 1 + 2 * grpcResetsBurst));
    assert.deepEqual(await raw.goaway(), { code: NGHTTP2_ENHANCE_YOUR_CALM, reason: "too_many_resets" });
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("of pings close the connection, and their burst doesn't", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    const ping = frame("ping", 0, 0, Buffer.alloc(8));
    const answers = async (count: number): Promise<void> => {
      while (raw.frames.filter(({ type }) => type === frameTypes.ping).length < count)
        await new Promise((resolve) => void setImmediate(resolve));
    };
    for (let count = 0; count < grpcPingsBurst; count += 1) raw.write(ping);
    raw.write(unaryCall(1, echo.path, "between"));
    await raw.frame("data", 1);
    // The call earned one more, and only one.
    raw.write(ping);
    await answers(grpcPingsBurst + 1);
    assert.equal(raw.isClosed, false);
    raw.write(ping);
    assert.deepEqual(await raw.goaway(), { code: NGHTTP2_ENHANCE_YOUR_CALM, reason: "too_many_pings" });
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("of settings close the connection, and their burst doesn't", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    for (let count = 1; count < grpcSettingsBurst; count += 1) raw.write(settingsFrame([[4, 65_535]]));
    raw.write(unaryCall(1, echo.path, "after"));
    await raw.frame("data", 1);
    raw.write(settingsFrame([[4, 65_535]]));
    assert.deepEqual(await raw.goaway(), { code: NGHTTP2_ENHANCE_YOUR_CALM, reason: "too_many_settings" });
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("of empty frames close the connection (CVE-2019-9518)", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(frame("headers", frameFlags.endHeaders, 1, callHeaders(drop.path)));
    for (let count = 0; count < 100; count += 1) raw.write(frame("data", 0, 1));
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("of calls at a time are refused beyond the limit, and close the connection of who was told of it", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    for (let count = 0; count <= grpcStreamsMaxCount; count += 1)
      raw.write(frame("headers", frameFlags.endHeaders, 1 + 2 * count, callHeaders(drop.path)));
    assert.equal(await raw.resetCode(1 + 2 * grpcStreamsMaxCount), NGHTTP2_REFUSED_STREAM);
    assert.equal(abused.pair.server.callCount, grpcStreamsMaxCount);
    raw.write(
      frame("settings", frameFlags.ack, 0),
      frame("headers", frameFlags.endHeaders, 3 + 2 * grpcStreamsMaxCount, callHeaders(drop.path)),
    );
    await raw.closed();
    await abused.checkUnharmed();
  });
});

describe("flow control", () => {
  test("a client that opens no window costs a bounded queue, and its call is reset after a while", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port, [[4, 0]]);
    raw.write(unaryCall(1, flood.path, ""));
    await raw.frame("headers", 1);
    await abused.checkUnharmed();
    const inQueue = Math.ceil(grpcSendQueueBytes / (16 * KiB));
    assert.ok(abused.sentCount <= inQueue, `${abused.sentCount} messages for a queue of ${inQueue}`);
    assert.equal(raw.dataBytes, 0);
    abused.clock.advance(grpcServerLimits.stallMaxMs);
    assert.equal(abused.pair.server.callCount, 1);
    abused.clock.advance(2_000);
    assert.equal(await raw.resetCode(1), NGHTTP2_ENHANCE_YOUR_CALM);
    assert.deepEqual(abused.pair.ended.at(-1), { path: flood.path, code: 8 });
    await abused.checkUnharmed();
  });

  test("a client that reads nothing from its socket is held back as well", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port, [[4, 2 ** 31 - 1]]);
    raw.stop();
    raw.write(uint32Frame("windowUpdate", 0, 2 ** 31 - 1 - 65_535), unaryCall(1, flood.path, ""));
    // The system's buffers take some megabytes; then nothing moves any more.
    let before = -1;
    for (let still = 0; still < 5; still = abused.sentCount === before ? still + 1 : 0) {
      before = abused.sentCount;
      await abused.checkUnharmed();
    }
    // Its call is ended, and then the connection, which doesn't answer a ping either; what waits in it is dropped.
    abused.clock.advance(grpcServerLimits.stallMaxMs + grpcServerLimits.keepaliveMs + grpcServerLimits.keepaliveTimeoutMs);
    await abused.checkUnharmed();
    assert.equal(abused.pair.refused[0], "no_answer_to_ping");
    assert.equal(abused.pair.ended.find(({ path }) => path === flood.path)?.code, 8);
    abused.clock.advance(5_000);
    await abused.checkUnharmed();
    while (abused.pair.socketCount > 0) await new Promise((resolve) => void setImmediate(resolve));
  });

  test("a client whose messages nobody reads is held back by its window, and cut off when it goes on", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(frame("headers", frameFlags.endHeaders, 1, callHeaders(stuck.path)));
    const piece = messageFrame(1, "x".repeat(16_000));
    for (let sent = 0; sent < 3 * grpcWindowBytes && !raw.isClosed; sent += piece.length) raw.write(piece);
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("a window that is opened too far ends the stream or the connection", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(drop.path)),
      uint32Frame("windowUpdate", 1, 2 ** 31 - 1),
      uint32Frame("windowUpdate", 0, 2 ** 31 - 1),
    );
    assert.equal((await raw.goaway()).code, NGHTTP2_FLOW_CONTROL_ERROR);
    await raw.closed();
    await abused.checkUnharmed();
  });
});

describe("frames out of place", () => {
  test("DATA after the end closes the connection", async () => {
    await using abused = await open();
    await using raw = await RawHttp2.open(abused.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(drop.path)),
      messageFrame(1, "a", frameFlags.endStream),
      messageFrame(1, "b"),
    );
    assert.equal((await raw.goaway()).code, NGHTTP2_STREAM_CLOSED);
    await raw.closed();
    await abused.checkUnharmed();
  });

  test("on the wrong stream, of the wrong size or kind close the connection with a code", async () => {
    await using abused = await open();
    const cases: readonly (readonly [string, Buffer, number])[] = [
      ["DATA on stream 0", frame("data", 0, 0, Buffer.from("x")), NGHTTP2_PROTOCOL_ERROR],
      ["DATA on an idle stream", frame("data", 0, 5, Buffer.from("x")), NGHTTP2_PROTOCOL_ERROR],
      ["a stream of the server's", frame("headers", 5, 2, callHeaders(echo.path)), NGHTTP2_PROTOCOL_ERROR],
      ["a promise", frame("pushPromise", 4, 1, Buffer.from([0, 0, 0, 2])), NGHTTP2_PROTOCOL_ERROR],
      ["a short PING", frame("ping", 0, 0, Buffer.alloc(7)), NGHTTP2_FRAME_SIZE_ERROR],
      ["a short SETTINGS", frame("settings", 0, 0, Buffer.alloc(5)), NGHTTP2_FRAME_SIZE_ERROR],
      ["a window of nothing", uint32Frame("windowUpdate", 0, 0), NGHTTP2_PROTOCOL_ERROR],
      ["a CONTINUATION of nothing", frame("continuation", 4, 1, Buffer.alloc(0)), NGHTTP2_PROTOCOL_ERROR],
      ["a frame beyond the limit", frame("headers", 4, 1, Buffer.alloc(16_385)), NGHTTP2_FRAME_SIZE_ERROR],
    ];
    for (const [what, bytes, code] of cases) {
      await using raw = await RawHttp2.open(abused.port);
      raw.write(bytes);
      assert.equal((await raw.goaway()).code, code, what);
      await raw.closed();
    }
    await abused.checkUnharmed();
  });

  test("of random bytes close the connection, whatever they are", async () => {
    await using abused = await open();
    let state = 1;
    const random = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 16;
    };
    for (let round = 0; round < 40; round += 1) {
      await using raw = await RawHttp2.open(abused.port);
      raw.write(unaryCall(1, drop.path, "x"));
      const bytes = Buffer.from(Array.from({ length: 300 }, () => random() & 0xff));
      // Frames of every type, flag and stream, of plausible lengths, with random bytes in them.
      bytes[0] = 0;
      bytes[1] = 0;
      bytes[3] = random() % 12;
      bytes.writeUInt32BE(random() % 8, 5);
      raw.write(bytes);
      raw.end();
      await raw.closed();
    }
    await abused.checkUnharmed();
  });
});
