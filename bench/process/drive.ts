import { unreachable } from "../../src/base/assert.ts";
import { messageOf } from "../../src/base/error.ts";
import { closedLoop, fill, readAll } from "../peers/load.ts";
import type { DriverAnswer, DriverOrder } from "../peers/driver.ts";
import { findPeer } from "../peers/peers.ts";

/** The client's side of what is measured: connects to the server of `argv[2]` at `argv[3]`, and does what it is told. */
const [name = "", address = ""] = process.argv.slice(2);
const client = await findPeer(name).connect(address);

async function obey(order: DriverOrder): Promise<DriverAnswer> {
  switch (order.kind) {
    case "create":
      await client.createTopic(order.topic);
      return {};
    case "remove":
      await client.removeTopic(order.topic);
      return {};
    case "produce":
      return closedLoop(client, order);
    case "fill":
      await fill(client, order);
      return {};
    case "read":
      return readAll(client, order);
    case "batches":
      return { hasBatches: client.sendBatch !== undefined };
    default:
      return unreachable(order);
  }
}

process.on("message", (order: DriverOrder) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: messageOf(error) }),
  );
});
// Its starter may be killed, and nobody would end it then.
process.on("disconnect", () => process.exit());
process.send?.({});
