import assert from "node:assert/strict";
import { test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { errorCauses, errorLine } from "./error-line.ts";

test("an error is one line, whatever its texts hold", () => {
  const error = new ProglogError("LOG_CORRUPT", "Cannot read a:\n  it is\r\nbad", { hint: "Run proglog repair." });
  assert.equal(errorLine(error), "proglog: LOG_CORRUPT: Cannot read a: it is bad (Run proglog repair)\n");
  assert.equal(errorLine(new ProglogError("TIMEOUT", "Cannot wait")), "proglog: TIMEOUT: Cannot wait\n");
});

test("a system's error keeps its own code, and a fault of ours is INTERNAL", () => {
  const error = Object.assign(new Error("EACCES: permission denied, open '/a'"), { code: "EACCES" });
  assert.equal(errorLine(error), "proglog: EACCES: permission denied, open '/a'\n");
  assert.equal(errorLine(new TypeError("x is not a function")), "proglog: INTERNAL: x is not a function\n");
  assert.equal(errorLine("thrown text"), "proglog: INTERNAL: thrown text\n");
});

test("causes are told to the last, and a ring of them ends", () => {
  const inner = new Error("inner");
  const outer = new Error("outer", { cause: new Error("middle", { cause: inner }) });
  assert.deepEqual(errorCauses(outer).match(/^(caused by: )?Error: \w+/gm), [
    "Error: outer",
    "caused by: Error: middle",
    "caused by: Error: inner",
  ]);
  inner.cause = outer;
  assert.ok(errorCauses(outer).length < 100_000);
});
