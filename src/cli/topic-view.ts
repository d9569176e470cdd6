import { isTopicSettingName, parseTopicSetting } from "../base/topic-settings.ts";
import type { PartitionDescription, ReplicaDescription, TopicDescription } from "../client/index.ts";

/** A topic as the commands show it, and print it as JSON: as `GET /v1/topics/{topic}` does. */
export interface TopicView {
  readonly name: string;
  readonly uuid: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly settings: SettingsView;
  /** What holds, set or by default. */
  readonly effectiveSettings: SettingsView;
  readonly partitions: readonly PartitionView[];
  /** Of a cluster's topic. */
  readonly replicationFactor?: number;
}

/** A `TopicSettingValue` each; of a later server's settings their text. */
export type SettingsView = Readonly<Record<string, string | number | boolean>>;

/** What isn't known of a partition is absent, as its log isn't open. */
export interface PartitionView {
  readonly partition: number;
  readonly state: string;
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  readonly damages?: number;
  readonly logStartOffset?: number;
  readonly logEndOffset?: number;
  readonly highWatermark?: number;
  readonly storeBytes?: number;
  readonly segments?: number;
  readonly queuedBytes?: number;
  readonly dirtyRatio?: number;
  /** Of a cluster's partition. */
  readonly leaderId?: string;
  readonly term?: number;
  readonly replicas?: readonly ReplicaDescription[];
}

export function viewTopic(topic: TopicDescription): TopicView {
  const { settings, effectiveSettings, partitions, name, uuid, createdAt, replicationFactor } = topic;
  const isClustered = partitions.some(({ replicas }) => replicas.length > 0);
  return {
    name,
    uuid,
    createdAt,
    ...(isClustered ? { replicationFactor } : {}),
    settings: viewSettings(settings),
    effectiveSettings: viewSettings(effectiveSettings),
    partitions: partitions.map(viewPartition),
  };
}

function viewSettings(settings: Readonly<Record<string, string>>): SettingsView {
  return Object.fromEntries(
    Object.entries(settings).map(([name, text]) => [name, isTopicSettingName(name) ? parseTopicSetting(name, text) : text]),
  );
}

function viewPartition(described: PartitionDescription): PartitionView {
  const { partition, state, error, uuid: _uuid, leaderId, leaderRpcAddr: _address, replicas, term, ...figures } = described;
  const { logStartOffset, highWatermark, ...others } = figures;
  const isOpen = state === "open" || state === "poisoned";
  return {
    partition,
    state,
    ...(error === undefined ? {} : { error: viewError(error) }),
    ...(isOpen ? { logStartOffset, highWatermark } : {}),
    ...(replicas.length === 0 ? {} : { leaderId, term, replicas }),
    ...(Object.fromEntries(Object.entries(others).filter(([, figure]) => figure !== undefined)) as object),
  };
}

function viewError({ code, message, hint }: NonNullable<PartitionDescription["error"]>): NonNullable<PartitionView["error"]> {
  return { code, message, ...(hint === "" ? {} : { hint }) };
}
