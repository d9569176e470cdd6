import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { randomChoice } from "../../../sim/crash.ts";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { TestGroup } from "../../../test/test-group.ts";
import { isProglogError } from "../../base/error.ts";
import { KiB } from "../../base/units.ts";
import type { NodeId } from "../../raft/member.ts";
import type { GroupReplica } from "./group-replica.ts";
import { CopyShare } from "./log-copies.ts";
import type { Acks } from "./proposals.ts";

/**
 * What those are told who append on a condition, whatever happens to three replicas: leaders that are cut off while their clock stands,
 * power cuts, handovers. Who got an offset got the one that was asked for; what was refused isn't there; and who was told where the log ended
 * instead was told an end that it had: not below what had been acknowledged when it was asked, and by records that had been sent by then.
 */
const names: readonly NodeId[] = ["n1", "n2", "n3"];
const steps = 60;

describe("appends on a condition, by chance", () => {
  for (const number of [2, 4, 8, 23])
    test(`are told the truth (seed ${number})`, async () => {
      const random = createSeededRandom(`c${number}`);
      const world = await World.open(random);
      for (let step = 0; step < steps; step += 1) await world.happen();
      await world.check();
    });
});

class World {
  readonly #random: SeededRandom;
  readonly #group: TestGroup;
  readonly #asked: Asked[] = [];
  #time = 0;
  #acknowledgedEnd = 0;

  private constructor(random: SeededRandom, group: TestGroup) {
    this.#random = random;
    this.#group = group;
  }

  static async open(random: SeededRandom): Promise<World> {
    const group = await TestGroup.open(names, { log: { segmentMaxBytes: random.pick([1, 4]) * KiB } });
    for (const name of names) {
      const copies = new CopyShare(group.clock, { pieceBytes: 512 });
      group.node(name).options = { copies, random: createSeededRandom(`${name} ${random.integer(1_000)}`) };
      await group.node(name).restart();
    }
    await group.tick(25);
    return new World(random, group);
  }

  async happen(): Promise<void> {
    const [random, group] = [this.#random, this.#group];
    const name = random.pick(names);
    const others = names.filter((other) => other !== name);
    const areOthersUp = others.every((other) => group.node(other).replica !== undefined);
    switch (random.integer(9)) {
      case 4:
      case 5:
        if (areOthersUp) await this.#isolate(name);
        return;
      case 6:
        this.#append();
        group.heal();
        this.#append();
        return group.tick(random.integer(30));
      case 7:
        if (areOthersUp) await this.#restart(name);
        return;
      case 8:
        this.#append();
        this.#leaders()[0]?.transferLeadership();
        this.#append();
        await group.tick(random.integer(8));
        return this.#append();
      default:
        for (let round = 0; round < 6; round += 1) {
          for (let count = random.integer(4); count > 0; count -= 1) this.#append();
          await group.tick(random.chance(0.6) ? random.integer(2) : 0);
        }
    }
  }

  /** Mostly who leads; and mostly time stands still for it: it goes on believing that it does, and at times is asked when others have gone on. */
  async #isolate(name: NodeId): Promise<void> {
    const [random, group] = [this.#random, this.#group];
    const leader = this.#leaders()[0]?.self.nodeId;
    const victim = leader !== undefined && random.chance(0.7) ? leader : name;
    const isAskedLate = random.chance(0.5);
    const among = isAskedLate || random.chance(0.5) ? names.filter((other) => other !== victim) : names;
    if (!isAskedLate) this.#append();
    group.isolate(victim);
    for (let round = 0; round < 12; round += 1) {
      const successor = this.#leaders().find(({ self }) => self.nodeId !== victim);
      if (!isAskedLate || successor !== undefined) this.#append(successor);
      if (!isAskedLate || round > 9) this.#append(group.node(victim).replica);
      await group.tick(random.integer(6), among);
    }
  }

  async #restart(name: NodeId): Promise<void> {
    const [random, node] = [this.#random, this.#group.node(name)];
    this.#append();
    if (random.chance(0.3)) await node.stop();
    else {
      node.kill();
      if (random.chance(0.7)) node.disk = node.disk.crash(randomChoice(random));
    }
    this.#append();
    await this.#group.tick(random.integer(30));
    await node.start();
  }

  #leaders(): GroupReplica[] {
    return this.#up().filter(({ isLeader }) => isLeader);
  }

