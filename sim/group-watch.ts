import { findBatchProducer } from "../src/batch/batch-header.ts";
import { crc32c } from "../src/batch/crc32c.ts";
import type { StampedEntry } from "../src/log/stamped-entry.ts";
import { newestMembership, termAt } from "../src/raft/log-coordinates.ts";
import { findViolations, type Marks, marksOf } from "../src/raft/invariants.ts";
import type { Member } from "../src/raft/member.ts";
import { decodeMembership } from "../src/raft/membership-payload.ts";
import { isJoint, type Membership } from "../src/raft/membership.ts";
import type { Message } from "../src/raft/message.ts";
import type { RaftState } from "../src/raft/raft-state.ts";
import type { CheckId } from "./checks.ts";
import type { SavedHardState } from "../src/replica/group/hard-state-slot.ts";
import { Violation } from "./violation.ts";

/**
 * Sees all replicas of a group and remembers what they may forget: every entry that was ever handed to a log, who led which term, what
 * was committed when, and what each disk is to hold. Each look costs the same however long the logs are: an entry is held against
 * the only one of its index and term, and that one's predecessor, so that by induction logs match all the way down.
 */
export class GroupWatch {
  readonly #entries = new Map<number, KnownEntry>();
  readonly #leaders = new Map<number, string>();
  /** By index, from 1. */
  readonly committed: CommittedEntry[] = [];
  readonly #committedByOffset = new Map<number, CommittedEntry>();
  readonly #disks = new Map<string, DiskWatch>();
  #membership: Membership;
  electionCount = 0;
  truncationCount = 0;
  /** Whether an entry is on a platter: asked for a sample, since looking costs. */
  readonly #isOnPlatter: (member: Member, index: number, term: number) => boolean | undefined;

  constructor(firstMembership: Membership, isOnPlatter: (member: Member, index: number, term: number) => boolean | undefined) {
    this.#membership = firstMembership;
    this.#isOnPlatter = isOnPlatter;
  }

  /** The committed end of the log. */
  get nextOffset(): number {
    const last = this.committed.at(-1);
    return last === undefined ? 0 : last.entry.baseOffset + last.entry.span;
  }

  get membership(): Membership {
    return this.#membership;
  }

  committedAt(baseOffset: number): CommittedEntry | undefined {
    return this.#committedByOffset.get(baseOffset);
  }

  /** What the disk of that storage id is known to hold, by index. */
  diskOf(storageId: string): DiskWatch {
    let disk = this.#disks.get(storageId);
    if (disk === undefined) {
      disk = { terms: [0], hardTerm: 0, hardVote: undefined, marks: undefined, wasLeading: false, commitIndex: 0 };
      this.#disks.set(storageId, disk);
    }
    return disk;
  }

  /** A write was ordered by the core in `state`, of a step that hasn't been looked at yet. */
  handed(state: RaftState, truncateTo: number | undefined, entries: readonly StampedEntry[]): void {
    const { commitIndex } = this.diskOf(state.self.storageId);
    const isKept = truncateTo === undefined || truncateTo >= commitIndex;
    expect("I6", isKept, () => `${state.self.nodeId} truncates behind ${truncateTo}, and has committed ${commitIndex}`);
    for (const entry of entries) {
      const prevTerm = termAt(state.log, entry.index - 1);
      this.#match(state.self.nodeId, entry, prevTerm);
      const { role, hardState } = state;
      if (entry.kind !== "membership" || role.kind !== "leader" || entry.term !== hardState.term) continue;
      expect(
        "I7",
        commitIndex >= role.noOpIndex || state.commitIndex >= role.noOpIndex,
        () => `${state.self.nodeId} changes the membership at ${entry.index}, before it has committed an entry of its term`,
      );
    }
  }

