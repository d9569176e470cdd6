import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTopicName } from "./topic-name.ts";

test("letters, digits, dots, underscores and hyphens make a topic's name, up to 249", () => {
  for (const name of ["a", "default", "Orders.eu-1_x", "...", "-", "_x", "x__", "0", "a".repeat(249)]) checkTopicName(name);
});

test("other names are refused", () => {
  for (const name of [
    "",
    ".",
    "..",
    "__x",
    "__",
    "a/b",
    "a b",
    "a\n",
    "ä",
    "a\0",
    "../x",
    "a".repeat(250),
    "x".repeat(100_000),
  ]) {
    assert.throws(() => checkTopicName(name), { code: "INVALID_TOPIC_NAME" }, JSON.stringify(name.slice(0, 20)));
  }
});
