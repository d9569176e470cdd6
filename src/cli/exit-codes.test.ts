import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type ErrorCode, ProglogError } from "../base/error.ts";
import { exitCodeOf, exitCodes, exitMeanings, type ExitName } from "./exit-codes.ts";

test("the documented exit codes are the real ones", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/cli.md"), "utf8");
  const rows = [...page.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, code, meaning]) => [Number(code), meaning]);
  const names = Object.keys(exitCodes) as ExitName[];
  assert.deepEqual(
    rows,
    names.map((name) => [exitCodes[name], exitMeanings[name]]),
  );
});

test("an error's code decides, but a doubt about the outcome goes first", () => {
  const codeOf = (code: ErrorCode, outcome?: string): number =>
    exitCodeOf(new ProglogError(code, "x", outcome === undefined ? {} : { details: { outcome } }));
  assert.equal(codeOf("TOPIC_NOT_FOUND"), exitCodes.failed);
  assert.equal(codeOf("INVALID_ARGUMENT"), exitCodes.usage);
  assert.equal(codeOf("UNAVAILABLE"), exitCodes.unreachable);
  assert.equal(codeOf("UNAVAILABLE", "not-appended"), exitCodes.unreachable);
  assert.equal(codeOf("UNAVAILABLE", "unknown"), exitCodes.unknown);
  assert.equal(codeOf("DISK_FULL", "unknown"), exitCodes.unknown);
  assert.equal(codeOf("LOG_LOCKED"), exitCodes.locked);
  assert.equal(codeOf("LOG_CORRUPT"), exitCodes.damaged);
  assert.equal(exitCodeOf(new Error("x")), exitCodes.failed);
  assert.equal(exitCodeOf("x"), exitCodes.failed);
});
