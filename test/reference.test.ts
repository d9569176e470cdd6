import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { configKeys } from "../src/server/index.ts";
import { errorTable } from "../src/wire/error-table.ts";
import { listMetrics } from "./reference/metrics-page.ts";
import { referencePages } from "./reference/pages.ts";
import { listFiles, repository } from "./source-code.ts";

const read = (path: string): string => readFileSync(join(repository, path), "utf8");

describe("the reference", async () => {
  const pages = await referencePages();

  for (const [path, text] of Object.entries(pages))
    test(`${path} is what the source says (else: make reference)`, () => {
      assert.equal(read(path), text);
    });

  test("has each key, code and command once", () => {
    const rows = (path: string): readonly string[] =>
      [...(pages[path] ?? "").matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name ?? "");
    assert.deepEqual(
      rows("docs/reference-config.md"),
      configKeys.map(({ name }) => `--${name}`),
    );
    assert.deepEqual(rows("docs/reference-errors.md"), Object.keys(errorTable));
    const commands = [...(pages["docs/reference-commands.md"] ?? "").matchAll(/^## proglog ?(.*)$/gm)].map(
      ([, name]) => name ?? "",
    );
    for (const command of ["", "serve", "topics alter", "cluster status", "config show", "doctor"])
      assert.ok(commands.includes(command), command);
    assert.equal(new Set(commands).size, commands.length);
  });

  test("has every metric that the source names", () => {
    const known = new Set(listMetrics().map(({ name }) => name));
    const sources = listFiles("src/server/**/*.ts").filter((path) => !path.endsWith(".test.ts"));
    const named = sources.flatMap((path) => [...read(path).matchAll(/"((?:proglog|process)_[a-z0-9_]+)"/g)]);
    assert.ok(named.length >= known.size);
    assert.deepEqual(
      named.flatMap(([, name = ""]) => (known.has(name) ? [] : [name])),
      [],
    );
  });

  test("every metric that the documents name is one", () => {
    const known = new Set(listMetrics().map(({ name }) => name));
    const unknown = listFiles("docs/**/*.md").flatMap((path) =>
      [...read(path).matchAll(/\bproglog_[a-z0-9_]+/g)].flatMap(([name]) => {
        const isKnown = known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, ""));
        return isKnown ? [] : [`${path}: ${name}`];
      }),
    );
    assert.deepEqual(unknown, []);
  });

  test("a metric's name says what it counts: a total is a counter, and what is timed is in seconds", () => {
    for (const { name, type, help } of listMetrics()) {
      assert.equal(name.endsWith("_total"), type === "counter", name);
      if (type === "histogram") assert.match(name, /_seconds$/);
      assert.match(help, /[^.]$/, name);
    }
  });
});
