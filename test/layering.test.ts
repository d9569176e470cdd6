import assert from "node:assert/strict";
import { isBuiltin } from "node:module";
import { posix } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { type Import, lineOf, listFiles, parseSourceCode, readSourceCode, type SourceCode } from "./source-code.ts";

/**
 * The rooms under src/, in the order in which a record travels, and what each may import besides itself: a room, one file of
 * a room, its types alone, or /a file of the repository. An import may only point down. A file that stands in src/ itself is an
 * entry of the package and may import the `index.ts` of any room.
 */
const rooms: Readonly<Record<string, Room>> = {
  cli: {
    mayImport: [
      "client/index.ts",
      "server/index.ts",
      "backup/index.ts",
      "wire/backup-message.ts",
      "wire/json-record.ts",
      "wire/problem.ts",
      "wire/starting-point.ts",
      "log/inspect.ts",
      "log/repair.ts",
      "replica/inspect.ts",
      "server/tls/revocation-list.ts",
      "base",
      "/package.json", // for the version
    ],
    packages: ["commander"],
  },
  client: { mayImport: ["wire", "grpc", "batch", "base"], isPure: true },
  server: {
    mayImport: ["replica", "wire", "grpc", "batch", "base"],
    packages: ["casbin", "fastify", "jose", "pino", "prom-client"],
  },
  backup: { mayImport: ["wire", "log", "batch", "base"], isPure: true },
  wire: { mayImport: ["batch", "base"], mayImportTypesOf: ["raft"], packages: ["@bufbuild/protobuf"] },
  // Sockets and HTTP/2 are what it is made of; time and randomness are handed in.
  grpc: { mayImport: ["base"], isPure: true, builtins: ["http2", "net", "stream", "tls"] },
  replica: { mayImport: ["raft", "log", "batch", "base"], isPure: true },
  raft: { mayImport: ["base"], isPure: true, hasNoBuiltins: true },
  log: { mayImport: ["batch", "base"], isPure: true },
  batch: { mayImport: ["base"], isPure: true, packages: ["@node-rs/crc32", "lz4-napi", "snappy"] },
  base: { mayImport: [], packages: ["koffi"] },
};

interface Room {
  readonly mayImport: readonly string[];
  readonly mayImportTypesOf?: readonly string[];
  /** npm packages, each loaded only where it is used. */
  readonly packages?: readonly string[];
  /** Time, randomness, disk and network are handed in. */
  readonly isPure?: boolean;
  readonly hasNoBuiltins?: boolean;
  /** What a pure room may import of Node besides what only computes. */
  readonly builtins?: readonly string[];
}

/** The files that touch the file system. In base the disk, its lock, and certificates; above, what reads a file of its own. */
const filesThatImportFs: readonly string[] = [
  ...["src/base/node-disk.ts", "src/base/lock-file.ts", "src/base/file-system.ts", "src/base/credential-file.ts"],
];

const builtinsThatArePurelyComputing = new Set(["buffer", "crypto", "events", "module", "path", "util", "util/types", "zlib"]);

/** Each of these asks the world for the time, a number or a turn. */
const impureCode =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\bperformance\.now\b|\bhrtime\b|(?<!\.)\b(?:setTimeout|setInterval|setImmediate)\b|\b(?:randomBytes|randomUUID|randomInt|randomFill|getRandomValues)\b/g;

describe("layering", () => {
  test("every import in src points down", () => {
    const files = listFiles("src/**/*.ts").map(readSourceCode);
    const forTests = filesForTests(files);
    const violations = files
      .filter(({ path }) => !isTest(path))
      .flatMap((source) => violationsOf(source, forTests.has(source.path) ? Object.keys(packageManifest.devDependencies) : []));
    assert.deepEqual(violations, []);
  });

  test("every folder in src is a room of the table", () => {
    const folders = new Set(listFiles("src/*/**/*.ts").map((path) => path.split("/")[1]));
    assert.deepEqual(
      [...folders].filter((folder) => folder === undefined || !(folder in rooms)),
      [],
    );
  });

  test("the rooms of the table form a ladder", () => {
    const names = Object.keys(rooms);
    for (const [position, name] of names.entries())
      for (const target of (rooms[name]?.mayImport ?? []).filter((allowed) => !allowed.startsWith("/")))
        assert.ok(names.indexOf(target.split("/")[0] ?? "") > position, `${name} stands above ${target}`);
  });

  test("the package declares every package that a room may import, and nothing else", () => {
    const { dependencies, optionalDependencies, peerDependencies } = packageManifest;
    const declared = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
    assert.deepEqual(
      declared.sort(),
      Object.values(rooms)
        .flatMap((room) => room.packages ?? [])
        .sort(),
    );
  });
});

