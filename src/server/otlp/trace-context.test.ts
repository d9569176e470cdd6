import assert from "node:assert/strict";
import { test } from "node:test";
import { traceSearchMaxCount } from "../../base/limits.ts";
import { encodeBatch } from "../../batch/encode-batch.ts";
import type { RecordInput } from "../../batch/record.ts";
import { findContextIn, findContextOf, parseTraceparent } from "./trace-context.ts";

const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
const kept = `00-${traceId}-${spanId}-01`;
const unkept = `00-${traceId}-${spanId}-00`;

function recordWith(traceparent: string): RecordInput {
  return {
    value: "v",
    headers: [
      { key: "a", value: "1" },
      { key: "traceparent", value: traceparent },
      { key: "tracestate", value: "x=1" },
    ],
  };
}

test("a traceparent is one as W3C has it, of a trace that is kept", () => {
  assert.deepEqual(parseTraceparent(kept), { traceId, spanId });
  assert.deepEqual(parseTraceparent(`01-${traceId}-${spanId}-ff`), { traceId, spanId });
  const none = [
    ...[unkept, "", `ff-${traceId}-${spanId}-01`, kept.toUpperCase(), `${kept} `, kept.slice(1)],
    ...[`00-${"0".repeat(32)}-${spanId}-01`, `00-${traceId}-${"0".repeat(16)}-01`],
  ];
  for (const text of none) assert.equal(parseTraceparent(text), undefined, text);
});

test("records and packed batches are found to have the same context: the first that is kept", () => {
  const plain: RecordInput = { value: "v" };
  const other = `00-${traceId.replace("0", "1")}-${spanId}-01`;
  for (const [records, isFound] of [
    [[recordWith(kept)], true],
    [[plain, recordWith(unkept), recordWith(kept), recordWith(other)], true],
    [[plain, recordWith(unkept)], false],
    [[{ value: "traceparent" }, { value: null }], false],
  ] as const) {
    const expected = isFound ? { traceId, spanId } : undefined;
    assert.deepEqual(findContextOf(records), expected);
    assert.deepEqual(findContextIn(encodeBatch(records, { now: 1 })), expected);
  }
  assert.deepEqual(findContextOf([{ value: "v", headers: [{ key: "traceparent", value: Buffer.from(kept) }] }]), {
    traceId,
    spanId,
  });
});

test("no more records are looked at than the limit says", () => {
  const records = (count: number): readonly RecordInput[] => [
    ...Array.from({ length: count }, () => recordWith(unkept)),
    recordWith(kept),
  ];
  for (const find of [findContextOf, (all: readonly RecordInput[]) => findContextIn(encodeBatch(all, { now: 1 }))]) {
    assert.deepEqual(find(records(traceSearchMaxCount - 1)), { traceId, spanId });
    assert.equal(find(records(traceSearchMaxCount)), undefined);
  }
});

test("bytes that are no batch have no context, and harm nobody", () => {
  const batch = encodeBatch([recordWith(kept)], { now: 1 });
  for (let length = 0; length < batch.length; length += 1) assert.equal(findContextIn(batch.subarray(0, length)), undefined);
});

test("a value that looks like a header is none", () => {
  const value = encodeBatch([recordWith(kept)], { now: 1 });
  assert.equal(findContextIn(encodeBatch([{ value }], { now: 1 })), undefined);
});

test("in a compressed batch nothing is found", () => {
  assert.equal(findContextIn(encodeBatch([recordWith(kept)], { now: 1, compression: "gzip" })), undefined);
});
