import { MiB } from "../../src/base/units.ts";
import { findGrowths, keptNode, type Soak } from "./judge.ts";
import { type ChartLine, renderLineChart } from "./line-chart.ts";
import type { LoadTotals } from "./load.ts";
import { medianOf, type Sample } from "./sample.ts";
import { nodeNames } from "./soak-nodes.ts";

export interface ReportInput {
  readonly soak: Soak;
  readonly totals: LoadTotals;
  readonly findings: readonly string[];
  /** Acknowledged in each second. */
  readonly rates: readonly { readonly atMs: number; readonly value: number }[];
  /** What it ran on, for whoever compares. */
  readonly machine: string;
}

/** Files by name: the page, and the plots that it shows. */
export function renderReport({ soak, totals, findings, rates, machine }: ReportInput): ReadonlyMap<string, string> {
  const { phases, samples, faults, heaps } = soak;
  const endMs = phases.at(-1)?.endMs ?? 0;
  const chart = (title: string, unit: string, lines: readonly ChartLine[]): string =>
    renderLineChart({
      ...{ title, unit, endMs, lines },
      shaded: phases.filter(({ kind }) => kind === "faults"),
      marks: faults.map(({ atMs }) => atMs),
    });
  const ofNodes = (value: (sample: Sample) => number | undefined): readonly ChartLine[] =>
    nodeNames.map((name) => {
      const points = samples.flatMap((sample) => {
        const found = sample.node === name && sample.atMs <= endMs ? value(sample) : undefined;
        return found === undefined ? [] : [{ atMs: sample.atMs, value: found }];
      });
      return { name, points };
    });
  const liveHeap = nodeNames.map((name) => ({
    name,
    // So far apart that no line would join them.
    points: heaps
      .filter(({ node }) => node === name)
      .flatMap(({ atMs, bytes }) => [
        { atMs: Math.max(0, Math.min(atMs, endMs) - endMs / 100), value: bytes / MiB },
        { atMs: Math.min(atMs, endMs), value: bytes / MiB },
      ]),
  }));
  const plots: readonly (readonly [file: string, svg: string])[] = [
    ["rate.svg", chart("Records acknowledged", "1/s", [{ name: "all", points: rates }])],
    [
      "memory.svg",
      chart(
        "Resident memory",
        "MiB",
        ofNodes(({ residentBytes }) => residentBytes / MiB),
      ),
    ],
    [
      "heap.svg",
      chart(
        "Heap",
        "MiB",
        ofNodes(({ heapUsedBytes }) => heapUsedBytes / MiB),
      ),
    ],
    ["live-heap.svg", chart("Heap after collection, at the end of each stretch", "MiB", liveHeap)],
    [
      "descriptors.svg",
      chart(
        "Descriptors",
        "",
        ofNodes(({ descriptors }) => descriptors),
      ),
    ],
    [
      "timers.svg",
      chart(
        "Timers",
        "",
        ofNodes(({ timers }) => timers),
      ),
    ],
    [
      "sockets.svg",
      chart(
        "Sockets",
        "",
        ofNodes(({ sockets }) => sockets),
      ),
    ],
    [
      "loop-delay.svg",
      chart(
        "Event-loop delay, 99th percentile of each second",
        "ms",
        ofNodes((sample) => sample.loopDelayP99Ms),
      ),
    ],
  ];
  const page = [
    "# Soak",
    "",
    `${(endMs / 60_000).toFixed(1)} minutes on ${machine}. ${totals.acknowledged.toLocaleString("en-US")} records acknowledged, ` +
      `${totals.read.toLocaleString("en-US")} read by two readers, ${totals.visits} short visits (${totals.failedVisits} met a node that was away), ${faults.length} faults.`,
    "",
    findings.length === 0
      ? "**Nothing was found wrong.**"
      : `**${findings.length} findings:**\n\n${findings.map((line) => `- ${line}`).join("\n")}`,
    "",
    `## From the first calm time to the last, of ${keptNode}`,
    "",
    "| | first | last | may be |",
    "|---|---:|---:|---:|",
    ...findGrowths(soak).map(({ what, unit, first, last, limit }) => {
      const figures = [first, last, limit].map((figure) => figure.toFixed(unit === "" ? 0 : 1));
      return `| ${what}${unit === "" ? "" : ` (${unit})`} | ${figures.join(" | ")} |`;
    }),
    "",
    "## Event-loop delay (ms)",
    "",
    "| | calm, p99 (median) | calm, longest | faults, longest |",
    "|---|---:|---:|---:|",
    ...nodeNames.map((name) => `| ${name} | ${delaysOf(soak, name).join(" | ")} |`),
    "",
    "## Faults, and until the cluster was whole again",
    "",
    "| at | fault | whole after |",
    "|---:|---|---:|",
    ...faults.map(({ atMs, what, wholeAfterMs }) => {
      const whole = wholeAfterMs === undefined ? "not at all" : `${(wholeAfterMs / 1000).toFixed(1)} s`;
      return `| ${(atMs / 1000).toFixed(0)} s | ${what} | ${whole} |`;
    }),
    "",
    "## Plots",
    "",
    "Faults came in the shaded stretches, each with a tick below.",
    "",
    ...plots.map(([file]) => `![${file}](${file})`),
    "",
  ];
  return new Map([["report.md", page.join("\n")], ...plots]);
}

function delaysOf({ phases, samples }: Soak, name: string): readonly string[] {
  const within = (kind: "calm" | "faults"): readonly Sample[] =>
    samples.filter(({ node, atMs }) => {
      return node === name && phases.some((phase) => phase.kind === kind && atMs >= phase.startMs && atMs < phase.endMs);
    });
  const longest = (of: readonly Sample[]): string => Math.max(0, ...of.map(({ loopDelayMaxMs }) => loopDelayMaxMs)).toFixed(0);
  const calm = within("calm");
  const median = calm.length === 0 ? 0 : medianOf(calm.map(({ loopDelayP99Ms }) => loopDelayP99Ms));
  return [median.toFixed(1), longest(calm), longest(within("faults"))];
}
