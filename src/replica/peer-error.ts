import { isProglogError, ProglogError } from "../base/error.ts";
import type { PeerAddress } from "./peer-network.ts";

/** What a question to a peer fails with, the same whatever carries it. */
export function noWayError(to: PeerAddress, why: string, cause?: unknown): ProglogError {
  return new ProglogError("UNAVAILABLE", `Cannot ask ${describePeer(to)}: ${why}`, { cause });
}

export function unansweredError(to: PeerAddress, kind: string, timeoutMs: number): ProglogError {
  return new ProglogError("TIMEOUT", `Cannot ask ${describePeer(to)} for ${kind}: no answer came within ${timeoutMs} ms`);
}

export function givenUpError(to: PeerAddress, kind: string): ProglogError {
  return new ProglogError("CANCELLED", `Cannot ask ${describePeer(to)} for ${kind}: the question was cancelled`);
}

/** What the asker gets to see of whatever was thrown: what isn't a `ProglogError` keeps its message to itself. */
export function toRefusal(error: unknown): ProglogError {
  return isProglogError(error) ? error : new ProglogError("INTERNAL", "The question failed inside the node that was asked");
}

export function describePeer(to: PeerAddress): string {
  return "nodeId" in to ? to.nodeId : to.address;
}
