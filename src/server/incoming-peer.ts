import type { Socket } from "node:net";
import { unreachable } from "../base/assert.ts";
import type { Timer } from "../base/clock.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { peerHelloMaxBytes, peerRefusalMaxBytes } from "../base/cluster-limits.ts";
import {
  peerBodyMaxBytes,
  peerHandshakeMaxMs,
  peerMessagesMaxBytes,
  peerQuestionsMaxBytes,
  peerQuestionsMaxCount,
} from "../base/limits.ts";
import { toRefusal } from "../replica/peer-error.ts";
import type { PeerIdentity } from "../replica/peer-network.ts";
import { type PeerFrame, type PeerFrameType, peerMagic } from "../wire/peer-frame.ts";
import { decodePeerHello, encodePeerHello, type PeerHello } from "../wire/peer-hello.ts";
import { decodeMessages, type WireEnds } from "../wire/peer-messages.ts";
import {
  decodeCancel,
  decodeQuestion,
  decodeRefusal,
  encodeNumber,
  encodeRefusal,
  type PeerQuestion,
  questionHeadMaxBytes,
} from "../wire/peer-question.ts";
import { isSameLife } from "./outgoing-peer.ts";
import { brokenError, PeerConnection } from "./peer-connection.ts";
import { checkCertifiedNode, helloOf, identityOf, type PeerContext, type PeerRefusedReason } from "./peer-context.ts";
import { brokenPeerError } from "../wire/peer-reader.ts";

/**
 * A connection that a peer opened: it hears its messages and answers its questions. Until the peer has said who it is nothing is kept of
 * it but 4 KiB, and not for longer than five seconds.
 */
export class IncomingPeer {
  readonly #context: PeerContext;
  readonly #options: IncomingPeerOptions;
  readonly #socket: Socket;
  readonly #connection: PeerConnection;
  readonly #timer: Timer;
  readonly #questions = new Map<number, { readonly abort: AbortController; readonly bytes: number }>();
  #questionBytes = 0;
  #magicLeft = peerMagic.length;
  #unknownBytes = 0;
  #refusedReason: PeerRefusedReason | undefined;
  #hello: PeerHello | undefined;
  #identity: PeerIdentity | undefined;

