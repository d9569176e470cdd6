import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect, isProglogError } from "../../src/client/index.ts";

/** What was asked of the cluster all the time, and what came of it. */
export interface LoadTotals {
  readonly acknowledged: number;
  readonly read: number;
  /** Topics that were made, used by a client of their own, and deleted. */
  readonly visits: number;
  /** Those that met a node which was away, and went. */
  readonly failedVisits: number;
  /** Each a line: a record that is lost, twice or out of order, or a call that failed for good. */
  readonly findings: readonly string[];
}

const topic = "soak";
const partitionCount = 3;
const recordsEach = 10;
const everyMs = 20;
const visitEveryMs = 2_000;

/**
 * Keeps a cluster busy, and looks at whether it keeps its promises. A writer for each partition numbers its records; two readers, of the
 * leaders and of the followers, have to see each number once and in order. Beside them comes and goes what might leave something behind:
 * clients, topics, live tails.
 */
export class Load {
  readonly #client: Client;
  readonly #addresses: readonly string[];
  readonly #writing = new AbortController();
  readonly #reading = new AbortController();
  readonly #acknowledged: number[] = Array.from({ length: partitionCount }, () => 0);
  readonly #readers: Reader[] = [];
  readonly #findings: string[] = [];
  readonly #writers: Promise<void>[] = [];
  readonly #others: Promise<void>[] = [];
  #visits = 0;
  #failedVisits = 0;

