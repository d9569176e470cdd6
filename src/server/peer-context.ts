import type { Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { PeerIdentity, PeerListener } from "../replica/peer-network.ts";
import { nodeUriPrefix } from "./tls/certificate-facts.ts";
import { certifiedNodeOf } from "./tls/certified-node.ts";
import { agreePeerVersion, type PeerHello, type PeerPurpose, peerVersion } from "../wire/peer-hello.ts";

/** What all connections of a node to its peers have in common. */
export interface PeerContext {
  readonly identity: () => PeerIdentity;
  readonly listener: PeerListener;
  readonly connect: PeerConnect;
  readonly resolve: PeerResolve;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observer: PeerObserver;
}

/** Gives a connected socket, encrypted or not. Throws, or aborts with the signal. */
export type PeerConnect = (where: PeerSocketAddress, signal: AbortSignal) => Promise<Socket>;

/** The addresses that a name stands for now, in the order in which they are to be tried. An address stands for itself. */
export type PeerResolve = (host: string) => Promise<readonly string[]>;

export interface PeerSocketAddress {
  /** An IP address. */
  readonly host: string;
  readonly port: number;
  /** As it was written down: what a certificate is held against. */
  readonly name: string;
}

/** Is told what a node wants to count. */
export interface PeerObserver {
  /** An incoming connection that didn't get as far as to be heard. */
  refused?(reason: PeerRefusedReason): void;
  /** A message that had no connection, or found its buffer full. */
  dropped?(): void;
}

/** `garbage`: what came were no frames of a peer. `unwanted`: the node doesn't want to speak with it. `silent`: it didn't say who it is. */
export type PeerRefusedReason = "garbage" | "unwanted" | "silent" | "too-many";

export function helloOf({ identity }: PeerContext, purpose: PeerPurpose): PeerHello {
  return { version: peerVersion, oldestVersion: oldestPeerVersion, purpose, ...identity() };
}

export function identityOf({ clusterId, nodeId, storageId, bootCounter, life, address }: PeerHello): PeerIdentity {
  return { clusterId, nodeId, storageId, bootCounter, life, address };
}

/** Throws why the other end isn't to be spoken with. A node that meets itself, by one of its addresses, may. */
export function checkHello(context: PeerContext, hello: PeerHello): void {
  agreePeerVersion(helloOf(context, hello.purpose), hello);
  const { life, storageId } = context.identity();
  if (hello.life === life) return;
  if (hello.storageId === storageId) throw copyError(hello);
  context.listener.check(identityOf(hello));
}

/** Throws when a node says that it is another than its certificate names. */
export function checkCertifiedNode(socket: Socket, { nodeId, address }: PeerHello): void {
  const certified = certifiedNodeOf(socket);
  if (certified === undefined || certified === nodeId) return;
  throw new ProglogError("PEER_REFUSED", `Cannot speak with ${nodeId} at ${address}: its certificate names ${certified}`, {
    hint: `Give it a certificate with the URI ${nodeUriPrefix}${nodeId}, as proglog certs node ${nodeId} makes one.`,
    details: { node: nodeId, certified, reason: "certificate" },
  });
}

/** Two processes that run on the same directory's content: one of them on a copy. */
export function copyError({ nodeId, storageId, address }: PeerHello): ProglogError {
  return new ProglogError(
    "PEER_REFUSED",
    `Cannot speak with ${nodeId} at ${address}: another process runs on a copy of its directory`,
    {
      hint: "Stop one of the two, and remove its directory.",
      details: { node: nodeId, storageId, reason: "copy" },
    },
  );
}

const oldestPeerVersion = 1;
