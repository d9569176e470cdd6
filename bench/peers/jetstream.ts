import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { findFreePort, ServerProcess } from "../server-process.ts";
import { findProgram, importClient, type Peer } from "./peer.ts";

/** NATS JetStream: a stream of one subject on disk, publishes that are acknowledged, and an ordered consumer. */
export const jetstream: Peer = {
  name: "jetstream",
  remedy: "install nats-server 2.10 or newer (go install github.com/nats-io/nats-server/v2@latest)",

  async find(folders) {
    const program = findProgram("nats-server", folders);
    if (program === undefined) return undefined;
    const version = /v(\d+\.\d+\.\d+)/.exec(execFileSync(program, ["--version"], { encoding: "utf8" }))?.[1] ?? "";
    return {
      describe: (promised) => `JetStream ${version}${promised === "durable" ? ", sync_interval always" : ""}`,
      async start(directory, promised) {
        const port = await findFreePort();
        const sync = promised === "durable" ? ", sync_interval: always" : "";
        const configuration = join(directory, "nats.conf");
        writeFileSync(
          configuration,
          `host: 127.0.0.1\nport: ${port}\njetstream { store_dir: ${JSON.stringify(join(directory, "data"))}${sync} }\n`,
        );
        return ServerProcess.start({ what: "nats-server", command: program, parameters: ["-c", configuration], port });
      },
    };
  },

  async connect(address) {
    const { connect } = await importClient<TransportModule>("@nats-io/transport-node");
    const { jetstream: open, jetstreamManager } = await importClient<JetStreamModule>("@nats-io/jetstream");
    const connection = await connect({ servers: address });
    const manager = await jetstreamManager(connection);
    const client = open(connection, { timeout: ackMaxMs });
    return {
      createTopic: async (topic) =>
        void (await manager.streams.add({ name: topic, subjects: [topic], storage: "file", allow_atomic: true })),
      removeTopic: async (topic) => void (await manager.streams.delete(topic)),
      send: (topic, value) => client.publish(topic, value, { timeout: ackMaxMs }),
      // One batch, appended whole or not at all: the other way it has (fast ingest) may lose records on the way.
      async sendBatch(topic, values) {
        const [first, ...others] = values;
        const last = others.pop();
        const batch = await client.startBatch(topic, first, { timeout: ackMaxMs });
        for (const value of others) batch.add(topic, value);
        return batch.commit(topic, last, { timeout: ackMaxMs });
      },
      async read(topic, count, { begins, took }) {
        const consumer = await client.consumers.get(topic);
        begins();
        const messages = await consumer.consume({ max_messages: readMaxCount });
        let left = count;
        for await (const _ of messages) {
          took(1);
          left -= 1;
          if (left === 0) break;
        }
        await messages.close();
      },
      close: () => connection.close(),
    };
  },
};

/** Many outstanding wait for each other: longer than the 5 s that are the default. */
const ackMaxMs = 60_000;

/** Asked for ahead. The default of 100 is for consumers that take their time. */
const readMaxCount = 10_000;

interface TransportModule {
  readonly connect: (options: { readonly servers: string }) => Promise<NatsConnection>;
}

interface NatsConnection {
  close(): Promise<void>;
}

interface JetStreamModule {
  readonly jetstream: (connection: NatsConnection, options: Timeout) => JetStreamClient;
  readonly jetstreamManager: (connection: NatsConnection) => Promise<{
    readonly streams: { add(config: object): Promise<unknown>; delete(name: string): Promise<unknown> };
  }>;
}

interface Timeout {
  readonly timeout: number;
}

interface JetStreamClient {
  publish(subject: string, value: Buffer, options: Timeout): Promise<unknown>;
  startBatch(subject: string, value: Buffer | undefined, options: Timeout): Promise<JetStreamBatch>;
  readonly consumers: {
    get(stream: string): Promise<{
      consume(options: { readonly max_messages: number }): Promise<AsyncIterable<unknown> & { close(): Promise<unknown> }>;
    }>;
  };
}

interface JetStreamBatch {
  add(subject: string, value: Buffer): void;
  commit(subject: string, value: Buffer | undefined, options: Timeout): Promise<unknown>;
}
