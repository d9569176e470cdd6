import type { ErrorCode } from "../base/error.ts";
import {
  consumeBytesDefault,
  consumeMaxBytes,
  consumeRecordsDefault,
  consumeRecordsMaxCount,
  consumeWaitMaxMs,
  recordOverheadBytes,
} from "../base/limits.ts";
import { backupOperations } from "./backup-operations.ts";
import { ref, type Schema } from "./schema.ts";

/**
 * What the API's document says of each route beyond what the route itself knows: one entry a route, by method and path as they are
 * registered. Tests hold the two together: each route is here and each entry a route, and the parameters are the same.
 */
export interface ApiOperation {
  readonly operationId: string;
  readonly tag: ApiTag;
  readonly summary: string;
  readonly description?: string;
  /** Of the query, by name, beyond what the route's own schema says. */
  readonly query?: Readonly<Record<string, Schema>>;
  /** Request headers that mean something here, by name. */
  readonly headers?: Readonly<Record<string, Schema>>;
  /** By media type. */
  readonly body?: Readonly<Record<string, Schema>>;
  readonly isBodyOptional?: boolean;
  readonly answers: Readonly<Record<number, ApiAnswer>>;
  /** Beside those that any route can have. */
  readonly errors: readonly ErrorCode[];
  /** The book's routes answer errors in plain text. Default: problems. */
  readonly hasPlainErrors?: boolean;
}

export interface ApiAnswer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Schema>>;
  /** By media type. Absent: no body. */
  readonly content?: Readonly<Record<string, Schema>>;
}

export type ApiTag = keyof typeof apiTags;

export const apiTags = {
  records: "Producing and consuming.",
  topics: "Topics, their settings and partitions.",
  cluster: "The nodes of a cluster, and who has and leads what.",
  access: "Who may do what, and tokens.",
  node: "How the node is.",
  backup: "What `proglog backup` reads a node through.",
  book: "The two routes of the book's first chapter, on the topic `default`.",
} as const;

const json = "application/json";
const lines = "application/x-ndjson";
const bytes = "application/octet-stream";
const events = "text/event-stream";
const text = "text/plain";

