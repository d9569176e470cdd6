import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** As docs/security.md has it: from a node that asks nobody to one that asks everybody. */
describe("rules and tokens from the command line", () => {
  let node: TestNode;
  let folder = "";
  let rootFile = "";

  before(async () => {
    node = await startTestNode();
    folder = mkdtempSync(join(tmpdir(), "proglog-access-"));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function run(
    argv: readonly string[],
    env: Record<string, string> = {},
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
    const io = new MemoryIo({ stdin: "", env: { PROGLOG_SERVER: `127.0.0.1:${node.port}`, ...env } });
    const code = await main(argv, io);
    return { code, stdout: io.stdout.text, stderr: io.stderr.text };
  }

  const asRoot = (...argv: readonly string[]): ReturnType<typeof run> => run([...argv, "--token-file", rootFile]);

  test("a token is printed once, alone, so that it can go to a file", async () => {
    assert.match((await run(["acl", "list"])).stdout, /^There is no rule yet: nobody is asked who they are\.\n$/);
    const refused = await run(["acl", "add", "root", "*", "admin"]);
    assert.equal(refused.code, exitCodes.usage);
    assert.match(refused.stderr, /root has no token yet/);
    const { code, stdout, stderr } = await run(["tokens", "create", "root"]);
    assert.equal(code, exitCodes.done);
    assert.match(stdout, /^plg_[0-9a-f]{12}_[\w-]{43}\n$/);
    assert.match(stderr, /^Token [0-9a-f]{12} of root, which never ends\. It is shown this once:\n$/);
    rootFile = join(folder, "root.token");
    writeFileSync(rootFile, stdout, { mode: 0o600 });
  });

  test("the first rule ends that nobody is asked", async () => {
    assert.equal((await run(["produce", "before"])).code, exitCodes.done);
    const { code, stdout } = await run(["acl", "add", "root", "*", "admin"]);
    assert.deepEqual([code, stdout], [exitCodes.done, "Added: 1 rule now, revision 2.\n"]);
    for (const argv of [
      ["produce", "x"],
      ["topics", "list"],
      ["acl", "list"],
      ["tokens", "list"],
      ["cluster", "status"],
    ]) {
      const refused = await run(argv);
      assert.equal(refused.code, exitCodes.failed, argv.join(" "));
      assert.match(refused.stderr, /^proglog: UNAUTHENTICATED: Cannot tell who asks: /);
    }
    assert.match((await asRoot("produce", "x")).stderr, /PERMISSION_DENIED: root not permitted to produce to default;/);
  });

  test("rules and roles are added, shown, asked for and taken away", async () => {
    assert.equal((await asRoot("acl", "add", "writers", "orders-*", "produce", "consume")).code, exitCodes.done);
    assert.equal((await asRoot("acl", "add", "alice", "--role", "writers")).code, exitCodes.done);
    assert.equal(
      (await asRoot("acl", "list")).stdout,
      `Revision 4: what no rule allows is denied.

PRINCIPAL  RESOURCE  ACTION
root       *         admin
writers    orders-*  produce
writers    orders-*  consume

PRINCIPAL  ROLE
alice      writers
`,
    );
    const yes = await asRoot("acl", "test", "alice", "orders-eu", "produce");
    assert.deepEqual([yes.code, yes.stdout], [exitCodes.done, "permitted\n"]);
    const no = await asRoot("acl", "test", "alice", "payments", "produce");
    assert.deepEqual([no.code, no.stdout], [exitCodes.failed, "denied\n"]);
    assert.equal((await asRoot("acl", "remove", "alice", "--role", "writers")).code, exitCodes.done);
    assert.equal((await asRoot("acl", "test", "alice", "orders-eu", "produce")).code, exitCodes.failed);
    const missing = await asRoot("acl", "remove", "alice", "--role", "writers");
    assert.match(missing.stderr, /INVALID_ARGUMENT: Cannot take away what isn't there/);
    const last = await asRoot("acl", "remove", "root", "*", "admin");
    assert.match(last.stderr, /nobody would have admin on \* any more/);
    for (const argv of [["alice"], ["alice", "orders"], ["alice", "orders", "produce", "--role", "x"]])
      assert.match((await asRoot("acl", "add", ...argv)).stderr, /it takes a resource and an action, or a role/);
  });

  test("tokens are listed without their secrets, end when they are to, and are revoked", async () => {
    const made = await asRoot("tokens", "create", "alice", "--expires-in", "90d", "--json");
    const { id, token, expiresAt, createdAt } = JSON.parse(made.stdout) as Record<string, string | number>;
    assert.equal(Number(expiresAt) - Number(createdAt) <= 90 * 24 * 3_600_000, true);
    const { stdout } = await asRoot("tokens", "list");
    assert.match(stdout, /^ID +PRINCIPAL +CREATED +ENDS\n[0-9a-f]{12} +root +\S+Z +never\n[0-9a-f]{12} +alice +\S+Z +\S+Z\n$/);
    assert.ok(!stdout.includes(String(token).slice(17)));
    await asRoot("acl", "add", "alice", "orders", "produce");
    const environment = { PROGLOG_TOKEN: String(token) };
    assert.equal((await run(["produce", "--topic", "orders", "x"], environment)).code, exitCodes.done);
    assert.equal((await asRoot("tokens", "revoke", String(id))).stdout, `Revoked ${id}.\n`);
    assert.match((await run(["produce", "--topic", "orders", "x"], environment)).stderr, /UNAUTHENTICATED/);
    const own = (await asRoot("tokens", "list", "--json")).stdout.split("\n")[0] ?? "";
    const revoked = await asRoot("tokens", "revoke", (JSON.parse(own) as { id: string }).id);
    assert.match(revoked.stderr, /it is the one that asks/);
  });

  test("a token that can't be had is refused, without a word of what is in its place", async () => {
    const file = join(folder, "wrong");
    const cases: readonly (readonly [string, RegExp])[] = [
      ["two words", /it holds more than a token/],
      [" \n", /it is empty/],
      ["x".repeat(10_000), /it holds more than a token/],
    ];
    for (const [text, reason] of cases) {
      writeFileSync(file, text, { mode: 0o600 });
      const { code, stderr } = await run(["topics", "list", "--token-file", file, "--verbose"]);
      assert.equal(code, exitCodes.usage);
      assert.match(stderr, reason);
      assert.ok(!stderr.includes("two words"));
    }
    writeFileSync(file, "secret-of-mine");
    chmodSync(file, 0o604);
    const exposed = await run(["topics", "list"], { PROGLOG_TOKEN_FILE: file });
    assert.match(
      exposed.stderr,
      /^proglog: INVALID_CONFIG: Cannot use PROGLOG_TOKEN_FILE .*: everybody may read it \(chmod 600/,
    );
    assert.match((await run(["topics", "list", "--token-file", join(folder, "none")])).stderr, /there is no such file/);
    const spaced = await run(["topics", "list"], { PROGLOG_TOKEN: "secret of mine" });
    assert.match(spaced.stderr, /Cannot use PROGLOG_TOKEN: it is no token/);
    assert.ok(![exposed, spaced].some(({ stderr }) => stderr.includes("of-mine") || stderr.includes("of mine")));
    const serve = await run(["serve", "--token-file", file]);
    assert.match(serve.stderr, /INVALID_ARGUMENT: Cannot run proglog serve: --token-file is for commands that ask a server/);
  });
});
