import { GrpcStatusError } from "./grpc-status-error.ts";
import type { HeldBytes } from "./held-bytes.ts";
import type { MessageEncoding } from "./message-compression.ts";
import { MessageDeframer, prefixBytes } from "./message-deframer.ts";
import { decodeMessage } from "./message-receiver.ts";

/**
 * The one message of a side that sends one. A small one comes whole, in one piece, and is taken as it is; only another one costs a
 * deframer.
 */
export class SingleMessage<Message = unknown> {
  readonly #options: SingleMessageOptions<Message>;
  #deframer: MessageDeframer | undefined;
  #message: Buffer | undefined;
  #isCompressed = false;
  #isWhole = false;
  #heldBytes = 0;

  constructor(options: SingleMessageOptions<Message>) {
    this.#options = options;
  }

  /** True when the message is there, and the end behind it. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get wasCompressed(): boolean {
    return this.#isCompressed;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Throws RESOURCE_EXHAUSTED for a message that is too large, and INTERNAL for a second one. */
  accept(chunk: Buffer): void {
    if (
      this.#deframer === undefined &&
      this.#message === undefined &&
      chunk.length >= prefixBytes &&
      chunk[0] === 0 &&
      chunk.readUInt32BE(1) === chunk.length - prefixBytes &&
      chunk.length - prefixBytes <= this.#options.messageMaxBytes
    ) {
      this.#message = chunk.subarray(prefixBytes);
      return;
    }
    this.#deframer ??= new MessageDeframer(this.#options.messageMaxBytes, (message, isCompressed) => {
      if (this.#message !== undefined)
        throw new GrpcStatusError("INTERNAL", "Cannot receive a second message: the method takes one");
      this.#message = message;
      this.#isCompressed = isCompressed;
    });
    this.#deframer.push(chunk);
    const more = this.#deframer.heldBytes - this.#heldBytes;
    this.#heldBytes += more;
    this.#options.held?.add(more);
  }

  /** The message, decoded. Throws, or rejects with, what the call is to end with. */
  end(): Message | Promise<Message> {
    this.#isWhole = true;
    if (this.#deframer?.isInsideMessage === true)
      throw new GrpcStatusError("INTERNAL", "Cannot receive the message: the stream ended in the middle of it");
    const message = this.#message;
    if (message === undefined)
      throw new GrpcStatusError("INTERNAL", "Cannot receive the message: the stream ended without one");
    const { decode, encoding, messageMaxBytes } = this.#options;
    return decodeMessage({ message, isCompressed: this.#isCompressed, decode, encoding: encoding(), messageMaxBytes });
  }

  /** Forgets what came. */
  drop(): void {
    this.#message = undefined;
    this.#options.held?.add(-this.#heldBytes);
    this.#heldBytes = 0;
  }
}

export interface SingleMessageOptions<Message> {
  readonly decode: (message: Buffer) => Message;
  readonly encoding: () => MessageEncoding;
  readonly messageMaxBytes: number;
  readonly held?: HeldBytes;
}
