import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../../sim/random.ts";
import { hasUnsynced } from "./fake-replica.ts";
import { newestMembership } from "./log-coordinates.ts";
import type { NodeId } from "./member.ts";
import type { MembershipChange } from "./membership.ts";
import { ScriptWorld } from "./script-world.ts";

/**
 * Groups to which anything happens in any order: messages lost, doubled and reordered, disks that sync when they like, crashes,
 * memberships changed, leadership handed over, logs trimmed. The world checks all invariants after each step; at the end the
 * network heals and everybody must agree.
 */
describe("a random world", () => {
  const isProving = process.env["PROVE"] === "1";
  const count = isProving ? 5_000 : 150;
  const first = Number(process.env["SEED"] ?? 1);

  test(`keeps every invariant and agrees in the end, seeds ${first} to ${first + count - 1}`, () => {
    const seen = new Map<string, number>();
    for (let seed = first; seed < first + count; seed += 1) {
      try {
        runWorld(createSeededRandom(`raft ${seed}`), 1_000, seen);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    // Worlds in which nothing happens keep every invariant too.
    const isUneventful = events.filter((event) => (seen.get(event) ?? 0) < count / 40);
    if (first === 1) assert.deepEqual(isUneventful, [], JSON.stringify(Object.fromEntries(seen)));
    if (isProving) console.log(Object.fromEntries(seen));
  });
});

/** What lines of a world begin with or hold. */
const events = [
  "becomes leader",
  "becomes pre-candidate",
  "commits",
  "truncates",
  "installs",
  "append-rejected",
  "newer-term",
  "timeout-now",
  "forgotten",
  "in-lease",
  "stale",
  ")&(",
  " read ",
  " failed",
  "caught up",
  "falls asleep",
  "wakes",
];

function runWorld(random: SeededRandom, steps: number, seen: Map<string, number>): void {
  const names = ["n1", "n2", "n3", "n4", "n5"].slice(0, random.pick([1, 2, 3, 3, 3, 4, 5]));
  const voters = names.map(memberOf);
  const world = new ScriptWorld({
    electionTicks: 3,
    inflightMaxCount: 4,
    inflightMaxBytes: 1_000,
    sendMaxBytes: 300,
    promotionMaxLag: 3,
    sleepTicks: 2,
  });
  for (const member of voters) world.add(member, { membership: { voters, outgoing: [], learners: [] } });
  for (const nodeId of ["n6", "n7"]) world.add(memberOf(nodeId), {});
  const everyone = [...world.replicas.keys()];
  // Where reading and sending take their time, reports come late: behind the answers to what they report, or behind a fall back.
  if (random.chance(0.5)) for (const nodeId of everyone) world.hold(nodeId, "sends");
  for (let step = 0; step < steps; step += 1) {
    takeStep(world, random, everyone);
    for (const { raft } of world.replicas.values())
      if (raft.state.owed !== undefined)
        throw new Error(`a sound disk is taken for one that lost something: ${raft.state.self.nodeId}`);
    for (const line of world.takeLines()) {
      if (/: (contradiction|malformed|second-leader|not-for-us)$/.test(line))
        throw new Error(`sound peers say what is refused: ${line}`);
      for (const event of events) if (line.includes(event)) seen.set(event, (seen.get(event) ?? 0) + 1);
    }
  }
  const leader = healAndAgree(world, everyone);
  sleepAndWake(world, random, everyone, leader);
}

function memberOf(nodeId: NodeId) {
  return { nodeId, storageId: `${nodeId}-disk` };
}

function takeStep(world: ScriptWorld, random: SeededRandom, everyone: readonly NodeId[]): void {
  if (world.network.length > 0 && random.chance(0.6)) {
    deliverOne(world, random);
    return;
  }
  const nodeId = random.pick(everyone);
  const { isUp, hardStatePending } = world.get(nodeId);
  if (!isUp) {
    if (random.chance(0.5)) world.restart(nodeId);
    return;
  }
  const { orders, reports } = world.get(nodeId);
  if (orders.length > 0 && random.chance(0.6)) {
    world.send(nodeId, random.chance(0.05));
    return;
  }
  if (reports.length > 0 && random.chance(0.5)) {
    world.reportSent(nodeId);
    return;
  }
  // Disks are quick, as a rule.
  if (hardStatePending !== undefined && random.chance(0.7)) world.syncHardState(nodeId);
  else if (hasUnsynced(world.get(nodeId)) && random.chance(0.6)) {
    if (random.chance(0.5)) world.beginSync(nodeId);
    else world.endSync(nodeId);
  } else actAt(world, random, nodeId, everyone);
}

/** In order, mostly; now and then any, twice, or never. */
function deliverOne(world: ScriptWorld, random: SeededRandom): void {
  const at = random.chance(0.8) ? 0 : random.integer(world.network.length);
  const [message] = random.chance(0.05) ? [world.network[at]] : world.network.splice(at, 1);
  if (message !== undefined && !random.chance(0.03)) world.deliver(message);
}

function disconnect(world: ScriptWorld, nodeId: NodeId, other: NodeId): void {
  world.unreachable(nodeId, other);
  world.act(nodeId, (raft) => raft.disconnected(other));
}

function actAt(world: ScriptWorld, random: SeededRandom, nodeId: NodeId, everyone: readonly NodeId[]): void {
  const luck = random.float();
  if (luck < 0.3) world.act(nodeId, (raft) => raft.tick());
  else if (luck < 0.33) for (let left = 4; left > 0; left -= 1) world.act(nodeId, (raft) => raft.tick());
  else if (luck < 0.6) proposeAt(world, random, everyone);
  else if (luck < 0.65) readAt(world, nodeId, everyone);
  else if (luck < 0.75) changeAt(world, random, everyone);
  else if (luck < 0.78) transferAt(world, random, everyone);
  else if (luck < 0.79) disconnect(world, nodeId, random.pick(everyone));
  else if (luck < 0.8) loseOrFind(world, random, nodeId, everyone);
  else if (luck < 0.83) damageOrRepair(world, nodeId, random.chance(0.2));
  else if (luck < 0.86) trimAt(world, random, nodeId);
  else if (luck < 0.92) catchUpAt(world, findLeader(world, everyone) ?? nodeId, random.integer(4));
  else if (luck < 0.95) world.crash(nodeId, random.chance(0.4));
  else cutOrHeal(world, random, nodeId, everyone);
}

/** At this node and at everyone who believes to lead: a deposed leader must not answer. */
function readAt(world: ScriptWorld, nodeId: NodeId, everyone: readonly NodeId[]): void {
  readCount += 1;
  for (const reader of everyone)
    if (world.get(reader).isUp && (reader === nodeId || world.get(reader).raft.leader === reader))
      world.read(reader, readCount);
}

/** Each reader has an id of its own, over all worlds. */
let readCount = 0;

function findLeader(world: ScriptWorld, everyone: readonly NodeId[]): NodeId | undefined {
  return everyone.find((nodeId) => world.get(nodeId).isUp && world.get(nodeId).raft.state.role.kind === "leader");
}

function transferAt(world: ScriptWorld, random: SeededRandom, everyone: readonly NodeId[]): void {
  const leader = findLeader(world, everyone);
  const to = random.chance(0.5) ? undefined : random.pick(everyone);
  if (leader !== undefined) world.act(leader, (raft) => raft.transferLeadership(to));
}

function proposeAt(world: ScriptWorld, random: SeededRandom, everyone: readonly NodeId[]): void {
  const leader = findLeader(world, everyone);
  const proposal = { kind: "data", span: 1 + random.integer(3), bytes: 1 + random.integer(400) } as const;
  if (leader !== undefined)
    world.act(leader, (raft) => raft.propose(Array.from({ length: 1 + random.integer(3) }, () => proposal)));
}

function changeAt(world: ScriptWorld, random: SeededRandom, everyone: readonly NodeId[]): void {
  const leader = findLeader(world, everyone);
  if (leader === undefined) return;
  const changes = Array.from({ length: 1 + random.integer(2) }, (): MembershipChange => {
    const nodeId = random.pick(everyone);
    const kind = random.pick(["add-learner", "promote", "promote", "demote", "remove"] as const);
    return kind === "add-learner" ? { kind, member: memberOf(nodeId) } : { kind, nodeId };
  });
  world.act(leader, (raft) => raft.changeMembership(changes));
}

function trimAt(world: ScriptWorld, random: SeededRandom, nodeId: NodeId): void {
  const { raft, disk, written } = world.get(nodeId);
  const { base, durableIndex } = raft.state.log;
  const last = Math.min(raft.commitIndex, durableIndex);
  if (last > base.index && disk.log === written) world.trim(nodeId, base.index + 1 + random.integer(last - base.index));
}

/** Whoever asked to have a peer caught up does it, for each that waits. */
function catchUpAt(world: ScriptWorld, nodeId: NodeId, count: number): void {
  const { role } = world.get(nodeId).raft.state;
  if (role.kind !== "leader") return;
  for (const { nodeId: to, flow } of [...role.peers])
    if (flow.kind === "catch-up" && world.replicas.get(to)?.isUp === true) world.catchUp(nodeId, to, count);
}

/** Rightly or not: a node that is lost for another may be there, and one that is gone may not be missed. */
function loseOrFind(world: ScriptWorld, random: SeededRandom, nodeId: NodeId, everyone: readonly NodeId[]): void {
  const other = random.pick(everyone);
  if (random.chance(0.5)) world.act(nodeId, (raft) => raft.peerLost(other));
  else world.act(nodeId, (raft) => raft.peerFound(other));
}

function damageOrRepair(world: ScriptWorld, nodeId: NodeId, isDamaged: boolean): void {
  const { durableIndex } = world.get(nodeId).raft.state.log;
  world.act(nodeId, (raft) => (isDamaged ? raft.setDamaged() : raft.repaired({ durableIndex })));
}

function cutOrHeal(world: ScriptWorld, random: SeededRandom, nodeId: NodeId, everyone: readonly NodeId[]): void {
  if (random.chance(0.7)) world.heal();
  else world.cut(nodeId, [random.pick(everyone)], random.chance(0.5));
}

/** Everything works again: somebody leads, and what it proposes gets everywhere. */
function healAndAgree(world: ScriptWorld, everyone: readonly NodeId[]): NodeId {
  world.heal();
  for (const nodeId of everyone) {
    if (!world.get(nodeId).isUp) world.restart(nodeId);
    world.release(nodeId);
    damageOrRepair(world, nodeId, false);
    for (const other of everyone) world.act(nodeId, (raft) => raft.peerFound(other));
    if (hasUnsynced(world.get(nodeId))) world.syncLog(nodeId);
  }
  passTime(world, everyone, 60);
  const leader = everyone.find((nodeId) => world.get(nodeId).raft.state.role.kind === "leader");
  if (leader === undefined) throw new Error(`nobody leads:\n${describeAll(world, everyone)}`);
  const outcome = world.act(leader, (raft) => raft.propose([{ kind: "data", span: 1, bytes: 1 }]));
  world.settle();
  world.act(leader, (raft) => raft.tick());
  world.settle();
  if (world.act(leader, (raft) => raft.readIndex(0)).outcome !== "waiting") throw new Error("a reader isn't let in");
  world.settle();
  const { commitIndex, log, role } = world.get(leader).raft.state;
  const isDone = outcome.outcome === "appended" && commitIndex === log.lastIndex;
  const peers = role.kind === "leader" ? role.peers : [];
  const isEverywhere = peers.every(
    ({ nodeId, matchIndex }) => matchIndex === log.lastIndex && world.get(nodeId).raft.commitIndex === commitIndex,
  );
  const isReadAnswered = role.kind === "leader" && role.reads.running === undefined && role.reads.waiting.length === 0;
  if (!isReadAnswered) throw new Error(`readers wait for ever: ${world.describe(leader)}`);
  if (!isDone || !isEverywhere) throw new Error(`no agreement:\n${describeAll(world, everyone)}`);
  return leader;
}

/** Ticks for those that are up, and whatever follows. */
function passTime(world: ScriptWorld, everyone: readonly NodeId[], rounds: number): void {
  for (let round = 0; round < rounds; round += 1) {
    // One clock each, not in step: else two would stand for election at once for ever.
    for (const [position, nodeId] of everyone.entries()) {
      if (!world.get(nodeId).isUp) continue;
      if ((round + position) % everyone.length !== 0 && world.get(nodeId).raft.state.role.kind !== "leader") continue;
      world.act(nodeId, (raft) => raft.tick());
      world.settle();
      catchUpAt(world, nodeId, round % 4);
      world.settle();
      world.lines = [];
    }
  }
}

function describeAll(world: ScriptWorld, everyone: readonly NodeId[]): string {
  return everyone.map((nodeId) => world.describe(nodeId)).join("\n");
}

/**
 * A group at rest falls asleep, wakes by whatever may happen, and sleeps again: with a member on a node that is dead, and, when that
 * comes back, with all. Who is no member any more is told so, and keeps nobody awake.
 */
function sleepAndWake(world: ScriptWorld, random: SeededRandom, everyone: readonly NodeId[], leader: NodeId): void {
  const { role, log } = world.get(leader).raft.state;
  if (role.kind !== "leader") throw new Error(`${leader} doesn't lead any more`);
  const members = [leader, ...role.peers.map(({ nodeId }) => nodeId)];
  const { voters } = newestMembership(log).membership;
  expectAsleep(world, everyone, members);

  const victim = random.pick(members);
  const others = members.filter((nodeId) => nodeId !== victim);
  const rest = everyone.filter((nodeId) => nodeId !== victim);
  const isQuorumLeft = voters.filter(({ nodeId }) => nodeId !== victim).length * 2 > voters.length;
  world.crash(victim, random.chance(0.5));
  // Either the nodes notice, or somebody wants something of the group.
  const isNoticed = random.chance(0.7);
  const tell = (): void => others.forEach((nodeId) => world.act(nodeId, (raft) => raft.peerLost(victim)));
  if (isNoticed) tell();
  else for (const nodeId of others) world.act(nodeId, (raft) => raft.propose([{ kind: "data", span: 1, bytes: 1 }]));
  if (isQuorumLeft) {
    passTime(world, rest, 60);
    expectProgress(world, others);
    if (!isNoticed) tell();
    expectAsleep(world, rest, others);
  }
  world.restart(victim);
  for (const nodeId of others) world.act(nodeId, (raft) => raft.peerFound(victim));
  passTime(world, everyone, 60);
  expectProgress(world, members);
  expectAsleep(world, everyone, members);
}

function expectProgress(world: ScriptWorld, members: readonly NodeId[]): void {
  const leader = findLeader(world, members);
  if (leader === undefined) throw new Error(`nobody leads after a sleep:\n${describeAll(world, members)}`);
  world.act(leader, (raft) => raft.propose([{ kind: "data", span: 1, bytes: 1 }]));
  world.settle();
  const { commitIndex, log } = world.get(leader).raft.state;
  if (commitIndex < log.lastIndex) throw new Error(`nothing is committed after a sleep:\n${describeAll(world, members)}`);
}

/** Who sleeps isn't ticked: a tick of it changes nothing. */
function expectAsleep(world: ScriptWorld, everyone: readonly NodeId[], members: readonly NodeId[]): void {
  passTime(world, everyone, 40);
  if (members.some((nodeId) => !world.get(nodeId).raft.isAsleep))
    throw new Error(`not all sleep:\n${describeAll(world, members)}`);
}
