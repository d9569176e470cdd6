import { assert } from "../base/assert.ts";
import type { Random } from "../base/random.ts";
import type { Effects } from "./effects.ts";
import { newForwardedReads } from "./forwarded-reads.ts";
import type { HardState } from "./hard-state.ts";
import {
  type LogBase,
  type LogCoordinates,
  lastTerm,
  type MembershipAt,
  newestMembership,
  nothingPending,
  settleMemberships,
} from "./log-coordinates.ts";
import type { Member, NodeId } from "./member.ts";
import { findMembershipFault, type Membership } from "./membership.ts";
import type { RaftSettings } from "./raft-settings.ts";
import type { Role } from "./role.ts";
import type { TermStart } from "./term-history.ts";

/** Everything a group's core knows, as plain data: a test copies it, compares it and counts it. */
export interface RaftState {
  readonly settings: RaftSettings;
  readonly random: Pick<Random, "float">;
  readonly self: Member;
  readonly hardState: HardState;
  readonly log: LogCoordinates;
  commitIndex: number;
  role: Role;
  isDamaged: boolean;
  /** The index of a committed membership that doesn't have this replica, when it was told of one; 0 otherwise. */
  removedAt: number;
  /** What it acknowledged, by the word of its leader in that term, and hasn't got. */
  owed: { readonly index: number; readonly term: number } | undefined;
  /** It isn't ticked. */
  isAsleep: boolean;
  /** Nodes that were lost and not found again. */
  readonly lostNodes: Set<NodeId>;
  /** Ticks since a leader was heard from; of a leader, since it last checked its quorum. */
  electionElapsed: number;
  /** Ticks after which this replica campaigns, drawn anew each time. */
  electionTimeout: number;
  /** Of the last question that was forwarded for a reader; 0 before the first. */
  lastReadNumber: number;
  /** The id of the last send order. */
  lastOrder: number;
  /** The id of the last catch-up that was ordered. */
  lastCatchUp: number;
  readonly effects: Effects;
}

/** What a replica finds on its disk. */
export interface RaftStart {
  readonly self: Member;
  /** As it was last made durable; 0 and undefined when it never was. */
  readonly term: number;
  readonly vote: Member | undefined;
  /** What was trimmed away; zeros when nothing was. */
  readonly base: LogBase;
  readonly lastIndex: number;
  readonly nextOffset: number;
  /** Of what lies behind the base. */
  readonly termHistory: readonly TermStart[];
  /** The one at or before the base, `unknownMembership` when there was none, and all behind it. */
  readonly memberships: readonly MembershipAt[];
  /** Up to here the log has been synced since it was opened: recovered isn't durable yet. */
  readonly durableIndex: number;
  /** What is known committed from elsewhere; the base's index at least. */
  readonly commitIndex?: number;
  readonly isDamaged?: boolean;
  /**
   * How many cores this process had for the group before. Sequences, generations and ids of each begin elsewhere, so that what an
   * earlier one had ordered is reported to nobody. Default 0.
   */
  readonly life?: number;
}

/** Between the numbers of one life and the next. */
const numbersPerLife = 2 ** 32;

/** Numbers are safe integers. */
const lifeMax = 2 ** 20;

export function createRaftState(start: RaftStart, settings: RaftSettings, random: Pick<Random, "float">): RaftState {
  const { base, lastIndex } = start;
  const commitIndex = Math.max(start.commitIndex ?? 0, base.index);
  assert(lastIndex >= base.index, "a log ends at its base or behind it");
  assert(start.durableIndex <= lastIndex, "what is durable is in the log");
  assert(commitIndex <= lastIndex, "what is committed is in the log");
  assert(start.memberships.length > 0, "a log begins with a membership, be it the unknown one");
  const life = start.life ?? 0;
  assert(Number.isSafeInteger(life) && life >= 0 && life <= lifeMax, "lives are counted from 0");
  const firstNumber = life * numbersPerLife;
  const log: LogCoordinates = {
    base,
    lastIndex,
    nextOffset: start.nextOffset,
    termHistory: [...start.termHistory],
    memberships: [...start.memberships],
    generation: firstNumber + 1,
    durableIndex: start.durableIndex,
    pending: nothingPending(),
    handedIndex: lastIndex,
  };
  settleMemberships(log, commitIndex);
  // The hard-state log is another file than the log, and may be behind it: who has an entry of a term has been in that term. It
  // can't have told a vote in it, for then the hard state would have been durable.
  const term = Math.max(start.term, lastTerm(log));
  const vote = term === start.term ? start.vote : undefined;
  const role: Role = {
    kind: "follower",
    leader: undefined,
    agreedIndex: commitIndex,
    toldIndex: 0,
    acknowledgedIndex: 0,
    forwarded: newForwardedReads(),
  };
  const isRaised = term !== start.term;
  return {
    settings,
    random,
    self: start.self,
    hardState: {
      term,
      vote,
      sequence: firstNumber + (isRaised ? 1 : 0),
      durableSequence: firstNumber,
      handedSequence: firstNumber,
    },
    log,
    commitIndex,
    role,
    isDamaged: start.isDamaged ?? false,
    removedAt: 0,
    owed: undefined,
    isAsleep: false,
    lostNodes: new Set(),
    electionElapsed: 0,
    electionTimeout: drawElectionTimeout(settings, random),
    lastReadNumber: 0,
    lastOrder: firstNumber,
    lastCatchUp: firstNumber,
    effects: {
      held: [],
      messages: [],
      sends: [],
      catchUps: [],
      withdrawals: [],
      reads: [],
      toldCommitIndex: commitIndex,
      toldAsleep: false,
      toldRole: { kind: "follower", term, leader: undefined },
    },
  };
}

/** The start of a replica with an empty log, of a group whose first members are known or not. */
export function emptyStart(self: Member, membership: Membership): RaftStart {
  const fault = membership.voters.length === 0 ? undefined : findMembershipFault(membership);
  assert(fault === undefined, `a group's first membership is sound: ${fault}`);
  return {
    self,
    term: 0,
    vote: undefined,
    base: { index: 0, term: 0, nextOffset: 0 },
    lastIndex: 0,
    nextOffset: 0,
    termHistory: [],
    memberships: [{ index: 0, membership }],
    durableIndex: 0,
  };
}

/** The membership in force. */
export function membershipOf(state: RaftState): Membership {
  return newestMembership(state.log).membership;
}

export function resetElectionTimer(state: RaftState): void {
  state.electionElapsed = 0;
  state.electionTimeout = drawElectionTimeout(state.settings, state.random);
}

/** From [electionTicks, 2 electionTicks), so that replicas rarely campaign at once. */
function drawElectionTimeout({ electionTicks }: RaftSettings, random: Pick<Random, "float">): number {
  return electionTicks + Math.floor(random.float() * electionTicks);
}
