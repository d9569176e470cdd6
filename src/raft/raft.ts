import { assert } from "../base/assert.ts";
import type { Random } from "../base/random.ts";
import { type CatchUpReport, onCatchUpFailed, onCaughtUp, trimMaxIndex } from "./catch-up.ts";
import { advanceCommit } from "./commit.ts";
import { releaseHeld } from "./effects.ts";
import { mayCampaign, onHardStateDurable, startElection, startPreVote } from "./election.ts";
import type { Proposal } from "./entry.ts";
import { beginHandover, type TransferOutcome, transferLeadership } from "./handover.ts";
import { sendHeartbeats } from "./heartbeats.ts";
import { type InstallOutcome, installBase, type InstallRequest } from "./install.ts";
import { propose, type ProposeOutcome } from "./leader.ts";
import { isPending, nothingPending, termAt, trimLog } from "./log-coordinates.ts";
import { acknowledgeDurable } from "./log-matching.ts";
import type { NodeId } from "./member.ts";
import { type ChangeOutcome, proposeMembership } from "./membership-change.ts";
import type { MembershipChange } from "./membership.ts";
import type { Message } from "./message.ts";
import { createRaftState, membershipOf, type RaftStart, type RaftState } from "./raft-state.ts";
import { assertSettings, type RaftSettings } from "./raft-settings.ts";
import { isQuiet } from "./quiet.ts";
import { beginRound, readIndex, type ReadOutcome } from "./read-index.ts";
import type { Ready, RoleChange } from "./ready.ts";
import { onSent, onUnreachable, pumpPeers, type SentReport } from "./replication.ts";
import { leaderOf } from "./role.ts";
import { step, type StepOutcome } from "./step.ts";
import { onDisconnected, onPeerFound, onPeerLost, wake } from "./sleep.ts";
import { tick } from "./ticking.ts";

/**
 * Consensus of one group on one node: it is told what happened and says what is to be done. It calls nobody, waits for nothing
 * and holds no payload. docs/raft.md is its contract.
 */
export class Raft {
  /** Plain data, to be read: by status, by `describe`, by the invariants. */
  readonly state: RaftState;

  /** Goes on from a state; `createRaft` makes one of what is on a disk. */
  constructor(state: RaftState) {
    this.state = state;
  }

  get term(): number {
    return this.state.hardState.term;
  }

  get leader(): NodeId | undefined {
    return leaderOf(this.state.role, this.state.self.nodeId);
  }

  get commitIndex(): number {
    return this.state.commitIndex;
  }

  /** What send and write orders are compared with when they are carried out. */
  get generation(): number {
    return this.state.log.generation;
  }

  /** Nothing is under way, as far as this replica knows; not yet leave to stop ticking it. */
  get isQuiet(): boolean {
    return isQuiet(this.state);
  }

  /** It needn't be ticked, until a ready says otherwise. */
  get isAsleep(): boolean {
    return this.state.isAsleep;
  }

  /** The term of an index of the log, undefined outside of it: what frames that were read are held against. */
  termAt(index: number): number | undefined {
    return termAt(this.state.log, index);
  }

  step(message: Message): StepOutcome {
    return step(this.state, message);
  }

  tick(): void {
    tick(this.state);
  }

  /** It was told that a committed membership, at that index, doesn't have it; undefined when it wasn't, or has heard from a leader since. */
  get removedAt(): number | undefined {
    return this.state.removedAt > 0 ? this.state.removedAt : undefined;
  }

  /** Ticks count again: for whoever has a reason that the core doesn't see. */
  wake(): void {
    wake(this.state);
  }

  /** A node can't be reached, wasn't heard from for too long, or began another life. */
  peerLost(nodeId: NodeId): void {
    onPeerLost(this.state, nodeId);
  }

  /** The connection to a node broke: mostly the end of its process, and sooner known than its silence. It may be back at once. */
  disconnected(nodeId: NodeId): void {
    onDisconnected(this.state, nodeId);
  }

  /** There is a way to it again. */
  peerFound(nodeId: NodeId): void {
    onPeerFound(this.state, nodeId);
  }

