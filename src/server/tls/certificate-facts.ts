import type { X509Certificate } from "node:crypto";
import { principalNameMaxChars } from "../../base/security-limits.ts";
import { DerError, DerReader, derTags } from "./der-reader.ts";

/** What of a certificate decides something here. */
export interface CertificateFacts {
  /** Of its subject; undefined when there is none, or several. */
  readonly commonName: string | undefined;
  /** Of its alternative names, in their order. */
  readonly uris: readonly string[];
  /** Issuer and number, as revocation lists name it. */
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
}

/** Reads a verified certificate. Throws `DerError` for one that no rule of X.509 would make. */
export function certificateFacts(certificate: X509Certificate): CertificateFacts {
  const signed = new DerReader(new DerReader(certificate.raw).expect(derTags.sequence).content);
  const fields = new DerReader(signed.expect(derTags.sequence).content);
  fields.take(versionTag);
  const serialNumber = fields.expect(derTags.integer).content;
  fields.expect(derTags.sequence); // the algorithm of the signature
  const issuer = fields.expect(derTags.sequence).whole;
  fields.expect(derTags.sequence); // the validity
  const subject = fields.expect(derTags.sequence).content;
  fields.expect(derTags.sequence); // the public key
  let uris: readonly string[] = [];
  while (!fields.isAtEnd) {
    const { tag, content } = fields.next();
    if (tag === extensionsTag) uris = readUris(new DerReader(content).expect(derTags.sequence).content);
  }
  return {
    commonName: readCommonName(subject),
    uris,
    key: certificateKey(issuer, serialNumber),
    expiresAtMs: certificate.validToDate.getTime(),
  };
}

/** By what revocation lists name a certificate. */
export function certificateKey(issuer: Buffer, serialNumber: Buffer): string {
  return `${issuer.toString("hex")}:${serialNumber.toString("hex")}`;
}

/**
 * Whom a certificate stands for: its first URI, else its common name, letter by letter. Undefined when it has neither, or one that
 * can't be written down without being mistaken for something else.
 */
export function principalNameOf({ uris, commonName }: CertificateFacts): string | undefined {
  const name = uris[0] ?? commonName;
  return name !== undefined && isSoundName(name) ? name : undefined;
}

/** The node that a peer's certificate stands for: by its one URI of the form `proglog://node/<name>`. */
export function nodeNameOf({ uris }: CertificateFacts): string | undefined {
  const names = uris.filter((uri) => uri.startsWith(nodeUriPrefix)).map((uri) => uri.slice(nodeUriPrefix.length));
  const [name] = names;
  return names.length === 1 && name !== undefined && /^[A-Za-z0-9._:-]+$/.test(name) ? name : undefined;
}

export const nodeUriPrefix = "proglog://node/";

/** Of a file of PEM: each certificate in it. */
export function splitPem(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/** No control characters and nothing that turns the direction of a line: it stands in diagnostics and lists. */
function isSoundName(name: string): boolean {
  return name.length > 0 && name.length <= principalNameMaxChars && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name) && name.trim() === name;
}

function readCommonName(subject: Buffer): string | undefined {
  const found: (string | undefined)[] = [];
  const sets = new DerReader(subject);
  while (!sets.isAtEnd) {
    const parts = new DerReader(sets.expect(derTags.set).content);
    while (!parts.isAtEnd) {
      const part = new DerReader(parts.expect(derTags.sequence).content);
      const isCommonName = part.expect(derTags.objectIdentifier).content.equals(commonNameId);
      const { tag, content } = part.next();
      if (isCommonName) found.push(textTags.has(tag) ? utf8(content) : undefined);
    }
  }
  return found.length === 1 ? found[0] : undefined;
}

function readUris(extensions: Buffer): readonly string[] {
  const uris: string[] = [];
  const all = new DerReader(extensions);
  while (!all.isAtEnd) {
    const extension = new DerReader(all.expect(derTags.sequence).content);
    const isAlternativeNames = extension.expect(derTags.objectIdentifier).content.equals(alternativeNamesId);
    extension.take(derTags.boolean); // whether it is critical
    const value = extension.expect(derTags.octetString).content;
    if (!isAlternativeNames) continue;
    const names = new DerReader(new DerReader(value).expect(derTags.sequence).content);
    while (!names.isAtEnd) {
      const { tag, content } = names.next();
      if (tag === uriTag) uris.push(content.toString("latin1"));
    }
  }
  return uris;
}

/** Undefined for what is no UTF-8: two broken names would look the same. */
function utf8(bytes: Buffer): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    // It names nobody then, which the caller refuses.
    return undefined;
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const versionTag = 0xa0;
const extensionsTag = 0xa3;
const uriTag = 0x86;
const textTags: ReadonlySet<number> = new Set([derTags.utf8String, derTags.printableString, derTags.ia5String]);

/** 2.5.4.3 */
const commonNameId = Buffer.from("550403", "hex");
/** 2.5.29.17 */
const alternativeNamesId = Buffer.from("551d11", "hex");

export { DerError };
