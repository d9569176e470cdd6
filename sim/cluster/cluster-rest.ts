import { MiB } from "../../src/base/units.ts";
import { type CatalogState, partitionsOf, replicaStorageId } from "../../src/replica/cluster/catalog-state.ts";
import type { SeenRecord } from "../../test/histories/history.ts";
import { Violation } from "../violation.ts";
import { contentOf } from "./cluster-client.ts";
import type { ClusterWorld } from "./cluster-world.ts";
import { dataPath } from "./machine.ts";

/** How long a healed cluster may take until it is at rest: voters of group 0 that are away are replaced after five minutes. */
const livenessMaxMs = 900_000;

/** How long an append may take in a healed cluster, over all attempts. */
const appendMaxMs = 60_000;

/** The second phase: nothing fails any more, and the cluster has to come to rest, to take on new work, and to fall asleep. */
export async function proveLiveness(world: ClusterWorld): Promise<void> {
  const { realClients, operator } = world;
  const clients = [...world.clients, ...realClients];
  for (const client of clients) client.stop();
  operator.end();
  await reach(world, "the cluster isn't at rest", () => findUnrest(world));
  for (const [position, client] of clients.entries()) {
    const at = world.partitions[position % Math.max(1, world.partitions.length)];
    if (at === undefined) break;
    const deadlineMs = world.nowMs + appendMaxMs;
    for (let isDone = false; !isDone; ) {
      if (world.nowMs > deadlineMs) throw new Violation("I20", `nobody takes a new append to ${at.topic}/${at.partition}`);
      isDone = await lettingTimePass(world, client.appendTo(at), "an append has no answer");
      if (!isDone) await world.run(world.nowMs + 100);
    }
  }
  await reach(world, "after new appends", () => findUnrest(world));
  const lags = (): string | undefined => realClients.map((client) => client.findLag()).find((lag) => lag !== undefined);
  await reach(world, "what was appended isn't read", lags);
  for (const client of realClients) await lettingTimePass(world, client.close(), `client r${client.id} doesn't close`);
  await reach(world, "a cluster at rest doesn't sleep", () => findSleepless(world));
}

/** What every replica has in the end, against all that clients were told. */
export async function checkHistories(world: ClusterWorld): Promise<void> {
  const { checks } = world;
  for (const history of world.partitions) {
    const finals = new Map<string, { readonly records: readonly SeenRecord[]; readonly logStartOffset: number }>();
    for (const { name, served, disk } of world.machines) {
      const topic = served?.catalog.findTopic(history.topic);
      const replica = topic === undefined ? undefined : served?.replicas.find(history.uuid);
      if (replica === undefined) continue;
      const { logStartOffset, highWatermark } = replica.range();
      const records: SeenRecord[] = [];
      for (let offset = logStartOffset; offset < highWatermark; ) {
        const reading = replica.read(offset, { limit: 100_000, maxBytes: 64 * MiB });
        const read = await lettingTimePass(world, reading, `${name} doesn't read its replica of ${history.topic}`);
        for (const record of read.records) records.push({ offset: record.offset, content: contentOf(record.value) });
        offset = read.nextOffset;
      }
      finals.set(name, { records, logStartOffset });
      checks.trimmed.lookInto(disk, `${dataPath}/logs/${history.uuid}`, history.uuid, (index) =>
        checks.committedTermOf(history.uuid, index),
      );
    }
    // With none left there is nobody to ask: their last node was removed by force.
    if (finals.size === 0) throw new Violation("HISTORY", `nobody has ${history.topic}/${history.partition}`);
    // What was trimmed is held against all that was told of it, too.
    const whole = [...finals].map(([name, { records, logStartOffset }]) => {
      return [name, [...checks.trimmed.before(history.uuid, logStartOffset), ...records]] as const;
    });
    history.check(new Map(whole));
  }
}

