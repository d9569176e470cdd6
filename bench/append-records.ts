import { openLog, type RecordInput } from "../src/log/index.ts";
import { BareWriter } from "./bare-writer.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { GroupRecorder, recordOf } from "./load.ts";
import { type Row, rowOf } from "./row.ts";
import { medianOf } from "./spread.ts";

/** Plain records, packed by the log: with a promise for each record, and for each thousand. */
export const appendRecords: Bench = {
  name: "append-records",
  about: "plain records with a promise each, and per 1,000, sync always",
  async run(context) {
    const rows: Row[] = [];
    for (const recordBytes of [100, 1024]) {
      for (const perAppend of [1, 1000]) rows.push(await measure(context, recordBytes, perAppend));
    }
    return rows;
  },
};

/** Records not yet answered: as many as a producer would have under way. */
const outstandingRecords = 16_384;

async function measure({ scratch, choose }: BenchContext, recordBytes: number, perAppend: number): Promise<Row> {
  const rounds = choose({ quick: 2, default: 6, full: 12 });
  const recordCount = choose({ quick: 50_000, default: 200_000, full: 500_000 }) / (recordBytes > 500 && perAppend > 1 ? 4 : 1);
  const name = `append records of ${recordBytes} B, a promise per ${perAppend === 1 ? "record" : perAppend.toLocaleString("en-US")}`;
  scratch.checkFree(4 * rounds * recordCount * (recordBytes + 150), name);
  const recorder = new GroupRecorder();
  const directory = scratch.directory("records");
  const bareDirectory = scratch.directory("bare");
  const log = await openLog(directory, { observer: recorder.observer });
  const record = recordOf(recordBytes);
  const records: RecordInput | RecordInput[] = perAppend === 1 ? record : Array.from({ length: perAppend }, () => record);
  const bare = new BareWriter(bareDirectory, Buffer.alloc(outstandingRecords * recordBytes, 1));

  const appendCount = Math.ceil(recordCount / perAppend);
  const runLog = async (): Promise<number> => {
    recorder.reset();
    let next = 0;
    const caller = async (): Promise<void> => {
      while (next < appendCount) {
        next += 1;
        await log.append(records);
      }
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: Math.ceil(outstandingRecords / perAppend) }, caller));
    return (appendCount * perAppend * 1000) / (performance.now() - start);
  };
  const runBare = async (): Promise<number> => {
    const start = performance.now();
    await bare.write(recorder.groups);
    return (appendCount * perAppend * 1000) / (performance.now() - start);
  };
  await runLog();
  await runBare();
  const figures: number[] = [];
  const ceilings: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    figures.push(await runLog());
    ceilings.push(await runBare());
  }
  const groupBytes = medianOf(recorder.groups);
  await log.close();
  await bare.close();
  scratch.remove(directory);
  scratch.remove(bareDirectory);
  const note = `${Math.round((medianOf(figures) * recordBytes) / 1e6)} MB/s of values; groups of ${Math.round(groupBytes / 1024)} KiB (median)`;
  return rowOf({ name, unit: "records/s", figures, ceilings: { what: "bare write + fdatasync", figures: ceilings }, note });
}
