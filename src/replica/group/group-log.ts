import { assert } from "../../base/assert.ts";
import { ProglogError } from "../../base/error.ts";
import type { ControlEntry } from "../../log/control-entries.ts";
import { openReplicaLog, type ReplicaLog, type ReplicaLogOptions, storeBytesOf } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { Entry } from "../../raft/entry.ts";
import type { MembershipAt } from "../../raft/log-coordinates.ts";
import type { Member } from "../../raft/member.ts";
import { decodeMembership } from "../../raft/membership-payload.ts";
import { type Membership, unknownMembership } from "../../raft/membership.ts";
import type { RaftStart } from "../../raft/raft-state.ts";
import type { SavedHardState } from "./hard-state-slot.ts";

/**
 * Opens a group's log, and says what the core begins with. A log that `openLog` wrote is one of term 1 without memberships: it becomes that of
 * a group whose first members are handed in.
 */
export async function openGroupLog(
  directory: string,
  options: ReplicaLogOptions,
  group: {
    readonly self: Member;
    readonly firstMembership: Membership | undefined;
    readonly saved: SavedHardState | undefined;
  },
): Promise<{ readonly log: ReplicaLog; readonly start: RaftStart }> {
  const { self, firstMembership, saved } = group;
  // A tombstone may go once every replica has compacted past it, and nobody says so here unless it is handed in.
  const log = await openReplicaLog(directory, { tombstoneCeiling: () => 0, ...options });
  try {
    const { base, last, termHistory, durableIndex } = log;
    const memberships = await findMemberships(log, firstMembership ?? unknownMembership);
    const { term, vote } = saved ?? { term: 0, vote: undefined };
    const start = { self, term, vote, base, lastIndex: last.index, nextOffset: last.nextOffset };
    return { log, start: { ...start, termHistory, memberships, durableIndex } };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/**
 * The membership at or before the base and those behind it, as far as they are needed: of those known to the log's description the last two
 * are enough, since no more than one isn't committed. Only where fewer are known and something is missing, the log is read.
 */
export async function findMemberships(log: ReplicaLog, first: Membership): Promise<MembershipAt[]> {
  const { base, membership: newest } = log;
  const { fromIndex, entries } = log.controls;
  const known: MembershipEntry[] = entries.filter(({ kind }) => kind === "membership");
  const isKnown = fromIndex <= base.index + 1 || known.length >= 2;
  const found = isKnown ? known : await scanMemberships(log);
  // The log knows of one, and it isn't behind the base.
  if (found.length === 0 && newest.length > 0) found.push({ index: base.index, payload: newest });
  const memberships = found.map((entry) => ({ index: entry.index, membership: membershipOf(entry) }));
  const isFirstInForce =
    (memberships[0]?.index ?? Number.POSITIVE_INFINITY) > base.index && (fromIndex <= 1 || base.index === 0);
  return isFirstInForce ? [{ index: 0, membership: first }, ...memberships] : memberships;
}

async function scanMemberships(log: ReplicaLog): Promise<MembershipEntry[]> {
  const found: MembershipEntry[] = [];
  await log.scan(log.base.index + 1, ({ kind, index, payload }) => {
    if (kind === "membership") found.push({ index, payload: Buffer.from(payload) });
  });
  return found;
}

/** What the core is told of an entry that came or was read; undefined where its payload isn't what its kind says. */
export function findEntryOf(stamped: StampedEntry): Entry | undefined {
  const { index, term, kind, span, baseOffset, payload } = stamped;
  assert(kind !== "segment-header" && kind !== "pad", "an entry has an index");
  const entry = { index, term, kind, span, baseOffset, bytes: storeBytesOf(stamped) };
  if (kind !== "membership") return entry;
  const membership = decodeMembership(payload);
  return membership === undefined ? undefined : { ...entry, membership };
}

function membershipOf({ index, payload }: MembershipEntry): Membership {
  const membership = decodeMembership(payload);
  if (membership !== undefined) return membership;
  throw new ProglogError("LOG_CORRUPT", `Cannot open the log of a group: the membership at entry ${index} is unreadable`, {
    hint: "Its checksum is right, so it was written so: use the version of proglog that wrote it, or a newer one.",
  });
}

type MembershipEntry = Omit<ControlEntry, "kind">;
