import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import type { Codec } from "./codec.ts";
import { checkFunctions, OptionalCodec } from "./optional-codec.ts";

const codec: Codec = { compress: (body) => body, inflate: (body) => ({ body, consumedBytes: body.length }) };

test("a codec is loaded when it is first asked for, and once", () => {
  let loads = 0;
  const optional = new OptionalCodec("some-codec", () => {
    loads += 1;
    return codec;
  });
  assert.equal(loads, 0);
  assert.equal(optional.get(), codec);
  assert.equal(optional.get(), codec);
  assert.equal(loads, 1);
});

test("a package that isn't installed is named with what to do, and looked for once", () => {
  let loads = 0;
  const optional = new OptionalCodec("no-such-codec", () => {
    loads += 1;
    return createRequire(import.meta.url)("no-such-codec") as Codec;
  });
  const found = optional.get();
  assert.ok("reason" in found);
  assert.equal(found.reason, "the package no-such-codec, which isn't installed");
  assert.equal(found.hint, "Install it beside proglog and start again: npm install no-such-codec");
  assert.equal(optional.get(), found);
  assert.equal(loads, 1);
});

test("a package that is there and doesn't load says why, in a line", () => {
  const broken = new OptionalCodec("some-codec", () => {
    throw new Error("Cannot find native binding.\nRequire stack: …");
  });
  const found = broken.get();
  assert.ok("reason" in found);
  assert.equal(found.reason, "the package some-codec, which can't be loaded (Cannot find native binding.)");
});

test("a package without the functions that are used is refused", () => {
  type Wanted = { readonly compressSync: () => void };
  const loaded: Wanted = { compressSync: () => {} };
  assert.equal(checkFunctions<Wanted>(loaded, ["compressSync"]), loaded);
  for (const wrong of [undefined, null, 1, {}, { compressSync: 1 }])
    assert.throws(() => checkFunctions<Wanted>(wrong, ["compressSync"]), /it has no function compressSync/);
});
