import { formatCount, formatNumberOf } from "./figures.ts";
import type { Measured } from "./load.ts";

/** What was measured, in words: what it was, the figures, and how the calls' durations are spread. */
export function describeLoad(measured: Measured, about: readonly string[]): string {
  const { records, durationMs, calls } = measured;
  const { recordsPerSecond, megabytesPerSecond, p50Ms, p99Ms, p999Ms, maxMs } = figuresOf(measured);
  const head = [`${formatNumberOf(records, "record")} in ${(durationMs / 1000).toFixed(2)} s`, ...about].join(", ");
  const percentiles = [
    ["p50", p50Ms],
    ["p99", p99Ms],
    ["p99.9", p999Ms],
    ["max", maxMs],
  ] as const;
  return [
    head,
    `rate     ${formatNumberOf(Math.round(recordsPerSecond), "record")}/s, ${megabytesPerSecond.toFixed(1)} MB/s`,
    `latency  ${percentiles.map(([name, ms]) => `${name} ${formatMs(ms)}`).join(", ")}`,
    "",
    ...histogramLines(measured),
    `  ${formatNumberOf(calls.count, "call")}\n`,
  ].join("\n");
}

/** The same as one JSON object in a line, with what else is to stand in it. */
export function loadJson(measured: Measured, about: object): string {
  const { records, bytes, durationMs, calls } = measured;
  const histogram = calls.octaves().map(({ endMs, count }) => ({ belowMs: endMs, count }));
  return `${JSON.stringify({ ...about, records, bytes, durationMs, ...figuresOf(measured), calls: calls.count, histogram })}\n`;
}

export function figuresOf({ records, bytes, durationMs, calls }: Measured) {
  const seconds = Math.max(durationMs, 0.001) / 1000;
  return {
    recordsPerSecond: records / seconds,
    /** Of a million bytes. */
    megabytesPerSecond: bytes / seconds / 1e6,
    p50Ms: calls.percentileMs(0.5),
    p99Ms: calls.percentileMs(0.99),
    p999Ms: calls.percentileMs(0.999),
    maxMs: calls.maxMs,
  };
}

function histogramLines({ calls }: Measured): readonly string[] {
  return calls.octaves().map(({ endMs, count }) => {
    const share = count / calls.count;
    const bar = count === 0 ? "" : "█".repeat(Math.max(1, Math.round(share * barMaxChars)));
    return `  < ${formatMs(endMs).padStart(9)} ${bar.padEnd(barMaxChars)} ${formatCount(count)} (${(share * 100).toFixed(1)} %)`;
  });
}

const barMaxChars = 40;

function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
