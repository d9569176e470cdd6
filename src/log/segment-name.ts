import { join } from "node:path";

/** Files of a segment are named by its base index, in 20 digits, so that names sort as numbers do. */
export const storeSuffix = ".store";
export const indexSuffix = ".index";
export const timeIndexSuffix = ".timeindex";
export const temporarySuffix = ".tmp";

export type SegmentFile = typeof storeSuffix | typeof indexSuffix | typeof timeIndexSuffix;

const storePattern = /^(\d{20})\.store$/;

export function segmentPath(directory: string, baseIndex: number, suffix: SegmentFile): string {
  return join(directory, String(baseIndex).padStart(20, "0") + suffix);
}

/** The base index that a store's file name tells, or undefined when the name is none of ours. */
export function parseStoreName(name: string): number | undefined {
  const digits = storePattern.exec(name)?.[1];
  if (digits === undefined) return undefined;
  const baseIndex = Number(digits);
  return Number.isSafeInteger(baseIndex) && baseIndex >= 1 ? baseIndex : undefined;
}
