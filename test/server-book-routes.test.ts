import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { nodeDisk } from "../src/base/node-disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { recordMaxBytes } from "../src/base/limits.ts";
import { createSimDisk } from "../sim/disk.ts";
import { startTestNode } from "./test-node.ts";

/** The book's two routes, as docs/http.md has them. */
describe("POST / and GET /", () => {
  test("a record posted is got back by its offset, in the book's shapes", async () => {
    await using node = await startTestNode();
    const posted = await node.post("/", '{"record":{"value":"aGVsbG8gd29ybGQ="}}');
    assert.equal(posted.status, 200);
    assert.equal(posted.text, '{"offset":0}\n');
    const got = await node.get("/", { body: '{"offset":0}' });
    assert.equal(got.status, 200);
    assert.equal(got.text, '{"record":{"value":"aGVsbG8gd29ybGQ=","offset":0}}\n');
  });

  test("offsets are dense from 0", async () => {
    await using node = await startTestNode();
    for (let offset = 0; offset < 5; offset += 1)
      assert.equal((await node.post("/", record(`${offset}`))).text, `{"offset":${offset}}\n`);
    for (let offset = 0; offset < 5; offset += 1)
      assert.equal(valueOf((await node.get("/", { body: `{"offset":${offset}}` })).text), `${offset}`);
  });

  test("the offset may stand in the query, where it goes before a body", async () => {
    await using node = await startTestNode();
    await node.post("/", record("a"));
    await node.post("/", record("b"));
    assert.equal(valueOf((await node.get("/?offset=1")).text), "b");
    assert.equal(valueOf((await node.get("/?offset=1", { body: '{"offset":0}' })).text), "b");
  });

  test("an offset that isn't there is 404, in a log with records and in one without", async () => {
    await using node = await startTestNode();
    const empty = await node.get("/?offset=0");
    assert.equal(empty.status, 404);
    await node.post("/", record("a"));
    for (const answer of [await node.get("/?offset=1"), await node.get("/", { body: '{"offset":9007199254740991}' })]) {
      assert.equal(answer.status, 404);
      assert.equal(answer.text, "offset not found\n");
      assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
      assert.equal(answer.headers["x-content-type-options"], "nosniff");
    }
  });

  test("a GET doesn't create the topic", async () => {
    await using node = await startTestNode();
    await node.get("/?offset=0");
    assert.deepEqual(await node.json("GET", "/v1/topics"), { topics: [] });
  });

  test("a GET without an offset means 0", async () => {
    await using node = await startTestNode();
    await node.post("/", record("a"));
    assert.equal(valueOf((await node.get("/", { body: "{}" })).text), "a");
    assert.equal(valueOf((await node.get("/", { body: '{"offset":null}' })).text), "a");
  });

  const wrongBodies: readonly (readonly [string, string | Buffer, RegExp])[] = [
    ["nothing", "", /^EOF\n$/],
    ["blanks", " \n", /^EOF\n$/],
    ["no JSON", "hello", /./],
    ["JSON that ends early", '{"record":{"value":"aGVsbG8="}', /./],
    ["an array", "[]", /./],
    ["a number", "1", /./],
    ["a record that is text", '{"record":"aGVsbG8="}', /./],
    ["a value that is a number", '{"record":{"value":1}}', /base64/],
    ["Base64 without its padding", '{"record":{"value":"aGVsbG8"}}', /base64/],
    ["URL-safe Base64", '{"record":{"value":"_-__"}}', /base64/],
    ["a blank in Base64", '{"record":{"value":"aGVs bG8="}}', /base64/],
    ["bytes that are no text", Buffer.from([0xff, 0xfe]), /./],
  ];
  for (const [what, body, text] of wrongBodies) {
    test(`a POST of ${what} is 400, and nothing is appended`, async () => {
      await using node = await startTestNode();
      await node.post("/", record("a"));
      const answer = await node.send("POST", "/", { body });
      assert.equal(answer.status, 400);
      assert.match(answer.text, text);
      assert.equal(answer.headers["x-content-type-options"], "nosniff");
      assert.equal((await node.post("/", record("b"))).text, '{"offset":1}\n');
    });
  }

  const wrongOffsets = ["-1", "1.5", '"1"', "9007199254740992", "1e400", "true", "[]", "{}"];
  for (const offset of wrongOffsets) {
    test(`a GET of offset ${offset} is 400`, async () => {
      await using node = await startTestNode();
      assert.equal((await node.get("/", { body: `{"offset":${offset}}` })).status, 400);
    });
  }

  test("a GET without a body, or of an offset in the query that is none, is 400", async () => {
    await using node = await startTestNode();
    assert.equal((await node.get("/")).text, "EOF\n");
    for (const path of [
      "/",
      "/?offset=",
      "/?offset=-1",
      "/?offset=1.0",
      "/?offset=x",
      "/?offset=1&offset=2",
      "/?offset=9007199254740992",
    ]) {
      assert.equal((await node.get(path)).status, 400, path);
    }
  });

  test("unknown fields, the record's offset, and what follows the first JSON value are ignored", async () => {
    await using node = await startTestNode();
    const body = '{"x":[1],"record":{"offset":7,"term":9,"type":5,"value":"YQ=="}} trailing {"record":';
    assert.equal((await node.post("/", body)).text, '{"offset":0}\n');
    assert.equal((await node.get("/", { body: '{"offset":0,"x":1}]' })).text, '{"record":{"value":"YQ==","offset":0}}\n');
  });

  test("a record without a value is stored, and comes back as null", async () => {
    await using node = await startTestNode();
    for (const [offset, body] of ["{}", '{"record":{}}', '{"record":null}', '{"record":{"value":null}}', "null"].entries()) {
      assert.equal((await node.post("/", body)).text, `{"offset":${offset}}\n`, body);
      assert.equal((await node.get(`/?offset=${offset}`)).text, `{"record":{"value":null,"offset":${offset}}}\n`);
    }
  });

  test("an empty value isn't null", async () => {
    await using node = await startTestNode();
    await node.post("/", '{"record":{"value":""}}');
    assert.equal((await node.get("/?offset=0")).text, '{"record":{"value":"","offset":0}}\n');
  });

  test("fields are known in any case, the last of several counting, as Go has them", async () => {
    await using node = await startTestNode();
    await node.post("/", '{"RECORD":{"value":"YQ=="},"Record":{"Value":"Yg=="}}');
    assert.equal(valueOf((await node.get("/", { body: '{"Offset":0}' })).text), "b");
  });

  test("every byte is stored as it was sent", async () => {
    await using node = await startTestNode();
    const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString("base64");
    await node.post("/", { record: { value } });
    assert.equal((JSON.parse((await node.get("/?offset=0")).text) as BookAnswer).record.value, value);
  });

  test("the content type is not looked at", async () => {
    await using node = await startTestNode();
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "nonsense", "a/b;;", "multipart/form-data"]) {
      assert.equal((await node.post("/", record("a"), { "content-type": type })).status, 200, type);
    }
  });

  test("other methods on / are 405 with no body, and say what there is", async () => {
    await using node = await startTestNode();
    for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND"]) {
      const answer = await node.send(method, "/");
      assert.equal(answer.status, 405, method);
      assert.equal(answer.text, "");
      assert.equal(answer.headers["allow"], "POST, GET");
    }
  });

  test("other paths are 404 in plain text", async () => {
    await using node = await startTestNode();
    for (const path of ["/x", "/favicon.ico", "/v1", "/records/0", "/..%2f", "/%", "//"]) {
      const answer = await node.get(path);
      assert.equal(answer.status, path === "/%" ? 400 : 404, path);
      if (path !== "/%") assert.equal(answer.text, "404 page not found\n");
    }
  });

  test("a record of the largest size is taken, and one byte more is 413", async () => {
    await using node = await startTestNode();
    const value = (bytes: number): object => ({ record: { value: Buffer.alloc(bytes).toString("base64") } });
    assert.equal((await node.post("/", value(recordMaxBytes))).status, 200);
    const answer = await node.post("/", value(recordMaxBytes + 1));
    assert.equal(answer.status, 413);
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert.equal((await node.post("/", record("a"))).text, '{"offset":1}\n');
  });

  test("requests at once all get an offset of their own", async () => {
    await using node = await startTestNode();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, number) => node.post("/", record(`${number}`))));
    const offsets = answers.map(({ text }) => (JSON.parse(text) as { offset: number }).offset);
    assert.deepEqual(
      offsets.toSorted((a, b) => a - b),
      Array.from({ length: 50 }, (_, number) => number),
    );
    for (const [number, offset] of offsets.entries())
      assert.equal(valueOf((await node.get(`/?offset=${offset}`)).text), `${number}`);
  });

  test("records are there after a restart, in memory and in a real directory", async () => {
    const directory = mkdtempSync(join(tmpdir(), "proglog-"));
    try {
      for (const [disk, dataDir] of [[createMemoryDisk(), "/data"] as const, [nodeDisk, directory] as const]) {
        const flags = { "data-dir": dataDir };
        {
          await using node = await startTestNode({ disk, flags });
          for (const value of ["a", "b", "c"]) await node.post("/", record(value));
        }
        await using node = await startTestNode({ disk, flags });
        assert.equal(valueOf((await node.get("/?offset=2")).text), "c");
        assert.equal((await node.post("/", record("d"))).text, '{"offset":3}\n');
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("a POST is answered after the sync, and not before", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    await node.post("/", record("a"));
    const hold = disk.holdSync({ path: ".store" });
    let isAnswered = false;
    const answer = node.post("/", record("b")).then((given) => {
      isAnswered = true;
      return given;
    });
    await hold.waiting(1);
    // The node answers others meanwhile, and shows nobody what isn't durable.
    assert.equal((await node.get("/?offset=1")).status, 404);
    assert.equal(isAnswered, false);
    hold.release();
    assert.equal((await answer).text, '{"offset":1}\n');
  });

  test("a write that fails is 500 in plain text, and no later one succeeds", async () => {
    const disk = createSimDisk();
    await using node = await startTestNode({ disk });
    await node.post("/", record("a"));
    disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    for (const value of ["b", "c"]) {
      const answer = await node.post("/", record(value));
      assert.equal(answer.status, 500);
      assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
      assert.doesNotMatch(answer.text, / at |\.ts/);
    }
    assert.equal(valueOf((await node.get("/?offset=0")).text), "a");
  });

  test("without auto-create a POST to a topic that isn't there is 404", async () => {
    await using node = await startTestNode({ flags: { "auto-create-topics": false } });
    assert.equal((await node.post("/", record("a"))).status, 404);
    await node.json("POST", "/v1/topics", { body: '{"name":"default"}', status: 201 });
    assert.equal((await node.post("/", record("a"))).status, 200);
  });
});

interface BookAnswer {
  readonly record: { readonly value: string; readonly offset: number };
}

function record(text: string): string {
  return JSON.stringify({ record: { value: Buffer.from(text).toString("base64") } });
}

function valueOf(answer: string): string {
  return Buffer.from((JSON.parse(answer) as BookAnswer).record.value, "base64").toString();
}
