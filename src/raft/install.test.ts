import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findViolations, marksOf } from "./invariants.ts";
import type { InstallRequest } from "./install.ts";
import type { LogBase } from "./log-coordinates.ts";
import { createRaft } from "./raft.ts";
import { defaultSettings } from "./raft-settings.ts";
import type { RaftStart } from "./raft-state.ts";
import { extendHistory, type TermStart } from "./term-history.ts";

/** Every small log and every base: what a snapshot's receiver gets wrong, it gets wrong at such a border. */
describe("a base that is installed", () => {
  test("replaces a log that hasn't got its entry, and nothing else", () => {
    let count = 0;
    for (const terms of logs(4))
      for (let commit = 0; commit <= terms.length; commit += 1)
        for (let index = 1; index <= 5; index += 1)
          for (let term = terms[commit - 1] ?? 1; term <= 3; term += 1) {
            // A committed entry isn't contradicted by any leader's base.
            if (index <= commit && terms[index - 1] !== term) continue;
            checkInstall(terms, commit, { index, term });
            count += 1;
          }
    assert.ok(count > 500);
  });

  test("takes nothing back that was acknowledged to its leader", () => {
    const raft = createRaft(startOf([1, 1], 0), defaultSettings, { float: () => 0 });
    raft.step({
      ...{ kind: "append", from: "n2", fromStorage: "n2-disk", to: "n1", term: 3 },
      ...{ prevIndex: 2, prevTerm: 1, entries: [], commitIndex: 0 },
    });
    assert.equal(raft.ready()?.messages[0]?.kind, "append-accepted");
    const before = marksOf(raft.state);
    const base = { index: 5, term: 2, nextOffset: 50 };
    assert.equal(raft.installBase({ from: "n3", term: 3, base, membership }), "stale");
    assert.equal(raft.installBase({ from: "n2", term: 3, base, membership }), "accepted");
    assert.deepEqual(findViolations(raft.state, before), []);
    assert.equal(raft.state.log.durableIndex, 2);
  });

  test("of somebody who claims the term that this replica leads changes nothing", () => {
    const alone = { ...membership, membership: { ...membership.membership, voters: voters.slice(0, 1) } };
    const raft = createRaft({ ...startOf([1], 1), memberships: [alone] }, defaultSettings, { float: () => 0 });
    raft.hardStateDurable(raft.ready()?.hardState?.sequence ?? 0);
    assert.equal(raft.leader, "n1");
    const base = { index: 9, term: 4, nextOffset: 9 };
    assert.equal(raft.installBase({ from: "n2", term: raft.term, base, membership }), "stale");
    assert.equal(raft.leader, "n1");
  });

  test("of a leader whose term is over changes nothing", () => {
    const raft = createRaft(startOf([1, 2], 1), defaultSettings, { float: () => 0 });
    const before = JSON.stringify(raft.state);
    const base = { index: 9, term: 2, nextOffset: 9 };
    assert.equal(raft.installBase({ from: "n2", term: 1, base, membership }), "stale");
    assert.equal(JSON.stringify(raft.state), before);
  });
});

describe("what was shipped with a base", () => {
  test("is the log from then on, whatever was there, and counts when the disk has it", () => {
    let count = 0;
    for (const terms of logs(3))
      for (let commit = 0; commit <= terms.length; commit += 1)
        for (const tail of logs(2)) {
          const base = { index: terms.length + 1, term: tail[0] ?? 3, nextOffset: 70 };
          if (base.term < (terms[commit - 1] ?? 1)) continue;
          checkTail(terms, commit, base, tail);
          count += 1;
        }
    assert.ok(count > 300);
  });

  test("that no log could be is refused, and changes nothing", () => {
    const base = { index: 5, term: 2, nextOffset: 50 };
    const tail = {
      ...{ lastIndex: 8, nextOffset: 80, memberships: [{ index: 7, membership: membership.membership }] },
      termHistory: [
        { term: 2, firstIndex: 6, firstOffset: 50 },
        { term: 3, firstIndex: 8, firstOffset: 70 },
      ],
    };
    const sound = { from: "n2", term: 3, base, membership, tail };
    const history = (...starts: readonly (readonly [term: number, firstIndex: number, firstOffset: number])[]) => ({
      tail: { ...tail, termHistory: starts.map(([term, firstIndex, firstOffset]) => ({ term, firstIndex, firstOffset })) },
    });
    const none = { voters: [], outgoing: [], learners: [] };
    const wrongs: readonly (readonly [string, Partial<InstallRequest>])[] = [
      ["malformed", { base: { ...base, index: 0 } }],
      ["malformed", { base: { ...base, index: 1.5 } }],
      ["malformed", { base: { ...base, term: 0 } }],
      ["malformed", { base: { ...base, term: 4 } }],
      ["malformed", { base: { ...base, nextOffset: -1 } }],
      ["malformed", { term: 2 ** 33 }],
      ["malformed", { membership: { ...membership, index: 6 } }],
      ["malformed", { membership: { index: 5, membership: none } }],
      ["malformed", { tail: { ...tail, lastIndex: 4 } }],
      ["malformed", { tail: { ...tail, lastIndex: 7 } }],
      ["malformed", { tail: { ...tail, nextOffset: 69 } }],
      ["malformed", history()],
      ["malformed", history([2, 7, 50])],
      ["malformed", history([2, 6, 60])],
      ["malformed", history([1, 6, 50])],
      ["malformed", history([2, 6, 50], [2, 8, 70])],
      ["malformed", history([2, 6, 50], [3, 6, 70])],
      ["malformed", history([2, 6, 50], [3, 8, 40])],
      ["malformed", history([2, 6, 50], [4, 8, 70])],
      ["malformed", { tail: { ...tail, memberships: [{ index: 5, membership: membership.membership }] } }],
      ["malformed", { tail: { ...tail, memberships: [{ index: 9, membership: membership.membership }] } }],
      ["malformed", { tail: { ...tail, memberships: [{ index: 7, membership: none }] } }],
      ["contradiction", { base: { index: 2, term: 1, nextOffset: 20 }, tail: { ...tail, ...history([2, 3, 20]).tail } }],
      ["contradiction", { base: { index: 5, term: 1, nextOffset: 50 } }],
    ];
    for (const [outcome, wrong] of wrongs) {
      const raft = createRaft(startOf([2, 2, 2], 3), defaultSettings, { float: () => 0 });
      const before = JSON.stringify(raft.state);
      assert.equal(raft.installBase({ ...sound, ...wrong }), outcome, JSON.stringify(wrong));
      assert.equal(JSON.stringify(raft.state), before);
    }
    const raft = createRaft(startOf([2, 2, 2], 3), defaultSettings, { float: () => 0 });
    assert.equal(raft.installBase(sound), "accepted");
    assert.deepEqual(findViolations(raft.state), []);
  });
});

