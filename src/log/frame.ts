import { batchHeaderBytes, batchUnprotectedBytes } from "../batch/batch-header.ts";
import { crc32c } from "../batch/crc32c.ts";
import { assert } from "../base/assert.ts";
import { readInt64BE, readUint64LE, writeInt64BE, writeUint64LE } from "../base/bytes.ts";
import { entryControlMaxBytes, entryMaxBytes } from "../base/limits.ts";

/**
 * A frame of a store: `[8-byte length, LE][entry]`, an entry being a header of 48 bytes and its payload (docs/format.md).
 *
 *      0        8     12      14     15        16      24     28     32           40           48           52      56
 *     ┌────────┬─────┬───────┬──────┬─────────┬───────┬──────┬──────┬────────────┬────────────┬────────────┬───────┬─────────┐
 *     │ length │ crc │ magic │ kind │ version │ index │ term │ span │ baseOffset │ appendTime │ syncedBack │ flags │ payload │
 *     └────────┴─────┴───────┴──────┴─────────┴───────┴──────┴──────┴────────────┴────────────┴────────────┴───────┴─────────┘
 *
 * The crc covers the length, the header and, of a data entry, only the batch's first 21 bytes: the batch's own crc covers the
 * rest, so nothing is summed twice, the first 77 bytes suffice to trust a length, and a leader stamps a batch without
 * reading it. It is seeded with the log's id, so a frame of another log is no frame of this one.
 */
export const frameHeadBytes = 56;
export const entryHeaderBytes = 48;
/** What is written anew for a data entry: the frame's head and the batch's first 21 bytes. */
export const dataHeadBytes = frameHeadBytes + batchUnprotectedBytes;

const lengthBytes = 8;
const frameMagic = 0x4c50;
const entryVersion = 1;
const kindNames = ["data", "segment-header", "no-op", "membership", "trim", "pad"] as const;

export type EntryKind = (typeof kindNames)[number];

export const entryFlags = { beginsSegment: 1, compacted: 2, lost: 4 } as const;
const knownFlags = entryFlags.beginsSegment | entryFlags.compacted | entryFlags.lost;

/** `syncedBack` when nothing is known to be synced within 2^32-2 entries. */
export const syncedBackUnknown = 0xffff_ffff;

export interface EntryHeader {
  readonly kind: EntryKind;
  readonly index: number;
  readonly term: number;
  /** Offsets that the entry takes; 0 for all kinds but data. */
  readonly span: number;
  readonly baseOffset: number;
  readonly appendTime: number;
  readonly syncedBack: number;
  readonly flags: number;
}

export interface Frame extends EntryHeader {
  /** Of the frame's first byte in its store. */
  readonly position: number;
  /** Of the whole frame. */
  readonly byteLength: number;
  readonly payload: Buffer;
}

export type FrameRead =
  | { readonly outcome: "frame"; readonly frame: Frame }
  /** Length zero: nothing was written here yet. */
  | { readonly outcome: "empty" }
  /** `byteLength` bytes from the frame's start are needed to tell. */
  | { readonly outcome: "short"; readonly byteLength: number }
  | { readonly outcome: "bad"; readonly reason: string }
  /** Sound, but of a later version of the format. */
  | { readonly outcome: "unsupported"; readonly reason: string };

/** The frame magic as it lies in a file, and where: what a search for frames looks for. */
export const frameMagicBytes = Buffer.from("PL", "latin1");
export const frameMagicAt = 12;

/** The seed of every crc of a log. */
export function logSeed(logId: Buffer): number {
  return crc32c(logId);
}

/**
 * Writes the head of a data frame and the batch's first 21 bytes, with base offset and term stamped, at `at`: 77 bytes. The
 * batch itself isn't touched; its bytes from 21 on follow in the same write.
 */
export function writeDataHead(target: Buffer, at: number, header: EntryHeader, batch: Buffer, seed: number): void {
  assert(header.kind === "data" && header.span > 0, "a data entry spans offsets");
  writeHead(target, at, header, batch.length);
  const batchAt = at + frameHeadBytes;
  batch.copy(target, batchAt, 0, batchUnprotectedBytes);
  writeInt64BE(target, header.baseOffset, batchAt);
  target.writeUInt32BE(header.term, batchAt + 12);
  writeCrc(target, at, at + dataHeadBytes, seed);
}

/** A whole frame of a kind other than data. */
export function encodeControlFrame(header: EntryHeader, payload: Buffer, seed: number): Buffer {
  assert(header.kind !== "data" && header.span === 0, "a control entry spans no offsets");
  const frame = Buffer.alloc(frameHeadBytes + payload.length);
  writeHead(frame, 0, header, payload.length);
  payload.copy(frame, frameHeadBytes);
  writeCrc(frame, 0, frame.length, seed);
  return frame;
}

