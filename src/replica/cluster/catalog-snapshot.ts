import { catalogSnapshotPartMaxChars } from "../../base/cluster-limits.ts";
import {
  type CatalogCommand,
  encodeCommand,
  idPattern,
  nodeNameRule,
  readNode,
  readNodeName,
  uuidPattern,
} from "./catalog-command.ts";
import {
  type CatalogNode,
  type CatalogPartition,
  type CatalogState,
  type CatalogTopic,
  emptyCatalogState,
  type PlacedReplica,
} from "./catalog-state.ts";
import type { Member } from "../../raft/member.ts";
import { JsonFields, MalformedJson } from "./json-fields.ts";

/**
 * The state as JSON, in one way only: the same state gives the same text, however it came about. So a node that folds a snapshot
 * can hold it against what it knows.
 */
export function encodeState(state: CatalogState): string {
  const { version, clusterId, policy } = state;
  return JSON.stringify({
    version,
    clusterId,
    nodes: sorted(state.nodes).map(([, { name, storageId, address, version: known, incarnation, isDraining }]) => {
      return { name, storageId, address, version: known, incarnation, isDraining };
    }),
    topics: sorted(state.topics).map(([, { name, uuid, createdAt, replicationFactor, settings, partitions }]) => {
      return { name, uuid, createdAt, replicationFactor, settings: sortedObject(settings), partitions: partitions.map(toJson) };
    }),
    deleted: sorted(state.deleted).map(([group, nodes]) => ({ group, nodes })),
    policy,
    applied: [...state.applied],
  });
}

function toJson({ uuid, logId, replicas, leader, placedAt, isMoving, leaving, founders }: CatalogPartition): object {
  return {
    uuid,
    logId,
    replicas: replicas.map(({ node, incarnation }) => [node, incarnation]),
    ...(leader === undefined ? {} : { leader }),
    placedAt,
    ...(isMoving ? { leaving: leaving.map(({ node, incarnation }) => [node, incarnation]) } : {}),
    ...(founders === undefined ? {} : { founders: founders.map(({ nodeId, storageId }) => [nodeId, storageId]) }),
  };
}

/** Throws `MalformedJson`. */
export function decodeState(text: string): CatalogState {
  const fields = new JsonFields(parse(text), "the catalog");
  const state = emptyCatalogState();
  state.version = fields.integer("version", 1);
  state.clusterId = fields.text("clusterId", { pattern: idPattern });
  state.policy = fields.text("policy");
  for (const node of fields.list("nodes", readCatalogNode)) state.nodes.set(node.name, node);
  for (const topic of fields.list("topics", readTopic)) {
    state.topics.set(topic.name, topic);
    for (const { uuid, partition } of topic.partitions) state.groups.set(uuid, { topic: topic.name, partition });
  }
  for (const { group, nodes } of fields.list("deleted", readDeleted)) state.deleted.set(group, nodes);
  for (const id of fields.list("applied", readId)) state.applied.add(id);
  fields.end();
  return state;
}

/**
 * The state before `at` as commands that lie behind one another from there on. They are few enough for one append where the state is
 * small, and each is far below the limit of a record however large it is.
 */
export function snapshotParts(state: CatalogState, { at, id }: { readonly at: number; readonly id: string }): Buffer[] {
  const text = encodeState(state);
  const parts = Math.ceil(text.length / catalogSnapshotPartMaxChars);
  return Array.from({ length: parts }, (_, part) => {
    const piece = text.slice(part * catalogSnapshotPartMaxChars, (part + 1) * catalogSnapshotPartMaxChars);
    return encodeCommand({ kind: "snapshot-part", id, at, part, parts, text: piece });
  });
}

export type SnapshotPart = Extract<CatalogCommand, { readonly kind: "snapshot-part" }>;

function readCatalogNode(value: unknown): CatalogNode {
  const { incarnation, isDraining, ...identity } = value as Record<string, unknown>;
  const fields = new JsonFields({ incarnation, isDraining }, "a node");
  return { ...readNode(identity), incarnation: fields.integer("incarnation"), isDraining: fields.flag("isDraining") };
}

function readTopic(value: unknown): CatalogTopic {
  const fields = new JsonFields(value, "a topic");
  const topic: CatalogTopic = {
    name: fields.text("name"),
    uuid: fields.text("uuid", { pattern: uuidPattern }),
    createdAt: fields.integer("createdAt"),
    replicationFactor: fields.integer("replicationFactor", 1),
    settings: fields.object("settings"),
    partitions: fields.list("partitions", readPartition),
  };
  fields.end();
  return topic;
}

function readPartition(value: unknown, partition: number): CatalogPartition {
  const fields = new JsonFields(value, "a partition");
  const isMoving = fields.has("leaving");
  const read: CatalogPartition = {
    partition,
    uuid: fields.text("uuid", { pattern: uuidPattern }),
    logId: fields.text("logId", { pattern: idPattern }),
    replicas: fields.list("replicas", readReplica),
    leader: fields.has("leader") ? fields.text("leader", nodeNameRule) : undefined,
    placedAt: fields.integer("placedAt"),
    isMoving,
    leaving: isMoving ? fields.list("leaving", readReplica) : [],
    ...(fields.has("founders") ? { founders: fields.list("founders", readFounder) } : {}),
  };
  fields.end();
  return read;
}

function readReplica(value: unknown): PlacedReplica {
  if (!Array.isArray(value) || value.length !== 2) throw new MalformedJson("a replica isn't a node and an incarnation");
  const [node, incarnation] = value as [unknown, unknown];
  return { node: readNodeName(node), incarnation: new JsonFields({ incarnation }, "a replica").integer("incarnation") };
}

function readFounder(value: unknown): Member {
  if (!Array.isArray(value) || value.length !== 2) throw new MalformedJson("a founder isn't a node and a storage id");
  const [node, storageId] = value as [unknown, unknown];
  if (typeof storageId !== "string" || !founderIdPattern.test(storageId))
    throw new MalformedJson("a founder's storage id isn't one");
  return { nodeId: readNodeName(node), storageId };
}

const founderIdPattern = /^[0-9a-f]{32}\/\d{1,16}$/;

function readDeleted(value: unknown): { readonly group: string; readonly nodes: readonly string[] } {
  const fields = new JsonFields(value, "a deleted group");
  const deleted = { group: fields.text("group", { pattern: uuidPattern }), nodes: fields.list("nodes", readNodeName) };
  fields.end();
  return deleted;
}

function readId(value: unknown): string {
  if (typeof value === "string") return value;
  throw new MalformedJson("the id of a command isn't text");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MalformedJson(error instanceof Error ? error.message : String(error));
  }
}

function sorted<Value>(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function sortedObject(object: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(sorted(new Map(Object.entries(object))));
}
