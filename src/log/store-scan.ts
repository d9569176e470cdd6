import type { DiskFile } from "../base/disk.ts";
import { findDataEnd } from "./active-store.ts";
import type { ChainPoint } from "./chain.ts";
import { corruptError } from "./corrupt-error.ts";
import type { Frame } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { segmentHeaderBytes } from "./segment-header.ts";

export interface StoreScan {
  /** The entry before the segment. */
  readonly before: ChainPoint;
  readonly seed: number;
  /** Where the frames end that are wanted; the end of the file where it isn't given. */
  readonly endPosition?: number;
  /** Called with each frame; the payload is gone when it returns. */
  readonly onFrame: (frame: Frame) => void;
}

/** Reads a store from its first entry to its end. Throws LOG_CORRUPT at the first frame that isn't sound. */
export async function scanStore(file: DiskFile, scan: StoreScan, path: string): Promise<void> {
  const scanner = new FrameScanner({
    file,
    position: segmentHeaderBytes,
    endPosition: scan.endPosition ?? file.size(),
    chain: scan.before,
    seed: scan.seed,
    reusesMemory: true,
  });
  while (scanner.end === undefined) for (const frame of await scanner.next()) scan.onFrame(frame);
  const { position, chain } = scanner;
  const fault = findScanFault(file, scanner);
  if (fault === undefined) return;
  const damage = { file: path, position, firstOffset: chain.nextOffset, nextOffset: chain.nextOffset, reason: fault };
  throw corruptError("read a segment", damage);
}

/** Why a scan that ended didn't end well, or undefined: it reached the end, or nothing but zeros lie behind it. */
export function findScanFault(file: DiskFile, scanner: FrameScanner): string | undefined {
  const { end, position } = scanner;
  if (end === undefined || end.kind === "end") return undefined;
  if (end.kind !== "empty") return end.reason;
  return findDataEnd(file, position) === position ? undefined : "zeros where a frame should be";
}
