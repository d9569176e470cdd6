import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { History } from "./histories/history.ts";

/** A node of a cluster under test, and what to look at when the test failed. */
export interface Witness {
  readonly name: string;
  /** Where its data is, where that outlives the test; it is asked for once the test failed. */
  keepDirectory(): string | undefined;
  /** What it said over all its lives. */
  readonly diagnostics: string;
}

/**
 * Runs part of a test. When it fails, what every node said and the history of the clients are written to a new folder, which stays, data
 * directories on a real disk stay too, and the error says where all that is.
 */
export async function withEvidence<Result>(
  witnesses: readonly Witness[],
  history: () => History | undefined,
  run: () => Promise<Result>,
): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    const folder = mkdtempSync(join(tmpdir(), "proglog-failed-"));
    const lines = witnesses.map((witness) => {
      const path = join(folder, `${witness.name}.log`);
      writeFileSync(path, witness.diagnostics);
      return `${witness.name}: diagnostics ${path}, data ${witness.keepDirectory() ?? "in memory only"}`;
    });
    const told = history();
    if (told !== undefined) {
      const path = join(folder, "history.json");
      writeFileSync(path, JSON.stringify({ ...told, finals: Object.fromEntries(told.finals) }));
      lines.push(`what clients asked and were told: ${path}`);
    }
    throw new Error([error instanceof Error ? error.message : String(error), ...lines].join("\n"), { cause: error });
  }
}
