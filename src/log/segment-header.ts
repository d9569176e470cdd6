import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import { ProglogError } from "../base/error.ts";
import type { ChainPoint } from "./chain.ts";
import { encodeControlFrame, type Frame, frameHeadBytes, logSeed, readFrame, syncedBackUnknown } from "./frame.ts";

/**
 * The first frame of each store (docs/format.md). As a frame it bears the coordinates of the entry *before* the segment, so the
 * first entry is held against it like against any predecessor.
 *
 *     56        64      80          88           96            100             104        112      128
 *     ┌─────────┬────────┬───────────┬────────────┬─────────────┬───────────────┬──────────┬────────┐
 *     │ magic   │ log id │ baseIndex │ baseOffset │ term before │ formatVersion │ created  │ zeros  │
 *     └─────────┴────────┴───────────┴────────────┴─────────────┴───────────────┴──────────┴────────┘
 */
export interface SegmentHeader {
  readonly logId: Buffer;
  readonly baseIndex: number;
  readonly baseOffset: number;
  readonly termBefore: number;
  readonly createdAt: number;
}

export const segmentHeaderBytes = 128;
export const logIdBytes = 16;

const payloadBytes = segmentHeaderBytes - frameHeadBytes;
const magic = Buffer.from("PLSTORE1", "latin1");
const formatVersion = 1;

/** `before` is the entry that the segment follows; `durableIndex` how far the log is synced. */
export function encodeSegmentHeader(
  header: { readonly logId: Buffer; readonly createdAt: number },
  before: ChainPoint,
  durableIndex: number,
): Buffer {
  const payload = Buffer.alloc(payloadBytes);
  magic.copy(payload, 0);
  header.logId.copy(payload, 8);
  writeUint64LE(payload, before.index + 1, 24);
  writeUint64LE(payload, before.nextOffset, 32);
  payload.writeUInt32LE(before.term, 40);
  payload.writeUInt32LE(formatVersion, 44);
  writeUint64LE(payload, header.createdAt, 48);
  return encodeControlFrame(
    {
      kind: "segment-header",
      index: before.index,
      term: before.term,
      span: 0,
      baseOffset: before.nextOffset,
      appendTime: before.appendTime,
      syncedBack: Math.min(before.index - durableIndex, syncedBackUnknown),
      flags: 0,
    },
    payload,
    logSeed(header.logId),
  );
}

/** Reads the header from a store's first bytes; says why when it is none. Needs no log id: the header brings it. */
export function readSegmentHeader(bytes: Buffer): { header: SegmentHeader; before: ChainPoint } | { fault: string } {
  if (bytes.length < segmentHeaderBytes) return { fault: `a store of ${bytes.length} bytes has no segment header` };
  if (bytes.compare(magic, 0, 8, frameHeadBytes, frameHeadBytes + 8) !== 0) return { fault: "no segment header magic" };
  const logId = Buffer.from(bytes.subarray(frameHeadBytes + 8, frameHeadBytes + 8 + logIdBytes));
  const version = bytes.readUInt32LE(frameHeadBytes + 44);
  const read = readFrame(bytes, 0, segmentHeaderBytes, 0, logSeed(logId));
  if (read.outcome === "unsupported" || (read.outcome === "frame" && version !== formatVersion)) {
    throw new ProglogError(
      "UNSUPPORTED_FORMAT",
      `Cannot read the store: its format version is ${version}, this program knows ${formatVersion}`,
      {
        hint: "Use the version of proglog that wrote it, or a newer one.",
      },
    );
  }
  if (read.outcome !== "frame") return { fault: read.outcome === "bad" ? read.reason : "the segment header is cut short" };
  return parseHeader(read.frame, logId);
}

function parseHeader(frame: Frame, logId: Buffer): { header: SegmentHeader; before: ChainPoint } | { fault: string } {
  if (frame.kind !== "segment-header") return { fault: `the first frame is of kind ${frame.kind}` };
  const { payload } = frame;
  const header: SegmentHeader = {
    logId,
    baseIndex: readUint64LE(payload, 24),
    baseOffset: readUint64LE(payload, 32),
    termBefore: payload.readUInt32LE(40),
    createdAt: readUint64LE(payload, 48),
  };
  if (header.baseIndex !== frame.index + 1) return { fault: "the segment header contradicts itself" };
  const before: ChainPoint = {
    index: frame.index,
    term: frame.term,
    nextOffset: frame.baseOffset,
    appendTime: frame.appendTime,
  };
  return { header, before };
}
