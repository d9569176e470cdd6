/**
 * Appending on condition: of two who decide on the same events, one is appended, and the other reads what came and decides again.
 *
 *     node examples/append-on-condition.ts 127.0.0.1:8000 seats
 */
import { type Client, connect, isProglogError } from "proglog/client";

const seatCount = 2;

/** Takes a seat if one is free. Two at once never take the same. */
async function takeSeat(client: Client, topic: string, guest: string): Promise<string> {
  for (;;) {
    const taken: string[] = [];
    let nextOffset = 0;
    for await (const { offset, value } of client.consume({ topic, partition: 0, stopsAtEnd: true })) {
      taken.push(String(value));
      nextOffset = offset + 1;
    }
    if (taken.length >= seatCount) return `${guest}: no seat is left`;
    try {
      // Only if the log still ends where the decision was made.
      await client.append([{ value: guest }], { topic, expectedOffset: nextOffset });
      return `${guest}: seat ${taken.length + 1}`;
    } catch (error) {
      if (!isProglogError(error, "CONDITION_FAILED")) throw error;
    }
  }
}

const [address = "127.0.0.1:8000", topic = "seats"] = process.argv.slice(2);
await using client = connect(address);
await client.createTopic(topic);
const lines = await Promise.all(["ann", "bob", "cid"].map((guest) => takeSeat(client, topic, guest)));
console.log(`${lines.filter((line) => line.includes(": seat ")).length} seats taken, ${lines.length} asked`);
