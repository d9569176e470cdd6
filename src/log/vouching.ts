import type { DiskFile } from "../base/disk.ts";
import { readPieceBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { findEntryHeader, frameHeadBytes, frameMagicAt, frameMagicBytes, syncedBackUnknown } from "./frame.ts";

/** Heads of frames that lie across two pieces are found as long as they are no longer than this. */
const overlapBytes = 64 * KiB;

/**
 * The largest index that a frame found in `[from, to)` vouches for as synced: its index - syncedBack. Any byte position is
 * tried, since a bad length leaves no other way on; frames of entries that are known already say nothing new and are passed
 * over, so is what lies further ahead than frames fit in between, such as a copy of this very store inside a record. 0 when there is none.
 */
export function findVouchedIndex(
  file: DiskFile,
  from: number,
  to: number,
  known: { readonly seed: number; readonly lastIndex: number },
): number {
  let vouched = 0;
  const piece = Buffer.allocUnsafeSlow(Math.min(readPieceBytes + overlapBytes, Math.max(0, to - from)));
  for (let start = from; start < to; start += readPieceBytes) {
    const length = file.readSync(piece.subarray(0, Math.min(piece.length, to - start)), start);
    for (let at = piece.indexOf(frameMagicBytes); at >= 0 && at < length; at = piece.indexOf(frameMagicBytes, at + 1)) {
      const frameAt = at - frameMagicAt;
      if (frameAt < 0) continue;
      const header = findEntryHeader(piece, frameAt, length, known.seed);
      if (header === undefined || header.index <= known.lastIndex || header.syncedBack === syncedBackUnknown) continue;
      // So many entries don't fit in between: it is a copy inside a record, from before a truncation.
      if (header.index > known.lastIndex + Math.ceil((to - from) / frameHeadBytes)) continue;
      vouched = Math.max(vouched, header.index - header.syncedBack);
    }
  }
  return vouched;
}
