import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../../base/error.ts";
import { judgeJoin } from "./joining.ts";

const nodes = [
  { name: "a", storageId: "1", address: "a:8000" },
  { name: "b", storageId: "2", address: "b:8000" },
];

describe("a question to join", () => {
  test("is a new node's, one's that is in, or one's that has moved", () => {
    assert.deepEqual(judgeJoin(nodes, { name: "c", storageId: "3", address: "c:8000" }), { kind: "new" });
    assert.deepEqual(judgeJoin(nodes, { name: "b", storageId: "2", address: "b:8000" }), { kind: "present" });
    assert.deepEqual(judgeJoin(nodes, { name: "b", storageId: "2", address: "b2:8000" }), { kind: "moved", from: "b:8000" });
  });

  test("is refused for a name that another directory has, and for a directory that has another name", () => {
    assert.throws(
      () => judgeJoin(nodes, { name: "b", storageId: "3", address: "c:8000" }),
      (error) =>
        isProglogError(error, "NODE_ALREADY_EXISTS") &&
        error.details["storageId"] === "2" &&
        /cluster remove b --force/.test(error.hint ?? ""),
    );
    assert.throws(
      () => judgeJoin(nodes, { name: "c", storageId: "2", address: "c:8000" }),
      (error) => isProglogError(error, "NODE_ALREADY_EXISTS") && error.hint === "Start it with --node-name b.",
    );
  });
});
