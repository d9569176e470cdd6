import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { crc32c } from "../src/batch/crc32c.ts";
import { dumbBatch, dumbRecord } from "../src/batch/dumb-batch.ts";
import { dumbFrameCrc } from "../src/log/dumb-frame.ts";
import { goldenLogs, writeGoldenLog } from "./golden/golden-logs.ts";
import { repository } from "./source-code.ts";

/** The table of docs/format.md, "A worked example", against the bytes that such a log really has. */
test("the worked example of the format page is true, byte for byte", async () => {
  const page = readFileSync(join(repository, "docs/format.md"), "utf8");
  const section = page.slice(page.indexOf("## A worked example"), page.indexOf("## Where later features"));
  const rows = [...section.matchAll(/^\| (\d+) \| (.+?) \| (.*?) ?\|$/gm)];
  const golden = goldenLogs.find(({ name }) => name === "worked-example");
  assert.ok(golden !== undefined && rows.length === 11);
  const { files } = await writeGoldenLog(golden);
  const store = files.get("00000000000000000001.store");
  assert.ok(store !== undefined);

  let next = 128;
  for (const [, position = "", cell = ""] of rows) {
    assert.equal(Number(position), next, "the rows follow one another");
    const bytes = cell === "crc" ? undefined : Buffer.from(cell.replace(/[`… ]/g, ""), "hex");
    if (bytes !== undefined) assert.deepEqual(store.subarray(next, next + bytes.length), bytes, `position ${position}`);
    next += bytes?.length ?? 4;
  }

  const logId = store.subarray(64, 80);
  const frame = store.subarray(128, 257);
  assert.equal(frame.readUInt32LE(8), dumbFrameCrc(frame, logId));
  assert.equal(store.readUInt32LE(8), dumbFrameCrc(store.subarray(0, 128), logId));
  const time = 1_760_000_000_000n;
  const batch = dumbBatch([dumbRecord({ value: Buffer.from("hello") })], {
    leaderEpoch: 1,
    baseTimestamp: time,
    maxTimestamp: time,
  });
  assert.equal(batch.length, 73);
  assert.deepEqual(frame.subarray(56), batch);
  assert.match(section, /one frame of 56 \+ 73 = 129 bytes/);
  assert.match(section, /length 121 = 48 \+ 73/);
  assert.match(section, /61 bytes of header and 12 of record/);
  assert.match(section, /the next frame begins at position 257/);
  assert.ok(store.subarray(257).every((byte) => byte === 0));

  // "The index then holds one slot": that of a log that was closed.
  const closed = await writeGoldenLog({ ...golden, isClosed: true });
  const index = closed.files.get("00000000000000000001.index");
  assert.equal(index?.length, 16 + 80);
  assert.equal(index?.toString("hex", 0, 16), "0000000000000000" + "8000000000000000");
  assert.match(section, /`00 … 00 \| 80 00 00 00 00 00 00 00`/);
  assert.equal(index?.readUInt32LE(16 + 12), crc32c(index, 0, 16, crc32c(Buffer.from(logId))));
  assert.equal(closed.files.get("00000000000000000001.store")?.length, 257);
});
