import { readdirSync } from "node:fs";
import { createSeededRandom } from "../../sim/random.ts";
import { openLog } from "../../src/log/index.ts";
import { say } from "./say.ts";

/** Opens the log of `argv[2]` and reads `argv[3]` records at random from all over it: how long, and with how many descriptors. */
const [directory = "", reads = "0"] = process.argv.slice(2);
const start = performance.now();
const log = await openLog(directory);
const openSeconds = (performance.now() - start) / 1000;
const random = createSeededRandom(1);
let descriptors = 0;
const readStart = performance.now();
for (let number = 0; number < Number(reads); number += 1) {
  await log.read(random.integer(log.highWatermark));
  if (number % 100 === 0) descriptors = Math.max(descriptors, readdirSync("/proc/self/fd").length);
}
const readSeconds = (performance.now() - readStart) / 1000;
say({
  openSeconds,
  perRead: readSeconds / Number(reads),
  descriptors,
  segments: log.status().segments,
  rss: process.memoryUsage.rss(),
});
await log.close();
