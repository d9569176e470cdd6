import type { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";
import type { Membership } from "../../raft/membership.ts";
import { membershipOf, type RaftState } from "../../raft/raft-state.ts";
import { leaderOf, type Role } from "../../raft/role.ts";

/** How a group stands, as this replica knows it. */
export interface GroupStatus {
  readonly role: Role["kind"];
  readonly term: number;
  readonly leader: NodeId | undefined;
  readonly membership: Membership;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly durableIndex: number;
  readonly commitIndex: number;
  readonly shownIndex: number;
  /** Why it is out of the write path; undefined while it isn't. */
  readonly damage: ProglogError | undefined;
  /** Of appends that aren't committed, on a leader. */
  readonly queuedBytes: number;
  /** On a leader: the other members. */
  readonly peers: readonly PeerStatus[];
  /** To whom leadership is being handed over. */
  readonly handingOverTo: NodeId | undefined;
}

export interface PeerStatus {
  readonly nodeId: NodeId;
  /** What it is known to have on its disk. */
  readonly matchIndex: number;
  readonly flow: "probe" | "replicate" | "catch-up";
  /** Heard of lately. */
  readonly isActive: boolean;
  /** It lost what it had acknowledged, up to here, and counts for nothing until it has that again; 0 when it lost nothing. */
  readonly lostIndex: number;
}

export function describeGroup(
  state: RaftState,
  around: { readonly shownIndex: number; readonly damage: ProglogError | undefined; readonly heldBytes: number },
): GroupStatus {
  const { role, hardState, log, commitIndex, self } = state;
  const isLeader = role.kind === "leader";
  return {
    role: role.kind,
    term: hardState.term,
    leader: leaderOf(role, self.nodeId),
    membership: membershipOf(state),
    firstIndex: log.base.index + 1,
    lastIndex: log.lastIndex,
    durableIndex: log.durableIndex,
    commitIndex,
    shownIndex: around.shownIndex,
    damage: around.damage,
    queuedBytes: around.heldBytes + (isLeader ? role.uncommitted.bytes : 0),
    peers: isLeader
      ? role.peers.map(({ nodeId, matchIndex, flow, isActive, lostIndex }) => ({
          nodeId,
          matchIndex,
          flow: flow.kind,
          isActive,
          lostIndex,
        }))
      : [],
    handingOverTo: isLeader ? role.handover?.to : undefined,
  };
}

/**
 * It has all there is, or gets it as it comes. Who was out of reach for a moment is asked with care again, and stays so while
 * there is nothing to send: it lacks nothing. Nor is a group that sleeps asked who is there; its node knows.
 */
export function isPeerInSync({ matchIndex, flow, isActive }: PeerStatus, lastIndex: number): boolean {
  return matchIndex === lastIndex || (isActive && flow === "replicate");
}
