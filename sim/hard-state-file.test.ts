import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { keepAll, loseAll, randomChoice } from "./crash.ts";
import { createSimDisk, type SimDisk } from "./disk.ts";
import type { SavedHardState } from "../src/replica/group/hard-state-slot.ts";
import { HardStateFile, hardStateName } from "./hard-state-file.ts";
import { createSeededRandom } from "./random.ts";

const seed = 7;
const vote = { nodeId: "n1", storageId: "n1-disk1" };

async function emptyDisk(): Promise<SimDisk> {
  const disk = createSimDisk();
  await disk.makeDirectory("/n1");
  return disk;
}

async function savedOn(disk: SimDisk): Promise<SavedHardState | undefined> {
  const { file, saved } = await HardStateFile.open(disk, "/n1", seed);
  file.close();
  return saved === undefined ? undefined : { term: saved.term, vote: saved.vote };
}

describe("a hard-state file", () => {
  test("says what was last written, and nothing when it is new", async () => {
    const disk = await emptyDisk();
    const { file, saved } = await HardStateFile.open(disk, "/n1", seed);
    assert.equal(saved, undefined);
    for (const state of [
      { term: 1, vote: undefined },
      { term: 1, vote },
      { term: 9, vote },
    ]) {
      await file.write(state);
      assert.deepEqual(await savedOn(disk.crash(loseAll)), state, "durable when it resolves");
    }
    file.close();
  });

  test("a crash in the middle of a write leaves that state or the one before", async () => {
    const random = createSeededRandom("hard state");
    const seen = new Set<number | undefined>();
    for (let count = 0; count < 40; count += 1) {
      const disk = await emptyDisk();
      const { file } = await HardStateFile.open(disk, "/n1", seed);
      await file.write({ term: 3, vote });
      const hold = disk.holdSync();
      void file.write({ term: 4, vote: undefined });
      const found = await savedOn(disk.crash(randomChoice(random)));
      hold.release();
      seen.add(found?.term);
      assert.deepEqual(found, found?.term === 3 ? { term: 3, vote } : { term: 4, vote: undefined });
    }
    assert.deepEqual(
      [...seen].toSorted((a, b) => (a ?? 0) - (b ?? 0)),
      [3, 4],
    );
  });

  test("what an opening says is on the platter, whatever became of the sync before", async () => {
    const disk = await emptyDisk();
    const { file } = await HardStateFile.open(disk, "/n1", seed);
    await file.write({ term: 3, vote });
    disk.fail({ kind: "datasync", code: "EIO", effect: "lost" });
    await assert.rejects(file.write({ term: 5, vote }));
    const next = disk.endProcess();
    assert.deepEqual(await savedOn(next), { term: 5, vote });
    assert.deepEqual(await savedOn(next.crash(loseAll)), { term: 5, vote });
  });

  test("with both slots bad it refuses, and with one bad it goes by the other", async () => {
    const disk = await emptyDisk();
    const { file } = await HardStateFile.open(disk, "/n1", seed);
    await file.write({ term: 3, vote });
    await file.write({ term: 4, vote });
    file.close();
    const path = `/n1/${hardStateName}`;
    for (const position of [20, 4096 + 20]) {
      const image = disk.crash(keepAll);
      image.flipBit(path, position, 1);
      assert.ok([3, 4].includes((await savedOn(image))?.term ?? 0));
    }
    disk.flipBit(path, 20, 1);
    disk.flipBit(path, 4096 + 20, 1);
    await assert.rejects(savedOn(disk), /unreadable/);
  });

  test("another group's isn't read", async () => {
    const disk = await emptyDisk();
    const { file } = await HardStateFile.open(disk, "/n1", seed);
    await file.write({ term: 3, vote });
    file.close();
    await assert.rejects(HardStateFile.open(disk, "/n1", seed + 1), /unreadable/);
  });
});
