import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { lineBatchBytes, recordMaxBytes, recordMaxHeaders } from "../base/limits.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { splitRecords } from "./produce-service.ts";

describe("splitting records into batches", () => {
  test("keeps all of them in order", () => {
    const records = Array.from({ length: 5000 }, (_, number) => ({ value: `${number}`.padEnd(1000, ".") }));
    const batches = splitRecords(records);
    assert.deepEqual(batches.flat(), records);
    assert.equal(batches.length, Math.ceil((5000 * 1016) / lineBatchBytes));
  });

  test("bounds a batch, but for a record that is larger alone", () => {
    const large = { value: "x".repeat(recordMaxBytes) };
    const small = { value: "y" };
    assert.deepEqual(splitRecords([small, large, small, small, large]), [[small], [large], [small, small], [large]]);
  });

  test("keeps every batch within what a batch may hold, headers and records that take no bytes included", () => {
    const headers = Array.from({ length: recordMaxHeaders }, () => ({ key: "", value: null }));
    const records = Array.from({ length: 600 }, () => ({ value: null, headers }));
    const bare = Array.from({ length: 200_000 }, () => ({ value: null }));
    for (const batch of [...splitRecords(records), ...splitRecords(bare)]) encodeBatch(batch, { now: 0 });
  });

  test("of none is none", () => {
    assert.deepEqual(splitRecords([]), []);
  });
});
