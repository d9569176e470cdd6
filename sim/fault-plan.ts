import { assert } from "../src/base/assert.ts";

/** The calls that a disk takes, as they are counted and as faults name them. */
export type CallKind =
  | "open"
  | "create"
  | "list"
  | "size"
  | "is-directory"
  | "make-directory"
  | "rename"
  | "remove"
  | "remove-directory"
  | "sync-directory"
  | "lock"
  | "read"
  | "write"
  | "truncate"
  | "datasync";

/** A call as it comes in. */
export interface Call {
  readonly kind: CallKind;
  /** Where to: the file, the directory, or the old name in a rename. */
  readonly path: string;
  /** Where in the file, and how much; for a truncation, `position` is the new size. */
  readonly position?: number;
  readonly length?: number;
}

/** Which calls are meant; all of them where nothing is said. */
export interface CallMatch {
  readonly kind?: CallKind | readonly CallKind[];
  /** The end of the path (".store"), or a pattern for it. */
  readonly path?: string | RegExp;
  readonly where?: (call: Call) => boolean;
}

/**
 * What a fault does in place of the call.
 *
 * - `none`: nothing happens. The default for all but syncs.
 * - `half`: a write writes its first half; a sync brings the first half of its dirty sectors to the platter and loses the rest.
 * - `all`: everything happens, and is reported as `code` all the same.
 * - `lost`: for writes and syncs. Readers notice nothing until the crash, but the platter never hears of it, nor by a later sync,
 *   unless it is written again. For a sync, with a code, this is how Linux fails one, and the default; without, a disk that lies.
 * - `misdirected`: a write goes to `to` on the platter, and to no other place; readers, who are answered by the cache, see it where it
 *   should be.
 * - `flipped`: a read returns one wrong bit, in the middle of what was read, this once.
 */
export type FaultEffect = "none" | "half" | "all" | "lost" | "misdirected" | "flipped";

export interface Fault extends CallMatch {
  /** The how manieth matching call from now on, from 1; 1 when not given. */
  readonly nth?: number;
  /** How many in a row from there; 1 when not given, `Infinity` for ever after. */
  readonly times?: number;
  /** What the call throws, as "EIO"; without, it reports success. */
  readonly code?: string;
  readonly effect?: FaultEffect;
  /** For `misdirected`: where to; in the same file when no path is given. */
  readonly to?: { readonly path?: string; readonly position: number };
}

export interface PlannedFault {
  /** How often it has struck: 0 once the scenario is through says that there are fewer calls than `nth`. */
  readonly struckCount: number;
  cancel(): void;
}

/** The faults that are to strike, each counting the calls that match it. */
export class FaultPlan {
  readonly #planned = new Set<Planned>();

  add(fault: Fault): PlannedFault {
    assert(fault.code !== undefined || fault.effect !== undefined, "a fault has a code, an effect, or both");
    const planned: Planned = { fault, matchedCount: 0, struckCount: 0 };
    this.#planned.add(planned);
    return {
      get struckCount() {
        return planned.struckCount;
      },
      cancel: () => this.#planned.delete(planned),
    };
  }

  /** The fault that strikes this call. Each one counts it, and of several the first that was planned strikes. */
  strike(call: Call): Fault | undefined {
    let striking: Planned | undefined;
    for (const planned of this.#planned) {
      if (!matches(planned.fault, call)) continue;
      planned.matchedCount += 1;
      const { nth = 1, times = 1 } = planned.fault;
      if (planned.matchedCount >= nth && planned.matchedCount < nth + times) striking ??= planned;
    }
    if (striking === undefined) return undefined;
    striking.struckCount += 1;
    return striking.fault;
  }
}

interface Planned {
  readonly fault: Fault;
  matchedCount: number;
  struckCount: number;
}

export function matches(match: CallMatch, call: Call): boolean {
  const { kind, path, where } = match;
  if (kind !== undefined && !(typeof kind === "string" ? kind === call.kind : kind.includes(call.kind))) return false;
  if (path !== undefined && !(typeof path === "string" ? call.path.endsWith(path) : path.test(call.path))) return false;
  return where === undefined || where(call);
}
