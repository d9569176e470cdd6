import type { Entry } from "./entry.ts";
import { newestMembership } from "./log-coordinates.ts";
import type { Member, NodeId } from "./member.ts";
import type { Message } from "./message.ts";
import type { RaftState } from "./raft-state.ts";

/**
 * What holds of a group as a whole (G1 to G8 of docs/raft.md), for whoever runs one in a test or a simulation and sees all its
 * replicas. It remembers what the replicas may forget: who led a term, and what was committed in which.
 */
export interface GroupWitness {
  readonly leaders: { readonly term: number; readonly nodeId: NodeId }[];
  /** By index, from 1. */
  readonly committed: CommittedEntry[];
  /** What was committed anywhere when a reader asked, by its name. */
  readonly asked: Map<string, number>;
}

interface CommittedEntry {
  readonly entry: Entry;
  /** Of the leader under which it was first seen committed. */
  readonly commitTerm: number;
}

/** A replica as the witness sees it: entries by index, undefined where they are trimmed or missing. */
export interface ReplicaView {
  readonly state: RaftState;
  readonly entryAt: (index: number) => Entry | undefined;
  readonly durableEntryAt: (index: number) => Entry | undefined;
  /** What was trimmed away, or installed, as the disk has it. */
  readonly durableBaseIndex: number;
}

export function newGroupWitness(): GroupWitness {
  return { leaders: [], committed: [], asked: new Map() };
}

/** Looks at all replicas after a step of one of them, and says what can't be. Those that are down are seen by their disks alone. */
export function witness(group: GroupWitness, replicas: readonly ReplicaView[], stepped: ReplicaView): string[] {
  const found: string[] = [];
  const { state } = stepped;
  witnessCommits(group, replicas, stepped, found);
  if (state.role.kind === "leader") witnessLeader(group, stepped, found);
  if (state.role.kind === "follower") witnessAcknowledged(stepped, state.role.toldIndex, found);
  for (const other of replicas) if (other !== stepped) witnessMatching(stepped, other, found);
  for (const other of replicas) if (other !== stepped) witnessSleep(stepped, other, found);
  return found;
}

/** A reader asks: its name is its own in the whole group. */
export function witnessAsked(group: GroupWitness, reader: string): void {
  group.asked.set(reader, group.committed.length);
}

/** G7: who asked doesn't miss what was committed before. */
export function witnessAnswer(group: GroupWitness, reader: string, index: number): string[] {
  const committed = group.asked.get(reader) ?? 0;
  if (index >= committed) return [];
  return [`G7: ${reader} is confirmed at ${index}, and ${committed} was committed when it was asked`];
}

/**
 * R9 by the disk, not by what the core believes of it: a message that is handed out speaks for no term that the disk hasn't got, and
 * for no vote. What is asked and answered before an election is about a term that nobody has entered; who was removed is told so in
 * whatever term.
 */
export function witnessMessage(
  durable: { readonly term: number; readonly vote: Member | undefined },
  message: Message,
): string[] {
  const { kind, term, from, to } = message;
  if (kind === "pre-vote-request" || kind === "pre-vote-response" || kind === "removed") return [];
  const voted = kind === "vote-request" ? from : kind === "vote-response" && message.isGranted ? to : undefined;
  const isVoteThere = voted === undefined || durable.term > term || durable.vote?.nodeId === voted;
  if (durable.term >= term && isVoteThere) return [];
  return [
    `R9: ${from} says ${kind} in term ${term}, and its disk has term ${durable.term}, vote ${durable.vote?.nodeId ?? "-"}`,
  ];
}

function witnessLeader(group: GroupWitness, { state, entryAt }: ReplicaView, found: string[]): void {
  const { term } = state.hardState;
  const { nodeId } = state.self;
  const known = group.leaders.find((leader) => leader.term === term);
  if (known?.nodeId === nodeId) return;
  if (known !== undefined) {
    found.push(`G1: ${known.nodeId} and ${nodeId} lead term ${term}`);
    return;
  }
  group.leaders.push({ term, nodeId });
  for (const { entry, commitTerm } of group.committed) {
    if (commitTerm >= term) continue;
    const own = entryAt(entry.index);
    if (entry.index > state.log.base.index && (own === undefined || !isSameEntry(own, entry)))
      found.push(`G3: ${nodeId} leads term ${term} without ${entry.index}@${entry.term}, committed in term ${commitTerm}`);
  }
}

