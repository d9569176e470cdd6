import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../src/batch/crc32c.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { type BatchReadOptions, type Log, openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { appendPacked, packBatches } from "./load.ts";
import { type Row, rowOf } from "./row.ts";

/** A whole log from front to end, out of the page cache, all checksums verified. */
export const readSequential: Bench = {
  name: "read-sequential",
  about: "a cached log from front to end, checksums verified",
  async run({ scratch, choose }) {
    const logBytes = choose({ quick: 128, default: 512, full: 1024 }) * MiB;
    const rounds = choose({ quick: 4, default: 10, full: 20 });
    scratch.checkFree(logBytes, "sequential reads");
    const directory = scratch.directory("read");
    const { batches, batchBytes, recordsPerBatch } = packBatches(64, 64 * KiB, 100);
    const log = await openLog(directory, { sync: "never" });
    const count = Math.floor(logBytes / batchBytes);
    await appendPacked(log, batches, count, 64);
    await log.sync();

    const packed: number[] = [];
    const raw: number[] = [];
    const packedOver: number[] = [];
    const rawOver: number[] = [];
    const byBatches: number[] = [];
    const byRecords: number[] = [];
    const over = Buffer.allocUnsafeSlow(MiB);
    await readBatches(log);
    await readRaw(directory);
    for (let round = 0; round < rounds; round += 1) {
      packed.push((await timed(() => readBatches(log))) / 1e6);
      raw.push((await timed(() => readRaw(directory))) / 1e6);
      packedOver.push((await timed(() => readBatches(log, { reusesMemory: true }))) / 1e6);
      rawOver.push((await timed(() => readRaw(directory, over))) / 1e6);
    }
    // Apart from the others, which would have to clear away millions of records.
    const recordCount = recordsPerBatch * count;
    await countByBatches(log, recordCount);
    await countByRecords(log, recordCount);
    for (let round = 0; round < rounds / 2; round += 1) {
      byBatches.push(await timed(() => countByBatches(log, recordCount)));
      byRecords.push(await timed(() => countByRecords(log, recordCount)));
    }
    await log.close();
    scratch.remove(directory);
    const ceilings = { what: "bare 1 MiB reads + crc32c", figures: raw };
    const target = { of: "figure", atLeast: 2000 } as const;
    const rows: Row[] = [
      rowOf({ name: "read packed batches", unit: "MB/s", figures: packed, ceilings, target }),
      rowOf({
        name: "read packed batches, each piece over the one before",
        unit: "MB/s",
        figures: packedOver,
        ceilings: { what: "bare 1 MiB reads into the same memory + crc32c", figures: rawOver },
        target,
      }),
      rowOf({
        name: "read and decode 100 B, batch by batch",
        unit: "records/s",
        figures: byBatches,
        target: { of: "figure", atLeast: 3e6 },
      }),
      rowOf({ name: "read and decode 100 B, record by record", unit: "records/s", figures: byRecords }),
    ];
    return rows;
  },
};

/** How much `run` did in a second. */
async function timed(run: () => Promise<number>): Promise<number> {
  const start = performance.now();
  const amount = await run();
  return (amount * 1000) / (performance.now() - start);
}

async function readBatches(log: Log, options?: BatchReadOptions): Promise<number> {
  let bytes = 0;
  for await (const { batch } of log.batches(options)) bytes += batch.length;
  return bytes;
}

async function countByBatches(log: Log, expected: number): Promise<number> {
  let records = 0;
  for await (const batch of log.batches()) {
    for (const record of batch.records()) if (record.value !== null) records += 1;
  }
  return checked(records, expected);
}

async function countByRecords(log: Log, expected: number): Promise<number> {
  let records = 0;
  for await (const record of log.records()) if (record.value !== null) records += 1;
  return checked(records, expected);
}

function checked(records: number, expected: number): number {
  if (records !== expected) throw new Error(`read ${records} records, and ${expected} were appended`);
  return records;
}

/**
 * The same files in pieces of 1 MiB, asynchronously, one after the other, and a checksum over each: nothing is parsed. Into fresh
 * memory each, or all into `over`.
 */
async function readRaw(directory: string, over?: Buffer): Promise<number> {
  let bytes = 0;
  for (const name of fs
    .readdirSync(directory)
    .filter((file) => file.endsWith(".store"))
    .sort()) {
    const fd = fs.openSync(join(directory, name), "r");
    const { size } = fs.fstatSync(fd);
    for (let position = 0; position < size; position += MiB) {
      const byteLength = Math.min(MiB, size - position);
      const piece = over?.subarray(0, byteLength) ?? Buffer.allocUnsafeSlow(byteLength);
      const start = position;
      await new Promise<void>((resolve, reject) => {
        fs.read(fd, piece, 0, piece.length, start, (error) => (error === null ? resolve() : reject(error)));
      });
      // Used, so that nobody may leave it out.
      bytes += crc32c(piece) < 0 ? 0 : piece.length;
    }
    fs.closeSync(fd);
  }
  return bytes;
}
