import type { ErrorCode } from "../base/error.ts";
import type { ApiOperation } from "./api-operations.ts";
import { ref, type Schema, uuid } from "./schema.ts";

const json = "application/json";

const partitionErrors: readonly ErrorCode[] = [
  ...(["INVALID_TOPIC_NAME", "TOPIC_NOT_FOUND", "PARTITION_NOT_FOUND", "NOT_LEADER", "NOT_A_REPLICA"] as const),
  ...([
    "LOG_CLOSED",
    "LOG_POISONED",
    "LOG_CORRUPT",
    "LOG_NOT_FOUND",
    "UNSUPPORTED_FORMAT",
    "DISK_FULL",
    "DISK_FAILED",
  ] as const),
  "CHANGE_IN_PROGRESS",
];

const version = { description: "As the log was described. With another one it is begun again: `CHANGE_IN_PROGRESS`." };

/** What `api-operations.ts` says, of the routes that a backup is made through. */
export const backupOperations: Readonly<Record<string, ApiOperation>> = {
  "GET /v1/backup/topics": {
    operationId: "backupTopics",
    tag: "backup",
    summary: "The topics, with their settings and the uuids of their logs",
    answers: { 200: { description: "All of them.", content: { [json]: ref("BackupTopics") } } },
    errors: ["DISK_FULL", "DISK_FAILED", "NOT_LEADER", "OVERLOADED", "TIMEOUT"],
  },
  "GET /v1/backup/topics/:topic/partitions/:partition/log": {
    operationId: "backupLog",
    tag: "backup",
    summary: "What a partition's log is made of",
    answers: { 200: { description: "Up to what is committed.", content: { [json]: ref("BackupLog") } } },
    errors: [...partitionErrors, "TIMEOUT"],
  },
  "GET /v1/backup/topics/:topic/partitions/:partition/segments": {
    operationId: "backupSegments",
    tag: "backup",
    summary: "Segments of a partition's log, some hundreds at a time",
    query: {
      version,
      fromIndex: {
        description: "Where the first one begins: one above the base index, or above the last index of the one before.",
      },
      lastIndex: { description: "Of the log, as it was described." },
    },
    answers: { 200: { description: "In order.", content: { [json]: ref("BackupSegments") } } },
    errors: partitionErrors,
  },
  "GET /v1/backup/topics/:topic/partitions/:partition/store": {
    operationId: "backupStore",
    tag: "backup",
    summary: "Bytes of a segment's store",
    query: {
      version,
      baseIndex: { description: "Of the segment." },
      position: { description: "Of the first byte." },
      endPosition: { description: "Behind the last byte that is wanted; an answer has 4 MiB of them at most." },
    },
    answers: { 200: { description: "They aren't verified.", content: { "application/octet-stream": {} } } },
    errors: [...partitionErrors, "OVERLOADED", "QUOTA_EXCEEDED"],
  },
};

const index = { type: "integer", minimum: 0 };

/** Their shapes: a part of `api-shapes.ts`. */
export const backupShapes = {
  BackupTopics: {
    type: "object",
    required: ["storageId", "clusterId", "topics"],
    properties: {
      storageId: { type: "string", description: "Of the node's directory." },
      clusterId: { type: ["string", "null"], description: "Null on a single node." },
      topics: {
        type: "array",
        items: {
          type: "object",
          required: ["name", "uuid", "createdAt", "replicationFactor", "settings", "partitions"],
          properties: {
            name: ref("TopicName"),
            uuid: uuid(),
            createdAt: ref("Timestamp"),
            replicationFactor: { type: "integer", minimum: 1 },
            settings: { type: "object", description: "What is set for the topic." },
            partitions: { type: "array", items: uuid(), description: "The uuids of their logs, in order." },
          },
        },
      },
    },
  },
  BackupLog: {
    type: "object",
    required: [
      ...["uuid", "version", "logId", "baseRecord", "baseIndex", "logStartOffset", "lastIndex", "nextOffset", "isCompacted"],
    ],
    properties: {
      uuid: uuid(),
      version: { type: "string", description: "What is read is read with it." },
      logId: { type: "string", description: "What the log's checksums are seeded with." },
      baseRecord: { type: "string", contentEncoding: "base64", description: "As docs/format.md draws it." },
      baseIndex: { ...index, description: "The last entry trimmed away." },
      logStartOffset: ref("Offset"),
      lastIndex: { ...index, description: "The last entry committed." },
      nextOffset: ref("Offset"),
      isCompacted: { type: "boolean", description: "Its segments may be replaced by smaller ones." },
    },
  },
  BackupSegments: {
    type: "object",
    required: ["segments"],
    properties: {
      segments: {
        type: "array",
        items: {
          type: "object",
          required: ["baseIndex", "lastIndex", "bytes", "isSealed"],
          properties: {
            baseIndex: index,
            lastIndex: index,
            bytes: { ...index, description: "Of the store, from its front." },
            isSealed: { type: "boolean", description: "It takes no more entries." },
            end: {
              type: "object",
              description: "Of a sealed one: its last entry, by which a copy of before is known.",
              required: ["lastTerm", "nextOffset", "lastAppendTime"],
              properties: { lastTerm: index, nextOffset: ref("Offset"), lastAppendTime: ref("Timestamp") },
            },
          },
        },
      },
    },
  },
} satisfies Readonly<Record<string, Schema>>;
