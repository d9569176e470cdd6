import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { dayMs } from "../../base/units.ts";
import { certificateFacts, nodeNameOf, principalNameOf } from "../../server/tls/certificate-facts.ts";
import { revokedKeys } from "../../server/tls/revocation-list.ts";
import { issueCertificate, makeAuthority, makeRevocationList } from "./certificate-authority.ts";
import { der } from "./der-writer.ts";

const nowMs = Date.now();
const validity = { fromMs: nowMs - dayMs, toMs: nowMs + dayMs };

/** Undefined where there is no openssl. */
function openssl(files: Readonly<Record<string, string>>, ...parameters: readonly string[]): string | undefined {
  const directory = mkdtempSync(join(tmpdir(), "proglog-certs-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
    return execFileSync("openssl", parameters, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("certificates that are made here", () => {
  const authority = makeAuthority("test authority", validity);
  const node = issueCertificate(authority, {
    ...validity,
    commonName: "n1",
    hosts: ["localhost", "node-1.example", "127.0.0.1", "::1", "2001:db8::12:0:1", "::ffff:10.0.0.1"],
    uris: ["proglog://node/n1"],
    usages: ["server", "client"],
  });

  test("say what was asked for", () => {
    const certificate = new X509Certificate(node.cert);
    for (const host of ["localhost", "node-1.example"]) assert.equal(certificate.checkHost(host), host);
    for (const address of ["127.0.0.1", "::1", "2001:db8::12:0:1", "::ffff:a00:1"])
      assert.ok(certificate.checkIP(address) !== undefined, address);
    assert.equal(certificate.checkHost("other.example"), undefined);
    const facts = certificateFacts(certificate);
    assert.deepEqual([facts.commonName, facts.uris], ["n1", ["proglog://node/n1"]]);
    assert.deepEqual([nodeNameOf(facts), principalNameOf(facts)], ["n1", "proglog://node/n1"]);
    assert.equal(facts.expiresAtMs, Math.floor(validity.toMs / 1000) * 1000);
    assert.equal(certificate.ca, false);
    assert.ok(certificate.checkPrivateKey(createPrivateKey(node.key)));
  });

  test("are signed by their authority, which signs itself", () => {
    const issuer = new X509Certificate(authority.cert);
    const certificate = new X509Certificate(node.cert);
    assert.ok(issuer.ca && issuer.verify(issuer.publicKey));
    assert.ok(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey));
    assert.ok(!certificate.verify(new X509Certificate(makeAuthority("test authority", validity).cert).publicKey));
  });

  test("are what openssl takes for a server and for a client, by the strict rules", (context) => {
    const files = { "ca.pem": authority.cert, "n1.pem": node.cert };
    for (const purpose of ["sslserver", "sslclient"]) {
      const said = openssl(files, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", "n1.pem");
      if (said === undefined) return context.skip("there is no openssl");
      assert.match(said, /n1\.pem: OK/);
    }
    return undefined;
  });

  test("are for nothing but the end that they were made for", (context) => {
    const client = issueCertificate(authority, { ...validity, commonName: "root", usages: ["client"] });
    const files = { "ca.pem": authority.cert, "root.pem": client.cert };
    if (openssl({}, "version") === undefined) return context.skip("there is no openssl");
    assert.throws(() => openssl(files, "verify", "-purpose", "sslserver", "-CAfile", "ca.pem", "root.pem"));
    assert.match(openssl(files, "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "root.pem") ?? "", /OK/);
    return undefined;
  });

  test("beyond 2049 have years of four digits", () => {
    const late = makeAuthority("late", { fromMs: nowMs, toMs: Date.UTC(2051, 4, 6, 7, 8, 9) });
    assert.equal(new X509Certificate(late.cert).validToDate.toISOString(), "2051-05-06T07:08:09.000Z");
  });

  test("a revocation list names them by issuer and number, and openssl believes it", (context) => {
    const certificate = new X509Certificate(node.cert);
    const list = makeRevocationList(authority, { ...validity, serialNumbers: [certificate.serialNumber], number: 1 });
    assert.deepEqual([...revokedKeys(list)], [certificateFacts(certificate).key]);
    const empty = makeRevocationList(authority, { ...validity, serialNumbers: [], number: 2 });
    assert.equal(revokedKeys(empty).size, 0);
    assert.equal(revokedKeys(list + empty).size, 1);
    if (openssl({}, "version") === undefined) return context.skip("there is no openssl");
    const files = { "ca.pem": authority.cert, "n1.pem": node.cert, "crl.pem": list, "empty.pem": empty };
    const verify = ["verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem", "-CRLfile"];
    assert.throws(() => openssl(files, ...verify, "crl.pem", "n1.pem"), /revoked/);
    assert.match(openssl(files, ...verify, "empty.pem", "n1.pem") ?? "", /OK/);
    return undefined;
  });
});

describe("DER that is written here", () => {
  const cases: readonly (readonly [what: string, written: Buffer, hex: string])[] = [
    ["a small number", der.integer(5), "020105"],
    ["zero", der.integer(0), "020100"],
    ["a number whose first bit is set has a zero before it", der.integer(Buffer.from("80", "hex")), "02020080"],
    ["zeros before a number are left out", der.integer(Buffer.from("00007f", "hex")), "02017f"],
    ["a length above 127", der.octetString(Buffer.alloc(128)), `048180${"00".repeat(128)}`],
    ["a length above 255", der.octetString(Buffer.alloc(256)), `04820100${"00".repeat(256)}`],
    ["an object identifier", der.objectIdentifier("1.2.840.10045.4.3.2"), "06082a8648ce3d040302"],
    ["a time until 2049", der.time(Date.UTC(2049, 11, 31, 23, 59, 59)), "170d3439313233313233353935395a"],
    ["a time from 2050 on", der.time(Date.UTC(2050, 0, 1)), "180f32303530303130313030303030305a"],
  ];
  for (const [what, written, hex] of cases) test(what, () => assert.equal(written.toString("hex"), hex));
});
