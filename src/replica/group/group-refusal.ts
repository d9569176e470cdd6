import type { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";
import type { RaftState } from "../../raft/raft-state.ts";
import { leaderOf } from "../../raft/role.ts";
import { handingOverError, type KnownLeader, notLeaderError } from "./group-errors.ts";

/** Why a replica appends nothing; undefined when it may. */
export function findRefusal({ role, self }: RaftState, { attempt, damage, successor }: RefusalParts): ProglogError | undefined {
  if (role.kind === "leader") {
    if (damage !== undefined) return damage;
    return role.handover === undefined ? undefined : handingOverError(attempt, successor ?? nobody);
  }
  if (leaderOf(role, self.nodeId) === undefined && damage !== undefined) return damage;
  return notLeaderError(attempt, successor ?? nobody);
}

/** Who leads in a replica's place, or is to: whoever is sent away goes there. */
export function findSuccessor(
  { role, hardState, self }: RaftState,
  rpcAddressOf: (nodeId: NodeId) => string | undefined,
): KnownLeader | undefined {
  const nodeId = role.kind === "leader" ? role.handover?.to : leaderOf(role, self.nodeId);
  if (nodeId === undefined) return undefined;
  // Of a handover the term isn't known yet.
  return { nodeId, rpcAddress: rpcAddressOf(nodeId), term: role.kind === "leader" ? undefined : hardState.term };
}

export interface RefusalParts {
  readonly attempt: string;
  /** Why the replica is out of the write path; undefined while it isn't. */
  readonly damage: ProglogError | undefined;
  readonly successor: KnownLeader | undefined;
}

const nobody: KnownLeader = { nodeId: undefined, rpcAddress: undefined };
