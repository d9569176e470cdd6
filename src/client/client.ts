import type { Clock } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { clientHintsMaxCount } from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import {
  type AlterTopicRequest,
  decodeGetServersResponse,
  decodeListTopicsResponse,
  decodeTopicResponse,
  emptyMessage,
  encodeAlterTopicRequest,
  encodeCreateTopicRequest,
  encodeTopicNameRequest,
  type ServerDescription,
  type TopicDescription,
  type TopicSummary,
} from "../wire/topic-message.ts";
import { healthCheck } from "../grpc/index.ts";
import type { RecordInput } from "../batch/record.ts";
import { decodeProduceResponse, encodeProduceRequest } from "../wire/produce-message.ts";
import { Access } from "./access.ts";
import { Cluster } from "./cluster.ts";
import { Consumer, type ConsumeOptions, type ReadFrom } from "./consumer.ts";
import type { SentRange } from "./partition-producer.ts";
import { Producer, type ProducerOptions } from "./producer.ts";
import { Routes } from "./routes.ts";
import { Tracing, type TracingApi } from "./tracing.ts";
import type { Transport } from "./transport.ts";

/**
 * A client of one node or of a cluster. It connects when it has something to say, and again when a connection is lost.
 *
 * ```ts
 * await using client = connect("127.0.0.1:8000");
 * await using producer = client.producer({ topic: "orders" });
 * await producer.send({ key: "order-1", value: "placed" });
 * ```
 */
export class Client implements AsyncDisposable {
  readonly #routes: Routes;
  readonly #cluster: Cluster;
  readonly #access: Access;
  readonly #parts: ClientParts;
  readonly #producers = new Set<Producer>();
  readonly #closed = new AbortController();
  readonly #tracing: Tracing | undefined;

  constructor(addresses: readonly string[], parts: ClientParts) {
    this.#parts = parts;
    this.#tracing = parts.tracing && new Tracing(parts.tracing);
    this.#routes = new Routes(addresses, parts);
    this.#cluster = new Cluster((method, request, isRead) => this.#call(method, request, isRead));
    this.#access = new Access((method, request, isRead) => this.#call(method, request, isRead));
  }

