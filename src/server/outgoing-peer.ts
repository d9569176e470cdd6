import type { Socket } from "node:net";
import { unreachable } from "../base/assert.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { peerHelloMaxBytes, peerRefusalMaxBytes } from "../base/cluster-limits.ts";
import { peerAddressesOfNameMaxCount, peerBodyMaxBytes, peerHandshakeMaxMs, peerQuestionsMaxCount } from "../base/limits.ts";
import { describePeer, noWayError } from "../replica/peer-error.ts";
import type { PeerIdentity, PeerMessage } from "../replica/peer-network.ts";
import { type PeerFrame, type PeerFrameType, peerMagic } from "../wire/peer-frame.ts";
import { decodePeerHello, encodePeerHello, type PeerHello, type PeerPurpose } from "../wire/peer-hello.ts";
import { decodeAnswer, decodeRefusal, encodeNumber, encodeQuestionHead, questionHeadMaxBytes } from "../wire/peer-question.ts";
import { parsePeerAddress } from "./peer-address.ts";
import { brokenError, PeerConnection } from "./peer-connection.ts";
import { checkCertifiedNode, checkHello, helloOf, identityOf, type PeerContext } from "./peer-context.ts";
import { type PeerWait, waitForPeer } from "./peer-wait.ts";

/** A connection that this node opened: it sends messages and asks questions on it, and hears answers. */
export class OutgoingPeer {
  readonly #context: PeerContext;
  readonly #options: DialOptions;
  readonly #socket: Socket;
  readonly #connection: PeerConnection;
  readonly #greeted = Promise.withResolvers<void>();
  readonly #questions = new Map<number, PromiseWithResolvers<Buffer>>();
  #hello: PeerHello | undefined;
  /** What this node said last of itself. */
  #told: Buffer = Buffer.alloc(0);
  #lastNumber = 0;

