import { unreachable } from "../base/assert.ts";
import type { Timer } from "../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { peerBackoffMaxMs, peerBackoffStartMs } from "../base/limits.ts";
import { Backoff } from "../grpc/backoff.ts";
import type { KnownPeer, PeerIdentity } from "../replica/peer-network.ts";
import { OutgoingPeer } from "./outgoing-peer.ts";
import type { PeerContext } from "./peer-context.ts";

/** The way to one known node: a connection, or the next try to open one. Tells the listener of both its ends. */
export class PeerWay {
  readonly peer: KnownPeer;
  readonly #context: PeerContext;
  readonly #options: PeerWayOptions;
  readonly #backoff: Backoff;
  #state: WayState = { kind: "closed" };
  /** Why the last try failed: said once, not every second. */
  #lastFailure: string | undefined;

  constructor(peer: KnownPeer, context: PeerContext, options: PeerWayOptions) {
    this.peer = peer;
    this.#context = context;
    this.#options = options;
    this.#backoff = new Backoff(context.random, { startMs: peerBackoffStartMs, maxMs: peerBackoffMaxMs });
  }

  open(): void {
    if (this.#state.kind === "closed") void this.#dial();
  }

  /** Undefined while there is none. */
  get connection(): OutgoingPeer | undefined {
    return this.#state.kind === "up" ? this.#state.connection : undefined;
  }

  /** It was heard of: what waits for its next try tries now. */
  hurry(): void {
    if (this.#state.kind !== "waiting") return;
    this.#state.timer.cancel();
    void this.#dial();
  }

  /** Ends it for good. */
  close(error: ProglogError): void {
    const state = this.#state;
    this.#state = { kind: "closed" };
    switch (state.kind) {
      case "dialing":
        return state.abort.abort();
      case "waiting":
        return state.timer.cancel();
      case "up":
        state.connection.close(error);
        return this.#context.listener.disconnected(this.peer.nodeId);
      case "closed":
        return;
      default:
        return unreachable(state);
    }
  }

  async #dial(): Promise<void> {
    const { listener, logger } = this.#context;
    const { nodeId, address } = this.peer;
    const abort = new AbortController();
    const dialing: WayState = { kind: "dialing", abort };
    this.#state = dialing;
    let connection: OutgoingPeer;
    try {
      connection = await OutgoingPeer.dial(this.#context, {
        address,
        purpose: "messages",
        expectedNodeId: nodeId,
        signal: abort.signal,
        onAnnounced: (peer) => this.#tell(peer),
        onEnd: (error) => this.#onEnd(error),
      });
    } catch (error) {
      if (this.#state === dialing) this.#fail(error);
      return;
    }
    if (this.#state !== dialing) return connection.drop(closedError());
    // It may have ended between its hello and this turn.
    if (connection.isOver) return this.#wait();
    this.#state = { kind: "up", connection };
    this.#lastFailure = undefined;
    this.#backoff.reset();
    logger.info({ peer: nodeId, address }, "connected to a peer");
    this.#options.onUp(connection);
    // Whoever was told may have closed it again.
    if (this.connection === connection) listener.connected(connection.identity);
  }

  #tell(peer: PeerIdentity): void {
    if (this.#state.kind === "up") this.#context.listener.connected(peer);
  }

  #onEnd(error: ProglogError): void {
    if (this.#state.kind !== "up") return;
    this.#context.logger.warn({ peer: this.peer.nodeId, reason: error.message }, "lost the connection to a peer");
    this.#wait();
    this.#context.listener.disconnected(this.peer.nodeId);
  }

  #fail(error: unknown): void {
    const reason = messageOf(error);
    const fields = { peer: this.peer.nodeId, address: this.peer.address, reason };
    if (reason === this.#lastFailure) this.#context.logger.debug(fields, "cannot connect to a peer");
    else if (isProglogError(error, "UNAVAILABLE")) this.#context.logger.info(fields, "cannot connect to a peer");
    else this.#context.logger.warn(fields, "a peer and this node don't speak with each other");
    this.#lastFailure = reason;
    this.#wait();
  }

  #wait(): void {
    const timer = this.#context.clock.setTimer(this.#backoff.next(), () => void this.#dial());
    this.#state = { kind: "waiting", timer };
  }
}

export interface PeerWayOptions {
  /** Before the listener is told. */
  readonly onUp: (connection: OutgoingPeer) => void;
}

type WayState =
  | { readonly kind: "closed" }
  | { readonly kind: "dialing"; readonly abort: AbortController }
  | { readonly kind: "waiting"; readonly timer: Timer }
  | { readonly kind: "up"; readonly connection: OutgoingPeer };

export function closedError(): ProglogError {
  return new ProglogError("UNAVAILABLE", "Cannot go on with the connection: this node has closed it");
}
