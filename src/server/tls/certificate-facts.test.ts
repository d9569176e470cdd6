import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { principalNameMaxChars } from "../../base/security-limits.ts";
import { dayMs } from "../../base/units.ts";
import { issueCertificate, makeAuthority, makeRevocationList } from "../../cli/certs/certificate-authority.ts";
import { certificateFacts, nodeNameOf, principalNameOf } from "./certificate-facts.ts";
import { DerError, DerReader } from "./der-reader.ts";
import { revokedKeys } from "./revocation-list.ts";

const validity = { fromMs: Date.now(), toMs: Date.now() + dayMs };
const authority = makeAuthority("authority", validity);

function factsOf(commonName: string, uris: readonly string[] = []): ReturnType<typeof certificateFacts> {
  const { cert } = issueCertificate(authority, { ...validity, commonName, uris, usages: ["client"] });
  return certificateFacts(new X509Certificate(cert));
}

describe("whom a certificate stands for", () => {
  test("is its first URI, else its common name, letter by letter", () => {
    assert.equal(principalNameOf(factsOf("root")), "root");
    assert.equal(principalNameOf(factsOf("root", ["spiffe://a/b", "spiffe://a/c"])), "spiffe://a/b");
    // What would be taken apart in a text of it stays in one piece.
    const tricky = "root, URI:spiffe://admin, CN=admin";
    assert.equal(principalNameOf(factsOf(tricky)), tricky);
    assert.equal(principalNameOf(factsOf("Zoë")), "Zoë");
  });

  test("is nobody where its name can't be told from another, or could break a line", () => {
    for (const name of [
      "",
      " root",
      "root ",
      "a\nb",
      "a\u0000b",
      "a\u202eb",
      "a\u2028b",
      "x".repeat(principalNameMaxChars + 1),
    ])
      assert.equal(principalNameOf(factsOf(name)), undefined, JSON.stringify(name));
    assert.equal(principalNameOf(factsOf("x".repeat(principalNameMaxChars)))?.length, principalNameMaxChars);
    assert.equal(principalNameOf(factsOf("root", ["a b\n"])), undefined, "the common name doesn't step in for a bad URI");
  });

  test("is a node by its one URI of that form", () => {
    assert.equal(nodeNameOf(factsOf("x", ["https://a", "proglog://node/n1:8000"])), "n1:8000");
    assert.equal(nodeNameOf(factsOf("n1")), undefined);
    for (const uri of [
      "proglog://node/",
      "proglog://node/a/b",
      "proglog://node/a%31",
      "Proglog://node/n1",
      "proglog://nodes/n1",
    ])
      assert.equal(nodeNameOf(factsOf("x", [uri])), undefined, uri);
    assert.equal(nodeNameOf(factsOf("x", ["proglog://node/n1", "proglog://node/n2"])), undefined);
  });
});

describe("DER", () => {
  test("that isn't of the shortest form, or is cut off, is refused", () => {
    for (const hex of ["", "30", "3001", "308101ff", "30820001ff", "3080", "30850000000001ff", "1f0100", "3084ffffffff"])
      assert.throws(() => new DerReader(Buffer.from(hex, "hex")).next(), DerError, hex);
  });

  test("of any bytes throws a DerError or nothing", () => {
    const list = makeRevocationList(authority, { ...validity, serialNumbers: ["01", "00ff", "abcdef"], number: 1 });
    assert.equal(revokedKeys(list).size, 3);
    const der = Buffer.from(list.replaceAll(/-----[^-]+-----/g, ""), "base64");
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.nat(255), fc.nat(der.length), (at, value, length) => {
        const bytes = Buffer.from(der);
        bytes[at] = value;
        const pem = `-----BEGIN X509 CRL-----\n${bytes.subarray(0, length).toString("base64")}\n-----END X509 CRL-----`;
        try {
          revokedKeys(pem);
        } catch (error) {
          assert.ok(error instanceof DerError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
    assert.throws(() => revokedKeys("no list"), DerError);
  });
});
