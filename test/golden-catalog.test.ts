import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { decodeCommand } from "../src/replica/cluster/catalog-command.ts";
import { CatalogFold } from "../src/replica/cluster/catalog-fold.ts";
import { encodeState } from "../src/replica/cluster/catalog-snapshot.ts";
import { goldenCatalogLog, goldenCatalogState } from "./golden/golden-catalog.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory).filter((name) => existsSync(join(goldenDirectory, name, "catalog.jsonl")));

describe("golden catalogs", () => {
  for (const version of versions) {
    test(`the one that ${version} wrote applies in full, and becomes the same from its start and from its snapshot`, () => {
      const log = readLog(version);
      const state = readFileSync(join(goldenDirectory, version, "catalog-state.txt"), "utf8").trimEnd();
      const fold = new CatalogFold(0);
      for (const [offset, value] of log.entries()) {
        const folded = fold.fold({ offset, value });
        const isExpected =
          folded === undefined || folded.outcome.kind === "applied" || folded.command?.kind === "raise-version";
        assert.ok(isExpected, value.toString());
      }
      assert.deepEqual(JSON.parse(encodeState(fold.state)), JSON.parse(state));
      assert.equal(fold.divergenceCount, 0);
      const snapshotOffset = fold.snapshotOffset ?? 0;
      const late = new CatalogFold(snapshotOffset);
      for (const [at, value] of log.slice(snapshotOffset).entries()) late.fold({ offset: snapshotOffset + at, value });
      assert.equal(encodeState(late.state), encodeState(fold.state));
    });
  }

  test(`what ${packageManifest.version} writes is byte for byte what was written before`, () => {
    const log = goldenCatalogLog();
    assert.deepEqual(log.map(String), readLog(packageManifest.version).map(String));
    const path = join(goldenDirectory, packageManifest.version, "catalog-state.txt");
    assert.equal(`${goldenCatalogState(log)}\n`, readFileSync(path, "utf8"));
  });

  test("they hold each kind of command that there is", () => {
    const page = readFileSync(join(import.meta.dirname, "..", "docs", "catalog.md"), "utf8");
    const kinds = new Set<string | undefined>(goldenCatalogLog().map((value) => decodeCommand(value).kind));
    const described = [...page.matchAll(/^\| `([a-z]+-[a-z]+)` \|/gm)].map(([, kind]) => kind);
    assert.equal(described.length, kinds.size);
    assert.deepEqual(new Set<string | undefined>(described), kinds);
  });
});

function readLog(version: string): Buffer[] {
  const text = readFileSync(join(goldenDirectory, version, "catalog.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => Buffer.from(line));
}
