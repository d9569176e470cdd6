import { KiB } from "../../src/base/units.ts";
import { openLog } from "../../src/log/index.ts";
import { packBatches } from "../load.ts";
import { say } from "./say.ts";

/** Appends to the log of `argv[2]` until it is killed; says so when `argv[3]` bytes are reached, and goes on appending. */
const [directory = "", bytes = "0"] = process.argv.slice(2);
const { batches } = packBatches(256, 64 * KiB, 100);
const log = await openLog(directory);
let isSaid = false;
let next = 0;
await Promise.all(Array.from({ length: 128 }, appendForEver));

async function appendForEver(): Promise<void> {
  for (;;) {
    const batch = batches[next % batches.length];
    next += 1;
    if (batch !== undefined) await log.appendBatch(batch);
    if (isSaid || next % 64 !== 0 || log.status().storeBytes < Number(bytes)) continue;
    isSaid = true;
    say({ records: log.highWatermark });
  }
}
