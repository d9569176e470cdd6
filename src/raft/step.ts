import { unreachable } from "../base/assert.ts";
import { emit } from "./effects.ts";
import {
  isInLease,
  isOfTransfer,
  onPreVoteRequest,
  onPreVoteResponse,
  onTimeoutNow,
  onVoteRequest,
  onVoteResponse,
} from "./election.ts";
import { becomeFollower } from "./follower.ts";
import { onReadResponse } from "./forwarded-reads.ts";
import { onAppend, onCommitNotice, onHeartbeat } from "./log-matching.ts";
import type { Message } from "./message.ts";
import { findRefusal, type Refusal } from "./message-check.ts";
import type { RaftState } from "./raft-state.ts";
import { onReadRequest } from "./read-index.ts";
import { onAppendAccepted, onAppendRejected, onHeartbeatResponse } from "./replication.ts";
import { answerStranger, onRemoved } from "./removal.ts";
import { onSleepRequest, onSleepResponse, wake } from "./sleep.ts";

export type StepOutcome =
  | "taken"
  /** Of a term that is over. */
  | "stale"
  /** A request for a vote while the leader is well: it was passed over, its term too. */
  | "in-lease"
  /** It isn't what a peer of this group says. Nothing changed. */
  | Refusal;

/** Takes a message in. */
export function step(state: RaftState, message: Message): StepOutcome {
  const refusal = findRefusal(state, message);
  if (refusal !== undefined) return refusal;
  if (message.kind === "pre-vote-request" || message.kind === "vote-request") answerStranger(state, message);
  const outcome = settleTerm(state, message);
  if (outcome === "taken") dispatch(state, message);
  // Those two say themselves what becomes of who sleeps.
  if (message.kind !== "sleep-request" && message.kind !== "sleep-response") wake(state);
  return outcome;
}

/** Paper §5.1: enters a newer term, passes over what is of an older one. */
function settleTerm(state: RaftState, message: Message): "taken" | "stale" | "in-lease" {
  const { term } = state.hardState;
  if (message.term === term || message.kind === "removed") return "taken"; // an index says how old that is
  if (message.term < term) {
    answerStale(state, message);
    return "stale";
  }
  switch (message.kind) {
    case "pre-vote-request":
      return isInLease(state, message.from) ? "in-lease" : "taken"; // nobody enters a term for it
    case "pre-vote-response":
      if (message.isGranted) return "taken"; // of the term that would be
      break;
    case "vote-request":
      // Who asks in earnest found a quorum that had given its leader up. Who sleeps knows of nothing that would stand against it.
      if (isInLease(state, message.from) && !isOfTransfer(state, message) && !state.isAsleep) return "in-lease";
      break;
    case "vote-response":
    case "append":
    case "append-accepted":
    case "append-rejected":
    case "commit-notice":
    case "heartbeat":
    case "heartbeat-response":
    case "sleep-request":
    case "sleep-response":
    case "newer-term":
    case "timeout-now":
    case "read-request":
    case "read-response":
      break;
    default:
      unreachable(message);
  }
  becomeFollower(state, message.term, undefined);
  return "taken";
}

/** Who asks for a vote or leads in a term that is over is told so; all else of it is only late, or soon followed by what is told. */
function answerStale(state: RaftState, message: Message): void {
  if (message.kind === "append" || message.kind === "heartbeat" || message.kind === "sleep-request")
    emit(state, message.from, { kind: "newer-term" });
  else if (message.kind === "pre-vote-request") emit(state, message.from, { kind: "pre-vote-response", isGranted: false });
  else if (message.kind === "vote-request") emit(state, message.from, { kind: "vote-response", isGranted: false });
}

function dispatch(state: RaftState, message: Message): void {
  const { role } = state;
  switch (message.kind) {
    case "pre-vote-request":
      return onPreVoteRequest(state, message);
    case "pre-vote-response":
      return onPreVoteResponse(state, message);
    case "vote-request":
      return onVoteRequest(state, message);
    case "vote-response":
      return onVoteResponse(state, message);
    case "append":
      return onAppend(state, message);
    case "heartbeat":
      return onHeartbeat(state, message);
    case "commit-notice":
      return onCommitNotice(state, message);
    case "append-accepted":
      return role.kind === "leader" ? onAppendAccepted(state, role, message) : undefined;
    case "append-rejected":
      return role.kind === "leader" ? onAppendRejected(state, role, message) : undefined;
    case "heartbeat-response":
      return role.kind === "leader" ? onHeartbeatResponse(state, role, message) : undefined;
    case "sleep-request":
      return onSleepRequest(state, message);
    case "sleep-response":
      return role.kind === "leader" ? onSleepResponse(state, role, message) : undefined;
    case "removed":
      return onRemoved(state, message);
    case "newer-term":
      return undefined; // its term said it all
    case "timeout-now":
      return onTimeoutNow(state, message);
    case "read-request":
      return onReadRequest(state, message);
    case "read-response":
      return onReadResponse(state, message);
    default:
      return unreachable(message);
  }
}