  /**
   * Asks for votes now, as if the timeout were over, where no leader is known: in a group that has just been made nobody has to be waited
   * for. Pre-vote keeps it from disturbing one that is led.
   */
  campaign(): void {
    const { state } = this;
    if (state.role.kind === "candidate" || this.leader !== undefined || !mayCampaign(state)) return;
    wake(state);
    startPreVote(state);
  }

  propose(proposals: readonly Proposal[]): ProposeOutcome {
    wake(this.state);
    return propose(this.state, proposals);
  }

  changeMembership(changes: readonly MembershipChange[]): ChangeOutcome {
    wake(this.state);
    return proposeMembership(this.state, changes);
  }

  /** To the voter furthest ahead when none is named. */
  transferLeadership(to?: NodeId): TransferOutcome {
    wake(this.state);
    return transferLeadership(this.state, to);
  }

  /** The answer comes in `ready().reads`, with this id. */
  readIndex(id: number): ReadOutcome {
    wake(this.state);
    return readIndex(this.state, id);
  }

  /** The hard state of that number, or a later one, is synced. */
  hardStateDurable(sequence: number): void {
    const { hardState } = this.state;
    assert(sequence <= hardState.handedSequence, "only a hard state that was handed out becomes durable");
    if (sequence <= hardState.durableSequence) return;
    hardState.durableSequence = sequence;
    releaseHeld(this.state);
    onHardStateDurable(this.state);
  }

  /** The log is synced up to `index`, as orders of `generation` wrote it. Another generation's report says nothing any more. */
  durable({ index, generation }: { readonly index: number; readonly generation: number }): void {
    const { log, role } = this.state;
    assert(generation <= log.generation, "a generation has begun before it is reported");
    if (generation !== log.generation || index <= log.durableIndex) return;
    assert(index <= log.handedIndex, "only what was handed out becomes durable");
    log.durableIndex = index;
    if (role.kind === "leader") advanceCommit(this.state, role);
    else if (role.kind === "follower") acknowledgeDurable(this.state, role);
  }

  sent(report: SentReport): void {
    onSent(this.state, report);
  }

  /** The connection to a peer broke, or a send order for it was dropped. */
  unreachable(to: NodeId): void {
    onUnreachable(this.state, to);
  }

  /** The catch-up of that id is done: the peer has base and files, up to `index`. */
  caughtUp(report: CatchUpReport & { readonly index: number }): void {
    onCaughtUp(this.state, report);
  }

  catchUpFailed(report: CatchUpReport): void {
    onCatchUpFailed(this.state, report);
  }

  /** How far the log may be trimmed without cutting off a peer that can still be brought on. No more than advice: disks fill up. */
  get trimMaxIndex(): number {
    return trimMaxIndex(this.state);
  }

  /** A leader sent base record and segments, and they are durable in a place of their own. */
  installBase(request: InstallRequest): InstallOutcome {
    wake(this.state);
    return installBase(this.state, request);
  }

  /** The prefix up to `index` is no longer in the log; `nextOffset` is the base offset of the entry behind it. */
  trimmed({ index, nextOffset }: { readonly index: number; readonly nextOffset: number }): void {
    const { log, commitIndex } = this.state;
    assert(index <= commitIndex && index <= log.durableIndex, "what is trimmed was committed and durable");
    if (index <= log.base.index) return;
    const term = termAt(log, index);
    assert(term !== undefined, "what is trimmed was in the log");
    trimLog(log, { index, term, nextOffset });
  }

  /** Rot was found or a write failed. A damaged replica neither votes nor leads nor acknowledges. */
  setDamaged(): void {
    const { state } = this;
    if (state.isDamaged) return;
    wake(state);
    state.isDamaged = true;
    if (state.role.kind === "leader" && state.role.handover?.isObliged !== true)
      beginHandover(state, state.role, { isObliged: true });
  }

