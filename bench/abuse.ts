import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { KiB, MiB } from "../src/base/units.ts";
import {
  callHeaders,
  frame,
  frameFlags,
  headerField,
  messageFrame,
  preface,
  settingsFrame,
  uint32Frame,
} from "../test/raw-http2.ts";
import type { Bench } from "./bench.ts";
import { type Flood, measureFloods } from "./flood.ts";
import { startProglog } from "./peers/proglog.ts";

/** What strangers do in clear who speak HTTP as no library would (test/grpc-abuse.test.ts has what becomes of each). */
export const abuse: Bench = {
  name: "abuse",
  about: "floods of frames, slow requests, idle connections, beside a client who produces",
  isOnlyByName: true,
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 2, default: 4, full: 8 });
    const seconds = choose({ quick: 1, default: 3, full: 6 });
    const measure = async (name: string, flags: readonly string[], floods: readonly Flood[]) => {
      const node = await startProglog(scratch.directory(name), flags);
      try {
        return await measureFloods({ node, address: node.address, floods, rounds, seconds });
      } finally {
        await node.stop();
      }
    };
    return [
      ...(await measure("limited", [], [...frameFloods, ...slowFloods, idle])),
      ...(await measure("roomy", ["--max-connections", "5000"], [idleHttp2])),
    ];
  },
};

const few = { strangers: 20, comeBackMs: 10 };
/** Within the node's 512 connections, so that it is what they say that counts, not their number. */
const many = { strangers: 400, comeBackMs: 100 };
const thousands = { strangers: 4_000, comeBackMs: 1_000 };

const greeting = Buffer.concat([preface, settingsFrame([])]);
const produceStream = "/log.v1.Log/ProduceStream";

/** Says one thing after the other for as long as it is connected, as fast as the node takes it. */
function pour(port: number, pieces: Iterator<Buffer>): Socket {
  const socket = connect({ host: "127.0.0.1", port });
  const next = (error?: Error | null): void => {
    const { value, done } = pieces.next();
    if ((error ?? undefined) === undefined && done !== true && !socket.destroyed)
      socket.write(value, (failed) => setImmediate(next, failed));
  };
  next();
  return socket;
}

/** Says something, and then a little of the rest now and then. */
function drip(port: number, { begin, rest }: { readonly begin: string; readonly rest: string }): Socket {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(begin);
  const timer = setInterval(() => socket.write(rest), 100);
  socket.once("close", () => clearInterval(timer));
  return socket;
}

function* forever(begin: readonly Buffer[], again: Buffer): Generator<Buffer> {
  yield Buffer.concat(begin);
  // Of about the size in which a socket takes them.
  const piece = Buffer.concat(Array.from({ length: Math.ceil((16 * KiB) / again.length) }, () => again));
  for (;;) yield piece;
}

/** Calls on one connection, one after the other, each made by what is said on its stream. */
function* calls(path: string, say: (streamId: number) => readonly Buffer[]): Generator<Buffer> {
  const headers = callHeaders(path);
  yield greeting;
  for (let streamId = 1; ; streamId += 20) {
    const streams = Array.from({ length: 10 }, (_, number) => streamId + 2 * number);
    yield Buffer.concat(streams.flatMap((each) => [frame("headers", frameFlags.endHeaders, each, headers), ...say(each)]));
  }
}

const garbage = randomBytes(1 * KiB);

const frameFloods: readonly Flood[] = [
  {
    ...few,
    name: "20 connections of calls cancelled at once",
    dial: (port) =>
      pour(
        port,
        calls(produceStream, (streamId) => [uint32Frame("rstStream", streamId, 8)]),
      ),
  },
  {
    ...few,
    name: "20 connections of headers without an end",
    dial: (port) => {
      const headers = frame("headers", 0, 1, callHeaders(produceStream));
      return pour(port, forever([greeting, headers], frame("continuation", 0, 1, headerField("a", "b".repeat(100)))));
    },
  },
  {
    ...few,
    name: "20 connections of pings",
    dial: (port) => pour(port, forever([greeting], frame("ping", 0, 0, Buffer.alloc(8)))),
  },
  {
    ...few,
    name: "20 connections of settings",
    dial: (port) => pour(port, forever([greeting], settingsFrame([[4, 65_535]]))),
  },
  {
    ...few,
    name: "20 connections of calls that send garbage",
    dial: (port) =>
      pour(
        port,
        calls(produceStream, (streamId) => [messageFrame(streamId, garbage)]),
      ),
  },
];

const topicPath = "/v1/topics/one/records";

const slowFloods: readonly Flood[] = [
  {
    ...many,
    name: "400 connections with 100 calls each, whose messages never get whole",
    dial: (port) => {
      const streams = Array.from({ length: 100 }, (_, number) => 1 + 2 * number);
      // A message of 4 MiB, and its first byte.
      const begun = Buffer.from([0, 0, 0x40, 0, 0, 0]);
      const call = (streamId: number): readonly Buffer[] => [
        frame("headers", frameFlags.endHeaders, streamId, callHeaders(produceStream)),
        frame("data", 0, streamId, begun),
      ];
      return pour(port, [Buffer.concat([greeting, ...streams.flatMap(call)])].values());
    },
  },
  {
    ...many,
    name: "400 slow heads of requests",
    dial: (port) => drip(port, { begin: `GET ${topicPath} HTTP/1.1\r\nhost: localhost\r\n`, rest: "a: b\r\n" }),
  },
  {
    ...many,
    name: "400 slow bodies of 1 MiB",
    dial: (port) => {
      const head = ["content-type: application/json", `content-length: ${1 * MiB}`].join("\r\n");
      return drip(port, { begin: `POST ${topicPath} HTTP/1.1\r\nhost: localhost\r\n${head}\r\n\r\n[`, rest: " " });
    },
  },
];

const idle: Flood = {
  ...thousands,
  name: "4,000 connections that say nothing, beyond --max-connections",
  dial: (port) => connect({ host: "127.0.0.1", port }),
};

const idleHttp2: Flood = {
  ...thousands,
  name: "4,000 idle connections of HTTP/2, within --max-connections",
  dial: (port) => pour(port, [greeting].values()),
};
