import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { keepAll, loseAll } from "../../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../../sim/disk.ts";
import { crc32c } from "../../batch/crc32c.ts";
import { isProglogError } from "../../base/error.ts";
import { hardStateCopyMinBytes, hardStateMaxBytes } from "../../base/cluster-limits.ts";
import { nodeDisk } from "../../base/node-disk.ts";
import { silentLogger } from "../../base/logger.ts";
import { encodeFile, encodeHead, hardStateHeadBytes, seedOf } from "./hard-state-file.ts";
import { HardStateLog, type HardStateLogOptions } from "./hard-state-log.ts";
import { encodeRound } from "./hard-state-round.ts";
import type { SavedHardState } from "./hard-state-slot.ts";

const path = "/n1/hard-state";
const storageId = "00112233445566778899aabbccddeeff";
const vote = { nodeId: "n1", storageId: `${storageId}/0` };
const other = { nodeId: "n2", storageId: "disk-2/0" };
const smallCopy = { copyMinBytes: 4096 };

async function emptyDisk(): Promise<SimDisk> {
  const disk = createSimDisk();
  await disk.makeDirectory("/n1");
  return disk;
}

function openOn(disk: SimDisk, options: Partial<HardStateLogOptions> = {}): Promise<HardStateLog> {
  return HardStateLog.open(disk, path, { storageId, logger: silentLogger, ...options });
}

/** What an opening says of each group. */
async function statesOn(disk: SimDisk, options: Partial<HardStateLogOptions> = {}): Promise<Map<string, SavedHardState>> {
  const log = await openOn(disk, options);
  const states = new Map(log.groupIds.map((groupId) => [groupId, savedIn(log, groupId)]));
  await log.close();
  return states;
}

function savedIn(log: HardStateLog, groupId: string): SavedHardState {
  const { saved } = log.slot(groupId);
  assert.ok(saved !== undefined);
  return saved;
}

const syncsOf = (disk: SimDisk): number => disk.operations.filter(({ kind }) => kind === "datasync").length;
const corrupt = (error: unknown): boolean => isProglogError(error, "MANIFEST_CORRUPT");

/** A disk whose file says term 1 of group a in round 2, and term 2 in round 3; closed as a crash leaves it. */
async function twoRounds(): Promise<{ disk: SimDisk; copyBytes: number; rounds: readonly number[] }> {
  const disk = await emptyDisk();
  const log = await openOn(disk, smallCopy);
  const rounds: number[] = [];
  for (const term of [1, 2]) {
    await log.slot("a").write({ term, vote });
    const written = disk.operations.filter(({ kind }) => kind === "write").at(-2);
    rounds.push(written?.position ?? 0);
  }
  return { disk: disk.crash(loseAll), copyBytes: 4096, rounds };
}

