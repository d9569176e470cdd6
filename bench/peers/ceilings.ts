import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { crc32c } from "../../src/batch/crc32c.ts";
import { findFreePort, ServerProcess } from "../server-process.ts";
import type { Peer, PeerClient } from "./peer.ts";

/** What proglog's rows stand beside, in the shape of peers, so that the same harness loads them. */

/** Frames to a bare TCP server, which syncs them by the group: see `process/bare-loop.ts`. */
export const bareLoop: Peer = {
  ...ceilingOf("bare-loop", "bare-loop", (directory) => [directory]),
  async connect(address) {
    const socket = connectTcp(portOf(address), "127.0.0.1");
    socket.setNoDelay(true);
    await once(socket, "connect");
    const waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
    let first = 0;
    socket.on("close", () => {
      for (const { reject } of waiting.splice(first)) reject(new Error("the bare loop closed the connection"));
    });
    let rest = Buffer.alloc(0);
    socket.on("data", (piece: Buffer) => {
      rest = Buffer.concat([rest, piece]);
      for (; rest.length >= 4; rest = rest.subarray(4)) {
        for (let left = rest.readUInt32BE(0); left > 0; left -= 1) {
          waiting[first]?.resolve();
          first += 1;
        }
      }
      waiting.splice(0, first);
      first = 0;
    });
    return {
      ...noTopics,
      send(_, value) {
        const head = Buffer.allocUnsafe(8);
        head.writeUInt32BE(value.length);
        head.writeUInt32BE(crc32c(value) >>> 0, 4);
        socket.cork();
        socket.write(head);
        socket.write(value);
        socket.uncork();
        return new Promise<void>((resolve, reject) => waiting.push({ resolve, reject }));
      },
      close: async () => void socket.destroy(),
    };
  },
};

/** A unary call of node:http2 alone, both ends. */
export const bareUnary: Peer = {
  ...ceilingOf("bare-unary", "bare-unary", () => []),
  async connect(address) {
    const session = connectHttp2(`http://${address}`);
    await once(session, "connect");
    const headers = { ":method": "POST", ":path": "/log.v1.Log/Produce", "content-type": "application/grpc", te: "trailers" };
    return {
      ...noTopics,
      async send(_, value) {
        const stream = session.request(headers);
        stream.end(value);
        stream.resume();
        await once(stream, "end");
      },
      close: async () => session.destroy(),
    };
  },
};

/** It answers a produce and nothing else. */
const noTopics: Pick<PeerClient, "createTopic" | "removeTopic" | "read"> = {
  createTopic: async () => {},
  removeTopic: async () => {},
  read: () => Promise.reject(new Error("there is nothing to read here")),
};

/** A server in `process/<script>.ts`, with these parameters and its port behind them. */
function ceilingOf(
  name: string,
  script: string,
  parametersOf: (directory: string) => readonly string[],
): Omit<Peer, "connect"> {
  return {
    name,
    remedy: "it is this checkout",
    async find() {
      return {
        describe: () => name,
        async start(directory) {
          const port = await findFreePort();
          const parameters = [join(import.meta.dirname, `../process/${script}.ts`), ...parametersOf(directory), `${port}`];
          return ServerProcess.start({ what: name, command: process.execPath, parameters, port });
        },
      };
    },
  };
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
