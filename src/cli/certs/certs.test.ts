import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../../sim/clock.ts";
import { dayMs } from "../../base/units.ts";
import { certificateFacts, nodeNameOf, principalNameOf } from "../../server/tls/certificate-facts.ts";
import { readRevocations } from "../../server/tls/revocation-list.ts";
import { exitCodes } from "../exit-codes.ts";
import { main } from "../main.ts";
import { MemoryIo } from "../memory-io.ts";
import { makeAuthority } from "./certificate-authority.ts";

describe("proglog certs", () => {
  let parent: string;
  let dir: string;
  let clock: VirtualClock;

  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), "proglog-certs-"));
    dir = join(parent, "certs");
    clock = createVirtualClock();
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  const certs = async (...argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const io = new MemoryIo({ clock });
    const code = await main(["certs", ...argv, "--dir", dir], io);
    return { code, stdout: io.stdout.text, stderr: io.stderr.text };
  };
  const make = async (...argv: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await certs(...argv);
    assert.equal(code, exitCodes.done, stderr);
    return stdout;
  };
  const read = (name: string): X509Certificate => new X509Certificate(readFileSync(join(dir, name)));
  const days = (certificate: X509Certificate): number => Math.round((certificate.validToDate.getTime() - clock.now()) / dayMs);
  const serialsOn = (list: string): readonly string[] =>
    readRevocations(readFileSync(join(dir, list), "latin1")).map(({ serialNumber }) =>
      serialNumber.toString("hex").toUpperCase(),
    );

  test("init makes two authorities of ten years, and their lists, empty", async () => {
    await make("init");
    assert.deepEqual(readdirSync(dir).sort(), [
      ...["ca-key.pem", "ca.pem", "crl.pem", "peer-ca-key.pem", "peer-ca.pem", "peer-crl.pem"],
    ]);
    const [clients, nodes] = [read("ca.pem"), read("peer-ca.pem")];
    assert.deepEqual([clients.ca, nodes.ca], [true, true]);
    assert.deepEqual([days(clients), days(nodes)], [3_650, 3_650]);
    assert.notEqual(clients.subject, nodes.subject);
    assert.ok(!clients.publicKey.equals(nodes.publicKey));
    assert.deepEqual([serialsOn("crl.pem"), serialsOn("peer-crl.pem")], [[], []]);
  });

  test("node makes a certificate for clients, with the hosts, and one for nodes, with the name: 90 days", async () => {
    await make("init");
    const told = await make("node", "n1", "--host", "node-1.example", "--host", "10.0.0.1");
    assert.match(told, /--peer-tls-ca-file \S+peer-ca\.pem/);
    const [clients, nodes] = [read("n1.pem"), read("n1-peer.pem")];
    assert.ok(clients.checkIssued(read("ca.pem")) && nodes.checkIssued(read("peer-ca.pem")));
    assert.equal(clients.subjectAltName, "DNS:node-1.example, IP Address:10.0.0.1");
    assert.equal(nodeNameOf(certificateFacts(clients)), undefined);
    assert.equal(nodeNameOf(certificateFacts(nodes)), "n1");
    assert.deepEqual([days(clients), days(nodes)], [90, 90]);
  });

  test("client makes a certificate that is called by its name, or by the URI that it is given", async () => {
    await make("init");
    await make("client", "root", "--days", "7");
    await make("client", "billing", "--uri", "spiffe://example.org/billing");
    assert.equal(principalNameOf(certificateFacts(read("root.pem"))), "root");
    assert.equal(principalNameOf(certificateFacts(read("billing.pem"))), "spiffe://example.org/billing");
    assert.deepEqual([days(read("root.pem")), days(read("billing.pem"))], [7, 90]);
  });

  test("keys are their owner's alone", async () => {
    await make("init");
    await make("node", "n1", "--host", "localhost");
    for (const name of readdirSync(dir)) {
      const mode = statSync(join(dir, name)).mode & 0o777;
      assert.equal(mode.toString(8), name.endsWith("-key.pem") ? "600" : "644", name);
    }
  });

  test("what is there isn't written over, nothing else is written then, and --force does it", async () => {
    await make("init");
    await make("client", "root");
    const before = read("root.pem").serialNumber;
    rmSync(join(dir, "root-key.pem"));
    const { code, stderr } = await certs("client", "root");
    assert.equal(code, exitCodes.usage);
    assert.match(stderr, /Cannot write \S+root\.pem: there is such a file already \(Say --force to replace it\)/);
    assert.ok(!readdirSync(dir).includes("root-key.pem"));
    await make("client", "root", "--force");
    assert.notEqual(read("root.pem").serialNumber, before);
    assert.equal((await certs("init")).code, exitCodes.usage);
  });

  test("revoke adds to the list of whoever signed, and keeps what was on it", async () => {
    await make("init");
    for (const name of ["a", "b", "c"]) await make("client", name);
    await make("node", "n1", "--host", "localhost");
    await make("revoke", "a.pem");
    assert.deepEqual(serialsOn("crl.pem"), [read("a.pem").serialNumber]);
    assert.deepEqual(serialsOn("peer-crl.pem"), []);
    await make("revoke", join(dir, "b.pem"), "n1-peer.pem", "a.pem");
    assert.deepEqual(serialsOn("crl.pem"), [read("a.pem").serialNumber, read("b.pem").serialNumber]);
    assert.deepEqual(serialsOn("peer-crl.pem"), [read("n1-peer.pem").serialNumber]);
  });

  test("no certificate outlives who signs it, and an authority whose time is over signs no more", async () => {
    await make("init");
    clock.advance(3_600 * dayMs);
    await make("client", "root");
    assert.equal(days(read("root.pem")), 50);
    clock.advance(51 * dayMs);
    const { stderr } = await certs("client", "other");
    assert.match(stderr, /Cannot use the authority \S+ca\.pem: it expired at 20/);
  });

  const refusals: readonly (readonly [argv: readonly string[], reason: RegExp])[] = [
    [["client", "ca"], /files of the authorities are called so/],
    [["client", "../root"], /its name isn't a letter or digit/],
    [["client", "x".repeat(65)], /its name has 65 characters, and the limit is 64/],
    [["client", "root", "--days", "3651"], /an authority is valid for 3650/],
    [["client", "root", "--days", "0"], /it is no whole number from 1 on/],
    [["client", "root", "--uri", "billing"], /it is no URI/],
    [["client", "root", "--uri", "proglog://node/n1"], /a node is called so/],
    [["node", "n1"], /nothing says where clients reach it \(Say --host/],
    [["node", "n1", "--host", "node-1:8000"], /it is no host name or address/],
    [["node", "n1", "--host", "a b"], /it is no host name or address/],
    [["revoke", "none.pem"], /Cannot use the certificate none\.pem: there is no such file/],
    [["revoke", "ca.pem"], /no authority in \S+ has signed it/],
  ];
  for (const [argv, reason] of refusals)
    test(`${argv.join(" ").slice(0, 60)} is refused`, async () => {
      await make("init");
      const before = readdirSync(dir);
      const { code, stderr, stdout } = await certs(...argv);
      assert.equal(code, exitCodes.usage, stderr);
      assert.match(stderr, reason);
      assert.equal(stdout, "");
      assert.deepEqual(readdirSync(dir), before);
    });

  test("without an authority nothing is signed, nor by one that others may read, or that somebody else made", async () => {
    assert.match((await certs("client", "root")).stderr, /there is no ca\.pem with its key \(proglog certs init makes it/);
    await make("init");
    chmodSync(join(dir, "ca-key.pem"), 0o644);
    assert.match((await certs("client", "root")).stderr, /others may read or change it \(its mode is 0644\)/);
    const foreign = makeAuthority("Somebody", { fromMs: clock.now(), toMs: clock.now() + dayMs });
    writeFileSync(join(dir, "ca.pem"), foreign.cert);
    chmodSync(join(dir, "ca-key.pem"), 0o600);
    assert.match((await certs("client", "root")).stderr, /proglog certs init didn't make it/);
  });

  test("a list that can't be read is told of, and left as it is", async () => {
    await make("init");
    await make("client", "root");
    writeFileSync(join(dir, "crl.pem"), "hello");
    const { code, stderr } = await certs("revoke", "root.pem");
    assert.equal(code, exitCodes.usage);
    assert.match(stderr, /Cannot add to the revocation list \S+crl\.pem: there is no list in it/);
    assert.equal(readFileSync(join(dir, "crl.pem"), "utf8"), "hello");
  });
});
