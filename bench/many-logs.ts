import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { MiB } from "../src/base/units.ts";
import { openLog } from "../src/log/index.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { recordOf } from "./load.ts";
import { rowOf } from "./row.ts";
import { unsyncedDisk } from "./unsynced-disk.ts";

/** Many logs in one process: opened after kill -9, and idle. */
export const manyLogs: Bench = {
  name: "many-logs",
  about: "1,000 logs in one process: opened after kill -9, and idle",
  async run({ scratch, choose }) {
    const count = choose({ quick: 100, default: 1000, full: 1000 });
    const rounds = choose({ quick: 1, default: 2, full: 4 });
    const idleMs = choose({ quick: 1000, default: 3000, full: 10_000 });
    scratch.checkFree(count * MiB, "many logs");
    const directory = scratch.directory("logs");
    for (let number = 0; number < count; number += 1) {
      const path = join(directory, `${number}`);
      mkdirSync(path);
      const log = await openLog(path, { disk: unsyncedDisk, index: "heap" });
      await log.append(recordOf(100));
      await log.close();
    }
    const open = async (): Promise<{ openSeconds: number; cpuPercent: number; rss: number }> => {
      const child = new Child("many-logs", [directory, `${count}`, `${idleMs}`]);
      const said = await child.next<{ openSeconds: number; cpuPercent: number; rss: number }>();
      await child.kill();
      return said;
    };
    const afterClose = await open();
    const afterKill = [];
    for (let round = 0; round < rounds; round += 1) afterKill.push(await open());
    scratch.remove(directory);
    const name = count.toLocaleString("en-US");
    return [
      rowOf({
        name: `open ${name} logs after kill -9`,
        unit: "s",
        figures: afterKill.map(({ openSeconds }) => openSeconds),
        ceilings: { what: "after they were closed", figures: afterKill.map(() => afterClose.openSeconds) },
        target: { of: "figure", atMost: 5 },
      }),
      rowOf({
        name: `${name} idle logs, CPU`,
        unit: "% CPU",
        figures: afterKill.map(({ cpuPercent }) => cpuPercent),
        target: { of: "figure", atMost: 1 },
      }),
      rowOf({
        name: `${name} idle logs, memory`,
        unit: "MiB",
        figures: afterKill.map(({ rss }) => rss / MiB),
        target: { of: "figure", atMost: 400 },
      }),
    ];
  },
};
