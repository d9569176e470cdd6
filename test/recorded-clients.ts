import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect, isProglogError, type ProducerOptions, type ReadFrom } from "../src/client/index.ts";
import { withEvidence, type Witness } from "./evidence.ts";
import { checkHistory } from "./histories/check-history.ts";
import { checkHistoryByBruteForce } from "./histories/dumb-check.ts";
import type { AppendOperation, History, ReadOperation, SeenRecord } from "./histories/history.ts";
import { waitUntil } from "./wait-until.ts";

/**
 * Producers and readers of one partition that write down what they asked and what they were told: producers that number their batches and
 * such as don't, consumers that follow, and readers who ask whichever node is next until there is nothing more. In the end `check` holds
 * all of it against what the replicas have.
 */
export class RecordedClients implements AsyncDisposable {
  readonly #addresses: readonly string[];
  readonly #topic: string;
  readonly #clients: Client[] = [];
  readonly #appends: AppendOperation[] = [];
  readonly #reads: ReadOperation[] = [];
  readonly #readers: Reader[] = [];
  readonly #writing: Promise<void>[] = [];
  readonly #reading: Promise<void>[] = [];
  readonly #stopping = new AbortController();
  #writersCount = 0;
  #acknowledgedEnd = 0;
  readonly #failed = new AbortController();

  constructor(addresses: readonly string[], topic: string) {
    this.#addresses = addresses;
    this.#topic = topic;
  }

  get acknowledgedCount(): number {
    return this.#appends.filter(({ outcome }) => outcome === "ok").length;
  }

  /** Of what producers that number their batches sent, what wasn't acknowledged in the end: they send again until it is. */
  get unacknowledged(): readonly AppendOperation[] {
    return this.#appends.filter(({ client, outcome }) => client.startsWith(numbered) && outcome !== "ok");
  }

