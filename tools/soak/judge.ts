import { MiB } from "../../src/base/units.ts";
import type { Fault, LiveHeap, Phase, Sample } from "./sample.ts";
import { medianOf } from "./sample.ts";

export interface Soak {
  readonly phases: readonly Phase[];
  readonly samples: readonly Sample[];
  readonly heaps: readonly LiveHeap[];
  readonly faults: readonly Fault[];
}

/** A figure at the first calm time and at the last: of the node that was never ended, so that what it leaks is still there. */
export interface Growth {
  readonly what: string;
  readonly unit: string;
  readonly first: number;
  readonly last: number;
  /** Above it, it is a finding. */
  readonly limit: number;
}

export const keptNode = "node1";

/**
 * What may differ without anything being wrong: connections that happen to be there, caches that fill, and what the process keeps of what it
 * has learned (dead topics, other nodes' lives). With each hour it has to stay within the same bounds.
 */
const allowed = {
  descriptors: { factor: 1.1, more: 16 },
  timers: { factor: 1.2, more: 32 },
  sockets: { factor: 1.2, more: 16 },
  liveHeap: { factor: 1.3, more: 16 * MiB },
  resident: { factor: 1.5, more: 64 * MiB },
};

export function findGrowths({ phases, samples, heaps }: Soak): readonly Growth[] {
  const calm = phases.filter(({ kind }) => kind === "calm");
  const [first, last] = [calm[0], calm.at(-1)];
  if (first === undefined || last === undefined || first === last) return [];
  const medianIn = (phase: Phase, value: (sample: Sample) => number | undefined): number => {
    // Its second half: what goes on from before is over then.
    const startMs = (phase.startMs + phase.endMs) / 2;
    const within = samples.filter(({ node, atMs }) => node === keptNode && atMs >= startMs && atMs <= phase.endMs);
    return medianOf(within.flatMap((sample) => value(sample) ?? []));
  };
  const growthOf = (
    what: keyof typeof allowed,
    unit: string,
    value: (phase: Phase) => number,
    divisor = 1,
  ): Growth | undefined => {
    const [before, after] = [value(first), value(last)];
    if (Number.isNaN(before) || Number.isNaN(after)) return undefined;
    const { factor, more } = allowed[what];
    return { what, unit, first: before / divisor, last: after / divisor, limit: (before * factor + more) / divisor };
  };
  const heapAtEndOf = (phase: Phase): number =>
    heaps.find(({ node, atMs }) => node === keptNode && atMs >= phase.endMs && atMs <= phase.endMs + heapLateMs)?.bytes ??
    Number.NaN;
  return [
    growthOf("descriptors", "", (phase) => medianIn(phase, ({ descriptors }) => descriptors)),
    growthOf("timers", "", (phase) => medianIn(phase, ({ timers }) => timers)),
    growthOf("sockets", "", (phase) => medianIn(phase, ({ sockets }) => sockets)),
    growthOf("liveHeap", "MiB", heapAtEndOf, MiB),
    growthOf("resident", "MiB", (phase) => medianIn(phase, ({ residentBytes }) => residentBytes), MiB),
  ].filter((growth) => growth !== undefined);
}

/** It is taken when a phase is over, and takes a moment. */
const heapLateMs = 10_000;

/** What is wrong, a line each. */
export function judge(soak: Soak): readonly string[] {
  const grown = findGrowths(soak)
    .filter(({ last, limit }) => last > limit)
    .map(({ what, unit, first, last, limit }) => {
      const figures = [first, last, limit].map((figure) => `${Math.round(figure * 10) / 10}${unit === "" ? "" : ` ${unit}`}`);
      return `${keptNode}: ${what} grew from ${figures[0]} to ${figures[1]}, and may be ${figures[2]}`;
    });
  const broken = soak.faults
    .filter(({ wholeAfterMs }) => wholeAfterMs === undefined)
    .map(({ what, atMs }) => `after ${what} (${Math.round(atMs / 1000)} s) the cluster wasn't whole again`);
  return [...grown, ...broken];
}
