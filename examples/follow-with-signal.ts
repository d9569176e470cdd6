import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "proglog/log";

/** A reader that waits for what comes, without polling, until it is told to stop. `node follow-with-signal.ts [directory]` */
const directory = process.argv[2] ?? join(tmpdir(), "proglog-follow-with-signal");
await using log = await openLog(directory);

const stop = new AbortController();
const from = await log.findOffset("end");

async function follow(): Promise<void> {
  for await (const { offset, value } of log.records({ from, tail: true, signal: stop.signal })) {
    console.log(`+${offset - from} ${String(value)}`);
    if (String(value) === "three") stop.abort();
  }
  console.log("stopped");
}

const following = follow();
for (const value of ["one", "two", "three"]) await log.append({ value });
await following;