function checkTail(terms: readonly number[], commit: number, base: LogBase, tail: readonly number[]): void {
  const raft = createRaft(startOf(terms, commit), defaultSettings, { float: () => 0 });
  const before = marksOf(raft.state);
  const told = JSON.stringify({ terms, commit, base, tail });
  const termHistory: TermStart[] = [];
  const { index, nextOffset } = base;
  for (const [i, term] of tail.entries())
    extendHistory(termHistory, { term, firstIndex: index + 1 + i, firstOffset: nextOffset + 10 * i });
  const end = { lastIndex: index + tail.length, nextOffset: nextOffset + 10 * tail.length };
  const outcome = raft.installBase({ from: "n2", term: 9, base, membership, tail: { ...end, termHistory, memberships: [] } });
  assert.equal(outcome, "accepted", told);
  const { log, commitIndex } = raft.state;
  assert.deepEqual([log.lastIndex, log.nextOffset, commitIndex], [end.lastIndex, end.nextOffset, index], told);
  assert.deepEqual(
    tail.map((_, i) => raft.termAt(index + 1 + i)),
    tail,
    told,
  );
  assert.deepEqual(findViolations(raft.state, before), [], told);
  const ready = raft.ready();
  assert.deepEqual(ready?.write?.install, { ...base, lastIndex: end.lastIndex }, told);
  raft.hardStateDurable(ready?.hardState?.sequence ?? 0);
  raft.durable({ index: end.lastIndex, generation: 2 });
  assert.deepEqual(
    raft.ready()?.messages.map((message) => message.kind === "append-accepted" && [message.matchIndex, message.agreedIndex]),
    [[end.lastIndex, end.lastIndex]],
    told,
  );
}

const voters = ["n1", "n2", "n3"].map((nodeId) => ({ nodeId, storageId: `${nodeId}-disk` }));
const membership = { index: 0, membership: { voters, outgoing: [], learners: [] } };

function checkInstall(terms: readonly number[], commit: number, at: { readonly index: number; readonly term: number }): void {
  const raft = createRaft(startOf(terms, commit), defaultSettings, { float: () => 0 });
  const before = marksOf(raft.state);
  const base = { ...at, nextOffset: 10 * at.index };
  const outcome = raft.installBase({ from: "n2", term: 9, base, membership });
  const isThere = at.index <= commit || terms[at.index - 1] === at.term;
  const told = JSON.stringify({ terms, commit, at });
  const { log, commitIndex } = raft.state;
  assert.equal(outcome, isThere ? "unneeded" : "accepted", told);
  assert.equal(commitIndex, Math.max(commit, at.index), told);
  assert.equal(log.lastIndex, isThere ? terms.length : at.index, told);
  assert.equal(log.nextOffset, isThere ? 10 * terms.length : base.nextOffset, told);
  assert.equal(log.base.index, isThere ? 0 : at.index, told);
  assert.equal(log.generation, isThere ? 1 : 2, told);
  assert.deepEqual(findViolations(raft.state, before), [], told);
  const ready = raft.ready();
  assert.deepEqual(ready?.write?.install, isThere ? undefined : { ...base, lastIndex: at.index }, told);
  if (isThere) return;
  assert.equal(log.durableIndex, commit, told);
  // It counts when the swap is on the disk, and the log goes on behind it.
  raft.hardStateDurable(ready?.hardState?.sequence ?? 0);
  raft.durable({ index: at.index, generation: 2 });
  assert.deepEqual(
    raft.ready()?.messages.map((message) => message.kind === "append-accepted" && message.matchIndex),
    [at.index],
    told,
  );
  assert.equal(raft.termAt(at.index), at.term);
}

/** Each entry spans ten offsets. */
function startOf(terms: readonly number[], commitIndex: number): RaftStart {
  const termHistory: TermStart[] = [];
  for (const [i, term] of terms.entries()) extendHistory(termHistory, { term, firstIndex: i + 1, firstOffset: 10 * i });
  return {
    ...{ self: voters[0]!, term: 3, vote: undefined, base: { index: 0, term: 0, nextOffset: 0 } },
    ...{ lastIndex: terms.length, nextOffset: 10 * terms.length, termHistory, memberships: [membership] },
    ...{ durableIndex: terms.length, commitIndex },
  };
}

/** All rows of rising terms from 1 to 3, up to a length. */
function logs(lengthMax: number): number[][] {
  const found: number[][] = [[]];
  for (const log of found)
    if (log.length < lengthMax) for (let term = log.at(-1) ?? 1; term <= 3; term += 1) found.push([...log, term]);
  return found;
}
