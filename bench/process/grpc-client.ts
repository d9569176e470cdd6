import grpcJs from "@grpc/grpc-js";
import { KiB, MiB } from "../../src/base/units.ts";
import { connect } from "../../src/grpc/index.ts";
import { bytesCodec, type GrpcSide, grpcMethods } from "../grpc-methods.ts";
import { say } from "./say.ts";

/** Loads the server on port `argv[3]` by our client or grpc-js's (`argv[2]`): `argv[5]` times what `argv[4]` says. Says how many a second. */
const side = process.argv[2] as GrpcSide;
const address = `127.0.0.1:${process.argv[3]}`;
const what = process.argv[4] as "unary" | "one-by-one" | "upload" | "chat";
const total = Number(process.argv[5]);

const small = Buffer.alloc(100, "x");
const large = Buffer.alloc(64 * KiB, "y");
const load = side === "ours" ? await ourLoad() : grpcJsLoad();

interface Load {
  readonly unary: () => Promise<unknown>;
  readonly upload: (count: number) => Promise<unknown>;
  /** Opens a stream on which each caller sends and waits for its answer. */
  readonly chat: () => Promise<{ readonly exchange: () => Promise<void>; readonly end: () => void }>;
  readonly close: () => void;
}

await run(Math.ceil(total / 4));
const startMs = performance.now();
await run(total);
say({ perSecond: (1000 * total) / (performance.now() - startMs) });
load.close();

async function run(count: number): Promise<void> {
  switch (what) {
    case "unary":
      return await callers(64, count, load.unary);
    case "one-by-one":
      return await callers(1, count, load.unary);
    case "upload":
      await load.upload(count);
      return;
    case "chat": {
      const chat = await load.chat();
      await callers(64, count, chat.exchange);
      chat.end();
    }
  }
}

/** So many callers, each of whom calls again when it is answered. */
async function callers(callerCount: number, count: number, call: () => Promise<unknown>): Promise<void> {
  let left = count;
  const caller = async (): Promise<void> => {
    for (; left > 0; ) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: callerCount }, caller));
}

async function ourLoad(): Promise<Load> {
  const channel = connect({ address });
  await channel.ready();
  return {
    unary: () => channel.unary(grpcMethods.unary, small),
    async upload(count) {
      const call = await channel.clientStream(grpcMethods.upload);
      for (let sent = 0; sent < count; sent += 1) await call.send(large);
      call.end();
      await call.response;
    },
    async chat() {
      const call = await channel.bidiStream(grpcMethods.chat);
      const waiting: (() => void)[] = [];
      const read = async (): Promise<void> => {
        for (;;) {
          const some = await call.responses.readAvailable();
          if (some.length === 0) return;
          for (const resolve of waiting.splice(0, some.length)) resolve();
        }
      };
      void read();
      return {
        exchange: () =>
          new Promise((resolve) => {
            waiting.push(resolve);
            void call.send(small);
          }),
        end: () => call.end(),
      };
    },
    close: () => void channel.close(),
  };
}

function grpcJsLoad(): Load {
  // Its one window option, which only its client has.
  const client = new grpcJs.Client(address, grpcJs.credentials.createInsecure(), { "grpc-node.flow_control_window": MiB });
  const { encode, decode } = bytesCodec;
  return {
    unary: () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(grpcMethods.unary.path, encode, decode, small, (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
      }),
    upload: (count) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(grpcMethods.upload.path, encode, decode, (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
        let sent = 0;
        const send = (): void => {
          while (sent < count) {
            sent += 1;
            if (!call.write(large)) return void call.once("drain", send);
          }
          call.end();
        };
        send();
      }),
    chat() {
      const call = client.makeBidiStreamRequest(grpcMethods.chat.path, encode, decode);
      const waiting: (() => void)[] = [];
      call.on("data", () => waiting.shift()?.());
      return Promise.resolve({
        exchange: () =>
          new Promise<void>((resolve) => {
            waiting.push(resolve);
            call.write(small);
          }),
        end: () => void call.end(),
      });
    },
    close: () => client.close(),
  };
}
