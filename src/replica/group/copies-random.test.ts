import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { outcomeOf, TestGroup } from "../../../test/test-group.ts";
import { peerRetentionMs, repairRetryMaxMs } from "../../base/cluster-limits.ts";
import { KiB } from "../../base/units.ts";
import type { NodeId } from "../../raft/member.ts";
import { CopyShare } from "./log-copies.ts";

/**
 * Whatever happens to three replicas, as long as of each entry one is left that is whole: cut off until others have trimmed what they lack, killed,
 * rotten in sealed segments, broken off while they catch up. In the end all have the same log, and every record that was acknowledged.
 */
const names: readonly NodeId[] = ["n1", "n2", "n3"];
const steps = 60;

describe("logs that are copied and repaired by chance", () => {
  const asked = new Set<string>();
  for (const number of [1, 2, 3, 4, 25, 42, 51]) {
    test(`are the same in the end (seed ${number})`, async () => {
      const random = createSeededRandom(`copies ${number}`);
      const group = await TestGroup.open(names, { log: { segmentMaxBytes: 1 * KiB } });
      for (const name of names) {
        const copies = new CopyShare(group.clock, { pieceBytes: 512 });
        group.node(name).options = { copies, random: createSeededRandom(`${name} ${number}`) };
        await group.node(name).restart();
      }
      await group.tick(25);
      const acknowledged = new Map<number, string>();
      const rotten = new Set<string>();
      for (let step = 0; step < steps; step += 1) await happen(group, random, acknowledged, rotten);

      group.heal();
      group.refuses = () => false;
      for (const name of names) if (group.node(name).replica === undefined) await group.node(name).start();
      await group.tick(60);
      for (let rounds = 0; rounds < 5; rounds += 1) {
        for (const name of names) await group.replica(name).log.scrub();
        await group.settle();
        group.clock.advance(repairRetryMaxMs);
        await group.tick(60);
      }
      const end = await group.done(group.leader().append([{ value: "end" }]));
      await group.tick(20);
      const starts = names.map((name) => group.replica(name).log.logStartOffset);
      assert.equal(new Set(starts).size, 1, starts.join());
      const first = await group.node("n1").values();
      for (const name of names) {
        assert.deepEqual(await group.node(name).values(), first, name);
        assert.deepEqual((await group.replica(name).log.scrub()).damages, []);
        assert.equal(group.node(name).failures.length, 0);
      }
      const start = starts[0] ?? 0;
      assert.equal(first.length, end.baseOffset + 1 - start);
      for (const [offset, value] of acknowledged) if (offset >= start) assert.equal(first[offset - start], value);
      for (const question of group.questions) asked.add(/"wants":"(\w+)"/.exec(question)?.[1] ?? "");
      for (const name of names)
        assert.deepEqual(
          group
            .node(name)
            .disk.list("/")
            .filter((entry) => entry.startsWith("log")),
          ["log"],
        );
      await group.close();
      for (const name of names) assert.equal(group.node(name).disk.openFileCount, 0);
    });
  }

  test("and in all that, logs were copied and repaired", () => {
    assert.deepEqual([...asked].sort(), ["", "base", "entries"]);
  });
});

async function happen(
  group: TestGroup,
  random: SeededRandom,
  acknowledged: Map<number, string>,
  rotten: Set<string>,
): Promise<void> {
  const leader = names.map((name) => group.node(name).replica).find((replica) => replica?.isLeader === true);
  const name = random.pick(names);
  const node = group.node(name);
  const others = names.filter((other) => other !== name);
  const areOthersUp = others.every((other) => group.node(other).replica !== undefined);
  switch (random.integer(9)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      if (leader === undefined) return;
      for (let count = 0; count < 12; count += 1) {
        const value = `value ${random.integer(1_000_000)}`;
        const appended = leader.append([{ value }]).then(
          ({ baseOffset }) => void acknowledged.set(baseOffset, value),
          () => {},
        );
        await group.tick(2);
        void appended;
      }
      return;
    }
    case 4:
      if (areOthersUp) group.isolate(name);
      return;
    case 5:
      group.heal();
      await group.tick(random.integer(30));
      return;
    case 6: {
      if (leader === undefined) return;
      // So long that nobody waits for who is away.
      group.clock.advance(peerRetentionMs);
      await group.tick(4);
      const { logStartOffset, highWatermark } = leader.log;
      const trimmed = outcomeOf(leader.trim(logStartOffset + random.integer(Math.max(1, highWatermark - logStartOffset))));
      await group.tick(4);
      // A leader that hears of nobody waits until it is heard of, or closed.
      void trimmed;
      return;
    }
    case 7: {
      if (!areOthersUp) return;
      if (random.chance(0.5)) await node.restart();
      else await node.stop();
      await group.tick(random.integer(30));
      if (node.replica === undefined) await node.start();
      return;
    }
    default: {
      // Each index may rot on one node alone: then another has it whole.
      const stores = node.disk
        .list("/log")
        .filter((file) => file.endsWith(".store"))
        .slice(0, -1);
      const store = random.pick(stores.length > 0 ? stores : [""]);
      if (store === "" || names.some((other) => rotten.has(`${other} ${store}`))) return;
      rotten.add(`${name} ${store}`);
      const path = `/log/${store}`;
      node.disk.flipBit(path, random.integer(node.disk.contentOf(path).length), random.integer(8));
      if (random.chance(0.5)) await node.replica?.log.scrub();
      await group.tick(random.integer(10));
    }
  }
}
