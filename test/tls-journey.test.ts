import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { describe, test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode } from "./test-node.ts";

/** The parameters of the command that `proglog certs` says to use, in the order in which they stand. */
function advised(told: string): readonly string[] {
  const [, command = ""] = /proglog ((?:[^\n]*\\\n)*[^\n]*)\n$/.exec(told) ?? [];
  return command.split(/[\s\\]+/).filter((word) => word !== "");
}

test("what proglog certs makes and says is all that it takes: a node, a client, and one that is revoked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "proglog-journey-"));
  const dir = join(folder, "certs");
  const run = async (...argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const io = new MemoryIo();
    const code = await main(argv, io);
    return { code, stdout: io.stdout.text, stderr: io.stderr.text };
  };
  const certs = async (...argv: readonly string[]): Promise<readonly string[]> => {
    const { code, stdout, stderr } = await run("certs", ...argv, "--dir", dir);
    assert.equal(code, exitCodes.done, stderr);
    return advised(stdout);
  };
  const io = new MemoryIo();
  try {
    await certs("init");
    const serve = await certs("node", "n1", "--host", "localhost");
    const [command, subcommand, server, , ...shown] = await certs("client", "root");
    assert.deepEqual([command, subcommand, server], ["topics", "list", "--server"]);
    const where = ["--data-dir", join(folder, "data"), "--rpc-port", "0", "--log-level", "silent"];
    const serving = main([...serve, ...where], io);
    const [, port = ""] = await io.stdout.waitFor(/serves https:\/\/127\.0\.0\.1:(\d+),/);
    const address = ["--server", `https://localhost:${port}`, ...shown];
    const produced = await run("produce", "hello", ...address);
    assert.equal(produced.code, exitCodes.done, produced.stderr);
    assert.equal((await run("consume", ...address)).stdout, "hello\n");
    await certs("revoke", "root.pem");
    assert.ok(io.sendReload());
    const refused = await run("consume", ...address);
    assert.equal(refused.code, exitCodes.failed);
    assert.match(refused.stderr, /UNAUTHENTICATED: .+its certificate was revoked/);
    const [, , , , ...other] = await certs("client", "other");
    const followed = await run("consume", "--server", `https://localhost:${port}`, ...other);
    assert.equal(followed.stdout, "hello\n", followed.stderr);
    io.send("SIGTERM");
    assert.equal(await serving, exitCodes.done);
  } finally {
    io.send("SIGTERM");
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("a client's certificate that an authority between signed", () => {
  const made = makeChain();

  test("counts by the authority at the end, and no longer than that", {
    skip: made === undefined && "there is no openssl",
  }, async () => {
    assert.ok(made !== undefined);
    using certificates = new TestCertificates();
    const ca = certificates.clientAuthority.cert;
    const flags = certificates.serverFlags();
    certificates.write("ca.pem", ca + made.root);
    await using node = await startTestNode({ flags, tls: { ca, ...certificates.client("root") } });
    const options = { host: "127.0.0.1", port: node.port, ca, cert: made.chain, key: made.key, ALPNProtocols: ["http/1.1"] };
    const socket: TLSSocket = connectTls(options);
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    const [head] = await new Promise<string[]>((resolve) =>
      socket.once("data", (chunk: Buffer) => resolve(chunk.toString().split("\r\n"))),
    );
    assert.equal(head, "HTTP/1.1 200 OK");
    // Whatever changes: it is held against what is trusted then.
    certificates.writePair("server", certificates.server());
    node.node.reloadCertificates();
    assert.equal((await node.get("/livez")).status, 200);
    assert.ok(!socket.destroyed);
    certificates.write("ca.pem", ca);
    node.node.reloadCertificates();
    await closed;
  });
});

/** By openssl, as `proglog certs` makes none: a root, an authority that it signed, and what that one signed. Undefined where there is no openssl. */
function makeChain(): { readonly root: string; readonly chain: string; readonly key: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), "proglog-chain-"));
  const read = (name: string): string => readFileSync(join(directory, name), "utf8");
  const openssl = (...parameters: readonly string[]): void =>
    void execFileSync("openssl", parameters, { cwd: directory, stdio: "ignore" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const sign = (name: string, by: string, extensions: string): void => {
    writeFileSync(join(directory, "extensions"), extensions);
    openssl("req", ...key, "-keyout", `${name}-key.pem`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    const signer = ["-CA", `${by}.pem`, "-CAkey", `${by}-key.pem`, "-CAcreateserial"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-days", "2", "-extfile", "extensions", "-out", `${name}.pem`);
  };
  try {
    const authority = ["-addext", "basicConstraints=critical,CA:true", "-subj", "/CN=root"];
    openssl("req", "-x509", ...key, "-days", "2", "-keyout", "root-key.pem", "-out", "root.pem", ...authority);
    sign("between", "root", "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n");
    sign("app", "between", "basicConstraints=critical,CA:false\nextendedKeyUsage=clientAuth\n");
    return { root: read("root.pem"), chain: read("app.pem") + read("between.pem"), key: read("app-key.pem") };
  } catch {
    // No openssl, or one that can't.
    return undefined;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
