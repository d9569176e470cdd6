import type { Clock, Timer } from "../../base/clock.ts";
import type { Logger } from "../../base/logger.ts";
import { certificatePollMs, handshakesPerTurn } from "../../base/security-limits.ts";
import type { Config } from "../config.ts";
import type { ClientHello } from "./client-hello.ts";
import { clientProtocols, peerProtocol, type TlsObserver, TlsPlane } from "./tls-plane.ts";
import type { TlsFiles, TlsPlaneName } from "./tls-material.ts";

/**
 * The encryption of a node: one plane for clients and one for peers, on the one port, each with certificates and authorities of its own.
 * A connection is judged by the plane that its first message asks for, so a client's certificate is never looked at as a peer's.
 */
export class TlsDoor {
  readonly clients: TlsPlane | undefined;
  readonly peers: TlsPlane | undefined;
  readonly #clock: Clock;
  #timer: Timer;
  /** Handshakes that wait for their turn; each connection has at most one. */
  readonly #waiting: (() => void)[] = [];
  #isBeginning = false;

  /** Throws INVALID_CONFIG for files that can't be used. */
  constructor(config: TlsConfig, { clock, logger, observer = {} }: TlsDoorOptions) {
    const shared = { clock, logger, observer };
    const clientFiles = filesOf(config, "server");
    const peerFiles = filesOf(config, "peer");
    const isRequired = config.serverTlsClientAuth === "require" && config.serverTlsCaFile !== null;
    this.clients = clientFiles && new TlsPlane({ ...shared, files: clientFiles, protocols: clientProtocols, isRequired });
    this.peers = peerFiles && new TlsPlane({ ...shared, files: peerFiles, protocols: [peerProtocol], isRequired: true });
    this.#clock = clock;
    this.#timer = clock.setTimer(certificatePollMs, () => this.#poll());
  }

  get planes(): readonly TlsPlane[] {
    return [this.clients, this.peers].filter((plane) => plane !== undefined);
  }

  /** Who takes a connection that begins so; undefined where nobody does. */
  planeOf({ protocols }: ClientHello): TlsPlane | undefined {
    return protocols.includes(peerProtocol) ? this.peers : this.clients;
  }

  /**
   * Begins a handshake, now or some turns of the loop later: the first flight is milliseconds of work, and a crowd that comes at once isn't to
   * keep all else waiting until the last of it has its own. Those who only begin hold up nobody: what is bounded is how many begin in a
   * turn, not how many are under way.
   */
  begin(handshake: () => void): void {
    this.#waiting.push(handshake);
    if (!this.#isBeginning) void this.#beginAll();
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Looks at the files now, as an operator has asked for: what is wrong with them is said at once. */
  reload(): void {
    for (const plane of this.planes) plane.reload({ isAsked: true });
  }

  close(): void {
    this.#timer.cancel();
  }

  async #beginAll(): Promise<void> {
    this.#isBeginning = true;
    try {
      while (this.#waiting.length > 0) {
        for (const handshake of this.#waiting.splice(0, handshakesPerTurn)) handshake();
        // Those who come meanwhile wait, also when nobody else does: each comes by an event of its own.
        await this.#clock.turn();
      }
    } finally {
      this.#isBeginning = false;
    }
  }

  #poll(): void {
    for (const plane of this.planes) plane.reload();
    this.#timer = this.#clock.setTimer(certificatePollMs, () => this.#poll());
  }
}

export type TlsConfig = Pick<
  Config,
  | "serverTlsCertFile"
  | "serverTlsKeyFile"
  | "serverTlsCaFile"
  | "serverTlsCrlFile"
  | "serverTlsClientAuth"
  | "peerTlsCertFile"
  | "peerTlsKeyFile"
  | "peerTlsCaFile"
  | "peerTlsCrlFile"
>;

export interface TlsDoorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer?: TlsObserver;
}

/** Undefined where this plane isn't encrypted. That the flags fit together was checked with the configuration. */
function filesOf(config: TlsConfig, plane: TlsPlaneName): TlsFiles | undefined {
  const [cert, key, ca, crl] =
    plane === "server"
      ? [config.serverTlsCertFile, config.serverTlsKeyFile, config.serverTlsCaFile, config.serverTlsCrlFile]
      : [config.peerTlsCertFile, config.peerTlsKeyFile, config.peerTlsCaFile, config.peerTlsCrlFile];
  if (cert === null || key === null) return undefined;
  return { plane, cert, key, ca: ca ?? undefined, crl: crl ?? undefined };
}
