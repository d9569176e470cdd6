import type { Http2Stream } from "node:http2";
import { assert } from "../base/assert.ts";
import { grpcGatherMaxBytes, grpcSendHeldMaxBytes, grpcSendQueueBytes, grpcSmallMessageMaxBytes } from "../base/limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import { deflateMessage } from "./message-compression.ts";
import { prefixBytes } from "./message-deframer.ts";

/**
 * Frames messages and gives them to a stream. What is sent in one turn of the loop goes to the stream together: small messages are
 * copied into one buffer, since a write costs more than they do, and large ones are never copied. `send` says when there is room
 * again; who doesn't wait for it is stopped at a limit, so that a peer who doesn't read can't fill the memory.
 */
export class MessageSender {
  readonly #stream: Http2Stream;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  /** Given to the stream, and not yet taken by the connection. */
  #writtenBytes = 0;
  #takenCount = 0;
  #isScheduled = false;
  #isEnding = false;
  /** A message is begun that isn't whole. It stays so when its pieces fail: nothing can be sent behind half a message. */
  #isInside = false;
  #room: PromiseWithResolvers<void> | undefined;
  #failure: GrpcStatusError | undefined;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  get heldBytes(): number {
    return this.#pendingBytes + this.#writtenBytes;
  }

  /** Grows whenever the connection takes something: how a sweep tells a stalled peer from a slow one. */
  get takenCount(): number {
    return this.#takenCount;
  }

  /**
   * Sends a message, given whole or in parts. Resolves when there is room for the next. Rejects with what ended the call, and with
   * RESOURCE_EXHAUSTED when far more waits than there is room for.
   */
  send(message: EncodedMessage, isCompressing: boolean): Promise<void> {
    const refusal = this.#findRefusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.heldBytes >= grpcSendHeldMaxBytes)
      return Promise.reject(
        new GrpcStatusError(
          "RESOURCE_EXHAUSTED",
          `Cannot send a message: ${this.heldBytes} bytes wait already; await each send before the next`,
        ),
      );
    if (isCompressing) this.#frame(1, [deflateMessage(joined(message))]);
    else this.#frame(0, message instanceof Uint8Array ? [message] : message);
    this.#flushSoon();
    return this.heldBytes <= grpcSendQueueBytes ? sent : this.roomed();
  }

  /**
   * Sends a message piece by piece, uncompressed: the next piece is asked for when there is room for it. Resolves when there is room behind the
   * last. When the pieces fail, so does this, and nothing more can be sent: the other end has half a message, and is to hear the status.
   */
  async sendInPieces({ byteLength, pieces }: MessageInPieces): Promise<void> {
    const refusal = this.#findRefusal();
    if (refusal !== undefined) throw refusal;
    this.#isInside = true;
    this.#push(prefixOf(0, byteLength));
    let leftBytes = byteLength;
    for await (const piece of pieces) {
      leftBytes -= piece.length;
      if (leftBytes < 0) break;
      this.#push(piece);
      this.#flushSoon();
      await this.roomed();
    }
    assert(leftBytes === 0, "the pieces of a message are as long as it was said to be");
    this.#isInside = false;
  }

  /** More waits than there is room for: who was told to wait still does. */
  get isFull(): boolean {
    return this.heldBytes > grpcSendQueueBytes;
  }

  /** Resolves when less waits than there is room for: what `send` returned, again. */
  roomed(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.heldBytes <= grpcSendQueueBytes) return sent;
    if (this.#room === undefined) {
      this.#room = Promise.withResolvers();
      // Whoever awaits it hears of a failure; where nobody does, the call's end tells.
      this.#room.promise.catch(() => {});
    }
    return this.#room.promise;
  }

  /** Gives the stream all that was sent. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#pendingBytes === 0) return;
    const pending = this.#pending;
    const bytes = this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#stream.destroyed || this.#stream.closed || this.#stream.writableEnded) return;
    this.#writtenBytes += bytes;
    const onTaken = (): void => this.#taken(bytes);
    const buffers = gathered(pending);
    if (buffers.length === 1) {
      this.#stream.write(buffers[0], onTaken);
      return;
    }
    // Corked, so that they go as one vectored write even where the stream is idle.
    this.#stream.cork();
    for (const [position, buffer] of buffers.entries())
      if (position < buffers.length - 1) this.#stream.write(buffer);
      else this.#stream.write(buffer, onTaken);
    this.#stream.uncork();
  }

  /** Ends the sending side when all is gone that was sent. Twice is fine. */
  end(): void {
    if (this.#isEnding || this.#failure !== undefined) return;
    this.flush();
    this.#isEnding = true;
    if (!this.#stream.destroyed && !this.#stream.writableEnded) this.#stream.end();
  }

  /** Drops what isn't given to the stream yet, and rejects those who wait for room. */
  fail(error: GrpcStatusError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#room?.reject(error);
    this.#room = undefined;
  }

  #findRefusal(): GrpcStatusError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#isEnding) return new GrpcStatusError("INTERNAL", "Cannot send a message: the sending side is ended");
    if (this.#isInside) return new GrpcStatusError("INTERNAL", "Cannot send a message: the one before it isn't whole");
    return undefined;
  }

  #flushSoon(): void {
    if (this.#pendingBytes >= grpcGatherMaxBytes) {
      this.flush();
    } else if (!this.#isScheduled) {
      this.#isScheduled = true;
      // Scheduled by a promise's continuation, it runs when all continuations of this turn have: so it gathers what they send.
      process.nextTick(flushLater, this);
    }
  }

  #push(bytes: Uint8Array): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  #frame(flag: number, parts: readonly Uint8Array[]): void {
    const length = byteLengthOf(parts);
    this.#pendingBytes += prefixBytes + length;
    const isSmall = length <= grpcSmallMessageMaxBytes;
    const frame = Buffer.allocUnsafe(isSmall ? prefixBytes + length : prefixBytes);
    frame[0] = flag;
    frame.writeUInt32BE(length, 1);
    this.#pending.push(frame);
    if (!isSmall) {
      for (const part of parts) if (part.length > 0) this.#pending.push(part);
      return;
    }
    let at = prefixBytes;
    for (const part of parts) {
      frame.set(part, at);
      at += part.length;
    }
  }

  #taken(bytes: number): void {
    this.#writtenBytes -= bytes;
    this.#takenCount += 1;
    if (this.#room === undefined || this.heldBytes > grpcSendQueueBytes / 2) return;
    this.#room.resolve();
    this.#room = undefined;
  }
}

