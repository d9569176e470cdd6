import { connect } from "../../src/client/index.ts";
import { say } from "./say.ts";

/** Opens `argv[4]` consumers of topic `argv[3]`, each on a connection of its own, which take one batch and then nothing more. */
const [address = "", topic = "", count = "0"] = process.argv.slice(2);
const held: unknown[] = [];
for (let i = 0; i < Number(count); i += 1) {
  const batches = connect(address).consume({ topic, from: "start" }).batches();
  await batches.next();
  held.push(batches);
}
say({ stuck: held.length });
setInterval(() => held.length, 1000);
