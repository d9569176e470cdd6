import { KiB, MiB } from "../src/base/units.ts";
import { openLog } from "../src/log/index.ts";
import { BareWriter } from "./bare-writer.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { appendPacked, GroupRecorder, packBatches } from "./load.ts";
import { type Row, rowOf, type Target } from "./row.ts";
import { medianOf } from "./spread.ts";

/** Packed batches with many outstanding, each synced before it is answered, against a bare loop over the same groups. */
export const appendBatches: Bench = {
  name: "append-batches",
  about: "packed batches, sync always, many outstanding, against bare writes and syncs",
  async run(context) {
    const rows: Row[] = [];
    const outstandings = context.choose({ quick: [128], default: [64, 128, 256], full: [64, 128, 256] });
    for (const outstanding of outstandings) {
      rows.push(
        await measure(context, {
          name: `append 64 KiB batches, ${outstanding} outstanding`,
          batchBytes: 64 * KiB,
          outstanding,
          target,
        }),
      );
    }
    rows.push(await measure(context, { name: "append 4 KiB batches, 64 outstanding", batchBytes: 4 * KiB, outstanding: 64 }));
    return rows;
  },
};

const target: Target = { of: "ratio", atLeast: 0.8 };

interface Load {
  readonly name: string;
  readonly batchBytes: number;
  readonly outstanding: number;
  readonly target?: Target;
}

async function measure(context: BenchContext, load: Load): Promise<Row> {
  const { scratch } = context;
  const { outstanding } = load;
  const rounds = context.choose({ quick: 5, default: 14, full: 30 });
  const roundBytes = context.choose({ quick: 64, default: 128, full: 256 }) * MiB * (load.batchBytes < 16 * KiB ? 0.25 : 1);
  scratch.checkFree(4 * roundBytes, load.name);
  const { batches, batchBytes } = packBatches(2 * outstanding, load.batchBytes, 100);
  const source = Buffer.concat(batches);
  const count = Math.ceil(roundBytes / batchBytes);
  const recorder = new GroupRecorder();

  const runLog = async (directory: string): Promise<number> => {
    await using log = await openLog(directory, { observer: recorder.observer });
    recorder.reset();
    return (count * batchBytes) / (await appendPacked(log, batches, count, outstanding)) / 1e6;
  };
  const runBare = async (directory: string): Promise<number> => {
    const bare = new BareWriter(directory, source);
    const start = performance.now();
    await bare.write(recorder.groups);
    const milliseconds = performance.now() - start;
    await bare.close();
    return (count * batchBytes) / milliseconds / 1e3;
  };
  const figures: number[] = [];
  const ceilings: number[] = [];
  const groupBytes: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const directory = scratch.directory("append");
    const bareDirectory = scratch.directory("bare");
    // In turn, and each first every other time: what the one leaves behind in the disk's cache, the other pays for.
    const isBareFirst = round >= 0 && round % 2 === 1;
    const early = isBareFirst ? await runBare(bareDirectory) : undefined;
    const figure = await runLog(directory);
    const ceiling = early ?? (await runBare(bareDirectory));
    // Removed at once: the page cache is then fed from memory that was used before, which is as fast for both.
    scratch.remove(directory);
    scratch.remove(bareDirectory);
    if (round < 0) continue;
    figures.push(figure);
    ceilings.push(ceiling);
    groupBytes.push(...recorder.groups);
  }
  return rowOf({
    name: load.name,
    unit: "MB/s",
    figures,
    ceilings: { what: "bare write + fdatasync", figures: ceilings },
    ...(load.target !== undefined && { target: load.target }),
    note: `groups of ${Math.round(medianOf(groupBytes) / KiB)} KiB (median), ${Math.round((count * rounds) / groupBytes.length)} batches each (mean)`,
  });
}
