import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Clock } from "../../base/clock.ts";
import { systemErrorCode } from "../../base/disk.ts";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { certificateReminderMs, certificateWarningMs } from "../../base/security-limits.ts";
import { dayMs } from "../../base/units.ts";
import { setPrincipal } from "../principal.ts";
import type { Protocol } from "../protocol.ts";
import { setCertifiedNode } from "./certified-node.ts";
import {
  findCut,
  failureTexts,
  handshakeFailureOf,
  judgeCertificate,
  type ShownCertificate,
  type TlsFailure,
} from "./certificate-judge.ts";
import {
  areSameBytes,
  buildTlsMaterial,
  readTlsBytes,
  type TlsFiles,
  type TlsMaterial,
  type TlsPlaneName,
} from "./tls-material.ts";

/**
 * One side's encryption: the certificates that this node shows to clients, or to peers, and whom it trusts there. It takes connections
 * through their handshake, judges who is there, and keeps an eye on those that are open: when its files change, it goes on with what they
 * hold, and ends the connections that it would no longer take.
 */
export class TlsPlane {
  readonly #options: TlsPlaneOptions;
  readonly #server: Server;
  /** By the addresses of both ends, which are the same on both sides of the encryption; handshakes under way. */
  readonly #pending = new Map<string, PendingHandshake>();
  /** Open connections whose other end has shown a certificate. */
  readonly #open = new Map<TLSSocket, ShownCertificate>();
  #material: TlsMaterial;
  #failure: { readonly reason: string; readonly isTold: boolean } | undefined;
  #warnedAtMs: number | undefined;

  /** Throws INVALID_CONFIG for files that can't be used. */
  constructor(options: TlsPlaneOptions) {
    const { files, protocols } = options;
    this.#options = options;
    this.#material = buildTlsMaterial(files, readTlsBytes(files), options.clock.now());
    this.#server = createServer({
      ...this.#material.context,
      requestCert: this.#isAsking,
      // Judged by us when the handshake is done, so that whoever is refused can be told why.
      rejectUnauthorized: false,
      ALPNCallback: ({ protocols: offered }) => protocols.find((protocol) => offered.includes(protocol)),
    });
    this.#server.on("secureConnection", (socket) => this.#secured(socket));
    this.#server.on("tlsClientError", (error, socket) => this.#broke(error, socket));
    this.#warnOfExpiry();
  }

  get name(): TlsPlaneName {
    return this.#options.files.plane;
  }

  /** What new connections are made with, at either end. */
  get material(): TlsMaterial {
    return this.#material;
  }

  /** Of this node's own certificate, in milliseconds. Negative once it has expired. */
  get expiresInMs(): number {
    return this.#material.certificate.validToDate.getTime() - this.#options.clock.now();
  }

  get handshakeCount(): number {
    return this.#pending.size;
  }

  /**
   * Takes a connection through its handshake; what it has said already is to be read again. `done` hears what came of it, unless
   * the connection is closed before, which whoever hands it over hears by itself.
   */
  secure(socket: Socket, done: (outcome: HandshakeOutcome) => void): void {
    const key = addressKey(socket);
    if (key === undefined || socket.destroyed) return void socket.destroy();
    this.#pending.set(key, { done });
    socket.once("close", () => this.#pending.delete(key));
    // TLS says by itself when it ends; a connection that ends below it is over.
    socket.allowHalfOpen = false;
    this.#server.emit("connection", socket);
  }

  /** Keeps an eye on a connection that this node opened, as on those that it took. */
  watch(socket: TLSSocket, shown: ShownCertificate): void {
    this.#open.set(socket, shown);
    socket.once("close", () => this.#open.delete(socket));
  }

  /**
   * Looks whether the files have changed, and goes on with what they hold if it fits together; else with what there was. Files are
   * replaced one after the other, so what doesn't fit is complained of only when it still doesn't the next time, or `isAsked` for.
   */
  reload({ isAsked = false }: { readonly isAsked?: boolean } = {}): void {
    const { files, clock, logger, observer } = this.#options;
    try {
      const bytes = readTlsBytes(files);
      if (areSameBytes(bytes, this.#material.bytes)) {
        this.#failure = undefined;
      } else {
        const material = buildTlsMaterial(files, bytes, clock.now());
        this.#server.setSecureContext(material.context);
        this.#material = material;
        this.#failure = undefined;
        this.#warnedAtMs = undefined;
        observer.reloaded?.(this.name, "loaded");
        const expiresAt = material.certificate.validToDate.toISOString();
        logger.info({ plane: this.name, expiresAt }, "certificates were loaded anew");
        this.#cutUntrusted();
      }
    } catch (error) {
      this.#noteFailure(messageOf(error), isAsked);
    }
    this.#cutExpired();
    this.#warnOfExpiry();
  }

  #noteFailure(reason: string, isAsked: boolean): void {
    const { logger, observer } = this.#options;
    const before = this.#failure;
    const isNews = before === undefined || before.reason !== reason || !before.isTold;
    const isTold = isAsked || before !== undefined;
    if (isTold && isNews) {
      observer.reloaded?.(this.name, "refused");
      logger.error({ plane: this.name, reason }, "certificates can't be loaded anew; those from before stay in use");
    }
    this.#failure = { reason, isTold };
  }

  /** Ends every connection whose certificate wouldn't be taken any more. */
  #cutUntrusted(): void {
    if (!this.#isAsking) return;
    for (const [socket, shown] of [...this.#open]) {
      const why = findCut(socket, shown, this.#material);
      if (why !== undefined) this.#cut(socket, shown, why);
    }
  }

  #cutExpired(): void {
    const nowMs = this.#options.clock.now();
    for (const [socket, shown] of [...this.#open]) if (shown.facts.expiresAtMs <= nowMs) this.#cut(socket, shown, "expired");
  }

  #cut(socket: TLSSocket, shown: ShownCertificate, why: TlsFailure): void {
    const { logger, observer } = this.#options;
    observer.cut?.(this.name, why);
    const name = shown.nodeName ?? shown.facts.uris[0] ?? shown.facts.commonName;
    logger.warn({ plane: this.name, name, reason: failureTexts[why] }, "ended a connection");
    this.#open.delete(socket);
    socket.destroy();
  }

  #warnOfExpiry(): void {
    const { clock, logger } = this.#options;
    const leftMs = this.expiresInMs;
    if (leftMs > certificateWarningMs) return;
    const nowMs = clock.now();
    if (this.#warnedAtMs !== undefined && nowMs - this.#warnedAtMs < certificateReminderMs) return;
    this.#warnedAtMs = nowMs;
    const expiresAt = this.#material.certificate.validToDate.toISOString();
    const days = Math.max(0, Math.floor(leftMs / dayMs));
    logger.warn({ plane: this.name, expiresAt, days }, "this node's certificate expires soon; put another in its place");
  }

  get #isAsking(): boolean {
    return this.#options.files.ca !== undefined;
  }

  #secured(socket: TLSSocket): void {
    // What breaks it is told by its end.
    socket.on("error", () => {});
    const pending = this.#take(socket);
    if (pending === undefined) return void socket.destroy();
    const { files, isRequired, observer } = this.#options;
    const protocol = protocolsByName[socket.alpnProtocol || "http/1.1"];
    // A peer has to say that it is one: who asks for nothing speaks HTTP/1.1.
    if (protocol === undefined || (protocol === "peer") !== (files.plane === "peer"))
      return this.#fail(pending, "protocol", socket);
    const judgement = judgeCertificate(socket, { plane: files.plane, isRequired, isAsked: this.#isAsking });
    if (judgement.kind === "refused") {
      observer.failed?.(this.name, judgement.failure);
      return pending.done({ kind: "refused", socket, protocol, failure: judgement.failure });
    }
    const { principal, shown } = judgement;
    setPrincipal(socket, principal);
    if (shown !== undefined) {
      this.watch(socket, shown);
      if (shown.nodeName !== undefined) setCertifiedNode(socket, shown.nodeName);
    }
    observer.secured?.(this.name);
    pending.done({ kind: "secured", socket, protocol });
  }

  #broke(error: Error, socket: TLSSocket): void {
    socket.on("error", () => {});
    const pending = this.#take(socket);
    const failure = handshakeFailureOf(systemErrorCode(error));
    if (pending !== undefined) this.#fail(pending, failure, socket);
    else this.#options.observer.failed?.(this.name, failure);
    socket.destroy();
  }

  #fail(pending: PendingHandshake, failure: TlsFailure, socket: TLSSocket): void {
    this.#options.observer.failed?.(this.name, failure);
    pending.done({ kind: "failed", failure });
    socket.destroy();
  }

  #take(socket: TLSSocket): PendingHandshake | undefined {
    const key = addressKey(socket);
    const pending = key === undefined ? undefined : this.#pending.get(key);
    if (key !== undefined) this.#pending.delete(key);
    return pending;
  }
}

