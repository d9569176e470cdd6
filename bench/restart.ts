import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../src/batch/crc32c.ts";
import { GiB, MiB } from "../src/base/units.ts";
import type { RecoveryReport } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { dropPageCache } from "./page-cache.ts";
import { formatNumber, rowOf } from "./row.ts";

/**
 * A process that appends is killed with -9, the page cache is dropped, and another process opens the log: how long from its
 * start until it has read a record and appended one. What opening costs hangs on the newest segment alone, which is read whole;
 * so the writer is killed when that is almost full.
 */
export const restart: Bench = {
  name: "restart",
  about: "kill -9 of a writer, then open, read and append, with a cold page cache",
  async run({ scratch, choose, skip }) {
    const sizeGiB = choose({ quick: 1, default: 2, full: 10 });
    const rounds = choose({ quick: 2, default: 3, full: 5 });
    const killBytes = sizeGiB * GiB - 32 * MiB;
    scratch.checkFree(sizeGiB * GiB + 512 * MiB, "restart");
    const directory = scratch.directory("restart");
    const writer = new Child("fill", [directory, `${killBytes}`]);
    await writer.next();
    await writer.kill();

    const serving: number[] = [];
    const opening: number[] = [];
    const bare: number[] = [];
    let isCold = true;
    let scannedBytes = 0;
    for (let round = 0; round < rounds; round += 1) {
      isCold = dropPageCache() && isCold;
      const bareStart = performance.now();
      readNewestStore(directory);
      bare.push((performance.now() - bareStart) / 1000);
      isCold = dropPageCache() && isCold;
      const child = new Child("open", [directory]);
      const said = await child.next<{ openedAt: number; recovery: RecoveryReport }>();
      serving.push((performance.now() - child.startedAt) / 1000);
      opening.push(said.recovery.durationMs / 1000);
      scannedBytes = said.recovery.scannedBytes;
      // Killed as well: so the next round finds a log that wasn't closed, too.
      await child.kill();
      if (said.recovery.kind !== "recovered") throw new Error(`the log was opened as "${said.recovery.kind}", not recovered`);
    }
    scratch.remove(directory);
    if (!isCold) skip("restart", "the page cache is warm: only root may drop it");
    const state = isCold ? "cold" : "WARM";
    const ceilings = { what: "bare read + crc32c of the newest store", figures: bare };
    const note = `${state} page cache; the newest store has ${formatNumber(scannedBytes / MiB)} MiB`;
    return [
      rowOf({
        name: `restart after kill -9, ${sizeGiB} GiB log, until a read and an append`,
        unit: "s",
        figures: serving,
        ceilings,
        target: { of: "figure", atMost: 2 },
        note: `from the start of the process; ${note}`,
      }),
      rowOf({ name: `openLog after kill -9, ${sizeGiB} GiB log`, unit: "s", figures: opening, ceilings, note }),
    ];
  },
};

/** What recovery can't avoid. */
function readNewestStore(directory: string): void {
  const name = fs
    .readdirSync(directory)
    .filter((file) => file.endsWith(".store"))
    .sort()
    .at(-1);
  if (name === undefined) throw new Error("the writer left no store");
  const fd = fs.openSync(join(directory, name), "r");
  const piece = Buffer.allocUnsafeSlow(MiB);
  for (let position = 0; ; ) {
    const readBytes = fs.readSync(fd, piece, 0, piece.length, position);
    if (readBytes === 0) break;
    crc32c(piece, 0, readBytes);
    position += readBytes;
  }
  fs.closeSync(fd);
}
