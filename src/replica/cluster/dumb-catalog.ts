import { policyDigest } from "../policy-store.ts";
import type { CatalogCommand, PlacedPartitions } from "./catalog-command.ts";

/**
 * The catalog once more, for tests: as lists that are searched and a state that is copied whole for each command, so that nothing can
 * be half done. It says what is there in the words of a snapshot.
 */
export interface DumbCatalog {
  version: number;
  clusterId?: string;
  nodes: DumbNode[];
  topics: DumbTopic[];
  deleted: { group: string; nodes: string[] }[];
  policy: string;
  applied: string[];
}

interface DumbNode {
  name: string;
  storageId: string;
  address: string;
  version: number;
  incarnation: number;
  isDraining: boolean;
}

interface DumbTopic {
  name: string;
  uuid: string;
  createdAt: number;
  replicationFactor: number;
  settings: Record<string, unknown>;
  partitions: DumbPartition[];
}

interface DumbPartition {
  uuid: string;
  logId: string;
  replicas: [string, number][];
  leader?: string;
  placedAt: number;
  leaving?: [string, number][];
  founders?: [string, string][];
}

export const emptyDumbCatalog: DumbCatalog = { version: 0, nodes: [], topics: [], deleted: [], policy: "", applied: [] };

class Refused extends Error {}

export function applyDumbly(before: DumbCatalog, command: CatalogCommand, offset: number): DumbCatalog {
  if (before.applied.includes(command.id)) return before;
  const after = structuredClone(before);
  try {
    check(before.clusterId !== undefined || command.kind === "form-cluster");
    change(after, command, offset);
  } catch (error) {
    if (error instanceof Refused) return before;
    throw error;
  }
  after.applied = [...after.applied, command.id].slice(-1_000);
  return after;
}

function change(state: DumbCatalog, command: CatalogCommand, offset: number): void {
  const partitions = state.topics.flatMap((topic) => topic.partitions);
  const nodeOf = (name: string): DumbNode | undefined => state.nodes.find((node) => node.name === name);
  switch (command.kind) {
    case "form-cluster": {
      check(state.clusterId === undefined && command.nodes.length > 0);
      check(command.nodes.every((node) => node.version >= command.version));
      check(new Set(command.nodes.map(({ name }) => name)).size === command.nodes.length);
      check(new Set(command.nodes.map(({ storageId }) => storageId)).size === command.nodes.length);
      state.clusterId = command.clusterId;
      state.version = command.version;
      state.nodes = command.nodes.map((node) => ({ ...node, incarnation: offset, isDraining: false }));
      return;
    }
    case "add-node": {
      const known = nodeOf(command.node.name);
      if (known === undefined) {
        check(!state.nodes.some(({ storageId }) => storageId === command.node.storageId));
        check(command.node.version >= state.version);
        state.nodes.push({ ...command.node, incarnation: offset, isDraining: false });
        return;
      }
      check(known.storageId === command.node.storageId);
      Object.assign(known, command.node);
      return;
    }
    case "update-node": {
      const known = nodeOf(command.node.name);
      check(known?.storageId === command.node.storageId && command.node.version >= state.version);
      Object.assign(known ?? {}, command.node, command.isRenewed ? { incarnation: offset } : {});
      return;
    }
    case "drain-node": {
      const known = nodeOf(command.name);
      check(known !== undefined);
      check(!command.isDraining || state.nodes.some((node) => node !== known && !node.isDraining));
      Object.assign(known ?? {}, { isDraining: command.isDraining });
      return;
    }
    case "remove-node": {
      const { name } = command;
      const known = nodeOf(name);
      check(known !== undefined && state.nodes.some((node) => node !== known && !node.isDraining));
      check(command.isForced || known?.isDraining === true);
      const has = (list: [string, number][]): boolean => list.some(([node]) => node === name);
      check(command.isForced || !partitions.some(({ replicas, leaving = [] }) => has(replicas) || has(leaving)));
      for (const partition of partitions.filter(({ replicas }) => has(replicas))) noteFounders(state, partition);
      state.nodes = state.nodes.filter((node) => node !== known);
      for (const group of state.deleted) group.nodes = group.nodes.filter((node) => node !== name);
      state.deleted = state.deleted.filter(({ nodes }) => nodes.length > 0);
      for (const partition of partitions.filter(({ replicas }) => has(replicas))) {
        partition.leaving = [...(partition.leaving ?? []), ...partition.replicas.filter(([node]) => node === name)];
        partition.replicas = partition.replicas.filter(([node]) => node !== name);
        partition.placedAt = offset;
        if (partition.leader === name) setLeader(partition, partition.replicas[0]?.[0]);
      }
      return;
    }
    case "create-topic": {
      const { name, uuid, createdAt, replicationFactor, settings } = command;
      check(!state.topics.some((topic) => topic.name === name));
      const made = placed(state, command.placed, offset);
      state.topics.push({ name, uuid, createdAt, replicationFactor, settings: withoutNulls(settings), partitions: made });
      return;
    }
    case "alter-topic": {
      const topic = state.topics.find(({ name, uuid }) => name === command.name && uuid === command.uuid);
      if (topic === undefined) throw new Refused();
      check(command.added === undefined || command.added.first === topic.partitions.length);
      const more = command.added === undefined ? [] : placed(state, command.added, offset);
      topic.settings = withoutNulls({ ...topic.settings, ...command.settings });
      topic.replicationFactor = command.replicationFactor ?? topic.replicationFactor;
      topic.partitions.push(...more);
      return;
    }
    case "delete-topic": {
      const topic = state.topics.find(({ name, uuid }) => name === command.name && uuid === command.uuid);
      if (topic === undefined) throw new Refused();
      state.topics = state.topics.filter((other) => other !== topic);
      const nodes = state.nodes.map(({ name }) => name);
      state.deleted.push(...topic.partitions.map(({ uuid }) => ({ group: uuid, nodes: [...nodes] })));
      return;
    }
    case "place-partition": {
      const partition = partitions.find(({ uuid }) => uuid === command.group);
      if (partition === undefined || partition.placedAt !== command.basis) throw new Refused();
      const names = command.replicas.map(({ node }) => node);
      check(names.includes(command.leader) && new Set(names).size === names.length);
      check(names.every((name) => nodeOf(name) !== undefined));
      const before = [...partition.replicas, ...(partition.leaving ?? [])];
      const after = command.replicas.map(({ node, incarnation = offset }): [string, number] => [node, incarnation]);
      check(command.replicas.every(({ incarnation }, at) => incarnation === undefined || holds(before, after[at])));
      const left = before.filter((replica) => !holds(after, replica));
      if (partition.leaving !== undefined || left.length > 0 || after.some((replica) => !holds(partition.replicas, replica))) {
        noteFounders(state, partition);
        partition.leaving = left;
      }
      partition.replicas = after;
      partition.placedAt = offset;
      setLeader(partition, command.leader);
      return;
    }
    case "replica-left": {
      const partition = partitions.find(({ uuid }) => uuid === command.group);
      const { node, incarnation } = command.replica;
      if (partition?.leaving === undefined || partition.placedAt !== command.basis) throw new Refused();
      check(holds(partition.leaving, [node, incarnation]));
      partition.leaving = partition.leaving.filter((replica) => replica[0] !== node || replica[1] !== incarnation);
      delete partition.founders;
      return;
    }
    case "placement-done": {
      const partition = partitions.find(({ uuid }) => uuid === command.group);
      check(partition?.placedAt === command.basis && partition.leaving !== undefined);
      delete partition?.leaving;
      delete partition?.founders;
      return;
    }
    case "forget-deleted": {
      const known = state.deleted.filter(({ group, nodes }) => command.groups.includes(group) && nodes.includes(command.node));
      check(known.length > 0);
      for (const group of known) group.nodes = group.nodes.filter((node) => node !== command.node);
      state.deleted = state.deleted.filter(({ nodes }) => nodes.length > 0);
      return;
    }
    case "set-policy":
      check(command.basis === undefined || command.basis === policyDigest(state.policy));
      state.policy = command.policy;
      return;
    case "raise-version":
      check(command.version > state.version && state.nodes.every(({ version }) => version >= command.version));
      state.version = command.version;
      return;
    case "snapshot-part":
      throw new Refused();
  }
}

