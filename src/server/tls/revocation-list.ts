import { certificateKey } from "./certificate-facts.ts";
import { DerError, DerReader, derTags } from "./der-reader.ts";

/**
 * The certificates that a file of revocation lists takes back, by `CertificateFacts.key`. New connections are judged by OpenSSL, signature of
 * the list and all; this is for those that are open, which nobody would ask again. Throws `DerError` for what is no list.
 */
export function revokedKeys(pem: string): ReadonlySet<string> {
  return new Set(readRevocations(pem).map(({ issuer, serialNumber }) => certificateKey(issuer, serialNumber)));
}

export interface Revocation {
  /** A name in DER. */
  readonly issuer: Buffer;
  readonly serialNumber: Buffer;
}

/** Every entry of every list in the file. Throws `DerError`. */
export function readRevocations(pem: string): readonly Revocation[] {
  const lists = pem.match(/-----BEGIN X509 CRL-----[\s\S]+?-----END X509 CRL-----/g) ?? [];
  if (lists.length === 0) throw new DerError("there is no list in it");
  return lists.flatMap((list) => readList(Buffer.from(list.replaceAll(/-----[^-]+-----/g, ""), "base64")));
}

function readList(der: Buffer): readonly Revocation[] {
  const signed = new DerReader(new DerReader(der).expect(derTags.sequence).content);
  const fields = new DerReader(signed.expect(derTags.sequence).content);
  fields.take(derTags.integer); // the version
  fields.expect(derTags.sequence); // the algorithm of the signature
  const issuer = fields.expect(derTags.sequence).whole;
  takeTime(fields);
  takeTime(fields);
  const revoked = fields.take(derTags.sequence);
  if (revoked === undefined) return [];
  const found: Revocation[] = [];
  const entries = new DerReader(revoked.content);
  while (!entries.isAtEnd) {
    const entry = new DerReader(entries.expect(derTags.sequence).content);
    found.push({ issuer, serialNumber: entry.expect(derTags.integer).content });
  }
  return found;
}

function takeTime(fields: DerReader): void {
  if (fields.take(derTags.utcTime) === undefined) fields.take(derTags.generalizedTime);
}