  private constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
    this.#client = connect(addresses);
  }

  /** Begins when there is a cluster that takes a topic; throws when there is none in time. */
  static async start(addresses: readonly string[], maxMs: number): Promise<Load> {
    const load = new Load(addresses);
    // So little that as many segments go as come after two minutes: their descriptors would grow until then. It is a hundred seconds' worth.
    const settings = { segmentBytes: "2MiB", retentionBytes: "8MiB", cleanup: "delete" };
    for (const deadline = performance.now() + maxMs; ; await pause(100)) {
      try {
        await load.#client.createTopic(topic, { partitionCount, settings });
        break;
      } catch (error) {
        if (performance.now() < deadline) continue;
        await load.#client.close();
        throw error;
      }
    }
    for (let partition = 0; partition < partitionCount; partition += 1) {
      load.#writers.push(load.#finding(`write to partition ${partition}`, load.#write(partition)));
      for (const readFrom of ["leader", "follower"] as const) {
        const reader: Reader = { partition, readFrom, seen: 0, count: 0 };
        load.#readers.push(reader);
        load.#others.push(load.#finding(`read partition ${partition} of the ${readFrom}`, load.#read(reader)));
      }
    }
    load.#others.push(load.#finding("visit", load.#visit()));
    return load;
  }

  get totals(): LoadTotals {
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
    return {
      acknowledged: sum(this.#acknowledged),
      read: sum(this.#readers.map(({ count }) => count)),
      visits: this.#visits,
      failedVisits: this.#failedVisits,
      findings: this.#findings,
    };
  }

  /** Every partition is led and on all of its nodes, and these are up. False when that doesn't come about in time. */
  async untilWhole(maxMs: number): Promise<boolean> {
    for (const deadline = performance.now() + maxMs; performance.now() < deadline; await pause(100)) {
      const status = await this.#client.cluster.status({ troubledOnly: true }).catch(() => undefined);
      if (status?.groups.length === 0 && status.nodes.every(({ state }) => state === "up")) return true;
    }
    return false;
  }

  async transferLeadership(partition: number): Promise<void> {
    await this.#client.cluster.transferLeadership({ topic, partition: partition % partitionCount });
  }

  /** Writes no more, and waits until the readers have everything that was acknowledged. */
  async stop(maxMs: number): Promise<void> {
    this.#writing.abort();
    await Promise.all(this.#writers);
    for (const deadline = performance.now() + maxMs; performance.now() < deadline; await pause(50)) {
      if (this.#readers.every(({ partition, seen }) => seen >= (this.#acknowledged[partition] ?? 0))) break;
    }
    for (const { partition, readFrom, seen } of this.#readers) {
      const lost = (this.#acknowledged[partition] ?? 0) - seen;
      if (lost > 0)
        this.#findings.push(`partition ${partition}, read of the ${readFrom}: ${lost} acknowledged records aren't there`);
    }
    this.#reading.abort();
    await Promise.all(this.#others);
    await this.#client.close();
  }

  /** What ends with an error is a finding, not the end of the soak. */
  #finding(what: string, running: Promise<void>): Promise<void> {
    return running.catch((error: unknown) => void this.#findings.push(`Cannot ${what}: ${String(error)}`));
  }

  async #write(partition: number): Promise<void> {
    await using producer = this.#client.producer({ topic, partition });
    const filler = "x".repeat(500);
    const sent: Promise<unknown>[] = [];
    let number = 0;
    while (!this.#writing.signal.aborted) {
      const records = Array.from({ length: recordsEach }, () => {
        number += 1;
        return { key: `${number}`, value: filler.slice(0, (number * 37) % filler.length) };
      });
      const last = number;
      sent.push(
        producer.sendBatch(records).then(
          () => (this.#acknowledged[partition] = Math.max(this.#acknowledged[partition] ?? 0, last)),
          (error: unknown) =>
            this.#findings.push(`partition ${partition}: records up to ${last} weren't taken: ${String(error)}`),
        ),
      );
      // While nobody leads nothing is acknowledged: then it waits, as any program would.
      if (sent.length > sentMaxCount) await Promise.all(sent.splice(0));
      await pause(everyMs);
    }
    await Promise.all(sent);
  }

  async #read(reader: Reader): Promise<void> {
    const { partition, readFrom } = reader;
    const { signal } = this.#reading;
    for await (const { key, offset } of this.#client.consume({ topic, partition, readFrom, signal })) {
      const number = Number(key);
      if (number !== reader.seen + 1 && this.#findings.length < findingsMaxCount)
        this.#findings.push(
          `partition ${partition}, read of the ${readFrom}: at offset ${offset} comes ${number} after ${reader.seen}`,
        );
      reader.seen = number;
      reader.count += 1;
    }
  }

  async #visit(): Promise<void> {
    const leftOver = new Set<string>();
    for (; !this.#writing.signal.aborted; await pause(visitEveryMs)) {
      const name = `visit-${this.#visits}`;
      await using client = connect(this.#addresses);
      try {
        leftOver.add(name);
        await client.createTopic(name);
        await client.append([{ value: "hello" }], { topic: name });
        for await (const { value } of client.consume({ topic: name, stopsAtEnd: true })) void value;
        await this.#tailAMoment();
        for (const old of leftOver) {
          await client.deleteTopic(old).catch((error: unknown) => {
            if (!isProglogError(error, "TOPIC_NOT_FOUND")) throw error; // it is gone, though nobody heard so
          });
          leftOver.delete(old);
        }
      } catch {
        // It may have met a node that isn't there. The next one comes to another, and takes away what this one leaves.
        this.#failedVisits += 1;
      }
      this.#visits += 1;
    }
  }

  /** Up to its first record; then the connection is broken. */
  async #tailAMoment(): Promise<void> {
    const address = this.#addresses[this.#visits % this.#addresses.length];
    const gone = AbortSignal.timeout(visitEveryMs);
    const response = await fetch(`http://${address}/v1/topics/${topic}/records?from=end`, {
      headers: { accept: "text/event-stream" },
      signal: gone,
    });
    for await (const piece of response.body ?? []) {
      if (Buffer.from(piece).includes("data:")) break;
    }
  }
}

interface Reader {
  readonly partition: number;
  readonly readFrom: "leader" | "follower";
  /** The highest number. */
  seen: number;
  count: number;
}

/** Of batches; some seconds' worth. */
const sentMaxCount = 500;
const findingsMaxCount = 100;
