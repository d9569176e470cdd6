import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { StampedEntry } from "../src/log/stamped-entry.ts";
import type { Message } from "../src/raft/message.ts";
import type { RaftState } from "../src/raft/raft-state.ts";
import type { CheckId } from "./checks.ts";
import { Violation } from "./violation.ts";
import { WatchedGroup } from "./watched-group.ts";

/** Of each thing that no group may do, one that is done: a check that can't fail proves nothing. */
describe("who watches a group", () => {
  test("has nothing against one that does its work", () => {
    const group = begin();
    group.append([batchOf("more")]);
    group.watch.recovered(group.state, recoveredOf(group.entries));
    group.watch.checkMembership(group.state);
    assert.deepEqual(
      group.watch.committed.map(({ entry }) => entry.kind),
      ["no-op", "data", "data", "data"],
    );
    assert.equal(group.watch.nextOffset, 3);
  });

  violates("I1", "a second leader of a term", (group) => {
    const self = { nodeId: "n2", storageId: "n2-disk1" };
    const hardState = { ...group.state.hardState, vote: self };
    group.watch.stepped({
      ...group.state,
      self,
      hardState,
      role: { ...leaderOf(group.state), peers: [] },
      log: logOf(group.state, self),
    });
  });

  violates("I2", "a replica that comes back in an earlier term", (group) =>
    group.watch.recovered({ ...group.state, hardState: { ...group.state.hardState, term: 0 } }, recoveredOf(group.entries)),
  );

  violates("I2", "a replica that has forgotten its vote", (group) =>
    group.watch.recovered(
      { ...group.state, hardState: { ...group.state.hardState, vote: undefined } },
      recoveredOf(group.entries),
    ),
  );

  violates("I2", "a message of a term that the disk doesn't know", (group) =>
    group.watch.sending(group.state, { ...envelope, kind: "newer-term", term: 2 }),
  );

  violates("I2", "a vote that the disk doesn't know", (group) =>
    group.watch.sending(group.state, { ...envelope, kind: "vote-response", isGranted: true, term: 1 }),
  );

  violates("I3", "another entry of the same index and term", ({ watch, state, entries }) =>
    watch.handed(state, undefined, [{ ...at(entries, 2), payload: batchOf("other") }]),
  );

  violates("I3", "another entry before the same one", ({ watch, state, entries }) => {
    const termHistory = [{ term: 0, firstIndex: 1, firstOffset: 0 }];
    watch.handed({ ...state, log: { ...state.log, termHistory } }, undefined, [at(entries, 2)]);
  });

  violates("I3", "another entry that is committed where one was", ({ watch, state, self }) => {
    const other = { ...self, storageId: "n1-disk2" };
    const termHistory = [
      { term: 1, firstIndex: 1, firstOffset: 0 },
      { term: 2, firstIndex: 3, firstOffset: 1 },
    ];
    const hardState = { ...state.hardState, term: 2 };
    watch.stepped({ ...state, self: other, hardState, role: follower, log: { ...state.log, termHistory } });
  });

  violates("I4", "an entry that is committed without a quorum of disks", ({ raft, watch, state }) => {
    const [entry] = proposed(raft.propose([{ kind: "data", span: 1, bytes: 1 }]));
    raft.ready();
    watch.handed(state, undefined, [{ ...entry!, kind: "data", appendTime: 0, flags: 0, payload: batchOf("early") }]);
    raft.durable({ index: 4, generation: 1 });
    watch.stepped(state);
  });

  violates("I4", "an entry that is committed and on no platter", (group) => {
    group.isOnPlatter = false;
    group.append([batchOf("cached")]);
  });

  violates("I4", "an entry that a follower commits before any leader", ({ watch, state }) =>
    watch.stepped({
      ...state,
      role: { ...follower, agreedIndex: 4 },
      commitIndex: 4,
      log: { ...state.log, lastIndex: 4, nextOffset: 3 },
    }),
  );

  violates("I5", "a leader that lacks what was committed", ({ watch, state, self }) => {
    const other = { ...self, storageId: "n1-disk2" };
    const log = { ...logOf(state, other), lastIndex: 2, nextOffset: 1, durableIndex: 2, handedIndex: 2 };
    const hardState = { ...state.hardState, term: 2, vote: other };
    watch.stepped({ ...state, self: other, hardState, commitIndex: 0, role: { ...leaderOf(state), peers: [] }, log });
  });

  violates("I6", "an order to truncate what is committed", ({ watch, state }) => watch.handed(state, 2, []));

  violates("I6", "a truncation of what is committed", ({ watch, state }) => watch.truncating(state, 2));

  violates("I7", "a membership that doesn't follow from the one before", (group) => {
    const voters = [{ nodeId: "n8", storageId: "n8-disk1" }];
    const { log } = group.state;
    group.raft.propose([{ kind: "data", span: 1, bytes: 1 }]);
    const [entry] = log.pending.entries;
    assert.ok(entry !== undefined);
    Object.assign(entry, { kind: "membership", span: 0, membership: { voters, outgoing: [], learners: [] } });
    group.writeReady([]);
  });

  violates("I14", "a damaged leader", ({ watch, state, self }) => {
    const other = { ...self, storageId: "n1-disk2" };
    const hardState = { ...state.hardState, term: 2, vote: other };
    watch.stepped({
      ...state,
      self: other,
      hardState,
      commitIndex: 0,
      isDamaged: true,
      role: leaderOf(state),
      log: logOf(state, other),
    });
  });

  violates("I16", "a recovery that lost what was synced", ({ watch, state, entries }) =>
    watch.recovered(state, recoveredOf(entries.slice(0, -1))),
  );

  violates("I16", "a recovery of what nobody wrote", ({ watch, state, entries }) => {
    const last = at(entries, 3);
    watch.recovered(state, recoveredOf([...entries, { ...last, index: 4, baseOffset: 2 }]));
  });

  violates("R", "a core that breaks a rule of its own", ({ watch, state }) => watch.stepped({ ...state, commitIndex: 99 }));
});

