import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import { lineOf, listFiles, parseSourceCode, readSourceCode, repository, type SourceCode } from "./source-code.ts";

/** Small rules that no compiler and no linter of ours holds. What each is for stands in its message. */

const fileMaxLines = 600;

describe("house rules", () => {
  const everywhere = listFiles("{src,sim,test,bench,examples,tools}/**/*.ts").filter((path) => !path.includes("/gen/"));

  test("nothing is left to do in the code", () => {
    // Written in two parts, so that this file doesn't report itself.
    const marks = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX"].join("|")})\\b`);
    assert.deepEqual(
      everywhere.flatMap((path) => linesThatMatch(path, read(path), marks)),
      [],
    );
  });

  test(`no file in src has more than ${fileMaxLines} lines`, () => {
    const files = everywhere.filter((path) => path.startsWith("src/") && !path.endsWith(".test.ts"));
    const lengths = files.map((path) => [path, read(path).split("\n").length - 1] as const);
    assert.deepEqual(
      lengths.filter(([, length]) => length > fileMaxLines),
      [],
    );
  });

  test("a file is called what its noun is called", () => {
    assert.deepEqual(
      everywhere.filter((path) => /^(?:utils?|helpers?|types?|common|core|manager)\b/.test(basename(path))),
      [],
    );
    assert.deepEqual(
      everywhere.filter((path) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test)?\.ts$/.test(basename(path))),
      [],
    );
  });

  test("no file needs more than its types erased", () => {
    assert.deepEqual(
      everywhere.flatMap((path) => notErasable(readSourceCode(path))),
      [],
    );
    const made = parseSourceCode("x.ts", 'declare const a: "enum A {";\nconst enum B {}\nnamespace C.D {}\n// enum E {}');
    assert.deepEqual(notErasable(made), ["x.ts:2: enum B {", "x.ts:3: namespace C.D {"]);
  });

  test("a hook stands in a suite: all files run in one process, and one outside would run for the tests of every file", () => {
    assert.deepEqual(
      everywhere.flatMap((path) => hooksOutside(readSourceCode(path))),
      [],
    );
    const made = parseSourceCode("x.ts", "beforeEach(() => {});\ndescribe('a', () => {\n  afterEach(() => {});\n});");
    assert.deepEqual(hooksOutside(made), ["x.ts:1: beforeEach("]);
  });

  test("no lockfile names an address that a package came from, and each has a checksum for every package", () => {
    const lockfiles = listFiles("package-lock.json", "{tools,examples,sim,bench}/**/package-lock.json");
    assert.ok(lockfiles.length >= 3);
    for (const path of lockfiles) {
      const lockfile = JSON.parse(read(path)) as { packages: Record<string, { resolved?: string; integrity?: string }> };
      const packages = Object.entries(lockfile.packages).filter(([name]) => name !== "");
      assert.deepEqual(
        packages.filter(([, { resolved }]) => resolved !== undefined),
        [],
        path,
      );
      assert.deepEqual(
        packages.filter(([, { integrity }]) => integrity === undefined),
        [],
        path,
      );
    }
  });

  test("every dependency is pinned to one version", () => {
    for (const path of listFiles("package.json", "tools/*/package.json", "bench/peers/package.json")) {
      const manifest = JSON.parse(read(path)) as Record<string, Record<string, string> | undefined>;
      const wanted = ["dependencies", "optionalDependencies", "devDependencies"].flatMap((kind) =>
        Object.entries(manifest[kind] ?? {}),
      );
      assert.deepEqual(
        wanted.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
        [],
        path,
      );
    }
  });
});

function read(path: string): string {
  return readFileSync(join(repository, path), "utf8");
}

function linesThatMatch(path: string, text: string, what: RegExp): string[] {
  return text.split("\n").flatMap((line, position) => (what.test(line) ? [`${path}:${position + 1}: ${line.trim()}`] : []));
}

function notErasable({ path, code }: SourceCode): string[] {
  const found = code.matchAll(/(?<![\w$.])(?:enum|namespace)\s+[\w$.]+\s*\{/g);
  return [...found].map((match) => `${path}:${lineOf(code, match.index)}: ${match[0]}`);
}

/** A formatted file tells by indentation what stands in a suite. */
function hooksOutside({ path, code }: SourceCode): string[] {
  return [...code.matchAll(/^(?:before|after|beforeEach|afterEach)\(/gm)].map(
    (match) => `${path}:${lineOf(code, match.index)}: ${match[0]}`,
  );
}
