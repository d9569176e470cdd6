import { closeSync, openSync, readdirSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../src/base/assert.ts";
import { segmentHeaderBytes } from "../src/log/segment-header.ts";
import { syncMarkSlotBytes, syncMarkSlotPositions } from "../src/log/sync-mark.ts";

/** What may rot in the directory of a clustered node that doesn't run. */
export const rotKinds = [
  "sealed store",
  "segment header",
  "active store",
  "sealed index",
  "active index",
  "time index",
  "sync mark",
  "base record",
  "hard state",
  "node record",
] as const;

export type RotKind = (typeof rotKinds)[number];

export interface RotPlace {
  readonly kind: RotKind;
  readonly path: string;
  readonly flips: readonly { readonly position: number; readonly bit: number }[];
}

export interface RotOptions {
  /** Of the log whose files are meant. */
  readonly group: string;
  /** Among the sealed segments, from the oldest; of several nodes each its own. */
  readonly segment?: number;
  /** A whole number from 0, below its parameter. */
  readonly draw: (below: number) => number;
  readonly bits?: number;
}

/** Flips bits of one file, in one place of it where it keeps a thing twice. Undefined where there is no such file. */
export function rot(directory: string, kind: RotKind, { group, segment, draw, bits = 1 }: RotOptions): RotPlace | undefined {
  const log = join(directory, "logs", group);
  const found = findRange(kind, { directory, log, segment, draw });
  if (found === undefined) return undefined;
  const { path, from = 0, end = statSync(path).size } = found;
  if (end <= from) return undefined;
  const flips = Array.from({ length: bits }, () => ({ position: from + draw(end - from), bit: draw(8) }));
  const place = { kind, path, flips };
  flip(place);
  return place;
}

interface RotRange {
  readonly path: string;
  readonly from?: number;
  readonly end?: number;
}

function findRange(
  kind: RotKind,
  { directory, log, segment, draw }: { directory: string; log: string; segment: number | undefined; draw: RotOptions["draw"] },
): RotRange | undefined {
  switch (kind) {
    case "sealed store":
      return rangeOf(log, sealedName(log, ".store", segment ?? draw(1_000)), { from: segmentHeaderBytes });
    case "segment header":
      return rangeOf(log, sealedName(log, ".store", segment ?? draw(1_000)), { end: segmentHeaderBytes });
    case "active store":
      // Its first frames: behind the last are zeros that were written ahead.
      return rangeOf(log, namesOf(log, ".store").at(-1), { from: segmentHeaderBytes, end: segmentHeaderBytes + 200 });
    case "sealed index":
      return rangeOf(log, sealedName(log, ".index", segment ?? draw(1_000)));
    case "active index":
      return rangeOf(log, namesOf(log, ".index").at(-1));
    case "time index":
      return rangeOf(log, namesOf(log, ".timeindex")[0]);
    case "sync mark": {
      const from = syncMarkSlotPositions[draw(2)] ?? 0;
      return rangeOf(log, "sync-mark", { from, end: from + syncMarkSlotBytes });
    }
    case "base record":
      return rangeOf(log, namesOf(log, "").filter((name) => /^base-[01]$/.test(name))[draw(2)]);
    case "hard state": {
      const path = join(directory, "hard-state");
      return { path, end: statSync(path).size / 2 };
    }
    case "node record":
      return { path: join(directory, "node-record") };
    default:
      return unreachable(kind);
  }
}

function rangeOf(log: string, name: string | undefined, range: Omit<RotRange, "path"> = {}): RotRange | undefined {
  return name === undefined ? undefined : { path: join(log, name), ...range };
}

function namesOf(log: string, suffix: string): readonly string[] {
  return readdirSync(log)
    .filter((name) => name.endsWith(suffix))
    .sort();
}

function sealedName(log: string, suffix: string, number: number): string | undefined {
  const active = Number.parseInt(namesOf(log, ".store").at(-1) ?? "", 10);
  const sealed = namesOf(log, suffix).filter((name) => Number.parseInt(name, 10) < active);
  return sealed[number % Math.max(1, sealed.length)];
}

/** Done twice it is undone. */
export function flip({ path, flips }: RotPlace): void {
  const fd = openSync(path, "r+");
  try {
    for (const { position, bit } of flips) {
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, position);
      writeSync(fd, Buffer.of((byte[0] ?? 0) ^ (1 << bit)), 0, 1, position);
    }
  } finally {
    closeSync(fd);
  }
}
