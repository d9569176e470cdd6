import { Registry } from "prom-client";
import type { ErrorCode } from "../base/error.ts";
import type { LogObserver } from "../replica/data-directory.ts";
import type { GroupObserver } from "../replica/group/group-options.ts";
import type { Acks } from "../replica/replica.ts";
import { type GrpcServerObserver, nameOfStatus } from "../grpc/index.ts";
import type { AccessAction } from "./access/access-action.ts";
import { addClusterMetrics, type WatchedCluster } from "./cluster-metrics.ts";
import type { GrpcDoor } from "./grpc-door.ts";
import type { Listener, RefusedReason } from "./listener.ts";
import { MetricsAdder } from "./metrics-adder.ts";
import type { PushOutcome } from "./otlp/otlp-push.ts";
import type { MetricValues } from "./otlp/otlp-metrics.ts";
import { addPartitionMetrics } from "./partition-metrics.ts";
import type { PeerObserver } from "./peer-context.ts";
import type { PeersStatus } from "./peer-transport.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import type { Protocol } from "./protocol.ts";
import type { RouteServices } from "./route-services.ts";
import type { TlsDoor } from "./tls/tls-door.ts";
import type { TlsObserver } from "./tls/tls-plane.ts";

/** What the node counts, in Prometheus' text. Each node has a registry of its own, so that several can live in one process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #now: () => number;
  readonly #process: ProcessMetrics;
  readonly #add = new MetricsAdder(this.#registry);

  readonly #requests = this.#add.counter("proglog_http_requests_total", "HTTP requests answered", ["route", "status"]);
  readonly #requestSeconds = this.#add.seconds(
    "proglog_http_request_duration_seconds",
    "Time from a request's head to its answer",
    ["route"],
  );
  readonly #errors = this.#add.counter("proglog_errors_total", "Errors that clients were answered with, by code", ["code"]);
  readonly #pushes = this.#add.counter(
    "proglog_otlp_pushes_total",
    "Pushes to a collector, of metrics or traces, and how they ended",
    ["signal", "outcome"],
  );
  readonly #accepted = this.#add.counter("proglog_connections_accepted_total", "Connections by what they speak", ["protocol"]);
  readonly #refused = this.#add.counter("proglog_connections_refused_total", "Connections dropped, and why", ["reason"]);
  readonly #appendedRecords = this.#add.counter("proglog_log_appended_records_total", "Records appended");
  readonly #appendedBatches = this.#add.counter("proglog_log_appended_batches_total", "Batches appended");
  readonly #appendedBytes = this.#add.counter("proglog_log_appended_bytes_total", "Bytes of frames appended");
  readonly #repackedBatches = this.#add.counter(
    "proglog_log_repacked_batches_total",
    "Batches packed anew in their topic's codec",
  );
  readonly #writeSeconds = this.#add.durations(
    "proglog_log_write_duration_seconds",
    "Time of writing a group of batches, without the sync",
  );
  readonly #syncSeconds = this.#add.seconds("proglog_log_sync_duration_seconds", "Time of a sync of a store");
  readonly #syncedBytes = this.#add.counter("proglog_log_synced_bytes_total", "Bytes made durable by syncs");
  readonly #readBytes = this.#add.counter("proglog_log_read_bytes_total", "Bytes of batches read");
  readonly #readBatches = this.#add.counter("proglog_log_read_batches_total", "Batches read");
  readonly #consumedAge = this.#add.durations(
    "proglog_log_read_age_seconds",
    "From a batch's append to its being read, of the last one of each read: end to end, of consumers that keep up",
    ageBuckets,
  );
  readonly #opens = this.#add.counter("proglog_log_opens_total", "Logs opened, and how: made, closed before, or recovered", [
    "kind",
  ]);
  readonly #openSeconds = this.#add.seconds(
    "proglog_log_open_duration_seconds",
    "Time of opening a log, its recovery included",
  );
  readonly #cutBytes = this.#add.counter(
    "proglog_log_recovery_cut_bytes_total",
    "Bytes of torn writes that recoveries removed",
  );
  readonly #rewrittenBytes = this.#add.counter(
    "proglog_log_recovery_rewritten_bytes_total",
    "Bytes that weren't known to be synced and that recoveries wrote anew",
  );
  readonly #rolls = this.#add.counter("proglog_log_rolls_total", "Segments sealed");
  readonly #trimmedSegments = this.#add.counter("proglog_log_trimmed_segments_total", "Segments removed by retention or trim");
  readonly #damages = this.#add.counter("proglog_log_damages_total", "Ranges found rotten by reads and scrubs");
  readonly #poisonings = this.#add.counter(
    "proglog_log_poisonings_total",
    "Logs that stopped taking appends after a failed write or sync",
  );
  readonly #scrubs = this.#add.counter("proglog_log_scrubs_total", "Scrubs that came to their end");
  readonly #scrubbedBytes = this.#add.counter("proglog_log_scrubbed_bytes_total", "Bytes verified in the background");

  readonly #compactions = this.#add.counter("proglog_log_compactions_total", "Compactions that ended, and how", ["outcome"]);
  readonly #compactionSeconds = this.#add.seconds("proglog_log_compaction_duration_seconds", "Time of a compaction");
  readonly #compactedBytes = this.#add.counter(
    "proglog_log_compacted_bytes_total",
    "Bytes of segments that compaction went through",
  );
  readonly #compactionFreedBytes = this.#add.counter("proglog_log_compaction_freed_bytes_total", "Bytes that compaction freed");
  readonly #compactedRecords = this.#add.counter(
    "proglog_log_compaction_removed_records_total",
    "Records removed by compaction",
  );
  readonly #compactedTombstones = this.#add.counter(
    "proglog_log_compaction_removed_tombstones_total",
    "Tombstones among the records removed",
  );
  readonly #unheardFailures = this.#add.counter(
    "proglog_grpc_unheard_failures_total",
    "Appends that failed when their client had its answer already (acks none)",
  );
  readonly #accessDenials = this.#add.counter(
    "proglog_access_denials_total",
    "Requests and streams refused by access control, by what was asked for",
    ["action"],
  );
  readonly #badTokens = this.#add.counter(
    "proglog_bad_tokens_total",
    "Requests with a token that is wrong, expired or revoked",
  );
  readonly #grpcCalls = this.#add.counter("proglog_grpc_calls_total", "gRPC calls ended, by status", ["method", "status"]);

  /** To be given to the gRPC server. */
  readonly grpcObserver: GrpcServerObserver = {
    callEnded: (method, code) => this.#grpcCalls.inc({ method, status: nameOfStatus(code) }),
    sessionRefused: (reason) => this.#refused.inc({ reason }),
  };

  readonly #peerRefusals = this.#add.counter("proglog_peer_refusals_total", "Connections from peers refused, and why", [
    "reason",
  ]);
  readonly #peerDrops = this.#add.counter(
    "proglog_peer_messages_dropped_total",
    "Messages to peers without a connection, or with a full buffer",
  );

  /** To be given to the transport between nodes. */
  readonly peerObserver: PeerObserver = {
    refused: (reason) => this.#peerRefusals.inc({ reason }),
    dropped: () => this.#peerDrops.inc(),
  };

  readonly #handshakes = this.#add.counter("proglog_tls_handshakes_total", "TLS handshakes done, with clients and peers", [
    "plane",
  ]);
  readonly #handshakeFailures = this.#add.counter(
    "proglog_tls_handshake_failures_total",
    "TLS handshakes that came to nothing, and certificates refused",
    ["plane", "reason"],
  );
  readonly #certificateReloads = this.#add.counter(
    "proglog_tls_reloads_total",
    "Changes of certificates' files: loaded, or refused and the old ones kept",
    ["plane", "outcome"],
  );
  readonly #certificateCuts = this.#add.counter(
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

  readonly #elections = this.#add.counter(
    "proglog_group_elections_won_total",
    "Times that a replica of this node became a leader",
  );
  readonly #committedEntries = this.#add.counter("proglog_group_committed_entries_total", "Entries committed, by each replica");
  readonly #commitSeconds = this.#add.durations(
    "proglog_group_commit_duration_seconds",
    "From when a leader took an append until a quorum had it on its disks",
  );
  readonly #sentEntries = this.#add.counter("proglog_group_sent_entries_total", "Entries sent to other replicas");
  readonly #sentBytes = this.#add.counter("proglog_group_sent_bytes_total", "Bytes of frames sent to other replicas");

  readonly #repairedEntries = this.#add.counter("proglog_group_repaired_entries_total", "Rotten entries fetched anew");
  readonly #repairedBytes = this.#add.counter(
    "proglog_group_repaired_bytes_total",
    "Bytes of frames that rotted and were fetched anew",
  );

  /** To be given to all groups. */
  readonly groupObserver: GroupObserver = {
    elected: () => this.#elections.inc(),
    committed: ({ entries, waitedMs }) => {
      this.#committedEntries.inc(entries);
      for (const ms of waitedMs) this.#commitSeconds.observe(ms / 1000);
    },
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
    opened: ({ kind, durationMs, cut, rewrittenBytes }) => {
      this.#opens.inc({ kind });
      this.#openSeconds.observe(durationMs / 1000);
      if (cut !== undefined) this.#cutBytes.inc(cut.bytes);
      this.#rewrittenBytes.inc(rewrittenBytes);
    },
    appended: ({ records, batches, bytes, durationMs }) => {
      this.#appendedRecords.inc(records);
      this.#appendedBatches.inc(batches);
      this.#appendedBytes.inc(bytes);
      this.#writeSeconds.observe(durationMs / 1000);
    },
    repacked: ({ batches }) => this.#repackedBatches.inc(batches),
    synced: ({ durationMs, bytes }) => {
      this.#syncSeconds.observe(durationMs / 1000);
      this.#syncedBytes.inc(bytes);
    },
    read: ({ bytes, batches, appendTime }) => {
      this.#readBytes.inc(bytes);
      this.#readBatches.inc(batches);
      this.#consumedAge.observe(Math.max(0, this.#now() - appendTime) / 1000);
    },
    rolled: () => this.#rolls.inc(),
    trimmed: ({ segments }) => this.#trimmedSegments.inc(segments),
    damaged: () => this.#damages.inc(),
    poisoned: () => this.#poisonings.inc(),
    scrubbed: ({ bytes }) => {
      this.#scrubs.inc();
      this.#scrubbedBytes.inc(bytes);
    },
    compacted: (report) => {
      this.#compactions.inc({ outcome: report.isComplete ? "complete" : "ended-early" });
      this.#compactionSeconds.observe(report.durationMs / 1000);
      this.#compactedBytes.inc(report.bytesBefore);
      this.#compactionFreedBytes.inc(Math.max(0, report.bytesBefore - report.bytesAfter));
      this.#compactedRecords.inc(report.recordsRemoved);
      this.#compactedTombstones.inc(report.tombstonesRemoved);
    },
  };

  readonly #produceSeconds = this.#add.durationsBy(
    "proglog_produce_duration_seconds",
    "From when a produce was handed to its partition until it could be answered, by acks",
    "acks",
    ["quorum", "leader", "none"],
  );

  constructor({ version = "unreleased", now = Date.now }: MetricsOptions = {}) {
    this.#now = now;
    this.#process = new ProcessMetrics(this.#add, version);
  }

  requestAnswered({ route, status, durationMs }: AnsweredRequest): void {
    this.#requests.inc({ route, status });
    if (durationMs !== undefined) this.#requestSeconds.observe({ route }, durationMs / 1000);
  }

  produced(acks: Acks, durationMs: number): void {
    this.#produceSeconds[acks].observe(durationMs / 1000);
  }

  /** A client was answered with an error. */
  errorAnswered(code: ErrorCode): void {
    this.#errors.inc({ code });
  }

  /** An append failed whose client had its answer before. */
  unheardFailure(): void {
    this.#unheardFailures.inc();
  }

  watchAccess(access: { readonly heldCount: number }): void {
    this.#add.gauge(
      "proglog_access_held",
      "Streams, tails, uploads and waits that end when what allows them is taken back",
      [],
      (gauge) => gauge.set(access.heldCount),
    );
  }

  accessDenied(action: AccessAction): void {
    this.#accessDenials.inc({ action });
  }

  badToken(): void {
    this.#badTokens.inc();
  }

  connectionAccepted(protocol: Protocol): void {
    this.#accepted.inc({ protocol });
  }

  connectionRefused(reason: RefusedReason): void {
    this.#refused.inc({ reason });
  }

  /** Adds what is asked of the node's parts at each scrape. To be called once. */
  watch({ storage, listener, door, bodies, answers, consume, tails }: WatchedParts): void {
    this.#add.gauge("proglog_connections", "Connections open", [], (gauge) => gauge.set(listener.connectionCount));
    this.#add.gauge("proglog_grpc_connections", "Connections that speak gRPC", [], (gauge) => gauge.set(door.connectionCount));
    this.#add.gauge("proglog_grpc_calls", "gRPC calls under way", [], (gauge) => gauge.set(door.callCount));
    this.#add.gauge("proglog_grpc_consume_streams", "ConsumeStreams open", [], (gauge) => gauge.set(door.consumeStreamCount));
    this.#add.gauge("proglog_grpc_held_bytes", "Bytes of gRPC messages not taken yet, by us or by clients", [], (gauge) =>
      gauge.set(door.heldBytes),
    );
    this.#add.gauge("proglog_grpc_consume_stream_bytes", "Bytes read from logs for ConsumeStreams and not sent", [], (gauge) =>
      gauge.set(door.consumeStreamBytes),
    );
    this.#add.gauge("proglog_grpc_produce_bytes", "Bytes of gRPC produce requests under way", [], (gauge) =>
      gauge.set(door.produceRoom.bytes),
    );
    this.#add.gauge("proglog_grpc_produce_waits", "Streams and requests that wait for room to append", [], (gauge) =>
      gauge.set(door.produceRoom.waitingCount),
    );
    this.#add.gauge("proglog_http_body_bytes", "Bytes of request bodies held", [], (gauge) => gauge.set(bodies.held.bytes));
    this.#add.gauge("proglog_http_uploads", "Bodies of lines that come while they are appended", [], (gauge) =>
      gauge.set(bodies.liveCount),
    );
    this.#add.gauge("proglog_http_answer_bytes", "Bytes of answers not taken yet", [], (gauge) => gauge.set(answers.bytes));
    this.#add.gauge("proglog_consume_waits", "Reads that wait for records", [], (gauge) => gauge.set(consume.waitCount));
    this.#add.gauge("proglog_tails", "Live tails open", [], (gauge) => gauge.set(tails.count));
    this.#add.gauge("proglog_tail_unsent_bytes", "Bytes that clients of live tails haven't taken", [], (gauge) =>
      gauge.set(tails.unsentBytes),
    );
    this.#add.total("proglog_tail_sent_bytes_total", "Bytes handed to live tails", () => tails.sentBytes);
    this.#add.gauge("proglog_open_read_files", "Descriptors of sealed files kept open", [], (gauge) =>
      gauge.set(storage.openFileCount),
    );
    this.#add.gauge("proglog_orphan_logs", "Log directories that no topic names", [], (gauge) =>
      gauge.set(storage.orphans.length),
    );
    addPartitionMetrics(this.#add, storage);
  }

  /** Adds what is asked of the certificates at each scrape. To be called once. */
  watchTls(door: TlsDoor): void {
    const { planes } = door;
    this.#add.gauge(
      "proglog_tls_certificate_expiry_seconds",
      "Time until this node's certificate expires; below 0 once it has",
      ["plane"],
      (gauge) => {
        for (const plane of planes) gauge.set({ plane: plane.name }, Math.round(plane.expiresInMs / 1000));
      },
    );
    this.#add.gauge("proglog_tls_handshakes", "TLS handshakes under way", ["plane"], (gauge) => {
      for (const plane of planes) gauge.set({ plane: plane.name }, plane.handshakeCount);
    });
    this.#add.gauge("proglog_tls_handshakes_waiting", "TLS handshakes that wait to begin", [], (gauge) =>
      gauge.set(door.waitingCount),
    );
  }

  /** Adds what is asked of the transport between nodes at each scrape. To be called once. */
  watchPeers(peers: { status(): PeersStatus }): void {
    const gauge = (name: string, help: string, valueOf: (status: PeersStatus) => number): void =>
      this.#add.gauge(name, help, [], (each) => each.set(valueOf(peers.status())));
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
    addClusterMetrics(this.#add, node);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** All of them with their values. */
  values(): Promise<readonly MetricValues[]> {
    return this.#registry.getMetricsAsJSON() as unknown as Promise<readonly MetricValues[]>;
  }

  pushed(signal: "metrics" | "traces", outcome: PushOutcome): void {
    this.#pushes.inc({ signal, outcome });
  }

  /** Adds what is asked of the spans at each scrape. To be called once. */
  watchSpans(spans: { readonly droppedCount: number }): void {
    this.#add.total(
      "proglog_otlp_spans_dropped_total",
      "Spans that there was no room for until the next push",
      () => spans.droppedCount,
    );
  }

  /** What there is, for the reference. */
  list(): readonly MetricDescription[] {
    return this.#registry.getMetricsAsArray().map((metric) => {
      // prom-client's types leave out two that each of its metrics has.
      const { labelNames, type } = metric as unknown as { readonly labelNames: readonly string[]; readonly type: string };
      return { name: metric.name, type, labels: labelNames, help: metric.help };
    });
  }

  close(): void {
    this.#process.close();
  }
}

export interface MetricsOptions {
  /** The release. */
  readonly version?: string | undefined;
  /** Wall-clock milliseconds since 1970. Default: the system's. */
  readonly now?: () => number;
}

export interface MetricDescription {
  readonly name: string;
  /** "counter", "gauge", "histogram" */
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
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

/** From a tail's next record to what a consumer finds that was away for a day. */
const ageBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3_600, 86_400];
