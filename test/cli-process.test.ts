import assert from "node:assert/strict";
import { test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { Command, makeFolder, serve } from "./command-process.ts";

test("a node stops in good order on SIGTERM and on SIGINT, and gives its directory back", async () => {
  using folder = makeFolder();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const { command } = await serve(folder.path);
    await using _ = command;
    command.child.kill(signal);
    assert.deepEqual(await command.exit(), { code: exitCodes.done, signal: null });
    assert.equal(command.stderr, "");
  }
});

test("a reader that is cut off by head ends quietly", async () => {
  using folder = makeFolder();
  const { command: node, url } = await serve(folder.path);
  await using _ = node;
  await using producer = new Command("produce", "--server", url);
  producer.child.stdin?.end("some line\n".repeat(200_000));
  assert.deepEqual(await producer.exit(), { code: 0, signal: null }, producer.stderr);
  await using consumer = new Command("consume", "--server", url);
  await consumer.waitFor("stdout", /some line\n/);
  consumer.child.stdout?.destroy();
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
  assert.equal(consumer.stderr, "");
});

test("a reader that follows ends well on Ctrl-C", async () => {
  using folder = makeFolder();
  const { command: node, url } = await serve(folder.path);
  await using _ = node;
  await using producer = new Command("produce", "--server", url, "a");
  await producer.exit();
  await using consumer = new Command("consume", "--follow", "--server", url);
  await consumer.waitFor("stdout", /^a\n/);
  consumer.child.kill("SIGINT");
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
});

test("a node killed under load has every acknowledged line when it is back, and the producer says where to go on", async () => {
  using folder = makeFolder();
  const { command: killed, url } = await serve(folder.path);
  await using _killed = killed;
  await using producer = new Command("produce", "--no-retry", "--print-offsets", "--server", url);
  const { stdin } = producer.child;
  assert.ok(stdin);
  let line = 0;
  const feed = (): void => {
    while (stdin.writable && stdin.write(`line ${(line += 1)}\n`));
  };
  stdin.on("drain", feed);
  feed();
  await producer.waitFor("stdout", /(?:\d+ \d+\n){5}/);
  killed.child.kill("SIGKILL");
  const { code } = await producer.exit();
  assert.ok(code === exitCodes.unknown || code === exitCodes.unreachable, producer.stderr);

  let acknowledged = 0;
  for (const answer of producer.stdout.trimEnd().split("\n")) {
    const [baseOffset, count] = answer.split(" ").map(Number) as [number, number];
    assert.equal(baseOffset, acknowledged);
    acknowledged += count;
  }
  const grouped = acknowledged.toLocaleString("en-US");
  assert.match(
    producer.stderr,
    new RegExp(`^proglog: UNAVAILABLE: [^\n]+; ${grouped} records acknowledged, offsets 0-${acknowledged - 1}; `),
  );

  const { command: restarted, url: newUrl } = await serve(folder.path);
  await using _restarted = restarted;
  await using consumer = new Command("consume", "--server", newUrl);
  assert.deepEqual(await consumer.exit(), { code: 0, signal: null });
  const lines = consumer.stdout.split("\n").slice(0, -1);
  assert.ok(lines.length >= acknowledged, `${lines.length} lines of ${acknowledged} acknowledged`);
  assert.deepEqual(
    lines.filter((text, offset) => text !== `line ${offset + 1}`),
    [],
  );
});
