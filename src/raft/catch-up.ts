import type { Effects } from "./effects.ts";
import type { NodeId } from "./member.ts";
import { becomeCatchUp, becomeProbe, findProgress, type Progress } from "./progress.ts";
import type { RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * A peer lacks what was trimmed here, and is given files by other means. An order has an id, so that a late report isn't taken for
 * one of a later order; and it is withdrawn when nobody waits for it any more: files are large.
 */
export function orderCatchUp(state: RaftState, peer: Progress): void {
  state.lastCatchUp += 1;
  const id = state.lastCatchUp;
  const { index: baseIndex } = state.log.base;
  becomeCatchUp(peer, { id, baseIndex });
  const { nodeId: to, matchIndex } = peer;
  state.effects.catchUps.push({ id, to, term: state.hardState.term, baseIndex, matchIndex });
}

/** One that wasn't handed out yet is merely forgotten. */
export function withdrawCatchUp(effects: Effects, { nodeId: to, flow }: Progress): void {
  if (flow.kind !== "catch-up") return;
  const { id } = flow;
  const waiting = effects.catchUps.findIndex((order) => order.id === id);
  if (waiting >= 0) effects.catchUps.splice(waiting, 1);
  else effects.withdrawals.push({ id, to });
}

export interface CatchUpReport {
  readonly to: NodeId;
  readonly id: number;
}

/** The peer was given everything up to `index` by other means. */
export function onCaughtUp(state: RaftState, { index, ...report }: CatchUpReport & { readonly index: number }): void {
  const peer = findWaiting(state, report);
  if (peer === undefined) return;
  becomeProbe(peer, Math.max(Math.min(index, state.log.lastIndex), peer.matchIndex) + 1, false);
}

/** It is asked for again when the peer next answers a heartbeat. */
export function onCatchUpFailed(state: RaftState, report: CatchUpReport): void {
  const peer = findWaiting(state, report);
  if (peer !== undefined) becomeProbe(peer, peer.matchIndex + 1, true);
}

/**
 * How far the log may be trimmed without cutting a peer off that may still be brought on from where it is: nothing that a catch-up
 * began with, and nothing that a member needs whose node isn't lost.
 */
export function trimMaxIndex({ role, log, commitIndex, lostNodes }: RaftState): number {
  let index = Math.min(commitIndex, log.durableIndex);
  if (role.kind !== "leader") return index;
  for (const { nodeId, flow, matchIndex } of role.peers) {
    if (flow.kind === "catch-up") index = Math.min(index, flow.baseIndex);
    else if (!lostNodes.has(nodeId)) index = Math.min(index, matchIndex);
  }
  return Math.max(index, log.base.index);
}

export function withdrawAll({ effects }: RaftState, { peers }: Leader): void {
  for (const peer of peers) withdrawCatchUp(effects, peer);
}

function findWaiting({ role }: RaftState, { to, id }: CatchUpReport): Progress | undefined {
  const peer = role.kind === "leader" ? findProgress(role.peers, to) : undefined;
  return peer?.flow.kind === "catch-up" && peer.flow.id === id ? peer : undefined;
}
