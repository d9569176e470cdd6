import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { anonymous, type Principal } from "../principal.ts";
import { certificateFacts, type CertificateFacts, nodeNameOf, principalNameOf } from "./certificate-facts.ts";
import { DerError } from "./der-reader.ts";
import type { TlsMaterial, TlsPlaneName } from "./tls-material.ts";

/** Why a handshake came to nothing, or a connection is ended. A label of metrics: the list is closed. */
export type TlsFailure =
  // Of the other end's certificate.
  | "no-certificate"
  | "untrusted"
  | "expired"
  | "not-yet-valid"
  | "revoked"
  | "wrong-usage"
  | "no-revocation-list"
  | "nameless"
  // Of the handshake.
  | "protocol"
  | "version"
  | "refused-by-client"
  | "lost"
  | "broken";

/** Who is there, once a handshake is done. */
export type Judgement =
  | { readonly kind: "accepted"; readonly principal: Principal; readonly shown: ShownCertificate | undefined }
  | { readonly kind: "refused"; readonly failure: TlsFailure };

/** What is kept of the other end's certificate while its connection is open. */
export interface ShownCertificate {
  readonly facts: CertificateFacts;
  readonly nodeName: string | undefined;
}

/**
 * Judges the certificate that the other end of an accepted connection has shown. OpenSSL has verified it (chain, times, usage, revocation),
 * and Node says so in `authorized`; only a certificate that was verified is read at all. One that is bad is refused, also where none
 * would be fine.
 */
export function judgeCertificate(
  socket: TLSSocket,
  { plane, isRequired, isAsked }: { readonly plane: TlsPlaneName; readonly isRequired: boolean; readonly isAsked: boolean },
): Judgement {
  const certificate = isAsked ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined)
    return isRequired ? refused("no-certificate") : { kind: "accepted", principal: anonymous, shown: undefined };
  // `authorized` is what Node made of OpenSSL's verdict; it is false, too, while nobody has asked.
  if (!socket.authorized) return refused(verifyFailures[verdictOf(socket)] ?? "untrusted");
  return judgeFacts(certificate, plane);
}

/** The part that OpenSSL leaves to us: whom a verified certificate names. */
export function judgeFacts(certificate: X509Certificate, plane: TlsPlaneName): Judgement {
  let facts: CertificateFacts;
  try {
    facts = certificateFacts(certificate);
  } catch (error) {
    if (error instanceof DerError) return refused("nameless");
    throw error;
  }
  const nodeName = nodeNameOf(facts);
  if (plane === "peer")
    return nodeName === undefined
      ? refused("nameless")
      : { kind: "accepted", principal: anonymous, shown: { facts, nodeName } };
  const name = principalNameOf(facts);
  if (name === undefined) return refused("nameless");
  return { kind: "accepted", principal: { kind: "certificate", name }, shown: { facts, nodeName: undefined } };
}

/** Why an open connection isn't to go on under what is trusted now; undefined when it is. */
export function findCut(
  socket: TLSSocket,
  shown: ShownCertificate,
  { authorities, revoked }: Pick<TlsMaterial, "authorities" | "revoked">,
): "revoked" | "untrusted" | undefined {
  if (revoked.has(shown.facts.key)) return "revoked";
  const chain = chainOf(socket);
  for (const certificate of chain) if (revoked.size > 0 && revoked.has(keyOf(certificate))) return "revoked";
  const isTrusted = chain.some((certificate) => authorities.some((authority) => isSignedBy(certificate, authority)));
  return isTrusted ? undefined : "untrusted";
}

/** Why a connection couldn't be made, out of the code of what Node threw. */
export function handshakeFailureOf(code: string | undefined): TlsFailure {
  if (code === undefined) return "broken";
  if (code === "ECONNRESET" || code === "EPIPE") return "lost";
  if (code === "ERR_SSL_NO_APPLICATION_PROTOCOL") return "protocol";
  if (/UNSUPPORTED_PROTOCOL|VERSION|NO_SHARED_CIPHER/.test(code)) return "version";
  return /ALERT/.test(code) ? "refused-by-client" : "broken";
}

/** For whoever is refused: what is wrong with what it has shown. */
export const failureTexts: Readonly<Record<TlsFailure, string>> = {
  "no-certificate": "it shows no certificate",
  untrusted: "its certificate isn't from an authority that is trusted here",
  expired: "its certificate has expired",
  "not-yet-valid": "its certificate isn't valid yet",
  revoked: "its certificate was revoked",
  "wrong-usage": "its certificate is for another use",
  "no-revocation-list": "there is no current revocation list of its certificate's authority here",
  nameless: "its certificate names nobody who could be meant here",
  protocol: "it speaks no protocol that is spoken here",
  version: "it speaks no version of TLS that is spoken here",
  "refused-by-client": "it refuses this node's certificate",
  lost: "it went away",
  broken: "the handshake failed",
};

/** By the codes of OpenSSL's verification, as Node spells them. */
export const verifyFailures: Readonly<Record<string, TlsFailure>> = {
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "not-yet-valid",
  CERT_REVOKED: "revoked",
  INVALID_PURPOSE: "wrong-usage",
  UNABLE_TO_GET_CRL: "no-revocation-list",
  CRL_HAS_EXPIRED: "no-revocation-list",
  CRL_NOT_YET_VALID: "no-revocation-list",
  CRL_SIGNATURE_FAILURE: "no-revocation-list",
};

/** Declared as an Error, and a text in truth. */
function verdictOf({ authorizationError }: TLSSocket): string {
  const verdict: unknown = authorizationError;
  if (typeof verdict === "string") return verdict;
  return verdict instanceof Error && "code" in verdict ? String(verdict.code) : "";
}

function refused(failure: TlsFailure): Judgement {
  return { kind: "refused", failure };
}

/** What the other end has shown, from its own certificate up. */
function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (
    let certificate = socket.getPeerX509Certificate();
    certificate !== undefined && chain.length < chainMaxCount;
    certificate = certificate.issuerCertificate
  )
    chain.push(certificate);
  return chain;
}

function isSignedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  if (certificate.raw.equals(authority.raw)) return true;
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function keyOf(certificate: X509Certificate): string {
  try {
    return certificateFacts(certificate).key;
  } catch (error) {
    // It was verified once, so it has one; what can't be read is on no list either.
    if (error instanceof DerError) return "";
    throw error;
  }
}

/** As deep as OpenSSL goes by itself. */
const chainMaxCount = 100;