  historyWith(finals: History["finals"]): History {
    return { appends: this.#appends, reads: this.#reads, finals };
  }

  startWriter(options: ProducerOptions = {}): void {
    const name = `${options.isIdempotent === false ? plain : numbered}${this.#writersCount}`;
    this.#writersCount += 1;
    this.#writing.push(this.#noteFailure(this.#write(name, options)));
  }

  startReader(readFrom: ReadFrom = "leader"): void {
    const reader: Reader = { name: `r${this.#readers.length}`, stop: new AbortController(), nextOffset: 0, isAtEnd: true };
    this.#readers.push(reader);
    this.#reading.push(this.#noteFailure(this.#read(reader, readFrom)));
  }

  /** It is told that there is nothing more only when that is certain, whichever node it asks. */
  startLatestReader(): void {
    const reader: Reader = { name: `r${this.#readers.length}`, stop: new AbortController(), nextOffset: 0, isAtEnd: false };
    this.#readers.push(reader);
    this.#reading.push(this.#noteFailure(this.#readLatest(reader)));
  }

  /** Until so many more are acknowledged than there were. */
  async untilAcknowledged(count: number): Promise<void> {
    const target = this.acknowledgedCount + count;
    const { signal } = this.#failed;
    await waitUntil(`${target} records are acknowledged`, () => this.acknowledgedCount >= target, signal);
  }

  /** Writers end with what they have under way, readers when they have seen all that was acknowledged. */
  async finish(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#writing);
    for (const reader of this.#readers) {
      const what = `${reader.name} has seen ${this.#acknowledgedEnd} offsets`;
      await waitUntil(what, () => reader.isAtEnd && reader.nextOffset >= this.#acknowledgedEnd, this.#failed.signal);
      reader.stop.abort();
    }
    await Promise.all(this.#reading);
    this.#failed.signal.throwIfAborted();
  }

  /** Nothing acknowledged was lost, moved, or came twice; readers left nothing out; replicas are equal. */
  check(finals: History["finals"]): void {
    const history = this.historyWith(finals);
    assert.deepEqual(checkHistory(history).slice(0, 10), []);
    if (this.#appends.length <= bruteForceMaxCount) assert.deepEqual(checkHistoryByBruteForce(history).slice(0, 10), []);
    this.#checkOrder(finals);
  }

  /** Each writer's records stand in the order in which it sent them, though many were under way at a time. */
  #checkOrder(finals: History["finals"]): void {
    const [[, records] = ["", []]] = finals;
    const last = new Map<string, number>();
    for (const { offset, content } of records) {
      const [writer = "", number = ""] = content.split(":");
      // Who doesn't number what it sends goes on behind what may yet come.
      if (writer.startsWith(plain)) continue;
      const before = last.get(writer) ?? -1;
      assert.ok(Number(number) > before, `offset ${offset}: ${content} behind ${writer}:${before}`);
      last.set(writer, Number(number));
    }
  }

  async #write(name: string, options: ProducerOptions): Promise<void> {
    const producer = this.#connect().producer({ topic: this.#topic, partition: 0, ...options });
    const send = async (content: string): Promise<void> => {
      const invokedMs = performance.now();
      const asked = { kind: "append", client: name, contents: [content], invokedMs } as const;
      try {
        const { offset } = await producer.send({ value: content });
        this.#appends.push({ ...asked, returnedMs: performance.now(), outcome: "ok", baseOffset: offset });
        this.#acknowledgedEnd = Math.max(this.#acknowledgedEnd, offset + 1);
      } catch (error) {
        if (!isProglogError(error)) throw error;
        const outcome = error.details?.["outcome"] === "not-appended" ? "fail" : "info";
        this.#appends.push({ ...asked, returnedMs: performance.now(), outcome });
      }
    };
    for (let sent = 0; !this.#stopping.signal.aborted; sent += atOnceCount) {
      await Promise.all(Array.from({ length: atOnceCount }, (_, number) => send(`${name}:${sent + number}`)));
      await pause(writerPauseMs);
    }
  }

  async #read(reader: Reader, readFrom: ReadFrom): Promise<void> {
    let invokedMs = performance.now();
    const { signal } = reader.stop;
    for await (const batch of this.#connect().consume({ topic: this.#topic, partition: 0, readFrom, signal }).batches()) {
      const returnedMs = performance.now();
      const records = batch.records().map(({ offset, value }): SeenRecord => ({ offset, content: String(value) }));
      const { name: stream, nextOffset: from } = reader;
      this.#reads.push({ kind: "read", stream, from, invokedMs, returnedMs, records, isLatest: false });
      reader.nextOffset = batch.nextOffset;
      invokedMs = returnedMs;
    }
  }

  async #readLatest(reader: Reader): Promise<void> {
    const { signal } = reader.stop;
    for (let turn = 0; !signal.aborted; turn += 1) {
      const from = reader.nextOffset;
      const url = `http://${this.#addresses[turn % this.#addresses.length]}/v1/topics/${this.#topic}/records?partition=0&from=${from}`;
      const invokedMs = performance.now();
      const answer = await this.#fetch(url, signal);
      const returnedMs = performance.now();
      // It was shown all before this offset: no replica may say that there is less.
      assert.notEqual(answer?.status, 416, `${reader.name}: ${url}`);
      if (answer?.status === 200) {
        const records = answer.body.records.map(({ offset, value }): SeenRecord => ({ offset, content: value }));
        const isLatest = records.length === 0;
        this.#reads.push({ kind: "read", stream: reader.name, from, invokedMs, returnedMs, records, isLatest });
        reader.nextOffset = answer.body.nextOffset;
        reader.isAtEnd = isLatest;
      }
      await pause(latestPauseMs);
    }
  }