function witnessCommits(group: GroupWitness, replicas: readonly ReplicaView[], stepped: ReplicaView, found: string[]): void {
  const { state, entryAt } = stepped;
  const first = state.log.base.index + 1;
  // What was looked at before can only have changed by breaking G4 at its last index too: entries match downwards by G2.
  for (
    let index = Math.max(first, Math.min(state.commitIndex, group.committed.length));
    index <= state.commitIndex;
    index += 1
  ) {
    const entry = entryAt(index);
    const known = group.committed[index - 1];
    if (entry === undefined) found.push(`G4: ${state.self.nodeId} committed ${index} and doesn't have it`);
    else if (known !== undefined) {
      if (!isSameEntry(known.entry, entry))
        found.push(`G4: ${state.self.nodeId} commits ${index}@${entry.term}, but ${index}@${known.entry.term} was committed`);
    } else {
      group.committed[index - 1] = { entry, commitTerm: state.hardState.term };
      witnessDurability(replicas, state, entry, found);
    }
  }
}

function witnessDurability(replicas: readonly ReplicaView[], state: RaftState, entry: Entry, found: string[]): void {
  if (state.role.kind !== "leader") {
    found.push(`G5: ${state.self.nodeId} commits ${entry.index}@${entry.term} before any leader did`);
    return;
  }
  const { voters, outgoing } = newestMembership(state.log).membership;
  for (const half of [voters, outgoing]) {
    const holders = half.filter((member) => hasDurable(replicas, member, entry));
    if (half.length > 0 && holders.length * 2 <= half.length)
      found.push(`G5: ${entry.index}@${entry.term} is committed with ${holders.length} of ${half.length} disks`);
  }
}

function hasDurable(replicas: readonly ReplicaView[], { storageId }: Member, entry: Entry): boolean {
  const replica = replicas.find(({ state }) => state.self.storageId === storageId);
  const own = replica?.durableEntryAt(entry.index);
  return own !== undefined && isSameEntry(own, entry);
}

/** An acknowledgement is a promise about a disk. */
function witnessAcknowledged(view: ReplicaView, toldIndex: number, found: string[]): void {
  const { base } = view.state.log;
  if (toldIndex <= view.durableBaseIndex || toldIndex < base.index) return;
  const durable = view.durableEntryAt(toldIndex);
  const written = view.entryAt(toldIndex);
  const term = toldIndex === base.index ? base.term : written?.term;
  const isThere = written === undefined ? durable?.term === term : durable !== undefined && isSameEntry(written, durable);
  if (!isThere) found.push(`G6: ${view.state.self.nodeId} acknowledged ${toldIndex}@${term ?? 0}, which its disk hasn't got`);
}

/** Log matching: where two logs last have the same index and term, they are the same from there down to a base. */
function witnessMatching(one: ReplicaView, other: ReplicaView, found: string[]): void {
  let isMatched = false;
  const last = Math.min(one.state.log.lastIndex, other.state.log.lastIndex);
  for (let index = last; index > 0; index -= 1) {
    const [ours, theirs] = [one.entryAt(index), other.entryAt(index)];
    if (ours === undefined || theirs === undefined) return;
    isMatched ||= ours.term === theirs.term;
    if (isMatched && !isSameEntry(ours, theirs)) {
      found.push(
        `G2: ${index}@${ours.term} of ${one.state.self.nodeId} and ${index}@${theirs.term} of ${other.state.self.nodeId}`,
      );
      return;
    }
  }
}

/** Who sleeps by a leader that sleeps has what it has, unless its node was lost meanwhile. */
function witnessSleep({ state: one }: ReplicaView, { state: other }: ReplicaView, found: string[]): void {
  const [leader, member] = one.role.kind === "leader" ? [one, other] : [other, one];
  if (leader.role.kind !== "leader" || !leader.isAsleep || leader.lostNodes.has(member.self.nodeId)) return;
  if (!member.isAsleep || member.hardState.term !== leader.hardState.term) return;
  if (member.role.kind === "leader" || member.commitIndex === leader.commitIndex) return;
  const { nodeId } = member.self;
  found.push(
    `G8: ${leader.self.nodeId} sleeps at ${leader.commitIndex}, and ${nodeId}, which it leads, at ${member.commitIndex}`,
  );
}

function isSameEntry(one: Entry, other: Entry): boolean {
  return (
    one === other ||
    (one.index === other.index &&
      one.term === other.term &&
      one.kind === other.kind &&
      one.span === other.span &&
      one.baseOffset === other.baseOffset &&
      one.bytes === other.bytes)
  );
}