  #match(nodeId: string, entry: StampedEntry, prevTerm: number | undefined): KnownEntry {
    const key = keyOf(entry.index, entry.term);
    const known = this.#entries.get(key);
    const seal = sealOf(entry);
    if (known === undefined) {
      const made = knownEntryOf(entry, seal, prevTerm ?? 0);
      this.#entries.set(key, made);
      return made;
    }
    const isEqual = known.seal === seal && known.span === entry.span && known.baseOffset === entry.baseOffset;
    expect("I3", isEqual && known.kind === entry.kind, () => `${nodeId} has another entry ${entry.index}@${entry.term}`);
    expect(
      "I3",
      prevTerm === undefined || prevTerm === known.prevTerm,
      () => `before ${entry.index}@${entry.term}, ${nodeId} has term ${prevTerm}, and it was ${known.prevTerm}`,
    );
    return known;
  }

  wrote(state: RaftState, entries: readonly StampedEntry[]): void {
    const { terms } = this.diskOf(state.self.storageId);
    for (const { index, term } of entries) {
      terms.length = index;
      terms.push(term);
    }
  }

  /** What lies behind `index` is going from the disk. */
  truncating(state: RaftState, index: number): void {
    const disk = this.diskOf(state.self.storageId);
    this.truncationCount += 1;
    const { nodeId } = state.self;
    const goes = this.committed[index];
    const isLost = goes !== undefined && disk.terms[index + 1] === goes.entry.term;
    expect("I6", !isLost, () => `${nodeId} truncates behind ${index}, and has ${index + 1}, which is committed`);
    disk.terms.length = Math.min(disk.terms.length, index + 1);
  }

  /** A replica was opened: what it found is held against what its disk is to hold. */
  recovered(state: RaftState, entries: readonly RecoveredEntry[]): void {
    const { nodeId, storageId } = state.self;
    const disk = this.diskOf(storageId);
    disk.marks = undefined;
    disk.wasLeading = false;
    disk.commitIndex = 0;
    const terms = [0];
    for (const { entry, prevTerm } of entries) {
      const { index, term } = entry;
      terms.push(term);
      const known = this.#entries.get(keyOf(index, term));
      expect("I16", known !== undefined, () => `${nodeId} recovered ${index}@${term}, which nobody wrote`);
      this.#match(nodeId, entry, prevTerm);
    }
    for (let index = 1; index < disk.terms.length; index += 1) {
      expect(
        "I16",
        terms[index] === disk.terms[index],
        () => `${nodeId} had ${index}@${disk.terms[index]} synced, and recovered ${terms[index] ?? "nothing"} there`,
      );
    }
    disk.terms = terms;
    const { term, vote } = state.hardState;
    expect("I2", term >= disk.hardTerm, () => `${nodeId} was in term ${disk.hardTerm} and came back in ${term}`);
    const isVoteKept = term > disk.hardTerm || disk.hardVote === undefined || vote?.storageId === disk.hardVote;
    expect(
      "I2",
      isVoteKept,
      () => `${nodeId} voted for ${disk.hardVote} in term ${term} and came back with ${vote?.storageId}`,
    );
  }

  saved({ self }: RaftState, { term, vote }: SavedHardState): void {
    const disk = this.diskOf(self.storageId);
    disk.hardTerm = term;
    disk.hardVote = vote?.storageId;
  }

  /** What is said may be forgotten no more: the disk has to have it by then. */
  sending({ self }: RaftState, message: Message): void {
    // A pre-vote is about a term that nobody has entered.
    if (message.kind === "pre-vote-request" || message.kind === "pre-vote-response") return;
    const { hardTerm, hardVote } = this.diskOf(self.storageId);
    const what = `${self.nodeId} says ${message.kind} in term ${message.term}`;
    expect("I2", message.term <= hardTerm, () => `${what}, and its disk knows of term ${hardTerm}`);
    if (message.term < hardTerm) return;
    if (message.kind === "vote-request")
      expect("I2", hardVote === self.storageId, () => `${what}, and its vote isn't on its disk`);
    if (message.kind === "vote-response" && message.isGranted)
      expect(
        "I2",
        hardVote?.startsWith(`${message.to}-`) === true,
        () => `${what} to ${message.to}, and its disk says ${hardVote}`,
      );
  }

  /** A step of one replica is over. */
  stepped(state: RaftState): void {
    const disk = this.diskOf(state.self.storageId);
    const [fault] = findViolations(state, disk.marks);
    if (fault !== undefined) throw new Violation("R", `${state.self.nodeId}: ${fault}`);
    disk.marks = marksOf(state);
    const { role } = state;
    if (role.kind === "leader") this.#lead(state, disk);
    else disk.wasLeading = false;
    if (state.commitIndex > disk.commitIndex) this.#commit(state, disk);
  }

  #lead(state: RaftState, disk: DiskWatch): void {
    const { nodeId } = state.self;
    const { term } = state.hardState;
    const known = this.#leaders.get(term);
    expect(
      "I1",
      known === undefined || known === state.self.storageId,
      () => `two lead term ${term}, and ${nodeId} is the second`,
    );
    if (disk.wasLeading && known !== undefined) return;
    disk.wasLeading = true;
    this.#leaders.set(term, state.self.storageId);
    this.electionCount += 1;
    expect("I14", !state.isDamaged, () => `${nodeId} is damaged and leads term ${term}`);
    const last = this.committed.findLast(({ commitTerm }) => commitTerm < term);
    if (last === undefined) return;
    const { index, term: entryTerm } = last.entry;
    const own = index <= state.log.base.index ? entryTerm : termAt(state.log, index);
    expect("I5", own === entryTerm, () => `${nodeId} leads term ${term} without ${index}@${entryTerm}, which was committed`);
  }

  #commit(state: RaftState, disk: DiskWatch): void {
    const { nodeId } = state.self;
    for (let index = disk.commitIndex + 1; index <= state.commitIndex; index += 1) {
      const term = termAt(state.log, index);
      const known = this.committed[index - 1];
      if (known === undefined) this.#commitFirst(state, index, term ?? 0);
      else
        expect(
          "I3",
          term === known.entry.term,
          () => `${nodeId} commits ${index}@${term}, but ${index}@${known.entry.term} was committed`,
        );
    }
    disk.commitIndex = state.commitIndex;
    if (state.role.kind !== "leader") return;
    const term = termAt(state.log, state.commitIndex);
    const isOwn = term === state.hardState.term;
    expect(
      "I4",
      isOwn,
      () => `${nodeId} leads term ${state.hardState.term} and commits up to ${state.commitIndex}@${term} by counting`,
    );
  }

  #commitFirst(state: RaftState, index: number, term: number): void {
    const { nodeId } = state.self;
    expect("I4", state.role.kind === "leader", () => `${nodeId} commits ${index}@${term} before any leader did`);
    const entry = this.#entries.get(keyOf(index, term));
    expect("I4", entry !== undefined, () => `${nodeId} commits ${index}@${term}, which nobody wrote`);
    const { voters, outgoing } = newestMembership(state.log).membership;
    for (const half of [voters, outgoing]) {
      const holders = half.filter(({ storageId }) => this.#disks.get(storageId)?.terms[index] === term);
      const enough = half.length === 0 || holders.length * 2 > half.length;
      expect("I4", enough, () => `${index}@${term} is committed with ${holders.length} of ${half.length} disks`);
      for (const member of holders) {
        const isThere = this.#isOnPlatter(member, index, term);
        expect("I4", isThere !== false, () => `${index}@${term} is committed by ${member.nodeId}, whose platter hasn't got it`);
      }
    }
    const committed: CommittedEntry = { entry, commitTerm: state.hardState.term };
    this.committed.push(committed);
    if (entry.span > 0) this.#committedByOffset.set(entry.baseOffset, committed);
    if (entry.membership !== undefined) this.#changeMembership(entry.index, entry.membership);
  }

  #changeMembership(index: number, next: Membership): void {
    const before = this.#membership;
    const isLeft = isJoint(before) && !isJoint(next) && isSameSet(before.voters, next.voters);
    const isEntered = !isJoint(before) && isJoint(next) && isSameSet(before.voters, next.outgoing);
    const isOfLearners = !isJoint(before) && !isJoint(next) && isSameSet(before.voters, next.voters);
    expect(
      "I7",
      isLeft || isEntered || isOfLearners,
      () => `the membership committed at ${index} doesn't follow from the one before`,
    );
    this.#membership = next;
  }

  /** A replica's membership is what its log says. For the end of a run. */
  checkMembership(state: RaftState): void {
    const { index, membership } = newestMembership(state.log);
    if (index === 0) return;
    const known = this.#entries.get(keyOf(index, termAt(state.log, index) ?? 0))?.membership;
    const isItsLogs =
      known !== undefined && isSameSet(known.voters, membership.voters) && isSameSet(known.learners, membership.learners);
    expect("I7", isItsLogs, () => `${state.self.nodeId} goes by another membership than stands at ${index}`);
  }
}

