import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../source-code.ts";
import { referencePages } from "./pages.ts";

/** Writes docs/reference-*.md anew: `make reference`. With `--check` it only says whether that is needed: `make check`. */
for (const [name, text] of Object.entries(await referencePages())) {
  const path = join(repository, name);
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`${name} isn't what the source says: run \`make reference\``);
    process.exitCode = 1;
  }
}
