import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { inspect } from "node:util";
import { join } from "node:path";
import { test } from "node:test";
import type { Disk } from "../src/base/disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { connect as connectClient } from "../src/client/index.ts";
import { connect } from "../src/grpc/index.ts";
import { accessRequests } from "./access-requests.ts";
import { startTestNode } from "./test-node.ts";

/**
 * Secrets that are easy to find are used in all ways, right and wrong; then everything is searched for them that anybody may read: diagnostics,
 * answers and errors, metrics, status, the audit log, and every file of the node.
 */
test("no secret is in diagnostics, answers, errors, metrics, status, the audit log or any file of the node", async () => {
  const disk = createMemoryDisk();
  const adminToken = `canary-${"a".repeat(40)}`;
  await writeTo(disk, "/admin.token", adminToken);
  const folder = mkdtempSync(join(tmpdir(), "proglog-canary-"));
  await using node = await startTestNode({ disk, flags: { "admin-token-file": "/admin.token", "log-level": "debug" } });
  const address = `127.0.0.1:${node.port}`;
  const said: string[] = [];
  const secrets = [adminToken];
  try {
    await using admin = connectClient(address, { token: adminToken });
    const { token } = await admin.access.createToken("alice");
    const gone = await admin.access.createToken("bob");
    await admin.access.change({ add: [{ subject: "alice", resource: "orders", action: "produce" }], force: true });
    await admin.access.revokeToken(gone.id);
    const madeUp = `plg_${gone.id}_${"C".repeat(43)}`;
    const password = `canary-${"p".repeat(20)}`;
    const wrong = [gone.token, madeUp, password];
    secrets.push(...[token, gone.token, madeUp].map((text) => text.slice(-43)), password);

    const authorizations = [token, adminToken, ...wrong].map((text) => `Bearer ${text}`);
    authorizations.push(`Basic ${Buffer.from(`root:${password}`).toString("base64")}`);
    secrets.push(Buffer.from(`root:${password}`).toString("base64"));
    const channel = connect({ address });
    // The wrong ones wait for their answers: all at once.
    const asked = authorizations.flatMap((authorization) =>
      accessRequests()
        .filter(({ name }) => name !== "POST /v1/access/tokens" && !name.endsWith("/CreateToken"))
        .map(async (one) => {
          const http = async (method: string, path: string, options: Parameters<typeof node.send>[2]) => {
            const answer = await node.send(method, path, options);
            said.push(answer.text, JSON.stringify(answer.headers));
            return answer;
          };
          said.push(String(await one.ask({ channel, authorization, http })));
        }),
    );
    await Promise.all(asked);
    await channel.close();

    const shown = [token, adminToken, ...wrong].map(async (text, at) => {
      await using client = connectClient(address, { token: text });
      const calls = [client.listTopics(), client.access.describe(), client.append([{ value: "x" }], { topic: "payments" })];
      for (const { reason } of await Promise.all(calls.map(settled))) said.push(inspect(reason, { depth: 10 }));
      said.push(inspect(client, { depth: 1 }));
      const file = join(folder, `token-${at}`);
      writeFileSync(file, text, { mode: 0o600 });
      const commands = [
        ["topics", "list"],
        ["acl", "list", "--json"],
        ["tokens", "list"],
        ["produce", "--topic", "p", "x"],
      ];
      const runs = commands.map(async (argv) => {
        const io = new MemoryIo({ stdin: "", env: { PROGLOG_SERVER: address } });
        await main([...argv, "--token-file", file, "--verbose"], io);
        said.push(io.stdout.text, io.stderr.text);
      });
      await Promise.all(runs);
    });
    await Promise.all(shown);
    for (const path of ["/metrics", "/v1/status", "/v1/access", "/v1/cluster", "/v1/topics"])
      said.push((await node.get(path, { headers: { authorization: `Bearer ${adminToken}` } })).text);
    await node.node.close();
    said.push(JSON.stringify(node.lines), inspect(node.lines, { depth: 10 }));
    const files = filesIn(disk, "/data");
    assert.ok(
      files.some(({ path, text }) => path.endsWith("/audit.log") && text.includes('"bad-token"') && text.includes("alice")),
    );
    assert.ok(files.some(({ path, text }) => path.endsWith("/manifest") && text.includes("alice")));
    said.push(...files.map(({ text }) => text));

    assert.ok(said.length > 300);
    for (const secret of secrets)
      for (const text of said) {
        const at = text.indexOf(secret.slice(0, 20));
        assert.equal(at, -1, `…${text.slice(Math.max(0, at - 100), at + 10)}`);
      }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

async function settled(promise: Promise<unknown>): Promise<{ readonly reason: unknown }> {
  try {
    await promise;
    return { reason: undefined };
  } catch (reason) {
    return { reason };
  }
}

async function writeTo(disk: Disk, path: string, text: string): Promise<void> {
  const file = disk.open(path, "create");
  await file.write([Buffer.from(text)], 0);
  file.close();
}

function filesIn(disk: Disk, directory: string): readonly { readonly path: string; readonly text: string }[] {
  return disk.list(directory).flatMap((name) => {
    const path = join(directory, name);
    if (disk.isDirectory(path)) return filesIn(disk, path);
    const file = disk.open(path, "read");
    const bytes = Buffer.alloc(file.size());
    file.readSync(bytes, 0);
    file.close();
    return [{ path, text: bytes.toString("latin1") }];
  });
}
