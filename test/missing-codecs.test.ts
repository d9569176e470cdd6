import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { repository } from "./source-code.ts";

/**
 * What a user sees who didn't install the optional packages of snappy and LZ4. What is loaded once stays loaded, so it is a
 * process of its own, which can't find them.
 */
describe("without the packages of snappy and LZ4", () => {
  const preload = `
    import { registerHooks } from "node:module";
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier !== "snappy" && specifier !== "lz4-napi") return next(specifier, context);
        throw Object.assign(new Error("Cannot find module '" + specifier + "'"), { code: "MODULE_NOT_FOUND" });
      },
    });`;
  const script = `
    const from = (path) => import(new URL(path, ${JSON.stringify(pathToFileURL(join(repository, "/")).href)}));
    const { openMemoryLog } = await from("src/log/index.ts");
    const { checkBatch } = await from("src/batch/check-batch.ts");
    const { changeSettings } = await from("src/replica/effective-settings.ts");
    const { parseConfig } = await from("src/server/index.ts");
    const seen = {};
    const note = async (what, action) => {
      const error = await action().then(() => undefined, (thrown) => thrown);
      seen[what] = error && { code: error.code, message: error.message, hint: error.hint, details: error.details };
    };
    await note("open", async () => openMemoryLog({ compression: "snappy" }));
    await note("open packing anew", async () => openMemoryLog({ batchCompression: "lz4" }));
    await note("setting", async () => changeSettings({}, { compression: "snappy" }));
    await note("config", async () => parseConfig({ flags: { compression: "lz4" } }));
    await using log = await openMemoryLog();
    await note("append", async () => log.append({ value: "x" }, { compression: "lz4" }));
    const foreign = Buffer.from(process.argv[1], "base64");
    await note("deep", async () => checkBatch(foreign, { deep: true }));
    await note("taken", async () => log.appendBatch(foreign));
    await log.append({ value: "behind it" });
    await note("read", async () => log.read(0));
    seen.next = String((await log.read(3)).value);
    console.log(JSON.stringify(seen));`;
  let seen: Readonly<Record<string, Record<string, unknown>>> = {};

  before(async () => {
    const foreign = readFileSync(join(import.meta.dirname, "foreign-batches/java-snappy.bin")).toString("base64");
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const argv = [
      "--import",
      `data:text/javascript,${encodeURIComponent(preload)}`,
      "--input-type=module",
      "-e",
      script,
      foreign,
    ];
    const { stdout } = await promisify(execFile)(process.execPath, argv, { env });
    seen = JSON.parse(stdout);
  });

  const hint = (name: string): string => `Install it beside proglog and start again: npm install ${name}`;

  test("a log doesn't open that would pack by them, and the error says what to install", () => {
    assert.deepEqual(seen["open"], {
      code: "UNSUPPORTED_COMPRESSION",
      message: 'Cannot open a log with compression "snappy": snappy needs the package snappy, which isn\'t installed',
      hint: hint("snappy"),
      details: { compression: "snappy", package: "snappy" },
    });
  });

  test("nor one that would pack anew by them, and no topic is set to them", () => {
    const open = 'Cannot open a log with batchCompression "lz4": lz4 needs the package lz4-napi, which isn\'t installed';
    assert.equal(seen["open packing anew"]?.["message"], open);
    const set = "Cannot set compression to snappy: snappy needs the package snappy, which isn't installed";
    assert.equal(seen["setting"]?.["message"], set);
  });

  test("a node doesn't start that is configured for them", () => {
    assert.deepEqual(seen["config"], {
      code: "UNSUPPORTED_COMPRESSION",
      message: "Cannot use --compression lz4: lz4 needs the package lz4-napi, which isn't installed",
      hint: hint("lz4-napi"),
      details: { compression: "lz4", package: "lz4-napi" },
    });
  });

  test("an append that asks for them is refused, and appends nothing", () => {
    assert.deepEqual(seen["append"], {
      code: "UNSUPPORTED_COMPRESSION",
      message: "Cannot compress the batch: lz4 needs the package lz4-napi, which isn't installed",
      hint: hint("lz4-napi"),
      details: { compression: "lz4", package: "lz4-napi" },
    });
  });

  test("a batch of somebody else's is taken, unless it is to be checked deep", () => {
    assert.equal(seen["taken"], undefined);
    assert.equal(seen["deep"]?.["code"], "UNSUPPORTED_COMPRESSION");
  });

  test("reading it says what to install and where to go on, and what follows is read", () => {
    const { message, ...rest } = seen["read"] ?? {};
    assert.match(
      String(message),
      /^Cannot decode the batch of offsets 0 to 2: snappy needs the package snappy, which isn't installed$/,
    );
    assert.deepEqual(rest, {
      code: "UNDECODABLE_BATCH",
      hint: `${hint("snappy")}; or go on reading at offset 3.`,
      details: { compression: "snappy", package: "snappy", baseOffset: 0, nextOffset: 3 },
    });
    assert.equal(seen["next"], "behind it");
  });
});
