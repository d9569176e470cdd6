import { isProglogError, ProglogError } from "../base/error.ts";
import {
  checkTopicSetting,
  checkTopicSettingName,
  isTopicSettingName,
  type TopicSettingChanges,
  topicSettingDefinitions,
  type TopicSettings,
  topicSettingNames,
} from "../base/topic-settings.ts";
import { checkCompression } from "../batch/compression.ts";
import type { LogChanges, LogOptions } from "../log/index.ts";

/** What is set for a topic, as it stands in the catalog: a later version's settings, too, which are kept and mean nothing here. */
export type SettingsOfTopic = Readonly<Record<string, unknown>>;

/** How a node's logs are where their topic doesn't say. */
export type NodeDefaults = Pick<
  LogOptions,
  "segmentMaxBytes" | "segmentMaxAgeMs" | "retentionMaxBytes" | "retentionMaxAgeMs" | "compression"
>;

/** What holds for a topic: its own settings, else the node's, else the table's. */
export function effectiveSettings(own: SettingsOfTopic, node: NodeDefaults): TopicSettings {
  const defaults: Partial<Record<string, unknown>> = {
    retentionMs: limitOf(node.retentionMaxAgeMs),
    retentionBytes: limitOf(node.retentionMaxBytes),
    segmentBytes: node.segmentMaxBytes,
    segmentMs: node.segmentMaxAgeMs,
  };
  const entries = topicSettingNames.map((name) => {
    return [name, own[name] ?? defaults[name] ?? topicSettingDefinitions[name].default] as const;
  });
  return Object.fromEntries(entries) as unknown as TopicSettings;
}

/**
 * What a topic's logs are opened with, and changed by. Throws UNSUPPORTED_FORMAT for a value that this version doesn't know: a later
 * one wrote it, and going by a default instead could delete what it was to keep.
 */
export function logOptionsOf(own: SettingsOfTopic, node: NodeDefaults): Required<LogChanges> {
  for (const name of topicSettingNames.filter((known) => own[known] !== undefined)) checkKept(name, own[name]);
  const settings = effectiveSettings(own, node);
  const { compression } = settings;
  return {
    retentionMaxAgeMs: numberOf(settings.retentionMs),
    retentionMaxBytes: numberOf(settings.retentionBytes),
    segmentMaxBytes: settings.segmentBytes,
    segmentMaxAgeMs: settings.segmentMs,
    compression: compression === "producer" ? (node.compression ?? "none") : compression,
    batchCompression: compression,
    recordMaxBytes: settings.maxRecordBytes,
    timestampType: settings.timestampType,
    deepCheck: settings.deepCheck,
    cleanup: settings.cleanup,
    tombstoneRetentionMs: settings.tombstoneRetentionMs,
  };
}

/**
 * The settings with `changes` made. Throws INVALID_ARGUMENT with details {setting}, or UNSUPPORTED_COMPRESSION. What was set by a
 * later version can be taken back, too.
 */
export function changeSettings(own: SettingsOfTopic, changes: TopicSettingChanges): SettingsOfTopic {
  const next: Record<string, unknown> = { ...own };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null && Object.hasOwn(own, name)) {
      delete next[name];
      continue;
    }
    checkTopicSettingName(name);
    if (value === null || value === undefined) continue;
    next[name] = checkTopicSetting(name, value);
  }
  const { compression } = changes;
  // A codec that isn't installed here would refuse every append to the topic.
  if (compression !== undefined && compression !== null && compression !== "producer")
    checkCompression(compression, `Cannot set compression to ${compression}`);
  return next;
}

function checkKept(name: string, value: unknown): void {
  try {
    if (isTopicSettingName(name)) checkTopicSetting(name, value);
  } catch (error) {
    if (!isProglogError(error)) throw error;
    throw new ProglogError("UNSUPPORTED_FORMAT", `Cannot go by the topic's setting ${name}: ${error.message}`, {
      hint: "Start the release of proglog that set it, or a later one; or set it anew and start again.",
      details: { setting: name },
      cause: error,
    });
  }
}

function limitOf(value: number | undefined): number | "unlimited" | undefined {
  return value === Number.POSITIVE_INFINITY ? "unlimited" : value;
}

function numberOf(value: number | "unlimited"): number {
  return value === "unlimited" ? Number.POSITIVE_INFINITY : value;
}
