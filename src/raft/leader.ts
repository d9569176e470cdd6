import { assert } from "../base/assert.ts";
import { addToWindow, emptyWindow, windowCount } from "./byte-window.ts";
import { withdrawCatchUp } from "./catch-up.ts";
import type { Entry, Proposal } from "./entry.ts";
import { appendEntries } from "./log-coordinates.ts";
import type { NodeId } from "./member.ts";
import { type Membership, membersOf } from "./membership.ts";
import { findProgress, newProgress } from "./progress.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import { newReadRounds } from "./read-index.ts";
import type { Leader } from "./role.ts";

/**
 * Leads the term it was elected in. A no-op comes first: only by counting an entry of its own term does a leader learn how far
 * the log is committed (paper §5.4.2, §8).
 */
export function becomeLeader(state: RaftState): void {
  const noOpIndex = state.log.lastIndex + 1;
  const role: Leader = {
    kind: "leader",
    noOpIndex,
    peers: [],
    leaving: [],
    uncommitted: emptyWindow(),
    reads: newReadRounds(),
    handover: undefined,
    heartbeatElapsed: 0,
    quietElapsed: 0,
    sleepRound: 0,
    isAskingToSleep: false,
  };
  state.role = role;
  state.electionElapsed = 0;
  settlePeers(state, role);
  appendAsLeader(state, { kind: "no-op", span: 0, bytes: 0 });
}

/** Gives the next place in the log. */
export function appendAsLeader(
  state: RaftState,
  proposal: Proposal | { readonly kind: "no-op" | "membership"; readonly span: 0; readonly bytes: number },
  membership?: Membership,
): Entry {
  const { log, hardState } = state;
  const entry: Entry = {
    index: log.lastIndex + 1,
    term: hardState.term,
    kind: proposal.kind,
    span: proposal.span,
    baseOffset: log.nextOffset,
    bytes: proposal.bytes,
    ...(membership === undefined ? {} : { membership }),
  };
  appendEntries(log, [entry]);
  return entry;
}

export type ProposeRefusal =
  | { readonly outcome: "not-leader"; readonly leader: NodeId | undefined }
  /** Leadership is being handed over. Nothing was appended. */
  | { readonly outcome: "handing-over"; readonly to: NodeId }
  /** Too much is proposed and not committed. */
  | { readonly outcome: "overloaded" };

export type ProposeOutcome = { readonly outcome: "appended"; readonly entries: readonly Entry[] } | ProposeRefusal;

/** Appends all proposals, or none. */
export function propose(state: RaftState, proposals: readonly Proposal[]): ProposeOutcome {
  const { role, settings } = state;
  if (role.kind !== "leader") return { outcome: "not-leader", leader: role.kind === "follower" ? role.leader : undefined };
  if (role.handover !== undefined) return { outcome: "handing-over", to: role.handover.to };
  const { uncommitted } = role;
  let bytes = 0;
  for (const proposal of proposals) {
    assert((proposal.kind === "data") === proposal.span > 0, "data spans offsets, and nothing else does");
    bytes += proposal.bytes;
  }
  // What alone is larger than the limit must still get in: when nothing else is there, it does.
  const isTooMuch = uncommitted.bytes + bytes > settings.uncommittedMaxBytes && uncommitted.bytes > 0;
  if (isTooMuch || windowCount(uncommitted) >= settings.uncommittedMaxCount) return { outcome: "overloaded" };
  const entries = proposals.map((proposal) => appendAsLeader(state, proposal));
  const last = entries.at(-1);
  if (last !== undefined) addToWindow(uncommitted, last.index, bytes);
  return { outcome: "appended", entries };
}

/** Brings the peers in line with the membership: progress of who came, none of who went. */
export function settlePeers(state: RaftState, role: Leader): void {
  const others = membersOf(membershipOf(state)).filter(({ nodeId }) => nodeId !== state.self.nodeId);
  const peers = others.map(({ nodeId }) => findProgress(role.peers, nodeId) ?? newProgress(nodeId, state.log.lastIndex + 1));
  for (const peer of role.peers) if (!peers.includes(peer)) withdrawCatchUp(state.effects, peer);
  role.peers.splice(0, role.peers.length, ...peers);
}
