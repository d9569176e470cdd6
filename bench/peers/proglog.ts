import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ClientTls, connect } from "../../src/client/index.ts";
import { findFreePort, ServerProcess } from "../server-process.ts";
import type { Peer, PeerClient } from "./peer.ts";

/** This checkout's own node and client: as it comes, which is durable. */
export const proglog: Peer = {
  name: "proglog",
  remedy: "it is this checkout",

  async find() {
    return {
      describe: () => "proglog",
      start: (directory) => startProglog(directory),
    };
  },

  /** With a directory behind a `#`, over TLS, by the certificates in it. */
  async connect(address) {
    const [addresses = "", certificates] = address.split("#");
    const client = connect(addresses.split(","), certificates === undefined ? {} : { tls: readClientTls(certificates) });
    const producers = new Map<string, ReturnType<typeof client.producer>>();
    const producerOf = (topic: string): ReturnType<typeof client.producer> => {
      let producer = producers.get(topic);
      if (producer === undefined) producers.set(topic, (producer = client.producer({ topic })));
      return producer;
    };
    return {
      createTopic: async (topic) => void (await client.createTopic(topic)),
      async removeTopic(topic) {
        await producers.get(topic)?.close();
        producers.delete(topic);
        await client.deleteTopic(topic);
      },
      send: (topic, value) => producerOf(topic).send({ value }),
      sendBatch: (topic, values) => producerOf(topic).sendBatch(values.map((value) => ({ value }))),
      async read(topic, count, { begins, took }) {
        let left = count;
        begins();
        for await (const batch of client.consume({ topic, from: "start", stopsAtEnd: true }).batches()) {
          const { length } = batch.records();
          took(length);
          left -= length;
        }
        if (left > 0) throw new Error(`${left} of ${count} records aren't there`);
      },
      close: () => client.close(),
    };
  },
};

/** Of a directory that `proglog certs` made, with a client in it that is called `client`. */
export function readClientTls(directory: string): ClientTls {
  const read = (name: string): Buffer => readFileSync(join(directory, name));
  return { ca: read("ca.pem"), cert: read("client.pem"), key: read("client-key.pem") };
}

/** The same, a call for each record instead of a stream. */
export const proglogUnary: Peer = {
  ...proglog,
  name: "proglog-unary",
  async connect(address) {
    const client = connect(address);
    return {
      ...(await proglog.connect(address)),
      send: (topic, value) => client.append([{ value }], { topic, partition: 0 }),
    };
  },
};

/** The same over 64 connections, in turn. */
export const proglogCrowd: Peer = {
  ...proglog,
  name: "proglog-crowd",
  async connect(address) {
    const all = await Promise.all(Array.from({ length: 64 }, () => proglog.connect(address)));
    const [first] = all;
    if (first === undefined) throw new Error("a crowd has at least one");
    let turn = 0;
    const next = (): PeerClient => {
      turn += 1;
      return all[turn % all.length] ?? first;
    };
    return {
      ...first,
      send: (topic, value) => next().send(topic, value),
      sendBatch: (topic, values) => next().sendBatch?.(topic, values) ?? Promise.reject(new Error("it has batches")),
      async close() {
        for (const each of all) await each.close();
      },
    };
  },
};

export async function startProglog(directory: string, flags: readonly string[] = []): Promise<ServerProcess> {
  const port = await findFreePort();
  const script = join(import.meta.dirname, "../../src/cli/bin.ts");
  const parameters = [script, "serve", "--data-dir", directory, "--rpc-port", `${port}`, "--log-level", "error", ...flags];
  return ServerProcess.start({ what: "proglog", command: process.execPath, parameters, port });
}
