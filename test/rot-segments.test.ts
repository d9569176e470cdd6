import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../src/base/error.ts";
import { plain } from "./dumb-log.ts";
import { LogWorld } from "./log-world.ts";
import { activeBase, copyOf, frameBytes, makeRotLog, openOrRefuse, type RotLog } from "./rot-log.ts";

const sealedBases = [1, 4, 7, 10];
const sectorBytes = 512;

/** The offsets whose frames touch `[from, to)` of a segment's store. */
function hitBy(base: number, from: number, to: number): number[] {
  const count = base === activeBase ? 2 : 3;
  return Array.from({ length: count }, (_, i) => i)
    .filter((i) => 128 + i * frameBytes < to && 128 + (i + 1) * frameBytes > from)
    .map((i) => base - 1 + i);
}

function offsetsOf(base: number): number[] {
  return hitBy(base, 0, Number.MAX_SAFE_INTEGER);
}

function dropIndexes({ world }: RotLog, base: number): void {
  world.disk.remove(world.path(base, ".index"));
  world.disk.remove(world.path(base, ".timeindex"));
}

/** Whole sectors, files and names: what disks, copies and people lose. */
describe("rot of a store", () => {
  test("a zeroed sector is refused at opening in the active segment, and by the reads it hits in a sealed one", async () => {
    const closed = await makeRotLog("closed");
    const killed = await makeRotLog("killed");
    for (const sector of [0, 1]) {
      const active = copyOf(killed);
      active.world.disk.zeroSector(active.world.path(activeBase), sector);
      assert.equal(await openOrRefuse(active), "refused");
      const whole = copyOf(closed);
      whole.world.disk.zeroSector(whole.world.path(activeBase), sector);
      assert.deepEqual(await openOrRefuse(whole), sector === 0 ? "refused" : hitBy(activeBase, 512, 1024));
    }
    for (const base of sealedBases) {
      for (const sector of [0, 1, 2]) {
        const sealed = copyOf(closed);
        sealed.world.disk.zeroSector(sealed.world.path(base), sector);
        const from = sector * sectorBytes;
        assert.deepEqual(await openOrRefuse(sealed), hitBy(base, from, from + sectorBytes), `sector ${sector} of ${base}`);
      }
    }
  });

  test("two sectors that changed places are found", async () => {
    const closed = await makeRotLog("closed");
    const killed = await makeRotLog("killed");
    const swap = ({ world }: RotLog, base: number, a: number, b: number): void => {
      const path = world.path(base);
      const bytes = world.disk.contentOf(path);
      const sector = (number: number): Buffer => bytes.subarray(number * sectorBytes, (number + 1) * sectorBytes);
      world.disk.corrupt(path, b * sectorBytes, sector(a));
      world.disk.corrupt(path, a * sectorBytes, sector(b));
    };
    const active = copyOf(killed);
    swap(active, activeBase, 0, 1);
    assert.equal(await openOrRefuse(active), "refused");
    const sealed = copyOf(closed);
    swap(sealed, 4, 0, 1);
    assert.deepEqual(await openOrRefuse(sealed), offsetsOf(4));
  });

  test("a store cut below the mark, at any byte, doesn't open", async () => {
    for (const rot of [await makeRotLog("closed"), await makeRotLog("killed")]) {
      const { world, options } = rot;
      const path = world.path(activeBase);
      const whole = world.disk.contentOf(path);
      for (let cut = 0; cut < 128 + 2 * frameBytes; cut += 1) {
        world.replace(path, whole.subarray(0, cut));
        await assert.rejects(world.open(options), { code: "LOG_CORRUPT" }, `cut at ${cut}`);
        assert.equal(world.disk.size(path), cut);
      }
      world.replace(path, whole);
      assert.deepEqual(await openOrRefuse(rot), []);
    }
  });

  test("a sealed store cut at any byte loses what was cut off, with its index and without", async () => {
    const closed = await makeRotLog("closed");
    const cuts = [0, 1, 127, 128, 129, 300, 427, 428, 429, 500, 727, 728, 729, 1027];
    for (const cut of cuts) {
      for (const hasIndex of [true, false]) {
        const sealed = copyOf(closed);
        sealed.world.truncate(sealed.world.path(4), cut);
        if (!hasIndex) dropIndexes(sealed, 4);
        const lost = hitBy(4, cut, Number.MAX_SAFE_INTEGER);
        const atSeam = cut >= 128 && (cut - 128) % frameBytes === 0;
        // Without an index the store has to be read to its end, and where that is torn, there is no index to go by.
        assert.deepEqual(
          await openOrRefuse(sealed),
          hasIndex || atSeam ? lost : offsetsOf(4),
          `cut at ${cut}, index ${hasIndex}`,
        );
      }
    }
  });

  test("a store that is gone keeps the log from opening, whichever it is", async () => {
    for (const rot of [await makeRotLog("closed"), await makeRotLog("killed")]) {
      for (const withIndexes of [false, true]) {
        for (const base of [...sealedBases, activeBase]) {
          const damaged = copyOf(rot);
          damaged.world.disk.remove(damaged.world.path(base));
          if (withIndexes) dropIndexes(damaged, base);
          assert.equal(await openOrRefuse(damaged), "refused", `segment ${base}`);
        }
      }
    }
  });

  test("a store that is gone is named, with what to do about it", async () => {
    const { world, options } = await makeRotLog("closed");
    for (const base of [4, 7]) world.disk.remove(world.path(base));
    await assert.rejects(world.open(options), (error) => {
      assert.ok(isProglogError(error, "LOG_CORRUPT"));
      assert.equal(
        error.message,
        `Cannot open /log: ${world.path(4)} is damaged at position 0: the file is missing, and entries 4 to 9 with it`,
      );
      assert.match(error.hint ?? "", /proglog verify.*proglog repair/);
      assert.equal(error.details["firstOffset"], 3);
      return true;
    });
  });

  test("a store that is gone with the index before it is missed by those who read there", async () => {
    for (const rot of [await makeRotLog("closed"), await makeRotLog("killed")]) {
      for (const base of [4, 7, 10]) {
        const damaged = copyOf(rot);
        damaged.world.disk.remove(damaged.world.path(base));
        dropIndexes(damaged, base - 3);
        assert.deepEqual(await openOrRefuse(damaged), offsetsOf(base), `segment ${base}`);
      }
    }
  });

  test("an index that is wrong about how much its segment holds keeps no log from opening", async () => {
    const whole = await makeRotLog("closed");
    // Of the same log before its later records: sound, and short by one.
    const young = new LogWorld();
    const log = await young.open(whole.options);
    for (let i = 0; i < 5; i += 1) await log.append({ value: `record ${i} `.padEnd(174, "."), timestamp: 1000 + i });
    await log.close();
    const { world } = whole;
    for (const suffix of [".index", ".timeindex"] as const) {
      world.replace(world.path(4, suffix), young.disk.contentOf(young.path(4, suffix)));
    }
    assert.deepEqual(await openOrRefuse(whole), []);
  });

  test("all stores gone is no empty log", async () => {
    for (const end of ["closed", "killed"] as const) {
      const rot = await makeRotLog(end);
      for (const base of [...sealedBases, activeBase]) rot.world.disk.remove(rot.world.path(base));
      assert.equal(await openOrRefuse(rot), "refused");
    }
  });

  test("an empty file in place of a store is found, wherever", async () => {
    for (const rot of [await makeRotLog("closed"), await makeRotLog("killed")]) {
      for (const base of [...sealedBases, activeBase]) {
        const damaged = copyOf(rot);
        damaged.world.truncate(damaged.world.path(base), 0);
        assert.deepEqual(await openOrRefuse(damaged), base === activeBase ? "refused" : offsetsOf(base), `segment ${base}`);
      }
    }
  });

  test("a store of another log in its place is found, wherever", async () => {
    const other = await makeRotLog("closed", { random: { bytes: (count) => Buffer.alloc(count, 9), float: () => 0 } });
    for (const rot of [await makeRotLog("closed"), await makeRotLog("killed")]) {
      for (const base of [...sealedBases, activeBase]) {
        const damaged = copyOf(rot);
        const { world } = damaged;
        world.replace(world.path(base), other.world.disk.contentOf(world.path(base)));
        assert.deepEqual(await openOrRefuse(damaged), base === activeBase ? "refused" : offsetsOf(base), `segment ${base}`);
      }
    }
  });

  test("a store of another segment in its place is found, wherever, with its index or without", async () => {
    const closed = await makeRotLog("closed");
    for (const [from, to] of [
      [4, 7],
      [7, 4],
      [1, 10],
      [activeBase, 4],
      [4, activeBase],
      [10, 1],
    ] as const) {
      for (const withIndexes of [false, true]) {
        const damaged = copyOf(closed);
        const { world } = damaged;
        for (const suffix of withIndexes ? ([".store", ".index", ".timeindex"] as const) : ([".store"] as const)) {
          world.replace(world.path(to, suffix), world.disk.contentOf(world.path(from, suffix)));
        }
        assert.deepEqual(await openOrRefuse(damaged), to === activeBase ? "refused" : offsetsOf(to), `${from} over ${to}`);
      }
    }
  });

  test("a store whose header and index are both bad doesn't keep the others from being read", async () => {
    const closed = await makeRotLog("closed");
    for (const base of sealedBases) {
      const { world, options, records } = copyOf(closed);
      world.disk.flipBit(world.path(base), 20, 1);
      world.disk.remove(world.path(base, ".index"));
      const log = await world.open(options);
      for (const record of records) {
        const isLost = offsetsOf(base).includes(record.offset);
        if (isLost) await assert.rejects(log.read(record.offset), { code: "LOG_CORRUPT" }, `offset ${record.offset}`);
        else assert.deepEqual(plain(await log.read(record.offset)), record);
      }
      await log.close();
    }
  });

  test("an old copy of the active store, from before its last group, doesn't open", async () => {
    const rot = await makeRotLog("killed");
    const { world } = rot;
    const whole = world.disk.contentOf(world.path(activeBase));
    const old = Buffer.from(whole);
    old.fill(0, 128 + frameBytes);
    world.replace(world.path(activeBase), old);
    assert.equal(await openOrRefuse(rot), "refused");
  });
});
