import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { decodeNodeRecord, encodeNodeRecord } from "../src/replica/cluster/node-record-state.ts";
import { goldenNodeRecord, nodeRecordAsJson } from "./golden/golden-node-record.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory).filter((name) => existsSync(join(goldenDirectory, name, "node-record")));

describe("golden node records", () => {
  for (const version of versions) {
    test(`the one that ${version} wrote is read in full`, () => {
      const path = join(goldenDirectory, version, "node-record");
      const read = nodeRecordAsJson(decodeNodeRecord(readFileSync(path), path));
      // By way of JSON, which leaves out what is undefined.
      assert.deepEqual(JSON.parse(JSON.stringify(read)), JSON.parse(readFileSync(`${path}.json`, "utf8")));
    });
  }

  test(`what ${packageManifest.version} writes is byte for byte what was written before`, () => {
    const path = join(goldenDirectory, packageManifest.version, "node-record");
    assert.deepEqual(encodeNodeRecord(goldenNodeRecord), readFileSync(path));
    assert.deepEqual(decodeNodeRecord(readFileSync(path), path), goldenNodeRecord);
  });
});
