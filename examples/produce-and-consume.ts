/**
 * Producing and consuming through a node: `node examples/produce-and-consume.ts 127.0.0.1:8000 orders`. Run it twice: the second
 * run reads what both have sent.
 */
import { connect } from "proglog/client";

const [address = "127.0.0.1:8000", topic = "orders"] = process.argv.slice(2);

await using client = connect(address);
await using producer = client.producer({ topic });

// One after the other in the log, though nobody waits in between: the promises are of one batch, or a few.
const sent = await Promise.all([
  producer.send({ key: "order-1", value: "placed" }),
  producer.send({ key: "order-1", value: "paid", headers: [{ key: "by", value: "card" }] }),
]);
console.log(`sent ${sent.length}, durable: ${sent.every(({ isDurable }) => isDurable)}`);

// Many at once cost one promise together.
const ranges = await producer.sendBatch(["a", "b", "c"].map((value) => ({ key: "order-2", value })));
console.log(`sent ${ranges.reduce((sum, { count }) => sum + count, 0)} more`);

for await (const { offset, key, value } of client.consume({ topic, from: "start", stopsAtEnd: true })) {
  console.log(`+${offset} ${String(key)} ${String(value)}`);
}
