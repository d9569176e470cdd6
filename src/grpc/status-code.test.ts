import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { nameOfStatus, type StatusName, statusCodes } from "./status-code.ts";

describe("status codes", () => {
  test("go from 0 to 16, and each number has its name", () => {
    assert.deepEqual(
      Object.values(statusCodes),
      Array.from({ length: 17 }, (_, code) => code),
    );
    for (const [name, code] of Object.entries(statusCodes)) assert.equal(nameOfStatus(code), name as StatusName);
  });

  test("a number outside of the list is UNKNOWN", () => {
    for (const code of [-1, 17, 404, 1.5]) assert.equal(nameOfStatus(code), "UNKNOWN");
  });
});
