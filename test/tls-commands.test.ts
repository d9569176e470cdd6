import assert from "node:assert/strict";
import { chmodSync, existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

describe("the command line over TLS", () => {
  const certificates = new TestCertificates();
  let node: TestNode;
  let server: string;
  let files: readonly string[];
  before(async () => {
    node = await startTestNode({ flags: certificates.serverFlags() });
    server = `https://localhost:${node.port}`;
    certificates.writePair("root", certificates.client("root"));
    files = [
      ...["--tls-ca-file", certificates.path("ca.pem")],
      ...["--tls-cert-file", certificates.path("root.pem")],
      ...["--tls-key-file", certificates.path("root-key.pem")],
    ];
  });
  after(async () => {
    await node.node.close();
    certificates[Symbol.dispose]();
  });

  async function run(
    argv: readonly string[],
    env: Record<string, string> = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const io = new MemoryIo({ env });
    const code = await main(argv, io);
    return { code, stdout: io.stdout.text, stderr: io.stderr.text };
  }

  const environment = (): Record<string, string> => ({
    PROGLOG_SERVER: `localhost:${node.port}`,
    PROGLOG_TLS_CA_FILE: certificates.path("ca.pem"),
    PROGLOG_TLS_CERT_FILE: certificates.path("root.pem"),
    PROGLOG_TLS_KEY_FILE: certificates.path("root-key.pem"),
  });

  test("each command that asks a server does so", async () => {
    const commands: readonly (readonly string[])[] = [
      ["produce", "--topic", "a", "hello"],
      ["consume", "--topic", "a"],
      ["topics", "list"],
      ["topics", "describe", "a"],
      ["cluster", "status"],
      ["bench", "produce", "--count", "10", "--topic", "b"],
    ];
    for (const command of commands) {
      const { code, stderr } = await run([...command, "--server", server, ...files]);
      assert.equal(code, exitCodes.done, `${command.join(" ")}: ${stderr}`);
    }
    const level = await run(["log-level", "--server", server, ...files]);
    assert.equal(level.stdout, "info\n", level.stderr);
    const book = await run([...files, "getservers", "--addr", server]);
    assert.match(book.stdout, /rpc_addr:/);
    const backup = certificates.path("backup");
    assert.equal((await run(["backup", "create", backup, "--server", server, ...files])).code, exitCodes.done);
    assert.ok(existsSync(backup));
  });

  test("by the environment, too, with an address that doesn't say https", async () => {
    const { code, stdout, stderr } = await run(["consume", "--topic", "a"], environment());
    assert.equal(code, exitCodes.done, stderr);
    assert.equal(stdout, "hello\n");
    const other = { ...environment(), PROGLOG_SERVER: `127.0.0.1:${node.port}`, PROGLOG_TLS_SERVER_NAME: "localhost" };
    assert.equal((await run(["topics", "list"], other)).code, exitCodes.done);
    await using clear = await startTestNode();
    const inClear = await run(["topics", "list", "--server", `http://127.0.0.1:${clear.port}`], environment());
    assert.equal(inClear.code, exitCodes.done, inClear.stderr);
  });

  const refusals: readonly (readonly [what: string, argv: () => readonly string[], code: number, message: RegExp])[] = [
    [
      "a server whose authority isn't known",
      () => ["--server", server],
      exitCodes.unreachable,
      /^proglog: UNAVAILABLE: Cannot list the topics: the certificate of localhost:\d+ isn't trusted .+--tls-ca-file\)\)\n$/,
    ],
    [
      "a server that isn't shown a certificate",
      () => ["--server", server, ...files.slice(0, 2)],
      exitCodes.failed,
      /^proglog: UNAUTHENTICATED: Cannot list the topics: localhost:\d+ refuses this client: it shows no certificate .+--tls-cert-file.+\n$/,
    ],
    [
      "a server that speaks TLS, in clear",
      () => ["--server", `http://localhost:${node.port}`],
      exitCodes.failed,
      /refuses this client: this port speaks TLS only; use https/,
    ],
    [
      "http and TLS at once",
      () => ["--server", "http://localhost:1", ...files],
      exitCodes.usage,
      /it says http, and --tls-ca-file asks for TLS/,
    ],
    [
      "http and https at once",
      () => ["--server", "http://localhost:1,https://localhost:2"],
      exitCodes.usage,
      /it says http, and https asks for TLS/,
    ],
    [
      "a certificate without its key",
      () => ["--server", server, ...files.slice(0, 4)],
      exitCodes.usage,
      /Cannot use --tls-cert-file: --tls-key-file is missing/,
    ],
    [
      "a file that isn't there",
      () => ["--server", server, "--tls-ca-file", certificates.path("none.pem")],
      exitCodes.usage,
      /Cannot use --tls-ca-file .+none\.pem: there is no such file/,
    ],
  ];
  for (const [what, argv, code, message] of refusals)
    test(`${what}: told so`, async () => {
      const told = await run(["topics", "list", ...argv()]);
      assert.match(told.stderr, message);
      assert.equal(told.code, code);
    });

  test("over HTTP who isn't trusted, or doesn't take this client, is told of too", async () => {
    const untrusted = await run(["log-level", "--server", server]);
    assert.equal(untrusted.code, exitCodes.unreachable);
    assert.match(untrusted.stderr, /UNAVAILABLE: Cannot ask for the log level of localhost:\d+: .+--tls-ca-file\)/);
    const refused = await run(["log-level", "--server", server, ...files.slice(0, 2)]);
    assert.match(refused.stderr, /UNAUTHENTICATED: .+it refuses this client: it shows no certificate/);
    const clear = await run(["log-level", "--server", `http://localhost:${node.port}`]);
    assert.match(clear.stderr, /UNAUTHENTICATED: .+it refuses this client: this port speaks TLS only/);
    const two = await run(["log-level", "--server", `${server},https://localhost:1`, ...files]);
    assert.match(two.stderr, /a log level is of one node/);
  });

  test("a key that others may read: told so", async () => {
    chmodSync(certificates.path("root-key.pem"), 0o644);
    const { code, stderr } = await run(["topics", "list", "--server", server, ...files]);
    chmodSync(certificates.path("root-key.pem"), 0o600);
    assert.equal(code, exitCodes.usage);
    assert.match(stderr, /Cannot use --tls-key-file .+others may read or change it \(its mode is 0644\) \(chmod 600/);
  });

  test("a command that asks no server doesn't take the options", async () => {
    for (const command of [["serve"], ["verify", "x"], ["certs", "client", "x"]]) {
      const { code, stderr } = await run([...command, ...files]);
      assert.equal(code, exitCodes.usage);
      assert.match(stderr, /--tls-ca-file is for commands that ask a server/, command.join(" "));
    }
  });
});
