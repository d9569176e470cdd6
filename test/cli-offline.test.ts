import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { openLog } from "../src/log/index.ts";
import { waitUntil } from "./wait-until.ts";

async function run(argv: readonly string[], io = new MemoryIo()): Promise<{ code: number; stdout: string; stderr: string }> {
  const code = await main(argv, io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

/** Runs a node on the directory for as long as `use` takes. */
async function withNode(
  directory: string,
  use: (server: string) => Promise<void>,
  flags: readonly string[] = [],
): Promise<void> {
  const io = new MemoryIo();
  const serving = main(["serve", "--data-dir", directory, "--rpc-port", "0", "--log-level", "silent", ...flags], io);
  const started = await Promise.race([io.stdout.waitFor(/serves (http:\S+),/), serving]);
  assert.ok(typeof started === "object", io.stderr.text);
  try {
    await use(started[1] ?? "");
  } finally {
    io.send("SIGTERM");
    assert.equal(await serving, exitCodes.done);
  }
}

function flip(path: string, position: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(position) ^ 1, position);
  writeFileSync(path, bytes);
}

describe("the offline commands", () => {
  let folder = "";
  /** A node's directory with topic "a" of one log and "b" of two; a copy of it for each test. */
  let made = "";
  let node = "";
  let copies = 0;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "proglog-cli-offline-"));
    made = join(folder, "made");
    await withNode(made, async (server) => {
      // One request, and so one batch, each.
      for (const value of ["one", "two", "three"])
        await run(["produce", "--topic", "a", value, `${value}!`, "--server", server]);
      await run(["topics", "create", "b", "--partitions", "2", "--server", server]);
      await run(["produce", "--topic", "b", "--partition", "1", "x", "--server", server]);
    });
  });
  beforeEach(() => {
    copies += 1;
    node = join(folder, `node-${copies}`);
    cpSync(made, node, { recursive: true });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Directory of a partition's log. */
  async function logOf(name: string): Promise<string> {
    const { stdout } = await run(["inspect", node, "--json"]);
    const log = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
      .find((one) => one.name === name);
    return String(log.directory);
  }

  const storeName = "00000000000000000001.store";

  /** Makes the second batch of topic a unreadable: its last byte lies just before the third frame. */
  async function damage(): Promise<string> {
    const log = await logOf("a/0");
    const { stdout } = await run(["inspect", join(log, storeName), "--json"]);
    const frames = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ item }) => item === "data");
    assert.deepEqual(
      frames.map(({ baseOffset }) => baseOffset),
      [0, 2, 4],
    );
    flip(join(log, storeName), frames[2].position - 1);
    return log;
  }

  test("a sound node is verified log by log, each named by its topic", async () => {
    const { code, stdout, stderr } = await run(["verify", node]);
    assert.deepEqual([code, stderr], [exitCodes.done, ""]);
    assert.match(
      stdout,
      /^sound {3}a\/0: 1 segment, 3 batches, 6 records, [^\n]+\nsound {3}b\/0: [^\n]+ 0 records[^\n]+\nsound {3}b\/1: [^\n]+ 1 record, [^\n]+\n3 logs, all sound\.\n$/,
    );
    const json = (await run(["verify", node, "--json"])).stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      json.map(({ name, ok, records }) => ({ name, ok, records })),
      [
        { name: "a/0", ok: true, records: 6 },
        { name: "b/0", ok: true, records: 0 },
        { name: "b/1", ok: true, records: 1 },
      ],
    );
  });

  test("damage is found, and named by file, position and offsets", async () => {
    const log = await damage();
    const { code, stdout } = await run(["verify", node]);
    assert.equal(code, exitCodes.damaged);
    assert.match(
      stdout,
      /^DAMAGED a\/0: [^\n]+\n +\S+\.store at \d+, offsets 2-3: [^\n]+\n[^]*sound {3}b\/0[^]*3 logs; damage in 1\.\n$/,
    );
    const alone = await run(["verify", log]);
    assert.equal(alone.code, exitCodes.damaged);
  });

  test("repair names what is lost, keeps a copy, and every other record keeps its offset", async () => {
    const log = await damage();
    const rotten = readFileSync(join(log, storeName));

    const unasked = await run(["repair", node]);
    assert.equal(unasked.code, exitCodes.usage);
    assert.match(unasked.stdout, /^a\/0: 2 records lost\n {2}lost: offsets 2-3, in [^\n]+\n$/);
    const denied = await run(["repair", node], new MemoryIo({ isInputTerminal: true, stdin: "n\n" }));
    assert.equal(denied.code, exitCodes.failed);
    assert.match(
      denied.stderr,
      /Repair 1 log, with a copy of what is there now in [^\n]+\? \[y\/N\] [^]*Nothing was changed\.\n$/,
    );
    assert.ok(readFileSync(join(log, storeName)).equals(rotten));

    const { code, stdout } = await run(["repair", node, "--yes"]);
    assert.equal(code, exitCodes.done);
    const copy = /Repaired a\/0; its old files are in (.+)\n$/.exec(stdout)?.[1] ?? "";
    assert.ok(copy.startsWith(`${node}.before-repair-`), copy);
    assert.ok(readFileSync(join(copy, storeName)).equals(rotten));

    assert.equal((await run(["verify", node])).code, exitCodes.done);
    assert.match((await run(["repair", node])).stdout, /There is nothing to repair/);
    await withNode(node, async (server) => {
      const { stdout: lines } = await run(["consume", "--topic", "a", "--format", "%o %v", "--server", server]);
      assert.equal(lines, "0 one\n1 one!\n4 three\n5 three!\n");
    });
  });

  test("the copy goes where it is told, but never over something", async () => {
    await damage();
    const copy = join(folder, `copy-${copies}`);
    const taken = await run(["repair", node, "--yes", "--copy-to", made]);
    assert.equal(taken.code, exitCodes.usage);
    assert.match(taken.stderr, /Cannot keep a copy in [^\n]+: it is there already/);
    assert.equal((await run(["repair", node, "--yes", "--copy-to", copy])).code, exitCodes.done);
    assert.ok(existsSync(join(copy, "logs")));
  });

  test("a log whose directory is gone is damage, and the others are looked at all the same", async () => {
    rmSync(await logOf("a/0"), { recursive: true });
    for (const command of ["verify", "inspect"]) {
      const { code, stdout } = await run([command, node]);
      assert.equal(code, exitCodes.damaged);
      assert.match(stdout, /LOG_NOT_FOUND/);
      assert.match(stdout, /b\/1/);
    }
  });

  test("a damaged manifest is damage, its logs are found without their names, and repair doesn't invent one", async () => {
    flip(join(node, "manifest"), 40);
    const { code, stdout } = await run(["verify", node]);
    assert.equal(code, exitCodes.damaged);
    assert.match(
      stdout,
      /^DAMAGED manifest: [^\n]+checksum[^\n]+\n(sound {3}[-0-9a-f]{36}: [^\n]+\n){3}3 logs; damage in 1\.\n$/,
    );
    const repaired = await run(["repair", node, "--yes"]);
    assert.equal(repaired.code, exitCodes.damaged);
    assert.match(repaired.stderr, /^proglog: MANIFEST_CORRUPT: /);
  });

  test("inspecting shows a node's logs, a log's segments and a file's frames and fields", async () => {
    const whole = await run(["inspect", node]);
    assert.equal(whole.code, exitCodes.done);
    assert.match(
      whole.stdout,
      /^a\/0\n {2}directory +\S+\n {2}log id +[0-9a-f]{32}\n {2}base record +baseIndex=0 [^\n]+\n {2}sync mark +index=3 [^\n]+isClean=true[^\n]+\n {2}BASE INDEX [^\n]+\n +1 +0 +6 +3 [^\n]+active\n/,
    );
    const log = await logOf("a/0");
    const items = async (path: string): Promise<readonly string[]> => {
      const { code, stdout, stderr } = await run(["inspect", path]);
      assert.equal(code, exitCodes.done, stderr);
      return stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.trim().split(/ +/)[1] ?? "");
    };
    const store = await items(join(log, storeName));
    assert.deepEqual(store.slice(0, 4), ["segment-header", "data", "data", "data"]);
    assert.deepEqual(await items(join(log, "00000000000000000001.index")), ["slot", "slot", "slot", "trailer"]);
    assert.equal((await items(join(log, "00000000000000000001.timeindex"))).at(-1), "trailer");
    assert.deepEqual(await items(join(log, "sync-mark")), ["sync-mark", "sync-mark"]);
    assert.deepEqual(await items(join(log, "base-0")), ["base-record"]);
    assert.deepEqual(await items(join(node, "manifest")), ["manifest"]);
    const other = await run(["inspect", join(node, "lock")]);
    assert.equal(other.code, exitCodes.usage);
  });

  test("of a cluster's node who it is, its terms and votes are shown, and what is wrong with them", async () => {
    await withNode(
      node,
      async (server) => {
        // It has its topics once group 0 is led.
        const create = ["topics", "create", "c", "--server", server];
        await waitUntil("a topic is made", async () => (await run(create)).code === exitCodes.done);
      },
      ["--bootstrap", "--node-name", "n1"],
    );
    const whole = await run(["inspect", node]);
    assert.equal(whole.code, exitCodes.done, whole.stderr);
    assert.match(whole.stdout, /^node n1\n {2}storageId +[0-9a-f]{32}\n[^]*\n {2}replicas +5\n/m);
    assert.match(whole.stdout, /\n {2}hard state {3}term=1 vote=n1\n/);
    const items = async (name: string): Promise<{ code: number; items: string[]; text: string }> => {
      const { code, stdout } = await run(["inspect", join(node, name)]);
      const named = stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.trim().split(/ +/)[1] ?? "");
      return { code, items: [...new Set(named)], text: stdout };
    };
    assert.deepEqual((await items("node-record")).items, ["node-record", "promise", "replica"]);
    const states = await items("hard-state");
    assert.deepEqual([states.code, states.items], [exitCodes.done, ["head", "round", "zeros", "hard-states", "state"]]);
    flip(join(node, "node-record"), 60);
    const damaged = await items("node-record");
    assert.deepEqual([damaged.code, damaged.items], [exitCodes.damaged, ["damage", "unchecked"]]);
    assert.match(damaged.text, /its checksum doesn't match[^]*storageId/);
    for (const command of ["inspect", "verify"]) {
      const { code, stdout } = await run([command, node]);
      assert.deepEqual([code, /node-record[^]*its checksum doesn't match/.test(stdout)], [exitCodes.damaged, true]);
    }
  });

  test("nothing but repair changes a file", async () => {
    await damage();
    const list = (): string[] =>
      readdirSync(node, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .sort();
    const untouched = list().map((path) => [path, readFileSync(path).toString("base64")]);
    for (const command of ["inspect", "verify", "repair"]) await run([command, node]);
    assert.deepEqual(
      list().map((path) => [path, readFileSync(path).toString("base64")]),
      untouched,
    );
  });

  test("a log of the library is taken as well as a node's", async () => {
    const directory = join(folder, `library-${copies}`);
    {
      await using log = await openLog(directory);
      await log.append([{ value: "a" }, { value: "b" }]);
      for (const path of [directory, join(directory, storeName)]) {
        const locked = await run(["inspect", path]);
        assert.equal(locked.code, exitCodes.locked);
        assert.match(locked.stderr, /^proglog: LOG_LOCKED: [^\n]+\n$/);
      }
    }
    assert.match((await run(["verify", directory])).stdout, /^sound {3}\S+: 1 segment, 1 batch, 2 records, /);
    assert.equal((await run(["inspect", join(directory, storeName)])).code, exitCodes.done);
  });

  test("while a node runs, its directory, each of its logs and each of their files are refused", async () => {
    const log = await logOf("a/0");
    await withNode(node, async () => {
      for (const path of [node, log]) {
        for (const command of ["inspect", "verify", "repair"])
          assert.equal((await run([command, path])).code, exitCodes.locked, `${command} ${path}`);
      }
      for (const path of [join(log, storeName), join(node, "manifest")])
        assert.equal((await run(["inspect", path])).code, exitCodes.locked, path);
    });
  });

  test("what is no log's directory is refused", async () => {
    for (const path of [folder, join(folder, "absent"), join(node, "manifest")]) {
      const { code, stderr } = await run(["verify", path]);
      assert.equal(code, exitCodes.failed);
      assert.match(stderr, /^proglog: LOG_NOT_FOUND: Cannot verify [^\n]+\n$/);
    }
  });
});
