import assert from "node:assert/strict";
import { test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { fromProblem, toProblem } from "./problem.ts";

test("a problem names code, status, detail, hint, retry, outcome and details", () => {
  const error = new ProglogError("APPEND_QUEUE_FULL", "Cannot append: the queue is full", {
    hint: "Try again.",
    details: { queuedBytes: 7 },
  });
  assert.deepEqual(toProblem(error), {
    type: "urn:proglog:error:append-queue-full",
    title: "Service Unavailable",
    status: 503,
    code: "APPEND_QUEUE_FULL",
    detail: "Cannot append: the queue is full",
    hint: "Try again.",
    retryable: true,
    outcome: "not-appended",
    details: { queuedBytes: 7 },
  });
});

test("what no append can meet has no outcome", () => {
  const problem = toProblem(new ProglogError("OFFSET_OUT_OF_RANGE", "Cannot read offset 1: the log ends at 0"));
  assert.equal(problem.status, 416);
  assert.equal("outcome" in problem, false);
  assert.equal("details" in problem, false);
});

test("an outcome that the error knows goes before the table's, and isn't a detail", () => {
  const problem = toProblem(new ProglogError("APPEND_QUEUE_FULL", "…", { details: { outcome: "unknown" } }));
  assert.equal(problem.outcome, "unknown");
  assert.equal("details" in problem, false);
});

test("an error that isn't ours keeps its message to itself", () => {
  for (const error of [new TypeError("secret /etc/passwd"), "secret", undefined]) {
    const problem = toProblem(error);
    assert.equal(problem.code, "INTERNAL");
    assert.equal(problem.status, 500);
    assert.doesNotMatch(JSON.stringify(problem), /secret/);
  }
});

test("a problem becomes the error it was made of", () => {
  const error = new ProglogError("DISK_FAILED", "Cannot append: EIO", { hint: "Replace it.", details: { file: "x" } });
  const back = fromProblem(JSON.parse(JSON.stringify(toProblem(error))));
  assert.equal(back?.code, "DISK_FAILED");
  assert.equal(back.message, error.message);
  assert.equal(back.hint, error.hint);
  assert.deepEqual(back.details, { file: "x", outcome: "unknown" });
});

test("JSON that is no problem isn't taken for one", () => {
  for (const json of [
    null,
    1,
    {},
    { code: "constructor", detail: "x" },
    { code: "NO_SUCH", detail: "x" },
    { code: "INTERNAL" },
  ]) {
    assert.equal(fromProblem(json), undefined);
  }
});
