import { join } from "node:path";
import { type Log, openLog } from "../../src/log/index.ts";
import { recordOf } from "../load.ts";
import { say } from "./say.ts";

/**
 * Opens `argv[3]` logs under `argv[2]`, four at a time as a node does, appends a record to each and then idles; says how long
 * it took, and what idling costs. Ends by being killed.
 */
const [directory = "", count = "0", idleMs = "1000"] = process.argv.slice(2);
const logs: Log[] = [];
const start = performance.now();
let next = 0;
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let number = next++; number < Number(count); number = next++) logs.push(await openLog(join(directory, `${number}`)));
  }),
);
const openSeconds = (performance.now() - start) / 1000;
await Promise.all(logs.map((log) => log.append(recordOf(100))));
// The sync marks are synced once nothing was appended for 100 ms: only then it idles.
await new Promise((resolve) => void setTimeout(resolve, 1500));
const cpuBefore = process.cpuUsage();
await new Promise((resolve) => void setTimeout(resolve, Number(idleMs)));
const { user, system } = process.cpuUsage(cpuBefore);
say({ openSeconds, cpuPercent: (user + system) / (10 * Number(idleMs)), rss: process.memoryUsage.rss() });
setInterval(() => logs[0]?.status(), 60_000);