/** A whole data frame in one buffer: for repair and tests; the append path writes head and batch without joining them. */
export function encodeDataFrame(header: EntryHeader, batch: Buffer, seed: number): Buffer {
  const frame = Buffer.alloc(frameHeadBytes + batch.length);
  batch.copy(frame, frameHeadBytes);
  writeDataHead(frame, 0, header, batch, seed);
  return frame;
}

function writeHead(target: Buffer, at: number, header: EntryHeader, payloadBytes: number): void {
  writeUint64LE(target, entryHeaderBytes + payloadBytes, at);
  target.writeUInt16LE(frameMagic, at + 12);
  target.writeUInt8(kindNames.indexOf(header.kind), at + 14);
  target.writeUInt8(entryVersion, at + 15);
  writeUint64LE(target, header.index, at + 16);
  target.writeUInt32LE(header.term, at + 24);
  target.writeUInt32LE(header.span, at + 28);
  writeUint64LE(target, header.baseOffset, at + 32);
  writeUint64LE(target, header.appendTime, at + 40);
  target.writeUInt32LE(header.syncedBack, at + 48);
  target.writeUInt32LE(header.flags, at + 52);
}

function writeCrc(target: Buffer, at: number, protectedEnd: number, seed: number): void {
  target.writeUInt32LE(frameCrc(target, at, protectedEnd, seed), at + lengthBytes);
}

/** Over the length and what follows the crc field up to `protectedEnd`. */
function frameCrc(buffer: Buffer, at: number, protectedEnd: number, seed: number): number {
  return crc32c(buffer, at + lengthBytes + 4, protectedEnd, crc32c(buffer, at, at + lengthBytes, seed));
}

type HeadRead =
  | Exclude<FrameRead, { outcome: "frame" }>
  | { readonly outcome: "head"; readonly header: EntryHeader; readonly byteLength: number };

/**
 * Reads a frame's header at `at`, of which bytes up to `end` are there, and verifies the frame's own crc. Of a data entry that
 * takes 77 bytes, so from then on its length can be trusted, and whoever reads may allocate for it.
 */
function readHead(buffer: Buffer, at: number, end: number, seed: number): HeadRead {
  if (end - at < lengthBytes) return { outcome: "short", byteLength: lengthBytes };
  const length = readUint64LE(buffer, at);
  if (length === 0) return emptyRead;
  if (length < entryHeaderBytes || length > entryMaxBytes) return bad(`an entry of ${length} bytes`);
  if (end - at < frameHeadBytes) return { outcome: "short", byteLength: frameHeadBytes };
  if (buffer.readUInt16LE(at + 12) !== frameMagic) return bad("no frame magic");

  const byteLength = lengthBytes + length;
  const kind = kindNames[buffer.readUInt8(at + 14)];
  const isData = kind === "data";
  if (isData && length < entryHeaderBytes + batchHeaderBytes) return bad(`a data entry of ${length} bytes`);
  if (!isData && length > entryHeaderBytes + entryControlMaxBytes) return bad(`a control entry of ${length} bytes`);
  const headBytes = isData ? dataHeadBytes : byteLength;
  if (end - at < headBytes) return { outcome: "short", byteLength: headBytes };
  const crc = buffer.readUInt32LE(at + lengthBytes);
  if (frameCrc(buffer, at, at + headBytes, seed) !== crc) return bad("the frame's crc doesn't match");

  const version = buffer.readUInt8(at + 15);
  const flags = buffer.readUInt32LE(at + 52);
  if (version !== entryVersion) return { outcome: "unsupported", reason: `an entry of version ${version}` };
  if (kind === undefined) return { outcome: "unsupported", reason: `an entry of kind ${buffer.readUInt8(at + 14)}` };
  if ((flags & ~knownFlags) !== 0) return { outcome: "unsupported", reason: `an entry with flags ${flags}` };
  const header: EntryHeader = {
    kind,
    index: readUint64LE(buffer, at + 16),
    term: buffer.readUInt32LE(at + 24),
    span: buffer.readUInt32LE(at + 28),
    baseOffset: readUint64LE(buffer, at + 32),
    appendTime: readUint64LE(buffer, at + 40),
    syncedBack: buffer.readUInt32LE(at + 48),
    flags,
  };
  return { outcome: "head", header, byteLength };
}

/**
 * What the bytes at `at` say of a frame that may begin there, with nothing verified; undefined when none can. For a search, which
 * has to know what a check would cost before it makes it.
 */
