import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { readFile } from "../src/replica/group/hard-state-file.ts";
import { goldenStorageId, writeGoldenHardStates } from "./golden/golden-hard-states.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory).filter((name) => existsSync(join(goldenDirectory, name, "hard-state")));

describe("golden hard states", () => {
  for (const version of versions) {
    test(`those that ${version} wrote are read in full`, () => {
      const path = join(goldenDirectory, version, "hard-state");
      const bytes = readFileSync(path);
      const middle = bytes.length / 2;
      const { states, repairedCount, cutBytes } = readFile(
        path,
        [bytes.subarray(0, middle), bytes.subarray(middle)],
        goldenStorageId,
      );
      assert.deepEqual(JSON.parse(JSON.stringify([...states])), JSON.parse(readFileSync(`${path}.json`, "utf8")));
      assert.deepEqual([repairedCount, cutBytes], [0, 0]);
    });
  }

  test(`what ${packageManifest.version} writes is byte for byte what was written before`, async () => {
    assert.deepEqual(await writeGoldenHardStates(), readFileSync(join(goldenDirectory, packageManifest.version, "hard-state")));
  });
});