/** What reading a body can meet. */
const bodyErrors = ["REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "OVERLOADED", "CANCELLED"] as const;

/** What the catalog can meet: on a single node its disk, in a cluster that nobody decides, or not soon. */
const catalogErrors = ["DISK_FULL", "DISK_FAILED", "NOT_LEADER", "OVERLOADED", "TIMEOUT"] as const;

/** What a change of the access policy can meet: others that come in between, over and over. */
const accessChangeErrors = [...catalogErrors, "CHANGE_IN_PROGRESS", "UNSUPPORTED_FORMAT"] as const;

const policy = { [json]: ref("AccessPolicy") };

/** What a change of who has or leads a partition can meet. */
const partitionErrors = [
  "NOT_CLUSTERED",
  "INVALID_TOPIC_NAME",
  "TOPIC_NOT_FOUND",
  "PARTITION_NOT_FOUND",
  "CHANGE_IN_PROGRESS",
] as const;

const produceErrors = [
  "QUOTA_EXCEEDED",
  "INVALID_RECORD",
  "INVALID_BATCH",
  "INVALID_TOPIC_NAME",
  "RECORD_TOO_LARGE",
  "BATCH_TOO_LARGE",
  "UNSUPPORTED_COMPRESSION",
  "TOPIC_NOT_FOUND",
  "PARTITION_NOT_FOUND",
  "TOO_MANY_PARTITIONS",
  "APPEND_QUEUE_FULL",
  "DISK_FULL",
  "DISK_FAILED",
  "LOG_CLOSED",
  "LOG_POISONED",
  "LOG_CORRUPT",
  "LOG_NOT_FOUND",
  "UNSUPPORTED_FORMAT",
  "NOT_LEADER",
  "LEADERSHIP_LOST",
] as const;

const consumeErrors = [
  "INVALID_TOPIC_NAME",
  "TOPIC_NOT_FOUND",
  "PARTITION_NOT_FOUND",
  "OFFSET_OUT_OF_RANGE",
  "DISK_FULL",
  "DISK_FAILED",
  "LOG_CLOSED",
  "LOG_POISONED",
  "LOG_CORRUPT",
  "LOG_NOT_FOUND",
  "UNDECODABLE_BATCH",
  "UNSUPPORTED_FORMAT",
  "OVERLOADED",
  "QUOTA_EXCEEDED",
  "NOT_A_REPLICA",
] as const;

const topic = { [json]: ref("Topic") };

export const apiOperations: Readonly<Record<string, ApiOperation>> = {
  "POST /v1/topics/:topic/records": {
    operationId: "produce",
    tag: "records",
    summary: "Append records",
    description:
      "One record, an array, the bytes of one, or lines without an end. But for lines, everything is checked before anything is appended. It is answered when it is on the disk; lines batch by batch.",
    query: {
      partition: {
        description: "Without it, a record with a key goes by the key (murmur2), the others to the next partition.",
      },
      key: { description: "Of a record that comes as bytes." },
      keyBase64: { description: "The same in Base64." },
      acks: {
        default: "quorum",
        description:
          "When it is answered: `quorum`: on the disks of most replicas; `leader`: on the leader's, and the offsets may later hold other records. On a single node they are the same.",
      },
    },
    headers: {
      "If-Match": {
        type: "string",
        pattern: '^("[0-9]{1,16}"|[0-9]{1,16})$',
        description: "Append only if the partition ends at this offset: the `ETag` of an answer.",
      },
      "Producer-Id": { ...ref("Offset"), description: "The producer's own number: makes a retry harmless, with the next two." },
      "Producer-Epoch": {
        type: "integer",
        minimum: 0,
        maximum: 2 ** 15 - 1,
        default: 0,
        description: "A higher one replaces the producer's earlier ones.",
      },
      "Producer-Sequence": {
        type: "integer",
        minimum: 0,
        maximum: 2 ** 31 - 1,
        description: "The number of the first record among the producer's in this partition, from 0.",
      },
      "Proglog-Key": { type: "string", description: "The key of a record that comes as bytes, in ASCII." },
      "Proglog-Key-Base64": { type: "string", description: "The same in Base64." },
    },
    body: {
      [json]: { anyOf: [ref("NewRecord"), { type: "array", minItems: 1, items: ref("NewRecord") }] },
      [lines]: { type: "string", description: "A NewRecord in each line, for as long as they come." },
      [bytes]: { type: "string", format: "binary", description: "The value of one record." },
    },
    answers: {
      200: {
        description: "Appended: to one partition, or to several. Lines: an answer to each batch, as it is on the disk.",
        headers: { ETag: { type: "string", description: "The end of the partition behind the records, for `If-Match`." } },
        content: {
          [json]: { anyOf: [ref("ProducedRange"), ref("ProducedRanges")] },
          [lines]: {
            type: "string",
            description:
              "In each line a ProducedRange or ProducedRanges with `firstLine` and `lastLine`. An `error`, a Problem, with the first `line` that isn't appended, is the last.",
          },
        },
      },
    },
    errors: [
      ...bodyErrors,
      ...produceErrors,
      "TIMEOUT",
      "CONDITION_FAILED",
      "PRODUCER_FENCED",
      "OUT_OF_ORDER_SEQUENCE",
      "DUPLICATE_SEQUENCE",
    ],
  },
  "GET /v1/topics/:topic/records": {
    operationId: "consume",
    tag: "records",
    summary: "Read records of a partition, or follow a topic",
    description:
      "From a starting point, bounded, and waiting if asked. `Accept: application/x-ndjson` gets a record a line. `Accept: text/event-stream`, or NDJSON with `follow=true`, is a live tail: of all partitions where none is named, and without the bounds.",
    query: {
      partition: { description: "Without it: 0; all of them in a live tail." },
      from: { ...ref("StartingPoint"), default: "start" },
      limit: {
        default: consumeRecordsDefault,
        description: `Records in the answer; more than ${consumeRecordsMaxCount} means that many.`,
      },
      maxBytes: {
        default: consumeBytesDefault,
        description: `Bytes of keys, values and headers, unpacked, and ${recordOverheadBytes} for each record and header; one record is read in any case. More than ${consumeMaxBytes} means that many.`,
      },
      waitMs: {
        default: 0,
        description: `How long to wait for a first record; more than ${consumeWaitMaxMs} means that long.`,
      },
      follow: { description: "With NDJSON: a live tail." },
      leaderOnly: {
        default: false,
        description:
          "In a cluster: only while the node leads the partition. One that doesn't sends on to the leader; a live tail ends when another leads, or may.",
      },
      atLeastOffset: {
        default: 0,
        description: `Read your writes: waits first until the node has all that lies before this offset, for \`waitMs\`, or ${consumeWaitMaxMs} where that is 0; \`TIMEOUT\` when it doesn't come.`,
      },
    },
    headers: {
      "Last-Event-ID": { type: "string", description: "Where a live tail goes on: the id of the last event seen." },
    },
    answers: {
      200: {
        description: "What there is.",
        headers: {
          ETag: { type: "string", description: "The `nextOffset`, for `If-Match`." },
          "Proglog-Next-Offset": { ...ref("Offset"), description: "With NDJSON: where to go on." },
          "Proglog-Log-Start-Offset": { ...ref("Offset"), description: "With NDJSON." },
          "Proglog-High-Watermark": { ...ref("Offset"), description: "With NDJSON." },
        },
        content: {
          [json]: ref("ConsumedRecords"),
          [lines]: { type: "string", description: "A Record in each line; in a live tail with its `partition`." },
          [events]: {
            type: "string",
            description: "A Record with its `partition` in the data of each event; the event's id is where to go on.",
          },
        },
      },
    },
    errors: [...consumeErrors, "NOT_LEADER", "TIMEOUT"],
  },

  "GET /v1/topics": {
    operationId: "listTopics",
    tag: "topics",
    summary: "List the topics",
    answers: { 200: { description: "The topics, by name.", content: { [json]: ref("Topics") } } },
    errors: [],
  },
  "POST /v1/topics": {
    operationId: "createTopic",
    tag: "topics",
    summary: "Make a topic",
    body: { [json]: ref("NewTopic") },
    answers: {
      201: { description: "Made.", headers: { Location: { type: "string" } }, content: topic },
    },
    errors: [
      ...bodyErrors,
      ...catalogErrors,
      "INVALID_TOPIC_NAME",
      "TOPIC_ALREADY_EXISTS",
      "TOO_MANY_PARTITIONS",
      "UNSUPPORTED_COMPRESSION",
      "NOT_CLUSTERED",
    ],
  },
  "GET /v1/topics/:topic": {
    operationId: "describeTopic",
    tag: "topics",
    summary: "Describe a topic",
    answers: { 200: { description: "Its settings and the state of its partitions.", content: topic } },
    errors: ["INVALID_TOPIC_NAME", "TOPIC_NOT_FOUND"],
  },
  "PATCH /v1/topics/:topic": {
    operationId: "changeTopic",
    tag: "topics",
    summary: "Change a topic",
    description: "Settings, and how many partitions it has. All of it is done, or nothing; it holds at once and is kept.",
    body: { [json]: ref("TopicChange"), "application/merge-patch+json": ref("TopicChange") },
    answers: { 200: { description: "Changed.", content: topic } },
    errors: [
      ...bodyErrors,
      ...catalogErrors,
      "INVALID_TOPIC_NAME",
      "TOPIC_NOT_FOUND",
      "TOO_MANY_PARTITIONS",
      "UNSUPPORTED_COMPRESSION",
      "UNSUPPORTED_FORMAT",
      "NOT_CLUSTERED",
    ],
  },
  "DELETE /v1/topics/:topic": {
    operationId: "deleteTopic",
    tag: "topics",
    summary: "Delete a topic and its records, for good",
    answers: { 204: { description: "Deleted." } },
    errors: [...catalogErrors, "INVALID_TOPIC_NAME", "TOPIC_NOT_FOUND", "TOO_MANY_PARTITIONS"],
  },

  "GET /v1/cluster": {
    operationId: "getCluster",
    tag: "cluster",
    summary: "The nodes, and the groups of replicas",
    description: "As this node has heard. A node that is in no cluster tells of itself.",
    query: {
      troubledOnly: { default: "false", description: "Only groups without a leader, under-replicated or on the move." },
    },
    answers: { 200: { description: "As it is.", content: { [json]: ref("Cluster") } } },
    errors: [],
  },
  "DELETE /v1/cluster/nodes/:node": {
    operationId: "removeNode",
    tag: "cluster",
    summary: "Take a node out of the cluster",
    query: { force: { default: "false", description: "Give its replicas up: for a node that won't come back." } },
    answers: { 200: { description: "Decided.", content: { [json]: ref("NodeRemoval") } } },
    errors: [...catalogErrors, "NOT_CLUSTERED", "NODE_NOT_FOUND", "CHANGE_IN_PROGRESS"],
  },
  "PUT /v1/cluster/nodes/:node": {
    operationId: "addNode",
    tag: "cluster",
    summary: "Have a node stay that is being taken out",
    answers: { 200: { description: "It stays.", content: { [json]: ref("NodeAddition") } } },
    errors: [...catalogErrors, "NOT_CLUSTERED", "NODE_NOT_FOUND"],
  },
  "POST /v1/topics/:topic/partitions/:partition/leader": {
    operationId: "transferLeadership",
    tag: "cluster",
    summary: "Have another replica lead a partition",
    body: { [json]: ref("NewLeader") },
    isBodyOptional: true,
    answers: { 200: { description: "It leads.", content: { [json]: ref("Leader") } } },
    errors: [...bodyErrors, ...catalogErrors, ...partitionErrors, "NOT_A_REPLICA"],
  },
  "PUT /v1/topics/:topic/partitions/:partition/replicas": {
    operationId: "movePartition",
    tag: "cluster",
    summary: "Say which nodes are to have a partition's replicas",
    body: { [json]: ref("NewReplicas") },
    answers: { 204: { description: "Decided: `GET /v1/cluster` tells how far it is." } },
    errors: [...bodyErrors, ...catalogErrors, ...partitionErrors, "NODE_NOT_FOUND"],
  },

  "GET /v1/access": {
    operationId: "getAccess",
    tag: "access",
    summary: "Rules, roles and tokens",
    description: "Without the tokens' secrets.",
    answers: { 200: { description: "As they are.", content: policy } },
    errors: [...catalogErrors, "UNSUPPORTED_FORMAT"],
  },
  "POST /v1/access": {
    operationId: "changeAccess",
    tag: "access",
    summary: "Add and take away rules and roles",
    description: "All or nothing. Refused when nobody would have `admin` on `*` any more, unless forced.",
    body: { [json]: ref("AccessChange") },
    answers: { 200: { description: "Changed: what there is now.", content: policy } },
    errors: [...bodyErrors, ...accessChangeErrors],
  },
  "POST /v1/access/test": {
    operationId: "testAccess",
    tag: "access",
    summary: "What would be decided",
    body: { [json]: ref("AccessQuestion") },
    answers: { 200: { description: "The decision.", content: { [json]: ref("AccessDecision") } } },
    errors: bodyErrors,
  },
  "POST /v1/access/tokens": {
    operationId: "createToken",
    tag: "access",
    summary: "Make a token",
    body: { [json]: ref("NewAccessToken") },
    answers: { 201: { description: "Made.", content: { [json]: ref("CreatedAccessToken") } } },
    errors: [...bodyErrors, ...accessChangeErrors],
  },
  "DELETE /v1/access/tokens/:id": {
    operationId: "revokeToken",
    tag: "access",
    summary: "Revoke a token",
    query: { force: { default: "false", description: "Though it is the one that asks." } },
    answers: { 204: { description: "Revoked: what was opened with it is ended." } },
    errors: accessChangeErrors,
  },

  ...backupOperations,

  "GET /v1/status": {
    operationId: "getStatus",
    tag: "node",
    summary: "How the node and its partitions are",
    answers: { 200: { description: "Also while it starts and stops.", content: { [json]: ref("Status") } } },
    errors: [],
  },
  "GET /v1/log-level": {
    operationId: "getLogLevel",
    tag: "node",
    summary: "What the node logs",
    answers: { 200: { description: "Also while it starts and stops.", content: { [json]: ref("LogLevel") } } },
    errors: [],
  },
  "PUT /v1/log-level": {
    operationId: "setLogLevel",
    tag: "node",
    summary: "Change what the node logs, until it is started again or for a while",
    body: { [json]: ref("LogLevelChange") },
    answers: { 200: { description: "It holds at once.", content: { [json]: ref("LogLevel") } } },
    errors: bodyErrors,
  },
  "GET /v1/openapi.json": {
    operationId: "getApiDocument",
    tag: "node",
    summary: "This document",
    answers: { 200: { description: "OpenAPI 3.1.", content: { [json]: { type: "object" } } } },
    errors: [],
  },
  "GET /livez": {
    operationId: "getLiveness",
    tag: "node",
    summary: "Whether the node's loop turns",
    answers: { 200: { description: "It does.", content: { [text]: { const: "ok\n" } } } },
    errors: [],
    hasPlainErrors: true,
  },
  "GET /readyz": {
    operationId: "getReadiness",
    tag: "node",
    summary: "Whether the node has opened its logs and serves",
    answers: {
      200: { description: "It serves.", content: { [text]: { const: "ok\n" } } },
      503: { description: "It starts or stops.", content: { [text]: { enum: ["starting\n", "stopping\n"] } } },
    },
    errors: [],
    hasPlainErrors: true,
  },
  "GET /metrics": {
    operationId: "getMetrics",
    tag: "node",
    summary: "Metrics, in Prometheus' text",
    answers: { 200: { description: "All of them.", content: { [text]: { type: "string" } } } },
    errors: [],
    hasPlainErrors: true,
  },

  "POST /": {
    operationId: "produceBookRecord",
    tag: "book",
    summary: "Append a record, in the book's shapes",
    description: "The content type isn't looked at, nor are fields that aren't known.",
    body: { "*/*": ref("BookRecord") },
    answers: { 200: { description: "Appended.", content: { [json]: ref("BookOffset") } } },
    errors: [...bodyErrors, ...produceErrors],
    hasPlainErrors: true,
  },
  "GET /": {
    operationId: "consumeBookRecord",
    tag: "book",
    summary: "Read a record, in the book's shapes",
    description: 'The offset stands in the query, or in a body `{"offset": 0}` for clients that can send one with a GET.',
    query: { offset: ref("Offset") },
    answers: {
      200: { description: "The record.", content: { [json]: ref("BookRecord") } },
      404: { description: "`offset not found`", content: { [text]: { type: "string" } } },
    },
    errors: [...bodyErrors, ...consumeErrors.filter((code) => code !== "OFFSET_OUT_OF_RANGE")],
    hasPlainErrors: true,
  },
};

/** What any route can meet, unless it is served while the node starts and stops. */
export const servingErrors = ["UNAVAILABLE", "SHUTTING_DOWN"] as const satisfies readonly ErrorCode[];

export const anyRouteErrors = ["INVALID_ARGUMENT", "FORBIDDEN_ORIGIN", "INTERNAL"] as const satisfies readonly ErrorCode[];

/** What any route can meet that asks who it is that asks. */
export const accessErrors = ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE"] as const satisfies readonly ErrorCode[];