  private constructor(socket: Socket, context: PeerContext, options: DialOptions) {
    this.#context = context;
    this.#options = options;
    this.#socket = socket;
    // Whoever opens it may be gone by the time it fails.
    this.#greeted.promise.catch(() => {});
    this.#connection = new PeerConnection(socket, {
      clock: context.clock,
      logger: context.logger,
      ends: () => ({
        from: context.identity().nodeId,
        fromStorage: context.identity().storageId,
        to: this.identity.nodeId,
      }),
      maxBytesOf: (type) => this.#maxBytesOf(type),
      onFrame: (frame) => this.#receive(frame),
      onEnd: (error) => this.#onEnd(error),
    });
  }

  /**
   * Tries each address that the name stands for. Throws what the peer, or this node, refuses with; UNAVAILABLE where nobody is
   * reached; what the last of several addresses failed with, but a refusal rather than silence.
   */
  static async dial(context: PeerContext, options: DialOptions): Promise<OutgoingPeer> {
    const { host, port } = parsePeerAddress(options.address);
    const to = { address: options.address };
    const handshake = (): Deadline => new Deadline(context, options);
    let addresses: readonly string[];
    {
      using deadline = handshake();
      addresses = await deadline.race(context.resolve(host)).catch((error: unknown) => {
        throw noWayError(to, `its name can't be resolved (${messageOf(error)})`, error);
      });
    }
    let failure = noWayError(to, "its name stands for no address");
    for (const address of addresses.slice(0, peerAddressesOfNameMaxCount)) {
      using deadline = handshake();
      try {
        return await OutgoingPeer.#open(context, options, { host: address, port, name: host }, deadline);
      } catch (error) {
        const found = error instanceof ProglogError ? error : noWayError(to, messageOf(error), error);
        if (options.signal.aborted) throw found;
        if (found.code !== "UNAVAILABLE" || failure.code === "UNAVAILABLE") failure = found;
      }
    }
    throw failure;
  }

  static async #open(
    context: PeerContext,
    options: DialOptions,
    where: { readonly host: string; readonly port: number; readonly name: string },
    deadline: Deadline,
  ): Promise<OutgoingPeer> {
    const socket = await deadline.race(context.connect(where, deadline.signal));
    const peer = new OutgoingPeer(socket, context, options);
    socket.write(peerMagic);
    peer.#sayHello();
    peer.#connection.start();
    try {
      await deadline.race(peer.#greeted.promise);
    } catch (error) {
      peer.#connection.drop(brokenError(messageOf(error)));
      throw error;
    }
    return peer;
  }

  get identity(): PeerIdentity {
    return identityOf(this.#saidHello);
  }

  get life(): string {
    return this.#saidHello.life;
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

  send(groupId: string, { message, frames }: PeerMessage): boolean {
    return !this.isOver && this.#connection.sender.message({ groupId, message, frames });
  }

  async ask(kind: string, body: Buffer, wait: PeerWait): Promise<Buffer> {
    if (this.isOver) throw noWayError(wait.to, "the connection broke");
    if (this.#questions.size >= peerQuestionsMaxCount) throw overloadedError(wait, "too many questions wait for its answers");
    const number = this.#nextNumber();
    if (!this.#connection.sender.frame("question", encodeQuestionHead(number, kind), body))
      throw overloadedError(wait, "it is slower than what is sent to it");
    const answer = Promise.withResolvers<Buffer>();
    this.#questions.set(number, answer);
    try {
      return await waitForPeer(answer.promise, wait);
    } finally {
      // Still there when nothing came for it.
      if (this.#questions.delete(number) && !this.isOver) this.#connection.sender.frame("cancel", encodeNumber(number));
    }
  }

  /** Says hello again: something in it has changed. */
  announce(): void {
    if (!this.isOver) this.#sayHello();
  }

  ping(): void {
    if (!this.isOver) this.#connection.sender.frame("ping");
  }

  checkAlive(nowMs: number): void {
    this.#connection.checkAlive(nowMs);
  }

  close(error: ProglogError): void {
    this.#connection.close(error);
  }

  drop(error: ProglogError): void {
    this.#connection.drop(error);
  }

  get #saidHello(): PeerHello {
    if (this.#hello === undefined) throw new Error("a peer is known once it has said who it is");
    return this.#hello;
  }

  #sayHello(): void {
    this.#told = encodePeerHello(helloOf(this.#context, this.#options.purpose));
    this.#connection.sender.frame("hello", this.#told);
  }

  #maxBytesOf(type: PeerFrameType): number | undefined {
    if (type === "hello") return peerHelloMaxBytes;
    if (type === "refusal") return peerRefusalMaxBytes;
    if (this.#hello === undefined) return undefined;
    if (type === "answer") return peerBodyMaxBytes + questionHeadMaxBytes;
    return type === "pong" ? 0 : undefined;
  }

  #receive({ type, payload }: PeerFrame): void {
    switch (type) {
      case "hello":
        return this.#receiveHello(decodePeerHello(payload));
      case "answer": {
        const { number, body } = decodeAnswer(payload);
        // One that isn't there was given up.
        this.#take(number)?.resolve(body);
        return;
      }
      case "refusal": {
        const { number, error } = decodeRefusal(payload);
        if (number === 0) return this.#connection.drop(error);
        this.#take(number)?.reject(error);
        return;
      }
      case "pong":
        return;
      case "messages":
      case "question":
      case "cancel":
      case "ping":
        throw new Error(`a frame of type ${type} doesn't get past its limit`);
      default:
        return unreachable(type);
    }
  }

  #receiveHello(hello: PeerHello): void {
    const { expectedNodeId, address } = this.#options;
    checkCertifiedNode(this.#socket, hello);
    if (expectedNodeId !== undefined && hello.nodeId !== expectedNodeId)
      throw new ProglogError(
        "PEER_REFUSED",
        `Cannot speak with ${expectedNodeId} at ${address}: ${hello.nodeId} answers there`,
        {
          details: { nodeId: hello.nodeId },
        },
      );
    const said = this.#hello;
    if (said !== undefined && !isSameLife(said, hello))
      throw new ProglogError("PEER_REFUSED", `Cannot go on with ${said.nodeId}: it says that it is somebody else now`);
    checkHello(this.#context, hello);
    this.#hello = hello;
    if (said === undefined) {
      // This node may have become somebody while the answer was on its way, and announced it to those it was connected with.
      if (!encodePeerHello(helloOf(this.#context, this.#options.purpose)).equals(this.#told)) this.#sayHello();
      this.#greeted.resolve();
    } else this.#options.onAnnounced?.(this.identity);
  }

  #take(number: number): PromiseWithResolvers<Buffer> | undefined {
    const question = this.#questions.get(number);
    this.#questions.delete(number);
    return question;
  }

  #nextNumber(): number {
    do this.#lastNumber = (this.#lastNumber + 1) % 2 ** 32;
    while (this.#lastNumber === 0 || this.#questions.has(this.#lastNumber));
    return this.#lastNumber;
  }

  #onEnd(error: ProglogError): void {
    this.#greeted.reject(error);
    const to = { address: this.#options.address };
    for (const question of this.#questions.values()) question.reject(noWayError(to, messageOf(error), error));
    this.#questions.clear();
    if (this.#hello !== undefined) this.#options.onEnd?.(error);
    if (error.code === "PEER_REFUSED") this.#context.listener.refused?.(error);
  }
}

export interface DialOptions {
  readonly address: string;
  readonly purpose: PeerPurpose;
  /** Whom to find there. */
  readonly expectedNodeId?: string;
  readonly signal: AbortSignal;
  /** It said anew who it is. */
  readonly onAnnounced?: (peer: PeerIdentity) => void;
  /** A connection that had been opened has ended. */
  readonly onEnd?: (error: ProglogError) => void;
}

export function isSameLife(one: PeerHello, other: PeerHello): boolean {
  return (
    one.life === other.life &&
    one.nodeId === other.nodeId &&
    one.storageId === other.storageId &&
    one.bootCounter === other.bootCounter
  );
}

function overloadedError({ to }: PeerWait, why: string): ProglogError {
  return new ProglogError("OVERLOADED", `Cannot ask ${describePeer(to)}: ${why}`, {
    hint: "Ask again when others are answered.",
  });
}

/** The time that one step of opening has, and its end when nobody waits for it any more. */
class Deadline implements Disposable {
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #ended = Promise.withResolvers<never>();
  readonly #cancel: () => void;

  constructor({ clock }: PeerContext, { address, signal }: DialOptions) {
    this.signal = this.#abort.signal;
    this.#ended.promise.catch(() => {});
    const end = (why: string): void => {
      this.#ended.reject(noWayError({ address }, why));
      this.#abort.abort();
    };
    const timer = clock.setTimer(peerHandshakeMaxMs, () => end(`it took longer than ${peerHandshakeMaxMs} ms`));
    const giveUp = (): void => end("nobody waits for it any more");
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    this.#cancel = () => {
      timer.cancel();
      signal.removeEventListener("abort", giveUp);
    };
  }

  race<T>(promise: Promise<T>): Promise<T> {
    // What comes too late is nobody's.
    promise.catch(() => {});
    return Promise.race([promise, this.#ended.promise]);
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }
}
