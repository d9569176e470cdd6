import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { RecordInput } from "../src/batch/record.ts";
import { type Client, connect as connectClient } from "../src/client/index.ts";
import { type Channel, connect } from "../src/grpc/index.ts";
import { decodeProduceResponse, type ProduceRequest } from "../src/wire/produce-message.ts";
import { produceBytes, produceStream } from "./log-calls.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/**
 * What is sent on one ProduceStream is appended in the order sent, and answered in it, whichever way each request takes: gathered with others,
 * packed, numbered, on a condition, refused, while its topic is made. An array says what must come of it. One seed is one run.
 */
const seeds = process.env["PROVE"] === undefined ? 12 : 500;
const requestsPerRun = 150;

describe("requests of one ProduceStream", () => {
  let node: TestNode;
  let channel: Channel;
  let client: Client;
  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    client = connectClient(`127.0.0.1:${node.port}`);
  });
  after(async () => {
    await client.close();
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  for (let seed = 0; seed < seeds; seed += 1) {
    test(`are appended and answered in the order sent, seed ${seed}`, async () => {
      const random = createSeededRandom(`produce-order/${seed}`);
      // One is made by what is sent to it, one refuses records without a key.
      const made = new ModelTopic(`made-${seed}`, false);
      const strict = new ModelTopic(`strict-${seed}`, true);
      await client.createTopic(strict.name, { settings: { cleanup: "compact" } });
      const stream = await channel.bidiStream(produceStream);
      const expected: Expectation[] = [];
      const read = (async () => {
        const answers: unknown[] = [];
        for await (const bytes of stream.responses) {
          const { offset, count, isDuplicate, error } = decodeProduceResponse(bytes);
          answers.push(error === undefined ? { offset, count, isDuplicate } : error.code);
        }
        return answers;
      })();
      for (let sent = 0; sent < requestsPerRun; sent += 1) {
        const topic = random.chance(0.7) ? made : strict;
        const { request, answer } = topic.draw(random, sent);
        expected.push(answer);
        await stream.send(produceBytes({ ...request, topic: topic.name, answersErrors: true }));
        // Now and then the node gets a turn, so that some come alone and some together.
        if (random.chance(0.2)) await new Promise(setImmediate);
      }
      stream.end();
      assert.deepEqual(await read, expected);
      for (const topic of [made, strict]) assert.deepEqual(await valuesOf(client, topic.name), topic.values);
    });
  }
});

type Expectation = string | { readonly offset: number; readonly count: number; readonly isDuplicate: boolean };

const notAwaited: Expectation = { offset: 0, count: 0, isDuplicate: false };

/** A topic as it has to become. */
class ModelTopic {
  readonly name: string;
  readonly values: string[] = [];
  readonly #requiresKeys: boolean;
  #nextSequence = 0;
  #lastNumbered: { readonly request: Partial<ProduceRequest>; readonly offset: number; readonly count: number } | undefined;

  constructor(name: string, requiresKeys: boolean) {
    this.name = name;
    this.#requiresKeys = requiresKeys;
  }

  /** A request, and what it must be answered. */
  draw(random: SeededRandom, number: number): { request: Partial<ProduceRequest>; answer: Expectation } {
    const count = random.pick([1, 1, 1, 2, 5]);
    const isGood = !this.#requiresKeys || random.chance(0.7);
    const records = Array.from({ length: count }, (_, i) => ({
      value: `${number}.${i}`.padEnd(random.integer(60), "-"),
      ...(isGood ? { key: `k${number}.${i}` } : {}),
    }));
    const request = this.#shape(random, records);
    const isAwaited = request.acks !== "none";
    if (request.expectedOffset !== undefined && request.expectedOffset !== this.values.length)
      return { request, answer: isGood ? "CONDITION_FAILED" : "INVALID_RECORD" };
    if (!isGood) return { request, answer: isAwaited ? "INVALID_RECORD" : notAwaited };
    if (request.producer !== undefined && this.#lastNumbered !== undefined && random.chance(0.2)) {
      const { request: again, offset, count: times } = this.#lastNumbered;
      return { request: again, answer: { offset, count: times, isDuplicate: true } };
    }
    const offset = this.values.length;
    this.values.push(...records.map(({ value }) => value));
    if (request.producer !== undefined) {
      this.#nextSequence += count;
      this.#lastNumbered = { request, offset, count };
    }
    return { request, answer: isAwaited ? { offset, count, isDuplicate: false } : notAwaited };
  }

  #shape(random: SeededRandom, records: readonly RecordInput[]): Partial<ProduceRequest> {
    const end = this.values.length;
    switch (random.pick(["plain", "plain", "plain", "plain", "unheard", "packed", "numbered", "condition", "wrong"])) {
      case "plain":
        return { records };
      case "unheard":
        return { records, acks: "none" };
      case "packed":
        return { batch: encodeBatch(records, { now: 1, compression: random.pick(["none", "zstd", "gzip"]) }) };
      case "numbered":
        return { records, producer: { id: 7, epoch: 0, baseSequence: this.#nextSequence } };
      case "condition":
        return { records, expectedOffset: end };
      default:
        return { records, expectedOffset: end + 1 };
    }
  }
}

async function valuesOf(client: Client, topic: string): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of client.consume({ topic, partition: 0, stopsAtEnd: true })) values.push(String(value));
  return values;
}
