import { connect, type TLSSocket } from "node:tls";
import { isIP, type Socket } from "node:net";
import { systemErrorCode } from "../../base/disk.ts";
import { messageOf, ProglogError } from "../../base/error.ts";
import type { PeerConnect } from "../peer-context.ts";
import { failureTexts, handshakeFailureOf, judgeFacts, type TlsFailure, verifyFailures } from "./certificate-judge.ts";
import { setCertifiedNode } from "./certified-node.ts";
import { peerProtocol, type TlsPlane } from "./tls-plane.ts";

/**
 * Dials peers by mutual TLS. A certificate of the peers' authority has to be there, with a node's name in it; whether that is the node that
 * is wanted shows when it says who it is. Addresses don't count: nodes move, and a name server isn't to be trusted for it.
 */
export function connectPeerBy(plane: TlsPlane): PeerConnect {
  return ({ host, port, name }, signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const socket = connect({
      ...plane.material.context,
      ...{ host, port },
      ALPNProtocols: [peerProtocol],
      ...(isIP(name) > 0 ? {} : { servername: name }),
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    const fail = (error: unknown): void => {
      socket.destroy();
      reject(error);
    };
    const abort = (): void => fail(new ProglogError("CANCELLED", "Cannot connect: nobody waits for it any more"));
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", (error) => fail(explain(error, `${name}:${port}`)));
    // An end of the handshake without an error, or one that an error has told already.
    socket.once("close", () => fail(closedError(`${name}:${port}`)));
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", abort);
      const failure = settle(socket, plane);
      if (failure === undefined) resolve(socket);
      else fail(refusedError(`${name}:${port}`, failure));
    });
    if (signal.aborted) abort();
    return promise;
  };
}

/** Undefined when all is well. */
function settle(socket: TLSSocket, plane: TlsPlane): TlsFailure | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (socket.alpnProtocol !== peerProtocol) return "protocol";
  if (certificate === undefined || !socket.authorized) return "untrusted";
  const judgement = judgeFacts(certificate, "peer");
  if (judgement.kind === "refused") return judgement.failure;
  if (judgement.shown?.nodeName === undefined) return "nameless";
  setCertifiedNode(socket, judgement.shown.nodeName);
  plane.watch(socket, judgement.shown);
  return undefined;
}

function explain(error: Error, address: string): unknown {
  const code = systemErrorCode(error);
  const failure = verifyFailures[code ?? ""] ?? (isVerification(code) ? "untrusted" : undefined);
  if (failure !== undefined) return refusedError(address, failure, error);
  const reason = reasonOf(code);
  if (reason === undefined) return error;
  return new ProglogError("UNAVAILABLE", `Cannot speak with the node at ${address}: ${reason} (${code})`, {
    hint: "All nodes of a cluster need --peer-tls-cert-file and its companions, from one authority.",
    cause: error,
  });
}

/** Undefined for what isn't about TLS. */
function reasonOf(code: string | undefined): string | undefined {
  // So ends a connection, too, at a node that has no certificates.
  if (code === "ECONNRESET") return "it ended the TLS handshake";
  if (code?.startsWith("ERR_SSL") !== true) return undefined;
  const why = handshakeFailureOf(code);
  return why === "broken" ? "what answers there speaks no TLS between nodes" : failureTexts[why];
}

/** OpenSSL's words for chains that lead nowhere. */
function isVerification(code: string | undefined): boolean {
  return code !== undefined && /CERT|CHAIN|ISSUER|SIGNATURE/.test(code) && !code.startsWith("ERR_SSL");
}

function refusedError(address: string, failure: TlsFailure, cause?: Error): ProglogError {
  const text = cause === undefined ? failureTexts[failure] : `${failureTexts[failure]} (${messageOf(cause)})`;
  return new ProglogError("PEER_REFUSED", `Cannot speak with the node at ${address}: ${text}`, {
    details: { reason: failure },
    cause,
  });
}

function closedError(address: string): ProglogError {
  return new ProglogError("UNAVAILABLE", `Cannot speak with the node at ${address}: it closed the connection`);
}