describe("what the layering check reports", () => {
  const cases: readonly (readonly [path: string, source: string, expected: string])[] = [
    ["src/log/x.ts", 'import { a } from "../raft/a.ts";', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", '\nimport type { A } from "../server/a.ts";', "src/log/x.ts:2: log may not import ../server/a.ts"],
    ["src/log/x.ts", 'import {\n  a,\n} from "../raft/a.ts";', "src/log/x.ts:3: log may not import ../raft/a.ts"],
    ["src/log/x.ts", 'export * from "../raft/a.ts";', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", 'export type { A } from "../raft/a.ts";', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", 'import "../raft/a.ts";', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", 'const a = `${await import("../raft/a.ts")}`;', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", 'let a: typeof import("../raft/a.ts");', "src/log/x.ts:1: log may not import ../raft/a.ts"],
    ["src/log/x.ts", "await import(name);", "src/log/x.ts:1: log may not import what is computed"],
    ["src/log/x.ts", 'import { a } from "../../test/a.ts";', "src/log/x.ts:1: log may not import ../../test/a.ts"],
    ["src/log/deep/x.ts", 'import { a } from "../../raft/a.ts";', "src/log/deep/x.ts:1: log may not import ../../raft/a.ts"],
    ["src/cli/x.ts", 'import { a } from "../log/log.ts";', "src/cli/x.ts:1: cli may not import ../log/log.ts"],
    ["src/wire/x.ts", 'import { a } from "../raft/a.ts";', "src/wire/x.ts:1: wire may not import ../raft/a.ts"],
    ["src/wire/x.ts", 'import { type A } from "../raft/a.ts";', "src/wire/x.ts:1: wire may not import ../raft/a.ts"],
    ["src/log/x.ts", 'require("../../package.json");', "src/log/x.ts:1: log may not import ../../package.json"],
    ["src/index.ts", 'export * from "./log/store.ts";', "src/index.ts:1: an entry may not import ./log/store.ts"],
    ["src/log/x.ts", 'import { pino } from "pino";', "src/log/x.ts:1: log may not import pino"],
    ["src/base/x.ts", 'createRequire(import.meta.url)("pino");', "src/base/x.ts:1: base may not import pino"],
    ["src/log/x.ts", 'import fs from "node:fs/promises";', "src/log/x.ts:1: log may not import node:fs/promises"],
    ["src/base/x.ts", 'import fs from "node:fs";', "src/base/x.ts:1: base may not import node:fs"],
    ["src/client/x.ts", 'import net from "net";', "src/client/x.ts:1: client may not import net"],
    ["src/grpc/x.ts", 'import { createServer } from "node:http";', "src/grpc/x.ts:1: grpc may not import node:http"],
    ["src/grpc/x.ts", "setTimeout(run, 10);", "src/grpc/x.ts:1: grpc may not use setTimeout"],
    ["src/log/x.ts", 'process.getBuiltinModule("node:fs");', "src/log/x.ts:1: log may not import node:fs"],
    ["src/raft/x.ts", 'import { join } from "node:path";', "src/raft/x.ts:1: raft may not import node:path"],
    ["src/log/x.ts", 'const a = /[/*"]/;\nconst b = Date.now();', "src/log/x.ts:2: log may not use Date.now"],
    ["src/replica/x.ts", "setTimeout(run, 10);", "src/replica/x.ts:1: replica may not use setTimeout"],
    ["src/batch/x.ts", "const a = 1 / 2; Math.random(); // 3 /", "src/batch/x.ts:1: batch may not use Math.random"],
  ];
  for (const [path, source, expected] of cases)
    test(expected.replace(/:\d+:/, ":") + `, as in ${JSON.stringify(source)}`, () => {
      assert.deepEqual(violationsOf(parseSourceCode(path, source)), [expected]);
    });

  const fine: readonly (readonly [path: string, source: string])[] = [
    ["src/log/x.ts", 'import { a } from "../batch/a.ts";\nimport type { B } from "./b.ts";\nexport { c } from "../base/c.ts";'],
    ["src/wire/x.ts", 'import type { A } from "../raft/a.ts";'],
    ["src/cli/x.ts", 'import { a } from "../server/index.ts";\nawait import("../log/repair.ts");\nimport fs from "node:net";'],
    ["src/index.ts", 'export * from "./log/index.ts";'],
    ["src/log/x.ts", '// import "../raft/a.ts"\n/* Date.now() */ const a = "import(\'../raft/a.ts\'); Date.now()";'],
    ["src/log/x.ts", 'const a = `import "../raft/a.ts" ${clock.setTimeout} Math.random()`;'],
    ["src/base/x.ts", "Date.now(); setTimeout(run, 1);"],
  ];
  for (const [path, source] of fine)
    test(`nothing in ${path} for ${JSON.stringify(source)}`, () => {
      assert.deepEqual(violationsOf(parseSourceCode(path, source)), []);
    });
});

const isTest = (path: string): boolean => path.endsWith(".test.ts");

/** Files that only tests import, or other such files: they never leave the checkout, and may use what it brings for tests. */
function filesForTests(files: readonly SourceCode[]): Set<string> {
  const importers = new Map<string, string[]>();
  for (const { path, imports } of files)
    for (const { specifier } of imports)
      if (specifier?.startsWith(".")) {
        const target = posix.join(posix.dirname(path), specifier);
        importers.set(target, [...(importers.get(target) ?? []), path]);
      }
  const found = new Set<string>();
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [path, from] of importers)
      if (from.every((importer) => isTest(importer) || found.has(importer))) found.add(path);
  }
  return found;
}

