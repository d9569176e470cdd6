import { newestMembership } from "../../raft/log-coordinates.ts";
import type { NodeId } from "../../raft/member.ts";
import { isJoint, type Membership } from "../../raft/membership.ts";
import type { RaftState } from "../../raft/raft-state.ts";

/** How a group stands, as its leader knows it: what a change of its members is planned on. */
export interface GroupReport {
  readonly leader: NodeId;
  /** It has lost data, or can't write: it is to be led by another. */
  readonly isLeaderDamaged: boolean;
  readonly membership: Membership;
  /** The membership is committed and not joint, and nothing stands against changing it. */
  readonly isSettled: boolean;
  readonly lastIndex: number;
  /** All members but the leader. */
  readonly peers: readonly PeerReport[];
}

export interface PeerReport {
  readonly nodeId: NodeId;
  /** Entries that it lacks on its disk, or is thought to. */
  readonly lag: number;
  /** It was heard of lately. */
  readonly isActive: boolean;
  /** It lost what it had acknowledged. */
  readonly isLost: boolean;
}

/** What this replica reports; undefined when it doesn't lead. */
export function reportOf({ role, log, commitIndex, self, isDamaged, lostNodes }: RaftState): GroupReport | undefined {
  if (role.kind !== "leader") return undefined;
  const { index, membership } = newestMembership(log);
  const hasCommitted = index <= commitIndex && commitIndex >= role.noOpIndex;
  return {
    leader: self.nodeId,
    isLeaderDamaged: isDamaged,
    membership,
    isSettled: hasCommitted && !isJoint(membership) && role.handover === undefined,
    lastIndex: log.lastIndex,
    peers: role.peers.map(({ nodeId, matchIndex, isActive, lostIndex }) => ({
      nodeId,
      // One that hasn't got the leader's first entry isn't known to agree with anything behind its match.
      lag: log.lastIndex - matchIndex,
      isActive: isActive && matchIndex >= role.noOpIndex && !lostNodes.has(nodeId),
      isLost: lostIndex > 0,
    })),
  };
}
