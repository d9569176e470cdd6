import assert from "node:assert/strict";
import { test } from "node:test";
import { type Log, openMemoryLog } from "proglog/log";

/** A log in memory for your own tests: the same engine, no files. `node test-with-memory-log.ts` */

/** What is to be tested: takes a log, and doesn't care where it lives. */
async function rename(log: Log, user: string, name: string): Promise<number> {
  const { baseOffset } = await log.append({ key: user, value: JSON.stringify({ name }) });
  return baseOffset;
}

test("a rename is appended under the user's key", async () => {
  await using log = await openMemoryLog();
  const offset = await rename(log, "user-1", "Ann");
  const { key, value } = await log.read(offset);
  assert.equal(String(key), "user-1");
  assert.deepEqual(JSON.parse(String(value)), { name: "Ann" });
});

test("a rename to what is too long leaves the log as it was", async () => {
  await using log = await openMemoryLog({ recordMaxBytes: 64 });
  await assert.rejects(rename(log, "user-1", "x".repeat(100)), { code: "RECORD_TOO_LARGE" });
  assert.equal(log.logEndOffset, 0);
});
