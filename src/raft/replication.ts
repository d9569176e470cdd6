import { assert } from "../base/assert.ts";
import { probeMaxBytes } from "../base/cluster-limits.ts";
import { addToWindow } from "./byte-window.ts";
import { orderCatchUp, withdrawCatchUp } from "./catch-up.ts";
import { advanceCommit } from "./commit.ts";
import { emit } from "./effects.ts";
import { pressHandover } from "./handover.ts";
import { findAgreement, termAt } from "./log-coordinates.ts";
import type { NodeId } from "./member.ts";
import type { AppendAccepted, AppendRejected, HeartbeatResponse } from "./message.ts";
import {
  becomeProbe,
  becomeReplicate,
  endOrder,
  findProgress,
  forgetMatch,
  isInflightFull,
  type Progress,
  raiseMatch,
} from "./progress.ts";
import type { RaftState } from "./raft-state.ts";
import { onRoundAnswered } from "./read-index.ts";
import type { Leader } from "./role.ts";

/**
 * The leader's side of log replication (paper §5.3). What is to be sent is decided when it is asked for, once for all events
 * since, so that many proposals make one order; and as an order, not as a message, because the entries' bytes aren't here.
 */
export function pumpPeers(state: RaftState, role: Leader): void {
  for (const peer of role.peers) pump(state, role, peer);
}

function pump(state: RaftState, role: Leader, peer: Progress): void {
  if (peer.order !== 0 || peer.flow.kind === "catch-up" || (peer.flow.kind === "probe" && peer.flow.isWaiting)) return;
  const prevTerm = termAt(state.log, peer.nextIndex - 1);
  if (prevTerm === undefined) {
    // Trimmed away. Who doesn't answer needn't be shipped a log.
    if (!peer.isActive) return;
    orderCatchUp(state, peer);
    return;
  }
  const hasEntries = peer.nextIndex <= state.log.lastIndex;
  if (peer.flow.kind === "probe") {
    const { isRepeated } = peer.flow;
    peer.flow.isWaiting = true;
    peer.flow.isRepeated = true;
    if (hasEntries && !isRepeated)
      order(state, role, peer, { prevTerm, maxBytes: Math.min(probeMaxBytes, state.settings.sendMaxBytes) });
    else sendEmpty(state, peer, prevTerm);
    return;
  }
  if (hasEntries && !isInflightFull(peer.flow, state.settings)) {
    peer.flow.isProbing = false;
    order(state, role, peer, { prevTerm, maxBytes: state.settings.sendMaxBytes });
    return;
  }
  if (peer.flow.isProbing) {
    peer.flow.isProbing = false;
    sendEmpty(state, peer, prevTerm);
  } else if (state.commitIndex > peer.toldCommitIndex && peer.toldCommitIndex < peer.nextIndex - 1) {
    // The next entries would bring it, but there may be none for an hour.
    peer.toldCommitIndex = state.commitIndex;
    emit(state, peer.nodeId, { kind: "commit-notice", commitIndex: state.commitIndex });
  }
}

function order(
  state: RaftState,
  role: Leader,
  peer: Progress,
  { prevTerm, maxBytes }: { readonly prevTerm: number; readonly maxBytes: number },
): void {
  state.lastOrder += 1;
  peer.order = state.lastOrder;
  peer.toldCommitIndex = state.commitIndex;
  state.effects.sends.push({
    id: peer.order,
    to: peer.nodeId,
    term: state.hardState.term,
    generation: state.log.generation,
    prevIndex: peer.nextIndex - 1,
    prevTerm,
    commitIndex: state.commitIndex,
    maxBytes,
  });
}

function sendEmpty(state: RaftState, peer: Progress, prevTerm: number): void {
  const { commitIndex } = state;
  peer.toldCommitIndex = commitIndex;
  emit(state, peer.nodeId, { kind: "append", prevIndex: peer.nextIndex - 1, prevTerm, entries: [], commitIndex });
}

