import { ProglogError } from "../base/error.ts";
import type { LogChanges } from "./log.ts";
import { type ResolvedOptions, resolveOptions } from "./log-options.ts";

/**
 * Changes the options of an open log, in place and all in one turn: the writer and whoever else holds them takes from them what it
 * needs between two awaits, so each group of appends and each look of retention goes by one state of them or the next. By the same
 * rules as at opening: throws INVALID_ARGUMENT with details {option}, and then nothing is changed.
 */
export function changeOptions(options: ResolvedOptions, changes: LogChanges): void {
  for (const name of Object.keys(changes)) {
    if (isChangeable(name)) continue;
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot change ${name} of an open log: it can't be, or there is no such option`,
      {
        details: { option: name },
      },
    );
  }
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  const checked = Object.entries(resolveOptions(Object.fromEntries(given)));
  Object.assign(options, Object.fromEntries(checked.filter(([name]) => given.some(([changed]) => changed === name))));
}

/** Complete by its type: whatever LogChanges takes. */
const changeable: Readonly<Record<keyof LogChanges, true>> = {
  segmentMaxBytes: true,
  segmentMaxAgeMs: true,
  retentionMaxBytes: true,
  retentionMaxAgeMs: true,
  recordMaxBytes: true,
  compression: true,
  batchCompression: true,
  timestampType: true,
  deepCheck: true,
  cleanup: true,
  tombstoneRetentionMs: true,
};

function isChangeable(name: string): name is keyof LogChanges {
  return Object.hasOwn(changeable, name);
}
