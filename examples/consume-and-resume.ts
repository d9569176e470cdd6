/**
 * A reader that goes on over a restart of the node, in the same process: nothing is left out, nothing comes twice. Ctrl-C ends it.
 *
 *     node examples/consume-and-resume.ts 127.0.0.1:8000 orders
 */
import { connect } from "proglog/client";

const [address = "127.0.0.1:8000", topic = "orders"] = process.argv.slice(2);
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

await using client = connect(address);
let wasLost = false;
const consumer = client.consume({
  topic,
  signal: stop.signal,
  onRetry: () => {
    if (!wasLost) console.log("lost the node");
    wasLost = true;
  },
  onConnected: ({ nextOffset }) => console.log(`reads from offset ${nextOffset}`),
});
for await (const { offset, value } of consumer) console.log(`+${offset} ${String(value)}`);
console.log("stopped");
