import { nodeNameMaxChars } from "../../base/cluster-limits.ts";
import { topicNameMaxChars } from "../../base/limits.ts";
import { JsonFields, MalformedJson, parseJson } from "./json-fields.ts";

/**
 * What a record of group 0 says: one change of the catalog, as JSON (docs/catalog.md). It carries everything that isn't a function
 * of what came before: ids, times and placements were made by who proposed it. `id` names the attempt: a command proposed again
 * under the same id is applied once.
 */
export type CatalogCommand = { readonly id: string } & CatalogChange;

export type CatalogChange =
  /** Begins the catalog of a cluster; nothing applies before it. Its nodes are in from the start. */
  | {
      readonly kind: "form-cluster";
      /** Of the catalog's format, as `raise-version` has it. */
      readonly version: number;
      readonly clusterId: string;
      readonly nodes: readonly NodeIdentity[];
    }
  | { readonly kind: "add-node"; readonly node: NodeIdentity }
  | {
      readonly kind: "update-node";
      readonly node: NodeIdentity;
      /** Its replica of group 0 is lost, and begun anew. */
      readonly isRenewed: boolean;
    }
  /** A node that drains gets no new replicas, and those that it has are moved away. */
  | { readonly kind: "drain-node"; readonly name: string; readonly isDraining: boolean }
  /** `isForced`: with the replicas that it still has, be they the last ones of their partitions. */
  | { readonly kind: "remove-node"; readonly name: string; readonly isForced: boolean }
  | {
      readonly kind: "create-topic";
      readonly name: string;
      readonly uuid: string;
      readonly createdAt: number;
      readonly replicationFactor: number;
      readonly settings: Readonly<Record<string, unknown>>;
      readonly placed: PlacedPartitions;
    }
  | {
      readonly kind: "alter-topic";
      readonly name: string;
      readonly uuid: string;
      /** Values to set; null for what is to go by the nodes' defaults again. */
      readonly settings: Readonly<Record<string, unknown>>;
      readonly replicationFactor?: number;
      /** Partitions behind those that are there; `first` is the number of the first of them. */
      readonly added?: PlacedPartitions & { readonly first: number };
    }
  | { readonly kind: "delete-topic"; readonly name: string; readonly uuid: string }
  | {
      readonly kind: "place-partition";
      readonly group: string;
      /** The placement that this one follows. When another came between, it doesn't apply. */
      readonly basis: number;
      readonly replicas: readonly WishedReplica[];
      /** One of them. */
      readonly leader: string;
    }
  /**
   * The group's committed membership, as placed at `basis` or on the way to it, is without this replica that is leaving: its files may go. So one
   * that comes after it on the same node can be made while the rest is still moving.
   */
  | { readonly kind: "replica-left"; readonly group: string; readonly basis: number; readonly replica: LeftReplica }
  /** The group's committed membership is what was placed at `basis`, and nothing else. */
  | { readonly kind: "placement-done"; readonly group: string; readonly basis: number }
  /** This node has no files of these groups any more. */
  | { readonly kind: "forget-deleted"; readonly node: string; readonly groups: readonly string[] }
  | {
      readonly kind: "set-policy";
      readonly policy: string;
      /** The digest (`policyDigest`) of the policy that this one is made from. When another came between, it doesn't apply. Absent: whatever there is. */
      readonly basis?: string;
    }
  /** From here on commands may be of a later format: who doesn't know it stops here. */
  | { readonly kind: "raise-version"; readonly version: number }
  /** A piece of the catalog's state before `at`, where the first of its pieces lies. Changes nothing. */
  | {
      readonly kind: "snapshot-part";
      readonly at: number;
      readonly part: number;
      readonly parts: number;
      readonly text: string;
    };

export type CatalogCommandKind = CatalogChange["kind"];

export interface NodeIdentity {
  readonly name: string;
  /** 32 hex digits. */
  readonly storageId: string;
  /** Where peers and clients reach it: `host:port`. */
  readonly address: string;
  /** The latest format of the catalog that it knows. */
  readonly version: number;
}

/** The names of `nodes` stand once: a topic of thousands of partitions has to fit into a record. */
export interface PlacedPartitions {
  readonly nodes: readonly string[];
  readonly partitions: readonly PlacedPartition[];
}

