import type { Row } from "./row.ts";
import type { Scratch } from "./scratch.ts";

/** How much is measured: `quick` tells whether it works, `full` is for a figure that is to be quoted. */
export type Mode = "quick" | "default" | "full";

export interface BenchContext {
  readonly scratch: Scratch;
  readonly mode: Mode;
  /** Picks by mode. */
  readonly choose: <T>(choices: { readonly [mode in Mode]: T }) => T;
  /** Says that a row isn't measured, and why. */
  readonly skip: (what: string, why: string) => void;
  /** A folder with the servers of others, looked at before what the system starts programs from. */
  readonly peersFolder: string | undefined;
}

/** Some rows that are measured together. */
export interface Bench {
  /** For `--only`. */
  readonly name: string;
  readonly about: string;
  /** Has its rows in a table of their own, under this title. */
  readonly title?: string;
  /** Left out unless `--only` names it: it needs what a checkout doesn't bring, or minutes. */
  readonly isOnlyByName?: boolean;
  readonly run: (context: BenchContext) => Promise<readonly Row[]>;
}