export interface TlsPlaneOptions {
  readonly files: TlsFiles;
  /** By their names in ALPN, the one that is preferred first. */
  readonly protocols: readonly string[];
  /** Refuse who shows no certificate. A bad one is refused in any case. */
  readonly isRequired: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: TlsObserver;
}

/** Is told what a node wants to count. */
export interface TlsObserver {
  secured?(plane: TlsPlaneName): void;
  failed?(plane: TlsPlaneName, failure: TlsFailure): void;
  reloaded?(plane: TlsPlaneName, outcome: "loaded" | "refused"): void;
  cut?(plane: TlsPlaneName, failure: TlsFailure): void;
}

export type HandshakeOutcome =
  | { readonly kind: "secured"; readonly socket: TLSSocket; readonly protocol: Protocol }
  /** The encryption stands, and who is there isn't wanted: it may be told why. */
  | { readonly kind: "refused"; readonly socket: TLSSocket; readonly protocol: Protocol; readonly failure: TlsFailure }
  | { readonly kind: "failed"; readonly failure: TlsFailure };

interface PendingHandshake {
  readonly done: (outcome: HandshakeOutcome) => void;
}

/** What nodes speak with each other, in ALPN. */
export const peerProtocol = "proglog-peer/1";

export const clientProtocols = ["h2", "http/1.1"] as const;

const protocolsByName: Readonly<Record<string, Protocol | undefined>> = {
  h2: "http2",
  "http/1.1": "http1",
  [peerProtocol]: "peer",
};

/** No two open connections to one port have the same; undefined for one that is closed. */
function addressKey({ localAddress, remoteAddress, remotePort }: Socket): string | undefined {
  if (localAddress === undefined || remoteAddress === undefined || remotePort === undefined) return undefined;
  return `${localAddress} ${remoteAddress} ${remotePort}`;
}
