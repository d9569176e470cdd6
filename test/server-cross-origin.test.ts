import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startTestNode } from "./test-node.ts";

/** What browsers ask, and what their pages get. */
describe("pages of other sites", () => {
  const path = "/v1/topics/orders/records";
  const app = "https://app.example";
  const preflight = { "access-control-request-method": "POST", "access-control-request-headers": "content-type" };

  test("that are allowed may ask ahead, send, and read what they get, errors too", async () => {
    await using node = await startTestNode({ flags: { "allow-origin": `http://localhost:5173,${app}` } });
    const asked = await node.send("OPTIONS", path, { headers: { origin: app, ...preflight } });
    assert.equal(asked.status, 204);
    assert.equal(asked.headers["access-control-allow-origin"], app);
    assert.match(String(asked.headers["access-control-allow-methods"]), /POST/);
    assert.match(String(asked.headers["access-control-allow-headers"]), /content-type.*last-event-id/);
    for (const answer of [
      await node.post(path, { value: "a" }, { origin: app }),
      await node.get(path, { headers: { origin: app } }),
      await node.get("/v1/topics/none", { headers: { origin: app } }),
      await node.get("/none", { headers: { origin: app } }),
    ]) {
      assert.equal(answer.headers["access-control-allow-origin"], app);
      assert.equal(answer.headers["vary"], "origin");
      assert.equal(answer.headers["access-control-allow-credentials"], undefined);
    }
  });

  test("that aren't get nothing, and are named nowhere", async () => {
    await using node = await startTestNode({ flags: { "allow-origin": app } });
    for (const answer of [
      await node.send("OPTIONS", path, { headers: { origin: "https://evil.example", ...preflight } }),
      await node.post(path, { value: "a" }, { origin: "https://evil.example" }),
    ]) {
      assert.equal(answer.status, 403);
      assert.equal(answer.headers["access-control-allow-origin"], undefined);
    }
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [] });
  });

  test("are none on a node that isn't told of any, and a program's OPTIONS is a method like another", async () => {
    await using node = await startTestNode();
    assert.equal((await node.send("OPTIONS", path, { headers: { origin: app, ...preflight } })).status, 403);
    const plain = await node.send("OPTIONS", path);
    assert.equal(plain.status, 405);
    assert.equal(plain.headers["vary"], undefined);
  });
});
