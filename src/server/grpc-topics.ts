import { checkTopicSettingName, formatTopicSetting, isTopicSettingName, parseTopicSetting } from "../base/topic-settings.ts";
import type { TopicSettingChanges } from "../base/topic-settings.ts";
import type { Topic } from "../replica/catalog.ts";
import type { DataDirectory } from "../replica/data-directory.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import { toProtoError } from "../wire/proto-error.ts";
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
  readonly #directory: DataDirectory;

  constructor(directory: DataDirectory) {
    this.#directory = directory;
  }

  async list(): Promise<readonly TopicSummary[]> {
    const topics = await this.#directory.catalog.listTopics();
    return topics.map(({ name, partitions }) => ({ name, partitionCount: partitions.length }));
  }

  async create({ name, partitionCount, settings }: CreateTopicRequest): Promise<TopicDescription> {
    const partitions = partitionCount === 0 ? undefined : partitionCount;
    return this.#describe(await this.#directory.catalog.createTopic({ name, partitions, settings: parseSettings(settings) }));
  }

  async describe(name: string): Promise<TopicDescription> {
    checkTopicName(name);
    return this.#describe(await this.#directory.catalog.describeTopic(name));
  }

  async alter({ name, settings, unset, partitionCount }: AlterTopicRequest): Promise<TopicDescription> {
    checkTopicName(name);
    const both = unset.find((setting) => Object.hasOwn(settings, setting));
    if (both !== undefined) {
      throw new ProglogError("INVALID_ARGUMENT", `Cannot alter topic ${name}: ${both} is to be set and unset at once`);
    }
    const changes = {
      ...parseSettings(settings),
      ...Object.fromEntries(unset.map(checkedName).map((setting) => [setting, null])),
    };
    const partitions = partitionCount === 0 ? undefined : partitionCount;
    return this.#describe(await this.#directory.catalog.changeTopic(name, { partitions, settings: changes }));
  }

  async delete(name: string): Promise<void> {
    checkTopicName(name);
    await this.#directory.catalog.deleteTopic(name);
  }

  #describe({ name, partitions, settings }: Topic): TopicDescription {
    return {
      name,
      settings: Object.fromEntries(
        Object.entries(settings).map(([setting, value]) => [
          setting,
          isTopicSettingName(setting) ? formatTopicSetting(setting, value) : JSON.stringify(value),
        ]),
      ),
      partitions: partitions.map(({ partition, uuid }) => this.#describePartition(partition, uuid)),
    };
  }

  #describePartition(partition: number, uuid: string): PartitionDescription {
    const status = this.#directory.replicas.find(uuid)?.status();
    const { logStartOffset = 0, highWatermark = 0, error } = status ?? {};
    // One node leads all it has; it is reached where it was asked.
    const description = { partition, uuid, leaderId: "", leaderRpcAddr: "", logStartOffset, highWatermark };
    if (error === undefined) return description;
    const { code, message, hint } = error;
    return { ...description, error: { ...toProtoError(new ProglogError("INTERNAL", message)), code, hint: hint ?? "" } };
  }
}

function parseSettings(settings: Readonly<Record<string, string>>): TopicSettingChanges {
  return Object.fromEntries(Object.entries(settings).map(([name, text]) => [name, parseTopicSetting(checkedName(name), text)]));
}

function checkedName(name: string) {
  checkTopicSettingName(name);
  return name;
}
