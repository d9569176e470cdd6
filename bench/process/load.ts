import { KiB, MiB } from "../../src/base/units.ts";
import { openLog } from "../../src/log/index.ts";
import { appendPacked, packBatches, recordOf } from "../load.ts";
import { say } from "./say.ts";

/** Appends `argv[4]` MiB to the log of `argv[2]` as `argv[3]` says, and tells how much memory the process had at most. */
const [directory = "", kind = "batches", total = "0"] = process.argv.slice(2);
const bytes = Number(total) * MiB;
const log = await openLog(directory);
const before = process.memoryUsage.rss();
if (kind === "batches") {
  const outstanding = 256;
  const { batches, batchBytes } = packBatches(outstanding, 64 * KiB, 100);
  await appendPacked(log, batches, Math.ceil(bytes / batchBytes), outstanding);
} else {
  const record = recordOf(100);
  let left = Math.ceil(bytes / 200);
  const caller = async (): Promise<void> => {
    for (; left > 0; left -= 1) await log.append(record);
  };
  await Promise.all(Array.from({ length: 16_384 }, caller));
}
// In KiB; of the whole life of the process, so nothing between two samples is missed.
const peak = process.resourceUsage().maxRSS * KiB;
say({ before, peak, after: process.memoryUsage.rss() });
await log.close();
