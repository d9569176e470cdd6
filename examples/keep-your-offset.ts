import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "proglog/log";
import { readState, writeState } from "./state-file.ts";

/**
 * There are no consumer groups yet: who reads keeps its own offset. Where it keeps it decides what a crash does. An offset stored
 * before the work loses records, one stored after it repeats some. Stored together with the result of the work, in one step,
 * every record counts exactly once, whenever the process dies: here both stand in one file that is replaced whole; a database
 * would take both in one transaction.
 *
 * `node keep-your-offset.ts [directory]`: each run appends three orders, and sums up what it hasn't seen yet.
 */
interface State {
  /** The first record that isn't in the totals. */
  readonly nextOffset: number;
  readonly totals: Readonly<Record<string, number>>;
}

const directory = process.argv[2] ?? join(tmpdir(), "proglog-keep-your-offset");
await using log = await openLog(join(directory, "orders"));
await log.append([
  { key: "ann", value: "3" },
  { key: "bob", value: "5" },
  { key: "ann", value: "4" },
]);

const statePath = join(directory, "totals.json");
let state: State = (await readState<State>(statePath)) ?? { nextOffset: 0, totals: {} };
console.log(`goes on at offset ${state.nextOffset}`);

// Throws OFFSET_OUT_OF_RANGE when retention removed records that were never read: better than to go on without them in silence.
for await (const batch of log.batches({ from: state.nextOffset })) {
  const totals = { ...state.totals };
  for (const { offset, key, value } of batch.records()) {
    // The first batch may begin before the offset that was asked for.
    if (offset < state.nextOffset) continue;
    const customer = String(key);
    totals[customer] = (totals[customer] ?? 0) + Number(value);
  }
  // The batch's end and not its last record's: a batch may span offsets that have no record any more.
  state = { nextOffset: batch.nextOffset, totals };
  await writeState(statePath, state);
}
console.log(JSON.stringify(state));
