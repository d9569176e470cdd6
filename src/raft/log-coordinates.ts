import { assert } from "../base/assert.ts";
import type { Entry } from "./entry.ts";
import type { Membership } from "./membership.ts";
import { extendHistory, findLastOfTerm, findTerm, type TermStart, trimHistory, truncateHistory } from "./term-history.ts";

/**
 * A log as consensus sees it: where it begins and ends, which term each index is of, which memberships stand in it, and what of
 * it is on the disk.
 *
 * Durability is reported as (index, generation). A generation is a stretch of time without truncation; only a report of the
 * current one counts. The term of an entry wouldn't do instead: the same index with the same term can be written, cut and
 * written again, and the sync that is reported may have been of the first.
 */
export interface LogCoordinates {
  /** What was trimmed away, or installed, ends here; index 0 when nothing was. */
  base: LogBase;
  lastIndex: number;
  /** The offset that the next record gets. */
  nextOffset: number;
  /** Of the entries behind the base. */
  readonly termHistory: TermStart[];
  /** Oldest first: the newest at or below the commit index, and all above. Never empty. */
  readonly memberships: MembershipAt[];
  generation: number;
  durableIndex: number;
  /** What is still to be handed out as a write order. */
  pending: PendingWrite;
  /** Up to where write orders were handed out. */
  handedIndex: number;
}

export interface LogBase {
  readonly index: number;
  readonly term: number;
  readonly nextOffset: number;
}

/** What lies behind a base, up to an end. */
export interface LogTail {
  readonly lastIndex: number;
  readonly nextOffset: number;
  readonly termHistory: readonly TermStart[];
  readonly memberships: readonly MembershipAt[];
}

/** A base, and the last index of what came with it. */
export interface InstalledLog extends LogBase {
  readonly lastIndex: number;
}

export interface MembershipAt {
  readonly index: number;
  readonly membership: Membership;
}

export interface PendingWrite {
  install: InstalledLog | undefined;
  truncateTo: number | undefined;
  entries: Entry[];
}

export function nothingPending(): PendingWrite {
  return { install: undefined, truncateTo: undefined, entries: [] };
}

export function isPending({ pending }: LogCoordinates): boolean {
  return pending.entries.length > 0 || pending.truncateTo !== undefined || pending.install !== undefined;
}

/** The term of an index from the base on; undefined outside of the log. */
export function termAt(log: LogCoordinates, index: number): number | undefined {
  if (index === log.base.index) return log.base.term;
  if (index < log.base.index || index > log.lastIndex) return undefined;
  return findTerm(log.termHistory, index);
}

export function lastTerm(log: LogCoordinates): number {
  return log.termHistory.at(-1)?.term ?? log.base.term;
}

/** The membership in force: the newest in the log, committed or not. */
export function newestMembership(log: LogCoordinates): MembershipAt {
  const newest = log.memberships.at(-1);
  assert(newest !== undefined, "a log has a membership");
  return newest;
}

/**
 * The last place at or below `index` where this log is of `term` or an older one: where two logs may agree, when the other is of
 * `term` at `index`. One below the base when that place was trimmed away.
 */
export function findAgreement(log: LogCoordinates, at: { readonly index: number; readonly term: number }): number {
  if (at.index < log.base.index) return at.index;
  const found = findLastOfTerm(log.termHistory, { index: Math.min(at.index, log.lastIndex), term: at.term });
  if (found !== undefined) return found;
  return log.base.term <= at.term ? log.base.index : log.base.index - 1;
}

/** Adds entries behind the last one. */
export function appendEntries(log: LogCoordinates, entries: readonly Entry[]): void {
  for (const entry of entries) {
    assert(entry.index === log.lastIndex + 1, "an entry follows the last one");
    assert(entry.term >= lastTerm(log), "the term of an entry isn't below the one before");
    assert(entry.baseOffset === log.nextOffset, "an entry's base offset is where the log ends");
    extendHistory(log.termHistory, { term: entry.term, firstIndex: entry.index, firstOffset: entry.baseOffset });
    log.lastIndex = entry.index;
    log.nextOffset = entry.baseOffset + entry.span;
    if (entry.membership !== undefined) log.memberships.push({ index: entry.index, membership: entry.membership });
    log.pending.entries.push(entry);
  }
}

/** Drops what lies behind `lastIndex`. `nextOffset` is the base offset of the first entry dropped. */
export function truncateLog(log: LogCoordinates, end: { readonly lastIndex: number; readonly nextOffset: number }): void {
  assert(end.lastIndex >= log.base.index && end.lastIndex < log.lastIndex, "a truncation drops a suffix");
  log.lastIndex = end.lastIndex;
  log.nextOffset = end.nextOffset;
  truncateHistory(log.termHistory, end.lastIndex);
  while (log.memberships.length > 1 && newestMembership(log).index > end.lastIndex) log.memberships.pop();
  assert(newestMembership(log).index <= end.lastIndex, "a committed membership is never truncated");
  log.generation += 1;
  log.durableIndex = Math.min(log.durableIndex, end.lastIndex);
  const { pending } = log;
  while ((pending.entries.at(-1)?.index ?? 0) > end.lastIndex) pending.entries.pop();
  if (log.handedIndex > end.lastIndex) {
    pending.truncateTo = end.lastIndex;
    log.handedIndex = end.lastIndex;
  }
}

/**
 * Begins the log anew behind `base`, with what came along. What the disk has of the old log says nothing of the new one, except up to where the old one
 * agreed with the leader whose base it is: until the swap is reported durable, that is all that may be acknowledged.
 */
export function installLog(
  log: LogCoordinates,
  {
    base,
    membership,
    tail,
    agreedIndex,
  }: {
    readonly base: LogBase;
    readonly membership: MembershipAt;
    readonly tail: LogTail | undefined;
    readonly agreedIndex: number;
  },
): void {
  log.base = base;
  log.lastIndex = tail?.lastIndex ?? base.index;
  log.nextOffset = tail?.nextOffset ?? base.nextOffset;
  log.termHistory.splice(0, log.termHistory.length, ...(tail?.termHistory ?? []));
  log.memberships.splice(0, log.memberships.length, membership, ...(tail?.memberships ?? []));
  log.generation += 1;
  log.durableIndex = Math.min(log.durableIndex, agreedIndex);
  log.pending = { install: { ...base, lastIndex: log.lastIndex }, truncateTo: undefined, entries: [] };
  log.handedIndex = log.lastIndex;
}

/** Forgets a prefix that was trimmed. */
export function trimLog(log: LogCoordinates, base: LogBase): void {
  log.base = base;
  trimHistory(log.termHistory, base, log.lastIndex);
}

/** Forgets memberships that no truncation can bring back. */
export function settleMemberships(log: LogCoordinates, commitIndex: number): void {
  let settled = 0;
  while ((log.memberships[settled + 1]?.index ?? Number.POSITIVE_INFINITY) <= commitIndex) settled += 1;
  if (settled > 0) log.memberships.splice(0, settled);
}
