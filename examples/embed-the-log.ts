import { tmpdir } from "node:os";
import { join } from "node:path";
import { isProglogError, openLog } from "proglog/log";

/** The log in your own process: append, read, iterate. `node embed-the-log.ts [directory]` */
const directory = process.argv[2] ?? join(tmpdir(), "proglog-embed-the-log");

await using log = await openLog(directory);
console.log(`opened (${log.recovery.kind}), the next offset is ${log.logEndOffset}`);

// One record. When the promise resolves, it is on the disk.
const { baseOffset } = await log.append({ key: "order-1", value: "placed" });

// Several at once are one batch: all of them or none.
await log.append([
  { key: "order-1", value: "paid", headers: [{ key: "by", value: "card" }] },
  { key: "order-1", value: null }, // a tombstone
]);

// Appends that don't wait for each other share a sync.
await Promise.all(["a", "b", "c"].map((value) => log.append({ key: "order-2", value })));

// Keys and values come back as bytes.
const record = await log.read(baseOffset);
console.log(`${String(record.key)} was ${String(record.value)}`);

let count = 0;
for await (const { offset, key, value } of log.records({ from: baseOffset })) {
  console.log(`+${offset - baseOffset} ${String(key)} ${value?.toString() ?? "(tombstone)"}`);
  count += 1;
}
console.log(`${count} records`);

try {
  await log.read(log.logEndOffset);
} catch (error) {
  if (!isProglogError(error, "OFFSET_OUT_OF_RANGE")) throw error;
  console.log(error.code);
}
