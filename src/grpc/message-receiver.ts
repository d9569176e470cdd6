import type { Http2Stream } from "node:http2";
import { assert } from "../base/assert.ts";
import { messageOf } from "../base/error.ts";
import { grpcReceiveQueueBytes } from "../base/limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import type { HeldBytes } from "./held-bytes.ts";
import { inflateMessage, type MessageEncoding } from "./message-compression.ts";
import { MessageDeframer } from "./message-deframer.ts";

/**
 * The messages that a stream brings, for one reader who takes them when he is ready. What he doesn't take holds the stream's window:
 * so a sender faster than its reader is held back at the sender, and costs here no more than the queue and the window.
 *
 * Messages are decoded when they are taken. One decoded without a copy is a view of what was received: who keeps a small part of
 * it for long copies that part.
 */
export class MessageReceiver<Message> implements AsyncIterable<Message> {
  readonly #options: MessageReceiverOptions<Message>;
  readonly #deframer: MessageDeframer;
  #queue: QueuedMessage[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** What this receiver has counted in `held`. */
  #heldBytes = 0;
  #wasCompressed = false;
  #isPaused = false;
  #isEnded = false;
  #failure: Error | undefined;
  /** Of a message behind those that were taken. */
  #undecodable: { readonly error: unknown } | undefined;
  #waiter: PromiseWithResolvers<void> | undefined;

