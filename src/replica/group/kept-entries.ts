import type { Clock } from "../../base/clock.ts";
import { peerRetentionMs, peerStuckMs } from "../../base/cluster-limits.ts";
import type { NodeId } from "../../raft/member.ts";
import { membersOf } from "../../raft/membership.ts";
import { membershipOf, type RaftState } from "../../raft/raft-state.ts";
import { PeerLags } from "./peer-lags.ts";

/**
 * What a leader keeps for other members when it trims: what they don't have on their disks, but for those that haven't been heard of for very
 * long, and those that lag behind and get no further.
 */
export class KeptEntries {
  readonly #state: RaftState;
  readonly #clock: Clock;
  /** When a peer was last heard of, by the monotonic clock. */
  readonly #heardMs = new Map<NodeId, number>();
  readonly #lags = new PeerLags();
  #ledSinceMs = 0;

  constructor(state: RaftState, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
  }

  heard(nodeId: NodeId): void {
    this.#heardMs.set(nodeId, this.#clock.monotonic());
  }

  /** A peer asks for a part of the log: it gets on. */
  fetched(nodeId: NodeId): void {
    this.#lags.fetched(nodeId, this.#clock.monotonic());
  }

  /** This replica leads from now on. */
  led(): void {
    this.#ledSinceMs = this.#clock.monotonic();
    this.#lags.clear();
  }

  /** Up to here it may trim. Where this replica doesn't lead, nowhere. */
  get trimMaxIndex(): number {
    const { role, self, log } = this.#state;
    if (role.kind !== "leader") return 0;
    const nowMs = this.#clock.monotonic();
    this.#lags.look(role.peers, { lastIndex: log.durableIndex, nowMs });
    let index = log.durableIndex;
    for (const { nodeId } of membersOf(membershipOf(this.#state))) {
      if (nodeId === self.nodeId || nowMs - this.#lags.sinceMs(nodeId, nowMs) > peerStuckMs) continue;
      const lastHeardMs = Math.max(this.#ledSinceMs, this.#heardMs.get(nodeId) ?? 0);
      const peer = role.peers.find((progress) => progress.nodeId === nodeId);
      // What a peer is being brought up to stays until it has it.
      if (peer?.flow.kind === "catch-up") index = Math.min(index, peer.flow.baseIndex);
      if (nowMs - lastHeardMs <= peerRetentionMs) index = Math.min(index, peer?.matchIndex ?? 0);
    }
    return index;
  }
}
