import type { Violation } from "./violation.ts";
import { type RunOptions, type RunResult, runSeed } from "./run-seed.ts";

/** Runs that a search for fewer faults may take. */
const runsMaxCount = 200;

/**
 * Leaves out faults that a failure doesn't need: first half of them, then quarters, and so on down to single ones, as long as the
 * same check fails for the same reason. What was left out last is tried again when something else went meanwhile. Returns the run with
 * what stays.
 */
export async function shrink(failed: RunResult, options: RunOptions, run: typeof runSeed = runSeed): Promise<RunResult> {
  let best = failed;
  let runCount = 0;
  for (let pieces = 2; ; ) {
    const ids = best.faults.map(({ id }) => id);
    const pieceLength = Math.max(1, Math.ceil(ids.length / pieces));
    let smaller: RunResult | undefined;
    for (let start = 0; start < ids.length && runCount < runsMaxCount; start += pieceLength) {
      const kept = ids.filter((_, position) => position < start || position >= start + pieceLength);
      runCount += 1;
      const result = await run(best.seed, { ...options, faults: new Set(kept), storyLines: 0 });
      if (!failsAlike(result, failed)) continue;
      smaller = result;
      break;
    }
    if (smaller !== undefined) {
      best = smaller;
      pieces = Math.max(2, pieces - 1);
    } else if (pieceLength === 1 || runCount >= runsMaxCount) {
      return best;
    } else {
      pieces = Math.min(2 * pieces, ids.length);
    }
  }
}

/** The same check; and of those that say what a healed world waits for, the same thing, whatever its name and number. */
function failsAlike({ violation: one }: RunResult, { violation: other }: RunResult): boolean {
  if (one?.check !== other?.check) return false;
  return one?.check !== "I20" || wordsOf(one) === wordsOf(other);
}

function wordsOf(violation: Violation | undefined): string | undefined {
  const [words] = violation?.message.split("\n") ?? [];
  return words?.replaceAll(/[\w./-]*[0-9][\w./-]*/g, "#");
}
