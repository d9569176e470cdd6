import { integerMax, logLevelForMaxMs, logLevelForMinMs, recordMaxHeaders } from "../base/limits.ts";
import {
  type TopicSettingDefinition,
  topicSettingDefinitions,
  type TopicSettingName,
  topicSettingNames,
} from "../base/topic-settings.ts";
import { replicaStates } from "../replica/replica.ts";
import { accessShapes } from "./access-shapes.ts";
import { backupShapes } from "./backup-operations.ts";
import { clusterShapes } from "./cluster-shapes.ts";
import { logLevels } from "./levelled-logger.ts";
import { ref, type Schema, uuid } from "./schema.ts";
import { errorTable } from "../wire/error-table.ts";

/**
 * The shapes that go over HTTP, as JSON Schema, under the names that the API's document gives them. What is written by hand here is
 * held to the code by tests: every answer of the suite is checked against them.
 */
export const shapes = {
  Offset: { type: "integer", minimum: 0, maximum: integerMax, description: "A record's number in its partition, from 0." },
  Timestamp: { type: "integer", minimum: 0, maximum: integerMax, description: "Milliseconds since 1970." },
  StartingPoint: {
    type: "string",
    minLength: 1,
    maxLength: 64,
    pattern: "^(start|end|@?[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?)$",
    description:
      "`start`, `end`, an offset (`42`), or a time: the first record at or after it (`@1760000000000`, `2026-01-31T08:00Z`).",
    examples: ["start", "end", "42", "@1760000000000", "2026-01-31T08:00Z"],
  },
  TopicName: {
    type: "string",
    pattern: "^(?!\\.{1,2}$)(?!__)[A-Za-z0-9._-]{1,249}$",
    description: "1 to 249 letters, digits, dots, underscores and hyphens; not `.` or `..`, and not beginning with `__`.",
    examples: ["orders"],
  },
  PartitionCount: { type: "integer", minimum: 1, maximum: integerMax },

  NewRecord: {
    type: "object",
    description: "A record to append. Bytes that aren't UTF-8 stand as padded Base64 in `keyBase64` or `valueBase64`.",
    additionalProperties: false,
    properties: {
      key: {
        type: ["string", "null"],
        description: "Decides the partition and what compaction keeps. Null or absent: no key.",
      },
      keyBase64: base64(),
      value: { type: ["string", "null"], description: "Null is a tombstone: under compaction it removes the key." },
      valueBase64: base64(),
      headers: {
        description: "In order; a key may stand twice. For short an object.",
        anyOf: [
          { type: "array", maxItems: recordMaxHeaders, items: headerShape() },
          { type: "object", maxProperties: recordMaxHeaders, additionalProperties: { type: ["string", "null"] } },
        ],
      },
      timestamp: {
        type: ["integer", "null"],
        minimum: 0,
        maximum: integerMax,
        description: "Milliseconds since 1970. Absent: the time of the append.",
      },
    },
    oneOf: [{ required: ["value"] }, { required: ["valueBase64"] }],
    not: { required: ["key", "keyBase64"] },
    examples: [{ key: "42", value: "placed", headers: [{ key: "trace", value: "a1" }] }],
  },
  Record: {
    type: "object",
    description: "A record as it is read. `keyBase64` or `valueBase64` stand only where the bytes aren't UTF-8.",
    required: ["offset", "timestamp", "headers"],
    properties: {
      offset: ref("Offset"),
      timestamp: { type: "integer", minimum: -1, maximum: integerMax, description: "-1 where a foreign producer gave none." },
      key: { type: ["string", "null"] },
      keyBase64: base64(),
      value: { type: ["string", "null"] },
      valueBase64: base64(),
      headers: { type: "array", items: headerShape() },
    },
  },
  ProducedRange: {
    type: "object",
    description: "The offsets `[baseOffset, baseOffset + count)` of a partition, given out to the records in their order.",
    required: ["partition", "baseOffset", "count", "isDurable"],
    properties: {
      partition: { type: "integer", minimum: 0 },
      baseOffset: ref("Offset"),
      count: { type: "integer", minimum: 1 },
      isDurable: {
        type: "boolean",
        description:
          "False where the node answers before it is certain to stay: `--sync interval` or `never`, or `acks=leader` in a cluster.",
      },
      duplicate: { type: "boolean", description: "A retry of what had been appended before." },
    },
  },
  ProducedRanges: {
    type: "object",
    description: "What keys led to several partitions.",
    required: ["count", "partitions"],
    properties: {
      count: { type: "integer", minimum: 1, description: "Of all partitions." },
      partitions: { type: "array", minItems: 2, items: ref("ProducedRange") },
    },
  },
  ConsumedRecords: {
    type: "object",
    required: ["records", "nextOffset", "logStartOffset", "highWatermark"],
    properties: {
      records: { type: "array", items: ref("Record") },
      nextOffset: { ...ref("Offset"), description: "Where to go on. It may lie behind the last record." },
      logStartOffset: { ...ref("Offset"), description: "The first readable offset." },
      highWatermark: { ...ref("Offset"), description: "The first offset not yet committed." },
    },
  },

  TopicSettings: {
    type: "object",
    description: "What is set for a topic. What isn't here goes by the node.",
    additionalProperties: false,
    properties: Object.fromEntries(topicSettingNames.map((name) => [name, settingShape(name)])),
    examples: [{ retentionMs: 604_800_000 }],
  },
  TopicSettingChanges: {
    type: "object",
    description: "Settings to set; null for what is to go by the node again.",
    additionalProperties: false,
    properties: Object.fromEntries(
      topicSettingNames.map((name) => [name, { anyOf: [settingShape(name), { type: "null" }] }] as const),
    ),
    examples: [{ segmentBytes: 67_108_864, retentionMs: null }],
  },
  EffectiveTopicSettings: {
    type: "object",
    description: "What holds for a topic: its own settings, else the node's.",
    required: topicSettingNames,
    properties: Object.fromEntries(topicSettingNames.map((name) => [name, settingShape(name)])),
  },
  NewTopic: {
    type: "object",
    additionalProperties: false,
    required: ["name"],
    properties: {
      name: ref("TopicName"),
      partitions: { ...ref("PartitionCount"), default: 1 },
      replicationFactor: {
        ...ref("PartitionCount"),
        description: "Replicas of each partition. By default 3, or as many as there are nodes; 1 on a single node.",
      },
      settings: ref("TopicSettingChanges"),
    },
    examples: [{ name: "orders", partitions: 3, settings: { retentionMs: 604_800_000 } }],
  },
  TopicChange: {
    type: "object",
    description: "What isn't named stays as it is.",
    additionalProperties: false,
    properties: {
      partitions: {
        ...ref("PartitionCount"),
        description: "How many it is to have; never fewer than it has. Keys may then lead to other partitions than before.",
      },
      replicationFactor: {
        ...ref("PartitionCount"),
        description: "Replicas of each partition: more are made, or some given up, once this is decided.",
      },
      settings: ref("TopicSettingChanges"),
    },
    examples: [{ settings: { retentionMs: 604_800_000 } }],
  },
  Topic: {
    type: "object",
    required: ["name", "uuid", "createdAt", "replicationFactor", "settings", "effectiveSettings", "partitions"],
    properties: {
      name: ref("TopicName"),
      uuid: { ...uuid(), description: "Another one for each topic ever made." },
      createdAt: ref("Timestamp"),
      replicationFactor: { ...ref("PartitionCount"), description: "Replicas that each partition is to have." },
      settings: ref("TopicSettings"),
      effectiveSettings: ref("EffectiveTopicSettings"),
      partitions: { type: "array", minItems: 1, items: ref("Partition") },
    },
  },
  Topics: { type: "object", required: ["topics"], properties: { topics: { type: "array", items: ref("Topic") } } },
  Partition: {
    type: "object",
    description:
      "Who has a partition, in a cluster, and its state on this node. Offsets and figures are absent where its log isn't open here.",
    required: ["partition", "state"],
    properties: {
      ...partitionProperties(),
      leaderId: { type: "string", description: "Absent while nobody is known to lead it, and on a single node." },
      leaderRpcAddr: { type: "string" },
      term: { type: "integer", minimum: 0, description: "In which it leads: of two answers the one with the higher is newer." },
      replicas: { type: "array", items: ref("Replica") },
    },
  },
  PartitionStatus: {
    type: "object",
    required: ["topic", "uuid", "partition", "state", "damages"],
    properties: { topic: ref("TopicName"), uuid: uuid(), ...partitionProperties(), group: ref("GroupState") },
  },
  ...clusterShapes(),
  ...accessShapes(),
  ...backupShapes,
  Status: {
    type: "object",
    required: ["phase", "startedAt", "uptimeMs", "storageId", "security", "orphans", "partitions"],
    properties: {
      version: { type: "string", description: "The release." },
      phase: { enum: ["starting", "serving", "stopping"] },
      startedAt: ref("Timestamp"),
      uptimeMs: { type: "integer", minimum: 0 },
      storageId: { type: "string", pattern: "^[0-9a-f]{32}$", description: "Made with the data directory and never again." },
      security: {
        type: "object",
        description: "How the port is protected.",
        required: ["clients", "clientCertificates", "peers", "isExposed"],
        properties: {
          clients: { enum: ["clear", "tls"] },
          clientCertificates: { enum: ["none", "optional", "required"], description: "Whether clients show certificates." },
          peers: { enum: ["clear", "mutual-tls"], description: "Between nodes of a cluster." },
          isExposed: {
            type: "boolean",
            description: "Anyone who reaches the port may do everything: --insecure has it so, and there is no access policy.",
          },
        },
      },
      orphans: {
        type: "object",
        description: "Log directories that no topic names.",
        required: ["count", "names"],
        properties: { count: { type: "integer", minimum: 0 }, names: { type: "array", items: { type: "string" } } },
      },
      cluster: ref("NodeInCluster"),
      partitions: { type: "array", items: ref("PartitionStatus") },
    },
  },

  LogLevel: {
    type: "object",
    required: ["level", "configured"],
    properties: {
      level: { enum: logLevels, description: "This, and what is worse, is logged." },
      configured: { enum: logLevels, description: "What the node was started with." },
      until: { ...ref("Timestamp"), description: "When it is as configured again. Absent: when the node is started again." },
    },
  },
  LogLevelChange: {
    type: "object",
    additionalProperties: false,
    required: ["level"],
    properties: {
      level: { enum: logLevels },
      forMs: {
        type: "integer",
        minimum: logLevelForMinMs,
        maximum: logLevelForMaxMs,
        description: "After that time it is as configured again.",
      },
    },
    examples: [{ level: "debug", forMs: 600_000 }],
  },

  BookRecord: {
    type: ["object", "null"],
    properties: {
      record: {
        type: ["object", "null"],
        properties: { value: { anyOf: [base64(), { type: "null" }] }, offset: ref("Offset") },
      },
    },
    examples: [{ record: { value: "aGVsbG8=" } }],
  },
  BookOffset: { type: "object", properties: { offset: ref("Offset") }, examples: [{ offset: 0 }] },

  ErrorCode: { enum: Object.keys(errorTable), description: "For programs. The list only grows." },
  Problem: {
    type: "object",
    description: "An error (RFC 9457).",
    required: ["type", "title", "status", "code", "detail", "retryable"],
    properties: {
      type: { type: "string", pattern: "^urn:proglog:error:[a-z-]+$" },
      title: { type: "string" },
      status: { type: "integer", minimum: 300, maximum: 599 },
      code: ref("ErrorCode"),
      detail: { type: "string", description: "For people: what was tried, then what is the case." },
      hint: { type: "string", description: "For people: what to do about it." },
      retryable: { type: "boolean", description: "The same request may succeed later." },
      outcome: {
        enum: ["not-appended", "unknown"],
        description: "What became of the records of a produce. Absent where none can meet the code.",
      },
      details: {
        type: "object",
        description: "Facts that a program may act on.",
        additionalProperties: { type: ["string", "number", "boolean", "null"] },
      },
    },
  },
} as const satisfies Readonly<Record<string, Schema>>;