  /** Sends records to one topic. Close it, or the client, so that what it holds goes out. */
  producer(options: ProducerOptions = {}): Producer {
    this.#checkOpen();
    const { clock, random } = this.#parts;
    const onClosed = (closed: Producer): void => void this.#producers.delete(closed);
    const producer = new Producer(options, { routes: this.#routes, clock, random, onClosed, tracing: this.#tracing });
    this.#producers.add(producer);
    return producer;
  }

  /** Reads a topic; see `Consumer`. */
  consume(options: ConsumeOptions = {}): Consumer {
    this.#checkOpen();
    const { clock, random } = this.#parts;
    const readFrom = this.#parts.readFrom ?? "leader";
    const { signal } = this.#closed;
    return new Consumer(options, { routes: this.#routes, clock, random, readFrom, signal, tracing: this.#tracing });
  }

  /**
   * Appends the records as one batch to one partition, once: for an append on condition, where trying again isn't the client's to
   * decide. With `expectedOffset` only if that is the log end offset; else CONDITION_FAILED with details {logEndOffset}.
   */
  async append(records: readonly RecordInput[], options: AppendOptions): Promise<SentRange> {
    const span = this.#tracing?.startSending(options.topic ?? "default", records);
    try {
      const range = await this.#append(span?.records ?? records, options);
      span?.sent(range);
      return range;
    } catch (error) {
      span?.failed(error);
      throw error;
    }
  }

  async #append(records: readonly RecordInput[], options: AppendOptions): Promise<SentRange> {
    this.#checkOpen();
    const { topic = "default", partition = 0, expectedOffset, signal } = options;
    const request = encodeProduceRequest({ topic, partition, records, acks: "quorum", expectedOffset, answersErrors: false });
    const answer = await this.#callLeader({ topic, partition }, (node) =>
      node.call("/log.v1.Log/Produce", request, { signal }),
    );
    const response = decodeProduceResponse(answer);
    const { offset, count, appendTime, isDurable } = response;
    return { partition: response.partition, baseOffset: offset, count, appendTime, isDurable };
  }

  /** What the cluster is made of, and how it is; and what an operator does to it. */
  get cluster(): Cluster {
    return this.#cluster;
  }

  /** Who may do what, and tokens. */
  get access(): Access {
    return this.#access;
  }

  async listTopics(): Promise<readonly TopicSummary[]> {
    return decodeListTopicsResponse(await this.#call("/log.v1.Topics/ListTopics", emptyMessage, true));
  }

  /**
   * `settings` as the documentation names them, values as text. Throws TOPIC_ALREADY_EXISTS; NOT_CLUSTERED for more than one
   * replica where the node is in no cluster.
   */
  async createTopic(name: string, options: CreateTopicOptions = {}): Promise<TopicDescription> {
    const { partitionCount = 0, replicationFactor = 0, settings = {} } = options;
    const request = { name, partitionCount, replicationFactor, settings };
    return this.#changed(name, await this.#call("/log.v1.Topics/CreateTopic", encodeCreateTopicRequest(request)));
  }

  /** Throws TOPIC_NOT_FOUND. */
  async describeTopic(name: string): Promise<TopicDescription> {
    return decodeTopicResponse(await this.#call("/log.v1.Topics/DescribeTopic", encodeTopicNameRequest(name), true));
  }

  /** Changes settings, takes them back to the node's default, or raises the number of partitions. */
  async alterTopic(name: string, changes: Partial<Omit<AlterTopicRequest, "name">>): Promise<TopicDescription> {
    const request = { name, settings: {}, unset: [], partitionCount: 0, ...changes };
    return this.#changed(name, await this.#call("/log.v1.Topics/AlterTopic", encodeAlterTopicRequest(request)));
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#call("/log.v1.Topics/DeleteTopic", encodeTopicNameRequest(name));
    this.#routes.forget(name);
  }

  /** The nodes, as the one that answers sees them. */
  async getServers(): Promise<readonly ServerDescription[]> {
    return decodeGetServersResponse(await this.#call("/log.v1.Log/GetServers", emptyMessage, true));
  }

  /** Whether the node that answers serves: its logs are open, and it isn't stopping. Over HTTP `/readyz` says the same. */
  async isServing(): Promise<boolean> {
    return healthCheck.response.decode(await this.#call(healthCheck.path, emptyMessage, true)) === "SERVING";
  }

  /** Sends what its producers hold, ends its consumers, and closes the connections. Twice is fine. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#producers].map((producer) => producer.close()));
    this.#closed.abort();
    await this.#routes.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Follows who is said to lead, since nothing was done then; anything else is for the caller to judge. */
  async #callLeader<Answer>(
    { topic, partition }: { readonly topic: string; readonly partition: number },
    call: (node: Transport) => Promise<Answer>,
  ): Promise<Answer> {
    for (let hints = 0; ; hints += 1) {
      const node = await this.#routes.getLeader(topic, partition);
      try {
        return await call(node);
      } catch (error) {
        if (!isProglogError(error)) throw error;
        const isNamed = this.#routes.noteFailure({ topic, partition, address: node.address, error });
        if (!isNamed || !isProglogError(error, "NOT_LEADER") || hints >= clientHintsMaxCount) throw error;
      }
    }
  }

  #call(method: string, request: Buffer, isRead = false): Promise<Buffer> {
    this.#checkOpen();
    return this.#routes.call(method, request, { signal: this.#closed.signal, isRead });
  }

  #changed(name: string, answer: Buffer): TopicDescription {
    this.#routes.forget(name);
    return decodeTopicResponse(answer);
  }

  #checkOpen(): void {
    if (this.#closed.signal.aborted) throw new ProglogError("LOG_CLOSED", "Cannot use the client: it is closed");
  }
}

export interface ClientParts {
  readonly connect: (address: string) => Transport;
  readonly clock: Clock;
  readonly random: Random;
  /** Of its consumers, where they don't say. Default "leader". */
  readonly readFrom?: ReadFrom | undefined;
  readonly tracing?: TracingApi | undefined;
}

export interface AppendOptions {
  /** Default "default". */
  readonly topic?: string;
  /** Default 0. */
  readonly partition?: number;
  readonly expectedOffset?: number;
  readonly signal?: AbortSignal;
}

export interface CreateTopicOptions {
  /** Default 1. */
  readonly partitionCount?: number;
  /** On how many nodes each partition lies. Default: the cluster's, which is 3, or as many as there are nodes. */
  readonly replicationFactor?: number;
  readonly settings?: Readonly<Record<string, string>>;
}