function placed(state: DumbCatalog, { nodes, partitions }: PlacedPartitions, offset: number): DumbPartition[] {
  const taken = [
    ...state.topics.flatMap((topic) => topic.partitions.map(({ uuid }) => uuid)),
    ...state.deleted.map((it) => it.group),
  ];
  check(nodes.every((name) => state.nodes.some((node) => node.name === name)));
  check(new Set([...taken, ...partitions.map(({ uuid }) => uuid)]).size === taken.length + partitions.length);
  return partitions.map(({ uuid, logId = uuid.replaceAll("-", ""), replicas }) => {
    const names = replicas.map((at) => nodes[at] ?? "");
    check(new Set(names).size === names.length);
    const [leader = ""] = names;
    return { uuid, logId, replicas: names.map((name): [string, number] => [name, offset]), leader, placedAt: offset };
  });
}

/** Before it begins to move: those whom its group begins with, if they are of one placement. */
function noteFounders(state: DumbCatalog, partition: DumbPartition): void {
  if (partition.leaving !== undefined) return;
  const { replicas } = partition;
  if (new Set(replicas.map(([, incarnation]) => incarnation)).size !== 1) return;
  const names = replicas.toSorted(([a], [b]) => (a < b ? -1 : 1));
  partition.founders = names.flatMap(([name, incarnation]) =>
    state.nodes
      .filter((node) => node.name === name)
      .map(({ storageId }): [string, string] => [name, `${storageId}/${incarnation}`]),
  );
}

function setLeader(partition: DumbPartition, leader: string | undefined): void {
  if (leader === undefined) delete partition.leader;
  else partition.leader = leader;
}

function holds(list: readonly [string, number][], [node, incarnation]: readonly [string, number] = ["", -1]): boolean {
  return list.some((replica) => replica[0] === node && replica[1] === incarnation);
}

function withoutNulls(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const name of Object.keys(settings)) if (settings[name] !== null) kept[name] = settings[name];
  return kept;
}

function check(condition: boolean): void {
  if (!condition) throw new Refused();
}
