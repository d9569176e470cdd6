import { execFileSync } from "node:child_process";
import { findFreePort, ServerProcess } from "../server-process.ts";
import { findProgram, importClient, type Peer, type Promised } from "./peer.ts";

/** Redis Streams: XADD, and XREAD from the beginning. */
export const redis: Peer = {
  name: "redis",
  remedy: "install redis-server (Debian: apt-get install redis-server)",

  async find(folders) {
    const program = findProgram("redis-server", folders);
    if (program === undefined) return undefined;
    const version = /v=(\S+)/.exec(execFileSync(program, ["--version"], { encoding: "utf8" }))?.[1] ?? "";
    return {
      describe: (promised) => `Redis ${version}${promised === "durable" ? ", appendfsync always" : ""}`,
      async start(directory, promised) {
        const port = await findFreePort();
        const parameters = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", directory, ...durability[promised]];
        return ServerProcess.start({ what: "redis-server", command: program, parameters, port });
      },
    };
  },

  async connect(address) {
    const { createClient, RESP_TYPES } = await importClient<RedisModule>("@redis/client");
    const connection = createClient({ url: `redis://${address}` });
    await connection.connect();
    // Values as bytes, as the others give them.
    const reader = connection.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    return {
      createTopic: async () => {},
      removeTopic: async (topic) => void (await connection.unlink(topic)),
      send: (topic, value) => connection.xAdd(topic, "*", { value }),
      sendBatch(topic, values) {
        const pipeline = connection.multi();
        for (const value of values) pipeline.xAdd(topic, "*", { value });
        return pipeline.execAsPipeline();
      },
      async read(topic, count, { begins, took }) {
        let id: string | Buffer = "0";
        begins();
        for (let left = count; left > 0; ) {
          const answers: readonly RedisStream[] | null = await reader.xRead({ key: topic, id }, { COUNT: readMaxCount });
          const messages = answers?.[0]?.messages ?? [];
          const last = messages.at(-1);
          if (last === undefined) throw new Error(`${left} of ${count} records aren't there`);
          id = last.id;
          left -= messages.length;
          took(messages.length);
        }
      },
      close: async () => connection.destroy(),
    };
  },
};

/** As it comes it keeps everything in memory, and now and then writes a snapshot. */
const durability: Readonly<Record<Promised, readonly string[]>> = {
  durable: ["--appendonly", "yes", "--appendfsync", "always"],
  default: [],
};

/** More at once are no faster. */
const readMaxCount = 1000;

/** What is used of `@redis/client`, which is the client of the package `redis`. */
interface RedisModule {
  readonly createClient: (options: { readonly url: string }) => RedisConnection;
  readonly RESP_TYPES: { readonly BLOB_STRING: number };
}

interface RedisConnection {
  connect(): Promise<unknown>;
  xAdd(key: string, id: string, fields: { readonly value: Buffer }): Promise<unknown>;
  multi(): { xAdd(key: string, id: string, fields: { readonly value: Buffer }): unknown; execAsPipeline(): Promise<unknown> };
  xRead(
    stream: { readonly key: string; readonly id: string | Buffer },
    options: { readonly COUNT: number },
  ): Promise<readonly RedisStream[] | null>;
  withTypeMapping(mapping: Readonly<Record<number, unknown>>): RedisConnection;
  unlink(key: string): Promise<number>;
  destroy(): void;
}

interface RedisStream {
  readonly messages: readonly { readonly id: string | Buffer }[];
}
