import type { NodeId } from "../../raft/member.ts";
import type { Progress } from "../../raft/progress.ts";

/**
 * Since when peers have been behind without getting any further, as far as a leader has looked. A member whose disk is full answers as ever,
 * and would have all others keep what it lacks until theirs are full as well.
 */
export class PeerLags {
  readonly #lags = new Map<NodeId, { readonly matchIndex: number; readonly sinceMs: number }>();

  /** Looks at what peers have of a log that ends at `lastIndex`. */
  look(
    peers: readonly Pick<Progress, "nodeId" | "matchIndex">[],
    { lastIndex, nowMs }: { readonly lastIndex: number; readonly nowMs: number },
  ): void {
    for (const { nodeId, matchIndex } of peers) {
      if (matchIndex >= lastIndex) this.#lags.delete(nodeId);
      else if (this.#lags.get(nodeId)?.matchIndex !== matchIndex) this.#lags.set(nodeId, { matchIndex, sinceMs: nowMs });
    }
    for (const nodeId of this.#lags.keys()) if (!peers.some((peer) => peer.nodeId === nodeId)) this.#lags.delete(nodeId);
  }

  /** It fetches a piece of the log: it gets on, though it acknowledges nothing before it has all. */
  fetched(nodeId: NodeId, nowMs: number): void {
    const lag = this.#lags.get(nodeId);
    if (lag !== undefined) this.#lags.set(nodeId, { ...lag, sinceMs: nowMs });
  }

  /** Of one that isn't behind, or gets on, it is now. */
  sinceMs(nodeId: NodeId, nowMs: number): number {
    return this.#lags.get(nodeId)?.sinceMs ?? nowMs;
  }

  /** Another leads: what was seen says nothing any more. */
  clear(): void {
    this.#lags.clear();
  }
}
