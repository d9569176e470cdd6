import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { runScript } from "./script.ts";

/** Every script of testdata/, each named after the sentence that it holds. `make raft-scripts` writes their output anew. */
describe("raft does what the papers say:", () => {
  const directory = join(import.meta.dirname, "testdata");
  const names = readdirSync(directory).filter((name) => name.endsWith(".txt"));
  const isRewriting = process.env["REWRITE"] === "1";

  for (const name of names.sort())
    test(name.replace(/\.txt$/, "").replaceAll("-", " "), () => {
      const path = join(directory, name);
      const text = readFileSync(path, "utf8");
      const output = runScript(text);
      assert.doesNotMatch(output, /^error: .* breaks /m, "an invariant doesn't hold");
      if (isRewriting) writeFileSync(path, output);
      else assert.equal(output, text);
    });
});