/** A message whose bytes are made when there is room for them. */
export interface MessageInPieces {
  /** Of all pieces together. */
  readonly byteLength: number;
  readonly pieces: AsyncIterable<Uint8Array>;
}

function prefixOf(flag: number, byteLength: number): Buffer {
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix[0] = flag;
  prefix.writeUInt32BE(byteLength, 1);
  return prefix;
}

/** A message as bytes, or as parts whose bytes follow each other: what is large needn't be copied behind what is small. */
export type EncodedMessage = Uint8Array | readonly Uint8Array[];

export function byteLengthOf(message: EncodedMessage): number {
  if (message instanceof Uint8Array) return message.length;
  let length = 0;
  for (const part of message) length += part.length;
  return length;
}

/** One message with its prefix, for a call that sends no other. */
export function frameMessage(message: EncodedMessage, isCompressing: boolean): Buffer {
  const parts = isCompressing ? [deflateMessage(joined(message))] : message instanceof Uint8Array ? [message] : message;
  const length = byteLengthOf(parts);
  const frame = Buffer.allocUnsafe(prefixBytes + length);
  frame[0] = isCompressing ? 1 : 0;
  frame.writeUInt32BE(length, 1);
  let at = prefixBytes;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** One for all that need not wait: a promise a message would cost as much as the message. */
const sent = Promise.resolve();

function flushLater(sender: MessageSender): void {
  sender.flush();
}

function joined(message: EncodedMessage): Uint8Array {
  return message instanceof Uint8Array ? message : Buffer.concat(message);
}

/** Neighbouring small buffers joined, large ones as they are. */
function gathered(buffers: readonly Uint8Array[]): Uint8Array[] {
  const result: Uint8Array[] = [];
  let run: Uint8Array[] = [];
  const closeRun = (): void => {
    const [first] = run;
    if (first !== undefined) result.push(run.length === 1 ? first : Buffer.concat(run));
    run = [];
  };
  for (const buffer of buffers) {
    if (buffer.length <= grpcSmallMessageMaxBytes + prefixBytes) {
      run.push(buffer);
    } else {
      closeRun();
      result.push(buffer);
    }
  }
  closeRun();
  return result;
}