  /** Undefined when that node is gone, or says nothing. */
  async #fetch(url: string, signal: AbortSignal): Promise<{ status: number; body: RecordsAnswer } | undefined> {
    try {
      const answer = await fetch(url, {
        redirect: "manual",
        signal: AbortSignal.any([signal, AbortSignal.timeout(silenceMs)]),
      });
      return { status: answer.status, body: (await answer.json()) as RecordsAnswer };
    } catch {
      return undefined; // the next one is asked
    }
  }

  #connect(): Client {
    const client = connect(this.#addresses);
    this.#clients.push(client);
    return client;
  }

  async #noteFailure(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#failed.abort(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    for (const { stop } of this.#readers) stop.abort();
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all([...this.#writing, ...this.#reading]);
  }
}

/**
 * A topic of three replicas under writers and readers while `disturb` does what it does to the cluster. Afterwards more must be
 * acknowledged, all replicas come back, and everything is held against everything.
 */
export async function checkUnderLoad(
  cluster: LoadedCluster,
  topic: string,
  disturb: (clients: RecordedClients) => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const client = cluster.connect();
  await using clients = new RecordedClients(cluster.addresses, topic);
  let finals: History["finals"] = new Map();
  await withEvidence(
    cluster.witnesses,
    () => clients.historyWith(finals),
    async () => {
      await client.createTopic(topic, { partitionCount: 1, replicationFactor: 3, settings });
      clients.startWriter();
      clients.startWriter();
      clients.startWriter({ isIdempotent: false });
      clients.startReader("leader");
      clients.startReader("follower");
      clients.startLatestReader();
      await clients.untilAcknowledged(100);
      await disturb(clients);
      await clients.untilAcknowledged(100);
      await cluster.untilWell();
      await clients.finish();
      assert.deepEqual(clients.unacknowledged, []);
      finals = await readReplicas(cluster.members, topic);
      clients.check(finals);
    },
  );
}

export interface LoadedCluster {
  readonly addresses: readonly string[];
  readonly members: readonly { readonly name: string; readonly address: string }[];
  readonly witnesses: readonly Witness[];
  connect(): Client;
  untilWell(): Promise<unknown>;
}

/** What a node has of a partition, from its own replica, whoever leads. */
export async function readReplica(address: string, topic: string, partition = 0): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  for (let from = "start"; ; ) {
    const answer = await fetch(`http://${address}/v1/topics/${topic}/records?partition=${partition}&from=${from}&limit=10000`, {
      redirect: "error",
    });
    const body = (await answer.json()) as RecordsAnswer;
    assert.equal(answer.status, 200, JSON.stringify(body));
    for (const { offset, value } of body.records) seen.push({ offset, content: value });
    if (body.nextOffset >= body.highWatermark) return seen;
    from = String(body.nextOffset);
  }
}

/** Of all these nodes, once they have equally much. */
export function readReplicas(
  nodes: readonly { readonly name: string; readonly address: string }[],
  topic: string,
  partition = 0,
): Promise<ReadonlyMap<string, readonly SeenRecord[]>> {
  return waitUntil(`all replicas of ${topic}/${partition} end at the same offset`, async () => {
    const finals = new Map<string, readonly SeenRecord[]>();
    for (const { name, address } of nodes) finals.set(name, await readReplica(address, topic, partition));
    const ends = new Set([...finals.values()].map((records) => records.length));
    if (ends.size > 1) throw new Error(`they end at ${[...ends].join(", ")}`);
    return finals;
  });
}

interface RecordsAnswer {
  readonly records: readonly { readonly offset: number; readonly value: string }[];
  readonly nextOffset: number;
  readonly highWatermark: number;
}

interface Reader {
  readonly name: string;
  readonly stop: AbortController;
  nextOffset: number;
  /** It was told that there was nothing more; always true of one that isn't told such things. */
  isAtEnd: boolean;
}

/** What names of clients begin with. */
const numbered = "w";
const plain = "p";

/** Records that a writer has under way at a time, and how long it rests in between: some hundred a second, which is enough to be in the way. */
const atOnceCount = 4;
const writerPauseMs = 5;
const latestPauseMs = 10;

/** A node that stands still says nothing, and its socket stays. */
const silenceMs = 2_000;

/** The slow checker looks at all pairs. */
const bruteForceMaxCount = 1_500;
