import { KiB } from "../src/base/units.ts";
import { encodeBatch, openLog } from "../src/log/index.ts";
import { BareWriter } from "./bare-writer.ts";
import type { Bench } from "./bench.ts";
import { GroupRecorder, packBatches, recordOf } from "./load.ts";
import { type Row, rowOf } from "./row.ts";
import { medianOf } from "./spread.ts";

/** One append at a time, each awaited: the median of a round against that of a bare write and fdatasync of the same bytes. */
export const appendLatency: Bench = {
  name: "append-latency",
  about: "one append at a time, sync always, against a bare write and fdatasync",
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 4, default: 10, full: 20 });
    const count = choose({ quick: 100, default: 200, full: 500 });
    const sizes = [
      { what: "one record of 100 B", batch: encodeBatch([recordOf(100)], { now: Date.now() }) },
      { what: "a batch of 4 KiB", batch: packBatches(1, 4 * KiB, 100).batches[0] ?? Buffer.alloc(0) },
      { what: "a batch of 64 KiB", batch: packBatches(1, 64 * KiB, 100).batches[0] ?? Buffer.alloc(0) },
    ];
    const rows: Row[] = [];
    for (const { what, batch } of sizes) {
      const recorder = new GroupRecorder();
      const directory = scratch.directory("latency");
      const bareDirectory = scratch.directory("bare");
      const log = await openLog(directory, { observer: recorder.observer });
      const bare = new BareWriter(bareDirectory, batch);
      const runLog = async (): Promise<number> => {
        recorder.reset();
        const durations: number[] = [];
        for (let number = 0; number < count; number += 1) {
          const start = performance.now();
          await log.appendBatch(batch);
          durations.push(performance.now() - start);
        }
        return 1000 * medianOf(durations);
      };
      const runBare = async (): Promise<number> => 1000 * medianOf(await bare.write(recorder.groups));
      await runLog();
      await runBare();
      const figures: number[] = [];
      const ceilings: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        figures.push(await runLog());
        ceilings.push(await runBare());
      }
      await log.close();
      await bare.close();
      scratch.remove(directory);
      scratch.remove(bareDirectory);
      rows.push(
        rowOf({
          name: `append ${what}, one at a time, p50`,
          unit: "µs",
          figures,
          ceilings: { what: "write + fdatasync p50", figures: ceilings },
        }),
      );
    }
    return rows;
  },
};
