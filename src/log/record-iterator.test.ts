import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../batch/encode-batch.ts";
import { openMemoryLog } from "./open-log.ts";

describe("records one by one", () => {
  test("are answered in order to calls that don't wait for each other", async () => {
    await using log = await openMemoryLog();
    for (const letter of ["a", "b", "c"]) await log.append([{ value: `${letter}0` }, { value: `${letter}1` }]);
    const records = log.records({ from: 1, limit: 4 });
    const steps = await Promise.all(Array.from({ length: 6 }, () => records.next()));
    assert.deepEqual(
      steps.map(({ value, done }) => [value?.value?.toString(), done]),
      [
        ["a1", false],
        ["b0", false],
        ["b1", false],
        ["c0", false],
        [undefined, true],
        [undefined, true],
      ],
    );
  });

  test("end when they are left, and stay ended", async () => {
    await using log = await openMemoryLog();
    await log.append([{ value: "a" }, { value: "b" }]);
    const records = log.records({ tail: true });
    for await (const record of records) {
      assert.equal(record.offset, 0);
      break;
    }
    assert.deepEqual(await records.next(), { value: undefined, done: true });
    const others = log.records();
    await assert.rejects(others.throw(new Error("enough")), /enough/);
    assert.deepEqual(await others.next(), { value: undefined, done: true });
  });

  test("end with the error of a batch that can't be decoded, which says where to go on", async () => {
    await using log = await openMemoryLog();
    await log.append({ value: "a" });
    const batch = encodeBatch([{ value: "b".repeat(100) }], { now: 0, compression: "gzip" });
    // A body that no codec wrote, sealed: the door takes it closed.
    batch.fill(0, 61);
    const { crc32c } = await import("../batch/crc32c.ts");
    batch.writeUInt32BE(crc32c(batch, 21), 17);
    await log.appendBatch(batch);
    await log.append({ value: "c" });
    const records = log.records();
    assert.equal((await records.next()).value?.offset, 0);
    await assert.rejects(records.next(), {
      code: "UNDECODABLE_BATCH",
      message: /^Cannot decode the batch of offset 1: (?!Cannot)/,
      hint: "Go on reading at offset 2.",
      details: { baseOffset: 1, nextOffset: 2 },
    });
    assert.deepEqual(await records.next(), { value: undefined, done: true });
    assert.equal((await log.records({ from: 2 }).next()).value?.value?.toString(), "c");
  });
});
