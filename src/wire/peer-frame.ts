import { crc32c } from "../batch/crc32c.ts";
import { peerAssemblyBytes } from "../base/cluster-limits.ts";
import { brokenPeerError } from "./peer-reader.ts";

/**
 * What goes over a connection between nodes, after the magic: frames, little-endian (docs/peer-protocol.md).
 *
 *     0        4      8      9
 *     ┌────────┬──────┬──────┬──────────┐
 *     │ length │ crc  │ type │ payload  │      length: of type and payload
 *     └────────┴──────┴──────┴──────────┘
 *
 * The crc covers the length, the type and the payload: what raft is told may be lost, but never altered, and the sum of TCP is 16 bits.
 * Of `messages` it covers the heads alone. The entries behind them have checksums of their own, which their receiver verifies anyway.
 */
export const peerFrameTypes = {
  hello: 1,
  messages: 2,
  question: 3,
  answer: 4,
  refusal: 5,
  cancel: 6,
  ping: 7,
  pong: 8,
} as const;

export type PeerFrameType = keyof typeof peerFrameTypes;

export interface PeerFrame {
  readonly type: PeerFrameType;
  /** A view of what was received. */
  readonly payload: Buffer;
}

/** The first byte begins neither TLS nor HTTP. */
export const peerMagic = Buffer.from("\0PLPEER1", "latin1");

/** A frame in pieces, none of them copied: `head` is the payload's beginning, `body` what follows, of which the crc covers all or nothing. */
export function encodePeerFrame(
  type: PeerFrameType,
  head: Buffer = noBytes,
  body: readonly Buffer[] = [],
  isBodyCovered = true,
): Buffer[] {
  const start = Buffer.allocUnsafe(frameStartBytes);
  let bodyBytes = 0;
  for (const piece of body) bodyBytes += piece.length;
  start.writeUInt32LE(1 + head.length + bodyBytes, 0);
  start.writeUInt8(peerFrameTypes[type], frameStartBytes - 1);
  let crc = crc32c(head, 0, head.length, crcOfStart(start, 0));
  if (isBodyCovered) for (const piece of body) crc = crc32c(piece, 0, piece.length, crc);
  start.writeUInt32LE(crc, 4);
  // One piece with its head: a write of its own costs more than copying a few bytes.
  return [Buffer.concat([start, head]), ...body];
}

/**
 * Cuts frames out of a stream of bytes. One that lies whole in what was received is handed on as a view of it; one that comes in pieces
 * is gathered in a buffer that grows with what really arrived, so that a length alone allocates little. `maxBytesOf` says what the payload
 * of a type may have at this moment, or undefined when such a frame isn't to come now: it is asked before a byte of it is kept.
 */
export class PeerDeframer {
  readonly #maxBytesOf: (type: PeerFrameType) => number | undefined;
  readonly #onFrame: (frame: PeerFrame) => void;
  /** Of the frame under way: its start, as far as it came when a chunk ended in it; then all of it, as it grows. */
  #held: Buffer = noBytes;
  #heldBytes = 0;
  /** Of the whole frame under way, once its start is there. */
  #frameBytes = 0;
  #isStopped = false;

  constructor(maxBytesOf: (type: PeerFrameType) => number | undefined, onFrame: (frame: PeerFrame) => void) {
    this.#maxBytesOf = maxBytesOf;
    this.#onFrame = onFrame;
  }

  /** Hands on no further frame: the connection is at its end. */
  stop(): void {
    this.#isStopped = true;
    this.#held = noBytes;
  }

  /** Throws PEER_REFUSED for what is no frame. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#isStopped) {
      if (this.#heldBytes > 0) {
        at += this.#gather(chunk, at);
        continue;
      }
      if (chunk.length - at < frameStartBytes) {
        this.#hold(chunk, at, chunk.length - at, frameStartBytes);
        return;
      }
      const frameBytes = this.#readStart(chunk, at);
      if (chunk.length - at >= frameBytes) {
        this.#deliver(chunk, at, frameBytes);
        at += frameBytes;
      } else {
        this.#frameBytes = frameBytes;
        this.#hold(chunk, at, chunk.length - at, Math.min(frameBytes, peerAssemblyBytes));
        return;
      }
    }
  }

  /** Takes from the chunk what belongs to the frame under way, and returns how much that was. */
  #gather(chunk: Buffer, at: number): number {
    const isStartMissing = this.#frameBytes === 0;
    const wanted = (isStartMissing ? frameStartBytes : this.#frameBytes) - this.#heldBytes;
    const taken = Math.min(wanted, chunk.length - at);
    this.#hold(chunk, at, taken, Math.min(this.#frameBytes, 2 * this.#held.length));
    if (taken < wanted) return taken;
    if (isStartMissing) {
      this.#frameBytes = this.#readStart(this.#held, 0);
      if (this.#frameBytes > frameStartBytes) return taken;
    }
    const frame = this.#held;
    const frameBytes = this.#frameBytes;
    this.#held = noBytes;
    this.#heldBytes = 0;
    this.#frameBytes = 0;
    this.#deliver(frame, 0, frameBytes);
    return taken;
  }

  /** Keeps `count` bytes of the chunk, in a buffer of at least `roomBytes`. */
  #hold(chunk: Buffer, at: number, count: number, roomBytes: number): void {
    const needed = this.#heldBytes + count;
    if (needed > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, roomBytes));
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldBytes, at, at + count);
    this.#heldBytes = needed;
  }

  /** Bytes of the whole frame that begins there. */
  #readStart(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32LE(at);
    const type = typesByNumber.get(bytes.readUInt8(at + frameStartBytes - 1));
    if (type === undefined || length === 0) throw brokenPeerError("what it sends are no frames of a peer");
    const maxBytes = this.#maxBytesOf(type);
    if (maxBytes === undefined) throw brokenPeerError(`it sends a frame of type ${type}, which isn't to come now`);
    if (length - 1 > maxBytes)
      throw brokenPeerError(`it sends a frame of type ${type} and ${length - 1} bytes: the limit is ${maxBytes}`);
    return frameStartBytes - 1 + length;
  }

  #deliver(bytes: Buffer, at: number, frameBytes: number): void {
    const type = typesByNumber.get(bytes.readUInt8(at + frameStartBytes - 1)) as PeerFrameType;
    const payload = bytes.subarray(at + frameStartBytes, at + frameBytes);
    const covered = type === "messages" ? coveredOfMessages(payload) : payload.length;
    const crc = crc32c(payload, 0, covered, crcOfStart(bytes, at));
    if (crc !== bytes.readUInt32LE(at + 4)) throw brokenPeerError(`the checksum of a frame of type ${type} doesn't match`);
    this.#onFrame({ type, payload });
  }
}

/** Bytes before the payload. */
export const frameStartBytes = 9;

/** Of `messages`: what stands before the entries. */
function coveredOfMessages(payload: Buffer): number {
  return payload.length < 4 ? payload.length : Math.min(payload.length, 4 + payload.readUInt32LE(0));
}

/** Over the length and the type, which lie on both sides of the crc. */
function crcOfStart(bytes: Buffer, at: number): number {
  return crc32c(bytes, at + 8, at + frameStartBytes, crc32c(bytes, at, at + 4));
}

const typesByNumber = new Map(
  Object.entries(peerFrameTypes).map(([type, number]) => [number as number, type as PeerFrameType]),
);

const noBytes = Buffer.alloc(0);
