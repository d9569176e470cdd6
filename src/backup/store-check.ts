import { createHash } from "node:crypto";
import type { Disk } from "../base/disk.ts";
import { MiB } from "../base/units.ts";
import type { ChainPoint } from "../log/chain.ts";
import { logSeed } from "../log/frame.ts";
import { readSegmentHeader, segmentHeaderBytes } from "../log/segment-header.ts";
import { FrameScanner } from "../log/frame-scanner.ts";
import { findScanFault } from "../log/store-scan.ts";

export interface CheckedStore {
  /** The entry before it. */
  readonly before: ChainPoint;
  /** Its last entry, or the one before it. */
  readonly last: ChainPoint;
  readonly bytes: number;
  readonly sha256: string;
}

/** Reads a store whole, every frame against its checksums and the one before it. The text says why it isn't sound. */
export async function checkStore(disk: Disk, path: string, logId: string): Promise<CheckedStore | string> {
  const file = disk.open(path, "read");
  try {
    const header = Buffer.alloc(segmentHeaderBytes);
    const read = readSegmentHeader(header.subarray(0, file.readSync(header, 0)));
    if ("fault" in read) return read.fault;
    if (read.header.logId.toString("hex") !== logId) return "it belongs to another log";
    const { before } = read;
    const scanner = new FrameScanner({
      ...{ file, position: segmentHeaderBytes, endPosition: file.size(), chain: before },
      ...{ seed: logSeed(read.header.logId), reusesMemory: true },
    });
    while (scanner.end === undefined) await scanner.next();
    const fault = scanner.end.kind === "empty" ? "zeros where a frame should be" : findScanFault(file, scanner);
    if (fault !== undefined) return `${fault}, at position ${scanner.position}`;
    return { before, last: scanner.chain, bytes: file.size(), sha256: await hashFile(disk, path) };
  } finally {
    file.close();
  }
}

/** In hexadecimal. */
export async function hashFile(disk: Disk, path: string): Promise<string> {
  const file = disk.open(path, "read");
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafeSlow(MiB);
    for (let position = 0; ; ) {
      const bytes = await file.read(buffer, position);
      if (bytes === 0) return hash.digest("hex");
      hash.update(buffer.subarray(0, bytes));
      position += bytes;
    }
  } finally {
    file.close();
  }
}
