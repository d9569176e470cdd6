import { ProglogError } from "./error.ts";
import { recordMaxBytes } from "./limits.ts";
import { findNearest } from "./nearest.ts";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./quantity.ts";
import { dayMs, GiB, KiB, MiB, secondMs } from "./units.ts";

/**
 * What can be set for a topic: one table, which the catalog, the HTTP routes and their document, the command line and
 * docs/operating.md go by. What isn't set for a topic is as the node is configured, or the table's default. A name ends
 * in its unit. On disk and in JSON a value stands as it does here.
 */
export interface TopicSettings {
  readonly retentionMs: number | Unlimited;
  readonly retentionBytes: number | Unlimited;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly compression: "producer" | "none" | "gzip" | "snappy" | "lz4" | "zstd";
  readonly maxRecordBytes: number;
  readonly timestampType: "create" | "append";
  readonly deepCheck: boolean;
  readonly cleanup: "delete" | "compact" | "both";
  readonly tombstoneRetentionMs: number;
}

/** What null can't say: that means "not set". */
export type Unlimited = "unlimited";

export type TopicSettingName = keyof TopicSettings;
export type TopicSettingValue = TopicSettings[TopicSettingName];

/** Values to set; null for those that are to be as the node has them again. */
export type TopicSettingChanges = { readonly [Name in TopicSettingName]?: TopicSettings[Name] | null };

export interface TopicSettingDefinition<Value extends TopicSettingValue = TopicSettingValue> {
  /** `duration` in milliseconds. */
  readonly kind: "duration" | "bytes" | "choice" | "flag";
  /** Where neither the topic nor the node says anything else. */
  readonly default: Value;
  /** For `duration` and `bytes`: inclusive. */
  readonly min?: number;
  readonly max?: number;
  readonly mayBeUnlimited?: boolean;
  readonly choices?: readonly string[];
  /** The flag of `proglog serve` that says what it is where a topic doesn't. */
  readonly nodeFlag?: string;
  /** A sentence for help and documents. */
  readonly help: string;
}

/** As good as for ever. */
const durationMaxMs = 100 * 365 * dayMs;

export const topicSettingDefinitions: { readonly [Name in TopicSettingName]: TopicSettingDefinition<TopicSettings[Name]> } = {
  retentionMs: {
    kind: "duration",
    default: "unlimited",
    mayBeUnlimited: true,
    min: 1,
    max: durationMaxMs,
    nodeFlag: "--retention-max-age-ms",
    help: "Age above which the oldest segments go.",
  },
  retentionBytes: {
    kind: "bytes",
    default: "unlimited",
    mayBeUnlimited: true,
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    nodeFlag: "--retention-max-bytes",
    help: "Bytes of a partition above which its oldest segments go.",
  },
  segmentBytes: {
    kind: "bytes",
    default: 256 * MiB,
    min: KiB,
    max: 64 * GiB,
    nodeFlag: "--segment-max-bytes",
    help: "Bytes at which a segment is sealed.",
  },
  segmentMs: {
    kind: "duration",
    default: 7 * dayMs,
    min: secondMs,
    max: durationMaxMs,
    nodeFlag: "--segment-max-age-ms",
    help: "Age at which a segment is sealed.",
  },
  compression: {
    kind: "choice",
    default: "producer",
    choices: ["producer", "none", "gzip", "snappy", "lz4", "zstd"],
    help: "How batches are stored: as their producer packed them, or packed anew by this codec where it is another.",
  },
  maxRecordBytes: {
    kind: "bytes",
    default: recordMaxBytes,
    min: 1,
    max: recordMaxBytes,
    help: "Bytes of a record's key, value and headers together.",
  },
  timestampType: {
    kind: "choice",
    default: "create",
    choices: ["create", "append"],
    help: "Whose timestamp a record keeps: its producer's, or the time at which it was appended.",
  },
  deepCheck: {
    kind: "flag",
    default: false,
    help: "Inflate compressed batches and check their records before they are taken. A compacted topic always does.",
  },
  cleanup: {
    kind: "choice",
    default: "delete",
    choices: ["delete", "compact", "both"],
    help: "What becomes of old records: retention removes them, compaction keeps the newest of each key, or both.",
  },
  tombstoneRetentionMs: {
    kind: "duration",
    default: dayMs,
    min: 0,
    max: durationMaxMs,
    help: "How long a tombstone stays after compaction could drop it.",
  },
};

