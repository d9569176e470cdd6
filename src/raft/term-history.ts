/**
 * Which term an index is of, without the entries: where each term begins. Terms only rise in a log, so a log of a million
 * entries and three elections is three rows.
 */
export interface TermStart {
  readonly term: number;
  readonly firstIndex: number;
  readonly firstOffset: number;
}

/** The term of `index`, or undefined when it lies before the first row. The caller knows that it isn't behind the log's end. */
export function findTerm(history: readonly TermStart[], index: number): number | undefined {
  // From the end: who asks, asks for what is new.
  for (let i = history.length - 1; i >= 0; i -= 1) {
    const start = history[i];
    if (start !== undefined && start.firstIndex <= index) return start.term;
  }
  return undefined;
}

/** The last index at or below `index` whose term is at or below `term`, or undefined when none behind the first row's start is. */
export function findLastOfTerm(
  history: readonly TermStart[],
  at: { readonly index: number; readonly term: number },
): number | undefined {
  let end = at.index;
  for (let i = history.length - 1; i >= 0; i -= 1) {
    const start = history[i];
    if (start === undefined || start.firstIndex > end) continue;
    if (start.term <= at.term) return end;
    end = start.firstIndex - 1;
  }
  return undefined;
}

/** Adds an entry's term at the end. */
export function extendHistory(history: TermStart[], start: TermStart): void {
  if (history.at(-1)?.term !== start.term) history.push(start);
}

/** Forgets what begins behind `lastIndex`. */
export function truncateHistory(history: TermStart[], lastIndex: number): void {
  while ((history.at(-1)?.firstIndex ?? 0) > lastIndex) history.pop();
}

/** Forgets what lies at or before the base; the term that goes on behind it begins right behind it from now on. */
export function trimHistory(
  history: TermStart[],
  base: { readonly index: number; readonly nextOffset: number },
  lastIndex: number,
): void {
  let kept = 0;
  while (kept < history.length - 1 && (history[kept + 1]?.firstIndex ?? 0) <= base.index + 1) kept += 1;
  history.splice(0, kept);
  const first = history[0];
  if (first === undefined || first.firstIndex > base.index) return;
  if (base.index >= lastIndex) history.length = 0;
  else history[0] = { term: first.term, firstIndex: base.index + 1, firstOffset: base.nextOffset };
}
