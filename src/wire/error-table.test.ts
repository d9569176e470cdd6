import assert from "node:assert/strict";
import { STATUS_CODES } from "node:http";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { ErrorCode } from "../base/error.ts";
import { errorTable } from "./error-table.ts";

const rows = Object.entries(errorTable);

test("every code has a legal gRPC status and HTTP status", () => {
  for (const [code, { grpc, http }] of rows) {
    assert(grpc >= 1 && grpc <= 16, code);
    assert(STATUS_CODES[http] !== undefined || code === "CANCELLED", code);
    assert(http >= 400, code);
  }
});

test("what may be retried as it is isn't the client's fault, unless it came too fast", () => {
  for (const [code, { isRetryable, http }] of rows) if (isRetryable) assert(http >= 500 || http === 429, code);
});

test("a refused request has appended nothing, unless an earlier try of it has", () => {
  for (const [code, { outcome, http }] of rows)
    if (http < 499 && code !== "DUPLICATE_SEQUENCE") assert.notEqual(outcome, "unknown", code);
});

test("an append that failed under way leaves open what was appended", () => {
  const codes: ErrorCode[] = ["DISK_FAILED", "TIMEOUT", "UNAVAILABLE", "CANCELLED", "INTERNAL"];
  for (const code of codes) assert.equal(errorTable[code].outcome, "unknown", code);
});

test("docs/http.md lists every code with its HTTP status", () => {
  const page = readFileSync(new URL("../../docs/http.md", import.meta.url), "utf8");
  for (const [code, { http, isRetryable, outcome }] of rows) {
    const row = `| \`${code}\` | ${http} | ${isRetryable ? "yes" : "no"} | ${outcome ?? "–"} |`;
    assert(page.includes(row), `docs/http.md lacks the row: ${row}`);
  }
});
