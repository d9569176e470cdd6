import { GiB, KiB, MiB } from "../base/units.ts";

/** A count for people: "1,000". */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

/** A count and its noun: "1 record", "1,000 records". */
export function formatNumberOf(count: number, singular: string, plural = `${singular}s`): string {
  return `${formatCount(count)} ${count === 1 ? singular : plural}`;
}

/** Bytes for people: "512 B", "1.5 MiB". */
export function formatBytes(bytes: number): string {
  if (bytes < KiB) return `${bytes} B`;
  if (bytes < MiB) return `${(bytes / KiB).toFixed(1)} KiB`;
  if (bytes < GiB) return `${(bytes / MiB).toFixed(1)} MiB`;
  return `${(bytes / GiB).toFixed(1)} GiB`;
}

/** A range of offsets for people: "offset 7", "offsets 0-9", "no offset". */
export function describeOffsets({
  firstOffset,
  nextOffset,
}: {
  readonly firstOffset: number;
  readonly nextOffset: number;
}): string {
  if (nextOffset <= firstOffset) return "no offset";
  return nextOffset === firstOffset + 1 ? `offset ${firstOffset}` : `offsets ${firstOffset}-${nextOffset - 1}`;
}