function violates(check: CheckId, what: string, act: (group: WatchedGroup) => void): void {
  test(`objects to ${what}`, () => {
    const group = begin();
    assert.throws(
      () => act(group),
      (error) => {
        if (!(error instanceof Violation)) throw error;
        assert.equal(error.check, check, error.message);
        return true;
      },
    );
  });
}

/** One that has committed a no-op and two records. */
function begin(): WatchedGroup {
  const group = new WatchedGroup();
  group.append([batchOf("one"), batchOf("two")]);
  return group;
}

const envelope = { from: "n1", fromStorage: "n1-disk1", to: "n2" } satisfies Partial<Message>;
const forwarded = { recent: new Map<number, number>(), older: new Map<number, number>(), elapsed: 0 };
const follower = {
  kind: "follower",
  leader: undefined,
  agreedIndex: 3,
  toldIndex: 0,
  acknowledgedIndex: 0,
  forwarded,
} as const;

function leaderOf({ role }: RaftState) {
  assert.ok(role.kind === "leader");
  return role;
}

/** The same log of a group whose only voter is another. */
function logOf({ log }: RaftState, self: RaftState["self"]): RaftState["log"] {
  return { ...log, memberships: [{ index: 0, membership: { voters: [self], outgoing: [], learners: [] } }] };
}

function batchOf(value: string): Buffer {
  return encodeBatch([{ value }], { now: 0 });
}

function at(entries: readonly StampedEntry[], index: number): StampedEntry {
  const entry = entries[index - 1];
  assert.ok(entry?.index === index);
  return entry;
}

function recoveredOf(entries: readonly StampedEntry[]) {
  return entries.map((entry, i) => ({ entry, prevTerm: entries[i - 1]?.term ?? 0 }));
}

function proposed(outcome: ReturnType<WatchedGroup["raft"]["propose"]>) {
  assert.ok(outcome.outcome === "appended");
  return outcome.entries;
}
