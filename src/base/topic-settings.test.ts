import assert from "node:assert/strict";
import { test } from "node:test";
import { recordMaxBytes } from "./limits.ts";
import {
  checkTopicSetting,
  checkTopicSettingName,
  formatTopicSetting,
  parseTopicSetting,
  type TopicSettingDefinition,
  topicSettingDefinitions,
  type TopicSettingName,
  topicSettingNames,
} from "./topic-settings.ts";
import { dayMs, GiB, KiB, MiB } from "./units.ts";

function definitionOf(name: TopicSettingName): TopicSettingDefinition {
  return topicSettingDefinitions[name];
}

test("every setting's name ends in its unit, and it has a sentence and a default that it takes", () => {
  for (const name of topicSettingNames) {
    const { kind, help, default: value } = definitionOf(name);
    assert.equal(name.endsWith("Ms"), kind === "duration", name);
    assert.equal(name.endsWith("Bytes"), kind === "bytes", name);
    assert.match(help, /^[A-Z].*\.$/s, name);
    assert.equal(checkTopicSetting(name, value), value);
    assert.equal(parseTopicSetting(name, formatTopicSetting(name, value)), value);
  }
});

test("sizes and durations are taken at their bounds, and refused beyond", () => {
  for (const name of topicSettingNames) {
    const { kind, min, max } = definitionOf(name);
    if (kind !== "bytes" && kind !== "duration") continue;
    assert(min !== undefined && max !== undefined, name);
    assert.equal(checkTopicSetting(name, min), min);
    assert.equal(checkTopicSetting(name, max), max);
    for (const value of [min - 1, max + 1])
      assert.throws(() => checkTopicSetting(name, value), { code: "INVALID_ARGUMENT", details: { setting: name } }, name);
  }
  assert.equal(checkTopicSetting("segmentBytes", 64 * GiB), 64 * GiB);
  assert.equal(checkTopicSetting("segmentBytes", KiB), KiB);
  assert.equal(checkTopicSetting("maxRecordBytes", recordMaxBytes), recordMaxBytes);
});

const refused: readonly (readonly [TopicSettingName, unknown, RegExp])[] = [
  ["retentionMs", "7d", /^Cannot set retentionMs to "7d": it isn't a whole number of milliseconds, or unlimited$/],
  ["retentionMs", 1.5, /whole number/],
  ["retentionMs", null, /^Cannot set retentionMs to null: /],
  ["retentionMs", Number.NaN, /whole number/],
  ["retentionMs", 0, /^Cannot set retentionMs to 0: it is less than 1ms$/],
  ["segmentBytes", "unlimited", /^Cannot set segmentBytes to "unlimited": it isn't a whole number of bytes$/],
  ["segmentBytes", 1, /^Cannot set segmentBytes to 1: it is less than 1KiB$/],
  ["segmentBytes", 1e15, /it is more than 64GiB$/],
  ["compression", "brotli", /it is none of producer, none, gzip, snappy, lz4, zstd$/],
  ["compression", 1, /it is none of/],
  ["cleanup", undefined, /it is none of delete, compact, both$/],
  ["deepCheck", "true", /^Cannot set deepCheck to "true": it is neither true nor false$/],
  ["timestampType", "x".repeat(1000), /^.{0,200}$/s],
];

test("a value of another kind or beyond is refused, and told why", () => {
  for (const [name, value, message] of refused) {
    assert.throws(() => checkTopicSetting(name, value), { code: "INVALID_ARGUMENT", message, details: { setting: name } });
  }
});

test("text on a command line takes units, and is refused as a wrong value is", () => {
  assert.equal(parseTopicSetting("retentionMs", "7d"), 7 * dayMs);
  assert.equal(parseTopicSetting("retentionMs", "500"), 500);
  assert.equal(parseTopicSetting("retentionMs", "unlimited"), "unlimited");
  assert.equal(parseTopicSetting("segmentBytes", "64MiB"), 64 * MiB);
  assert.equal(parseTopicSetting("deepCheck", "true"), true);
  assert.equal(parseTopicSetting("deepCheck", "false"), false);
  assert.equal(parseTopicSetting("compression", "gzip"), "gzip");
  for (const [name, text] of [
    ["retentionMs", "7x"],
    ["retentionMs", ""],
    ["segmentBytes", "7d"],
    ["segmentBytes", "unlimited"],
    ["deepCheck", "yes"],
    ["cleanup", "true"],
  ] as const) {
    assert.throws(() => parseTopicSetting(name, text), { code: "INVALID_ARGUMENT", details: { setting: name } }, text);
  }
});

test("an unknown name is refused with the nearest known one, and what every object has is no setting", () => {
  assert.throws(() => checkTopicSettingName("retentionMS"), {
    code: "INVALID_ARGUMENT",
    message: 'Cannot set "retentionMS": topics have no such setting',
    hint: "Did you mean retentionMs?",
    details: { setting: "retentionMS" },
  });
  assert.throws(() => checkTopicSettingName("max.message.bytes"), { hint: /^There are retentionMs, / });
  for (const name of ["toString", "__proto__", "constructor", ""])
    assert.throws(() => checkTopicSettingName(name), { code: "INVALID_ARGUMENT" });
});

test("values are shown in the largest unit that divides them", () => {
  assert.equal(formatTopicSetting("retentionMs", 7 * dayMs), "7d");
  assert.equal(formatTopicSetting("retentionMs", 1500), "1500ms");
  assert.equal(formatTopicSetting("retentionMs", "unlimited"), "unlimited");
  assert.equal(formatTopicSetting("segmentBytes", 64 * MiB), "64MiB");
  assert.equal(formatTopicSetting("deepCheck", false), "false");
});