/** Every byte at rest is as it was written. */
export async function checkFiles(world: ClusterWorld): Promise<void> {
  for (const { name, served } of world.machines)
    for (const { record, state } of served?.groups?.states() ?? []) {
      if (state.kind !== "open") continue;
      const { damages } = await lettingTimePass(world, state.member.log.scrub(), `${name} doesn't read its logs`);
      const [damage] = damages;
      if (damage !== undefined) throw new Violation("I16", `${name} has rot in ${record.groupId}: ${JSON.stringify(damage)}`);
    }
}

/** Everything is closed, and nothing stays open. */
export async function closeAll(world: ClusterWorld): Promise<void> {
  for (const machine of world.machines) await lettingTimePass(world, machine.stopGently(), `${machine.name} doesn't close`);
}

/** Why the cluster isn't at rest yet, or undefined. */
function findUnrest(world: ClusterWorld): string | undefined {
  if ([...world.clients, ...world.realClients].some(({ isAsking }) => isAsking)) return "a client waits";
  if (world.operator.isBusy) return "the operator waits";
  if (world.lostNodes.size > 0) return "a lost node isn't removed";
  for (const { machine, path } of world.rot.spots) return `${path} of ${machine.name} isn't repaired`;
  for (const machine of world.machines)
    if (machine.condition !== "retired" && machine.served === undefined) return `${machine.name} doesn't serve`;
  const leader = world.findCatalogLeader();
  const catalog = leader?.served?.clusterCatalog;
  if (leader === undefined || catalog === undefined) return "nobody leads the catalog";
  const { state } = catalog;
  for (const { name, served } of world.machines) {
    if (served === undefined) continue;
    const own = served.clusterCatalog;
    if (own === undefined || own.nextOffset !== catalog.nextOffset) return `${name} lags behind the catalog`;
    if (served.clusterId !== state.clusterId) return `${name} is in another cluster`;
  }
  for (const { name, isDraining } of state.nodes.values()) {
    if (isDraining) return `${name} still drains`;
    if (!world.machines.some((machine) => machine.nodeName === name && machine.condition === "up"))
      return `there is no ${name}`;
  }
  for (const machine of world.machines)
    if (machine.condition === "up" && !state.nodes.has(machine.nodeName)) return `${machine.name} isn't in the catalog`;
  return findUnrestOfCatalogGroup(world, state) ?? findUnrestOfPartitions(world, state) ?? findLeftovers(world, state);
}

function findUnrestOfCatalogGroup(world: ClusterWorld, { clusterId = "", nodes }: CatalogState): string | undefined {
  const status = world.findGroupLeader(clusterId)?.status();
  if (status === undefined) return "nobody leads group 0";
  const { voters, outgoing, learners } = status.membership;
  if (outgoing.length > 0) return "group 0 is being changed";
  const members = [...voters, ...learners].map(({ nodeId }) => nodeId);
  for (const name of nodes.keys()) if (!members.includes(name)) return `${name} is no member of group 0`;
  for (const name of members) if (!nodes.has(name)) return `${name} is a member of group 0, and in no catalog`;
  const wished = nodes.size >= 5 ? 5 : Math.min(3, nodes.size);
  if (voters.length !== wished) return `group 0 has ${voters.length} voters of ${nodes.size} nodes`;
  const behind = status.peers.find(({ matchIndex, lostIndex }) => matchIndex < status.lastIndex || lostIndex > 0);
  return behind === undefined ? undefined : `${behind.nodeId} lags in group 0`;
}

