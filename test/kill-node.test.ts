import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { type Client, connect, type Producer } from "../src/client/index.ts";
import { Command, makeFolder } from "./command-process.ts";

/**
 * A node under 64 producers that is stopped, or killed, again and again, and comes back on the same port and data. Their clients see to
 * it by themselves: what was acknowledged is there, once, in the order in which each producer sent it.
 */
const rounds = process.env["PROVE"] === undefined ? 1 : 100;
const producerCount = 64;

describe("a node that goes away under 64 producers, and comes back", () => {
  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    test(`by ${signal}: nothing acknowledged is lost, and nothing is there twice`, { timeout: rounds * 60_000 }, async () => {
      using folder = makeFolder();
      const random = createSeededRandom(`kill-node/${signal}`);
      let node = await serve(folder.path, 0);
      const { port } = node;
      const writers: Writer[] = [];
      for (let number = 0; number < producerCount; number += 1) writers.push(new Writer(port, number));
      const writing = Promise.all(writers.map((writer) => writer.write()));
      try {
        for (let round = 0; round < rounds; round += 1) {
          const target = acknowledgedBy(writers) + 300 + random.integer(600);
          while (acknowledgedBy(writers) < target) await Promise.race([writing, ...writers.map((writer) => writer.next)]);
          node.command.child.kill(signal);
          const exit = await node.command.exit();
          assert.deepEqual(
            exit,
            signal === "SIGTERM" ? { code: 0, signal: null } : { code: null, signal },
            node.command.stderr,
          );
          node = await serve(folder.path, port);
        }
        for (const writer of writers) writer.stop();
        await writing;
        await checkContent(port, writers);
      } finally {
        for (const writer of writers) writer.stop();
        await Promise.all(writers.map((writer) => writer.close()));
        await writing.catch(() => {});
        await node.command[Symbol.asyncDispose]();
      }
    });
});

/** One client that sends numbered records, some at a time, and knows where they are. */
class Writer {
  readonly number: number;
  /** By the record's own number. */
  readonly offsets: number[] = [];
  readonly #client: Client;
  readonly #producer: Producer;
  #isStopped = false;
  #next = Promise.withResolvers<void>();

  constructor(port: number, number: number) {
    this.number = number;
    this.#client = connect(`127.0.0.1:${port}`);
    this.#producer = this.#client.producer({ topic: "kept", partition: 0 });
  }

  /** Resolves when something more is acknowledged. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  async write(): Promise<void> {
    for (let sent = 0; !this.#isStopped; ) {
      const sends = Array.from({ length: 8 }, () => {
        const value = `${this.number}:${sent}`;
        sent += 1;
        return this.#producer.send({ value: value.padEnd(100, ".") });
      });
      for (const { offset } of await Promise.all(sends)) this.offsets.push(offset);
      this.#next.resolve();
      this.#next = Promise.withResolvers();
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

function acknowledgedBy(writers: readonly Writer[]): number {
  return writers.reduce((sum, { offsets }) => sum + offsets.length, 0);
}

async function checkContent(port: number, writers: readonly Writer[]): Promise<void> {
  const client = connect(`127.0.0.1:${port}`);
  const next = new Map<string, number>();
  let offset = 0;
  for await (const record of client.consume({ topic: "kept", partition: 0, stopsAtEnd: true })) {
    assert.equal(record.offset, offset);
    const [writer = "", number = ""] = String(record.value).replace(/\.+$/, "").split(":");
    // Each producer's numbers rise by one: none is missing, none is there twice, none has overtaken another.
    assert.equal(Number(number), next.get(writer) ?? 0, `offset ${offset}: ${writer}:${number}`);
    assert.equal(writers[Number(writer)]?.offsets[Number(number)], offset);
    next.set(writer, Number(number) + 1);
    offset += 1;
  }
  // Every record that was sent was acknowledged in the end, and every one that is there was.
  assert.equal(offset, acknowledgedBy(writers));
  await client.close();
}

async function serve(folder: string, port: number): Promise<{ readonly command: Command; readonly port: number }> {
  const command = new Command("serve", "--data-dir", folder, "--rpc-port", String(port), "--log-level", "warn");
  const match = await command.waitFor("stdout", /serves http:\/\/127\.0\.0\.1:(\d+),/);
  return { command, port: Number(match[1]) };
}
