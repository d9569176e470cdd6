import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { topicSettingNames } from "../base/topic-settings.ts";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";
import { MemoryIo } from "./memory-io.ts";

/** A server that does what the real one does only on a bad day. */
async function startStub(listener: RequestListener): Promise<AsyncDisposable & { readonly address: string }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function sendJson(response: ServerResponse, json: object, status = 200): void {
  response.writeHead(status, { "content-type": status < 400 ? "application/json; charset=utf-8" : "application/problem+json" });
  response.end(JSON.stringify(json));
}

/** Appends lines to a log of its own as they come, and answers what came together; after `count` answers it is for `after`. */
function appendingStub(
  count: number,
  after: (request: IncomingMessage, response: ServerResponse) => void,
  isDurable = true,
): RequestListener {
  let answers = 0;
  let nextOffset = 0;
  return (request, response) => {
    request.on("data", (chunk: Buffer) => {
      answers += 1;
      if (answers > count) return after(request, response);
      const records = chunk.toString().split("\n").length - 1;
      if (!response.headersSent) response.writeHead(200, { "content-type": "application/x-ndjson" });
      response.write(`${JSON.stringify({ partition: 0, baseOffset: nextOffset, count: records, isDurable })}\n`);
      nextOffset += records;
    });
    request.on("end", () => response.end());
    // One that is cut off is the client's end, too.
    request.on("error", () => {});
  };
}

