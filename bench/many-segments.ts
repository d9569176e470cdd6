import { KiB, MiB } from "../src/base/units.ts";
import { openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { dropPageCache } from "./page-cache.ts";
import { packBatches } from "./load.ts";
import { type Row, rowOf } from "./row.ts";
import { unsyncedDisk } from "./unsynced-disk.ts";

/** A long history of small segments under a limit of 1,024 descriptors. */
export const manySegments: Bench = {
  name: "many-segments",
  about: "a history of 100,000 segments (fewer by default) under 1,024 descriptors",
  async run({ scratch, choose }) {
    const count = choose({ quick: 1_000, default: 10_000, full: 100_000 });
    const reads = choose({ quick: 500, default: 3_000, full: 10_000 });
    const rounds = choose({ quick: 1, default: 2, full: 3 });
    scratch.checkFree(count * 20 * KiB, "many segments");
    const directory = scratch.directory("segments");
    const segmentMaxBytes = 4 * KiB;
    const log = await openLog(directory, { disk: unsyncedDisk, index: "heap", segmentMaxBytes });
    // Two batches never go into one segment.
    const batch = packBatches(1, segmentMaxBytes * 0.75, 100).batches[0];
    if (batch === undefined) throw new Error("a batch was packed");
    for (let number = 0; number < count; number += 1) await log.appendBatch(batch);
    await log.close();
    const results = [];
    for (let round = 0; round < rounds; round += 1) {
      dropPageCache();
      const child = new Child("many-segments", [directory, `${reads}`], { descriptors: 1024 });
      results.push(
        await child.next<{ openSeconds: number; perRead: number; descriptors: number; segments: number; rss: number }>(),
      );
      await child.kill();
    }
    scratch.remove(directory);
    const name = `${count.toLocaleString("en-US")} segments`;
    const rows: Row[] = [
      rowOf({ name: `open a log of ${name}`, unit: "s", figures: results.map(({ openSeconds }) => openSeconds) }),
      rowOf({ name: `read(offset) at random over ${name}`, unit: "µs", figures: results.map(({ perRead }) => 1e6 * perRead) }),
      rowOf({
        name: `descriptors in use, ${name}`,
        unit: "descriptors",
        figures: results.map(({ descriptors }) => descriptors),
        target: { of: "figure", atMost: 1024 },
      }),
      rowOf({ name: `memory, ${name}`, unit: "MiB", figures: results.map(({ rss }) => rss / MiB) }),
    ];
    return rows;
  },
};
