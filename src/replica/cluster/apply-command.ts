import { assert, unreachable } from "../../base/assert.ts";
import { type ErrorCode, ProglogError } from "../../base/error.ts";
import { appliedCommandsMaxCount } from "../../base/cluster-limits.ts";
import type { Member } from "../../raft/member.ts";
import { policyChanged, policyDigest } from "../policy-store.ts";
import type { CatalogCommand, CatalogCommandKind, NodeIdentity, PlacedPartitions } from "./catalog-command.ts";
import {
  type CatalogNode,
  type CatalogPartition,
  type CatalogState,
  type CatalogTopic,
  findPartition,
  foundersOf,
  partitionsOf,
  type PlacedReplica,
} from "./catalog-state.ts";

export type CommandOutcome =
  | { readonly kind: "applied" }
  /** It was applied before, or what it wants is the case already. */
  | { readonly kind: "repeated" }
  | { readonly kind: "refused"; readonly error: ProglogError };

/**
 * Applies a command to the state, or changes nothing. What comes of it depends on the state, the command and its offset alone: every
 * node that folds the same records has the same catalog. So no limit of limits.ts is asked here, but for those that belong to the format, and
 * no setting's meaning: those are the business of who proposes, and may change with a release.
 */
export function applyCommand(state: CatalogState, command: CatalogCommand, offset: number): CommandOutcome {
  if (state.applied.has(command.id)) return repeated;
  if (state.clusterId === undefined && command.kind !== "form-cluster")
    return refuse("INVALID_ARGUMENT", `Cannot ${attemptOf(command)}: the cluster isn't formed yet`);
  const outcome = apply(state, command, offset);
  if (outcome.kind === "applied") remember(state.applied, command.id);
  return outcome;
}

function apply(state: CatalogState, command: CatalogCommand, offset: number): CommandOutcome {
  switch (command.kind) {
    case "form-cluster":
      return formCluster(state, command, offset);
    case "add-node":
      return addNode(state, command, offset);
    case "update-node":
      return updateNode(state, command, offset);
    case "drain-node":
      return drainNode(state, command);
    case "remove-node":
      return removeNode(state, command, offset);
    case "create-topic":
      return createTopic(state, command, offset);
    case "alter-topic":
      return alterTopic(state, command, offset);
    case "delete-topic":
      return deleteTopic(state, command);
    case "place-partition":
      return placePartition(state, command, offset);
    case "replica-left":
      return replicaLeft(state, command);
    case "placement-done":
      return placementDone(state, command);
    case "forget-deleted":
      return forgetDeleted(state, command);
    case "set-policy":
      return setPolicy(state, command);
    case "raise-version":
      return raiseVersion(state, command);
    case "snapshot-part":
      // A piece that isn't of a whole snapshot (catalog-fold.ts).
      return repeated;
    default:
      return unreachable(command);
  }
}

type CommandOf<Kind extends CatalogCommandKind> = Extract<CatalogCommand, { readonly kind: Kind }>;

function formCluster(state: CatalogState, { clusterId, version, nodes }: CommandOf<"form-cluster">, offset: number) {
  const attempt = `form cluster ${clusterId}`;
  if (state.clusterId === clusterId) return repeated;
  if (state.clusterId !== undefined) return refuse("INVALID_ARGUMENT", `Cannot ${attempt}: this is ${state.clusterId}`);
  if (nodes.length === 0) return refuse("INVALID_ARGUMENT", `Cannot ${attempt}: it has no node`);
  const tooOld = nodes.find((node) => node.version < version);
  if (tooOld !== undefined) return tooOldNode(attempt, tooOld, version);
  for (const [position, node] of nodes.entries()) {
    const others = nodes.slice(0, position);
    if (others.some(({ name, storageId }) => name === node.name || storageId === node.storageId))
      return refuse("NODE_ALREADY_EXISTS", `Cannot ${attempt}: ${node.name} stands there twice`);
  }
  state.clusterId = clusterId;
  state.version = version;
  for (const node of nodes) state.nodes.set(node.name, { ...node, incarnation: offset, isDraining: false });
  return applied;
}

function addNode(state: CatalogState, { node }: CommandOf<"add-node">, offset: number) {
  const attempt = `add node ${node.name}`;
  const known = state.nodes.get(node.name);
  if (known?.storageId === node.storageId) return setNode(state, { ...known, ...node });
  if (known !== undefined)
    return refuse("NODE_ALREADY_EXISTS", `Cannot ${attempt}: another directory is in the cluster under that name`, {
      hint: "Give it another name; or remove the node first, if its disk is gone.",
    });
  const same = [...state.nodes.values()].find(({ storageId }) => storageId === node.storageId);
  if (same !== undefined)
    return refuse("NODE_ALREADY_EXISTS", `Cannot ${attempt}: its directory is in the cluster as ${same.name}`);
  if (node.version < state.version) return tooOldNode(attempt, node, state.version);
  return setNode(state, { ...node, incarnation: offset, isDraining: false });
}