export function guessHead(
  buffer: Buffer,
  at: number,
  end: number,
): { readonly index: number; readonly protectedBytes: number } | undefined {
  if (end - at < frameHeadBytes || buffer.readUInt8(at + 15) !== entryVersion) return undefined;
  const length = readUint64LE(buffer, at);
  const isData = buffer.readUInt8(at + 14) === kindNames.indexOf("data");
  const maxBytes = isData ? entryMaxBytes : entryHeaderBytes + entryControlMaxBytes;
  if (length < entryHeaderBytes || length > maxBytes) return undefined;
  return { index: readUint64LE(buffer, at + 16), protectedBytes: isData ? dataHeadBytes : lengthBytes + length };
}

/** The header of the frame at `at` when its own crc is right, whatever became of its batch; for vouching only. */
export function findEntryHeader(buffer: Buffer, at: number, end: number, seed: number): EntryHeader | undefined {
  const read = readHead(buffer, at, end, seed);
  return read.outcome === "head" ? read.header : undefined;
}

/**
 * Reads the frame at `at`, of which bytes up to `end` are there, and verifies both of its crcs. `position` is where `at` lies
 * in the store. The payload is a view of `buffer`.
 */
export function readFrame(buffer: Buffer, at: number, end: number, position: number, seed: number): FrameRead {
  const head = readHead(buffer, at, end, seed);
  if (head.outcome !== "head") return head;
  const { byteLength } = head;
  if (end - at < byteLength) return { outcome: "short", byteLength };
  const payloadAt = at + frameHeadBytes;
  const { kind, index, term, span, baseOffset, appendTime, syncedBack, flags } = head.header;
  const payload = buffer.subarray(payloadAt, at + byteLength);
  const frame: Frame = { kind, index, term, span, baseOffset, appendTime, syncedBack, flags, position, byteLength, payload };
  const reason = kind === "data" ? findBatchFault(frame, buffer, payloadAt, at + byteLength) : undefined;
  return reason === undefined ? { outcome: "frame", frame } : bad(reason);
}

/**
 * As `readFrame`, of a data frame whose batch goes beyond `end`: the payload is what is there of it, its header at least. The frame's own
 * crc is verified, and what frame and batch say of each other; the batch's crc is for who reads the rest.
 */
export function readFrameStart(buffer: Buffer, at: number, end: number, position: number, seed: number): FrameRead {
  const head = readHead(buffer, at, end, seed);
  if (head.outcome !== "head") return head;
  const { header, byteLength } = head;
  const startBytes = header.kind === "data" ? frameStartBytes : byteLength;
  if (end - at < startBytes) return { outcome: "short", byteLength: startBytes };
  const payloadAt = at + frameHeadBytes;
  const reason = header.kind === "data" ? findHeaderFault(header, buffer, payloadAt, at + byteLength) : undefined;
  if (reason !== undefined) return bad(reason);
  const payload = buffer.subarray(payloadAt, Math.min(end, at + byteLength));
  return { outcome: "frame", frame: { ...header, position, byteLength, payload } };
}

/** What `readFrameStart` needs of a data frame. */
const frameStartBytes = frameHeadBytes + batchHeaderBytes;

/** True when its payload is all of it: see `readFrameStart`. */
export function isWhole({ payload, byteLength }: Frame): boolean {
  return payload.length === byteLength - frameHeadBytes;
}

function findBatchFault(frame: EntryHeader, buffer: Buffer, start: number, end: number): string | undefined {
  if (crc32c(buffer, start + batchUnprotectedBytes, end) !== buffer.readUInt32BE(start + batchCrcAt)) return batchCrcFault;
  return findHeaderFault(frame, buffer, start, end);
}

const batchCrcAt = 17;
export const batchCrcFault = "the batch's crc doesn't match";

function findHeaderFault(frame: EntryHeader, buffer: Buffer, start: number, end: number): string | undefined {
  if (buffer.readInt32BE(start + 8) !== end - start - 12) return "the batch's length isn't the frame's";
  if (readInt64BE(buffer, start) !== frame.baseOffset) return "the batch's base offset isn't the frame's";
  if (buffer.readUInt32BE(start + 12) !== frame.term) return "the batch's epoch isn't the frame's term";
  if (buffer.readInt32BE(start + 23) + 1 !== frame.span) return "the batch doesn't span what the frame says";
  return undefined;
}

/** The whole frame as it was read: its payload is a view of what it lies in. */
export function bytesOfFrame({ payload, byteLength }: Frame): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset - frameHeadBytes, byteLength);
}

/** The offset after the entry's last record. */
export function nextOffsetOf(entry: EntryHeader): number {
  return entry.baseOffset + entry.span;
}

/** True when the entry takes an index of its own. */
export function hasIndex(kind: EntryKind): boolean {
  return kind !== "segment-header" && kind !== "pad";
}

const emptyRead = { outcome: "empty" } as const;

function bad(reason: string): { readonly outcome: "bad"; readonly reason: string } {
  return { outcome: "bad", reason };
}
