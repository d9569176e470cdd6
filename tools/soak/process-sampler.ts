import { createHook } from "node:async_hooks";
import { monitorEventLoopDelay } from "node:perf_hooks";

/**
 * Loaded into each node of a soak by `--import`, beside the program as it is. Tells the soak once a second what the process is like, over
 * the channel between the two, and lets go of all that it can when it is asked to. The channel keeps nothing alive.
 */
export interface ProcessSample {
  readonly kind: "sample";
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  readonly timers: number;
  readonly sockets: number;
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
}

export interface ProcessHeap {
  readonly kind: "heap";
  readonly liveBytes: number;
}

const everyMs = 1_000;
const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();

const timers = new Set<number>();
// Without promises, which would be most of what is made: their hooks would slow the node down.
const hook: Parameters<typeof createHook>[0] & { readonly trackPromises: boolean } = {
  trackPromises: false,
  init: (id, type) => void (type === "Timeout" && timers.add(id)),
  destroy: (id) => void timers.delete(id),
};
createHook(hook).enable();

setInterval(() => {
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo();
  tell({
    kind: "sample",
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    externalBytes: external + arrayBuffers,
    timers: timers.size,
    sockets: resources.filter((name) => name === "TCPSocketWrap").length,
    loopDelayP99Ms: delay.percentile(99) / 1e6,
    loopDelayMaxMs: delay.max / 1e6,
  });
  delay.reset();
}, everyMs).unref();

process.on("message", (message) => {
  if (message !== "collect") return;
  globalThis.gc?.();
  tell({ kind: "heap", liveBytes: process.memoryUsage().heapUsed });
});
process.channel?.unref();

function tell(message: ProcessSample | ProcessHeap): void {
  // Whoever started it may be gone.
  if (process.connected) process.send?.(message, undefined, {}, () => {});
}