function violationsOf(source: SourceCode, packagesForTests: readonly string[] = []): string[] {
  const [, name = "", inRoom] = /^src\/(?:([^/]+)\/)?(.+)$/.exec(source.path) ?? [];
  const room = inRoom === undefined ? undefined : rooms[name];
  const found = source.imports
    .filter((imported) => !mayImport(source.path, name, imported) && !packagesForTests.includes(imported.specifier ?? ""))
    .map(({ specifier = "what is computed", line }) => ({ line, what: `import ${specifier}` }));
  if (room?.isPure === true)
    for (const match of source.code.matchAll(impureCode))
      found.push({ line: lineOf(source.code, match.index), what: `use ${match[0]}` });
  return found.map(({ line, what }) => `${source.path}:${line}: ${name === "" ? "an entry" : name} may not ${what}`);
}

function mayImport(path: string, name: string, { specifier, isTypeOnly }: Import): boolean {
  if (specifier === undefined) return false;
  const room = rooms[name];
  if (specifier.startsWith(".")) {
    const target = posix.join(posix.dirname(path), specifier);
    const [top, targetRoom = "", ...rest] = target.split("/");
    if (top !== "src") return room?.mayImport.includes(`/${target}`) === true;
    if (room === undefined) return rest.join("/") === "index.ts";
    if (targetRoom === name) return true;
    if (room.mayImport.includes(targetRoom) || room.mayImport.includes([targetRoom, ...rest].join("/"))) return true;
    return isTypeOnly && room.mayImportTypesOf?.includes(targetRoom) === true;
  }
  if (isBuiltin(specifier)) {
    const builtin = specifier.replace(/^node:/, "");
    if (room?.hasNoBuiltins === true) return false;
    if (/^fs(\/|$)/.test(builtin)) return filesThatImportFs.includes(path);
    return room?.isPure !== true || builtinsThatArePurelyComputing.has(builtin) || room.builtins?.includes(builtin) === true;
  }
  const packageName = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  return room?.packages?.includes(packageName) === true;
}
