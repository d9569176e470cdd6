import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../src/batch/crc32c.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { encodeBatch, openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { appendPacked } from "./load.ts";
import { formatNumber, type Row, rowOf } from "./row.ts";
import { spreadOf } from "./spread.ts";

/** What compaction costs when nothing holds it back: one core that reads, hashes, filters, checks and writes. */
export const compaction: Bench = {
  name: "compaction",
  about: "compaction by key of a cached log, without a rate limit",
  async run({ scratch, choose }) {
    const logBytes = choose({ quick: 64, default: 256, full: 1024 }) * MiB;
    const rounds = choose({ quick: 2, default: 4, full: 6 });
    scratch.checkFree(3 * logBytes, "compaction");
    const kinds = [
      { name: "compact, every other record superseded, 100 B", keyCount: 0.5 },
      { name: "compact, nothing superseded, 100 B", keyCount: 1 },
    ] as const;
    const rows: Row[] = [];
    for (const { name, keyCount } of kinds) {
      const figures: number[] = [];
      const copies: number[] = [];
      const wallRates: number[] = [];
      let keptShare = 1;
      for (let round = 0; round < rounds; round += 1) {
        const directory = scratch.directory("compaction");
        const log = await openLog(directory, { sync: "never", cleanup: "compact", segmentMaxBytes: 16 * MiB });
        const recordCount = Math.floor(logBytes / 120);
        const batches = packKeyed(recordCount, Math.floor(recordCount * keyCount));
        await appendPacked(log, batches, batches.length, 64);
        await log.sync();
        copies.push(perCpuSecond(copyRaw(directory)));
        const start = process.cpuUsage();
        const { bytesBefore, bytesAfter, durationMs } = await log.compact();
        figures.push(perCpuSecond({ bytes: bytesBefore, cpu: process.cpuUsage(start) }));
        keptShare = bytesAfter / bytesBefore;
        wallRates.push(bytesBefore / 1e3 / durationMs);
        await log.close();
        scratch.remove(directory);
      }
      const ceilings = { what: "bare copy: read, crc32c, write, fdatasync", figures: copies };
      const wallRate = formatNumber(spreadOf(wallRates).median);
      const note = `bytes of segments by seconds of processor; ${Math.round(100 * keptShare)} % of them stay; ${wallRate} MB/s by the clock, syncs included`;
      rows.push(rowOf({ name, unit: "MB/s", figures, ceilings, note }));
    }
    return rows;
  },
};

const batchRecords = Math.floor((64 * KiB) / 120);

/** Batches of about 64 KiB whose keys come round again after `keyCount` records. */
function packKeyed(recordCount: number, keyCount: number): Buffer[] {
  const value = Buffer.alloc(90, "0123456789abcdef");
  const batches: Buffer[] = [];
  for (let first = 0; first < recordCount; first += batchRecords) {
    const length = Math.min(batchRecords, recordCount - first);
    const records = Array.from({ length }, (_, i) => ({ key: `k${String((first + i) % keyCount).padStart(9, "0")}`, value }));
    batches.push(encodeBatch(records, { now: 1 }));
  }
  return batches;
}

interface Work {
  readonly bytes: number;
  readonly cpu: NodeJS.CpuUsage;
}

/** MB by seconds of processor: waiting for the disk doesn't count, which others may keep busy. */
function perCpuSecond({ bytes, cpu }: Work): number {
  return bytes / (cpu.user + cpu.system);
}

/** Copies the stores and does no more. */
function copyRaw(directory: string): Work {
  const piece = Buffer.allocUnsafeSlow(256 * KiB);
  const start = process.cpuUsage();
  let bytes = 0;
  for (const name of fs.readdirSync(directory).filter((file) => file.endsWith(".store"))) {
    const source = fs.openSync(join(directory, name), "r");
    const copyPath = join(directory, `${name}.copy`);
    const copy = fs.openSync(copyPath, "w");
    for (let position = 0; ; ) {
      const readBytes = fs.readSync(source, piece, 0, piece.length, position);
      if (readBytes === 0) break;
      crc32c(piece, 0, readBytes);
      fs.writeSync(copy, piece, 0, readBytes, position);
      position += readBytes;
      bytes += readBytes;
    }
    fs.fdatasyncSync(copy);
    fs.closeSync(copy);
    fs.closeSync(source);
    fs.unlinkSync(copyPath);
  }
  return { bytes, cpu: process.cpuUsage(start) };
}
