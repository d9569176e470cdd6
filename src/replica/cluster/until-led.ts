import type { Clock } from "../../base/clock.ts";
import { clusterPollMs, topicLedMaxMs } from "../../base/cluster-limits.ts";
import { sleep } from "../../base/sleep.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { Topic } from "../catalog.ts";

/** Waits until each partition has somebody who leads it, as this node has heard; or for long enough, or until the signal aborts. */
export async function untilLed(
  { partitions }: Topic,
  groups: () => GroupSet<GroupReplica> | undefined,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const endMs = clock.monotonic() + topicLedMaxMs;
  for (const { uuid } of partitions) {
    while (groups()?.findLeader(uuid) === undefined) {
      if (clock.monotonic() >= endMs || signal.aborted) return;
      await sleep(clock, clusterPollMs, signal);
    }
  }
}