export type ShapeName = keyof typeof shapes;

function base64(): Schema {
  const pattern = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";
  return { type: "string", contentEncoding: "base64", pattern, description: "Standard, padded Base64 (RFC 4648 §4)." };
}

function headerShape(): Schema {
  return {
    type: "object",
    required: ["key"],
    additionalProperties: false,
    properties: { key: { type: "string" }, value: { type: ["string", "null"] }, valueBase64: base64() },
    oneOf: [{ required: ["value"] }, { required: ["valueBase64"] }],
  };
}

function partitionProperties() {
  const bytes = { type: "integer", minimum: 0 };
  return {
    partition: { type: "integer", minimum: 0 },
    state: {
      enum: replicaStates,
      description:
        "`poisoned`: after a failed write; it is read, and takes no appends until a restart. `failed`: its log doesn't open.",
    },
    error: {
      type: "object",
      required: ["code", "message"],
      properties: { code: ref("ErrorCode"), message: { type: "string" }, hint: { type: "string" } },
    },
    damages: { type: "integer", minimum: 0, description: "Ranges found rotten since the start." },
    logStartOffset: ref("Offset"),
    logEndOffset: ref("Offset"),
    highWatermark: ref("Offset"),
    storeBytes: bytes,
    segments: { type: "integer", minimum: 1 },
    queuedBytes: { ...bytes, description: "Of appends that wait." },
    dirtyRatio: {
      type: "number",
      minimum: 0,
      maximum: 1,
      description:
        "The part of the bytes in sealed segments that came since the last compaction; 0 in a topic that isn't compacted.",
    },
  };
}

/** A setting as the table has it. */
function settingShape(name: TopicSettingName): Schema {
  const definition: TopicSettingDefinition = topicSettingDefinitions[name];
  const { kind, choices, min = 0, max = integerMax, mayBeUnlimited = false, nodeFlag, default: value } = definition;
  const origin = nodeFlag === undefined ? "" : ` Where it isn't set: \`${nodeFlag}\` of the node.`;
  const described = { description: `${definition.help}${origin}`, default: value };
  if (kind === "choice") return { enum: choices ?? [], ...described };
  if (kind === "flag") return { type: "boolean", ...described };
  const number = { type: "integer", minimum: min, maximum: max };
  return mayBeUnlimited ? { anyOf: [number, { const: "unlimited" }], ...described } : { ...number, ...described };
}
