import { type Clock, holdingClock, systemClock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { clientKeepaliveMs, clientKeepaliveTimeoutMs, clientWindowBytes } from "../base/limits.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { readAddresses } from "./address.ts";
import { Client } from "./client.ts";
import { type ClientTls, connectionOptionsOf } from "./client-tls.ts";
import type { ReadFrom } from "./consumer.ts";
import { GrpcTransport } from "./grpc-transport.ts";
import { checkTokenSource, type TokenSource } from "./token-source.ts";
import type { TracingApi } from "./tracing.ts";

/** `proglog/client`: a client of a node or a cluster. */
export { type ErrorCode, type ErrorDetails, isProglogError, ProglogError } from "../base/error.ts";
export type { Compression } from "../batch/compression.ts";
export type { RecordHeader, RecordInput, StoredHeader, StoredRecord } from "../batch/record.ts";
export type { Acks } from "../wire/produce-message.ts";
export type { StartingPoint } from "../wire/starting-point.ts";
export type {
  ClusterStatus,
  GroupStatus,
  MoveStatus,
  NodeStatus,
  AddNodeResult,
  RemoveNodeResult,
  TransferLeadershipResult,
} from "../wire/cluster-message.ts";
export type {
  PartitionDescription,
  ReplicaDescription,
  ServerDescription,
  TopicDescription,
  TopicSummary,
} from "../wire/topic-message.ts";
export type {
  AccessGrant,
  CreatedToken,
  PolicyDescription,
  TestPolicyRequest,
  TestPolicyResult,
  TokenDescription,
} from "../wire/access-message.ts";
export type { Access, AccessChange, Grant } from "./access.ts";
export type { TokenSource } from "./token-source.ts";
export type { Cluster, MoveOptions, TransferOptions } from "./cluster.ts";
export type { AppendOptions, Client, CreateTopicOptions } from "./client.ts";
export type { ClientTls } from "./client-tls.ts";
export type {
  ConsumeConnectedEvent,
  ConsumedBatch,
  ConsumedRecord,
  Consumer,
  ConsumeOptions,
  ConsumeRetryEvent,
  ReadFrom,
} from "./consumer.ts";
export type { RetryEvent, SentRange } from "./partition-producer.ts";
export type { TracingApi, TracingContext, TracingSpan, TracingSpanOptions, TracingTracer } from "./tracing.ts";
export type { Producer, ProducerOptions, SentPart, SentRecord } from "./producer.ts";

export interface ConnectOptions {
  /**
   * Whom its consumers ask in a cluster, unless they say: "leader" (default), or "follower", the replicas that follow it, each in turn,
   * and the leader where none does. Records are always produced to the leader. So "follower" is the rule of the book's picker.
   */
  readonly readFrom?: ReadFrom;
  /**
   * Says who the client is: a token (`proglog tokens create`), or a function that gives one, which is called for each call and each
   * stream, so that it may be another each time. Default: none; then it is whom its certificate names, or nobody.
   */
  readonly token?: TokenSource;
  /**
   * TLS: what the client trusts and shows, or a function that says it, asked with each connection, so that certificates can be renewed
   * while it runs. `{}` trusts what the system does, and so does an address that begins with `https://`. Default: in clear.
   */
  readonly tls?: ClientTls | (() => ClientTls);
  /** OpenTelemetry's API, `import * as api from "@opentelemetry/api"`: records that are sent and worked on have spans then. */
  readonly tracing?: TracingApi;
  /** Handed in by tests. */
  readonly clock?: Clock;
  readonly random?: Random;
}

/**
 * A client of the node at `address` (`host:port`, with `https://` before it over TLS; several, of one cluster: whichever answers). It connects when it has something
 * to say: an address where nobody listens shows in the first call, as UNAVAILABLE. Throws INVALID_ARGUMENT for what isn't one.
 *
 * ```ts
 * import { connect } from "proglog/client";
 *
 * await using client = connect("127.0.0.1:8000");
 * await using producer = client.producer({ topic: "orders" });
 * const { offset } = await producer.send({ key: "order-1", value: "placed" });
 * for await (const record of client.consume({ topic: "orders", stopsAtEnd: true })) console.log(record.offset, String(record.value));
 * ```
 */
export function connect(address: string | readonly string[], options: ConnectOptions = {}): Client {
  const given = typeof address === "string" ? [address] : [...address];
  if (given.length === 0) throw new ProglogError("INVALID_ARGUMENT", "Cannot connect: no address is given");
  const { addresses, isEncrypted } = readAddresses(given, { hasTls: options.tls !== undefined });
  const { token } = options;
  checkTokenSource(token);
  const random = options.random ?? systemRandom;
  const windows = { streamBytes: clientWindowBytes };
  const keepalive = { intervalMs: clientKeepaliveMs, timeoutMs: clientKeepaliveTimeoutMs };
  const tls = isEncrypted ? connectionOptionsOf(options.tls ?? {}) : undefined;
  // What a program waits for keeps it alive: a send that is to be tried again, a reader that connects again. Pings don't.
  const clock = options.clock ?? holdingClock;
  const transportClock = options.clock ?? systemClock;
  const shared = { windows, keepalive, clock: transportClock, random, token, ...(tls === undefined ? {} : { tls }) };
  return new Client(addresses, {
    connect: (node) => new GrpcTransport({ address: node, ...shared }),
    clock,
    random,
    readFrom: options.readFrom,
    tracing: options.tracing,
  });
}
