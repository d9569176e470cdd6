import { type ErrorDetails, ProglogError } from "../../base/error.ts";
import { catalogCommandMaxBytes, clusterNodesMaxCount, deletedGroupsMaxCount } from "../../base/cluster-limits.ts";
import { partitionsMaxCount } from "../../base/limits.ts";
import type { Random } from "../../base/random.ts";
import { checkPartitionCount } from "../partition-count.ts";
import { makeUuid } from "../uuid.ts";
import {
  type CatalogChange,
  type CatalogCommand,
  decodeCommand,
  encodeCommand,
  type PlacedPartitions,
  type WishedReplica,
} from "./catalog-command.ts";
import type { CatalogState, CatalogTopic } from "./catalog-state.ts";
import { isJsonObject, MalformedJson, parseJson } from "./json-fields.ts";
import { defaultReplicationFactor, loadsOf, type NodeLoad, placePartitions } from "./placement.ts";

/**
 * What a node asks the leader of group 0 to propose: a change as it stands, or one that the leader first makes up its mind about,
 * since it knows best what there is: where new partitions go. `id` becomes the command's.
 */
export interface CatalogRequest {
  readonly id: string;
  readonly wish: CatalogWish;
}

export type CatalogWish =
  | CatalogChange
  | {
      readonly kind: "wish-topic";
      readonly name: string;
      /** Made by who asks, so that it knows its own. */
      readonly uuid: string;
      readonly partitions: number;
      readonly replicationFactor?: number;
      readonly settings: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: "wish-change";
      readonly name: string;
      readonly uuid: string;
      /** How many it is to have. */
      readonly partitions?: number;
      readonly replicationFactor?: number;
      readonly settings: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: "wish-replicas";
      readonly topic: string;
      readonly partition: number;
      /** Nodes that are to have it; those that do keep their replica. */
      readonly nodes: readonly string[];
      /** Default: who is it now, else the first. */
      readonly leader?: string;
    };

export function encodeRequest({ id, wish }: CatalogRequest): Buffer {
  return encodeCommand({ id, ...wish } as CatalogCommand);
}

