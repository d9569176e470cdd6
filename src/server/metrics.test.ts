import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics } from "./metrics.ts";

test("compactions are counted by how they ended, with what they removed", async () => {
  const metrics = new Metrics();
  const report = { segments: 3, undecodableBatches: 0, segmentsMerged: 0, passes: 1, durationMs: 1500, tombstonesRemoved: 2 };
  const { logObserver } = metrics;
  logObserver.compacted?.({ ...report, isComplete: true, bytesBefore: 1000, bytesAfter: 400, recordsRemoved: 7 });
  // Packed again, a batch may have become larger: a counter can't go back.
  logObserver.compacted?.({ ...report, isComplete: false, bytesBefore: 10, bytesAfter: 20, recordsRemoved: 2 });
  const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("proglog_log_compact"));
  const figures = lines.filter((line) => !line.includes("_bucket"));
  assert.deepEqual(figures, [
    'proglog_log_compactions_total{outcome="complete"} 1',
    'proglog_log_compactions_total{outcome="ended-early"} 1',
    "proglog_log_compaction_duration_seconds_sum 3",
    "proglog_log_compaction_duration_seconds_count 2",
    "proglog_log_compacted_bytes_total 1010",
    "proglog_log_compaction_freed_bytes_total 600",
    "proglog_log_compaction_removed_records_total 9",
    "proglog_log_compaction_removed_tombstones_total 4",
  ]);
  metrics.close();
});

test("what peers do is counted, and what waits for them shown", async () => {
  const metrics = new Metrics();
  metrics.peerObserver.dropped?.();
  metrics.peerObserver.refused?.("unwanted");
  metrics.watchPeers({
    status: () => ({ knownCount: 2, reachedCount: 1, incomingCount: 3, bufferedBytes: 4096, questionsCount: 5 }),
  });
  const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("proglog_peer"));
  assert.deepEqual(lines.sort(), [
    "proglog_peer_buffered_bytes 4096",
    "proglog_peer_connections 3",
    "proglog_peer_messages_dropped_total 1",
    "proglog_peer_questions 5",
    'proglog_peer_refusals_total{reason="unwanted"} 1',
    "proglog_peers 2",
    "proglog_peers_reached 1",
  ]);
  metrics.close();
});

test("what groups do is counted, and a node that has none yet shows none", async () => {
  const metrics = new Metrics();
  const { groupObserver } = metrics;
  groupObserver.elected?.({ term: 3 });
  groupObserver.committed?.({ entries: 4, waitedMs: [2, 700] });
  groupObserver.sent?.({ to: "n2", entries: 5, bytes: 600 });
  groupObserver.repaired?.({ entries: 7, bytes: 800 });
  metrics.watchCluster({ groups: undefined, clusterCatalog: undefined, controller: undefined, facts: undefined });
  const lines = (await metrics.text()).split("\n").filter((line) => /^proglog_(group|hard|unsynced|catalog)/.test(line));
  for (const line of [
    "proglog_group_elections_won_total 1",
    "proglog_group_committed_entries_total 4",
    "proglog_group_commit_duration_seconds_count 2",
    'proglog_group_commit_duration_seconds_bucket{le="0.0025"} 1',
    "proglog_group_sent_entries_total 5",
    "proglog_group_sent_bytes_total 600",
    "proglog_group_repaired_entries_total 7",
    "proglog_group_repaired_bytes_total 800",
    'proglog_groups{role="leader"} 0',
    "proglog_hard_state_syncs_total 0",
    "proglog_unsynced_bytes 0",
    "proglog_catalog_offset 0",
  ])
    assert.ok(lines.includes(line), line);
  metrics.close();
});