function updateNode(state: CatalogState, { node, isRenewed }: CommandOf<"update-node">, offset: number) {
  const attempt = `change node ${node.name}`;
  const known = state.nodes.get(node.name);
  if (known === undefined) return noSuchNode(attempt, node.name);
  if (known.storageId !== node.storageId)
    return refuse("NODE_ALREADY_EXISTS", `Cannot ${attempt}: another directory is in the cluster under that name`);
  if (node.version < state.version) return tooOldNode(attempt, node, state.version);
  return setNode(state, { ...known, ...node, ...(isRenewed ? { incarnation: offset } : {}) });
}

function drainNode(state: CatalogState, { name, isDraining }: CommandOf<"drain-node">) {
  const node = state.nodes.get(name);
  if (node === undefined) return noSuchNode(`${isDraining ? "drain" : "keep"} node ${name}`, name);
  if (isDraining && !hasOtherActiveNode(state, name))
    return refuse("INVALID_ARGUMENT", `Cannot drain node ${name}: no other node would be left`);
  return setNode(state, { ...node, isDraining });
}

function removeNode(state: CatalogState, { name, isForced }: CommandOf<"remove-node">, offset: number) {
  const node = state.nodes.get(name);
  if (node === undefined) return noSuchNode(`remove node ${name}`, name);
  if (!hasOtherActiveNode(state, name))
    return refuse("INVALID_ARGUMENT", `Cannot remove node ${name}: no other node would be left`);
  const count = [...partitionsOf(state)].filter(({ partition: { replicas, leaving } }) => {
    return replicas.some(isOf(name)) || leaving.some(isOf(name));
  }).length;
  if (count > 0 && !isForced) {
    return refuse("CHANGE_IN_PROGRESS", `Cannot remove node ${name}: it has replicas of ${count} partitions`, {
      hint: "Drain it first; or remove it by force, if it never comes back.",
    });
  }
  // Who saw that nothing is left on it may be late: an operator who was told that it stays is right.
  if (!node.isDraining && !isForced) {
    return refuse("CHANGE_IN_PROGRESS", `Cannot remove node ${name}: it isn't being drained, or is no more`, {
      hint: "Drain it first; or remove it by force, if it never comes back.",
    });
  }
  const moved = [...partitionsOf(state)].flatMap(({ topic, partition }) => {
    const gone = partition.replicas.filter(isOf(name));
    return gone.length === 0 ? [] : [{ topic, partition, gone, founders: foundersOf(state, partition) }];
  });
  state.nodes.delete(name);
  for (const [group, nodes] of [...state.deleted]) noteForgotten(state, group, nodes, name);
  for (const {
    topic: { name: topicName },
    partition,
    gone,
    founders,
  } of moved) {
    const topic = state.topics.get(topicName);
    assert(topic !== undefined, "the topic of a partition is there");
    const replicas = partition.replicas.filter((replica) => replica.node !== name);
    const leader = partition.leader === name ? replicas[0]?.node : partition.leader;
    const leaving = [...partition.leaving, ...gone];
    const placed = { ...partition, replicas, leader, leaving, placedAt: offset };
    setPartition(state, topic, moving(placed, founders));
  }
  return applied;
}

function createTopic(state: CatalogState, command: CommandOf<"create-topic">, offset: number) {
  const { name, uuid, createdAt, replicationFactor, settings, placed } = command;
  const attempt = `create topic ${name}`;
  const known = state.topics.get(name);
  if (known?.uuid === uuid) return repeated;
  if (known !== undefined) return refuse("TOPIC_ALREADY_EXISTS", `Cannot ${attempt}: it is there already`);
  const partitions = placeNew(state, attempt, { ...placed, first: 0, offset });
  if (!Array.isArray(partitions)) return partitions;
  setTopic(state, { name, uuid, createdAt, replicationFactor, settings: withoutNulls(settings), partitions });
  return applied;
}

