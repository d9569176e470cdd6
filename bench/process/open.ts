import { openLog } from "../../src/log/index.ts";
import { recordOf } from "../load.ts";
import { say } from "./say.ts";

/** Opens the log of `argv[2]`, reads a record in its middle, appends one, and says when each was done. Ends by being killed. */
const [directory = ""] = process.argv.slice(2);
const sinceStart = (): number => performance.now() / 1000;
const log = await openLog(directory);
const openedAt = sinceStart();
await log.read(Math.floor((log.logStartOffset + log.highWatermark) / 2));
await log.append(recordOf(100));
say({ openedAt, servingAt: sinceStart(), recovery: log.recovery });
setInterval(() => log.status(), 1000);