  /**
   * Its log is whole again, on the disk up to `durableIndex`, and what else was handed out is, or will be, written. Refused when that
   * is less than was reported durable: something of it was cut, and what was acknowledged with it. Then a new core goes on from what
   * recovery finds, or the replica is begun anew.
   */
  repaired({ durableIndex }: { readonly durableIndex: number }): "repaired" | "refused" {
    const { state } = this;
    if (durableIndex < state.log.durableIndex) return "refused";
    if (!state.isDamaged) return "repaired";
    wake(state);
    state.isDamaged = false;
    if (state.role.kind === "follower") acknowledgeDurable(state, state.role);
    return "repaired";
  }

  /** Bytes sent to peers and not acknowledged by them: what a node bounds over all of its groups, by holding send orders back. */
  get inflightBytes(): number {
    const { role } = this.state;
    if (role.kind !== "leader") return 0;
    let bytes = 0;
    for (const { flow } of role.peers) if (flow.kind === "replicate") bytes += flow.inflight.bytes;
    return bytes;
  }

  /** What has come together since it was last called; undefined when that is nothing. */
  ready(): Ready | undefined {
    const { state } = this;
    const { effects, log, hardState, role } = state;
    if (role.kind === "leader") {
      if (beginRound(state, role)) sendHeartbeats(state, role);
      pumpPeers(state, role);
    }
    const ready: Ready = {
      hardState:
        hardState.handedSequence === hardState.sequence
          ? undefined
          : { sequence: hardState.sequence, term: hardState.term, vote: hardState.vote },
      write: isPending(log) ? { generation: log.generation, ...log.pending } : undefined,
      sends: effects.sends,
      messages: effects.messages,
      catchUps: effects.catchUps,
      withdrawals: effects.withdrawals,
      commitIndex: effects.toldCommitIndex === state.commitIndex ? undefined : state.commitIndex,
      reads: effects.reads,
      isAsleep: effects.toldAsleep === state.isAsleep ? undefined : state.isAsleep,
      role: roleChange(state),
    };
    hardState.handedSequence = hardState.sequence;
    if (ready.write !== undefined) {
      log.pending = nothingPending();
      log.handedIndex = log.lastIndex;
    }
    if (isNothing(ready)) return undefined;
    if (effects.sends.length > 0) effects.sends = [];
    if (effects.messages.length > 0) effects.messages = [];
    if (effects.catchUps.length > 0) effects.catchUps = [];
    if (effects.withdrawals.length > 0) effects.withdrawals = [];
    if (effects.reads.length > 0) effects.reads = [];
    effects.toldCommitIndex = state.commitIndex;
    effects.toldAsleep = state.isAsleep;
    if (ready.role !== undefined) effects.toldRole = ready.role;
    return ready;
  }
}

/** A replica as its disk has it. One that is its group's only voter needs nobody's leave to lead, and asks for none. */
export function createRaft(start: RaftStart, settings: RaftSettings, random: Pick<Random, "float">): Raft {
  assertSettings(settings);
  const state = createRaftState(start, settings, random);
  const { voters, outgoing } = membershipOf(state);
  const isOnlyVoter = voters.length === 1 && voters[0]?.nodeId === state.self.nodeId && outgoing.length === 0;
  if (isOnlyVoter && mayCampaign(state)) startElection(state, false);
  return new Raft(state);
}

function isNothing(ready: Ready): boolean {
  const { hardState, write, sends, messages, catchUps, withdrawals, commitIndex, reads, isAsleep, role } = ready;
  if (hardState !== undefined || write !== undefined || commitIndex !== undefined || role !== undefined) return false;
  if (isAsleep !== undefined || withdrawals.length > 0) return false;
  return sends.length === 0 && messages.length === 0 && catchUps.length === 0 && reads.length === 0;
}

function roleChange({ role, hardState, self, effects }: RaftState): RoleChange | undefined {
  const { toldRole } = effects;
  const leader = leaderOf(role, self.nodeId);
  if (toldRole.kind === role.kind && toldRole.term === hardState.term && toldRole.leader === leader) return undefined;
  return { kind: role.kind, term: hardState.term, leader };
}
