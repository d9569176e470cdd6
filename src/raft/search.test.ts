import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Entry } from "./entry.ts";
import { beginSync, emptyFakeLog, endSync, type FakeLog, type FakeReplica, newFakeReplica } from "./fake-replica.ts";
import type { Member } from "./member.ts";
import type { Membership } from "./membership.ts";
import { defaultSettings } from "./raft-settings.ts";
import { type Scope, search } from "./search.ts";
import type { Budget, SearchWorld } from "./search-world.ts";

const nothing: Budget = { elections: 0, proposals: 0, crashes: 0, heartbeats: 0, repetitions: 0, changes: 0, losses: 0 };

/**
 * Small groups, searched through up to a number of states: some seconds here, some minutes with PROVE=1 (`make prove-raft`).
 * Each scope is a corner in which a rule of Raft earns its keep.
 */
describe("a search of every order of events finds no way to break", () => {
  const stateMaxCount = process.env["PROVE"] === "1" ? 320_000 : 2_000;

  for (const [name, scope] of Object.entries(scopes()))
    test(name, (context) => {
      const { stateCount, depth, isComplete, failure } = search(scope, stateMaxCount);
      context.diagnostic(`${stateCount} states, ${isComplete ? "all there are" : `up to ${depth} steps`}`);
      assert.equal(failure?.join("\n"), undefined);
      assert.ok(isComplete || stateCount >= stateMaxCount);
    });
});

function scopes(): Record<string, Scope> {
  const fresh = group([[], [], []]);
  const sleepy = group([[], [], []], { sleepTicks: 1 });
  return {
    "two elections, with hard states that sync when they like": {
      replicas: fresh,
      budget: { ...nothing, elections: 2 },
      syncs: "instant",
      hasSlowHardStates: true,
    },
    "two elections and a crash, with hard states that sync when they like": {
      replicas: fresh,
      budget: { ...nothing, elections: 2, crashes: 1 },
      syncs: "instant",
      hasSlowHardStates: true,
    },
    "two elections of which a message comes twice": {
      replicas: fresh,
      budget: { ...nothing, elections: 2, repetitions: 1 },
      syncs: "instant",
    },
    "a proposal and an election": {
      replicas: fresh,
      prepare: elect,
      budget: { ...nothing, elections: 1, proposals: 1 },
      syncs: "instant",
    },
    "a proposal, an election and a crash": {
      replicas: fresh,
      prepare: elect,
      budget: { ...nothing, elections: 1, proposals: 1, crashes: 1 },
      syncs: "stepwise",
    },
    "a proposal, a heartbeat and an election": {
      replicas: fresh,
      prepare: elect,
      budget: { ...nothing, elections: 1, proposals: 1, heartbeats: 1 },
      syncs: "instant",
    },
    "a proposal and two elections": {
      replicas: fresh,
      prepare: elect,
      budget: { ...nothing, elections: 2, proposals: 1 },
      syncs: "instant",
    },
    "figure 8: an older term's entry on a majority": {
      replicas: group([[1, 2], [1], [1, 3]], { term: 3 }),
      budget: { ...nothing, elections: 2 },
      syncs: "stepwise",
    },
    "logs that differ, and who may lead with them": {
      replicas: group(
        [
          [1, 1, 3],
          [1, 2, 2, 2],
          [1, 1],
        ],
        { term: 4 },
      ),
      budget: { ...nothing, elections: 2 },
      syncs: "instant",
    },
    "entries that were cut while their sync was under way": {
      replicas: group([[1, 2, 2], [1, 3], [1]], { term: 3, sendMaxBytes: 60 }),
      prepare: cutWhileSyncing,
      budget: { ...nothing, elections: 1, crashes: 1 },
      syncs: "slow",
    },
    "a change of membership and an election": {
      replicas: fresh,
      prepare: elect,
      changes: [[{ kind: "remove", nodeId: "n3" }]],
      budget: { ...nothing, elections: 1, changes: 1 },
      syncs: "instant",
    },
    "a change of membership, an election and a crash": {
      replicas: fresh,
      prepare: elect,
      changes: [[{ kind: "remove", nodeId: "n3" }], [{ kind: "demote", nodeId: "n1" }]],
      budget: { ...nothing, elections: 1, changes: 1, crashes: 1 },
      syncs: "stepwise",
    },
    "a group that falls asleep, and an election": {
      replicas: sleepy,
      prepare: elect,
      budget: { ...nothing, elections: 1, heartbeats: 2 },
      syncs: "instant",
    },
    "a group that falls asleep, a proposal and a node that is lost": {
      replicas: sleepy,
      prepare: elect,
      budget: { ...nothing, proposals: 1, heartbeats: 2, losses: 1, repetitions: 1 },
      syncs: "instant",
    },
    "a group that falls asleep, a crash and an election": {
      replicas: sleepy,
      prepare: elect,
      budget: { ...nothing, elections: 1, crashes: 1, heartbeats: 2, losses: 1 },
      syncs: "instant",
    },
    "two changes of membership and an election": {
      replicas: fresh,
      prepare: elect,
      changes: [[{ kind: "demote", nodeId: "n3" }], [{ kind: "promote", nodeId: "n3" }], [{ kind: "remove", nodeId: "n1" }]],
      budget: { ...nothing, elections: 1, changes: 2 },
      syncs: "instant",
    },
  };
}

