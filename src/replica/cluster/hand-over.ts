import type { Clock } from "../../base/clock.ts";
import { handOverMaxMs } from "../../base/cluster-limits.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";

/** Hands over what is led here, and waits a little until somebody else leads it. */
export async function handOver(groups: GroupSet<GroupReplica>, clock: Clock): Promise<void> {
  groups.handOverAll();
  const endMs = clock.monotonic() + handOverMaxMs;
  while (leadsSome(groups) && clock.monotonic() < endMs) {
    await new Promise<void>((resolve) => void clock.setTimer(handOverPollMs, resolve));
  }
}

function leadsSome(groups: GroupSet<GroupReplica>): boolean {
  for (const { state } of groups.states())
    if (state.kind === "open" && state.member.isLeader && state.member.membership.voters.length > 1) return true;
  return false;
}

const handOverPollMs = 10;
