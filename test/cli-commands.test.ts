import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isProgressShown } from "../src/cli/commands/produce.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";

/** The commands against a real node, in one process: `serve` runs as the others do. */
describe("the commands and a node", () => {
  let folder = "";
  let server = "";
  let serveIo = new MemoryIo();
  let serving: Promise<number> | undefined;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "proglog-cli-"));
    serveIo = new MemoryIo();
    serving = main(["serve", "--data-dir", folder, "--rpc-port", "0", "--log-level", "silent"], serveIo);
    const started = serveIo.stdout.waitFor(/^proglog \S+ serves (http:\/\/127\.0\.0\.1:\d+), its data in (.+)\n/);
    const match = await Promise.race([started, serving]);
    assert.ok(typeof match === "object", serveIo.stderr.text);
    assert.equal(match[2], folder);
    server = match[1] ?? "";
  });
  after(async () => {
    serveIo.send("SIGTERM");
    await serving;
    rmSync(folder, { recursive: true, force: true });
  });

  async function run(
    argv: readonly string[],
    input: string | Buffer = "",
  ): Promise<{ code: number; io: MemoryIo; stdout: string; stderr: string }> {
    const io = new MemoryIo({ stdin: input, env: { PROGLOG_SERVER: server } });
    const code = await main(argv, io);
    return { code, io, stdout: io.stdout.text, stderr: io.stderr.text };
  }

  test("lines go in and come out byte for byte, empty ones and such that are no UTF-8 too", async () => {
    const lines = Buffer.from('first\n\n\r\ngr\xc3\xbc\xc3\x9fe\n\xff\xfe\x00\t\\"\n \xed\xa0\x80\nlast\n', "latin1");
    const produced = await run(["produce", "--topic", "bytes"], lines);
    assert.deepEqual([produced.code, produced.stderr], [exitCodes.done, "7 records, offsets 0-6\n"]);
    const consumed = await run(["consume", "--topic", "bytes"]);
    assert.deepEqual([consumed.code, consumed.stderr], [exitCodes.done, ""]);
    assert.equal(consumed.io.stdout.bytes.toString("latin1"), lines.toString("latin1"));
  });

  test("a great many lines keep their order over many batches, and each is acknowledged once", async () => {
    const lines = Array.from({ length: 100_000 }, (_, line) => `line ${line} ${"x".repeat(line % 50)}\n`).join("");
    const produced = await run(["produce", "--topic", "many", "--print-offsets"], lines);
    assert.match(produced.stderr, /^100,000 records, offsets 0-99999\n$/);
    let nextOffset = 0;
    for (const acknowledged of produced.stdout.trimEnd().split("\n")) {
      const [baseOffset, count] = acknowledged.split(" ").map(Number) as [number, number];
      assert.equal(baseOffset, nextOffset);
      nextOffset += count;
    }
    assert.equal(nextOffset, 100_000);
    assert.equal((await run(["consume", "--topic", "many"])).stdout, lines);
  });

  test("no lines are no records, and arguments are one record each", async () => {
    assert.equal((await run(["produce", "--topic", "few"])).stderr, "0 records\n");
    assert.equal((await run(["produce", "--topic", "few", "a", "", "b c"])).stderr, "3 records, offsets 0-2\n");
    assert.equal((await run(["produce", "--topic", "few", "d"])).stderr, "1 record, offset 3\n");
    assert.equal((await run(["consume", "--topic", "few"])).stdout, "a\n\nb c\nd\n");
  });

  test("keys lead to partitions, and what a partition got is told", async () => {
    await run(["topics", "create", "keyed", "--partitions", "3"]);
    const produced = await run(["produce", "--topic", "keyed", "--key-separator", ":"], "a:1\nb:2\nc:3\na:4\nb:5\nc:6\n");
    assert.match(produced.stderr, /^6 records(, partition \d offsets? [-\d]+){2,3}\n$/);
    const outputs: string[] = [];
    for (const partition of ["0", "1", "2"]) {
      outputs.push((await run(["consume", "--topic", "keyed", "--partition", partition, "--format", "%k=%v"])).stdout);
    }
    for (const [key, values] of [
      ["a", "a=1\na=4\n"],
      ["b", "b=2\nb=5\n"],
      ["c", "c=3\nc=6\n"],
    ] as const) {
      const own = outputs.filter((output) => output.includes(`${key}=`));
      assert.equal(own.length, 1);
      assert.equal(
        own[0]
          ?.split("\n")
          .filter((line) => line.startsWith(key))
          .join("\n"),
        values.trimEnd(),
      );
    }
    const named = await run(["produce", "--topic", "keyed", "--partition", "2", "--key", "k", "--print-offsets", "x"]);
    assert.match(named.stdout, /^\d+ 1 2\n$/);
  });

  test("a reader begins where it is told and stops where it is told", async () => {
    await run(["produce", "--topic", "points", "a", "b", "c", "d"]);
    const consume = async (...flags: readonly string[]): Promise<string> =>
      (await run(["consume", "--topic", "points", ...flags])).stdout;
    assert.equal(await consume(), "a\nb\nc\nd\n");
    assert.equal(await consume("--from", "2"), "c\nd\n");
    assert.equal(await consume("--from", "end"), "");
    assert.equal(await consume("--limit", "2"), "a\nb\n");
    assert.equal(await consume("--limit", "0"), "");
    assert.equal(await consume("--from", "@0"), "a\nb\nc\nd\n");
    assert.equal(await consume("--from", "2100-01-01"), "");
    const records = (await consume("--json", "--from", "3"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(records.length, 1);
    assert.deepEqual(
      { ...records[0], timestamp: 0 },
      { partition: 0, offset: 3, timestamp: 0, key: null, value: "d", headers: [] },
    );
    const beyond = await run(["consume", "--topic", "points", "--from", "5"]);
    assert.equal(beyond.code, exitCodes.failed);
    assert.match(beyond.stderr, /^proglog: OFFSET_OUT_OF_RANGE: Cannot read offset 5: the log ends at 4[^\n]*\n$/);
  });

  test("a reader that follows gets records as they come, until Ctrl-C", async () => {
    await run(["topics", "create", "followed"]);
    const io = new MemoryIo({ env: { PROGLOG_SERVER: server } });
    const following = main(["consume", "--topic", "followed", "--from", "end", "--follow"], io);
    // Its starting point is taken when it first asks: what is produced before would be before its start.
    const produce = async (): Promise<void> => {
      while (io.stdout.text === "") await run(["produce", "--topic", "followed", "a"]);
    };
    await Promise.all([produce(), io.stdout.waitFor(/a\n/)]);
    await run(["produce", "--topic", "followed", "b"]);
    await io.stdout.waitFor(/b\n$/);
    io.send("SIGINT");
    assert.equal(await following, exitCodes.done);
    assert.equal(io.stderr.text, "");
  });

  test("topics are created, listed, described and deleted, and unasked only with --yes", async () => {
    const created = await run(["topics", "create", "orders", "--partitions", "2"]);
    assert.deepEqual([created.code, created.stdout], [exitCodes.done, "Created orders with 2 partitions.\n"]);
    const again = await run(["topics", "create", "orders"]);
    assert.equal(again.code, exitCodes.failed);
    assert.match(again.stderr, /^proglog: TOPIC_ALREADY_EXISTS: /);
    assert.equal((await run(["topics", "create", "no/slash"])).code, exitCodes.usage);
    assert.match((await run(["topics", "list"])).stdout, /^TOPIC +PARTITIONS +CREATED\n[^]*^orders +2 +20/m);
    assert.match(
      (await run(["topics", "describe", "orders"])).stdout,
      /^orders, created [^\n]+\nPARTITION +START +END +RECORDS[^\n]+\n +0 +0 +0 +0 [^\n]+open\n +1 /,
    );
    assert.equal(JSON.parse((await run(["topics", "describe", "orders", "--json"])).stdout).partitions.length, 2);

    const unasked = await run(["topics", "delete", "orders"]);
    assert.equal(unasked.code, exitCodes.usage);
    assert.match(unasked.stderr, /Say --yes/);
    const denied = new MemoryIo({ stdin: "n\n", isInputTerminal: true, env: { PROGLOG_SERVER: server } });
    assert.equal(await main(["topics", "delete", "orders"], denied), exitCodes.failed);
    assert.match(
      denied.stderr.text,
      /Delete the topic orders with 0 records on [^\n]+for good\? \[y\/N\] [^]*Nothing was deleted\.\n$/,
    );
    assert.equal((await run(["topics", "describe", "orders"])).code, exitCodes.done);
    const granted = new MemoryIo({ stdin: "y\n", isInputTerminal: true, env: { PROGLOG_SERVER: server } });
    assert.equal(await main(["topics", "delete", "orders"], granted), exitCodes.done);
    assert.equal((await run(["topics", "describe", "orders"])).code, exitCodes.failed);
    await run(["topics", "create", "orders"]);
    assert.equal((await run(["topics", "delete", "orders", "--yes"])).code, exitCodes.done);
  });

  test("settings are given with their units, changed, taken back, and shown with where they come from", async () => {
    const created = await run(["topics", "create", "kept", "--set", "retentionMs=7d", "--set", "segmentBytes=64MiB"]);
    assert.deepEqual([created.code, created.stdout], [exitCodes.done, "Created kept with 1 partition.\n"]);
    const described = (await run(["topics", "describe", "kept"])).stdout;
    assert.match(described, /\n\nSETTING +VALUE +SOURCE\nretentionMs +7d +topic\nretentionBytes +unlimited +default\n/);
    assert.match(described, /\nsegmentBytes +64MiB +topic\n/);
    const altered = await run([
      ...["topics", "alter", "kept", "--partitions", "3"],
      ...["--set", "retentionMs=unlimited", "--set", "deepCheck=true", "--unset", "segmentBytes"],
    ]);
    assert.equal(altered.code, exitCodes.done);
    assert.match(altered.stdout, /^Altered kept\.\nSETTING +VALUE +SOURCE\nretentionMs +unlimited +topic\n/);
    const topic = JSON.parse((await run(["topics", "describe", "kept", "--json"])).stdout);
    assert.deepEqual(topic.settings, { retentionMs: "unlimited", deepCheck: true });
    assert.equal(topic.partitions.length, 3);
    const refused = await run(["topics", "alter", "kept", "--partitions", "2"]);
    assert.equal(refused.code, exitCodes.usage);
    assert.match(refused.stderr, /^proglog: INVALID_ARGUMENT: Cannot give topic kept 2 partitions: it has 3[^\n]+\n$/);
    assert.equal((await run(["topics", "alter", "nothing", "--partitions", "2"])).code, exitCodes.failed);
    assert.equal((await run(["topics", "alter", "kept", "--unset", "tierMs"])).code, exitCodes.usage);
  });

  test("bench measures on a topic of its own and deletes it, and leaves one that is named", async () => {
    const topicsBefore = (await run(["topics", "list"])).stdout;
    const produced = await run(["bench", "produce", "--count", "300", "--outstanding", "8", "--size", "1KiB", "--json"]);
    assert.equal(produced.code, exitCodes.done, produced.stderr);
    const figures = JSON.parse(produced.stdout);
    assert.ok(figures.records >= 300 && figures.bytes === figures.records * 1024, produced.stdout);
    assert.ok(figures.p50Ms <= figures.p99Ms && figures.p99Ms <= figures.p999Ms && figures.p999Ms <= figures.maxMs);
    assert.deepEqual([figures.size, figures.acks, figures.outstanding], [1024, "quorum", 8]);
    const consumed = await run(["bench", "consume", "--count", "5000"]);
    assert.equal(consumed.code, exitCodes.done, consumed.stderr);
    assert.match(
      consumed.stdout,
      /^[\d,]+ records in [^]*\nrate +[\d,]+ records\/s, [\d.]+ MB\/s\nlatency +p50 [^]* p99\.9 [^]*█/,
    );
    assert.equal((await run(["topics", "list"])).stdout, topicsBefore);

    const named = ["--topic", "measured", "--count", "100"];
    await run(["bench", "produce", ...named, "--batch", "10", "--outstanding", "2"]);
    const lines = (await run(["consume", "--topic", "measured", "--format", "%o"])).stdout.trimEnd().split("\n");
    assert.ok(lines.length >= 110, `${lines.length} records`);
    const again = await run(["bench", "consume", "--topic", "measured", "--json"]);
    assert.ok(JSON.parse(again.stdout).records <= lines.length);
    assert.equal((await run(["bench", "consume", "--topic", "missing"])).code, exitCodes.failed);
  });

  test("bench that is stopped tells what it has measured, and deletes its topic all the same", async () => {
    const topicsBefore = (await run(["topics", "list"])).stdout;
    const io = new MemoryIo({ isOutputTerminal: true, env: { PROGLOG_SERVER: server } });
    const measuring = main(["bench", "produce", "--outstanding", "4", "--duration", "1h"], io);
    // Its first tenth doesn't count: shorter than that there is no progress to be seen.
    while ((await run(["topics", "list"])).stdout === topicsBefore);
    io.send("SIGINT");
    assert.equal(await measuring, exitCodes.interrupted);
    assert.match(io.stdout.text, /^0 records in /);
    assert.equal((await run(["topics", "list"])).stdout, topicsBefore);
  });

  test("progress is shown on a terminal, but not under what is typed there", async () => {
    const io = new MemoryIo({ isOutputTerminal: true, env: { PROGLOG_SERVER: server } });
    const producing = main(["produce", "--topic", "shown"], io);
    io.stdin.write("a\n");
    const producingMore = (async () => {
      while (!io.stderr.text.includes("records/s")) {
        io.stdin.write("b\n");
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await io.stderr.waitFor(/\r[\d,]+ records?, [^\r]+ records?\/s/);
    await producingMore;
    io.stdin.end();
    assert.equal(await producing, exitCodes.done);
    assert.equal(isProgressShown(new MemoryIo({ isInputTerminal: true, isOutputTerminal: true }), {}), false);
    assert.equal(isProgressShown(new MemoryIo(), { progress: true }), true);
    assert.match(io.stderr.text.replaceAll("\u001b[K", ""), /\r[\d,]+ records, offsets 0-\d+, [\d,]+ records\/s\n$/);
  });

  test("the offline commands refuse a directory that a node has open, and a log inside of it", async () => {
    await run(["produce", "a"]);
    for (const command of ["inspect", "verify", "repair"]) {
      const { code, stderr } = await run([command, folder]);
      assert.equal(code, exitCodes.locked, command);
      assert.match(stderr, new RegExp(`^proglog: LOG_LOCKED: [^\n]+process ${process.pid} has it open[^\n]+\n$`));
    }
  });
});
