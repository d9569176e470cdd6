import { monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LogObserver } from "../replica/data-directory.ts";
import type { GroupObserver } from "../replica/group/group-options.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { type ReplicaStatus, replicaStates } from "../replica/replica.ts";
import { type GrpcServerObserver, nameOfStatus } from "../grpc/index.ts";
import { addClusterMetrics, type WatchedCluster } from "./cluster-metrics.ts";
import type { GrpcDoor } from "./grpc-door.ts";
import type { Listener, RefusedReason } from "./listener.ts";
import type { PeerObserver } from "./peer-context.ts";
import type { PeersStatus } from "./peer-transport.ts";
import type { Protocol } from "./protocol.ts";
import type { RouteServices } from "./route-services.ts";
import type { TlsDoor } from "./tls/tls-door.ts";
import type { TlsObserver } from "./tls/tls-plane.ts";

/** What the node counts, in Prometheus' text. Each node has a registry of its own, so that several can live in one process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #loopDelay = monitorEventLoopDelay({ resolution: loopDelayResolutionMs });

  readonly #requests = this.#counter("proglog_http_requests_total", "HTTP requests answered", ["route", "status"]);
  readonly #requestSeconds = this.#seconds(
    "proglog_http_request_duration_seconds",
    "Time from a request's head to its answer",
    ["route"],
  );
  readonly #accepted = this.#counter("proglog_connections_accepted_total", "Connections by what they speak", ["protocol"]);
  readonly #refused = this.#counter("proglog_connections_refused_total", "Connections dropped, and why", ["reason"]);
  readonly #appendedRecords = this.#counter("proglog_log_appended_records_total", "Records appended");
  readonly #appendedBatches = this.#counter("proglog_log_appended_batches_total", "Batches appended");
  readonly #appendedBytes = this.#counter("proglog_log_appended_bytes_total", "Bytes of frames appended");
  readonly #repackedBatches = this.#counter("proglog_log_repacked_batches_total", "Batches packed anew in their topic's codec");
  readonly #syncSeconds = this.#seconds("proglog_log_sync_duration_seconds", "Time of a sync of a store");
  readonly #syncedBytes = this.#counter("proglog_log_synced_bytes_total", "Bytes made durable by syncs");
  readonly #readBytes = this.#counter("proglog_log_read_bytes_total", "Bytes of batches read");
  readonly #readBatches = this.#counter("proglog_log_read_batches_total", "Batches read");
  readonly #rolls = this.#counter("proglog_log_rolls_total", "Segments sealed");
  readonly #trimmedSegments = this.#counter("proglog_log_trimmed_segments_total", "Segments removed by retention or trim");
  readonly #damages = this.#counter("proglog_log_damages_total", "Ranges found rotten by reads and scrubs");
  readonly #poisonings = this.#counter(
    "proglog_log_poisonings_total",
    "Logs that stopped taking appends after a failed write or sync",
  );
  readonly #scrubbedBytes = this.#counter("proglog_log_scrubbed_bytes_total", "Bytes verified in the background");

  readonly #compactions = this.#counter("proglog_log_compactions_total", "Compactions that ended, and how", ["outcome"]);
  readonly #compactionSeconds = this.#seconds("proglog_log_compaction_duration_seconds", "Time of a compaction");
  readonly #compactedBytes = this.#counter(
    "proglog_log_compacted_bytes_total",
    "Bytes of segments that compaction went through",
  );
  readonly #compactionFreedBytes = this.#counter("proglog_log_compaction_freed_bytes_total", "Bytes that compaction freed");
  readonly #compactedRecords = this.#counter("proglog_log_compaction_removed_records_total", "Records removed by compaction");
  readonly #compactedTombstones = this.#counter(
    "proglog_log_compaction_removed_tombstones_total",
    "Tombstones among the records removed",
  );
  readonly #unheardFailures = this.#counter(
    "proglog_grpc_unheard_failures_total",
    "Appends that failed when their client had its answer already (acks none)",
  );
  readonly #grpcCalls = this.#counter("proglog_grpc_calls_total", "gRPC calls ended, by status", ["method", "status"]);

  /** To be given to the gRPC server. */
  readonly grpcObserver: GrpcServerObserver = {
    callEnded: (method, code) => this.#grpcCalls.inc({ method, status: nameOfStatus(code) }),
    sessionRefused: (reason) => this.#refused.inc({ reason }),
  };

  readonly #peerRefusals = this.#counter("proglog_peer_refusals_total", "Connections from peers refused, and why", ["reason"]);
  readonly #peerDrops = this.#counter(
    "proglog_peer_messages_dropped_total",
    "Messages to peers without a connection, or with a full buffer",
  );

  /** To be given to the transport between nodes. */
  readonly peerObserver: PeerObserver = {
    refused: (reason) => this.#peerRefusals.inc({ reason }),
    dropped: () => this.#peerDrops.inc(),
  };

  readonly #handshakes = this.#counter("proglog_tls_handshakes_total", "TLS handshakes done, with clients and peers", [
    "plane",
  ]);
  readonly #handshakeFailures = this.#counter(
    "proglog_tls_handshake_failures_total",
    "TLS handshakes that came to nothing, and certificates refused",
    ["plane", "reason"],
  );
  readonly #certificateReloads = this.#counter(
    "proglog_tls_reloads_total",
    "Changes of certificates' files: loaded, or refused and the old ones kept",
    ["plane", "outcome"],
  );
  readonly #certificateCuts = this.#counter(
    "proglog_tls_connections_ended_total",
    "Open connections ended for their certificate",
    ["plane", "reason"],
  );

  /** To be given to what encrypts. */
  readonly tlsObserver: TlsObserver = {
    secured: (plane) => this.#handshakes.inc({ plane }),
    failed: (plane, reason) => this.#handshakeFailures.inc({ plane, reason }),
    reloaded: (plane, outcome) => this.#certificateReloads.inc({ plane, outcome }),
    cut: (plane, reason) => this.#certificateCuts.inc({ plane, reason }),
  };

  readonly #elections = this.#counter("proglog_group_elections_won_total", "Times that a replica of this node became a leader");
  readonly #committedEntries = this.#counter("proglog_group_committed_entries_total", "Entries committed, by each replica");
  readonly #sentEntries = this.#counter("proglog_group_sent_entries_total", "Entries sent to other replicas");
  readonly #sentBytes = this.#counter("proglog_group_sent_bytes_total", "Bytes of frames sent to other replicas");

  readonly #repairedEntries = this.#counter("proglog_group_repaired_entries_total", "Rotten entries fetched anew");
  readonly #repairedBytes = this.#counter(
    "proglog_group_repaired_bytes_total",
    "Bytes of frames that rotted and were fetched anew",
  );

  /** To be given to all groups. */
  readonly groupObserver: GroupObserver = {
    elected: () => this.#elections.inc(),
    committed: ({ entries }) => this.#committedEntries.inc(entries),
    repaired: ({ entries, bytes }) => {
      this.#repairedEntries.inc(entries);
      this.#repairedBytes.inc(bytes);
    },
    sent: ({ entries, bytes }) => {
      this.#sentEntries.inc(entries);
      this.#sentBytes.inc(bytes);
    },
  };

  /** To be given to all logs. Plain functions: it is spread into others. */
  readonly logObserver: LogObserver = {
    appended: ({ records, batches, bytes }) => {
      this.#appendedRecords.inc(records);
      this.#appendedBatches.inc(batches);
      this.#appendedBytes.inc(bytes);
    },
    repacked: ({ batches }) => this.#repackedBatches.inc(batches),
    synced: ({ durationMs, bytes }) => {
      this.#syncSeconds.observe(durationMs / 1000);
      this.#syncedBytes.inc(bytes);
    },
    read: ({ bytes, batches }) => {
      this.#readBytes.inc(bytes);
      this.#readBatches.inc(batches);
    },
    rolled: () => this.#rolls.inc(),
    trimmed: ({ segments }) => this.#trimmedSegments.inc(segments),
    damaged: () => this.#damages.inc(),
    poisoned: () => this.#poisonings.inc(),
    scrubbed: ({ bytes }) => this.#scrubbedBytes.inc(bytes),
    compacted: (report) => {
      this.#compactions.inc({ outcome: report.isComplete ? "complete" : "ended-early" });
      this.#compactionSeconds.observe(report.durationMs / 1000);
      this.#compactedBytes.inc(report.bytesBefore);
      this.#compactionFreedBytes.inc(Math.max(0, report.bytesBefore - report.bytesAfter));
      this.#compactedRecords.inc(report.recordsRemoved);
      this.#compactedTombstones.inc(report.tombstonesRemoved);
    },
  };

  constructor() {
    this.#loopDelay.enable();
    this.#gauge(
      "proglog_event_loop_delay_seconds",
      "Delay of the event loop since the last scrape, by quantile",
      ["quantile"],
      (gauge) => {
        for (const quantile of [0.5, 0.99, 1])
          gauge.set({ quantile }, loopDelaySeconds(this.#loopDelay.percentile(quantile * 100)));
        this.#loopDelay.reset();
      },
    );
    this.#gauge("process_resident_memory_bytes", "Memory of the process", [], (gauge) => gauge.set(process.memoryUsage.rss()));
    this.#gauge("proglog_heap_used_bytes", "Memory of live JavaScript objects", [], (gauge) =>
      gauge.set(process.memoryUsage().heapUsed),
    );
    this.#total("process_cpu_seconds_total", "Processor time of the process", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }

  requestAnswered({ route, status, durationMs }: AnsweredRequest): void {
    this.#requests.inc({ route, status });
    if (durationMs !== undefined) this.#requestSeconds.observe({ route }, durationMs / 1000);
  }

  /** An append failed whose client had its answer before. */
  unheardFailure(): void {
    this.#unheardFailures.inc();
  }

  connectionAccepted(protocol: Protocol): void {
    this.#accepted.inc({ protocol });
  }

  connectionRefused(reason: RefusedReason): void {
    this.#refused.inc({ reason });
  }

  /** Adds what is asked of the node's parts at each scrape. To be called once. */
  watch({ storage, listener, door, bodies, answers, consume, tails }: WatchedParts): void {
    this.#gauge("proglog_connections", "Connections open", [], (gauge) => gauge.set(listener.connectionCount));
    this.#gauge("proglog_grpc_connections", "Connections that speak gRPC", [], (gauge) => gauge.set(door.connectionCount));
    this.#gauge("proglog_grpc_calls", "gRPC calls under way", [], (gauge) => gauge.set(door.callCount));
    this.#gauge("proglog_grpc_consume_streams", "ConsumeStreams open", [], (gauge) => gauge.set(door.consumeStreamCount));
    this.#gauge("proglog_grpc_held_bytes", "Bytes of gRPC messages not taken yet, by us or by clients", [], (gauge) =>
      gauge.set(door.heldBytes),
    );
    this.#gauge("proglog_grpc_consume_stream_bytes", "Bytes read from logs for ConsumeStreams and not sent", [], (gauge) =>
      gauge.set(door.consumeStreamBytes),
    );
    this.#gauge("proglog_grpc_produce_bytes", "Bytes of gRPC produce requests under way", [], (gauge) =>
      gauge.set(door.produceRoom.bytes),
    );
    this.#gauge("proglog_grpc_produce_waits", "Streams and requests that wait for room to append", [], (gauge) =>
      gauge.set(door.produceRoom.waitingCount),
    );
    this.#gauge("proglog_http_body_bytes", "Bytes of request bodies held", [], (gauge) => gauge.set(bodies.held.bytes));
    this.#gauge("proglog_http_uploads", "Bodies of lines that come while they are appended", [], (gauge) =>
      gauge.set(bodies.liveCount),
    );
    this.#gauge("proglog_http_answer_bytes", "Bytes of answers not taken yet", [], (gauge) => gauge.set(answers.bytes));
    this.#gauge("proglog_consume_waits", "Reads that wait for records", [], (gauge) => gauge.set(consume.waitCount));
    this.#gauge("proglog_tails", "Live tails open", [], (gauge) => gauge.set(tails.count));
    this.#gauge("proglog_tail_unsent_bytes", "Bytes that clients of live tails haven't taken", [], (gauge) =>
      gauge.set(tails.unsentBytes),
    );
    this.#total("proglog_tail_sent_bytes_total", "Bytes handed to live tails", () => tails.sentBytes);
    this.#gauge("proglog_open_read_files", "Descriptors of sealed files kept open", [], (gauge) =>
      gauge.set(storage.openFileCount),
    );
    this.#gauge("proglog_orphan_logs", "Log directories that no topic names", [], (gauge) => gauge.set(storage.orphans.length));
    this.#gauge("proglog_logs", "Logs by state", ["state"], (gauge) => {
      const counts = new Map<string, number>(replicaStates.map((state) => [state, 0]));
      for (const replica of storage.replicas.values()) {
        const { state } = replica.status();
        counts.set(state, (counts.get(state) ?? 0) + 1);
      }
      for (const [state, count] of counts) gauge.set({ state }, count);
    });
    this.#partitionGauge(storage, "proglog_log_queued_bytes", "Bytes of appends that wait", (status) => status.queuedBytes);
    this.#partitionGauge(storage, "proglog_log_store_bytes", "Bytes of a partition's stores", (status) => status.storeBytes);
    this.#partitionGauge(
      storage,
      "proglog_log_dirty_ratio",
      "Part of a compacted partition's sealed bytes that came since its last compaction",
      (status) => status.dirtyRatio,
    );
    this.#partitionGauge(storage, "proglog_log_segments", "Segments of a partition", (status) => status.segments);
    this.#partitionGauge(storage, "proglog_log_start_offset", "First readable offset", (status) => status.logStartOffset);
    this.#partitionGauge(
      storage,
      "proglog_log_end_offset",
      "Offset that the next record gets",
      (status) => status.logEndOffset,
    );
    this.#partitionGauge(storage, "proglog_high_watermark", "First offset not yet committed", (status) => status.highWatermark);
  }

  /** Adds what is asked of the certificates at each scrape. To be called once. */
  watchTls({ planes }: TlsDoor): void {
    this.#gauge(
      "proglog_tls_certificate_expiry_seconds",
      "Time until this node's certificate expires; below 0 once it has",
      ["plane"],
      (gauge) => {
        for (const plane of planes) gauge.set({ plane: plane.name }, Math.round(plane.expiresInMs / 1000));
      },
    );
    this.#gauge("proglog_tls_handshakes", "TLS handshakes under way", ["plane"], (gauge) => {
      for (const plane of planes) gauge.set({ plane: plane.name }, plane.handshakeCount);
    });
  }

  /** Adds what is asked of the transport between nodes at each scrape. To be called once. */
  watchPeers(peers: { status(): PeersStatus }): void {
    const gauge = (name: string, help: string, valueOf: (status: PeersStatus) => number): void =>
      this.#gauge(name, help, [], (each) => each.set(valueOf(peers.status())));
    gauge("proglog_peers", "Other nodes known", ({ knownCount }) => knownCount);
    gauge(
      "proglog_peers_reached",
      "Of the other nodes known, those there is a connection to",
      ({ reachedCount }) => reachedCount,
    );
    gauge("proglog_peer_connections", "Connections that other nodes opened", ({ incomingCount }) => incomingCount);
    gauge("proglog_peer_buffered_bytes", "Bytes that wait to be sent to other nodes", ({ bufferedBytes }) => bufferedBytes);
    gauge("proglog_peer_questions", "Questions from and to other nodes under way", ({ questionsCount }) => questionsCount);
  }

  /** Adds what is asked of a node of a cluster at each scrape. To be called once. */
  watchCluster(node: WatchedCluster): void {
    addClusterMetrics(
      {
        gauge: (name, help, labelNames, collect) => this.#gauge(name, help, labelNames, collect),
        total: (name, help, valueOf) => this.#total(name, help, valueOf),
      },
      node,
    );
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  close(): void {
    this.#loopDelay.disable();
  }

  #partitionGauge(
    storage: NodeStorage,
    name: string,
    help: string,
    valueOf: (status: ReplicaStatus) => number | undefined,
  ): void {
    this.#gauge(name, help, ["topic", "partition"], (gauge) => {
      // Partitions come and go; what isn't there any more must not stay in the text.
      gauge.reset();
      for (const replica of storage.replicas.values()) {
        const status = replica.status();
        const value = valueOf(status);
        if (value !== undefined) gauge.set({ topic: status.topic, partition: status.partition }, value);
      }
    });
  }

  #counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** A counter that somebody else counts. */
  #total(name: string, help: string, valueOf: () => number): void {
    const total = new Counter({
      name,
      help,
      registers: [this.#registry],
      collect() {
        total.reset();
        total.inc(valueOf());
      },
    });
  }

  #seconds<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.#registry] });
  }

  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (gauge: Gauge<Label>) => void,
  ): void {
    const gauge: Gauge<Label> = new Gauge({ name, help, labelNames, registers: [], collect: () => collect(gauge) });
    this.#registry.registerMetric(gauge);
  }
}

export interface AnsweredRequest {
  /** The route's pattern, never the path: labels must stay few. */
  readonly route: string;
  readonly status: number;
  /** Absent for what lasts as long as its client likes. */
  readonly durationMs?: number;
}

export interface WatchedParts extends Omit<RouteServices, "produce"> {
  readonly listener: Listener;
  readonly door: GrpcDoor;
}

/** From a sync of a fast disk to a long poll. */
const buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

const loopDelayResolutionMs = 10;

/** The monitor counts from one of its timers to the next: only what exceeds their interval is delay. */
function loopDelaySeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - loopDelayResolutionMs / 1000);
}
