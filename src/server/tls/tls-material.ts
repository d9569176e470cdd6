import { constants, X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { readCredentialFile } from "../../base/credential-file.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { certificateFacts, nodeNameOf, splitPem } from "./certificate-facts.ts";
import { revokedKeys } from "./revocation-list.ts";

/** Where the certificates of one plane lie, and what they are called in errors: `server` or `peer`. */
export interface TlsFiles {
  readonly plane: TlsPlaneName;
  readonly cert: string;
  readonly key: string;
  /** Whose signature is trusted at the other end. Undefined: nobody at the other end is asked who it is. */
  readonly ca: string | undefined;
  readonly crl: string | undefined;
}

/** For clients of this node, and for the other nodes of its cluster. */
export type TlsPlaneName = "server" | "peer";

/** What lies in the files, as it is, to tell whether it has changed. */
export type TlsBytes = Readonly<Record<TlsPart, Buffer | undefined>>;
type TlsPart = "cert" | "key" | "ca" | "crl";
const parts: readonly TlsPart[] = ["cert", "key", "ca", "crl"];

/** Certificates that fit together. */
export interface TlsMaterial {
  readonly bytes: TlsBytes;
  /** For handshakes, at either end. */
  readonly context: SecureContextOptions;
  /** This node's own. */
  readonly certificate: X509Certificate;
  /** Of a peer's certificate: the node that it stands for. */
  readonly nodeName: string | undefined;
  readonly authorities: readonly X509Certificate[];
  readonly revoked: ReadonlySet<string>;
}

/** Throws INVALID_CONFIG. */
export function readTlsBytes(files: TlsFiles): TlsBytes {
  const read = (part: TlsPart): Buffer | undefined => {
    const path = files[part];
    return path === undefined ? undefined : readCredentialFile(path, { source: flagOf(files, part), isSecret: part === "key" });
  };
  return { cert: read("cert"), key: read("key"), ca: read("ca"), crl: read("crl") };
}

export function areSameBytes(one: TlsBytes, other: TlsBytes): boolean {
  return parts.every((part) => (one[part] ?? noBytes).equals(other[part] ?? noBytes));
}

/** Throws INVALID_CONFIG for what doesn't fit together, or isn't valid now. */
export function buildTlsMaterial(files: TlsFiles, bytes: TlsBytes, nowMs: number): TlsMaterial {
  const refuse = (part: TlsPart, reason: string, cause?: unknown): ProglogError =>
    new ProglogError("INVALID_CONFIG", `Cannot use ${flagOf(files, part)} ${files[part]}: ${reason}`, {
      details: { source: flagOf(files, part), path: files[part] ?? "" },
      cause,
    });
  const attempt = <Result>(part: TlsPart, reason: string, run: () => Result): Result => {
    try {
      return run();
    } catch (error) {
      if (isProglogError(error)) throw error;
      throw refuse(part, `${reason} (${messageOf(error).trim()})`, error);
    }
  };
  const { cert = noBytes, key = noBytes, ca, crl } = bytes;
  const certificate = attempt("cert", "it holds no certificate", () => new X509Certificate(cert));
  const expiredAt = certificate.validToDate;
  if (expiredAt.getTime() <= nowMs) throw refuse("cert", `it expired at ${expiredAt.toISOString()}`);
  const validFrom = certificate.validFromDate;
  if (validFrom.getTime() > nowMs) throw refuse("cert", `it is valid from ${validFrom.toISOString()} on`);
  const facts = attempt("cert", "it is no certificate as others are", () => certificateFacts(certificate));
  const nodeName = nodeNameOf(facts);
  if (files.plane === "peer" && nodeName === undefined)
    throw refuse("cert", "it names no node: a peer's certificate holds the URI proglog://node/<name>");
  const authorities = attempt("ca", "it holds no certificate", () =>
    splitPem(ca?.toString("latin1") ?? "").map((pem) => new X509Certificate(pem)),
  );
  if (ca !== undefined && authorities.length === 0) throw refuse("ca", "it holds no certificate");
  const revoked =
    crl === undefined ? noKeys : attempt("crl", "it holds no revocation list", () => revokedKeys(crl.toString("latin1")));
  attempt("cert", "it holds no certificate", () => createSecureContext({ cert }));
  attempt("key", "it is no key of that certificate", () => createSecureContext({ cert, key }));
  const context: SecureContextOptions = {
    ...{ cert, key, minVersion: "TLSv1.2", ciphers, secureOptions },
    // Without authorities of its own a context would trust all that the system does.
    ca: ca ?? [],
    ...(crl === undefined ? {} : { crl }),
  };
  attempt("crl", "it can't be used with the others", () => createSecureContext(context));
  return { bytes, context, certificate, nodeName, authorities, revoked };
}

export function flagOf({ plane }: Pick<TlsFiles, "plane">, part: TlsPart): string {
  return `--${plane}-tls-${part}-file`;
}

const noBytes = Buffer.alloc(0);
const noKeys: ReadonlySet<string> = new Set();

/** Those of TLS 1.3, and of 1.2 those that HTTP/2 allows: forward secrecy, and a cipher that authenticates. */
const ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE+AESGCM:ECDHE+CHACHA20";

/**
 * No session is resumed: each connection shows its certificate, and is judged by what is trusted then. And none is negotiated anew:
 * who speaks is decided once.
 */
const secureOptions = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;
