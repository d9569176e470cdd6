import { constants, monitorEventLoopDelay, performance, PerformanceObserver } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { MetricsAdder } from "./metrics-adder.ts";

/** What Node tells of its own process: its loop, its collections and its memory. */
export class ProcessMetrics {
  readonly #loopDelay = monitorEventLoopDelay({ resolution: loopDelayResolutionMs });
  readonly #collections: PerformanceObserver;

  constructor(add: MetricsAdder, version: string) {
    this.#loopDelay.enable();
    add.gauge(
      "proglog_event_loop_delay_seconds",
      "Delay of the event loop since the last scrape, by quantile",
      ["quantile"],
      (gauge) => {
        for (const quantile of [0.5, 0.99, 1])
          gauge.set({ quantile }, loopDelaySeconds(this.#loopDelay.percentile(quantile * 100)));
        this.#loopDelay.reset();
      },
    );
    let before = performance.eventLoopUtilization();
    add.gauge(
      "proglog_event_loop_utilization_ratio",
      "Part of the time since the last scrape in which the event loop was busy",
      [],
      (gauge) => {
        const now = performance.eventLoopUtilization();
        gauge.set(performance.eventLoopUtilization(now, before).utilization);
        before = now;
      },
    );
    const collectionSeconds = add.seconds("proglog_gc_duration_seconds", "Time that collections of garbage took, by kind", [
      "kind",
    ]);
    this.#collections = new PerformanceObserver((list) => {
      for (const entry of list.getEntries())
        collectionSeconds.observe({ kind: collectionKindOf(entry) }, entry.duration / 1000);
    });
    this.#collections.observe({ entryTypes: ["gc"] });
    add.gauge("process_resident_memory_bytes", "Memory of the process", [], (gauge) => gauge.set(process.memoryUsage.rss()));
    add.gauge("proglog_heap_used_bytes", "Memory of live JavaScript objects", [], (gauge) =>
      gauge.set(process.memoryUsage().heapUsed),
    );
    add.gauge("proglog_heap_limit_bytes", "What the heap may grow to", [], (gauge) =>
      gauge.set(getHeapStatistics().heap_size_limit),
    );
    add.gauge("proglog_external_memory_bytes", "Memory of buffers outside of the heap", [], (gauge) =>
      gauge.set(process.memoryUsage().external),
    );
    add.total("process_cpu_seconds_total", "Processor time of the process", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    add.gauge("process_start_time_seconds", "When the process began, in seconds since 1970", [], (gauge) =>
      gauge.set(Math.round(performance.timeOrigin) / 1000),
    );
    add.gauge("proglog_build_info", "1, with the release and Node's version as labels", ["version", "node"], (gauge) =>
      gauge.set({ version, node: process.versions.node }, 1),
    );
  }

  close(): void {
    this.#loopDelay.disable();
    this.#collections.disconnect();
  }
}

const loopDelayResolutionMs = 10;

/** The monitor counts from one of its timers to the next: only what exceeds their interval is delay. */
function loopDelaySeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - loopDelayResolutionMs / 1000);
}

function collectionKindOf(entry: PerformanceEntry): string {
  // Node's types know nothing of the detail.
  const { detail } = entry as { readonly detail?: { readonly kind?: number } };
  const kind = detail?.kind;
  return collectionKinds.find(([number]) => number === kind)?.[1] ?? "other";
}

/** As V8 has them: of what is young, of everything, in steps beside the program, and of what only weakly hangs on. */
const collectionKinds: readonly (readonly [number, string])[] = [
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weak"],
];
