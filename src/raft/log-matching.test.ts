import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Entry } from "./entry.ts";
import {
  crash,
  emptyFakeLog,
  endSync,
  beginSync,
  type FakeEffects,
  newFakeReplica,
  processReady,
  restart,
  syncHardState,
} from "./fake-replica.ts";
import { findViolations } from "./invariants.ts";
import type { AppendMessage } from "./message.ts";
import { defaultSettings } from "./raft-settings.ts";

/**
 * The receiver of an append, held against the rules of the paper's figure 2 written down as they stand, for every small log and
 * every append that a leader of the next term could send to it.
 */
describe("a follower that is sent an append", () => {
  test("ends with the log, the answer and the commit index of the paper's figure 2", () => {
    let count = 0;
    for (const own of logs(3))
      for (let commit = 0; commit <= own.length; commit += 1)
        for (const leader of logs(4).filter((terms) => isPrefix(own.slice(0, commit), terms)))
          for (let prev = 0; prev <= leader.length; prev += 1)
            for (let length = 0; length <= Math.min(2, leader.length - prev); length += 1)
              for (const leaderCommit of new Set([0, commit, leader.length])) {
                checkAppend({ own, commit, leader, prev, length, leaderCommit });
                count += 1;
              }
    assert.ok(count > 10_000);
  });
});

interface Case {
  readonly own: readonly number[];
  readonly commit: number;
  readonly leader: readonly number[];
  readonly prev: number;
  readonly length: number;
  readonly leaderCommit: number;
}

function checkAppend(given: Case): void {
  const { own, commit, leader, prev, length, leaderCommit } = given;
  const replica = followerOf(own, commit);
  const message: AppendMessage = {
    ...{ kind: "append", from: "n2", fromStorage: "s2", to: "n1", term: 9 },
    ...{ prevIndex: prev, prevTerm: leader[prev - 1] ?? 0, commitIndex: leaderCommit },
    entries: entriesOf(leader).slice(prev, prev + length),
  };
  replica.raft.step(message);
  const effects: FakeEffects = { messages: [], readies: [], catchUps: [], reads: [] };
  processReady(replica, effects);
  syncHardState(replica);
  beginSync(replica);
  endSync(replica);
  processReady(replica, effects);

  const expected = figure2(given);
  const told = JSON.stringify(given);
  assert.deepEqual(
    replica.written.entries.map(({ term }) => term),
    expected.log,
    told,
  );
  assert.equal(replica.raft.commitIndex, expected.commit, told);
  const answer = effects.messages.at(-1);
  assert.equal(answer?.kind, expected.isAccepted ? "append-accepted" : "append-rejected", told);
  if (answer?.kind === "append-accepted") assert.equal(answer.matchIndex, expected.match, told);
  assert.deepEqual(findViolations(replica.raft.state), [], told);
}

/** "AppendEntries RPC, receiver implementation", 2 to 5, with what is known committed taken as already checked. */
function figure2({ own, commit, leader, prev, length, leaderCommit }: Case) {
  const isAccepted = prev <= commit || (prev <= own.length && own[prev - 1] === leader[prev - 1]);
  if (!isAccepted) return { isAccepted, log: own, commit, match: 0 };
  let log = [...own];
  for (let index = prev + 1; index <= prev + length; index += 1) {
    if (index <= log.length && log[index - 1] !== leader[index - 1]) log = log.slice(0, index - 1);
    if (index > log.length && leader[index - 1] !== undefined) log.push(leader[index - 1] ?? 0);
  }
  const match = Math.max(commit, prev + length);
  return { isAccepted, log, commit: Math.max(commit, Math.min(leaderCommit, match)), match };
}

/** A follower of term 8 with this log on its disk, which knows so much committed. */
function followerOf(terms: readonly number[], commit: number) {
  const voters = ["n1", "n2", "n3"].map((nodeId, i) => ({ nodeId, storageId: `s${i + 1}` }));
  const log = { ...emptyFakeLog({ voters, outgoing: [], learners: [] }), entries: entriesOf(terms) };
  const replica = newFakeReplica(voters[0]!, { term: 8, vote: undefined, log }, defaultSettings);
  crash(replica, true);
  restart(replica);
  const { state } = replica.raft;
  state.commitIndex = commit;
  if (state.role.kind === "follower") state.role.agreedIndex = commit;
  return replica;
}

function entriesOf(terms: readonly number[]): Entry[] {
  return terms.map((term, i) => ({ index: i + 1, term, kind: "data", span: 1, baseOffset: i, bytes: 10 }));
}

/** All rows of rising terms from 1 to 3, up to a length. */
function logs(lengthMax: number): number[][] {
  const found: number[][] = [[]];
  for (const log of found)
    if (log.length < lengthMax) for (let term = log.at(-1) ?? 1; term <= 3; term += 1) found.push([...log, term]);
  return found;
}

function isPrefix(one: readonly number[], other: readonly number[]): boolean {
  return one.length <= other.length && one.every((term, i) => term === other[i]);
}
