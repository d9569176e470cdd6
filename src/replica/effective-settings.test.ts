import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isProglogError } from "../base/error.ts";
import {
  type TopicSettingChanges,
  type TopicSettingDefinition,
  topicSettingDefinitions,
  topicSettingNames,
} from "../base/topic-settings.ts";
import { dayMs, MiB } from "../base/units.ts";
import { compressions } from "../batch/compression.ts";
import { resolveOptions } from "../log/log-options.ts";
import { changeSettings, effectiveSettings, logOptionsOf, type SettingsOfTopic } from "./effective-settings.ts";

const defaults = Object.fromEntries(topicSettingNames.map((name) => [name, topicSettingDefinitions[name].default]));

test("what isn't set is as the node has it, and where the node says nothing, as the table has it", () => {
  assert.deepEqual(effectiveSettings({}, {}), defaults);
  const node = { retentionMaxAgeMs: dayMs, segmentMaxBytes: MiB, compression: "gzip" } as const;
  assert.deepEqual(effectiveSettings({}, node), { ...defaults, retentionMs: dayMs, segmentBytes: MiB });
  const own = { retentionMs: "unlimited", deepCheck: true, segmentMs: 5_000 };
  assert.deepEqual(effectiveSettings(own, node), { ...defaults, ...own, segmentBytes: MiB });
  assert.deepEqual(effectiveSettings({}, { retentionMaxBytes: Number.POSITIVE_INFINITY }), defaults);
});

test("a log with the table's defaults is one with its own", () => {
  assert.deepEqual(resolveOptions(logOptionsOf({}, {})), resolveOptions({}));
});

test("whatever the table takes, a log takes", () => {
  for (const name of topicSettingNames) {
    const { min, max, mayBeUnlimited, choices, kind }: TopicSettingDefinition = topicSettingDefinitions[name];
    const values = [min, max, mayBeUnlimited === true ? "unlimited" : undefined, ...(choices ?? [])];
    for (const value of kind === "flag" ? [true, false] : values) {
      if (value !== undefined) resolveOptions(logOptionsOf({ [name]: value }, {}));
    }
  }
});

test("the table knows every codec that there is", () => {
  assert.deepEqual(topicSettingDefinitions.compression.choices, ["producer", ...compressions]);
});

test("a topic's codec is that of all it stores; left to producers, single records are packed as the node says", () => {
  const codecs = (own: object, node: object) => {
    const { compression, batchCompression } = logOptionsOf({ ...own }, node);
    return [compression, batchCompression];
  };
  assert.deepEqual(codecs({}, {}), ["none", "producer"]);
  assert.deepEqual(codecs({}, { compression: "gzip" }), ["gzip", "producer"]);
  assert.deepEqual(codecs({ compression: "producer" }, { compression: "gzip" }), ["gzip", "producer"]);
  assert.deepEqual(codecs({ compression: "zstd" }, { compression: "gzip" }), ["zstd", "zstd"]);
  assert.deepEqual(codecs({ compression: "none" }, { compression: "gzip" }), ["none", "none"]);
});

test("changes set and take back, and leave the others as they were", () => {
  const own = { retentionMs: 5, segmentBytes: 4096 };
  assert.deepEqual(changeSettings(own, { retentionMs: null, deepCheck: true }), { segmentBytes: 4096, deepCheck: true });
  assert.deepEqual(own, { retentionMs: 5, segmentBytes: 4096 });
  assert.deepEqual(changeSettings(own, { cleanup: null }), own);
  assert.deepEqual(changeSettings(own, { retentionMs: "unlimited" }), { retentionMs: "unlimited", segmentBytes: 4096 });
  for (const changes of [{ retentionMs: 0 }, { retentionMS: 1 }, { retentionMS: null }, { deepCheck: 1 }, { toString: null }]) {
    assert.throws(
      () => changeSettings(own, changes as TopicSettingChanges),
      { code: "INVALID_ARGUMENT" },
      JSON.stringify(changes),
    );
  }
});

test("whatever is asked for is refused with its setting named, or is what logs can go by", () => {
  const values = fc.oneof(
    fc.jsonValue(),
    fc.maxSafeInteger(),
    fc.constantFrom("unlimited", "producer", "gzip", "append", "both", true, null, 0, 1, 2 ** 53),
  );
  const names = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...topicSettingNames) }, fc.string());
  let takenCount = 0;
  fc.assert(
    fc.property(fc.dictionary(names, values, { maxKeys: 3 }), (changes) => {
      let settings: SettingsOfTopic;
      try {
        settings = changeSettings({ retentionMs: 5 }, changes);
      } catch (error) {
        assert(isProglogError(error), String(error));
        assert(Object.hasOwn(changes, String(error.details["setting"])) || String(error.details["setting"]).length === 64);
        return;
      }
      takenCount += 1;
      resolveOptions(logOptionsOf(JSON.parse(JSON.stringify(settings)) as SettingsOfTopic, {}));
    }),
    { seed: 1, numRuns: 2_000 },
  );
  assert(takenCount > 100);
});

test("what a later version set is kept, means nothing, and can be taken back but not set", () => {
  const own = { tierMs: 5, retentionMs: 7 };
  assert.deepEqual(effectiveSettings(own, {}), { ...defaults, retentionMs: 7 });
  assert.equal(logOptionsOf(own, {}).retentionMaxAgeMs, 7);
  assert.deepEqual(changeSettings(own, { deepCheck: true }), { tierMs: 5, retentionMs: 7, deepCheck: true });
  assert.deepEqual(changeSettings(own, { tierMs: null } as TopicSettingChanges), { retentionMs: 7 });
  assert.throws(() => changeSettings(own, { tierMs: 6 } as TopicSettingChanges), { code: "INVALID_ARGUMENT" });
});

test("a value that this version doesn't know is no reason to go by a default", () => {
  const own = { retentionMs: "for a week", deepCheck: true };
  assert.throws(() => logOptionsOf(own, {}), { code: "UNSUPPORTED_FORMAT", details: { setting: "retentionMs" } });
  assert.equal(logOptionsOf(changeSettings(own, { retentionMs: null }), {}).deepCheck, true);
});

test("any codec can be set, where the optional packages are installed", () => {
  for (const compression of compressions) assert.deepEqual(changeSettings({}, { compression }), { compression });
  assert.deepEqual(changeSettings({ compression: "gzip" }, { compression: "producer" }), { compression: "producer" });
});
