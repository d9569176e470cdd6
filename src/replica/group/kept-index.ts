import { peerRetentionMs, peerStuckMs } from "../../base/cluster-limits.ts";
import type { NodeId } from "../../raft/member.ts";
import { membersOf } from "../../raft/membership.ts";
import { membershipOf, type RaftState } from "../../raft/raft-state.ts";
import type { PeerLags } from "./peer-lags.ts";

/**
 * Up to where a leader may trim: what all members have on their disks, but for those that haven't been heard of for very long, and those that
 * lag behind and get no further. Where this replica doesn't lead, nowhere.
 */
export function keptIndexOf(
  state: RaftState,
  {
    nowMs,
    ledSinceMs,
    heardMs,
    lags,
  }: {
    readonly nowMs: number;
    readonly ledSinceMs: number;
    readonly heardMs: ReadonlyMap<NodeId, number>;
    readonly lags: PeerLags;
  },
): number {
  const { role, self, log } = state;
  if (role.kind !== "leader") return 0;
  lags.look(role.peers, { lastIndex: log.durableIndex, nowMs });
  let kept = log.durableIndex;
  for (const { nodeId } of membersOf(membershipOf(state))) {
    if (nodeId === self.nodeId) continue;
    if (nowMs - lags.sinceMs(nodeId, nowMs) > peerStuckMs) continue;
    const lastHeardMs = Math.max(ledSinceMs, heardMs.get(nodeId) ?? 0);
    const peer = role.peers.find((progress) => progress.nodeId === nodeId);
    // What a peer is being brought up to stays until it has it.
    if (peer?.flow.kind === "catch-up") kept = Math.min(kept, peer.flow.baseIndex);
    if (nowMs - lastHeardMs <= peerRetentionMs) kept = Math.min(kept, peer?.matchIndex ?? 0);
  }
  return kept;
}
