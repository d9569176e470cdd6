import { ProglogError } from "../../base/error.ts";
import type { Catalog, NewTopic, Topic, TopicChange } from "../catalog.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";

/**
 * The catalog of a node that is in a cluster, or on its way into one. Until it knows the catalog it says so: a topic that it hasn't heard
 * of yet is not one that isn't there.
 */
export class PendingCatalog implements Catalog {
  readonly #find: () => ClusterCatalog | undefined;
  readonly #untilLed: (topic: Topic) => Promise<void>;

  /** `untilLed` is what the making of partitions waits for, so that they can be used when it is told. Doesn't reject. */
  constructor(find: () => ClusterCatalog | undefined, untilLed: (topic: Topic) => Promise<void>) {
    this.#find = find;
    this.#untilLed = untilLed;
  }

  findTopic(name: string): Topic | undefined {
    return this.#get("find", name).findTopic(name);
  }

  async listTopics(): Promise<readonly Topic[]> {
    return this.#get("list").listTopics();
  }

  async describeTopic(name: string): Promise<Topic> {
    return this.#get("describe", name).describeTopic(name);
  }

  async createTopic(request: NewTopic): Promise<Topic> {
    const topic = await this.#get("create", request.name).createTopic(request);
    await this.#untilLed(topic);
    return topic;
  }

  async changeTopic(name: string, change: TopicChange): Promise<Topic> {
    const topic = await this.#get("change", name).changeTopic(name, change);
    if (change.partitions !== undefined) await this.#untilLed(topic);
    return topic;
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#get("delete", name).deleteTopic(name);
  }

  #get(verb: string, name?: string): ClusterCatalog {
    const catalog = this.#find();
    if (catalog?.state.clusterId !== undefined) return catalog;
    throw new ProglogError(
      "UNAVAILABLE",
      `Cannot ${verb} ${name === undefined ? "topics" : `topic ${name}`}: this node hasn't heard from its cluster yet`,
      {
        hint: "Come back: it waits for most of the nodes that keep the catalog.",
        details: { outcome: "not-appended" },
      },
    );
  }
}