  constructor(options: MessageReceiverOptions<Message>) {
    this.#options = options;
    this.#deframer = new MessageDeframer(options.messageMaxBytes, (message, isCompressed) => {
      this.#queue.push({ message, isCompressed });
      this.#queuedBytes += message.length + queuedOverheadBytes;
    });
  }

  /** The next message, or undefined when the other end has sent all. One reader at a time. */
  async read(): Promise<Message | undefined> {
    for (;;) {
      this.#throwUndecodable();
      const queued = this.#shift();
      if (queued !== undefined) return await this.#decode(queued);
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isEnded) return undefined;
      await this.#wait();
    }
  }

  /**
   * All messages that are here, at least one; none when the other end has sent all. Cheaper than one by one where they are small. A compressed
   * one is the last: it may have become a thousand times larger. What can't be decoded is thrown behind the messages before it.
   */
  async readAvailable(): Promise<Message[]> {
    const messages: Message[] = [];
    for (;;) {
      this.#throwUndecodable();
      for (let queued = this.#shift(); queued !== undefined; queued = this.#shift()) {
        try {
          const message = this.#decode(queued);
          messages.push(message instanceof Promise ? await message : message);
        } catch (error) {
          if (messages.length === 0) throw error;
          this.#undecodable = { error };
          return messages;
        }
        if (queued.isCompressed) break;
      }
      if (messages.length > 0) return messages;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isEnded) return messages;
      await this.#wait();
    }
  }

  /** Resolves when a read wouldn't wait. What is there stays there, so who isn't ready for it holds its sender back. */
  async ready(): Promise<void> {
    while (this.#queue.length === 0 && this.#failure === undefined && !this.#isEnded && this.#undecodable === undefined)
      await this.#wait();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    let isDone = false;
    try {
      for (;;) {
        const message = await this.read();
        if (message === undefined) break;
        yield message;
      }
      isDone = true;
    } finally {
      if (!isDone) this.#options.onAbandoned?.();
    }
  }

  /** Whether the message taken last came compressed. */
  get wasCompressed(): boolean {
    return this.#wasCompressed;
  }

  /** Bytes received and not taken, those in the stream included. */
  get heldBytes(): number {
    return this.#heldBytes + this.#options.stream.readableLength;
  }

  /** Takes what the stream brought. Throws RESOURCE_EXHAUSTED and INTERNAL, which end the call. */
  accept(chunk: Buffer): void {
    if (this.#failure !== undefined || this.#isEnded) return;
    this.#deframer.push(chunk);
    this.#recount();
    if (this.#queuedBytes >= grpcReceiveQueueBytes && !this.#isPaused) {
      this.#isPaused = true;
      this.#options.stream.pause();
    }
    if (this.#queue.length > this.#head) this.#wake();
  }

  /** The other end sends no more. Throws INTERNAL when it stopped in the middle of a message. */
  end(): void {
    if (this.#isEnded || this.#failure !== undefined) return;
    if (this.#deframer.isInsideMessage)
      throw new GrpcStatusError("INTERNAL", "Cannot receive a message: the stream ended in the middle of it");
    this.#isEnded = true;
    this.#wake();
  }

  /** What is queued can still be read; then this is thrown. With `isDropping` it is thrown at once. What comes later is dropped. */
  fail(error: Error, { isDropping }: { readonly isDropping: boolean }): void {
    if (this.#failure !== undefined) return;
    if (isDropping || !this.#isEnded) this.#failure = error;
    if (isDropping) {
      this.#queue = [];
      this.#head = 0;
      this.#queuedBytes = 0;
    }
    this.#giveBack();
    this.#resume();
    this.#wake();
  }

  #shift(): QueuedMessage | undefined {
    const queued = this.#queue[this.#head];
    if (queued === undefined) return undefined;
    this.#head += 1;
    this.#queuedBytes -= queued.message.length + queuedOverheadBytes;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (this.#failure === undefined) this.#recount();
    if (this.#queuedBytes <= grpcReceiveQueueBytes / 2) this.#resume();
    return queued;
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#options.stream.destroyed) this.#options.stream.resume();
  }

  #decode({ message, isCompressed }: QueuedMessage): Message | Promise<Message> {
    const { decode, encoding, messageMaxBytes } = this.#options;
    this.#wasCompressed = isCompressed;
    return decodeMessage({ message, isCompressed, decode, encoding: encoding(), messageMaxBytes });
  }

  #throwUndecodable(): void {
    const undecodable = this.#undecodable;
    if (undecodable === undefined) return;
    this.#undecodable = undefined;
    throw undecodable.error;
  }

  async #wait(): Promise<void> {
    assert(this.#waiter === undefined, "a stream's messages have one reader at a time");
    this.#waiter = Promise.withResolvers();
    await this.#waiter.promise;
  }

  #wake(): void {
    this.#waiter?.resolve();
    this.#waiter = undefined;
  }

  #recount(): void {
    const bytes = this.#queuedBytes + this.#deframer.heldBytes;
    const more = bytes - this.#heldBytes;
    if (more === 0) return;
    this.#heldBytes = bytes;
    this.#options.held?.add(more);
  }

  #giveBack(): void {
    this.#options.held?.add(-this.#heldBytes);
    this.#heldBytes = 0;
  }
}

export interface MessageReceiverOptions<Message> {
  readonly stream: Http2Stream;
  readonly decode: (message: Buffer) => Message;
  readonly encoding: () => MessageEncoding;
  readonly messageMaxBytes: number;
  /** What the calls of a server hold together. */
  readonly held?: HeldBytes;
  /** The reader left a loop over the messages before their end. */
  readonly onAbandoned?: () => void;
}

interface QueuedMessage {
  readonly message: Buffer;
  readonly isCompressed: boolean;
}

/** What a queued message costs besides its bytes: without it, messages of no bytes would wait without a limit. */
const queuedOverheadBytes = 64;

export interface MessageToDecode<Message> {
  readonly message: Buffer;
  readonly isCompressed: boolean;
  readonly decode: (message: Buffer) => Message;
  readonly encoding: MessageEncoding;
  readonly messageMaxBytes: number;
}

/** Inflates where that is needed, and decodes. Throws, or rejects with, what the call is to end with. */
export function decodeMessage<Message>(options: MessageToDecode<Message>): Message | Promise<Message> {
  const { message, isCompressed, decode, encoding, messageMaxBytes } = options;
  if (!isCompressed) return decodeWith(decode, message);
  if (encoding === "identity")
    throw new GrpcStatusError("INTERNAL", "Cannot receive a message: it is compressed, and grpc-encoding says that none is");
  const inflated = inflateMessage(message, messageMaxBytes);
  return inflated instanceof Promise ? inflated.then((bytes) => decodeWith(decode, bytes)) : decodeWith(decode, inflated);
}

function decodeWith<Message>(decode: (message: Buffer) => Message, bytes: Buffer): Message {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof GrpcStatusError) throw error;
    throw new GrpcStatusError("INTERNAL", `Cannot decode a message of ${bytes.length} bytes: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