export interface PlacedPartition {
  readonly uuid: string;
  /** 32 hex digits. Absent: the uuid's. One that was a single node's log brings its own. */
  readonly logId?: string;
  /** Positions in `nodes`; the first is the wished leader. */
  readonly replicas: readonly number[];
}

export interface WishedReplica {
  readonly node: string;
  /** Of a replica that is there and stays. Absent: a new one, even where the node has one. */
  readonly incarnation?: number;
}

export interface LeftReplica {
  readonly node: string;
  readonly incarnation: number;
}

export function encodeCommand(command: CatalogCommand): Buffer {
  const { kind, id, ...fields } = command;
  return Buffer.from(JSON.stringify({ kind, id, ...fields }));
}

/** The command, or why it is none: then it changes nothing, on any node. */
export function decodeCommand(bytes: Buffer): CatalogCommand | { readonly kind: "malformed"; readonly reason: string } {
  try {
    return readCommand(parseJson(bytes));
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    return { kind: "malformed", reason: error.message };
  }
}

function readCommand(value: unknown): CatalogCommand {
  const fields = new JsonFields(value, "a command");
  const kind = fields.text("kind");
  if (!isCommandKind(kind)) throw new MalformedJson(`${JSON.stringify(kind.slice(0, 64))} is no kind of command`);
  const command: CatalogCommand = { id: fields.text("id", idRule), ...readers[kind](fields) };
  fields.end();
  return command;
}

function isCommandKind(kind: string): kind is CatalogCommandKind {
  return Object.hasOwn(readers, kind);
}

type Reader<Kind extends CatalogCommandKind> = (fields: JsonFields) => Extract<CatalogChange, { readonly kind: Kind }>;

const readers: { readonly [Kind in CatalogCommandKind]: Reader<Kind> } = {
  "form-cluster": (fields) => ({
    kind: "form-cluster",
    version: fields.integer("version", 1),
    clusterId: fields.text("clusterId", { pattern: idPattern }),
    nodes: fields.list("nodes", readNode),
  }),
  "add-node": (fields) => ({ kind: "add-node", node: readNode(fields.value("node")) }),
  "update-node": (fields) => ({
    kind: "update-node",
    node: readNode(fields.value("node")),
    isRenewed: fields.flag("isRenewed"),
  }),
  "drain-node": (fields) => ({
    kind: "drain-node",
    name: fields.text("name", nodeNameRule),
    isDraining: fields.flag("isDraining"),
  }),
  "remove-node": (fields) => ({
    kind: "remove-node",
    name: fields.text("name", nodeNameRule),
    isForced: fields.flag("isForced"),
  }),
  "create-topic": (fields) => ({
    kind: "create-topic",
    ...readTopicHead(fields),
    createdAt: fields.integer("createdAt"),
    replicationFactor: fields.integer("replicationFactor", 1),
    settings: fields.object("settings"),
    placed: readPlaced(new JsonFields(fields.value("placed"), "its partitions")),
  }),
  "alter-topic": (fields) => ({
    kind: "alter-topic",
    ...readTopicHead(fields),
    settings: fields.object("settings"),
    ...(fields.has("replicationFactor") ? { replicationFactor: fields.integer("replicationFactor", 1) } : {}),
    ...(fields.has("added") ? { added: readAdded(fields.value("added")) } : {}),
  }),
  "delete-topic": (fields) => ({ kind: "delete-topic", ...readTopicHead(fields) }),
  "place-partition": (fields) => ({
    kind: "place-partition",
    group: fields.text("group", { pattern: uuidPattern }),
    basis: fields.integer("basis"),
    replicas: fields.list("replicas", readWishedReplica),
    leader: fields.text("leader", nodeNameRule),
  }),
  "replica-left": (fields) => ({
    kind: "replica-left",
    group: fields.text("group", { pattern: uuidPattern }),
    basis: fields.integer("basis"),
    replica: readLeftReplica(fields.value("replica")),
  }),
  "placement-done": (fields) => ({
    kind: "placement-done",
    group: fields.text("group", { pattern: uuidPattern }),
    basis: fields.integer("basis"),
  }),
  "forget-deleted": (fields) => ({
    kind: "forget-deleted",
    node: fields.text("node", nodeNameRule),
    groups: fields.list("groups", readUuid),
  }),
  "set-policy": (fields) => ({
    kind: "set-policy",
    policy: fields.text("policy"),
    ...(fields.has("basis") ? { basis: fields.text("basis", { pattern: digestPattern }) } : {}),
  }),
  "raise-version": (fields) => ({ kind: "raise-version", version: fields.integer("version", 1) }),
  "snapshot-part": (fields) => ({
    kind: "snapshot-part",
    at: fields.integer("at"),
    part: fields.integer("part"),
    parts: fields.integer("parts", 1),
    text: fields.text("text"),
  }),
};