export interface SentReport {
  readonly to: NodeId;
  /** The id of the send order. */
  readonly order: number;
  /** The last index of the append. */
  readonly lastIndex: number;
  readonly bytes: number;
}

/** A send order was carried out. One that was given up meanwhile, since the peer rejected what came before, only frees the way. */
export function onSent(state: RaftState, report: SentReport): void {
  if (state.role.kind !== "leader") return;
  const peer = findProgress(state.role.peers, report.to);
  if (peer === undefined || peer.order !== report.order) return;
  const counts = endOrder(peer);
  assert(report.lastIndex <= state.log.lastIndex, "an append carries entries of the log");
  // The report may come behind the acknowledgement of what it reports, or of more: the peer's answer and ours take different ways.
  if (!counts || peer.flow.kind !== "replicate" || report.lastIndex < peer.nextIndex) return;
  peer.nextIndex = report.lastIndex + 1;
  addToWindow(peer.flow.inflight, report.lastIndex, report.bytes);
}

/** The connection broke, or an order was dropped: what was in flight may be lost, so begin at what is known. */
export function onUnreachable(state: RaftState, to: NodeId): void {
  if (state.role.kind !== "leader") return;
  const peer = findProgress(state.role.peers, to);
  if (peer === undefined) return;
  // It waits until the peer answers a heartbeat: a cut connection would only fill with probes.
  if (peer.flow.kind === "replicate") becomeProbe(peer, peer.matchIndex + 1, true);
  endOrder(peer);
}

export function onAppendAccepted(state: RaftState, role: Leader, message: AppendAccepted): void {
  const peer = findProgress(role.peers, message.from);
  if (peer === undefined) return;
  peer.isActive = true;
  const hasMoved = raiseMatch(peer, message.matchIndex);
  if (peer.flow.kind === "probe") {
    becomeReplicate(peer, Math.max(message.agreedIndex, peer.matchIndex) + 1);
  } else if (peer.flow.kind === "catch-up" && peer.matchIndex >= state.log.base.index) {
    withdrawCatchUp(state.effects, peer);
    becomeProbe(peer, peer.matchIndex + 1, false);
  }
  if (!hasMoved) return;
  advanceCommit(state, role);
  if (role.handover?.to === peer.nodeId && !role.handover.isAsked) pressHandover(state, role);
}

/**
 * Goes back to where both logs may agree. The follower named its last entry of the leader's term at that place or an older one;
 * the leader goes on from its own last entry of that term or an older one: each round trip passes over a term, not an entry.
 */
export function onAppendRejected(state: RaftState, role: Leader, message: AppendRejected): void {
  const peer = findProgress(role.peers, message.from);
  if (peer === undefined) return;
  peer.isActive = true;
  const { prevIndex, hintIndex, hintTerm } = message;
  if (peer.flow.kind === "catch-up") return;
  if (peer.flow.kind === "probe" && prevIndex !== peer.nextIndex - 1) return; // of an earlier probe
  if (prevIndex <= peer.matchIndex) {
    // Late, unless it is what was just asked: then it hasn't got what it acknowledged.
    if (peer.flow.kind !== "probe" || prevIndex !== peer.matchIndex || prevIndex === 0) return;
    forgetMatch(peer);
  }
  const agreement = findAgreement(state.log, { index: Math.min(hintIndex, prevIndex - 1), term: hintTerm });
  becomeProbe(peer, Math.max(agreement, peer.matchIndex) + 1, false);
}

export function onHeartbeatResponse(state: RaftState, role: Leader, message: HeartbeatResponse): void {
  const peer = findProgress(role.peers, message.from);
  if (peer === undefined) return;
  peer.isActive = true;
  const { flow } = peer;
  if (flow.kind === "probe") flow.isWaiting = false;
  else if (flow.kind === "replicate") {
    if (message.hasForgotten && peer.lostIndex === 0) becomeProbe(peer, peer.matchIndex + 1, false);
    else flow.isProbing = peer.matchIndex < state.log.lastIndex;
  }
  onRoundAnswered(state, role, message);
}
