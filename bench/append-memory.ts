import { MiB } from "../src/base/units.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { type Row, rowOf } from "./row.ts";

/** The largest resident size of a process that appends as fast as it can. */
export const appendMemory: Bench = {
  name: "append-memory",
  about: "resident memory of a process under append load",
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 1, default: 2, full: 4 });
    const rows: Row[] = [];
    for (const { kind, what, mebibytes } of [
      { kind: "batches", what: "64 KiB batches, 256 outstanding", mebibytes: choose({ quick: 256, default: 768, full: 2048 }) },
      {
        kind: "records",
        what: "records of 100 B, 16,384 outstanding",
        mebibytes: choose({ quick: 32, default: 96, full: 256 }),
      },
    ]) {
      scratch.checkFree(2 * mebibytes * MiB, what);
      const peaks: number[] = [];
      const befores: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const directory = scratch.directory("memory");
        const child = new Child("load", [directory, kind, `${mebibytes}`]);
        const { before, peak } = await child.next<{ before: number; peak: number }>();
        await child.kill();
        scratch.remove(directory);
        peaks.push(peak / MiB);
        befores.push(before / MiB);
      }
      rows.push(
        rowOf({
          name: `peak memory, ${what}`,
          unit: "MiB",
          figures: peaks,
          ceilings: { what: "before the load", figures: befores },
        }),
      );
    }
    return rows;
  },
};