async function run(
  argv: readonly string[],
  io: MemoryIo = new MemoryIo(),
): Promise<{ code: number; stdout: string; stderr: string }> {
  const code = await main(argv, io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

test("help and version go to standard output and end well", async () => {
  const help = await run(["--help"]);
  assert.equal(help.code, exitCodes.done);
  assert.match(help.stdout, /^Usage: proglog /);
  assert.match(help.stdout, /Exit codes:\n {2}0 /);
  assert.equal(help.stderr, "");
  assert.match((await run(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
});

test("every command has help with an example", async () => {
  const commands = ["serve", "produce", "consume", "topics", "inspect", "verify", "repair"];
  const topics = ["list", "create", "describe", "alter", "delete"].map((command) => ["topics", command]);
  for (const command of [...commands.map((name) => [name]), ...topics]) {
    const { code, stdout } = await run([...command, "--help"]);
    assert.equal(code, exitCodes.done);
    assert.match(stdout, new RegExp(`Example[\\s\\S]*\\$ .*proglog ${command.join(" ")}`), command.join(" "));
  }
});

test("serve's help names each key of the configuration with its default and its variable", async () => {
  const { stdout } = await run(["serve", "--help"]);
  assert.match(stdout.replaceAll(/\s+/g, " "), /--rpc-port <number> .*\(default: 8000, env: PROGLOG_RPC_PORT\)/);
  assert.match(
    stdout.replaceAll(/\s+/g, " "),
    /--segment-max-bytes <size> .*\(default: 256MiB, env: PROGLOG_SEGMENT_MAX_BYTES\)/,
  );
});

test("the help of topics create and alter names each setting with what it takes", async () => {
  for (const command of ["create", "alter"]) {
    const { stdout } = await run(["topics", command, "--help"]);
    for (const name of topicSettingNames) assert.match(stdout, new RegExp(`\n  ${name}=<.+>\n      [A-Z].+\\.\n`), name);
    assert.match(stdout, /\n {2}retentionMs=<duration\|unlimited>\n/);
  }
});

test("a wrong command line is told in one line, with what was meant, and nothing is done", async () => {
  for (const [argv, reason] of [
    [
      ["consume", "--folow"],
      /^proglog: INVALID_ARGUMENT: Cannot run proglog consume: unknown option '--folow' \(Did you mean --follow\?\)\n$/,
    ],
    [["bogus"], /^proglog: INVALID_ARGUMENT: Cannot run proglog: unknown command 'bogus' \(See proglog --help\)\n$/],
    [["produce", "--partition", "-1", "a"], /^proglog: INVALID_ARGUMENT: Cannot use --partition "-1": [^\n]+\n$/],
    [["produce", "--key", "a", "--key-separator", ":", "b"], /^proglog: INVALID_ARGUMENT: [^\n]+cannot be used with[^\n]+\n$/],
    [["consume", "--from", "yesterday"], /^proglog: INVALID_ARGUMENT: Cannot begin at "yesterday"[^\n]+\n$/],
    [["consume", "--format", "%x"], /^proglog: INVALID_ARGUMENT: Cannot use the format[^\n]+\n$/],
    [["consume", "--server", "https://x"], /^proglog: INVALID_ARGUMENT: Cannot use the server[^\n]+\n$/],
    [["topics", "alter", "a"], /^proglog: INVALID_ARGUMENT: Cannot alter a: there is nothing to change [^\n]+\n$/],
    [["topics", "alter", "a", "--set", "deepCheck"], /^proglog: INVALID_ARGUMENT: [^\n]+ it isn't name=value [^\n]+\n$/],
    [["topics", "alter", "a", "--set", "retentionMS=7d"], /^proglog: INVALID_ARGUMENT: [^\n]+Did you mean retentionMs\?\)\n$/],
    [
      ["topics", "create", "a", "--set", "segmentBytes=7d"],
      /^proglog: INVALID_ARGUMENT: Cannot set segmentBytes to "7d"[^\n]+\n$/,
    ],
    [
      ["topics", "alter", "a", "--set", "deepCheck=true", "--unset", "deepCheck"],
      /^proglog: INVALID_ARGUMENT: Cannot alter a: deepCheck is to be set and unset at once\n$/,
    ],
    [["topics", "alter", "a", "--partitions", "0"], /^proglog: INVALID_ARGUMENT: Cannot use --partitions "0"[^\n]+\n$/],
    [["serve", "--rpc-port", "x"], /^proglog: INVALID_CONFIG: Cannot use --rpc-port "x"[^\n]+\n$/],
    [["serve", "--bind-addr", "0.0.0.0"], /^proglog: INSECURE_ADDRESS: [^\n]+--insecure[^\n]+\n$/],
  ] as const) {
    const { code, stdout, stderr } = await run(argv);
    assert.equal(code, exitCodes.usage, argv.join(" "));
    assert.match(stderr, reason);
    assert.equal(stdout, "");
  }
});

test("no command at all shows help on standard error", async () => {
  const { code, stdout, stderr } = await run([]);
  assert.deepEqual([code, stdout], [exitCodes.usage, ""]);
  assert.match(stderr, /^Usage: proglog /);
});

test("a server that isn't there is told with its address, and what can be done", async () => {
  const stub = await startStub(() => {});
  await stub[Symbol.asyncDispose]();
  for (const argv of [["produce", "a"], ["consume"], ["consume", "--follow"], ["topics", "list"]]) {
    const { code, stderr } = await run([...argv, "--server", stub.address]);
    assert.equal(code, exitCodes.unreachable, argv.join(" "));
    assert.match(
      stderr,
      new RegExp(
        `^proglog: UNAVAILABLE: Cannot [^\n]+: no server answers at ${stub.address} \\(ECONNREFUSED\\)[^\n]+proglog serve[^\n]+\n$`,
      ),
    );
  }
});

test("the server comes from the flag, else from the environment", async () => {
  await using stub = await startStub((_request, response) => sendJson(response, { topics: [] }));
  const environment = new MemoryIo({ env: { PROGLOG_SERVER: `http://${stub.address}/` } });
  assert.equal((await run(["topics", "list"], environment)).code, exitCodes.done);
  const both = new MemoryIo({ env: { PROGLOG_SERVER: "256.256.256.256:1" } });
  assert.equal((await run(["topics", "list", "--server", stub.address], both)).code, exitCodes.done);
});

test("a connection lost under a produce leaves its lines in doubt, and the error says which and what is safe", async () => {
  await using stub = await startStub(appendingStub(1, (request) => request.socket.destroy()));
  const io = new MemoryIo();
  io.stdin.write("1\n2\n");
  const running = run(["produce", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 2\n/);
  io.stdin.end("3\n4\n5\n");
  const { code, stdout, stderr } = await running;
  assert.equal(code, exitCodes.unknown);
  assert.equal(stdout, "0 2\n");
  assert.match(
    stderr,
    /^proglog: UNAVAILABLE: Cannot produce to default: the connection to [^\n]+ was lost \(\w+\); 2 records acknowledged, offsets 0-1; the first line not acknowledged is 3; lines 3 to 5 may have been appended all the same\n$/,
  );
});

test("a server that goes while nothing is under way leaves nothing in doubt", async () => {
  const server = await startStub(appendingStub(1, () => {}));
  const io = new MemoryIo();
  io.stdin.write("1\n2\n");
  const running = run(["produce", "--print-offsets", "--server", server.address], io);
  await io.stdout.waitFor(/^0 2\n/);
  await server[Symbol.asyncDispose]();
  // The other end hears of it in one of its next turns.
  for (let turn = 0; turn < 50; turn += 1) await setImmediate();
  io.stdin.end("3\n");
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.unreachable);
  assert.match(stderr, /; 2 records acknowledged, offsets 0-1; the first line not acknowledged is 3 \(Start one[^\n]+\n$/);
});

test("a refused request is told in the server's words, and its outcome decides the exit code", async () => {
  for (const [outcome, expected] of [
    ["not-appended", exitCodes.failed],
    ["unknown", exitCodes.unknown],
  ] as const) {
    const problem = { code: "DISK_FULL", detail: "Cannot append: no space is left", hint: "Make room.", outcome };
    await using stub = await startStub((_request, response) => sendJson(response, problem, 507));
    const { code, stderr } = await run(["produce", "a", "b", "--server", stub.address]);
    assert.equal(code, expected);
    const doubt = outcome === "unknown" ? "; values 1 to 2 may have been appended all the same" : "";
    assert.equal(
      stderr,
      `proglog: DISK_FULL: Cannot append: no space is left; 0 records acknowledged; the first value not acknowledged is 1${doubt} (Make room)\n`,
    );
  }
});

test("a code of a later server is shown as it is", async () => {
  await using stub = await startStub((_request, response) =>
    sendJson(response, { code: "QUOTA_SPENT", detail: "No more" }, 429),
  );
  const { code, stderr } = await run(["topics", "list", "--server", stub.address]);
  assert.deepEqual([code, stderr], [exitCodes.failed, "proglog: QUOTA_SPENT: No more\n"]);
});

test("what answers and is no proglog is told as such", async () => {
  await using stub = await startStub((_request, response) =>
    response.writeHead(200, { "content-type": "text/html" }).end("<p>hello"),
  );
  const read = await run(["topics", "list", "--server", stub.address]);
  assert.equal(read.code, exitCodes.unreachable);
  assert.match(read.stderr, /what answers at [^\n]+ is no proglog \(HTTP 200 with text\/html\)/);
  assert.equal((await run(["produce", "a", "--server", stub.address])).code, exitCodes.unknown);
});

test("an answer that is cut off is a lost connection, not a shorter answer", async () => {
  await using stub = await startStub((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.write('{"topics":[]}');
    response.socket?.end();
  });
  const { code, stderr } = await run(["topics", "list", "--server", stub.address]);
  assert.equal(code, exitCodes.unreachable);
  assert.match(stderr, /the connection to [^\n]+ was lost/);
});

test("a line too long is named, after what came before it is acknowledged", async () => {
  await using stub = await startStub(appendingStub(9, () => {}));
  const io = new MemoryIo({ stdin: `1\n2\n${"x".repeat(1024 * 1024 + 1)}\n4\n` });
  const { code, stderr } = await run(["produce", "--server", stub.address], io);
  assert.equal(code, exitCodes.failed);
  assert.match(
    stderr,
    /^proglog: RECORD_TOO_LARGE: Cannot produce line 3: it is longer than 1048576 bytes; 2 records acknowledged, offsets 0-1 \([^\n]+\)\n$/,
  );
});

test("a server that refuses a line is heard, and the line counts from the first that was read", async () => {
  const problem = { code: "RECORD_TOO_LARGE", detail: "Cannot accept line 2: it is too large", outcome: "not-appended" };
  await using stub = await startStub(
    appendingStub(1, (_request, response) => void response.end(`${JSON.stringify({ error: problem, line: 2 })}\n`)),
  );
  const io = new MemoryIo();
  io.stdin.write("1\n");
  const running = run(["produce", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 1\n/);
  io.stdin.end("2\n3\n");
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.failed);
  assert.match(
    stderr,
    /^proglog: RECORD_TOO_LARGE: Cannot accept line 2: it is too large; 1 record acknowledged, offset 0; the first line not acknowledged is 2\n$/,
  );
});

test("an answer that ends before everything is acknowledged leaves the rest in doubt", async () => {
  await using stub = await startStub(appendingStub(1, (_request, response) => void response.end()));
  const io = new MemoryIo();
  io.stdin.write("1\n");
  const running = run(["produce", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 1\n/);
  io.stdin.end("2\n");
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.unknown);
  assert.match(stderr, /; 1 record acknowledged, offset 0; the first line not acknowledged is 2; line 2 may have been/);
});

test("Ctrl-C on produce waits for what is under way, and a second one ends the process at once", async () => {
  let answer: (() => void) | undefined;
  const asked = Promise.withResolvers<void>();
  await using stub = await startStub((request, response) => {
    request.once("data", () => asked.resolve());
    answer = () => {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      response.end(`${JSON.stringify({ partition: 0, baseOffset: 0, count: 1, isDurable: true })}\n`);
    };
  });
  const io = new MemoryIo();
  io.stdin.write("1\n");
  const running = run(["produce", "--server", stub.address], io);
  await asked.promise;
  assert.ok(io.send("SIGINT"));
  io.stdin.write("2\n");
  assert.equal(io.exitedWith, undefined);
  io.send("SIGINT");
  assert.equal(io.exitedWith, exitCodes.interrupted);
  answer?.();
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.interrupted);
  assert.equal(stderr, "1 record, offset 0; stopped\n");
});

test("acknowledgements without a sync are told", async () => {
  await using stub = await startStub(appendingStub(1, () => {}, false));
  const { code, stderr } = await run(["produce", "a", "--server", stub.address]);
  assert.equal(code, exitCodes.done);
  assert.match(stderr, /^1 record, offset 0; acknowledged before they are synced/);
});

test("when nobody reads offsets or progress any more, the records are sent all the same", async () => {
  let body = "";
  const append = appendingStub(9, () => {});
  await using stub = await startStub((request, response) => {
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    append(request, response);
  });
  const io = new MemoryIo();
  io.stdout.breakPipe();
  io.stderr.breakPipe();
  io.stdin.write("1\n");
  const running = run(["produce", "--print-offsets", "--progress", "--server", stub.address], io);
  io.stdin.end("2\n");
  const { code } = await running;
  assert.equal(code, exitCodes.done);
  assert.equal(body, '{"value":"1"}\n{"value":"2"}\n');
});

test("a reader that follows goes on at its next offset when the server was away", async () => {
  const asked: string[] = [];
  await using stub = await startStub((request, response) => {
    asked.push(new URL(request.url ?? "", "http://x").searchParams.get("from") ?? "");
    const record = { timestamp: 0, key: null, headers: [] };
    switch (asked.length) {
      case 1:
        return sendJson(response, { records: [{ ...record, offset: 4, value: "a" }], nextOffset: 5, highWatermark: 5 });
      case 2:
        return void request.socket.destroy();
      case 3:
        return sendJson(response, { code: "UNAVAILABLE", detail: "Cannot serve yet" }, 503);
      case 4:
        return sendJson(response, { records: [{ ...record, offset: 5, value: "b" }], nextOffset: 6, highWatermark: 6 });
    }
  });
  const io = new MemoryIo();
  const running = run(["consume", "--follow", "--from", "4", "--server", stub.address], io);
  await io.stdout.waitFor(/b\n/);
  io.send("SIGINT");
  const { code, stdout, stderr } = await running;
  assert.deepEqual([code, stdout], [exitCodes.done, "a\nb\n"]);
  assert.deepEqual(asked.slice(0, 4), ["4", "5", "5", "5"]);
  assert.match(
    stderr,
    /^proglog: Cannot consume default: [^\n]+ was lost[^\n]+; trying again until it answers\nproglog: [^\n]+ answers again\n$/,
  );
});

test("a reader ends where the partition ended when it began, though a producer goes on", async () => {
  let nextOffset = 0;
  await using stub = await startStub((request, response) => {
    assert.equal(
      new URL(request.url ?? "", "http://x").searchParams.get("from"),
      nextOffset === 0 ? "start" : String(nextOffset),
    );
    const records = [0, 1].map((step) => ({
      offset: nextOffset + step,
      timestamp: 0,
      key: null,
      value: `${nextOffset + step}`,
      headers: [],
    }));
    nextOffset += 2;
    sendJson(response, { records, nextOffset, highWatermark: nextOffset + 1 });
  });
  const { code, stdout } = await run(["consume", "--server", stub.address]);
  assert.deepEqual([code, stdout], [exitCodes.done, "0\n1\n2\n"]);
});

test("a reader whose output is closed ends quietly", async () => {
  await using stub = await startStub((_request, response) => {
    const records = Array.from({ length: 100 }, (_, offset) => ({ offset, timestamp: 0, key: null, value: "x", headers: [] }));
    sendJson(response, { records, nextOffset: 100, highWatermark: 1_000_000 });
  });
  const io = new MemoryIo();
  const running = run(["consume", "--server", stub.address], io);
  await io.stdout.waitFor(/x\n/);
  io.stdout.breakPipe();
  const { code, stderr } = await running;
  assert.deepEqual([code, stderr], [exitCodes.done, ""]);
});

test("--verbose shows the causes below the line", async () => {
  const stub = await startStub(() => {});
  await stub[Symbol.asyncDispose]();
  const { stderr } = await run(["topics", "list", "--server", stub.address, "--verbose"]);
  assert.match(stderr, /^proglog: UNAVAILABLE: [^\n]+\n(?:[^\n]+\n)*caused by: [^\n]*ECONNREFUSED/);
});
