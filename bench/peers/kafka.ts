import { execFileSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KiB } from "../../src/base/units.ts";
import { findFreePort, ServerProcess } from "../server-process.ts";
import { findProgram, importClient, type Peer } from "./peer.ts";

/** Kafka: one node of KRaft that is broker and controller, a topic of one partition, acks of all replicas (there is one). */
export const kafka: Peer = {
  name: "kafka",
  remedy: "bring its jars into a folder named by --peers (bench/peers/README.md), and a Java of 17 or newer",

  async find(folders) {
    const java = findProgram("java", folders);
    const found = folders
      .flatMap((folder) => [folder, join(folder, "libs"), join(folder, "kafka", "libs")])
      .map(findJar)
      .find(Boolean);
    if (java === undefined || found === undefined) return undefined;
    const { classPath, version } = found;
    return {
      describe: (promised) => `Kafka ${version}${promised === "durable" ? ", flush.messages=1" : ""}`,
      async start(directory, promised) {
        const port = await findFreePort();
        const properties = join(directory, "server.properties");
        writeFileSync(
          properties,
          [
            "process.roles=broker,controller",
            "node.id=1",
            ...(await listenersOf(port)),
            `log.dirs=${join(directory, "data")}`,
            "offsets.topic.replication.factor=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            // No waiting for further members of a group, and a removed topic's files go at once: neither is measured.
            "group.initial.rebalance.delay.ms=0",
            "log.segment.delete.delay.ms=100",
            ...(promised === "durable" ? ["log.flush.interval.messages=1"] : []),
          ].join("\n"),
        );
        const clusterId = `A${randomBytes(16).toString("base64url").slice(1)}`;
        execFileSync(java, ["-cp", classPath, "kafka.tools.StorageTool", "format", "-t", clusterId, "-c", properties], {
          stdio: "pipe",
        });
        const parameters = [...javaOptions, "-cp", classPath, "kafka.Kafka", properties];
        return ServerProcess.start({ what: "kafka", command: java, parameters, port });
      },
    };
  },

  async connect(address) {
    const { Admin, Consumer, Producer } = await importClient<KafkaModule>("@platformatic/kafka");
    const base = { clientId: "bench", bootstrapBrokers: [address], requestTimeout: ackMaxMs };
    const admin = new Admin(base);
    const producer = new Producer({ ...base, autocreateTopics: false });
    return {
      createTopic: async (topic) => void (await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })),
      removeTopic: async (topic) => void (await admin.deleteTopics({ topics: [topic] })),
      send: (topic, value) => producer.send({ acks: allReplicas, messages: [{ topic, value }] }),
      sendBatch: (topic, values) => producer.send({ acks: allReplicas, messages: values.map((value) => ({ topic, value })) }),
      async read(topic, count, { begins, took }) {
        const consumer = new Consumer({ ...base, groupId: randomUUID() });
        // Nobody else here writes down how far he has read.
        const bounds = { highWaterMark: readMaxCount, maxBytes: readMaxBytes };
        const messages = await consumer.consume({ topics: [topic], mode: "earliest", autocommit: false, ...bounds });
        let left = count;
        begins();
        for await (const _ of messages) {
          took(1);
          left -= 1;
          if (left === 0) break;
        }
        await consumer.close(true);
      },
      close: async () => {
        await producer.close();
        await admin.close();
      },
    };
  },
};

const allReplicas = -1;
const ackMaxMs = 60_000;

/** Kept ready for the loop that takes them. Its default is 1024. */
const readMaxCount = 4096;

/** Of an answer. With its default of 10 MiB this client takes seconds for each; of the sizes tried this was the fastest. */
const readMaxBytes = 512 * KiB;

/** What Kafka's own start script gives it. */
const javaOptions = [
  ...["-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"],
  ...["-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"],
];

function findJar(folder: string): { readonly classPath: string; readonly version: string } | undefined {
  try {
    const version = readdirSync(folder)
      .map((name) => /^kafka_[\d.]+-(\d[\d.]*)\.jar$/.exec(name)?.[1])
      .find(Boolean);
    return version === undefined ? undefined : { classPath: join(folder, "*"), version };
  } catch {
    // No such folder.
    return undefined;
  }
}

async function listenersOf(port: number): Promise<string[]> {
  const controllerPort = await findFreePort();
  return [
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${port}`,
    "controller.listener.names=CONTROLLER",
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
  ];
}

interface KafkaModule {
  readonly Admin: new (
    options: object,
  ) => Closable & { createTopics(options: object): Promise<unknown>; deleteTopics(options: object): Promise<unknown> };
  readonly Producer: new (
    options: object,
  ) => Closable & {
    send(request: {
      readonly acks: number;
      readonly messages: readonly { readonly topic: string; readonly value: Buffer }[];
    }): Promise<unknown>;
  };
  readonly Consumer: new (options: object) => Closable & { consume(options: object): Promise<AsyncIterable<unknown>> };
}

interface Closable {
  close(force?: boolean): Promise<void>;
}
