import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import { controlEntriesMaxBytes, controlEntriesMaxCount, entryControlMaxBytes } from "../base/limits.ts";

/**
 * Of a group's log: its memberships and trims with where they stand, so that a replica opens without reading its whole log for them. A
 * fold over the entries, as all of a log's description is.
 *
 * Few are needed: of memberships the newest committed one and what lies behind it, which is one more; of trims those that aren't
 * carried out yet. Older ones are let go, and `fromIndex` says from where on nothing is missing.
 */
export interface ControlEntries {
  /** Every membership from this index on is listed; 1 when none was let go. */
  readonly fromIndex: number;
  /** In order. */
  readonly entries: readonly ControlEntry[];
}

export interface ControlEntry {
  readonly index: number;
  readonly kind: "membership" | "trim";
  readonly payload: Buffer;
}

export const noControlEntries: ControlEntries = { fromIndex: 1, entries: [] };

/** With the next entry of the log. */
export function addControlEntry({ fromIndex, entries }: ControlEntries, entry: ControlEntry): ControlEntries {
  const kept = [...entries, { index: entry.index, kind: entry.kind, payload: Buffer.from(entry.payload) }];
  let bytes = kept.reduce((sum, { payload }) => sum + headBytes + payload.length, 0);
  let from = fromIndex;
  while (kept.length > 1 && (kept.length > controlEntriesMaxCount || bytes > controlEntriesMaxBytes)) {
    const oldest = kept.shift();
    if (oldest === undefined) break;
    bytes -= headBytes + oldest.payload.length;
    from = oldest.index + 1;
  }
  return { fromIndex: from, entries: kept };
}

/** As if the log ended with `index`. */
export function cutControlEntries({ fromIndex, entries }: ControlEntries, index: number): ControlEntries {
  return { fromIndex, entries: entries.filter((entry) => entry.index <= index) };
}

/** Without what a trim has made superfluous: memberships before the one in force at the base, and trims that are done. */
export function trimControlEntries(
  { fromIndex, entries }: ControlEntries,
  { baseIndex, logStartOffset }: { readonly baseIndex: number; readonly logStartOffset: number },
): ControlEntries {
  const inForce = entries.findLast(({ index, kind }) => kind === "membership" && index <= baseIndex)?.index ?? 0;
  const isNeeded = ({ index, kind, payload }: ControlEntry): boolean =>
    kind === "membership" ? index >= inForce : decodeTrim(payload) > logStartOffset;
  return { fromIndex: Math.max(fromIndex, inForce), entries: entries.filter(isNeeded) };
}

/** The payload of a trim entry. */
export function encodeTrim(logStartOffset: number): Buffer {
  const payload = Buffer.alloc(trimBytes);
  writeUint64LE(payload, logStartOffset, 0);
  return payload;
}

/** The new log start offset; 0 of a payload that is none, which trims nothing. */
export function decodeTrim(payload: Buffer): number {
  const offset = payload.length === trimBytes ? readUint64LE(payload, 0) : 0;
  return Number.isSafeInteger(offset) ? offset : 0;
}

/**
 * As a section of the base record (docs/format.md); empty where the section can be left out.
 *
 *     0                 8            16
 *     ┌─────────────────┬────────────┬───────────────────────────────────────────────────────────────────────────┐
 *     │ described index │ from index │ each entry: index u64 │ kind u16 │ zero u16 │ bytes u32 │ payload …      …  │
 *     └─────────────────┴────────────┴───────────────────────────────────────────────────────────────────────────┘
 */
export function encodeControlEntries({ fromIndex, entries }: ControlEntries, describedIndex: number): Buffer {
  if (fromIndex <= 1 && entries.length === 0) return Buffer.alloc(0);
  const head = Buffer.alloc(sectionHeadBytes);
  writeUint64LE(head, describedIndex, 0);
  writeUint64LE(head, fromIndex, 8);
  const parts = entries.flatMap(({ index, kind, payload }) => {
    const entryHead = Buffer.alloc(headBytes);
    writeUint64LE(entryHead, index, 0);
    entryHead.writeUInt16LE(kindNumbers[kind], 8);
    entryHead.writeUInt32LE(payload.length, 12);
    return [entryHead, payload];
  });
  return Buffer.concat([head, ...parts]);
}

/**
 * Undefined when the bytes are none. A version that didn't know the section kept it as it was and described more: then it says
 * nothing of what came since, and all that is known is that nothing is.
 */
export function decodeControlEntries(bytes: Buffer, describedIndex: number): ControlEntries | undefined {
  if (bytes.length < sectionHeadBytes) return undefined;
  const entries: ControlEntry[] = [];
  const fromIndex = readUint64LE(bytes, 8);
  if (!Number.isSafeInteger(fromIndex)) return undefined;
  for (let at = sectionHeadBytes; at < bytes.length; ) {
    if (at + headBytes > bytes.length) return undefined;
    const index = readUint64LE(bytes, at);
    const number = bytes.readUInt16LE(at + 8);
    const kind = number === kindNumbers.membership ? "membership" : number === kindNumbers.trim ? "trim" : undefined;
    const payloadBytes = bytes.readUInt32LE(at + 12);
    const end = at + headBytes + payloadBytes;
    if (kind === undefined || payloadBytes > entryControlMaxBytes || end > bytes.length) return undefined;
    if (!Number.isSafeInteger(index) || index <= (entries.at(-1)?.index ?? 0)) return undefined;
    entries.push({ index, kind, payload: bytes.subarray(at + headBytes, end) });
    at = end;
  }
  if (readUint64LE(bytes, 0) !== describedIndex) return { fromIndex: describedIndex + 1, entries: [] };
  return { fromIndex, entries };
}

const trimBytes = 8;
const sectionHeadBytes = 16;
const headBytes = 16;
/** As in a frame. */
const kindNumbers = { membership: 3, trim: 4 } as const;