  #up(): GroupReplica[] {
    return names.flatMap((name) => this.#group.node(name).replica ?? []);
  }

  #append(asked?: GroupReplica): void {
    const random = this.#random;
    const leaders = this.#leaders();
    const target = asked ?? random.pick(leaders.length > 0 && random.chance(0.85) ? leaders : this.#up());
    const { logEndOffset, highWatermark } = target.log;
    const expectedOffset = random.chance(0.7) ? random.pick([logEndOffset, highWatermark, this.#acknowledgedEnd]) : undefined;
    const acks = random.pick<Acks>(["quorum", "quorum", "quorum", "leader", "none"]);
    this.#time += 1;
    const sent: Asked = {
      value: `v${this.#asked.length}`,
      acks,
      expectedOffset,
      askedAt: this.#time,
      answer: undefined,
      answeredAt: 0,
    };
    this.#asked.push(sent);
    const answered = (answer: Answer): void => {
      this.#time += 1;
      Object.assign(sent, { answer, answeredAt: this.#time });
    };
    target.append([{ value: sent.value }], { acks, ...(expectedOffset !== undefined && { expectedOffset }) }).then(
      ({ baseOffset }) => {
        if (acks === "quorum") this.#acknowledgedEnd = Math.max(this.#acknowledgedEnd, baseOffset + 1);
        answered({ kind: "appended", baseOffset });
      },
      (error: unknown) => {
        assert.ok(isProglogError(error));
        const { logEndOffset: end } = error.details;
        if (error.code === "CONDITION_FAILED" && typeof end === "number") answered({ kind: "condition", end });
        else answered({ kind: error.code === "LEADERSHIP_LOST" ? "unknown" : "refused" });
      },
    );
  }

  /** Everything heals, and what clients were told is held against what all replicas have. */
  async check(): Promise<void> {
    const group = this.#group;
    group.heal();
    await group.tick(120);
    const log = await group.node("n1").values();
    for (const name of names) {
      assert.deepEqual(await group.node(name).values(), log);
      assert.deepEqual(group.node(name).failures, []);
    }
    assert.equal(new Set(log).size, log.length, "nothing is there twice");
    const offsets = new Map(log.map((value, offset) => [value, offset]));
    for (const asked of this.#asked) this.#checkAnswer(asked, log, offsets.get(asked.value));
    const kinds = new Set(this.#asked.map(({ answer }) => answer?.kind));
    assert.deepEqual(kinds, new Set(["appended", "condition", "refused", "unknown"]));
    await group.close();
  }

  #checkAnswer(
    { value, acks, expectedOffset, askedAt, answer, answeredAt }: Asked,
    log: readonly string[],
    offset?: number,
  ): void {
    assert.ok(answer !== undefined, `${value} was never answered`);
    if (offset !== undefined && expectedOffset !== undefined) assert.equal(offset, expectedOffset, value);
    switch (answer.kind) {
      case "appended":
        if (acks === "quorum") assert.equal(offset, answer.baseOffset, value);
        return;
      case "unknown":
        return;
      case "refused":
        assert.equal(offset, undefined, `${value} was refused, and is there`);
        return;
      default: {
        const { end } = answer;
        assert.equal(offset, undefined, `${value} was refused, and is there`);
        assert.notEqual(end, expectedOffset);
        for (const other of this.#asked)
          if (other.acks === "quorum" && other.answer?.kind === "appended" && other.answeredAt < askedAt)
            assert.ok(other.answer.baseOffset < end, `${value} was told of an end at ${end}, below what had been acknowledged`);
        assert.ok(end <= log.length, `${value} was told of an end at ${end} that never was`);
        const last = this.#asked.find((other) => other.value === log[end - 1]);
        assert.ok(last === undefined || last.askedAt < answeredAt, `${value} was told of an end that came later`);
      }
    }
  }
}

type Answer =
  | { readonly kind: "appended"; readonly baseOffset: number }
  /** The log ended elsewhere. */
  | { readonly kind: "condition"; readonly end: number }
  | { readonly kind: "refused" | "unknown" };

interface Asked {
  readonly value: string;
  readonly acks: Acks;
  readonly expectedOffset: number | undefined;
  readonly askedAt: number;
  readonly answer: Answer | undefined;
  readonly answeredAt: number;
}