/** Replicas with logs of these terms on their disks. */
function group(logs: readonly (readonly number[])[], { term = 0, sendMaxBytes = 1_000, sleepTicks = 60 } = {}): FakeReplica[] {
  const voters = logs.map((_, i): Member => ({ nodeId: `n${i + 1}`, storageId: `s${i + 1}` }));
  const membership: Membership = { voters, outgoing: [], learners: [] };
  const settings = { ...defaultSettings, electionTicks: 2, heartbeatTicks: 1, sendMaxBytes, sleepTicks };
  return logs.map((terms, i) => {
    const entries = terms.map(
      (of, at): Entry => ({ index: at + 1, term: of, kind: "data", span: 1, baseOffset: at, bytes: of === 2 ? 100 : 10 }),
    );
    const disk = { term: Math.max(term, terms.at(-1) ?? 0), vote: undefined, log: { ...emptyFakeLog(membership), entries } };
    return newFakeReplica(voters[i]!, disk, settings);
  });
}

/** n1 leads, and everybody knows that its first entry is committed. */
function elect(world: SearchWorld): void {
  world.campaign(0);
  for (let turns = 0; turns < 20; turns += 1) {
    for (const position of world.replicas.keys()) sync(world, position);
    for (const message of world.network) world.deliver(message);
  }
  assert.equal(world.replicas[2]!.raft.commitIndex, 1);
}

/**
 * n1 has brought its entries of term 2 to n3, where a sync of them runs; meanwhile n2 has cut them there and begun to write its own.
 * The old sync's end says nothing about the new ones.
 */
function cutWhileSyncing(world: SearchWorld): void {
  world.campaign(0);
  between(world, ["n1", "n3"], () => world.replicas[2]!.written.entries.length === 2);
  sync(world, 2);
  between(world, ["n1", "n3"], () => world.replicas[2]!.written.entries.length === 3);
  world.onDisk(2, beginSync);
  world.network = [];
  for (let turns = 0; turns < 2; turns += 1) world.campaign(1); // the first teaches it the term that n1 led
  between(world, ["n2", "n3"], () => world.replicas[2]!.written.entries[2]?.term === 5);
  const { written, syncing } = world.replicas[2]!;
  const termsOf = (log: FakeLog): number[] => log.entries.map(({ term }) => term);
  assert.deepEqual(
    [termsOf(written), termsOf(syncing!.log)],
    [
      [1, 3, 5],
      [1, 2, 2],
    ],
  );
}

function sync(world: SearchWorld, position: number): void {
  world.onDisk(position, beginSync);
  world.onDisk(position, endSync);
}

/** What two say to each other arrives, until it is enough. */
function between(world: SearchWorld, names: readonly string[], isEnough: () => boolean): void {
  for (let turns = 0; turns < 20; turns += 1)
    for (const message of world.network)
      if (!isEnough() && names.includes(message.from) && names.includes(message.to)) world.deliver(message);
  assert.ok(isEnough());
}
