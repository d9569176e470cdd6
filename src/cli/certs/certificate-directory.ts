import { randomBytes, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { join } from "node:path";
import {
  checkNoCredentialFile,
  hasCredentialFile,
  readCredentialFile,
  writeCredentialFile,
} from "../../base/credential-file.ts";
import { messageOf, ProglogError } from "../../base/error.ts";
import { authorityDays, certificateBackdateMs, certificateNameMaxChars } from "../../base/security-limits.ts";
import { dayMs } from "../../base/units.ts";
import { readRevocations } from "../../server/tls/revocation-list.ts";
import {
  type Credential,
  issueCertificate,
  makeAuthority,
  makeRevocationList,
  type Validity,
} from "./certificate-authority.ts";

/**
 * The files that `proglog certs` makes: an authority for clients and what nodes show to them, another for nodes among themselves, what
 * the two have signed, and what they have taken back. There is nothing else to it, so the directory can be carried away, and a file of it
 * replaced by one from elsewhere.
 */
export class CertificateDirectory {
  readonly #path: string;
  readonly #nowMs: number;
  readonly #isReplacing: boolean;

  constructor(path: string, { nowMs, isReplacing }: { readonly nowMs: number; readonly isReplacing: boolean }) {
    this.#path = path;
    this.#nowMs = nowMs;
    this.#isReplacing = isReplacing;
  }

  /** Makes both authorities, and their lists of what they have taken back, which are empty. */
  init(): readonly WrittenFile[] {
    const validity = this.#validity(authorityDays);
    // No two have the same name: whoever trusts the old one doesn't take the new one for it.
    const mark = randomBytes(4).toString("hex");
    const files = authorities.flatMap(({ name, list, title }) => {
      const authority = makeAuthority(`proglog ${title} ${mark}`, validity);
      const revocations = makeRevocationList(authority, { ...validity, serialNumbers: [], number: this.#nowMs });
      return [...pairOf(name, authority), { name: list, text: revocations }];
    });
    return this.#write(files);
  }

  /** Makes what a node shows to clients at these hosts, and what it shows to other nodes. Throws INVALID_ARGUMENT. */
  makeNode(
    name: string,
    { hosts, days }: { readonly hosts: readonly string[]; readonly days: number },
  ): readonly WrittenFile[] {
    checkName(name, "node");
    for (const host of hosts) checkHost(host);
    const [clients, nodes] = [this.#authority("ca"), this.#authority("peer-ca")];
    const request = { commonName: name, ...this.#validity(days, clients, nodes) };
    const towardsClients = issueCertificate(clients, { ...request, hosts, usages: ["server"] });
    const towardsNodes = issueCertificate(nodes, {
      ...request,
      uris: [`proglog://node/${name}`],
      usages: ["server", "client"],
    });
    return this.#write([...pairOf(name, towardsClients), ...pairOf(`${name}-peer`, towardsNodes)]);
  }

  /** Makes what a client shows, called by its URI, or else by its name. Throws INVALID_ARGUMENT. */
  makeClient(name: string, { uri, days }: { readonly uri?: string; readonly days: number }): readonly WrittenFile[] {
    checkName(name, "client");
    if (uri !== undefined) checkUri(uri);
    const authority = this.#authority("ca");
    const uris = uri === undefined ? [] : [uri];
    const request = { commonName: name, uris, usages: ["client"], ...this.#validity(days, authority) } as const;
    return this.#write(pairOf(name, issueCertificate(authority, request)));
  }

  /** Adds certificates to the lists of what is taken back. Throws INVALID_ARGUMENT, and INVALID_CONFIG for what can't be read. */
  revoke(files: readonly string[]): readonly WrittenFile[] {
    const added = files.map((file) => this.#findIssuer(file));
    return authorities.flatMap(({ name, list }) => {
      const own = added.filter((one) => one.authorityName === name).map(({ serialNumber }) => serialNumber);
      if (own.length === 0) return [];
      const serialNumbers = [...new Set([...this.#revokedBefore(list), ...own])];
      // Nobody gets in by a list whose time is over: as long as its authority's it lasts.
      const authority = this.#authority(name);
      const text = makeRevocationList(authority, {
        ...this.#validity(authorityDays, authority),
        serialNumbers,
        number: this.#nowMs,
      });
      writeCredentialFile(this.#pathOf(list), text, { isReplacing: true });
      return [{ path: this.#pathOf(list), isSecret: false }];
    });
  }

  #findIssuer(file: string): { readonly authorityName: string; readonly serialNumber: string } {
    const path = hasCredentialFile(this.#pathOf(file)) ? this.#pathOf(file) : file;
    const certificate = parse(path, readCredentialFile(path, { source: "the certificate" }));
    const found = authorities.find(({ name }) => {
      const authority = new X509Certificate(this.#authority(name).cert);
      return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
    });
    if (found === undefined || certificate.ca)
      throw new ProglogError("INVALID_ARGUMENT", `Cannot revoke ${path}: no authority in ${this.#path} has signed it`, {
        hint: "To take back an authority, make another one, and certificates by it.",
        details: { path },
      });
    return { authorityName: found.name, serialNumber: certificate.serialNumber.toLowerCase() };
  }

  #revokedBefore(list: string): readonly string[] {
    const path = this.#pathOf(list);
    if (!hasCredentialFile(path)) return [];
    const text = readCredentialFile(path, { source: "the revocation list" }).toString("latin1");
    try {
      return readRevocations(text).map(({ serialNumber }) => serialNumber.toString("hex"));
    } catch (error) {
      throw new ProglogError("INVALID_CONFIG", `Cannot add to the revocation list ${path}: ${messageOf(error)}`, {
        details: { path },
        cause: error,
      });
    }
  }

  #authority(name: string): Credential {
    const path = this.#pathOf(`${name}.pem`);
    const keyPath = this.#pathOf(`${name}-key.pem`);
    if (!hasCredentialFile(path) || !hasCredentialFile(keyPath))
      throw new ProglogError("INVALID_ARGUMENT", `Cannot sign in ${this.#path}: there is no ${name}.pem with its key`, {
        hint: "proglog certs init makes it; --dir says where it is.",
        details: { path },
      });
    const cert = readCredentialFile(path, { source: "the authority" });
    const key = readCredentialFile(keyPath, { source: "the authority's key", isSecret: true });
    const refuse = (reason: string): ProglogError =>
      new ProglogError("INVALID_CONFIG", `Cannot use the authority ${path}: ${reason}`, { details: { path } });
    const certificate = parse(path, cert);
    if (!certificate.ca || !/^CN=proglog [ -~]+$/.test(certificate.subject)) throw refuse("proglog certs init didn't make it");
    const end = certificate.validToDate;
    if (end.getTime() <= this.#nowMs) throw refuse(`it expired at ${end.toISOString()}`);
    return { cert: cert.toString("latin1"), key: key.toString("latin1") };
  }

  /** From a little before now on, for so many days, and no longer than those who sign it. */
  #validity(days: number, ...signers: readonly Credential[]): Validity {
    const ends = signers.map(({ cert }) => new X509Certificate(cert).validToDate.getTime());
    return { fromMs: this.#nowMs - certificateBackdateMs, toMs: Math.min(this.#nowMs + days * dayMs, ...ends) };
  }

  /** All of them, or none where one is there already. */
  #write(files: readonly NewFile[]): readonly WrittenFile[] {
    if (!this.#isReplacing) for (const { name } of files) checkNoCredentialFile(this.#pathOf(name));
    return files.map(({ name, text, isSecret = false }) => {
      const path = this.#pathOf(name);
      writeCredentialFile(path, text, { isSecret, isReplacing: this.#isReplacing });
      return { path, isSecret };
    });
  }

  #pathOf(name: string): string {
    return join(this.#path, name);
  }
}

export interface WrittenFile {
  readonly path: string;
  /** A key. */
  readonly isSecret: boolean;
}

interface NewFile {
  readonly name: string;
  readonly text: string;
  readonly isSecret?: boolean;
}

const authorities = [
  { name: "ca", list: "crl.pem", title: "clients" },
  { name: "peer-ca", list: "peer-crl.pem", title: "nodes" },
] as const;

/** Of the directory's own files: no certificate may be called so, with `--force` or without. */
const ownNames: ReadonlySet<string> = new Set(["ca", "ca-key", "peer-ca", "peer-ca-key", "crl", "peer-crl"]);

function pairOf(name: string, { cert, key }: Credential): readonly NewFile[] {
  return [
    { name: `${name}-key.pem`, text: key, isSecret: true },
    { name: `${name}.pem`, text: cert },
  ];
}

/** It is a file's name, too. */
function checkName(name: string, kind: "node" | "client"): void {
  const refuse = (reason: string): ProglogError =>
    new ProglogError("INVALID_ARGUMENT", `Cannot make a certificate of the ${kind} ${JSON.stringify(name)}: ${reason}`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._:-]*$/.test(name))
    throw refuse("its name isn't a letter or digit, and then letters, digits and . _ : -");
  if (name.length > certificateNameMaxChars)
    throw refuse(`its name has ${name.length} characters, and the limit is ${certificateNameMaxChars}`);
  if (ownNames.has(name)) throw refuse("files of the authorities are called so");
}

function checkHost(host: string): void {
  if (isIP(host) !== 0) return;
  const label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
  if (host.length <= 253 && new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`).test(host)) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot use --host ${JSON.stringify(host)}: it is no host name or address`, {
    hint: "Name the host alone, without a port: as in node-1.example, or 10.0.0.1.",
  });
}

function checkUri(uri: string): void {
  const isSound = /^[a-z][a-z0-9+.-]*:[!-~]+$/i.test(uri) && uri.length <= certificateNameMaxChars * 4;
  if (isSound && !uri.startsWith("proglog://node/")) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use --uri ${JSON.stringify(uri)}: ${isSound ? "a node is called so" : "it is no URI"}`,
    { hint: "As in spiffe://example.org/billing." },
  );
}

function parse(path: string, bytes: Buffer): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (error) {
    throw new ProglogError("INVALID_CONFIG", `Cannot use ${path}: it holds no certificate`, {
      details: { path },
      cause: error,
    });
  }
}
