import { emit } from "./effects.ts";
import type { RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * To all members; with the number of the round of reads, if one is running. Those that go out for readers put off none of the
 * clock's: with each of these goes what is repeated because it may be lost.
 */
export function sendHeartbeats(state: RaftState, role: Leader): void {
  const round = role.reads.running?.round ?? 0;
  for (const peer of role.peers) {
    const matchIndex = Math.max(peer.matchIndex, peer.lostIndex);
    emit(state, peer.nodeId, { kind: "heartbeat", commitIndex: state.commitIndex, matchIndex, round });
  }
}