describe("the hard-state log", () => {
  test("says what was last written of each group, and nothing of one that is new", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    assert.equal(log.slot("a").saved, undefined);
    assert.equal(log.slot("a"), log.slot("a"));
    for (const state of [
      { term: 1, vote: undefined },
      { term: 1, vote },
      { term: 9, vote: other },
    ]) {
      await log.slot("a").write(state);
      assert.deepEqual(log.slot("a").saved, state);
      assert.deepEqual(await statesOn(disk.crash(loseAll)), new Map([["a", state]]), "durable when it resolves");
    }
    await log.slot("b").write({ term: 2, vote });
    await log.close();
    await log.close();
    const expected = { a: { term: 9, vote: other }, b: { term: 2, vote } };
    assert.deepEqual(await statesOn(disk), new Map(Object.entries(expected)));
    await assert.rejects(log.slot("a").write({ term: 10, vote }), /LOG_CLOSED|it is closed/);
  });

  test("a replica that is opened again begins when what the one before it was writing is durable, and goes by that", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    await (await log.openSlot("a")).write({ term: 1, vote });
    const before = log.slot("a");
    const hold = disk.holdSync();
    const writing = before.write({ term: 2, vote: other });
    const opening = log.openSlot("a");
    await assert.rejects(before.write({ term: 3, vote }), /writes no hard state/);
    await hold.waiting(1);
    hold.release();
    await writing;
    const slot = await opening;
    assert.deepEqual(slot.saved, { term: 2, vote: other });
    await assert.rejects(slot.write({ term: 2, vote }), /a vote isn't taken back/);
    await log.close();
  });

  test("what one before it couldn't write binds nobody", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk, smallCopy);
    disk.capacityBytes = disk.usedBytes;
    let term = 0;
    const fill = async (): Promise<void> => {
      for (;;) await log.slot("a").write({ term: (term += 1), vote });
    };
    await assert.rejects(fill(), (error) => isProglogError(error, "DISK_FULL"));
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    const slot = await log.openSlot("a");
    assert.equal(slot.saved?.term, term - 1);
    await slot.write({ term, vote: other });
    assert.deepEqual(slot.saved, { term, vote: other });
    await log.close();
  });

  test("what all groups write in one turn is one sync, and what gathers while it runs is the next", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    const before = syncsOf(disk);
    const hold = disk.holdSync();
    let answered = 0;
    const first = [1, 2, 3].map((number) =>
      log
        .slot(`g${number}`)
        .write({ term: 1, vote })
        .then(() => (answered += 1)),
    );
    await hold.waiting(1);
    const second = [3, 4, 5, 5].map((number, at) =>
      log
        .slot(`g${number}`)
        .write({ term: 2 + at, vote })
        .then(() => (answered += 1)),
    );
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    assert.equal(answered, 0);
    assert.deepEqual([...(await statesOn(disk.crash(loseAll)))], []);
    hold.releaseOne();
    await Promise.all(first);
    assert.equal(answered, 3);
    assert.equal(log.slot("g3").saved?.term, 1);
    hold.release();
    await Promise.all(second);
    assert.equal(syncsOf(disk) - before, 2);
    assert.equal(log.syncCount, 2);
    const terms = [...(await statesOn(disk.crash(loseAll)))].map(([groupId, { term }]) => [groupId, term]);
    assert.deepEqual(terms, [
      ["g1", 1],
      ["g2", 1],
      ["g3", 2],
      ["g4", 3],
      ["g5", 5],
    ]);
    await log.close();
  });

  test("a thousand groups that vote at once are one sync", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    const groupIds = Array.from({ length: 1000 }, (_, number) => `group-${number}`);
    await Promise.all(groupIds.map((groupId) => log.slot(groupId).write({ term: 1, vote })));
    assert.equal(log.syncCount, 1);
    assert.deepEqual([...(await statesOn(disk.crash(loseAll))).keys()], groupIds);
    await log.close();
  });

  test("it is written anew when it is full, and holds what is alive", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    for (let term = 1; term <= 2000; term += 1) await log.slot(`g${term % 3}`).write({ term, vote });
    assert.equal(disk.size(path), 2 * hardStateCopyMinBytes);
    const renames = disk.operations.filter(({ kind }) => kind === "rename").length;
    assert.ok(renames > 1 && renames < 10, `${renames} times`);
    const terms = [...(await statesOn(disk.crash(loseAll)))].map(([groupId, { term }]) => [groupId, term]);
    assert.deepEqual(
      new Map(terms as [string, number][]),
      new Map([
        ["g1", 1999],
        ["g2", 2000],
        ["g0", 1998],
      ]),
    );
    await log.close();
    assert.equal(disk.size(`${path}.tmp`), undefined);
  });

  test("a file has room for four times what is alive, and never more bytes than are read again", () => {
    const name = "n".repeat(255);
    const statesOf = (count: number): Map<string, SavedHardState> =>
      new Map(
        Array.from({ length: count }, (_, number) => [
          String(number).padStart(255, "g"),
          { term: 1, vote: { nodeId: name, storageId: name } },
        ]),
      );
    const some = encodeFile({ storageId, generation: 1 }, statesOf(1000));
    assert.ok(some.head.copyBytes >= 4 * some.end && some.head.copyBytes < 4 * some.end + 4096);
    const many = encodeFile({ storageId, generation: 1 }, statesOf(20_000));
    assert.equal(many.bytes.length, hardStateMaxBytes);
    assert.throws(() => encodeFile({ storageId, generation: 1 }, statesOf(50_000)), /fit into a file/);
  });

  test("a removed group is forgotten, and may begin anew", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    const slot = log.slot("a");
    await slot.write({ term: 7, vote });
    await log.slot("b").write({ term: 1, vote });
    await log.remove("a");
    await log.remove("never there");
    assert.deepEqual(log.groupIds, ["b"]);
    assert.deepEqual([...(await statesOn(disk.crash(loseAll))).keys()], ["b"]);
    await assert.rejects(slot.write({ term: 8, vote }), /writes no hard state/);
    assert.equal(log.slot("a").saved, undefined);
    await log.slot("a").write({ term: 1, vote });
    assert.equal((await statesOn(disk.crash(loseAll))).get("a")?.term, 1);
    await log.close();
  });

  test("a vote isn't taken back, and a term doesn't fall", async () => {
    const log = await openOn(await emptyDisk());
    await log.slot("a").write({ term: 2, vote });
    await assert.rejects(log.slot("a").write({ term: 1, vote }), /terms don't fall/);
    await assert.rejects(log.slot("a").write({ term: 2, vote: other }), /isn't taken back/);
    await assert.rejects(log.slot("a").write({ term: 2, vote: undefined }), /isn't taken back/);
    await log.slot("a").write({ term: 2, vote });
    await log.close();
  });

  test("after a sync that failed nothing is written any more, and the next opening says what is on the platter", async () => {
    for (const kind of ["datasync", "write"] as const) {
      const disk = await emptyDisk();
      const log = await openOn(disk);
      await log.slot("a").write({ term: 3, vote });
      disk.fail(kind === "datasync" ? { kind, code: "EIO", effect: "lost" } : { kind, code: "EIO", effect: "half" });
      const failing = log.slot("a").write({ term: 5, vote });
      const beside = log.slot("b").write({ term: 1, vote });
      await assert.rejects(failing, (error) => isProglogError(error, "DISK_FAILED"));
      await assert.rejects(beside, (error) => isProglogError(error, "DISK_FAILED"));
      await assert.rejects(log.slot("c").write({ term: 1, vote }), (error) => isProglogError(error, "DISK_FAILED"));
      assert.equal(log.poison?.code, "DISK_FAILED");
      assert.equal(log.slot("a").saved?.term, 3);
      const writes = disk.operations.length;
      await log.close();
      assert.ok(
        disk.operations.slice(writes).every((operation) => operation.kind === "close"),
        "not even at the end",
      );
      const next = disk.endProcess();
      const opened = await openOn(next);
      const seen = savedIn(opened, "a");
      assert.equal(seen.term, kind === "datasync" ? 5 : 3);
      assert.deepEqual((await statesOn(next.crash(loseAll))).get("a"), seen, "what was read is durable");
      await opened.close();
    }
  });

  test("a full disk refuses a round that needs a new file, and the next one is tried again", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk, smallCopy);
    disk.capacityBytes = disk.usedBytes;
    let term = 0;
    const full = async (): Promise<unknown> => {
      for (;;) {
        term += 1;
        try {
          await log.slot("a").write({ term, vote });
        } catch (error) {
          return error;
        }
      }
    };
    assert.ok(isProglogError(await full(), "DISK_FULL"));
    assert.ok(term > 10);
    assert.equal((await statesOn(disk.crash(loseAll))).get("a")?.term, term - 1);
    assert.equal(disk.size(`${path}.tmp`), undefined, "and holds no room");
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await log.slot("a").write({ term, vote });
    assert.equal((await statesOn(disk.crash(loseAll))).get("a")?.term, term);
    await log.close();
  });

  test("a removal that failed has forgotten nothing, and one that is done leaves nothing", async () => {
    const disk = await emptyDisk();
    const log = await openOn(disk);
    await log.slot("a").write({ term: 7, vote });
    const hold = disk.holdSync();
    const removed = log.remove("a");
    assert.equal(log.slot("a").saved, undefined, "it begins anew already");
    hold.release();
    await removed;
    await log.remove("a");
    assert.equal(log.slotCount, 0);
    await log.slot("b").write({ term: 3, vote });
    disk.fail({ kind: "datasync", path: /hard-state/, code: "EIO" });
    await assert.rejects(log.remove("b"), { code: "DISK_FAILED" });
    assert.deepEqual(log.slot("b").saved, { term: 3, vote });
    await log.close();
  });

  test("on a real disk it is what it is in the simulator", async () => {
    const directory = mkdtempSync(join(tmpdir(), "proglog-hard-state-"));
    try {
      const open = (): Promise<HardStateLog> =>
        HardStateLog.open(nodeDisk, join(directory, "hard-state"), { storageId, logger: silentLogger, ...smallCopy });
      const log = await open();
      for (let term = 1; term <= 60; term += 1)
        await Promise.all(["a", "b"].map((groupId) => log.slot(groupId).write({ term, vote })));
      await log.close();
      assert.deepEqual(readdirSync(directory), ["hard-state"]);
      const again = await open();
      assert.deepEqual(
        [savedIn(again, "a"), savedIn(again, "b")],
        [
          { term: 60, vote },
          { term: 60, vote },
        ],
      );
      await again.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("a full disk doesn't keep it from opening", async () => {
    const { disk } = await twoRounds();
    disk.capacityBytes = disk.usedBytes;
    assert.equal((await statesOn(disk)).get("a")?.term, 2);
  });
});

describe("a damaged hard-state file", () => {
  test("what is bad in one copy counts by the other, and is repaired", async () => {
    const { disk, copyBytes, rounds } = await twoRounds();
    for (const at of [0, 40, hardStateHeadBytes + 4, ...rounds, ...rounds.map((position) => position + 30)]) {
      for (const start of [0, copyBytes]) {
        const image = disk.crash(keepAll);
        image.flipBit(path, start + at, 3);
        assert.equal((await statesOn(image)).get("a")?.term, 2, `byte ${start + at}`);
        image.flipBit(path, (start === 0 ? copyBytes : 0) + at, 3);
        assert.equal((await statesOn(image)).get("a")?.term, 2, "and then the other one, too");
      }
    }
    for (const copy of [0, 1]) {
      const image = disk.crash(keepAll);
      image.corrupt(path, copy * copyBytes, Buffer.alloc(copyBytes));
      assert.equal((await statesOn(image)).get("a")?.term, 2, "a whole copy may be gone");
      const fault = image.fail({ kind: "read", code: "EIO", where: ({ position }) => position === copy * copyBytes });
      assert.equal((await statesOn(image)).get("a")?.term, 2, "or unreadable");
      assert.equal(fault.struckCount, 1);
    }
  });

  test("what is bad in both copies with a later round behind it is refused, and left as it is", async () => {
    const { disk, copyBytes, rounds } = await twoRounds();
    const [first = 0] = rounds;
    disk.flipBit(path, first + 20, 0);
    disk.flipBit(path, copyBytes + first + 9, 0);
    const before = disk.contentOf(path);
    await assert.rejects(openOn(disk), (error) => corrupt(error) && /round 2 is bad in both copies/.test(String(error)));
    assert.deepEqual(disk.contentOf(path), before);
    assert.equal(disk.openFileCount, 0);
  });

  test("the last round, bad in both copies, is taken for a torn write only when nothing vouches for it", async () => {
    const { disk, copyBytes, rounds } = await twoRounds();
    const [, last = 0] = rounds;
    const damage = (image: SimDisk): SimDisk => {
      image.flipBit(path, last + 20, 0);
      image.flipBit(path, copyBytes + last + 9, 0);
      return image;
    };
    assert.equal((await statesOn(damage(disk.crash(keepAll)))).get("a")?.term, 1);
    // An opening or a closing says that what was there is synced.
    await openOn(disk);
    await assert.rejects(openOn(damage(disk.crash(loseAll))), corrupt);
    const fresh = await emptyDisk();
    const log = await openOn(fresh, smallCopy);
    for (const term of [1, 2]) await log.slot("a").write({ term, vote });
    await log.close();
    await assert.rejects(openOn(damage(fresh.crash(loseAll))), corrupt);
  });

  test("the first round is never taken for a torn write: the file got its name when it was durable", async () => {
    const disk = await emptyDisk();
    await openOn(disk, smallCopy);
    for (const start of [0, 4096]) disk.flipBit(path, start + hardStateHeadBytes + 4, 0);
    await assert.rejects(openOn(disk.crash(loseAll)), (error) => corrupt(error) && /first round/.test(String(error)));
  });

  test("two copies that contradict each other are refused", async () => {
    const { disk, copyBytes, rounds } = await twoRounds();
    const at = rounds[1] ?? 0;
    disk.corrupt(
      path,
      copyBytes + at,
      encodeRound(3, new Map([["a", { term: 2, vote: other }]]), seedOf({ storageId, generation: 1 })),
    );
    await assert.rejects(openOn(disk), (error) => corrupt(error) && /round 3 says one thing/.test(String(error)));
  });

  test("with one copy unreadable and the other bad nobody knows, so it is refused", async () => {
    const { disk, rounds } = await twoRounds();
    disk.flipBit(path, (rounds[1] ?? 0) + 20, 0);
    disk.fail({ kind: "read", code: "EIO", where: ({ position }) => position !== 0 });
    await assert.rejects(openOn(disk), (error) => corrupt(error) && /can't be read/.test(String(error)));
    disk.fail({ kind: "read", code: "EIO", times: 2 });
    await assert.rejects(openOn(disk), (error) => isProglogError(error, "DISK_FAILED"));
  });

  test("one that is missing where groups were, of another directory, cut short, too large or of a later version is refused", async () => {
    await assert.rejects(openOn(await emptyDisk(), { createIfMissing: false }), corrupt);
    const { disk } = await twoRounds();
    await assert.rejects(openOn(disk, { storageId: "another" }), (error) => corrupt(error) && /storage id/.test(String(error)));
    for (const size of [0, 1, 4096, 8191, hardStateMaxBytes + 2]) {
      const image = disk.crash(keepAll);
      const file = image.open(path, "write");
      file.truncate(size);
      file.close();
      await assert.rejects(openOn(image), corrupt, `${size} bytes`);
    }
    const later = Buffer.alloc(8192);
    for (const start of [0, 4096]) {
      encodeHead({ generation: 1, copyBytes: 4096, storageId }).copy(later, start);
      later.writeUInt16LE(2, start + 12);
      later.writeUInt32LE(crc32c(later, start + 12, start + 512), start + 8);
    }
    disk.corrupt(path, 0, later);
    await assert.rejects(openOn(disk), (error) => isProglogError(error, "UNSUPPORTED_FORMAT"));
  });
});