/** Throws INVALID_ARGUMENT. Between nodes of one cluster, so what is a wish is taken as it comes; what is written is checked. */
export function decodeRequest(bytes: Buffer): CatalogRequest {
  try {
    const value = parseJson(bytes);
    if (isJsonObject(value) && typeof value["id"] === "string" && String(value["kind"]).startsWith("wish-")) {
      const { id, ...wish } = value;
      return { id, wish: wish as unknown as CatalogWish };
    }
    const command = decodeCommand(bytes);
    if (command.kind === "malformed") throw new MalformedJson(command.reason);
    const { id, ...wish } = command;
    return { id, wish };
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot propose a change of the catalog: ${error.message}`, { cause: error });
  }
}

export interface CommandMakerOptions {
  readonly now: number;
  readonly random: Random;
  /** Names of topics of this node's own that are still to come into the catalog. */
  readonly reserved?: ReadonlySet<string>;
  /** Whether there is a way to a node: those go first when replicas are placed. Default: to all. */
  readonly isUp?: ((node: string) => boolean) | undefined;
}

/** Makes commands of requests, against one state: those of one turn of the leader. What is placed by one is counted for the next. */
export class CommandMaker {
  readonly #state: CatalogState;
  readonly #now: number;
  readonly #random: Random;
  readonly #reserved: ReadonlySet<string>;
  readonly #isUp: (node: string) => boolean;
  #loads: readonly NodeLoad[] | undefined;
  /** Groups that the commands made so far delete. */
  #deletedCount = 0;

  constructor(state: CatalogState, { now, random, reserved = new Set(), isUp = () => true }: CommandMakerOptions) {
    this.#reserved = reserved;
    this.#isUp = isUp;
    this.#state = state;
    this.#now = now;
    this.#random = random;
  }

  /** The record. Throws why there is none: the codes of `Catalog`, NODE_NOT_FOUND, CHANGE_IN_PROGRESS. */
  make({ id, wish }: CatalogRequest): Buffer {
    const bytes = encodeCommand({ id, ...this.#changeOf(wish) });
    if (bytes.length <= catalogCommandMaxBytes) {
      // What no node could read isn't written.
      const written = decodeCommand(bytes);
      if (written.kind !== "malformed") return bytes;
      throw new ProglogError("INVALID_ARGUMENT", `Cannot change the catalog: ${written.reason}`);
    }
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot change the catalog: the change takes ${bytes.length} bytes, and ${catalogCommandMaxBytes} are allowed`,
      { hint: "Make it in several steps: a topic of fewer partitions, to which others are added." },
    );
  }

  #changeOf(wish: CatalogWish): CatalogChange {
    // Whatever came before it would take the first offset: that is the incarnation with which those that form the cluster began group 0.
    if (this.#state.clusterId === undefined && wish.kind !== "form-cluster")
      throw new ProglogError("UNAVAILABLE", "Cannot change the catalog: it isn't begun yet", { hint: "Try again soon." });
    switch (wish.kind) {
      case "wish-topic":
        this.#checkTaken(wish.name, "create");
        return this.#createTopic(wish);
      case "delete-topic":
        this.#checkTaken(wish.name, "delete");
        this.#checkDeletedCount(wish.name);
        return wish;
      case "wish-change":
        return this.#alterTopic(wish);
      case "wish-replicas":
        return this.#placePartition(wish);
      case "add-node":
        this.#checkNodeCount(wish.node.name);
        return wish;
      default:
        return wish;
    }
  }

  /** Another one of the name would take the place of the one with the records; and one that was deleted would come again. */
  #checkTaken(name: string, attempt: string): void {
    if (this.#reserved.has(name))
      throw new ProglogError("UNAVAILABLE", `Cannot ${attempt} topic ${name}: the cluster is still taking it over`, {
        hint: "Try again soon.",
      });
  }

  #createTopic(wish: Wish<"wish-topic">): CatalogChange {
    const { name, uuid, partitions, settings } = wish;
    const attempt = `create topic ${name}`;
    const known = this.#state.topics.get(name);
    if (known !== undefined && known.uuid !== uuid)
      throw new ProglogError("TOPIC_ALREADY_EXISTS", `Cannot ${attempt}: it is there already`);
    const replicationFactor = wish.replicationFactor ?? defaultReplicationFactor(this.#currentLoads.length);
    this.#checkReplicationFactor(replicationFactor, attempt);
    const placed = this.#place(partitions, replicationFactor, attempt);
    return { kind: "create-topic", name, uuid, createdAt: this.#now, replicationFactor, settings, placed };
  }

  #alterTopic({ name, uuid, partitions, replicationFactor, settings }: Wish<"wish-change">): CatalogChange {
    const attempt = `change topic ${name}`;
    const topic = this.#getTopic(name, attempt);
    if (topic.uuid !== uuid) throw new ProglogError("TOPIC_NOT_FOUND", `Cannot ${attempt}: it was deleted and made again`);
    if (replicationFactor !== undefined) this.#checkReplicationFactor(replicationFactor, attempt);
    const first = topic.partitions.length;
    const count = (partitions ?? first) - first;
    if (count < 0) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot give topic ${name} ${partitions} partitions: it has ${first}, and its records would have no place`,
        { hint: "Create a topic of fewer partitions, and copy what is to stay." },
      );
    }
    const factor = Math.min(replicationFactor ?? topic.replicationFactor, this.#currentLoads.length);
    return {
      kind: "alter-topic",
      name,
      uuid,
      settings,
      ...(replicationFactor === undefined ? {} : { replicationFactor }),
      ...(count === 0 ? {} : { added: { first, ...this.#place(count, factor, attempt) } }),
    };
  }

  #placePartition({ topic: name, partition: number, nodes, leader }: Wish<"wish-replicas">): CatalogChange {
    const attempt = `move partition ${number} of topic ${name}`;
    const partition = this.#getTopic(name, attempt).partitions[number];
    if (partition === undefined)
      throw new ProglogError("PARTITION_NOT_FOUND", `Cannot ${attempt}: there is none of that number`);
    if (partition.isMoving) throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it is being moved already`);
    if (partition.replicas.length === 0)
      throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: no node has it that it could be copied from`);
    for (const node of nodes) {
      const known = this.#state.nodes.get(node);
      if (known === undefined) throw new ProglogError("NODE_NOT_FOUND", `Cannot ${attempt}: the cluster has no node ${node}`);
      if (known.isDraining) throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${node} is being drained`);
    }
    const replicas = nodes.map(
      (node): WishedReplica => partition.replicas.find((replica) => replica.node === node) ?? { node },
    );
    const wished = leader ?? (partition.leader !== undefined && nodes.includes(partition.leader) ? partition.leader : nodes[0]);
    if (wished === undefined || !nodes.includes(wished) || new Set(nodes).size < nodes.length)
      throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: its nodes are none, or double, or the leader isn't one`);
    const wanted = Math.min(this.#getTopic(name, attempt).replicationFactor, this.#currentLoads.length);
    // Others would be made, or taken away again, at the next look.
    if (nodes.length !== wanted && nodes.length !== partition.replicas.length)
      throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: it is to have ${wanted} replicas, not ${nodes.length}`, {
        hint: "Name so many, or change the topic's replication factor first.",
      });
    return { kind: "place-partition", group: partition.uuid, basis: partition.placedAt, replicas, leader: wished };
  }

  #place(count: number, replicationFactor: number, attempt: string): PlacedPartitions {
    checkPartitionCount(count, attempt);
    const loads = this.#currentLoads;
    const present = loads.reduce((sum, { replicas }) => sum + replicas, 0);
    const maxCount = partitionsMaxCount * loads.length;
    if (present + count * replicationFactor > maxCount) {
      const reason = `the cluster has ${present} replicas, and its ${loads.length} nodes may have ${maxCount}`;
      throw new ProglogError("TOO_MANY_PARTITIONS", `Cannot ${attempt}: ${reason}`, {
        hint: "Delete topics that nobody needs, or add nodes.",
      });
    }
    const placed = placePartitions({ loads, count, replicationFactor, random: this.#random, isUp: this.#isUp });
    this.#count(placed);
    const nodes = loads.map(({ name }) => name);
    const partitions = placed.map((replicas) => ({
      uuid: makeUuid(this.#random),
      replicas: replicas.map((name) => nodes.indexOf(name)),
    }));
    return { nodes, partitions };
  }

  #count(placed: readonly (readonly string[])[]): void {
    this.#loads = this.#currentLoads.map(({ name, replicas, leaders }) => ({
      name,
      replicas: replicas + placed.filter((nodes) => nodes.includes(name)).length,
      leaders: leaders + placed.filter(([leader]) => leader === name).length,
    }));
  }

  get #currentLoads(): readonly NodeLoad[] {
    this.#loads ??= loadsOf(this.#state);
    return this.#loads;
  }

  #checkReplicationFactor(count: number, attempt: string): void {
    const nodeCount = this.#currentLoads.length;
    if (count >= 1 && count <= nodeCount) return;
    const hint = "Ask for fewer replicas, or add nodes first.";
    const message = `Cannot ${attempt} with ${count} replicas: there are ${nodeCount} nodes that may have one each`;
    throw new ProglogError("INVALID_ARGUMENT", message, { hint });
  }

  /** Each is remembered until all nodes have said that they have nothing of it. */
  #checkDeletedCount(name: string): void {
    const { deleted, topics } = this.#state;
    const count = topics.get(name)?.partitions.length ?? 0;
    const present = deleted.size + this.#deletedCount;
    if (count === 0 || present + count <= deletedGroupsMaxCount) {
      this.#deletedCount += count;
      return;
    }
    const waitedFor = [...new Set([...deleted.values()].flat())].sort();
    throw new ProglogError(
      "TOO_MANY_PARTITIONS",
      `Cannot delete topic ${name}: ${present} deleted partitions are remembered until ${waitedFor.join(", ")} removed their files, and ${deletedGroupsMaxCount} may be`,
      { hint: "Start these nodes, or remove from the cluster those that don't come back." },
    );
  }

  #checkNodeCount(name: string): void {
    const { nodes } = this.#state;
    if (nodes.has(name) || nodes.size < clusterNodesMaxCount) return;
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot add node ${name}: the cluster has ${nodes.size}, and no more are allowed`,
    );
  }

  #getTopic(name: string, attempt: string): CatalogTopic {
    const topic = this.#state.topics.get(name);
    if (topic !== undefined) return topic;
    throw new ProglogError("TOPIC_NOT_FOUND", `Cannot ${attempt}: there is no topic of that name`);
  }
}

type Wish<Kind extends CatalogWish["kind"]> = Extract<CatalogWish, { readonly kind: Kind }>;

/** Who leads instead, where that is known. */
export function notLeaderError(attempt: string, leader: string | undefined): ProglogError {
  const details: ErrorDetails = leader === undefined ? {} : { leaderId: leader };
  const known = leader === undefined ? "nobody is known to lead group 0" : `${leader} leads group 0`;
  return new ProglogError("NOT_LEADER", `Cannot ${attempt}: ${known}`, { details });
}
