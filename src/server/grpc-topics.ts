import { checkTopicSettingName, formatTopicSetting, isTopicSettingName, parseTopicSetting } from "../base/topic-settings.ts";
import type { TopicSettingChanges } from "../base/topic-settings.ts";
import type { Partition, Topic } from "../replica/catalog.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { ReplicaStatus } from "../replica/replica.ts";
import { type ProtoError, toProtoError } from "../wire/proto-error.ts";
import type {
  AlterTopicRequest,
  CreateTopicRequest,
  PartitionDescription,
  TopicDescription,
  TopicSummary,
} from "../wire/topic-message.ts";
import { ProglogError } from "../base/error.ts";

/** `log.v1.Topics`: the catalog, in the words of gRPC. */
export class GrpcTopics {
  readonly #storage: NodeStorage;

  constructor(storage: NodeStorage) {
    this.#storage = storage;
  }

  async list(): Promise<readonly TopicSummary[]> {
    const topics = await this.#storage.catalog.listTopics();
    return topics.map(({ name, partitions, createdAt }) => ({ name, partitionCount: partitions.length, createdAt }));
  }

  async create({ name, partitionCount, settings, replicationFactor = 0 }: CreateTopicRequest): Promise<TopicDescription> {
    const partitions = partitionCount === 0 ? undefined : partitionCount;
    const factor = replicationFactor === 0 ? undefined : replicationFactor;
    const topic = { name, partitions, replicationFactor: factor, settings: parseSettings(settings) };
    return this.#describe(await this.#storage.catalog.createTopic(topic));
  }

  async describe(name: string): Promise<TopicDescription> {
    checkTopicName(name);
    return this.#describe(await this.#storage.catalog.describeTopic(name));
  }

  async alter({ name, settings, unset, partitionCount, replicationFactor = 0 }: AlterTopicRequest): Promise<TopicDescription> {
    checkTopicName(name);
    const both = unset.find((setting) => Object.hasOwn(settings, setting));
    if (both !== undefined) {
      throw new ProglogError("INVALID_ARGUMENT", `Cannot alter topic ${name}: ${both} is to be set and unset at once`);
    }
    const changes = {
      ...parseSettings(settings),
      ...Object.fromEntries(unset.map(checkedName).map((setting) => [setting, null])),
    };
    const change = {
      partitions: partitionCount === 0 ? undefined : partitionCount,
      replicationFactor: replicationFactor === 0 ? undefined : replicationFactor,
      settings: changes,
    };
    return this.#describe(await this.#storage.catalog.changeTopic(name, change));
  }

  async delete(name: string): Promise<void> {
    checkTopicName(name);
    await this.#storage.catalog.deleteTopic(name);
  }

  #describe(topic: Topic): TopicDescription {
    const { name, uuid, createdAt, partitions, settings, replicationFactor } = topic;
    return {
      name,
      uuid,
      createdAt,
      replicationFactor,
      settings: formatSettings(settings),
      effectiveSettings: formatSettings(this.#storage.effectiveSettings(topic)),
      partitions: partitions.map((partition) => this.#describePartition(topic, partition)),
    };
  }

  #describePartition(topic: Topic, { partition, uuid }: Partition): PartitionDescription {
    const status = this.#storage.replicas.find(uuid)?.status();
    const { leader, replicas: places, term } = this.#storage.findPlace(topic, partition);
    // A single node leads all it has, and is reached where it was asked: nobody is named.
    const place = { partition, uuid, leaderId: leader?.nodeId ?? "", leaderRpcAddr: leader?.address ?? "" };
    const replicas = places.map(({ address: rpcAddr, ...replica }) => ({ ...replica, rpcAddr }));
    if (status === undefined) return { ...place, replicas, term, state: "closed", logStartOffset: 0, highWatermark: 0 };
    const { topic: _topic, partition: _partition, error, logStartOffset = 0, highWatermark = 0, ...rest } = status;
    const described = { ...rest, ...place, replicas, term, logStartOffset, highWatermark };
    return error === undefined ? { ...described, error } : { ...described, error: protoErrorOf(error) };
  }
}

function protoErrorOf({ code, message, hint }: NonNullable<ReplicaStatus["error"]>): ProtoError {
  return { ...toProtoError(new ProglogError("INTERNAL", message)), code, hint: hint ?? "" };
}

function formatSettings(settings: object): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]: [string, unknown]) => [
      name,
      isTopicSettingName(name) ? formatTopicSetting(name, value) : JSON.stringify(value),
    ]),
  );
}

function parseSettings(settings: Readonly<Record<string, string>>): TopicSettingChanges {
  return Object.fromEntries(Object.entries(settings).map(([name, text]) => [name, parseTopicSetting(checkedName(name), text)]));
}

function checkedName(name: string) {
  checkTopicSettingName(name);
  return name;
}
