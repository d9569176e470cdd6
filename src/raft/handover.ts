import { emit } from "./effects.ts";
import { becomeFollower } from "./follower.ts";
import { findMember, type NodeId } from "./member.ts";
import { findProgress, type Progress } from "./progress.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

export type TransferOutcome =
  | { readonly outcome: "begun"; readonly to: NodeId }
  | { readonly outcome: "not-leader"; readonly leader: NodeId | undefined }
  | { readonly outcome: "handing-over"; readonly to: NodeId }
  | { readonly outcome: "impossible"; readonly reason: string };

/** Leadership transfer (thesis 3.10): no new proposals, bring the target up to date, tell it to campaign at once. */
export function transferLeadership(state: RaftState, to: NodeId | undefined): TransferOutcome {
  const { role } = state;
  if (role.kind !== "leader") return { outcome: "not-leader", leader: role.kind === "follower" ? role.leader : undefined };
  if (role.handover !== undefined) return { outcome: "handing-over", to: role.handover.to };
  if (to === state.self.nodeId) return { outcome: "impossible", reason: `${to} leads already` };
  if (to !== undefined && findMember(membershipOf(state).voters, to) === undefined)
    return { outcome: "impossible", reason: `${to} is no voter` };
  const target = to ?? findHeir(state, role)?.nodeId;
  if (target === undefined) return { outcome: "impossible", reason: "there is no other voter" };
  begin(state, role, target, false);
  return { outcome: "begun", to: target };
}

/** Hands over to whoever is furthest ahead. Who is obliged to and finds nobody steps down. */
export function beginHandover(state: RaftState, role: Leader, { isObliged }: { readonly isObliged: boolean }): void {
  const heir = findHeir(state, role);
  if (heir !== undefined) begin(state, role, heir.nodeId, isObliged);
  else if (isObliged) becomeFollower(state, state.hardState.term, undefined);
}

/** Once the target has everything on its disk, it is told. Called when its match moves, and with each heartbeat: a message may be lost. */
export function pressHandover(state: RaftState, role: Leader): void {
  const { handover } = role;
  if (handover === undefined || findProgress(role.peers, handover.to)?.matchIndex !== state.log.lastIndex) return;
  handover.isAsked = true;
  emit(state, handover.to, { kind: "timeout-now" });
}

/** A tick of a leader that hands over: after an election timeout it goes on as before, or goes. */
export function tickHandover(state: RaftState, role: Leader): void {
  const { handover } = role;
  if (handover === undefined) return;
  handover.elapsed += 1;
  if (handover.elapsed < state.settings.electionTicks) return;
  role.handover = undefined;
  if (handover.isObliged) becomeFollower(state, state.hardState.term, undefined);
}

function begin(state: RaftState, role: Leader, to: NodeId, isObliged: boolean): void {
  role.handover = { to, elapsed: 0, isAsked: false, isObliged };
  pressHandover(state, role);
}

/** The voter furthest ahead of those that answer; of all, when none has lately. */
function findHeir(state: RaftState, role: Leader): Progress | undefined {
  let heir: Progress | undefined;
  for (const { nodeId } of membershipOf(state).voters) {
    const peer = findProgress(role.peers, nodeId);
    if (peer === undefined) continue;
    const isBetter = peer.isActive === heir?.isActive ? peer.matchIndex > heir.matchIndex : peer.isActive;
    if (heir === undefined || isBetter) heir = peer;
  }
  return heir;
}