  constructor(socket: Socket, context: PeerContext, options: IncomingPeerOptions) {
    this.#context = context;
    this.#options = options;
    this.#socket = socket;
    this.#connection = new PeerConnection(socket, {
      clock: context.clock,
      logger: context.logger,
      ends: () => this.#ends(),
      maxBytesOf: (type) => this.#maxBytesOf(type),
      beforeFrames: (chunk) => this.#takeMagic(chunk),
      onFrame: (frame) => this.#receive(frame),
      onEnd: (error) => this.#onEnd(error),
    });
    this.#timer = context.clock.setTimer(peerHandshakeMaxMs, () => {
      this.refuse(brokenPeerError(`it hasn't said who it is within ${peerHandshakeMaxMs} ms`), "silent");
    });
  }

  start(): void {
    this.#connection.start();
  }

  /** Undefined until it has said who it is. */
  get hello(): PeerHello | undefined {
    return this.#hello;
  }

  get isOver(): boolean {
    return this.#connection.isOver;
  }

  get closed(): Promise<void> {
    return this.#connection.closed;
  }

  get questionCount(): number {
    return this.#questions.size;
  }

  get bufferedBytes(): number {
    return this.#connection.sender.bufferedBytes;
  }

  announce(): void {
    if (this.#hello !== undefined && !this.isOver) this.#sayHello(this.#hello);
  }

  checkAlive(nowMs: number): void {
    // Until then its time to say who it is runs.
    if (this.#hello !== undefined) this.#connection.checkAlive(nowMs);
  }

  refuse(error: ProglogError, reason: PeerRefusedReason): void {
    this.#refusedReason = reason;
    this.#connection.refuse(error);
  }

  close(error: ProglogError): void {
    this.#connection.close(error);
  }

  drop(error: ProglogError): void {
    this.#connection.drop(error);
  }

  /** The magic was told apart by whoever hands the connection over; it is held against what was seen all the same. */
  #takeMagic(chunk: Buffer): Buffer {
    if (this.#hello === undefined) {
      this.#unknownBytes += chunk.length;
      if (this.#unknownBytes > peerMagic.length + peerHelloMaxBytes + helloFrameBytes)
        throw brokenPeerError("it says more than who it is before it is answered");
    }
    if (this.#magicLeft === 0) return chunk;
    const count = Math.min(this.#magicLeft, chunk.length);
    const at = peerMagic.length - this.#magicLeft;
    if (chunk.compare(peerMagic, at, at + count, 0, count) !== 0) throw brokenPeerError("it doesn't begin as peers do");
    this.#magicLeft -= count;
    return chunk.subarray(count);
  }

  #maxBytesOf(type: PeerFrameType): number | undefined {
    if (type === "hello") return peerHelloMaxBytes;
    if (this.#hello === undefined) return undefined;
    switch (type) {
      case "messages":
        return this.#hello.purpose === "messages" ? peerMessagesMaxBytes : undefined;
      case "question":
        return peerBodyMaxBytes + questionHeadMaxBytes;
      case "refusal":
        return peerRefusalMaxBytes;
      case "cancel":
        return questionHeadMaxBytes;
      case "ping":
        return 0;
      case "answer":
      case "pong":
        return undefined;
      default:
        return unreachable(type);
    }
  }

  #receive({ type, payload }: PeerFrame): void {
    switch (type) {
      case "hello":
        return this.#receiveHello(decodePeerHello(payload));
      case "messages":
        return this.#receiveMessages(payload);
      case "question":
        return this.#receiveQuestion(decodeQuestion(payload));
      case "cancel": {
        const number = decodeCancel(payload);
        this.#questions.get(number)?.abort.abort();
        this.#forget(number);
        return;
      }
      case "ping":
        return this.#reply(this.#connection.sender.frame("pong"));
      case "refusal":
        return this.#connection.drop(decodeRefusal(payload).error);
      case "answer":
      case "pong":
        throw new Error(`a frame of type ${type} doesn't get past its limit`);
      default:
        return unreachable(type);
    }
  }

  #receiveHello(hello: PeerHello): void {
    const said = this.#hello;
    if (said !== undefined && !isSameLife(said, hello)) throw brokenPeerError("it says that it is somebody else now");
    const known = said === undefined ? hello : { ...hello, purpose: said.purpose };
    try {
      checkCertifiedNode(this.#socket, known);
      this.#options.check(known, this);
    } catch (error) {
      this.#refusedReason = "unwanted";
      throw error;
    }
    this.#timer.cancel();
    this.#hello = known;
    this.#identity = identityOf(known);
    if (said === undefined) this.#sayHello(known);
  }

  #sayHello({ purpose }: PeerHello): void {
    this.#reply(this.#connection.sender.frame("hello", encodePeerHello(helloOf(this.#context, purpose))));
  }

  #receiveMessages(payload: Buffer): void {
    const { listener } = this.#context;
    const from = this.#speaker;
    for (const { groupId, message, frames } of decodeMessages(payload, this.#ends())) {
      // Something that a message set going may have ended the connection.
      if (this.isOver) return;
      listener.received(from, groupId, { message, frames });
    }
  }

  #receiveQuestion({ number, kind, body }: PeerQuestion): void {
    if (this.#questions.has(number)) throw brokenPeerError(`it asks question ${number} twice`);
    const bytes = this.#questionBytes + body.length;
    if (this.#questions.size >= peerQuestionsMaxCount || bytes > peerQuestionsMaxBytes)
      return this.#sayRefusal(number, overloadedError(kind));
    const abort = new AbortController();
    this.#questions.set(number, { abort, bytes: body.length });
    this.#questionBytes = bytes;
    void this.#answer({ number, kind, body }, abort.signal);
  }

  async #answer({ number, kind, body }: PeerQuestion, signal: AbortSignal): Promise<void> {
    const { listener, logger } = this.#context;
    const from = this.#speaker;
    let answer: Buffer | ProglogError;
    try {
      answer = await listener.answer(from, kind, body, signal);
      if (answer.length > peerBodyMaxBytes)
        throw new Error(`the answer has ${answer.length} bytes, and the limit is ${peerBodyMaxBytes}`);
    } catch (error) {
      if (!(error instanceof ProglogError))
        logger.error({ peer: from.nodeId, kind, reason: messageOf(error) }, "a peer's question failed");
      answer = toRefusal(error);
    }
    if (signal.aborted) return;
    this.#forget(number);
    if (answer instanceof ProglogError) return this.#sayRefusal(number, answer);
    const isSent = this.#connection.sender.frame("answer", encodeNumber(number), answer);
    if (!isSent) this.#sayRefusal(number, overloadedError(kind));
  }

  #sayRefusal(number: number, error: ProglogError): void {
    this.#reply(this.#connection.sender.frame("refusal", encodeRefusal(number, error)));
  }

  /** What is small finds room, unless the peer takes nothing at all of what it asks for. */
  #reply(isSent: boolean): void {
    if (!isSent && !this.isOver) this.drop(brokenError("the peer doesn't read what it asks for"));
  }

  #forget(number: number): void {
    const question = this.#questions.get(number);
    if (question === undefined) return;
    this.#questions.delete(number);
    this.#questionBytes -= question.bytes;
  }

  get #speaker(): PeerIdentity {
    if (this.#identity === undefined) throw new Error("nothing is heard of a peer that hasn't said who it is");
    return this.#identity;
  }

  #ends(): WireEnds {
    const { nodeId, storageId } = this.#speaker;
    return { from: nodeId, fromStorage: storageId, to: this.#context.identity().nodeId };
  }

  #onEnd(error: ProglogError): void {
    this.#timer.cancel();
    const reason = this.#refusedReason ?? (error.code === "PEER_REFUSED" ? "garbage" : undefined);
    if (reason !== undefined) this.#context.observer.refused?.(reason);
    for (const { abort } of this.#questions.values()) abort.abort();
    this.#questions.clear();
    this.#options.onEnd(error, reason);
  }
}

export interface IncomingPeerOptions {
  /** Throws why this peer isn't to be heard. */
  readonly check: (hello: PeerHello, connection: IncomingPeer) => void;
  readonly onEnd: (error: ProglogError, reason: PeerRefusedReason | undefined) => void;
}

function overloadedError(kind: string): ProglogError {
  return new ProglogError("OVERLOADED", `Cannot answer ${kind}: too much that this peer asked for is under way`, {
    hint: "Ask again when earlier questions are answered.",
  });
}

/** What stands before the payload of a hello. */
const helloFrameBytes = 9;
