import assert from "node:assert/strict";
import { test } from "node:test";
import { appendQueueMaxCount, operationQueueMaxCount } from "../base/limits.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { type PendingAppend, WorkQueue } from "./work-queue.ts";

const packed = encodeBatch([{ value: "x" }], { now: 1 });
const header = readBatchHeader(packed);
const nothing = (): void => {};

function appendOf(byteLength: number): PendingAppend {
  return { batch: Buffer.alloc(byteLength), header, expectedOffset: undefined, resolve: nothing, reject: nothing };
}

test("work comes out in the order in which it went in", () => {
  const queue = new WorkQueue(1000);
  const first = appendOf(1);
  queue.pushAppend(first);
  queue.pushOperation(async () => {});
  queue.pushAppend(appendOf(2));
  assert.equal(queue.isEmpty, false);
  assert.equal(queue.peek(), queue.peek());
  const kinds = [queue.shift(), queue.shift(), queue.shift()].map((work) =>
    work?.kind === "append" ? work.append.batch.length : work?.kind,
  );
  assert.deepEqual(kinds, [1, "operation", 2]);
  assert.equal(queue.shift(), undefined);
  assert.equal(queue.peek(), undefined);
  assert.equal(queue.isEmpty, true);
});

test("bytes and appends that wait are counted, operations aren't", () => {
  const queue = new WorkQueue(1000);
  queue.pushAppend(appendOf(300));
  queue.pushOperation(async () => {});
  queue.pushAppend(appendOf(200));
  assert.deepEqual([queue.appendBytes, queue.appendCount], [500, 2]);
  queue.shift();
  queue.shift();
  assert.deepEqual([queue.appendBytes, queue.appendCount], [200, 1]);
  queue.shift();
  assert.deepEqual([queue.appendBytes, queue.appendCount], [0, 0]);
});

test("there is room up to the limit in bytes, and none one beyond", () => {
  const queue = new WorkQueue(1000);
  queue.pushAppend(appendOf(600));
  queue.checkRoom(400);
  assert.throws(() => queue.checkRoom(401), { code: "APPEND_QUEUE_FULL", details: { queuedBytes: 600, maxBytes: 1000 } });
  queue.shift();
  queue.checkRoom(401);
});

test("one append always fits into an empty queue, whatever its size", () => {
  const queue = new WorkQueue(10);
  queue.checkRoom(5000);
  queue.pushAppend(appendOf(5000));
  assert.throws(() => queue.checkRoom(1), { code: "APPEND_QUEUE_FULL" });
});

test("there is room for so many appends, and not for one more", () => {
  const queue = new WorkQueue(Number.MAX_SAFE_INTEGER);
  const append = appendOf(0);
  for (let count = 0; count < appendQueueMaxCount - 1; count += 1) queue.pushAppend(append);
  queue.checkRoom(1);
  queue.pushAppend(append);
  assert.throws(() => queue.checkRoom(1), { code: "APPEND_QUEUE_FULL" });
  queue.shift();
  queue.checkRoom(1);
});

test("there is room for so many operations, and not for one more, whatever appends wait", () => {
  const queue = new WorkQueue(1000);
  for (let count = 0; count < operationQueueMaxCount; count += 1) {
    queue.checkOperationRoom("sync");
    queue.pushOperation(async () => {});
  }
  assert.throws(() => queue.checkOperationRoom("sync"), {
    code: "OVERLOADED",
    message: "Cannot sync: 10000 operations wait already",
  });
  queue.checkRoom(1);
  queue.pushAppend(appendOf(1));
  queue.shift();
  queue.checkOperationRoom("sync");
});

test("order holds over many thousands that come and go", () => {
  const queue = new WorkQueue(Number.MAX_SAFE_INTEGER);
  let pushed = 0;
  let taken = 0;
  for (let round = 0; round < 30; round += 1) {
    for (let i = 0; i < 1000; i += 1) queue.pushAppend(appendOf(pushed++ % 7));
    for (let i = 0; i < 900; i += 1) {
      const work = queue.shift();
      assert.equal(work?.kind === "append" ? work.append.batch.length : -1, taken++ % 7);
    }
  }
  assert.equal(queue.appendCount, pushed - taken);
});
