import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Disk } from "../src/base/disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { isProglogError } from "../src/base/error.ts";
import { connect } from "../src/client/index.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** What holds when a node has just started: it must never be open for a moment. */
describe("a node that starts", () => {
  async function codeOf(node: TestNode, token?: string): Promise<string> {
    await using client = connect(`127.0.0.1:${node.port}`, token === undefined ? {} : { token });
    try {
      await client.append([{ value: "x" }], { topic: "orders" });
      return "ok";
    } catch (error) {
      if (isProglogError(error)) return error.code;
      throw error;
    }
  }

  test("knows the rules and tokens that it had", async () => {
    const disk = createMemoryDisk();
    let token = "";
    {
      await using node = await startTestNode({ disk });
      await using client = connect(`127.0.0.1:${node.port}`);
      ({ token } = await client.access.createToken("root"));
      await client.access.change({
        add: ["admin", "produce"].map((action) => ({ subject: "root", resource: "*", action })),
      });
    }
    await using node = await startTestNode({ disk });
    assert.deepEqual([await codeOf(node), await codeOf(node, token)], ["UNAUTHENTICATED", "ok"]);
  });

  test("begins with the book's files, which only its own token changes", async () => {
    const disk = createMemoryDisk();
    await write(disk, "/policy.csv", "p, root, *, produce\np, root, *, consume\n");
    await write(disk, "/admin.token", "t".repeat(40));
    const flags = { "acl-policy-file": "/policy.csv", "admin-token-file": "/admin.token" };
    await using node = await startTestNode({ disk, flags });
    assert.equal(await codeOf(node), "UNAUTHENTICATED");
    await using admin = connect(`127.0.0.1:${node.port}`, { token: "t".repeat(40) });
    const { token } = await admin.access.createToken("root");
    assert.equal(await codeOf(node, token), "ok");
    await using root = connect(`127.0.0.1:${node.port}`, { token });
    await assert.rejects(root.access.describe(), { code: "PERMISSION_DENIED" });
    await admin.access.change({ remove: [{ subject: "root", resource: "*", action: "produce" }] });
    assert.equal(await codeOf(node, token), "PERMISSION_DENIED");
  });

  test("goes by a model of casbin from its first request on, and the next time, too", async () => {
    const disk = createMemoryDisk();
    await write(disk, "/model.conf", prefixModel);
    await write(disk, "/policy.csv", "p, alice, orders, produce\np, alice, *, admin\n");
    const flags = { "acl-model-file": "/model.conf", "acl-policy-file": "/policy.csv", "admin-token-file": "/admin.token" };
    await write(disk, "/admin.token", "t".repeat(40));
    let token = "";
    {
      await using node = await startTestNode({ disk, flags });
      assert.equal(await codeOf(node), "UNAUTHENTICATED");
      await using admin = connect(`127.0.0.1:${node.port}`, { token: "t".repeat(40) });
      ({ token } = await admin.access.createToken("alice"));
      assert.equal(await codeOf(node, token), "ok");
    }
    // The files seeded it; now it is the manifest's.
    await using node = await startTestNode({ disk });
    assert.deepEqual([await codeOf(node), await codeOf(node, token)], ["UNAUTHENTICATED", "ok"]);
  });
});

async function write(disk: Disk, path: string, text: string): Promise<void> {
  const file = disk.open(path, "create");
  await file.write([Buffer.from(text)], 0);
  file.close();
}

const prefixModel = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act
`;