export const topicSettingNames = Object.keys(topicSettingDefinitions) as readonly TopicSettingName[];

export function isTopicSettingName(name: string): name is TopicSettingName {
  return Object.hasOwn(topicSettingDefinitions, name);
}

/** Throws INVALID_ARGUMENT with details {setting} for a name that the table doesn't have. */
export function checkTopicSettingName(name: string): asserts name is TopicSettingName {
  if (isTopicSettingName(name)) return;
  const nearest = findNearest(name, topicSettingNames);
  throw new ProglogError("INVALID_ARGUMENT", `Cannot set ${JSON.stringify(name.slice(0, 64))}: topics have no such setting`, {
    hint: nearest === undefined ? `There are ${topicSettingNames.join(", ")}.` : `Did you mean ${nearest}?`,
    details: { setting: name.slice(0, 64) },
  });
}

/** Checks a value as it stands in JSON. Throws INVALID_ARGUMENT with details {setting}. */
export function checkTopicSetting<Name extends TopicSettingName>(name: Name, value: unknown): TopicSettings[Name] {
  const definition: TopicSettingDefinition = topicSettingDefinitions[name];
  checkValue(name, definition, value, value);
  return value as TopicSettings[Name];
}

/** The value that text on a command line stands for: `7d`, `64MiB`, `true`. Throws INVALID_ARGUMENT with details {setting}. */
export function parseTopicSetting(name: TopicSettingName, text: string): TopicSettingValue {
  const definition: TopicSettingDefinition = topicSettingDefinitions[name];
  const value = parsers[definition.kind](text) ?? text;
  checkValue(name, definition, value, text);
  return value as TopicSettingValue;
}

/** A value for people: `7d`, `64MiB`, `true`. */
export function formatTopicSetting(name: TopicSettingName, value: unknown): string {
  if (typeof value !== "number") return String(value);
  return topicSettingDefinitions[name].kind === "bytes" ? formatBytes(value) : formatDuration(value);
}

const parsers: Readonly<Record<TopicSettingDefinition["kind"], (text: string) => TopicSettingValue | undefined>> = {
  duration: parseDuration,
  bytes: parseBytes,
  choice: () => undefined,
  flag: (text) => (text === "true" ? true : text === "false" ? false : undefined),
};

function checkValue(name: TopicSettingName, definition: TopicSettingDefinition, value: unknown, given: unknown): void {
  const { kind, min = 0, max = Number.MAX_SAFE_INTEGER, mayBeUnlimited = false, choices = [] } = definition;
  const refuse = (reason: string): ProglogError => {
    const shown = (JSON.stringify(given) ?? String(given)).slice(0, 64);
    return new ProglogError("INVALID_ARGUMENT", `Cannot set ${name} to ${shown}: ${reason}`, { details: { setting: name } });
  };
  if (kind === "choice") {
    if (typeof value !== "string" || !choices.includes(value)) throw refuse(`it is none of ${choices.join(", ")}`);
    return;
  }
  if (kind === "flag") {
    if (typeof value !== "boolean") throw refuse("it is neither true nor false");
    return;
  }
  if (mayBeUnlimited && value === "unlimited") return;
  const unit = kind === "bytes" ? "bytes" : "milliseconds";
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw refuse(`it isn't a whole number of ${unit}${mayBeUnlimited ? ", or unlimited" : ""}`);
  }
  const format = kind === "bytes" ? formatBytes : formatDuration;
  if (value < min) throw refuse(`it is less than ${format(min)}`);
  if (value > max) throw refuse(`it is more than ${format(max)}`);
}
