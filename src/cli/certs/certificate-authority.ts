import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { der } from "./der-writer.ts";

/**
 * Certificates as RFC 5280 has them, of the one kind that is needed here: keys on the curve P-256, which every TLS of the last ten years
 * speaks, signed by ECDSA with SHA-256. What is signed is written by `der`, and signed by node:crypto.
 */
export interface Credential {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8, not encrypted. */
  readonly key: string;
}

export interface Validity {
  /** Milliseconds since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** An authority that signs itself. It may sign certificates and revocation lists, and no other authorities. */
export function makeAuthority(name: string, validity: Validity): Credential {
  const { publicKey, privateKey } = makeKeys();
  const subject = nameOf(name);
  const cert = signCertificate({
    ...{ subject, issuer: subject, validity, publicKey, signingKey: privateKey, authorityKeyId: keyId(publicKey) },
    extensions: [
      extension(ids.basicConstraints, der.sequence(der.boolean(true), der.integer(0)), { isCritical: true }),
      extension(ids.keyUsage, der.bitString(Buffer.from([0b0000_0110]), 1), { isCritical: true }),
    ],
  });
  return { cert, key: exportKey(privateKey) };
}

export interface CertificateRequest extends Validity {
  readonly commonName: string;
  /** Host names and IP addresses at which its owner is reached. */
  readonly hosts?: readonly string[];
  readonly uris?: readonly string[];
  /** In which of the two ends of a connection it may be shown. */
  readonly usages: readonly ("server" | "client")[];
}

export function issueCertificate(authority: Credential, request: CertificateRequest): Credential {
  const { commonName, hosts = [], uris = [], usages } = request;
  const { publicKey, privateKey } = makeKeys();
  const issuer = new X509Certificate(authority.cert);
  const names = [...hosts.map(hostOf), ...uris.map((uri) => der.taggedBytes(6, Buffer.from(uri, "latin1")))];
  const cert = signCertificate({
    subject: nameOf(commonName),
    issuer: subjectOf(issuer),
    validity: request,
    publicKey,
    signingKey: createPrivateKey(authority.key),
    authorityKeyId: keyId(issuer.publicKey),
    extensions: [
      extension(ids.basicConstraints, der.sequence(), { isCritical: true }),
      extension(ids.keyUsage, der.bitString(Buffer.from([0b1000_0000]), 7), { isCritical: true }),
      extension(ids.extendedKeyUsage, der.sequence(...usages.map((usage) => der.objectIdentifier(usageIds[usage])))),
      ...(names.length === 0 ? [] : [extension(ids.alternativeNames, der.sequence(...names))]),
    ],
  });
  return { cert, key: exportKey(privateKey) };
}

export interface RevocationListRequest extends Validity {
  /** Hexadecimal, as node:crypto gives them. */
  readonly serialNumbers: readonly string[];
  /** Higher in each list of an authority. */
  readonly number: number;
}

/** PEM. */
export function makeRevocationList(authority: Credential, request: RevocationListRequest): string {
  const issuer = new X509Certificate(authority.cert);
  const revoked = request.serialNumbers.map((serial) =>
    der.sequence(der.integer(Buffer.from(serial, "hex")), der.time(request.fromMs)),
  );
  const list = der.sequence(
    der.integer(1),
    signatureAlgorithm,
    subjectOf(issuer),
    der.time(request.fromMs),
    der.time(request.toMs),
    ...(revoked.length === 0 ? [] : [der.sequence(...revoked)]),
    der.tagged(
      0,
      der.sequence(
        extension(ids.authorityKeyId, der.sequence(der.taggedBytes(0, keyId(issuer.publicKey)))),
        extension(ids.listNumber, der.integer(request.number)),
      ),
    ),
  );
  return pem("X509 CRL", signed(list, createPrivateKey(authority.key)));
}

interface Unsigned {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly validity: Validity;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly authorityKeyId: Buffer;
  readonly extensions: readonly Buffer[];
}

function signCertificate({ subject, issuer, validity, publicKey, signingKey, authorityKeyId, extensions }: Unsigned): string {
  const certificate = der.sequence(
    der.tagged(0, der.integer(2)), // version 3
    der.integer(makeSerialNumber()),
    signatureAlgorithm,
    issuer,
    der.sequence(der.time(validity.fromMs), der.time(validity.toMs)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der.tagged(
      3,
      der.sequence(
        ...extensions,
        extension(ids.subjectKeyId, der.octetString(keyId(publicKey))),
        extension(ids.authorityKeyId, der.sequence(der.taggedBytes(0, authorityKeyId))),
      ),
    ),
  );
  return pem("CERTIFICATE", signed(certificate, signingKey));
}

function signed(content: Buffer, key: KeyObject): Buffer {
  return der.sequence(content, signatureAlgorithm, der.bitString(sign("sha256", content, key)));
}

/** Nobody guesses it, and no two are the same: 127 random bits, the highest of them set. */
function makeSerialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x7f);
  return bytes;
}

function makeKeys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
}

function exportKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" });
}

function keyId(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

function nameOf(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(der.objectIdentifier(ids.commonName), der.utf8(commonName))));
}

/** Byte for byte as it stands in the authority's certificate: names are compared so. Only our own authorities sign here. */
function subjectOf(certificate: X509Certificate): Buffer {
  const [, commonName] = /^CN=(.*)$/.exec(certificate.subject) ?? [];
  if (commonName === undefined) throw new Error("an authority that proglog made has a common name, and nothing else");
  return nameOf(commonName);
}

function hostOf(host: string): Buffer {
  return isIP(host) === 0 ? der.taggedBytes(2, Buffer.from(host, "latin1")) : der.taggedBytes(7, addressBytes(host));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  // As a URL it is written out in one form, without the part in dots.
  const [head = "", tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array.from({ length: missing }, () => "0"), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}

function extension(id: string, content: Buffer, { isCritical = false }: { readonly isCritical?: boolean } = {}): Buffer {
  return der.sequence(der.objectIdentifier(id), ...(isCritical ? [der.boolean(true)] : []), der.octetString(content));
}

function pem(label: string, content: Buffer): string {
  const lines = content.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

const ids = {
  commonName: "2.5.4.3",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  alternativeNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  listNumber: "2.5.29.20",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;

const usageIds = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;

/** ecdsa-with-SHA256 */
const signatureAlgorithm = der.sequence(der.objectIdentifier("1.2.840.10045.4.3.2"));
