import { metricPartitionsMaxCount } from "../base/limits.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { type Replica, type ReplicaStatus, replicaStates } from "../replica/replica.ts";
import type { MetricsAdder } from "./metrics-adder.ts";

/** Those whose metrics are told one by one: the first of the node, in the order in which they came. */
function listedReplicas({ replicas }: NodeStorage): readonly Replica[] {
  return [...replicas.values()].slice(0, metricPartitionsMaxCount);
}

/** Of the logs of a node: how they are, what they hold, and what goes in and out. */
export function addPartitionMetrics(add: MetricsAdder, storage: NodeStorage): void {
  add.gauge("proglog_logs", "Logs by state", ["state"], (gauge) => {
    const counts = new Map<string, number>(replicaStates.map((state) => [state, 0]));
    for (const replica of storage.replicas.values()) {
      const { state } = replica.status();
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    for (const [state, count] of counts) gauge.set({ state }, count);
  });
  add.gauge("proglog_partitions_unlisted", "Partitions beyond those whose metrics are told one by one", [], (gauge) =>
    gauge.set(Math.max(0, [...storage.replicas.values()].length - metricPartitionsMaxCount)),
  );

  const gauge = (name: string, help: string, valueOf: (status: ReplicaStatus) => number | undefined): void =>
    add.gauge(name, help, ["topic", "partition"], (each) => {
      // Partitions come and go; what isn't there any more must not stay in the text.
      each.reset();
      for (const replica of listedReplicas(storage)) {
        const status = replica.status();
        const value = valueOf(status);
        if (value !== undefined) each.set({ topic: status.topic, partition: status.partition }, value);
      }
    });
  gauge("proglog_log_queued_bytes", "Bytes of appends that wait", (status) => status.queuedBytes);
  gauge("proglog_log_store_bytes", "Bytes of a partition's stores", (status) => status.storeBytes);
  gauge(
    "proglog_log_dirty_ratio",
    "Part of a compacted partition's sealed bytes that came since its last compaction",
    (status) => status.dirtyRatio,
  );
  gauge("proglog_log_segments", "Segments of a partition", (status) => status.segments);
  gauge("proglog_log_start_offset", "First readable offset", (status) => status.logStartOffset);
  gauge("proglog_log_end_offset", "Offset that the next record gets", (status) => status.logEndOffset);
  gauge("proglog_high_watermark", "First offset not yet committed", (status) => status.highWatermark);

  const total = (name: string, help: string, valueOf: (replica: Replica) => number): void =>
    add.totals(name, help, ["topic", "partition"], (each) => {
      for (const replica of listedReplicas(storage)) {
        const { topic, partition } = replica.identity;
        each({ topic, partition }, valueOf(replica));
      }
    });
  total("proglog_partition_appended_records_total", "Records appended to this node's replica of a partition", ({ traffic }) => {
    return traffic.appendedRecords;
  });
  total("proglog_partition_appended_batches_total", "Batches appended to this node's replica of a partition", ({ traffic }) => {
    return traffic.appendedBatches;
  });
  total(
    "proglog_partition_appended_bytes_total",
    "Bytes of frames appended to this node's replica of a partition",
    ({ traffic }) => {
      return traffic.appendedBytes;
    },
  );
  total("proglog_partition_read_batches_total", "Batches read from this node's replica of a partition", ({ traffic }) => {
    return traffic.readBatches;
  });
  total(
    "proglog_partition_read_bytes_total",
    "Bytes of batches read from this node's replica of a partition",
    ({ traffic }) => {
      return traffic.readBytes;
    },
  );
}
