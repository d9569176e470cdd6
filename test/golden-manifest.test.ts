import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { topicSettingNames } from "../src/base/topic-settings.ts";
import { decodeManifest, encodeManifest } from "../src/log/manifest.ts";
import { changeSettings, logOptionsOf } from "../src/replica/effective-settings.ts";
import { goldenManifest } from "./golden/golden-manifest.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory).filter((name) => existsSync(join(goldenDirectory, name, "manifest")));

describe("golden manifests", () => {
  for (const version of versions) {
    test(`the one that ${version} wrote is read in full`, () => {
      const path = join(goldenDirectory, version, "manifest");
      const read = decodeManifest(readFileSync(path), path);
      assert.deepEqual(read, JSON.parse(readFileSync(`${path}.json`, "utf8")));
      for (const { settings } of read.topics) logOptionsOf(settings, {});
    });
  }

  test(`what ${packageManifest.version} writes is byte for byte what was written before`, () => {
    assert.deepEqual(encodeManifest(goldenManifest), readFileSync(join(goldenDirectory, packageManifest.version, "manifest")));
  });

  test("they hold each setting that there is, and one that there isn't yet", () => {
    const settings = goldenManifest.topics[0]?.settings ?? {};
    assert.deepEqual(Object.keys(settings), [...topicSettingNames, "ofALaterVersion"]);
    assert.deepEqual(changeSettings(settings, { deepCheck: null })["ofALaterVersion"], { note: "kept as it is" });
  });
});
