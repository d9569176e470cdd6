import { grpcAssemblyFastBytes, grpcAssemblyFastGrowth, grpcAssemblyStartBytes } from "../base/limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";

/**
 * Cuts messages out of a stream of bytes:
 *
 *     flag u8 (1 = compressed) │ length u32 BE │ message
 *
 * A message that lies whole in what was received is handed on as a view of it. One that comes in pieces is gathered in a buffer that
 * grows with what really arrived, twofold, up to its length: so a length alone allocates little, and neither do its many tiny pieces.
 * Up to some size it grows faster: what is outgrown is garbage, and most messages of several frames need one buffer then. The length is
 * held against the limit as soon as it is known.
 */
export class MessageDeframer {
  readonly #maxBytes: number;
  readonly #onMessage: (message: Buffer, isCompressed: boolean) => void;
  /** Of the message under way: its prefix, as far as it came when a chunk ended in it. */
  #prefix: Buffer | undefined;
  #prefixLength = 0;
  #assembly: Buffer | undefined;
  #assemblyLength = 0;
  #messageLength = 0;
  #isCompressed = false;

  constructor(maxBytes: number, onMessage: (message: Buffer, isCompressed: boolean) => void) {
    this.#maxBytes = maxBytes;
    this.#onMessage = onMessage;
  }

  /** Bytes held for a message that isn't whole yet. */
  get heldBytes(): number {
    return this.#assembly?.length ?? 0;
  }

  /** True when what came so far ends in the middle of a message. */
  get isInsideMessage(): boolean {
    return this.#prefixLength > 0 || this.#assembly !== undefined;
  }

  /** Throws RESOURCE_EXHAUSTED for a message beyond the limit and INTERNAL for a flag that isn't known. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#assembly !== undefined) {
        at += this.#assemble(chunk, at);
        continue;
      }
      if (this.#prefixLength > 0 || chunk.length - at < prefixBytes) {
        const prefix = (this.#prefix ??= Buffer.alloc(prefixBytes));
        const taken = chunk.copy(prefix, this.#prefixLength, at, at + prefixBytes - this.#prefixLength);
        at += taken;
        this.#prefixLength += taken;
        if (this.#prefixLength < prefixBytes) return;
        this.#readPrefix(prefix, 0);
        this.#prefixLength = 0;
      } else {
        this.#readPrefix(chunk, at);
        at += prefixBytes;
      }
      const end = at + this.#messageLength;
      if (end <= chunk.length) {
        this.#onMessage(chunk.subarray(at, end), this.#isCompressed);
        at = end;
      } else {
        this.#assembly = this.#allocate(chunk.length - at);
        this.#assemblyLength = 0;
      }
    }
  }

  #readPrefix(bytes: Buffer, at: number): void {
    const flag = bytes[at];
    if (flag !== 0 && flag !== 1)
      throw new GrpcStatusError("INTERNAL", `Cannot receive a message: its flag is ${flag}, and only 0 and 1 are known`);
    this.#messageLength = bytes.readUInt32BE(at + 1);
    if (this.#messageLength > this.#maxBytes)
      throw new GrpcStatusError(
        "RESOURCE_EXHAUSTED",
        `Cannot receive a message of ${this.#messageLength} bytes: the limit is ${this.#maxBytes}`,
      );
    this.#isCompressed = flag === 1;
  }

  /** Room for what arrived of the message, and for more as is to be expected. */
  #allocate(arrivedBytes: number): Buffer {
    const fastBytes = Math.min(grpcAssemblyFastBytes, grpcAssemblyFastGrowth * arrivedBytes);
    const roomBytes = Math.max(grpcAssemblyStartBytes, fastBytes, 2 * arrivedBytes);
    return Buffer.allocUnsafeSlow(Math.min(this.#messageLength, roomBytes));
  }

  /** Takes from the chunk what belongs to the message under way, and returns how much that was. */
  #assemble(chunk: Buffer, at: number): number {
    let assembly = this.#assembly as Buffer;
    const wanted = Math.min(chunk.length - at, this.#messageLength - this.#assemblyLength);
    const needed = this.#assemblyLength + wanted;
    if (needed > assembly.length) {
      const larger = this.#allocate(needed);
      assembly.copy(larger, 0, 0, this.#assemblyLength);
      assembly = larger;
      this.#assembly = larger;
    }
    chunk.copy(assembly, this.#assemblyLength, at, at + wanted);
    this.#assemblyLength = needed;
    if (needed === this.#messageLength) {
      this.#assembly = undefined;
      this.#onMessage(assembly, this.#isCompressed);
    }
    return wanted;
  }
}

export const prefixBytes = 5;
