import { isPending } from "./log-coordinates.ts";
import { countForwarded } from "./forwarded-reads.ts";
import { isHardStateDurable } from "./hard-state.ts";
import type { RaftState } from "./raft-state.ts";

/**
 * Nothing is under way, as far as this replica knows: all members have everything, on their disks, and were told that it is
 * committed, but for those on nodes that are lost. Then a tick would only have heartbeats sent. That alone isn't leave to stop
 * ticking, since what was told may have been lost on its way: that is agreed upon (sleep.ts).
 */
export function isQuiet(state: RaftState): boolean {
  const { log, role, commitIndex, effects, lostNodes } = state;
  if (commitIndex !== log.lastIndex || log.durableIndex !== log.lastIndex || isPending(log)) return false;
  if (!isHardStateDurable(state.hardState) || state.isDamaged || state.owed !== undefined || effects.held.length > 0)
    return false;
  if (role.kind === "follower" && countForwarded(role.forwarded) > 0) return false;
  if (role.kind === "follower") return role.leader !== undefined && role.agreedIndex === log.lastIndex;
  if (role.kind !== "leader" || role.handover !== undefined) return false;
  if (role.reads.running !== undefined || role.reads.waiting.length > 0) return false;
  return role.peers.every(
    (peer) => lostNodes.has(peer.nodeId) || (peer.matchIndex === log.lastIndex && peer.toldCommitIndex === commitIndex),
  );
}