const digestPattern = /^[0-9a-f]{64}$/;
export const idPattern = /^[0-9a-f]{32}$/;
export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const idRule = { pattern: /^[\x21-\x7e]+$/, maxChars: 64 };
const topicNameRule = { pattern: /^[A-Za-z0-9._-]+$/, maxChars: topicNameMaxChars };
/** Anything but controls: the name is the operator's, and stands in log lines and metrics. */
export const nodeNameRule = { pattern: /^\P{Cc}+$/u, maxChars: nodeNameMaxChars };
const addressRule = { pattern: /^[\x21-\x7e]+$/, maxChars: 300 };

export function readNode(value: unknown): NodeIdentity {
  const fields = new JsonFields(value, "a node");
  const node: NodeIdentity = {
    name: fields.text("name", nodeNameRule),
    storageId: fields.text("storageId", { pattern: idPattern }),
    address: fields.text("address", addressRule),
    version: fields.integer("version", 1),
  };
  fields.end();
  return node;
}

function readTopicHead(fields: JsonFields): { readonly name: string; readonly uuid: string } {
  return { name: fields.text("name", topicNameRule), uuid: fields.text("uuid", { pattern: uuidPattern }) };
}

function readAdded(value: unknown): PlacedPartitions & { readonly first: number } {
  const fields = new JsonFields(value, "its added partitions");
  return { first: fields.integer("first", 1), ...readPlaced(fields) };
}

function readPlaced(fields: JsonFields): PlacedPartitions {
  const nodes = fields.list("nodes", readNodeName);
  const partitions = fields.list("partitions", (value) => readPartition(value, nodes.length));
  if (partitions.length === 0) throw new MalformedJson("it has no partition");
  fields.end();
  return { nodes, partitions };
}

function readPartition(value: unknown, nodeCount: number): PlacedPartition {
  const fields = new JsonFields(value, "a partition");
  const partition: PlacedPartition = {
    uuid: fields.text("uuid", { pattern: uuidPattern }),
    ...(fields.has("logId") ? { logId: fields.text("logId", { pattern: idPattern }) } : {}),
    replicas: fields.list("replicas", (position) => {
      if (typeof position === "number" && Number.isInteger(position) && position >= 0 && position < nodeCount) return position;
      throw new MalformedJson("a replica's node isn't one of those listed");
    }),
  };
  if (partition.replicas.length === 0) throw new MalformedJson("a partition has no replica");
  fields.end();
  return partition;
}

function readWishedReplica(value: unknown): WishedReplica {
  const fields = new JsonFields(value, "a replica");
  const replica: WishedReplica = {
    node: fields.text("node", nodeNameRule),
    ...(fields.has("incarnation") ? { incarnation: fields.integer("incarnation") } : {}),
  };
  fields.end();
  return replica;
}

function readLeftReplica(value: unknown): LeftReplica {
  const fields = new JsonFields(value, "a replica");
  const replica = { node: fields.text("node", nodeNameRule), incarnation: fields.integer("incarnation") };
  fields.end();
  return replica;
}

export function readNodeName(value: unknown): string {
  if (typeof value === "string" && value.length <= nodeNameRule.maxChars && nodeNameRule.pattern.test(value)) return value;
  throw new MalformedJson("a node's name isn't one");
}

export function readUuid(value: unknown): string {
  if (typeof value === "string" && uuidPattern.test(value)) return value;
  throw new MalformedJson("a group's id isn't a uuid");
}
