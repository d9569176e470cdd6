import { assert } from "../base/assert.ts";
import {
  inflightMaxBytes,
  inflightMaxCount,
  promotionMaxLag,
  readsWaitingMaxCount,
  uncommittedMaxBytes,
  uncommittedMaxCount,
} from "../base/cluster-limits.ts";
import { sendMaxBytes } from "../base/limits.ts";

export interface RaftSettings {
  /** Ticks without a word from the leader before a replica may campaign; the timeout is drawn from this to twice it. */
  readonly electionTicks: number;
  /** Ticks between heartbeats. */
  readonly heartbeatTicks: number;
  /** Ticks for which nothing is under way before a leader asks its group to sleep. */
  readonly sleepTicks: number;
  /** Bytes of entries that one send order asks for. */
  readonly sendMaxBytes: number;
  /** Bytes sent to a peer and not acknowledged by it. */
  readonly inflightMaxBytes: number;
  readonly inflightMaxCount: number;
  /** Bytes proposed to a leader and not committed. */
  readonly uncommittedMaxBytes: number;
  readonly uncommittedMaxCount: number;
  /** Readers that wait for a read index. */
  readonly readsWaitingMaxCount: number;
  /** Entries that a learner may be behind when it is promoted. */
  readonly promotionMaxLag: number;
}

/** With a tick of 50 ms: heartbeats each 100 ms, elections after 500 to 1,000 ms. */
export const defaultSettings: RaftSettings = {
  electionTicks: 10,
  heartbeatTicks: 2,
  sleepTicks: 60,
  sendMaxBytes,
  inflightMaxBytes,
  inflightMaxCount,
  uncommittedMaxBytes,
  uncommittedMaxCount,
  readsWaitingMaxCount,
  promotionMaxLag,
};

export function assertSettings(settings: RaftSettings): void {
  for (const [name, value] of Object.entries(settings) as [string, number][])
    assert(Number.isSafeInteger(value) && value > 0, `${name} is a whole number above 0`);
  assert(settings.heartbeatTicks <= settings.electionTicks, "a heartbeat comes before an election");
}
