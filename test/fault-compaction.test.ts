import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { keepAll, loseAll } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import type { CallKind } from "../sim/fault-plan.ts";
import { isProglogError, messageOf } from "../src/base/error.ts";
import { minuteMs } from "../src/base/units.ts";
import type { Log } from "../src/log/log.ts";
import { appendEntries, longValues, mergedOptions, openCompacted, stateOf } from "./compacted-log.ts";
import { readAll } from "./dumb-log.ts";
import { startMs } from "./log-world.ts";
import { logDirectory } from "./owing-log.ts";

const changes: readonly CallKind[] = ["create", "write", "truncate", "datasync", "rename", "remove", "sync-directory"];
const kindsOf = { ENOSPC: changes, EIO: ["open", "read", ...changes] } as const;

/**
 * A compaction during which one call to the disk fails, each of them in turn, drops what it was at, says so, and loses nothing.
 * Only where a rename was to be synced is the log poisoned, as by any sync that fails.
 */
for (const [what, options] of [
  ["a compaction", {}],
  ["a compaction that merges", mergedOptions],
] as const)
  describe(`a disk that fails during ${what}`, () => {
    let start: SimDisk;
    let expected: ReadonlyMap<string, string>;

    before(async () => {
      start = createSimDisk({ isRecording: false });
      const log = await openCompacted(start, undefined, options);
      const entries = ["a=1+b=1", "a=2+gone=1", "c=1", "gone", "b=2", "d=1!", "a=3", "e=1", "b=3", "e=2", "f=1", "a=4", "g=1"];
      await appendEntries(log, ...longValues([...entries, ...entries]));
      expected = stateOf(await readAll(log));
      await log.close();
    });

    for (const code of ["ENOSPC", "EIO"] as const) {
      for (const kind of kindsOf[code]) {
        test(`with ${code} at any ${kind} loses nothing`, async () => {
          let nth = 1;
          for (; await strikes(kind, code, nth); nth += 1);
          assert.ok(nth > 1, "there is such a call");
        });
      }
    }

    /** False when there are fewer such calls. */
    async function strikes(kind: CallKind, code: string, nth: number): Promise<boolean> {
      const disk = start.crash(keepAll, { isRecording: false });
      const log = await openCompacted(disk, createVirtualClock(startMs + 20 * minuteMs), options);
      const isMerging = "segmentMaxBytes" in options;
      const fault = disk.fail({ kind, code, nth });
      const failure = await log.compact().then(
        ({ segmentsMerged }) => {
          assert.equal(segmentsMerged > 0, isMerging);
          return undefined;
        },
        (error: unknown) => error,
      );
      const isStruck = fault.struckCount > 0;
      fault.cancel();
      try {
        if (failure !== undefined) {
          assert.ok(isProglogError(failure));
          assert.match(failure.code, code === "ENOSPC" ? /^DISK_(FULL|FAILED)$/ : /^DISK_FAILED$/);
        }
        assert.deepEqual(stateOf(await readAll(log)), expected);
        const { state } = log.status();
        // Segments whose entries another one holds by now have to go before anything else is done.
        const mayPoison: readonly CallKind[] = isMerging ? ["sync-directory", "remove"] : ["sync-directory"];
        if (state === "poisoned") assert.ok(mayPoison.includes(kind));
        else await goesOn(log, disk);
        const image = disk.crash(loseAll, { isRecording: false });
        const reopened = await openCompacted(image, undefined, options);
        assert.deepEqual(new Map([...stateOf(await readAll(reopened))].filter(([key]) => key !== "more")), expected);
        assert.deepEqual(
          image.list(logDirectory).filter((name) => name.endsWith(".tmp")),
          [],
        );
        await reopened.close();
        return isStruck;
      } catch (error) {
        throw new Error(`at ${kind} ${nth}, after ${messageOf(failure)}`, { cause: error });
      }
    }

    async function goesOn(log: Log, disk: SimDisk): Promise<void> {
      await appendEntries(log, "more=1", "more=2");
      assert.equal((await log.compact()).isComplete, true);
      assert.deepEqual((await log.scrub()).damages, []);
      assert.equal(log.status().damages, 0);
      await log.close();
      assert.equal(disk.openFileCount, 0);
      assert.deepEqual(
        disk.list(logDirectory).filter((name) => name.endsWith(".tmp")),
        [],
      );
    }
  });
