import { readState, writeState } from "./state-file.ts";

/**
 * The same as keep-your-offset.ts for a process that reads from a server, with nothing but `fetch`.
 *
 * `node keep-your-offset-http.ts http://127.0.0.1:8000 orders ./totals.json` counts the records that it hasn't seen yet. To follow the
 * topic, loop for ever and add `&waitMs=30000`: the answer then waits for a record.
 */
const [server = "http://127.0.0.1:8000", topic = "default", statePath = "./counted.json"] = process.argv.slice(2);

interface State {
  readonly nextOffset: number;
  readonly count: number;
}

interface Answer {
  readonly records: readonly { readonly offset: number; readonly key: string | null; readonly value: string | null }[];
  readonly nextOffset: number;
  readonly highWatermark: number;
}

let state: State = (await readState<State>(statePath)) ?? { nextOffset: 0, count: 0 };
for (;;) {
  const response = await fetch(new URL(`/v1/topics/${topic}/records?from=${state.nextOffset}`, server));
  if (!response.ok) throw new Error(`Cannot consume: ${await response.text()}`);
  const { records, nextOffset, highWatermark } = (await response.json()) as Answer;
  state = { nextOffset, count: state.count + records.length };
  await writeState(statePath, state);
  if (nextOffset >= highWatermark) break;
}
console.log(JSON.stringify(state));
