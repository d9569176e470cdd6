import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { countChoices, type CrashChoice, everyChoice, keepAll, loseAll, randomChoice } from "../../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../../sim/disk.ts";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { isProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { HardStateLog } from "./hard-state-log.ts";
import type { SavedHardState } from "./hard-state-slot.ts";

/**
 * The one promise of the hard-state log, held at every step of a workload: what was acknowledged is there, and what is there was
 * asked for.
 */

const path = "/n1/hard-state";
const options = { storageId: "00112233445566778899aabbccddeeff", logger: silentLogger, copyMinBytes: 4096 };
const groups = ["group-a", "group-b", "group-c"];
const imagesMaxCount = 64;

/** Of one group: what was asked for, in order, and how many of these are acknowledged. A removed group's state is undefined. */
interface Owed {
  readonly asked: (SavedHardState | undefined)[];
  acknowledged: number;
}

const owedOf = (): Map<string, Owed> => new Map(groups.map((groupId) => [groupId, { asked: [undefined], acknowledged: 1 }]));

/** Thrown where the log owes something else than what it says. */
function checkOwed(log: HardStateLog, owed: ReadonlyMap<string, { asked: readonly unknown[]; acknowledged: number }>): void {
  assert.deepEqual(
    log.groupIds.filter((groupId) => !owed.has(groupId)),
    [],
  );
  for (const [groupId, { asked, acknowledged }] of owed) {
    const found = JSON.stringify(log.groupIds.includes(groupId) ? log.slot(groupId).saved : undefined);
    const possible = asked.slice(acknowledged - 1).map((state) => JSON.stringify(state));
    assert.ok(possible.includes(found), `${groupId} says ${found}, and owes one of ${possible.join(", ")}`);
  }
}

/** Writes by chance, several at once and while others are under way; terms rise, votes go to one of three. */
async function work(log: HardStateLog, owed: Map<string, Owed>, steps: number, seed: string): Promise<void> {
  const random = createSeededRandom(seed);
  const below = (end: number): number => Math.floor(random.float() * end);
  const terms = new Map(groups.map((groupId) => [groupId, 0]));
  for (let step = 0; step < steps; step += 1) {
    const writes: Promise<void>[] = [];
    for (let left = 1 + below(4); left > 0; left -= 1) {
      const groupId = groups[below(groups.length)] ?? "";
      const group = owed.get(groupId);
      assert.ok(group !== undefined);
      const isRemoval = below(12) === 0;
      const term = isRemoval ? 0 : (terms.get(groupId) ?? 0) + 1;
      terms.set(groupId, term);
      const number = below(4);
      const vote = number === 0 ? undefined : { nodeId: `n${number}`, storageId: `disk-${number}/${"0".repeat(below(20))}` };
      group.asked.push(isRemoval ? undefined : { term, vote });
      const count = group.asked.length;
      const written = isRemoval ? log.remove(groupId) : log.slot(groupId).write({ term, vote });
      writes.push(written.then(() => void (group.acknowledged = Math.max(group.acknowledged, count))));
      for (let turns = below(6); turns > 0; turns -= 1) await Promise.resolve();
    }
    await Promise.all(writes);
  }
  await log.close();
}

/** All images of a crash now where they are few; some by chance otherwise, and the two ends. */
function choicesOf(disk: SimDisk, random: SeededRandom): Iterable<CrashChoice> {
  const points = disk.crashPoints();
  if (countChoices(points) <= imagesMaxCount) return everyChoice(points);
  return [loseAll, keepAll, ...Array.from({ length: 6 }, () => randomChoice(random))];
}

describe("hard states after a power cut", () => {
  for (const model of ["strict", "ordered"] as const) {
    test(`at every step of a workload they are as they were acknowledged, ${model} model`, async () => {
      const random = createSeededRandom(`hard state ${model}`);
      const owed = owedOf();
      const images: { readonly disk: SimDisk; readonly owed: Map<string, { asked: unknown[]; acknowledged: number }> }[] = [];
      const steps = new Map<string, number>();
      const disk: SimDisk = createSimDisk({
        model,
        isRecording: false,
        onCall: ({ kind }) => {
          steps.set(kind, (steps.get(kind) ?? 0) + 1);
          const then = new Map(
            [...owed].map(([groupId, { asked, acknowledged }]) => [groupId, { asked: [...asked], acknowledged }]),
          );
          for (const choice of choicesOf(disk, random))
            images.push({ disk: disk.crash(choice, { isRecording: false }), owed: then });
        },
      });
      await disk.makeDirectory("/n1");
      await work(await HardStateLog.open(disk, path, options), owed, 60, "work");
      assert.ok((steps.get("rename") ?? 0) > 2, "it is written anew meanwhile");
      assert.ok(images.length > 1000, `${images.length} images`);
      for (const image of images) {
        // What was asked for at that step and later may be there, too: a write is asked for before the call that brings it.
        const log = await HardStateLog.open(image.disk, path, options).catch((error: unknown) => {
          // Before the directory there is nothing to open.
          assert.ok(!image.disk.isDirectory("/n1"), String(error));
        });
        if (log === undefined) continue;
        checkOwed(log, image.owed);
        await log.close();
        const again = await HardStateLog.open(image.disk.crash(loseAll), path, options);
        checkOwed(again, new Map([...image.owed].map(([groupId]) => [groupId, stateOf(log, groupId)])));
        await again.close();
      }
    });
  }

  test("whichever call fails, what was acknowledged is there, and nothing is acknowledged after it", async () => {
    let struck = true;
    for (let nth = 1; struck; nth += 1) {
      const disk = createSimDisk({ isRecording: false });
      await disk.makeDirectory("/n1");
      const owed = owedOf();
      const fault = disk.fail({ kind: ["write", "datasync", "rename", "sync-directory", "create", "open"], nth, code: "EIO" });
      try {
        const log = await HardStateLog.open(disk, path, options);
        await work(log, owed, 25, "failing");
      } catch (error) {
        assert.ok(isProglogError(error, "DISK_FAILED"), String(error));
      }
      struck = fault.struckCount > 0;
      for (const image of [disk.crash(loseAll), disk.crash(keepAll), disk.endProcess()]) {
        const log = await HardStateLog.open(image, path, options);
        checkOwed(log, owed);
        await log.close();
      }
    }
  });

  test("an opening that is cut short, at whatever step, leaves what was there", async () => {
    const disk = createSimDisk({ isRecording: false });
    await disk.makeDirectory("/n1");
    const owed = owedOf();
    await work(await HardStateLog.open(disk, path, options), owed, 5, "opening");
    // Torn: the last round lies half in one copy, and not at all in the other.
    const before = disk.crash(loseAll);
    const torn = await HardStateLog.open(before, path, options);
    before.fail({ kind: "write", nth: 1, code: "EIO", effect: "half" });
    await assert.rejects(torn.slot("group-a").write({ term: 1000, vote: { nodeId: "n1", storageId: "disk-1" } }));
    const random = createSeededRandom("opening");
    const images: SimDisk[] = [];
    const onCall = (): void => {
      for (const choice of choicesOf(opening, random)) images.push(opening.crash(choice));
    };
    const opening: SimDisk = before.endProcess({ onCall });
    await (await HardStateLog.open(opening, path, options)).close();
    assert.ok(images.length > 10);
    for (const image of images) {
      const log = await HardStateLog.open(image, path, options);
      checkOwed(log, owed);
      await log.close();
    }
  });
});

describe("garbled hard-state files", () => {
  test("one place that is bad changes nothing", async () => {
    const { disk, owed } = await worked("one place");
    const random = createSeededRandom("one place");
    for (let count = 0; count < 300; count += 1) {
      const image = disk.crash(keepAll, { isRecording: false });
      const size = image.size(path) ?? 0;
      const length = 1 + Math.floor(random.float() * 600);
      const at = Math.floor(random.float() * size);
      // Within one copy: a place that is bad doesn't reach over to the other.
      const end = Math.min(at + length, at < size / 2 ? size / 2 : size);
      image.corrupt(path, at, random.bytes(end - at));
      const log = await HardStateLog.open(image, path, options);
      for (const { asked, acknowledged } of owed.values()) assert.equal(asked.length, acknowledged);
      checkOwed(log, owed);
      await log.close();
    }
  });

  test("many bad places are refused with a code, or cost no more than the round that may have been torn", async () => {
    const { disk, owed } = await worked("many places");
    const random = createSeededRandom("many places");
    let opened = 0;
    let refused = 0;
    for (let count = 0; count < 400; count += 1) {
      const image = disk.crash(keepAll, { isRecording: false });
      const size = image.size(path) ?? 0;
      for (let left = 1 + Math.floor(random.float() * 64); left > 0; left -= 1) {
        image.flipBit(path, Math.floor((random.float() * size) / 2) + (left % 2) * (size / 2), left % 8);
      }
      try {
        const log = await HardStateLog.open(image, path, options);
        checkOwed(log, owed);
        await log.close();
        opened += 1;
      } catch (error) {
        assert.ok(isProglogError(error, "MANIFEST_CORRUPT") || isProglogError(error, "UNSUPPORTED_FORMAT"), String(error));
        refused += 1;
      }
    }
    assert.ok(opened > 20 && refused > 20, `${opened} opened, ${refused} refused`);
  });

  test("bytes by chance are refused with a code", async () => {
    const random = createSeededRandom("bytes");
    for (const size of [1, 7, 512, 1024, 4096, 8192, 12_288, 65_536]) {
      const disk = createSimDisk({ isRecording: false });
      await disk.makeDirectory("/n1");
      const file = disk.open(path, "create");
      file.writeSync([random.bytes(size)], 0);
      file.close();
      await assert.rejects(HardStateLog.open(disk, path, options), (error) => isProglogError(error, "MANIFEST_CORRUPT"));
    }
  });
});

async function worked(seed: string): Promise<{ readonly disk: SimDisk; readonly owed: Map<string, Owed> }> {
  const disk = createSimDisk({ isRecording: false });
  await disk.makeDirectory("/n1");
  const owed = owedOf();
  await work(await HardStateLog.open(disk, path, options), owed, 12, seed);
  return { disk: disk.crash(loseAll), owed };
}

function stateOf(log: HardStateLog, groupId: string): { asked: unknown[]; acknowledged: number } {
  return { asked: [log.groupIds.includes(groupId) ? log.slot(groupId).saved : undefined], acknowledged: 1 };
}
