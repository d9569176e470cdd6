import type { Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { peerCloseMaxMs, peerSilenceMaxMs } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import { PeerDeframer, type PeerFrame, type PeerFrameType } from "../wire/peer-frame.ts";
import type { WireEnds } from "../wire/peer-messages.ts";
import { encodeRefusal } from "../wire/peer-question.ts";
import { PeerSender } from "./peer-sender.ts";

/** One connection between two nodes, whoever opened it: frames in, frames out, and one end. */
export class PeerConnection {
  readonly sender: PeerSender;
  readonly #socket: Socket;
  readonly #options: PeerConnectionOptions;
  readonly #deframer: PeerDeframer;
  readonly #closed = Promise.withResolvers<void>();
  #lastHeardMs: number;
  #isOver = false;
  #closeTimer: Timer | undefined;

  constructor(socket: Socket, options: PeerConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#lastHeardMs = options.clock.monotonic();
    this.sender = new PeerSender(socket, {
      clock: options.clock,
      ends: options.ends,
      onFault: (error) => this.drop(this.#asProglogError(error)),
    });
    this.#deframer = new PeerDeframer(options.maxBytesOf, (frame) => this.#receive(frame));
    socket.setNoDelay(true);
    // A peer that has nothing more to say is at its end: nothing is half open between nodes.
    socket.allowHalfOpen = false;
    socket.on("error", (error) => this.drop(brokenError(messageOf(error), error)));
    socket.once("end", () => this.drop(brokenError("the peer closed it")));
    socket.once("close", () => {
      this.drop(brokenError("the peer closed it"));
      this.#closeTimer?.cancel();
      this.#closed.resolve();
    });
  }

  /** Begins to read. */
  start(): void {
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#socket.resume();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when the socket is closed, which is later than the end. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Ends it when nothing has been heard for too long. */
  checkAlive(nowMs: number): void {
    const silentMs = nowMs - this.#lastHeardMs;
    if (silentMs > peerSilenceMaxMs) this.drop(brokenError(`the peer has said nothing for ${Math.round(silentMs)} ms`));
  }

  /** Ends it at once. `onEnd` is told why, the first time. */
  drop(error: ProglogError): void {
    if (this.#isOver) return;
    this.#finish(error);
    this.#socket.destroy();
  }

  /** Ends it, and tells the peer why. */
  refuse(error: ProglogError): void {
    if (this.#isOver) return;
    this.sender.frame("refusal", encodeRefusal(0, error));
    this.close(error);
  }

  /** Ends it once all that waits is sent, or time is over. */
  close(error: ProglogError): void {
    if (this.#isOver) return;
    this.sender.flush();
    this.#socket.end();
    this.#closeTimer = this.#options.clock.setTimer(peerCloseMaxMs, () => this.#socket.destroy());
    this.#finish(error);
  }

  #finish(error: ProglogError): void {
    this.#isOver = true;
    this.#deframer.stop();
    this.sender.stop();
    this.#options.onEnd(error);
  }

  #read(chunk: Buffer): void {
    this.#lastHeardMs = this.#options.clock.monotonic();
    if (this.#isOver) return;
    try {
      const rest = this.#options.beforeFrames?.(chunk) ?? chunk;
      this.#deframer.push(rest);
    } catch (error) {
      this.refuse(this.#asProglogError(error));
    }
  }

  #receive(frame: PeerFrame): void {
    this.#options.onFrame(frame);
  }

  /** What isn't a refusal is a fault of ours: it costs this connection, and not the node. */
  #asProglogError(error: unknown): ProglogError {
    if (error instanceof ProglogError) return error;
    this.#options.logger.error({ reason: messageOf(error) }, "a connection with a peer failed inside this node");
    return new ProglogError("INTERNAL", "Cannot go on with the connection: one end of it failed", { cause: error });
  }
}

export interface PeerConnectionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ends: () => WireEnds;
  /** What the payload of a frame may have now; undefined when it isn't to come. */
  readonly maxBytesOf: (type: PeerFrameType) => number | undefined;
  /** Takes from a chunk what comes before the frames, and returns what is left of it. */
  readonly beforeFrames?: (chunk: Buffer) => Buffer;
  /** What it throws ends the connection, and is told to the peer. */
  readonly onFrame: (frame: PeerFrame) => void;
  readonly onEnd: (error: ProglogError) => void;
}

export function brokenError(why: string, cause?: unknown): ProglogError {
  return new ProglogError("UNAVAILABLE", `Cannot go on with the connection: ${why}`, { cause });
}
