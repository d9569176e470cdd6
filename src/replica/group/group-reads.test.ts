import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { outcomeOf, TestGroup } from "../../../test/test-group.ts";
import { shownWaitersMaxCount } from "../../base/cluster-limits.ts";
import type { ReadOutcome } from "../../raft/read-index.ts";
import { GroupReads } from "./group-reads.ts";

describe("a reader who must not miss anything", () => {
  test("is told, on the leader and on a follower, once that replica shows what was acknowledged before", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const hold = group.node("n3").hold({ kind: "datasync" });
    await group.done(leader.append([{ value: "a" }]));
    const ends: string[] = [];
    for (const name of ["n1", "n2", "n3"]) {
      const replica = group.replica(name);
      void replica.confirm().then(() => ends.push(`${name} ${replica.log.highWatermark}`));
    }
    await group.tick(2);
    assert.deepEqual(ends.sort(), ["n1 1", "n2 1"]);
    hold.release();
    await group.settle();
    assert.deepEqual(ends, ["n1 1", "n2 1", "n3 1"]);
    await group.close();
  });

  test("who comes in one turn with others asks one question with them", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    let rounds = 0;
    group.loses = ({ message }) => {
      if (message.kind === "heartbeat") rounds += 1;
      return false;
    };
    await Promise.all([...Array.from({ length: 1_000 }, () => leader.confirm()), group.settle()]);
    assert.equal(rounds, 2, "a heartbeat to each of the others");
    await group.close();
  });

  test("is told to ask again where nobody leads, and by a leader that no quorum confirms", async () => {
    const group = await TestGroup.open();
    assert.equal((await outcomeOf(group.replica("n2").confirm())).code, "UNAVAILABLE");
    const leader = await group.elect("n1");
    group.isolate("n1");
    const cutOff = outcomeOf(leader.confirm());
    const others = ["n2", "n3"];
    const next = await group.elect("n2", others);
    await group.done(next.append([{ value: "a" }]), others);
    await group.tick(25, ["n1"]);
    assert.equal((await cutOff).code, "UNAVAILABLE");
    await group.close();
  });

  test("isn't kept for ever by a replica that lags", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const hold = group.node("n3").hold({ kind: "datasync" });
    await group.done(leader.append([{ value: "a" }]));
    const lagging = outcomeOf(group.replica("n3").confirm());
    await group.tick(45);
    assert.equal((await lagging).code, "UNAVAILABLE");
    hold.release();
    await group.close();
  });

  test("is refused beyond so many that wait for this replica, and the one before isn't", async () => {
    const asked: { id: number; answered: (outcome: ReadOutcome) => void }[] = [];
    const reads = new GroupReads({
      patienceTicks: 4,
      findRefusal: () => undefined,
      ask: (id, answered) => asked.push({ id, answered }),
      shownIndex: () => 5,
    });
    const outcomes: Promise<{ readonly code?: string }>[] = [];
    for (let count = 0; count <= shownWaitersMaxCount; count += 1) {
      outcomes.push(outcomeOf(reads.confirm()));
      await Promise.resolve();
    }
    for (const { id } of asked) reads.answer({ id, outcome: "confirmed", index: 6 });
    assert.equal((await outcomes.at(-1)!).code, "OVERLOADED");
    reads.shown(6);
    assert.equal((await outcomes.at(-2)!).code, undefined);
    const seldom = outcomeOf(reads.confirm());
    await Promise.resolve();
    asked.at(-1)?.answered({ outcome: "overloaded" });
    assert.equal((await seldom).code, "OVERLOADED");
  });
});
