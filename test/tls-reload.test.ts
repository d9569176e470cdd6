import assert from "node:assert/strict";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { certificatePollMs, certificateReminderMs, certificateWarningMs } from "../src/base/security-limits.ts";
import { dayMs } from "../src/base/units.ts";
import type { Credential } from "../src/cli/certs/certificate-authority.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { askHttp1 } from "./ask-tls.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

describe("certificates that change while a node runs", () => {
  let certificates: TestCertificates;
  let clock: VirtualClock;
  let node: TestNode;
  let root: Credential;
  let ca: string;

  const open = async (shown: Credential = root): Promise<TLSSocket> => {
    const socket = connectTls({ host: "127.0.0.1", port: node.port, ca, ...shown, ALPNProtocols: ["http/1.1"] });
    socket.on("error", () => {});
    socket.write("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    return socket;
  };
  const serialNumberShown = (socket: TLSSocket): string => socket.getPeerCertificate().serialNumber;
  const closing = (socket: TLSSocket): Promise<unknown> => new Promise((resolve) => socket.once("close", resolve));
  const messages = (): readonly string[] => node.lines.map(({ message }) => message);
  const start = async (flags: Record<string, string>): Promise<void> => {
    node = await startTestNode({ clock, flags });
  };
  const crlFlag = (): Record<string, string> => ({
    "server-tls-crl-file": certificates.write("crl.pem", certificates.revocationList(certificates.clientAuthority, [])),
  });

  beforeEach(() => {
    certificates = new TestCertificates();
    clock = createVirtualClock(certificates.now);
    ca = certificates.clientAuthority.cert;
    root = certificates.client("root");
  });
  afterEach(async () => {
    await node.node.close();
    certificates[Symbol.dispose]();
  });

  test("are shown to new connections, and open ones go on", async () => {
    await start(certificates.serverFlags());
    const before = await open();
    certificates.writePair("server", certificates.server());
    clock.advance(certificatePollMs);
    const behind = await open();
    assert.notEqual(serialNumberShown(behind), serialNumberShown(before));
    assert.ok(!before.destroyed);
    before.destroy();
    behind.destroy();
    assert.ok(messages().includes("certificates were loaded anew"));
  });

  test("are read at once when that is asked for", async () => {
    await start(certificates.serverFlags());
    const before = await open();
    certificates.writePair("server", certificates.server());
    node.node.reloadCertificates();
    const behind = await open();
    assert.notEqual(serialNumberShown(behind), serialNumberShown(before));
    before.destroy();
    behind.destroy();
  });

  const broken: readonly (readonly [what: string, spoil: () => void, reason: RegExp])[] = [
    [
      "a key of another certificate",
      () => void certificates.write("server-key.pem", certificates.server().key),
      /no key of that/,
    ],
    ["no certificate", () => void certificates.write("server.pem", "hello"), /holds no certificate/],
    ["nothing", () => void certificates.write("server.pem", ""), /it is empty/],
    [
      "an expired certificate",
      () =>
        certificates.writePair(
          "server",
          certificates.server({ fromMs: certificates.now - 2 * dayMs, toMs: certificates.now - dayMs }),
        ),
      /it expired at/,
    ],
    ["a key that others may read", () => void certificates.write("server-key.pem", "x", 0o644), /mode is 0644/],
    ["no authority", () => void certificates.write("ca.pem", "none"), /server-tls-ca-file .+ holds no certificate/],
  ];
  for (const [what, spoil, reason] of broken)
    test(`${what} is refused, what was there stays, and what comes right later is taken`, async () => {
      await start(certificates.serverFlags());
      const shown = serialNumberShown(await open());
      const complaints = (): number => node.lines.filter(({ level }) => level === "error").length;
      spoil();
      // Once may be in the middle of a change.
      clock.advance(certificatePollMs);
      assert.equal(complaints(), 0);
      clock.advance(certificatePollMs);
      assert.equal(complaints(), 1);
      clock.advance(10 * certificatePollMs);
      assert.equal(complaints(), 1, "it is said once");
      const line = node.lines.find(({ level }) => level === "error");
      assert.match(JSON.stringify(line?.fields), reason);
      const behind = await open();
      assert.equal(serialNumberShown(behind), shown);
      behind.destroy();
      certificates.write("ca.pem", ca);
      certificates.writePair("server", certificates.server());
      clock.advance(certificatePollMs);
      const healed = await open();
      assert.notEqual(serialNumberShown(healed), shown);
      healed.destroy();
    });

  test("a client whose certificate is revoked loses its open connection, and no other does", async () => {
    await start({ ...certificates.serverFlags(), ...crlFlag() });
    const leaver = certificates.client("leaver");
    const [going, staying] = [await open(leaver), await open()];
    const closed = closing(going);
    certificates.write("crl.pem", certificates.revocationList(certificates.clientAuthority, [leaver]));
    clock.advance(certificatePollMs);
    await closed;
    assert.ok(!staying.destroyed);
    assert.match(await askHttp1(node.port, { ca, ...leaver }), /^403 .+revoked/);
    assert.equal(await askHttp1(node.port, { ca, ...root }), "served");
    assert.ok(messages().includes("ended a connection"));
    staying.destroy();
  });

  test("clients of an authority that is trusted no more lose theirs, and those of its successor don't", async () => {
    const both = ca + certificates.foreignAuthority.cert;
    certificates.write("ca.pem", both);
    const flags = certificates.serverFlags();
    await start(flags);
    const [going, staying] = [
      await open(),
      await open(certificates.client("root", { authority: certificates.foreignAuthority })),
    ];
    const closed = closing(going);
    certificates.write("ca.pem", certificates.foreignAuthority.cert);
    clock.advance(certificatePollMs);
    await closed;
    assert.ok(!staying.destroyed);
    staying.destroy();
  });

  test("a connection ends with its certificate's time", async () => {
    await start(certificates.serverFlags());
    const going = await open(certificates.client("short", { toMs: certificates.now + dayMs }));
    const staying = await open();
    const closed = closing(going);
    clock.jumpWall(dayMs);
    clock.advance(certificatePollMs);
    await closed;
    assert.ok(!staying.destroyed);
    staying.destroy();
  });

  test("a list whose time is over lets nobody in, and says so", async () => {
    const { clientAuthority, now } = certificates;
    await start({ ...certificates.serverFlags(), ...crlFlag() });
    certificates.valid.toMs = now - 1_000;
    certificates.write("crl.pem", certificates.revocationList(clientAuthority, []));
    clock.advance(certificatePollMs);
    assert.match(await askHttp1(node.port, { ca, ...root }), /^403 there is no current revocation list/);
  });

  test("a node warns from 14 days before its certificate expires, once a day", async () => {
    await start(certificates.serverFlags(certificates.server({ toMs: certificates.now + certificateWarningMs + dayMs })));
    const warnings = (): number => messages().filter((message) => message.includes("expires soon")).length;
    assert.equal(warnings(), 0);
    const pass = (timeMs: number): void => {
      clock.jumpWall(timeMs);
      clock.advance(certificatePollMs);
    };
    pass(dayMs);
    assert.equal(warnings(), 1);
    pass(certificateReminderMs / 2);
    assert.equal(warnings(), 1);
    pass(certificateReminderMs);
    assert.equal(warnings(), 2);
  });
});

describe("a node that is told to use TLS", () => {
  const refusals: readonly (readonly [
    what: string,
    make: (certificates: TestCertificates) => Record<string, unknown>,
    expected: { readonly code: string; readonly message: RegExp },
  ])[] = [
    [
      "with a key that others may read",
      (certificates) => {
        const flags = certificates.serverFlags();
        certificates.write("server-key.pem", certificates.server().key, 0o604);
        return flags;
      },
      { code: "INVALID_CONFIG", message: /others may read or change it \(its mode is 0604\)/ },
    ],
    [
      "with a key that its group may write",
      (certificates) => {
        const flags = certificates.serverFlags();
        certificates.write("server-key.pem", certificates.server().key, 0o620);
        return flags;
      },
      { code: "INVALID_CONFIG", message: /mode is 0620/ },
    ],
    [
      "with a file that isn't there",
      (certificates) => ({ ...certificates.serverFlags(), "server-tls-cert-file": certificates.path("none.pem") }),
      { code: "INVALID_CONFIG", message: /^Cannot use --server-tls-cert-file .+none.pem: there is no such file/ },
    ],
    [
      "with a directory for a file",
      (certificates) => ({ ...certificates.serverFlags(), "server-tls-ca-file": certificates.directory }),
      { code: "INVALID_CONFIG", message: /it is no file/ },
    ],
    [
      "by a certificate without a key",
      (certificates) => ({ "server-tls-cert-file": certificates.serverFlags()["server-tls-cert-file"] }),
      { code: "INVALID_CONFIG", message: /--server-tls-key-file is missing/ },
    ],
    [
      "between nodes without an authority",
      (certificates) => ({ ...certificates.peerFlags("n1"), "peer-tls-ca-file": undefined }),
      { code: "INVALID_CONFIG", message: /--peer-tls-ca-file is missing/ },
    ],
    [
      "between nodes by a certificate that names none",
      (certificates) => certificates.peerFlags("n1", certificates.peer("n1", { uris: [] })),
      { code: "INVALID_CONFIG", message: /names no node/ },
    ],
    [
      "between nodes by another node's certificate",
      (certificates) => ({ ...certificates.peerFlags("n1"), "node-name": "n2", bootstrap: true }),
      { code: "INVALID_CONFIG", message: /is the certificate of n1, and this node is called n2/ },
    ],
    [
      "where others reach it over a network, and not between nodes",
      (certificates) => ({
        ...certificates.serverFlags(),
        bootstrap: true,
        insecure: true,
        "advertise-addr": "node-1.example:8000",
      }),
      { code: "INSECURE_ADDRESS", message: /^Cannot be reached by other nodes at node-1\.example: .+mutual TLS only/ },
    ],
    [
      "between nodes alone, and listens to clients on a network",
      (certificates) => ({ ...certificates.peerFlags("n1"), bootstrap: true, "bind-addr": "10.0.0.1" }),
      { code: "INSECURE_ADDRESS", message: /^Cannot listen on 10\.0\.0\.1/ },
    ],
  ];
  for (const [what, make, expected] of refusals)
    test(`${what} doesn't start`, async () => {
      using certificates = new TestCertificates();
      const flags = make(certificates);
      await assert.rejects(startTestNode({ flags }), (error: Error & { code?: string }) => {
        assert.equal(error.code, expected.code, error.message);
        assert.match(error.message, expected.message);
        return true;
      });
    });

  test("by certificates of both sides listens on a network", async () => {
    using certificates = new TestCertificates();
    await using node = await startTestNode({ flags: { ...certificates.serverFlags(), "bind-addr": "0.0.0.0" } });
    assert.equal(
      await askHttp1(node.port, { ca: certificates.clientAuthority.cert, ...certificates.client("root") }),
      "served",
    );
    assert.deepEqual(
      node.lines.filter(({ level }) => level === "warn"),
      [],
    );
  });

  test("and is exposed says so at its start, every hour, and in its status", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock, flags: { "bind-addr": "0.0.0.0", insecure: true } });
    const warnings = (): number => node.lines.filter(({ message }) => message.startsWith("--insecure")).length;
    assert.equal(warnings(), 1);
    clock.advance(3_600_000);
    assert.equal(warnings(), 2);
    const { security } = await node.json<{ readonly security: object }>("GET", "/v1/status");
    assert.deepEqual(security, { clients: "clear", clientCertificates: "none", peers: "clear", isExposed: true });
  });

  test("and has a policy isn't exposed, and says that what is told to it in clear can be read", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock, flags: { "bind-addr": "0.0.0.0", insecure: true } });
    const headers = { "content-type": "application/json" };
    const add = [
      { subject: "root", resource: "*", action: "admin" },
      { subject: "anonymous", resource: "*", action: "describe" },
    ];
    await node.json("POST", "/v1/access", { body: JSON.stringify({ add, force: true }), headers });
    const { security } = await node.json<{ readonly security: { readonly isExposed: boolean } }>("GET", "/v1/status");
    assert.equal(security.isExposed, false);
    clock.advance(3_600_000);
    const warnings = node.lines.filter(({ level, message }) => level === "warn" && message.startsWith("--insecure"));
    assert.deepEqual(
      warnings.map(({ message }) => message.replace(/^--insecure: /, "")),
      [
        "anyone who reaches this node's port may read and write everything",
        "what clients say and show to this node can be read and changed on its way",
      ],
    );
  });

  test("reads its certificates at SIGHUP, and one without any doesn't listen to it", async () => {
    using certificates = new TestCertificates();
    const serve = (io: MemoryIo, flags: Record<string, string>): Promise<number> => {
      const common = { "data-dir": certificates.path("data"), "rpc-port": "0", "log-level": "silent" };
      return main(["serve", ...Object.entries({ ...common, ...flags }).flatMap(([name, value]) => [`--${name}`, value])], io);
    };
    const flags = certificates.serverFlags();
    const encrypted = new MemoryIo();
    const serving = serve(encrypted, flags);
    await encrypted.stdout.waitFor(/serves https:\/\/127\.0\.0\.1:\d+,/);
    assert.ok(encrypted.sendReload());
    encrypted.send("SIGTERM");
    assert.equal(await serving, 0);
    assert.ok(!encrypted.sendReload());
    const clear = new MemoryIo();
    const servingClear = serve(clear, {});
    await clear.stdout.waitFor(/serves http:/);
    assert.ok(!clear.sendReload());
    clear.send("SIGTERM");
    assert.equal(await servingClear, 0);
  });
});
