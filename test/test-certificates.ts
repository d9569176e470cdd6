import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { dayMs } from "../src/base/units.ts";
import {
  type CertificateRequest,
  type Credential,
  issueCertificate,
  makeAuthority,
  makeRevocationList,
} from "../src/cli/certs/certificate-authority.ts";

/** Certificates of one test, in a directory of their own: two authorities, and what they sign. None outlives the test. */
export class TestCertificates implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "proglog-tls-"));
  readonly now = Date.now();
  readonly valid = { fromMs: this.now - dayMs, toMs: this.now + 30 * dayMs };
  readonly clientAuthority = makeAuthority("clients", this.valid);
  readonly peerAuthority = makeAuthority("peers", this.valid);
  /** Of somebody else, who calls it the same. */
  readonly foreignAuthority = makeAuthority("clients", this.valid);
  readonly #peers = new Map<string, Credential[]>();
  #listNumber = 0;

  constructor() {
    this.write("ca.pem", this.clientAuthority.cert);
    this.write("peer-ca.pem", this.peerAuthority.cert);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** In the place of what was there, at once. Keys are nobody else's. */
  write(name: string, text: string, mode: number = name.endsWith("key.pem") ? 0o600 : 0o644): string {
    const draft = this.path(`${name}.new`);
    writeFileSync(draft, text);
    chmodSync(draft, mode);
    renameSync(draft, this.path(name));
    return this.path(name);
  }

  writePair(name: string, { cert, key }: Credential): void {
    this.write(`${name}-key.pem`, key);
    this.write(`${name}.pem`, cert);
  }

  client(name: string, options: Partial<CertificateRequest> & { readonly authority?: Credential } = {}): Credential {
    const { authority = this.clientAuthority, ...request } = options;
    return issueCertificate(authority, { ...this.valid, commonName: name, usages: ["client"], ...request });
  }

  server(options: Partial<CertificateRequest> & { readonly authority?: Credential } = {}): Credential {
    const { authority = this.clientAuthority, ...request } = options;
    const hosts = ["localhost", "127.0.0.1"];
    return issueCertificate(authority, { ...this.valid, commonName: "server", hosts, usages: ["server"], ...request });
  }

  peer(node: string, options: Partial<CertificateRequest> & { readonly authority?: Credential } = {}): Credential {
    const { authority = this.peerAuthority, ...request } = options;
    const uris = [`proglog://node/${node}`];
    const usages = ["server", "client"] as const;
    const made = issueCertificate(authority, { ...this.valid, commonName: node, uris, usages, ...request });
    this.#peers.set(node, [...this.issuedTo(node), made]);
    return made;
  }

  /** All certificates of a peer that were made until now. */
  issuedTo(node: string): readonly Credential[] {
    return this.#peers.get(node) ?? [];
  }

  revocationList(authority: Credential, revoked: readonly Credential[]): string {
    this.#listNumber += 1;
    const serialNumbers = revoked.map(({ cert }) => new X509Certificate(cert).serialNumber);
    return makeRevocationList(authority, { ...this.valid, serialNumbers, number: this.#listNumber });
  }

  /** Flags of a node that clients reach by mutual TLS. */
  serverFlags(credential: Credential = this.server()): Record<string, string> {
    this.writePair("server", credential);
    return {
      "server-tls-cert-file": this.path("server.pem"),
      "server-tls-key-file": this.path("server-key.pem"),
      "server-tls-ca-file": this.path("ca.pem"),
    };
  }

  peerFlags(node: string, credential: Credential = this.peer(node)): Record<string, string> {
    this.writePair(`${node}-peer`, credential);
    return {
      "peer-tls-cert-file": this.path(`${node}-peer.pem`),
      "peer-tls-key-file": this.path(`${node}-peer-key.pem`),
      "peer-tls-ca-file": this.path("peer-ca.pem"),
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