function alterTopic(state: CatalogState, command: CommandOf<"alter-topic">, offset: number) {
  const { name, uuid, settings, replicationFactor, added } = command;
  const attempt = `change topic ${name}`;
  const topic = state.topics.get(name);
  if (topic?.uuid !== uuid) return noSuchTopic(attempt);
  if (added !== undefined && added.first !== topic.partitions.length)
    return refuse("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it has ${topic.partitions.length} partitions by now`);
  const more = added === undefined ? [] : placeNew(state, attempt, { ...added, offset });
  if (!Array.isArray(more)) return more;
  setTopic(state, {
    ...topic,
    settings: withoutNulls({ ...topic.settings, ...settings }),
    replicationFactor: replicationFactor ?? topic.replicationFactor,
    partitions: [...topic.partitions, ...more],
  });
  return applied;
}

function deleteTopic(state: CatalogState, { name, uuid }: CommandOf<"delete-topic">) {
  const topic = state.topics.get(name);
  if (topic?.uuid !== uuid) return noSuchTopic(`delete topic ${name}`);
  state.topics.delete(name);
  // Any node may still have files: of a replica that was moved away while it was down, too.
  const nodes = [...state.nodes.keys()];
  for (const { uuid: group } of topic.partitions) {
    state.groups.delete(group);
    state.deleted.set(group, nodes);
  }
  return applied;
}

function placePartition(state: CatalogState, command: CommandOf<"place-partition">, offset: number) {
  const { group, basis, replicas: wished, leader } = command;
  const attempt = `place group ${group}`;
  const partition = findPartition(state, group);
  if (partition === undefined) return refuse("PARTITION_NOT_FOUND", `Cannot ${attempt}: no partition has that id`);
  if (partition.placedAt !== basis) return placedSince(attempt, partition);
  const names = wished.map(({ node }) => node);
  if (names.length === 0 || new Set(names).size < names.length || !names.includes(leader))
    return refuse("INVALID_ARGUMENT", `Cannot ${attempt}: its replicas are none, or double, or the leader isn't among them`);
  const unknown = names.find((name) => !state.nodes.has(name));
  if (unknown !== undefined) return noSuchNode(attempt, unknown);
  const present = [...partition.replicas, ...partition.leaving];
  const lost = wished.find(({ node, incarnation }) => {
    return incarnation !== undefined && !present.some((replica) => isSame(replica, { node, incarnation }));
  });
  if (lost !== undefined) return placedSince(attempt, partition);

  const replicas = wished.map(({ node, incarnation = offset }) => ({ node, incarnation }));
  const leaving = present.filter((old) => !replicas.some((replica) => isSame(replica, old)));
  const isOtherSet =
    leaving.length !== partition.leaving.length || replicas.some((replica) => !partition.replicas.some(isSameAs(replica)));
  const isMoving = partition.isMoving || isOtherSet;
  const topic = getTopicOf(state, group);
  const placed = { ...partition, replicas, leaving, leader, placedAt: offset };
  setPartition(state, topic, isMoving ? moving(placed, foundersOf(state, partition)) : placed);
  return applied;
}

function replicaLeft(state: CatalogState, { group, basis, replica }: CommandOf<"replica-left">) {
  const attempt = `let go of a replica of group ${group}`;
  const partition = findPartition(state, group);
  if (partition === undefined) return refuse("PARTITION_NOT_FOUND", `Cannot ${attempt}: no partition has that id`);
  if (partition.placedAt !== basis) return placedSince(attempt, partition);
  const leaving = partition.leaving.filter((known) => !isSame(known, replica));
  if (leaving.length === partition.leaving.length) return repeated;
  // Who saw that saw the group at work.
  setPartition(state, getTopicOf(state, group), moving({ ...partition, leaving }, undefined));
  return applied;
}

function placementDone(state: CatalogState, { group, basis }: CommandOf<"placement-done">) {
  const attempt = `settle group ${group}`;
  const partition = findPartition(state, group);
  if (partition === undefined) return refuse("PARTITION_NOT_FOUND", `Cannot ${attempt}: no partition has that id`);
  if (partition.placedAt !== basis) return placedSince(attempt, partition);
  if (!partition.isMoving) return repeated;
  const { founders: _, ...settled } = partition;
  setPartition(state, getTopicOf(state, group), { ...settled, leaving: [], isMoving: false });
  return applied;
}

/** On its way to where it is placed, and with its founders for as long as its group may not have begun. */
function moving(
  { founders: _before, ...partition }: CatalogPartition,
  founders: readonly Member[] | undefined,
): CatalogPartition {
  return { ...partition, isMoving: true, ...(founders === undefined ? {} : { founders }) };
}

function forgetDeleted(state: CatalogState, { node, groups }: CommandOf<"forget-deleted">) {
  const known = groups.filter((group) => state.deleted.get(group)?.includes(node));
  for (const group of known) noteForgotten(state, group, state.deleted.get(group) ?? [], node);
  return known.length > 0 ? applied : repeated;
}

function setPolicy(state: CatalogState, { policy, basis }: CommandOf<"set-policy">) {
  if (basis !== undefined && basis !== policyDigest(state.policy)) return refusePolicy();
  state.policy = policy;
  return applied;
}

function refusePolicy(): CommandOutcome {
  return { kind: "refused", error: policyChanged() };
}

function raiseVersion(state: CatalogState, { version }: CommandOf<"raise-version">) {
  if (version <= state.version) return repeated;
  const tooOld = [...state.nodes.values()].find((node) => node.version < version);
  if (tooOld !== undefined) return tooOldNode(`raise the catalog to version ${version}`, tooOld, version);
  state.version = version;
  return applied;
}

function placeNew(
  state: CatalogState,
  attempt: string,
  { nodes, partitions, first, offset }: PlacedPartitions & { readonly first: number; readonly offset: number },
): CatalogPartition[] | CommandOutcome {
  const unknown = nodes.find((name) => !state.nodes.has(name));
  if (unknown !== undefined) return noSuchNode(attempt, unknown);
  const uuids = new Set(partitions.map(({ uuid }) => uuid));
  const isTaken = (uuid: string): boolean => state.groups.has(uuid) || state.deleted.has(uuid);
  if (uuids.size < partitions.length || [...uuids].some(isTaken))
    return refuse("INVALID_ARGUMENT", `Cannot ${attempt}: the id of a partition stands there twice`);
  const made: CatalogPartition[] = [];
  for (const [position, { uuid, logId = uuid.replaceAll("-", ""), replicas }] of partitions.entries()) {
    const names = replicas.map((at) => nodes[at] ?? "");
    if (new Set(names).size < names.length)
      return refuse("INVALID_ARGUMENT", `Cannot ${attempt}: two replicas of a partition are on one node`);
    made.push({
      partition: first + position,
      uuid,
      logId,
      replicas: names.map((node) => ({ node, incarnation: offset })),
      leader: names[0],
      placedAt: offset,
      isMoving: false,
      leaving: [],
    });
  }
  return made;
}

const applied: CommandOutcome = { kind: "applied" };
const repeated: CommandOutcome = { kind: "repeated" };

function refuse(code: ErrorCode, message: string, options: { readonly hint?: string } = {}): CommandOutcome {
  return { kind: "refused", error: new ProglogError(code, message, options) };
}

function noSuchNode(attempt: string, name: string): CommandOutcome {
  return refuse("NODE_NOT_FOUND", `Cannot ${attempt}: the cluster has no node ${name}`);
}

function noSuchTopic(attempt: string): CommandOutcome {
  return refuse("TOPIC_NOT_FOUND", `Cannot ${attempt}: there is none of that name`);
}

function placedSince(attempt: string, { placedAt }: CatalogPartition): CommandOutcome {
  return refuse("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it was placed anew since, at ${placedAt}`);
}

function tooOldNode(attempt: string, { name, version }: NodeIdentity, needed: number): CommandOutcome {
  return refuse("UNSUPPORTED_FORMAT", `Cannot ${attempt}: ${name} knows the catalog's version ${version}, not ${needed}`, {
    hint: "Start a later release of proglog on that node first.",
  });
}

function attemptOf({ kind }: CatalogCommand): string {
  return kind.replace("-", " ");
}

function setNode(state: CatalogState, node: CatalogNode): CommandOutcome {
  state.nodes.set(node.name, node);
  return applied;
}

function setTopic(state: CatalogState, topic: CatalogTopic): void {
  state.topics.set(topic.name, topic);
  for (const { uuid, partition } of topic.partitions) state.groups.set(uuid, { topic: topic.name, partition });
}

function setPartition(state: CatalogState, { name }: CatalogTopic, partition: CatalogPartition): void {
  // The topic as it is now: a loop over partitions may have changed another one of it.
  const topic = state.topics.get(name);
  assert(topic !== undefined, "a partition's topic is there");
  state.topics.set(name, { ...topic, partitions: topic.partitions.with(partition.partition, partition) });
}

function getTopicOf(state: CatalogState, group: string): CatalogTopic {
  const topic = state.topics.get(state.groups.get(group)?.topic ?? "");
  assert(topic !== undefined, "a group is a topic's");
  return topic;
}

function noteForgotten(state: CatalogState, group: string, nodes: readonly string[], node: string): void {
  const remaining = nodes.filter((name) => name !== node);
  if (remaining.length > 0) state.deleted.set(group, remaining);
  else state.deleted.delete(group);
}

function hasOtherActiveNode(state: CatalogState, name: string): boolean {
  return [...state.nodes.values()].some((node) => node.name !== name && !node.isDraining);
}

function isOf(name: string): (replica: PlacedReplica) => boolean {
  return ({ node }) => node === name;
}

function isSame(a: PlacedReplica, b: PlacedReplica): boolean {
  return a.node === b.node && a.incarnation === b.incarnation;
}

function isSameAs(a: PlacedReplica): (b: PlacedReplica) => boolean {
  return (b) => isSame(a, b);
}

function withoutNulls(settings: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));
}

function remember(ids: Set<string>, id: string): void {
  ids.add(id);
  for (const oldest of ids) {
    if (ids.size <= appliedCommandsMaxCount) return;
    ids.delete(oldest);
  }
}
