import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { type RunSize, runSizes } from "./run-seed.ts";

/** Some runs in a row, of seeds that follow each other: `<base>-<first>` to `<base>-<last>`. */
export interface Chunk {
  readonly size: RunSize;
  readonly base: string;
  readonly first: number;
  readonly last: number;
  /** What the code was: hours of an earlier one prove something about that. */
  readonly sources: string;
  readonly failures: number;
  readonly simulatedMs: number;
  readonly processorMs: number;
  readonly faults: number;
  readonly acknowledged: number;
}

export interface LongSum {
  readonly runs: number;
  readonly failures: number;
  readonly simulatedMs: number;
  readonly processorMs: number;
  readonly faults: number;
  readonly acknowledged: number;
}

/**
 * A long proof, of which each part is done once: a file of one line a chunk, in JSON, behind which the next start goes on. What breaks off in
 * the middle of a chunk is run again.
 */
export class LongRuns {
  readonly #path: string;
  readonly #newBase: () => string;
  readonly #chunks: Chunk[];

  constructor(path: string, newBase: () => string) {
    this.#path = path;
    this.#newBase = newBase;
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    this.#chunks = text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [parseChunk(path, line)]));
  }

  /** The seeds that come next. */
  next(size: RunSize): { readonly base: string; readonly first: number } {
    const known = this.#chunks.filter((chunk) => chunk.size === size);
    const base = known.at(-1)?.base ?? this.#newBase();
    return { base, first: Math.max(0, ...known.map(({ last }) => last)) + 1 };
  }

  add(chunk: Chunk): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    appendFileSync(this.#path, `${JSON.stringify(chunk)}\n`);
    this.#chunks.push(chunk);
  }

  /** Everything of a size that has run, of some sources or of all. */
  sum(size: RunSize, sources?: string): LongSum {
    const of = this.#chunks.filter((chunk) => chunk.size === size && (sources ?? chunk.sources) === chunk.sources);
    const total = (what: (chunk: Chunk) => number): number => of.reduce((sum, chunk) => sum + what(chunk), 0);
    return {
      runs: total(({ first, last }) => last - first + 1),
      failures: total(({ failures }) => failures),
      simulatedMs: total(({ simulatedMs }) => simulatedMs),
      processorMs: total(({ processorMs }) => processorMs),
      faults: total(({ faults }) => faults),
      acknowledged: total(({ acknowledged }) => acknowledged),
    };
  }
}

const numbers = ["first", "last", "failures", "simulatedMs", "processorMs", "faults", "acknowledged"] as const;

function parseChunk(path: string, line: string): Chunk {
  const chunk = parseJson(line) as Partial<Chunk> | undefined;
  const isChunk =
    runSizes.some((size) => size === chunk?.size) &&
    typeof chunk?.base === "string" &&
    typeof chunk.sources === "string" &&
    numbers.every((name) => typeof chunk[name] === "number");
  if (!isChunk) throw new Error(`Cannot go on behind ${path}: no chunk of runs is ${line.slice(0, 80)}`);
  return chunk as Chunk;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
