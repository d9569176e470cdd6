import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  formatTopicSetting,
  type TopicSettingDefinition,
  topicSettingDefinitions,
  type TopicSettingName,
  topicSettingNames,
} from "../src/base/topic-settings.ts";
import { configKeys } from "../src/server/index.ts";
import { repository } from "./source-code.ts";

test("docs/operating.md has the table of topic settings as the code has it", () => {
  const page = readFileSync(join(repository, "docs/operating.md"), "utf8");
  const table = [
    "| setting | value | default | |\n|---|---|---|---|\n",
    ...topicSettingNames.map((name) => `| ${rowOf(name).join(" | ")} |\n`),
  ].join("");
  assert(page.includes(`\n\n${table}\n`), `The table is to be:\n${table}`);
});

test("the flags that topics go by where they don't say are flags of the node", () => {
  for (const name of topicSettingNames) {
    const { nodeFlag, kind, min, max, default: value }: TopicSettingDefinition = topicSettingDefinitions[name];
    if (nodeFlag === undefined) continue;
    const key = configKeys.find((candidate) => `--${candidate.name}` === nodeFlag);
    assert(key !== undefined, nodeFlag);
    assert.deepEqual([key.kind, key.min, key.max, key.default ?? key.nullWord], [kind, min, max, value], name);
  }
});

function rowOf(name: TopicSettingName): string[] {
  const {
    kind,
    min,
    max,
    choices,
    mayBeUnlimited,
    default: value,
    nodeFlag,
    help,
  }: TopicSettingDefinition = topicSettingDefinitions[name];
  const range = `${formatTopicSetting(name, min)} to ${max === Number.MAX_SAFE_INTEGER ? "2^53-1" : formatTopicSetting(name, max)}`;
  const values = kind === "flag" ? "`true`, `false`" : (choices?.map((choice) => `\`${choice}\``).join(", ") ?? range);
  const standard = `\`${formatTopicSetting(name, value)}\``;
  return [
    `\`${name}\``,
    mayBeUnlimited === true ? `${values}, \`unlimited\`` : values,
    nodeFlag === undefined ? standard : `\`${nodeFlag}\` (${standard})`,
    help,
  ];
}
