import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { GrpcPair } from "../../test/grpc-pair.ts";
import { findFreePorts } from "../../test/free-ports.ts";
import { openStranger, openStubNode, type StubHandlers } from "../../test/stub-node.ts";
import { startTestNode } from "../../test/test-node.ts";
import { waitUntil } from "../../test/wait-until.ts";
import { ProglogError } from "../base/error.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { topicSettingNames } from "../base/topic-settings.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { GrpcStatusError } from "../grpc/index.ts";
import { parseConfig, startNode } from "../server/index.ts";
import { encodeConsumeResponse } from "../wire/consume-message.ts";
import { toGrpcStatus } from "../wire/grpc-status.ts";
import type { StartingPoint } from "../wire/starting-point.ts";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";
import { MemoryIo } from "./memory-io.ts";

/** Appends what comes to a log of its own. After so many requests it does what `after` does. */
function appending(count: number, after: (node: GrpcPair) => void = () => {}): StubHandlers {
  let nextOffset = 0;
  let requests = 0;
  return {
    produce(values, node) {
      requests += 1;
      if (requests > count) {
        after(node);
        return undefined;
      }
      nextOffset += values.length;
      return nextOffset - values.length;
    },
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
  const commands = [
    "serve",
    "produce",
    "consume",
    "topics",
    "getservers",
    "health",
    "bench",
    "certs",
    "inspect",
    "verify",
    "repair",
    "doctor",
    "log-level",
  ];
  const topics = ["list", "create", "describe", "alter", "delete"].map((command) => ["topics", command]);
  const clusters = ["status", "remove", "transfer", "move"].map((command) => ["cluster", command]);
  const acls = ["add", "remove", "list", "test"].map((command) => ["acl", command]);
  const tokens = ["create", "list", "revoke"].map((command) => ["tokens", command]);
  const benches = ["produce", "consume"].map((command) => ["bench", command]);
  const configs = ["check", "show"].map((command) => ["config", command]);
  const certs = ["init", "node", "client", "revoke"].map((command) => ["certs", command]);
  for (const command of [
    ...commands.map((name) => [name]),
    ...topics,
    ...clusters,
    ...acls,
    ...tokens,
    ...benches,
    ...configs,
    ...certs,
  ]) {
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
    [["consume", "--server", "ftp://x"], /^proglog: INVALID_ARGUMENT: Cannot use the server[^\n]+\n$/],
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
    [["bench", "produce", "--size", "2MiB"], /^proglog: INVALID_ARGUMENT: Cannot use --size "2MiB"[^\n]+\n$/],
    [["bench", "produce", "--duration", "soon"], /^proglog: INVALID_ARGUMENT: Cannot use --duration "soon"[^\n]+\n$/],
    [
      ["bench", "produce", "--count", "1", "--duration", "1s"],
      /^proglog: INVALID_ARGUMENT: [^\n]+cannot be used with[^\n]+\n$/,
    ],
    [["bench", "produce", "--outstanding", "10001"], /^proglog: INVALID_ARGUMENT: Cannot use --outstanding "10001"[^\n]+\n$/],
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
  const stub = await openStubNode();
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
  await using stub = await openStubNode();
  const environment = new MemoryIo({ env: { PROGLOG_SERVER: `http://${stub.address}/` } });
  assert.equal((await run(["topics", "list"], environment)).code, exitCodes.done);
  const both = new MemoryIo({ env: { PROGLOG_SERVER: "256.256.256.256:1" } });
  assert.equal((await run(["topics", "list", "--server", stub.address], both)).code, exitCodes.done);
});

test("a connection lost under a produce leaves its lines in doubt, and the error says which and what is safe", async () => {
  await using stub = await openStubNode(appending(1, (node) => node.cut()));
  const io = new MemoryIo();
  io.stdin.write("1\n2\n");
  const running = run(["produce", "--no-retry", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 2\n/);
  io.stdin.end("3\n4\n5\n");
  const { code, stdout, stderr } = await running;
  assert.equal(code, exitCodes.unknown);
  assert.equal(stdout, "0 2\n");
  assert.match(
    stderr,
    /^proglog: UNAVAILABLE: Cannot produce to default: the connection to [^\n]+ was lost; 2 records acknowledged, offsets 0-1; the first line not acknowledged is 3; lines 3 to 5 may have been appended all the same\n$/,
  );
});

test("a connection lost under a produce is made again, and what isn't acknowledged is sent again under its numbers", async () => {
  const sequences: number[] = [];
  let requests = 0;
  await using stub = await openStubNode({
    produce(values, node, { baseSequence }) {
      sequences.push(baseSequence);
      requests += 1;
      // The first answer to the second batch is lost.
      if (requests === 2) node.cut();
      return requests === 2 ? undefined : baseSequence;
    },
  });
  const io = new MemoryIo();
  io.stdin.write("1\n2\n");
  const running = run(["produce", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 2\n/);
  io.stdin.end("3\n4\n");
  const { code, stdout, stderr } = await running;
  assert.deepEqual([code, stdout], [exitCodes.done, "0 2\n2 2\n"]);
  assert.deepEqual(sequences, [0, 2, 2]);
  assert.match(
    stderr,
    /^proglog: Cannot produce to default: the connection to [^\n]+ was lost; trying again for 30 s\n4 records, offsets 0-3\n$/,
  );
});

test("a server that goes while nothing is under way leaves nothing in doubt", async () => {
  const server = await openStubNode(appending(1));
  const io = new MemoryIo();
  io.stdin.write("1\n2\n");
  const running = run(["produce", "--no-retry", "--print-offsets", "--server", server.address], io);
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
    await using stub = await openStubNode({
      produce() {
        throw new ProglogError("DISK_FULL", "Cannot append: no space is left", { hint: "Make room.", details: { outcome } });
      },
    });
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
  await using stub = await openStubNode({
    listTopics() {
      const details = encodeStatusDetails("QUOTA_SPENT", "No more");
      throw new GrpcStatusError("RESOURCE_EXHAUSTED", "No more", { details });
    },
  });
  const { code, stderr } = await run(["topics", "list", "--server", stub.address]);
  assert.deepEqual([code, stderr], [exitCodes.failed, "proglog: QUOTA_SPENT: No more\n"]);
});

test("what answers and is no proglog is told as such", async () => {
  await using stranger = await openStranger();
  for (const argv of [["topics", "list"], ["produce", "a"], ["consume"]]) {
    const { code, stderr } = await run([...argv, "--server", stranger.address]);
    assert.equal(code, exitCodes.unreachable, argv.join(" "));
    assert.match(stderr, /Cannot [^\n]+: what answers at [^\n]+ is no proglog/);
  }
});

test("an answer that doesn't come is a lost connection, and a read leaves nothing in doubt", async () => {
  await using stub = await openStubNode({
    listTopics: (node) => {
      node.cut();
      return Buffer.alloc(0);
    },
  });
  const { code, stderr } = await run(["topics", "list", "--server", stub.address]);
  assert.equal(code, exitCodes.unreachable);
  assert.match(stderr, /Cannot list the topics: the connection to [^\n]+ was lost/);
});

test("a line too long is named, after what came before it is acknowledged", async () => {
  await using stub = await openStubNode(appending(9));
  const io = new MemoryIo({ stdin: `1\n2\n${"x".repeat(1024 * 1024 + 1)}\n4\n` });
  const { code, stderr } = await run(["produce", "--server", stub.address], io);
  assert.equal(code, exitCodes.failed);
  assert.match(
    stderr,
    /^proglog: RECORD_TOO_LARGE: Cannot produce line 3: it is longer than 1048576 bytes; 2 records acknowledged, offsets 0-1 \([^\n]+\)\n$/,
  );
});

test("a line that the server refuses is found in its batch: what stands before it is appended, and nothing behind it", async () => {
  for (const bad of [0, 1, 5, 9]) {
    const log: string[] = [];
    await using stub = await openStubNode({
      produce(values) {
        if (values.includes("bad")) throw new ProglogError("RECORD_TOO_LARGE", "Cannot append a record so large");
        log.push(...values);
        return log.length - values.length;
      },
    });
    const lines = Array.from({ length: 10 }, (_, i) => (i === bad ? "bad" : `${i}`));
    const io = new MemoryIo({ stdin: `${lines.join("\n")}\n` });
    const { code, stderr } = await run(["produce", "--server", stub.address], io);
    assert.equal(code, exitCodes.failed);
    assert.match(
      stderr,
      new RegExp(
        `^proglog: RECORD_TOO_LARGE: Cannot append a record so large; ${bad} records? acknowledged[^\n]*; the first line not acknowledged is ${bad + 1}\n$`,
      ),
    );
    assert.deepEqual(log, lines.slice(0, bad));
  }
});

test("an answer that ends before everything is acknowledged leaves the rest in doubt", async () => {
  await using stub = await openStubNode({ ...appending(1), produceAnswersMax: 1 });
  const io = new MemoryIo();
  io.stdin.write("1\n");
  const running = run(["produce", "--no-retry", "--print-offsets", "--server", stub.address], io);
  await io.stdout.waitFor(/^0 1\n/);
  io.stdin.end("2\n");
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.unknown);
  assert.match(stderr, /; 1 record acknowledged, offset 0; the first line not acknowledged is 2; line 2 may have been/);
});

test("Ctrl-C on produce waits for what is under way, and a second one ends the process at once", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<number>();
  await using stub = await openStubNode({
    produce() {
      asked.resolve();
      return answer.promise;
    },
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
  answer.resolve(0);
  const { code, stderr } = await running;
  assert.equal(code, exitCodes.interrupted);
  assert.equal(stderr, "1 record, offset 0; stopped\n");
});

test("acknowledgements without a sync are told", async () => {
  await using stub = await openStubNode({ ...appending(1), isDurable: false });
  const { code, stderr } = await run(["produce", "a", "--server", stub.address]);
  assert.equal(code, exitCodes.done);
  assert.match(stderr, /^1 record, offset 0; acknowledged before they are synced/);
});

test("when nobody reads offsets or progress any more, the records are sent all the same", async () => {
  const log: string[] = [];
  await using stub = await openStubNode({ produce: (values) => log.push(...values) - values.length });
  const io = new MemoryIo();
  io.stdout.breakPipe();
  io.stderr.breakPipe();
  io.stdin.write("1\n");
  const running = run(["produce", "--print-offsets", "--progress", "--server", stub.address], io);
  io.stdin.end("2\n");
  const { code } = await running;
  assert.equal(code, exitCodes.done);
  assert.deepEqual(log, ["1", "2"]);
});

/** A stub's answers: the batch of these values, or only where the reader stands. */
function answerOf(nextOffset: number, highWatermark: number, ...values: readonly string[]): Buffer {
  const baseOffset = nextOffset - values.length;
  const batch = values.length === 0 ? [] : [stampedBatch(baseOffset, values)];
  return encodeConsumeResponse({ records: [], batches: batch, nextOffset, logStartOffset: 0, highWatermark });
}

function stampedBatch(baseOffset: number, values: readonly string[]): Buffer {
  const batch = encodeBatch(
    values.map((value) => ({ value })),
    { now: 0 },
  );
  batch.writeBigInt64BE(BigInt(baseOffset), 0);
  return batch;
}

test("a reader that follows goes on at its next offset when the server was away", async () => {
  const asked: StartingPoint[] = [];
  await using stub = await openStubNode({
    async consume({ from }, responses, call) {
      asked.push(from);
      switch (asked.length) {
        case 1:
          await responses.send(answerOf(4, 5));
          return responses.send(answerOf(5, 5, "a"));
        case 2:
          throw new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping");
        case 3:
          await responses.send(answerOf(5, 6));
          await responses.send(answerOf(6, 6, "b"));
          await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
      }
    },
  });
  const io = new MemoryIo();
  const running = run(["consume", "--follow", "--from", "4", "--server", stub.address], io);
  await io.stdout.waitFor(/b\n/);
  io.send("SIGINT");
  const { code, stdout, stderr } = await running;
  assert.deepEqual([code, stdout], [exitCodes.done, "a\nb\n"]);
  assert.deepEqual(asked, [4, 5, 5]);
  assert.match(stderr, /^proglog: [^\n]+ ended the stream; trying again until it answers\nproglog: [^\n]+ answers again\n$/);
});

test("a reader that doesn't follow goes on, too, when the connection is lost, up to the end that it was told of at first", async () => {
  const asked: unknown[] = [];
  await using stub = await openStubNode({
    async consume({ from, atLeastOffset, leaderOnly }, responses) {
      asked.push([from, atLeastOffset, leaderOnly]);
      if (asked.length === 1) {
        await responses.send(answerOf(1, 3, "a"));
        throw new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping");
      }
      await responses.send(answerOf(3, 3, "b", "c"));
    },
  });
  const { code, stdout, stderr } = await run(["consume", "--read-from", "follower", "--server", stub.address]);
  assert.deepEqual([code, stdout], [exitCodes.done, "a\nb\nc\n"]);
  assert.deepEqual(asked, [
    ["start", 0, false],
    [1, 3, false],
  ]);
  assert.match(stderr, /^proglog: Cannot go on: the node is stopping; trying again for 30 s\nproglog: [^\n]+ answers again\n$/);
});

test("a reader ends where the partition ended when it began, though a producer goes on", async () => {
  await using stub = await openStubNode({
    async consume({ from, stopsAtEnd }, responses) {
      assert.deepEqual([from, stopsAtEnd], ["start", true]);
      await responses.send(answerOf(0, 3));
      await responses.send(answerOf(2, 5, "0", "1"));
      await responses.send(answerOf(3, 6, "2"));
      await responses.send(answerOf(6, 9, "3", "4", "5"));
    },
  });
  const { code, stdout } = await run(["consume", "--server", stub.address]);
  assert.deepEqual([code, stdout], [exitCodes.done, "0\n1\n2\n"]);
});

test("a reader whose output is closed ends quietly", async () => {
  await using stub = await openStubNode({
    async consume(_request, responses, call) {
      await responses.send(answerOf(0, 1_000_000));
      for (let offset = 1; !call.signal.aborted; offset += 1) await responses.send(answerOf(offset, 1_000_000, "x"));
    },
  });
  const io = new MemoryIo();
  const running = run(["consume", "--server", stub.address], io);
  await io.stdout.waitFor(/x\n/);
  io.stdout.breakPipe();
  const { code, stderr } = await running;
  assert.deepEqual([code, stderr], [exitCodes.done, ""]);
});

test("getservers prints what the book's command of that name does", async () => {
  await using node = await startTestNode();
  const address = `127.0.0.1:${node.port}`;
  const { code, stdout } = await run(["getservers", "--addr", address]);
  assert.equal(code, exitCodes.done);
  assert.equal(stdout, `servers:\n\t- id:"${node.node.storageId}" rpc_addr:"${address}" is_leader:true\n`);
  const json = await run(["getservers", "--addr", address, "--json"]);
  const id = node.node.storageId;
  const self = { id, rpcAddr: address, isLeader: true, state: "up", storageId: id, isVoter: true };
  assert.deepEqual(JSON.parse(json.stdout), self);
});

test("health ends with 0 when one node serves, and with 3 when it doesn't or isn't there", async () => {
  const stub = await openStubNode();
  await stub[Symbol.asyncDispose]();
  assert.equal((await run(["health", "--server", stub.address])).code, exitCodes.unreachable);
  {
    await using node = await startTestNode();
    const address = `127.0.0.1:${node.port}`;
    assert.deepEqual(await run(["health", "--server", address]), { code: exitCodes.done, stdout: "serving\n", stderr: "" });
    const several = await run(["health", "--server", `${address},${stub.address}`]);
    assert.equal(several.code, exitCodes.usage);
    assert.match(several.stderr, /health is of one node/);
  }
});

test("health of a node that waits for its cluster is well only when life is enough", async () => {
  const [port = 0] = await findFreePorts(1);
  const address = `127.0.0.1:${port}`;
  const stop = new AbortController();
  const flags = {
    "data-dir": "/data",
    "rpc-port": port,
    "initial-nodes": 3,
    "start-join-addrs": `${address},127.0.0.1:1,127.0.0.1:2`,
  };
  const starting = startNode(parseConfig({ flags: { ...flags, "log-level": "silent" } }), {
    disk: createMemoryDisk(),
    signal: stop.signal,
  });
  try {
    await waitUntil("it listens", async () => (await fetch(`http://${address}/livez`)).ok);
    const waiting = await run(["health", "--server", address]);
    assert.deepEqual([waiting.code, waiting.stdout], [exitCodes.unreachable, ""]);
    assert.match(waiting.stderr, /it answers, and doesn't serve/);
    const live = await run(["health", "--server", address, "--live"]);
    assert.deepEqual([live.code, live.stdout], [exitCodes.done, "not serving\n"]);
  } finally {
    stop.abort();
    await starting.then(
      (node) => node.close(),
      () => undefined, // as it was told
    );
  }
});

test("--verbose shows the causes below the line", async () => {
  const stub = await openStubNode();
  await stub[Symbol.asyncDispose]();
  const { stderr } = await run(["topics", "list", "--server", stub.address, "--verbose"]);
  assert.match(stderr, /^proglog: UNAVAILABLE: [^\n]+\n(?:[^\n]+\n)*caused by: [^\n]*ECONNREFUSED/);
});

/** As `src/wire/grpc-status.ts` has it, of a code that it doesn't know. */
function encodeStatusDetails(code: string, message: string): Buffer {
  // A code of the same length, so that no length before it changes.
  const known = toGrpcStatus(new ProglogError("DISK_FAILED", message)).details.toString("latin1");
  return Buffer.from(known.replace("DISK_FAILED", code), "latin1");
}
