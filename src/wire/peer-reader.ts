import { isUtf8 } from "node:buffer";
import { readUint64LE } from "../base/bytes.ts";
import { ProglogError } from "../base/error.ts";

/**
 * Reads what peers say to each other (docs/peer-protocol.md), one value behind the other. Peers are authenticated, and yet one may be
 * broken or of another version: no length is trusted before it is held against what is there, and what doesn't fit is PEER_REFUSED.
 */
export class PeerReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  readonly #end: number;
  #at: number;

  /** Of `bytes`, `[start, end)`. `what` is their name, for errors. */
  constructor(bytes: Buffer, what: string, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#what = what;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get leftBytes(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  /** Eight bytes, up to 2^53-1. */
  u64(): number {
    const value = readUint64LE(this.#bytes, this.#take(8));
    if (!Number.isSafeInteger(value)) throw this.refuse("a number is beyond 2^53-1");
    return value;
  }

  /** Seven bits a byte, lowest first, the high bit saying that more follow; up to 2^53-1 in at most eight bytes. */
  uint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < uintMaxBytes; count += 1) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 128;
    }
    throw this.refuse("a number is beyond 2^53-1");
  }

  /** A view of the next bytes. */
  bytes(count: number): Buffer {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** UTF-8 of so many bytes. */
  text(byteLength: number): string {
    const bytes = this.bytes(byteLength);
    if (!isUtf8(bytes)) throw this.refuse("a text isn't UTF-8");
    return bytes.toString();
  }

  rest(): Buffer {
    return this.bytes(this.leftBytes);
  }

  /** Throws when something is left. */
  end(): void {
    if (this.leftBytes > 0) throw this.refuse(`${this.leftBytes} bytes are left behind its end`);
  }

  refuse(why: string): ProglogError {
    return brokenPeerError(`${this.#what} can't be read: ${why}`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) throw this.refuse("it ends early");
    this.#at = at + count;
    return at;
  }
}

/** What a peer sent isn't what peers send: its connection is of no use any more. */
export function brokenPeerError(why: string): ProglogError {
  return new ProglogError("PEER_REFUSED", `Cannot go on with the peer: ${why}`);
}

/** 2^53-1 takes as many. */
export const uintMaxBytes = 8;
