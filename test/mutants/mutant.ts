import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** A rule broken on purpose: what is changed in which file, and which suites should notice. */
export interface Mutant {
  readonly id: string;
  readonly title: string;
  /** Cheapest first: names of suites.ts, or paths of test files. */
  readonly by: readonly string[];
  readonly changes: readonly Change[];
}

export interface Change {
  readonly file: string;
  /** Lines that follow each other in it, and stand there once. What they are indented by doesn't matter. */
  readonly search: readonly string[];
  readonly replace: readonly string[];
}

/**
 * The mutants of this folder's texts:
 *
 *     == L03 entries of older terms are committed by counting
 *     by scripts search
 *     in src/raft/commit.ts
 *     - the lines that are there,
 *     - one below the other
 *     + what stands in their place
 *
 * Several changes follow each other. Other lines are comments.
 */
export function readMutants(): Mutant[] {
  const names = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".txt"));
  return names.sort().flatMap((name) => parseMutants(readFileSync(join(import.meta.dirname, name), "utf8")));
}

export function parseMutants(text: string): Mutant[] {
  return text
    .split(/^== /m)
    .slice(1)
    .map((block) => parseMutant(block.split("\n")));
}

function parseMutant([head = "", ...lines]: readonly string[]): Mutant {
  const [id = "", ...words] = head.split(" ");
  const changes: { file: string; search: string[]; replace: string[] }[] = [];
  let by: string[] = [];
  let file = "";
  let before = "";
  for (const line of lines) {
    const sign = line.slice(0, 1);
    if (line.startsWith("by ")) by = line.slice(3).split(" ");
    else if (line.startsWith("in ")) file = line.slice(3).trim();
    else if (sign === "-" || sign === "+") {
      if (sign === "-" && before !== "-") changes.push({ file, search: [], replace: [] });
      changes.at(-1)?.[sign === "-" ? "search" : "replace"].push(line.slice(1).trim());
    }
    before = line.startsWith("in ") ? "" : sign;
  }
  return { id, title: words.join(" "), by, changes };
}

/** The text with the change in it. Throws when what is searched for isn't there exactly once: the code has gone on, and the mutant hasn't. */
export function applyChange(text: string, { file, search, replace }: Change): string {
  const lines = text.split("\n");
  const isAt = (at: number): boolean => search.every((line, position) => lines[at + position]?.trim() === line);
  const found = lines.flatMap((_, at) => (isAt(at) ? [at] : []));
  const [at] = found;
  if (at === undefined || found.length > 1 || search.length === 0)
    throw new Error(`${file} has ${found.length} places with: ${search.join(" ⏎ ")}`);
  lines.splice(at, search.length, ...replace);
  return lines.join("\n");
}
