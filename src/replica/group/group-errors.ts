import { AssertionError } from "../../base/assert.ts";
import { type ErrorDetails, isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";

/** Who leads, as far as it is known here, and where it is reached. */
export interface KnownLeader {
  readonly nodeId: NodeId | undefined;
  readonly rpcAddress: string | undefined;
  /** In which it leads: of two answers the one with the higher term is the newer. */
  readonly term?: number | undefined;
}

/** Nothing was done: somebody else is to be asked. Details {leaderId, leaderRpcAddr, term} where known. */
export function notLeaderError(attempt: string, leader: KnownLeader): ProglogError {
  const { nodeId, rpcAddress } = leader;
  const reason =
    nodeId === undefined ? "this node doesn't lead the partition, and nobody is known to" : `${nodeId} leads the partition`;
  return new ProglogError("NOT_LEADER", `Cannot ${attempt}: ${reason}`, {
    hint: nodeId === undefined ? "Try again soon: a leader is being elected." : `Ask ${rpcAddress ?? nodeId}.`,
    details: leaderDetails(leader),
  });
}

/** The same while leadership is on its way to somebody. */
export function handingOverError(attempt: string, leader: KnownLeader): ProglogError {
  const { nodeId } = leader;
  return new ProglogError("NOT_LEADER", `Cannot ${attempt}: leadership is being handed over to ${nodeId ?? "another node"}`, {
    hint: "Try again soon, there.",
    details: leaderDetails(leader),
  });
}

/** It was proposed, and what became of it isn't known here. Details as above. */
export function leadershipLostError(reason: string, leader?: KnownLeader): ProglogError {
  return new ProglogError("LEADERSHIP_LOST", `Cannot tell whether it was appended: ${reason}`, {
    hint: "Send it again with the same producer id and sequence: then it is appended once. Without, read what is there first.",
    ...(leader !== undefined && { details: leaderDetails(leader) }),
  });
}

/** Too much is proposed and not committed. */
export function overloadedError(attempt: string): ProglogError {
  return new ProglogError("OVERLOADED", `Cannot ${attempt}: too much is proposed and not committed yet`, {
    hint: "Await earlier appends before making more, or retry later. Do most of the partition's replicas answer?",
  });
}

/** A replica found something that can't be. */
export function stoppedError(cause: unknown): ProglogError {
  return new ProglogError("INTERNAL", `Cannot use this replica: it stopped itself: ${messageOf(cause)}`, {
    hint: "This is a fault of proglog's own: please report it. Starting the node again opens the replica again.",
    cause,
  });
}

/** A node that stops says who goes on, where that is known. Other errors stay as they are. */
export function withSuccessor(error: ProglogError, successor: KnownLeader | undefined): ProglogError {
  return successor === undefined ? error : addLeader(error, leaderDetails(successor));
}

/** The same by an error's details, as `NodeStorage.findSuccessor` has them. */
export function naming(error: unknown, leader: ErrorDetails): unknown {
  return isProglogError(error) ? addLeader(error, leader) : error;
}

function addLeader(error: ProglogError, leader: ErrorDetails): ProglogError {
  const { leaderRpcAddr } = leader;
  if (error.code !== "SHUTTING_DOWN" || typeof leaderRpcAddr !== "string") return error;
  const details = { ...error.details, ...leader };
  return new ProglogError(error.code, error.message, { hint: `Ask ${leaderRpcAddr}.`, details, cause: error });
}

/** What an error tells of who leads. */
export function leaderDetails({ nodeId, rpcAddress, term }: KnownLeader): ErrorDetails {
  return {
    ...(nodeId !== undefined && { leaderId: nodeId }),
    ...(rpcAddress !== undefined && { leaderRpcAddr: rpcAddress }),
    ...(nodeId !== undefined && term !== undefined && { term }),
  };
}

/** Something that was believed isn't so, or code that is wrong: nothing that a disk or a network may bring about. */
export function isOwnFault(error: unknown): boolean {
  if (error instanceof AssertionError || isProglogError(error, "INTERNAL")) return true;
  return !(error instanceof Error && "code" in error);
}

export function closedError(): ProglogError {
  return new ProglogError("LOG_CLOSED", "Cannot use this replica: it is closed");
}