function findUnrestOfPartitions(world: ClusterWorld, state: CatalogState): string | undefined {
  for (const { topic, partition } of partitionsOf(state)) {
    const what = `${topic.name}/${partition.partition} (${partition.uuid})`;
    const leader = world.findGroupLeader(partition.uuid);
    if (leader === undefined) return `nobody leads ${what}`;
    if (partition.isMoving) return `${what} is moving`;
    if (partition.replicas.length < Math.min(topic.replicationFactor, state.nodes.size)) return `${what} has too few replicas`;
    const { membership, lastIndex, commitIndex, peers, damage } = leader.status();
    if (damage !== undefined) return `the leader of ${what} is damaged: ${damage.message}`;
    const wished = partition.replicas
      .map(({ node, incarnation }) => replicaStorageId(state.nodes.get(node)?.storageId ?? "", incarnation))
      .sort();
    const members = membership.voters.map(({ storageId }) => storageId).sort();
    if (membership.outgoing.length > 0 || membership.learners.length > 0) return `the membership of ${what} is being changed`;
    if (members.join(" ") !== wished.join(" ")) return `${what} has members ${members.join(" ")} and not ${wished.join(" ")}`;
    if (commitIndex < lastIndex) return `${what} has entries that aren't committed`;
    for (const { nodeId, matchIndex, lostIndex } of peers)
      if (matchIndex < lastIndex || lostIndex > 0) return `${nodeId} lags in ${what}`;
    for (const { node } of partition.replicas) {
      const machine = world.machines.find(({ nodeName, condition }) => nodeName === node && condition === "up");
      const member = machine?.served?.groups?.find(partition.uuid);
      if (member === undefined) return `${node} doesn't have ${what}`;
      const status = member.status();
      if (status.shownIndex < lastIndex) return `${node} doesn't show all of ${what}`;
      if (status.damage !== undefined) return `${node} is damaged in ${what}: ${status.damage.message}`;
    }
  }
  return undefined;
}

/** A node has what is placed on it, and nothing else. */
function findLeftovers(world: ClusterWorld, state: CatalogState): string | undefined {
  for (const { name, nodeName, served } of world.machines)
    for (const { record, state: found } of served?.groups?.states() ?? []) {
      if (record.groupId === state.clusterId) continue;
      const place = state.groups.get(record.groupId);
      const placed = place === undefined ? undefined : state.topics.get(place.topic)?.partitions[place.partition];
      const isPlaced = placed?.replicas.some(
        ({ node, incarnation }) => node === nodeName && incarnation === record.incarnation,
      );
      if (isPlaced !== true) return `${name} has a replica of ${record.groupId} (${found.kind}) that isn't placed there`;
    }
  return undefined;
}

/** Group 0 is asked by the controller each second, and needn't sleep. */
function findSleepless(world: ClusterWorld): string | undefined {
  for (const { name, served } of world.machines)
    for (const { record, state } of served?.groups?.states() ?? [])
      if (record.groupId !== served?.clusterId && state.kind === "open" && !state.member.isAsleep)
        return `${name} is awake in ${record.groupId}`;
  return undefined;
}

async function reach(world: ClusterWorld, what: string, findFault: () => string | undefined): Promise<void> {
  let fault: string | undefined = "nothing was looked at";
  // Not at each event: what is looked at hardly changes between two.
  let lookMs = world.nowMs;
  const look = (): boolean => {
    if (world.nowMs < lookMs) return false;
    lookMs = world.nowMs + 100;
    fault = findFault();
    return fault === undefined;
  };
  await world.run(world.nowMs + livenessMaxMs, look);
  if (world.violation !== undefined) throw world.violation;
  if (fault !== undefined) throw new Violation("I20", `${what} after ${livenessMaxMs / 1_000} s: ${fault}`);
}

/** What waits for a disk or a node waits for the world's time. */
async function lettingTimePass<T>(world: ClusterWorld, work: Promise<T>, what: string): Promise<T> {
  let isDone = false;
  const finish = (): void => void (isDone = true);
  work.then(finish, finish);
  await new Promise((resolve) => void setImmediate(resolve));
  if (!isDone) await world.run(world.nowMs + appendMaxMs, () => isDone);
  if (world.violation !== undefined) throw world.violation;
  if (!isDone) throw new Violation("I20", what);
  return work;
}
