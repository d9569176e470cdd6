import { createSeededRandom } from "../sim/random.ts";
import { encodeBatch, openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { appendPacked, recordOf } from "./load.ts";
import { type Row, rowOf } from "./row.ts";

type IndexKind = "mmap" | "heap";

/** The active index mapped into memory against the one on the heap: small batches, so that it is much of what is done. */
export const indexMemory: Bench = {
  name: "index-memory",
  about: "the active index: mmap against heap",
  async run({ scratch, choose, skip }) {
    const rounds = choose({ quick: 2, default: 6, full: 12 });
    const appends = choose({ quick: 50_000, default: 150_000, full: 400_000 });
    const reads = choose({ quick: 2_000, default: 4_000, full: 10_000 });
    const batch = encodeBatch([recordOf(100)], { now: Date.now() });
    const kinds: readonly IndexKind[] = ["mmap", "heap"];
    const appendRates: Record<IndexKind, number[]> = { mmap: [], heap: [] };
    const readTimes: Record<IndexKind, number[]> = { mmap: [], heap: [] };
    const openTimes: Record<IndexKind, number[]> = { mmap: [], heap: [] };
    for (let round = -1; round < rounds; round += 1) {
      for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
        const directory = scratch.directory(kind);
        const options = { index: kind, sync: "never" } as const;
        let log = await openLog(directory, options);
        if (log.status().indexKind !== kind) {
          await log.close();
          skip("index-memory", "files can't be mapped here: koffi isn't installed, or the file system isn't fit for it");
          return [];
        }
        const seconds = await appendPacked(log, [batch], appends, 1024);
        const random = createSeededRandom(round + 1);
        const start = performance.now();
        for (let number = 0; number < reads; number += 1) await log.read(random.integer(log.highWatermark));
        const perRead = (performance.now() - start) / reads;
        await log.close();
        const openStart = performance.now();
        log = await openLog(directory, options);
        const openTime = performance.now() - openStart;
        await log.close();
        scratch.remove(directory);
        if (round < 0) continue;
        appendRates[kind].push(appends / seconds);
        readTimes[kind].push(1000 * perRead);
        openTimes[kind].push(1000 * openTime);
      }
    }
    const rows: Row[] = [
      rowOf({
        name: "mmap index: append batches of one 100 B record, sync never",
        unit: "appends/s",
        figures: appendRates.mmap,
        ceilings: { what: "with the index on the heap", figures: appendRates.heap },
      }),
      rowOf({
        name: "mmap index: read(offset) at random in the active segment",
        unit: "µs",
        figures: readTimes.mmap,
        ceilings: { what: "with the index on the heap", figures: readTimes.heap },
      }),
      rowOf({
        name: `mmap index: open a closed log of ${appends.toLocaleString("en-US")} batches`,
        unit: "µs",
        figures: openTimes.mmap,
        ceilings: { what: "with the index on the heap", figures: openTimes.heap },
      }),
    ];
    return rows;
  },
};
