import { KiB, MiB } from "../src/base/units.ts";
import { type Log, openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { appendPacked, packBatches } from "./load.ts";
import { type Row, rowOf } from "./row.ts";
import { medianOf } from "./spread.ts";
import { createSeededRandom } from "../sim/random.ts";

/** `read(offset)` at random over several segments, one at a time and many at once. */
export const readRandom: Bench = {
  name: "read-random",
  about: "read(offset) at random in a cached log",
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 2, default: 6, full: 12 });
    const reads = choose({ quick: 500, default: 3_000, full: 10_000 });
    const rows: Row[] = [];
    for (const { what, batchBytes } of [
      { what: "batches of one 100 B record", batchBytes: 1 },
      { what: "batches of 4 KiB", batchBytes: 4 * KiB },
      { what: "batches of 64 KiB", batchBytes: 64 * KiB },
    ]) {
      const directory = scratch.directory("random");
      const { batches } = packBatches(64, batchBytes, 100);
      const log = await openLog(directory, { sync: "never", segmentMaxBytes: 16 * MiB });
      await appendPacked(log, batches, batchBytes === 1 ? 200_000 : (64 * MiB) / batchBytes, 1024);
      await log.sync();
      const alone: number[] = [];
      const together: number[] = [];
      for (let round = -1; round < rounds; round += 1) {
        const random = createSeededRandom(round + 1);
        const durations: number[] = [];
        for (let number = 0; number < reads; number += 1) {
          const offset = random.integer(log.highWatermark);
          const start = performance.now();
          await log.read(offset);
          durations.push(performance.now() - start);
        }
        const perRead = await readTogether(log, reads, () => random.integer(log.highWatermark));
        if (round < 0) continue;
        alone.push(1000 * medianOf(durations));
        together.push(1000 * perRead);
      }
      await log.close();
      scratch.remove(directory);
      rows.push(rowOf({ name: `read(offset) at random, ${what}, p50`, unit: "µs", figures: alone }));
      rows.push(rowOf({ name: `read(offset) at random, ${what}, 32 at once, each`, unit: "µs", figures: together }));
    }
    return rows;
  },
};

async function readTogether(log: Log, reads: number, offset: () => number): Promise<number> {
  let left = reads;
  const caller = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await log.read(offset());
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: 32 }, caller));
  return (performance.now() - start) / reads;
}
