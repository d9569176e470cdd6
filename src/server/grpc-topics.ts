import { checkTopicSettingName, formatTopicSetting, isTopicSettingName, parseTopicSetting } from "../base/topic-settings.ts";
import type { TopicSettingChanges } from "../base/topic-settings.ts";
import type { Partition, Topic } from "../replica/catalog.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { CallContext } from "../grpc/index.ts";
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
import { callerOf } from "./access/caller.ts";
import type { TopicService } from "./topic-service.ts";

/** `log.v1.Topics`: the catalog, in the words of gRPC. */
export class GrpcTopics {
  readonly #storage: NodeStorage;
  readonly #topics: TopicService;

  constructor(storage: NodeStorage, topics: TopicService) {
    this.#storage = storage;
    this.#topics = topics;
  }

  async list(call: CallContext): Promise<readonly TopicSummary[]> {
    const topics = await this.#topics.list(callerOf(call));
    return topics.map(({ name, partitions, createdAt }) => ({ name, partitionCount: partitions.length, createdAt }));
  }

  async create(request: CreateTopicRequest, call: CallContext): Promise<TopicDescription> {
    const { name, partitionCount, settings, replicationFactor = 0 } = request;
    const partitions = partitionCount === 0 ? undefined : partitionCount;
    const factor = replicationFactor === 0 ? undefined : replicationFactor;
    const topic = { name, partitions, replicationFactor: factor, settings: parseSettings(settings) };
    return this.#describe(await this.#topics.create(callerOf(call), topic));
  }

  async describe(name: string, call: CallContext): Promise<TopicDescription> {
    return this.#describe(await this.#topics.describe(callerOf(call), name));
  }

  async alter(request: AlterTopicRequest, call: CallContext): Promise<TopicDescription> {
    const { name, settings, unset, partitionCount, replicationFactor = 0 } = request;
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
    return this.#describe(await this.#topics.change(callerOf(call), name, change));
  }

  async delete(name: string, call: CallContext): Promise<void> {
    await this.#topics.delete(callerOf(call), name);
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