export interface KnownEntry {
  readonly index: number;
  readonly term: number;
  readonly kind: string;
  readonly span: number;
  readonly baseOffset: number;
  /** Of what was sealed by whoever proposed it. */
  readonly seal: number;
  readonly producerId: number;
  readonly baseSequence: number;
  readonly prevTerm: number;
  readonly membership: Membership | undefined;
}

export interface CommittedEntry {
  readonly entry: KnownEntry;
  readonly commitTerm: number;
}

export interface RecoveredEntry {
  readonly entry: StampedEntry;
  readonly prevTerm: number;
}

interface DiskWatch {
  /** By index, of what was reported synced; 0 at index 0. */
  terms: number[];
  hardTerm: number;
  hardVote: string | undefined;
  /** Of the process that runs on it. */
  marks: Marks | undefined;
  wasLeading: boolean;
  commitIndex: number;
}

function expect(check: CheckId, holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new Violation(check, what());
}

/** Terms of a simulated run are few. */
const termsMaxCount = 2 ** 16;

function keyOf(index: number, term: number): number {
  return index * termsMaxCount + term;
}

/** Of data, the producer's own checksum; of other kinds, one of the payload. */
function sealOf({ kind, payload }: StampedEntry): number {
  return kind === "data" ? payload.readUInt32BE(17) : crc32c(payload);
}

function knownEntryOf(entry: StampedEntry, seal: number, prevTerm: number): KnownEntry {
  const { index, term, kind, span, baseOffset, payload } = entry;
  const { producerId = -1, baseSequence = -1 } = (kind === "data" ? findBatchProducer(payload) : undefined) ?? {};
  const membership = kind === "membership" ? decodeMembership(payload) : undefined;
  return { index, term, kind, span, baseOffset, seal, producerId, baseSequence, prevTerm, membership };
}

function isSameSet(some: readonly Member[], others: readonly Member[]): boolean {
  return some.length === others.length && some.every(({ storageId }) => others.some((other) => other.storageId === storageId));
}
