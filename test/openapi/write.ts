import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../source-code.ts";
import { servedDocument } from "./served-document.ts";

/** Writes docs/openapi.json anew: `make openapi`. With `--check` it only says whether that is needed: `make check`. */
const path = join(repository, "docs/openapi.json");
const text = await servedDocument();
if (!process.argv.includes("--check")) writeFileSync(path, text);
else if (readFileSync(path, "utf8") !== text) {
  console.error("docs/openapi.json isn't what the node serves: run `make openapi`");
  process.exitCode = 1;
}
