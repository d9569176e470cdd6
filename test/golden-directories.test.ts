import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { restoreBackup, verifyBackup } from "../src/backup/index.ts";
import { systemClock } from "../src/base/clock.ts";
import { silentLogger } from "../src/base/logger.ts";
import { systemRandom } from "../src/base/random.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { type Client, connect } from "../src/client/index.ts";
import {
  type DirectoryImage,
  type GoldenDirectories,
  type GoldenRecord,
  readGoldenDirectories,
  writeDirectoryImage,
} from "./golden/golden-directories.ts";
import { TestCluster } from "./test-cluster.ts";
import { startTestNode } from "./test-node.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory).filter((name) => existsSync(join(goldenDirectory, name, "three-nodes.json")));

/** docs/upgrading.md promises it: a later version is started on the directories of an earlier one, and goes on. */
describe("directories of earlier versions", () => {
  for (const version of versions) {
    test(`a single node goes on with what ${version} wrote, with all records, and takes more`, async () => {
      const golden = readGoldenDirectories(version, "single-node");
      const disk = createMemoryDisk();
      await writeDirectoryImage(disk, "/data", imageOf(golden, "single"));
      const added: GoldenRecord[] = [];
      for (const start of [1, 2]) {
        await using node = await startTestNode({ disk });
        await using client = connect(`127.0.0.1:${node.port}`);
        await holds(client, golden, { "orders/0": added });
        const record = { key: "more", value: `at start ${start} of a later version` };
        const { baseOffset } = await client.append([record], { topic: "orders" });
        added.push({ offset: baseOffset, ...record });
        await holds(client, golden, { "orders/0": added });
      }
    });

    test(`a backup that ${version} made is sound, and a node that is restored from it has all records`, async () => {
      const golden = readGoldenDirectories(version, "backup");
      const disk = createMemoryDisk();
      await writeDirectoryImage(disk, "/backup", imageOf(golden, "backup"));
      assert.equal((await verifyBackup("/backup", { disk })).ok, true);
      await restoreBackup("/backup", "/data", { disk, clock: systemClock, random: systemRandom, logger: silentLogger });
      await using node = await startTestNode({ disk });
      await using client = connect(`127.0.0.1:${node.port}`);
      await holds(client, golden, {});
    });

    test(`nodes of ${version} are upgraded one after the other: the first two serve, and the third catches up`, async () => {
      const golden = readGoldenDirectories(version, "three-nodes");
      await using cluster = await TestCluster.make(3);
      for (const { name, disk, directory } of cluster.members)
        await writeDirectoryImage(disk, directory, imageOf(golden, name));

      await Promise.all(["a", "b"].map((name) => cluster.member(name).start()));
      await cluster.findLeader("orders", { among: [cluster.member("a"), cluster.member("b")] });
      await using producer = cluster.connect().producer({ topic: "orders" });
      const { offset } = await producer.send({ key: "more", value: "by a later version" });
      const added = { "orders/0": [{ offset, key: "more", value: "by a later version" }] };
      await holds(cluster.connect(), golden, added);

      await cluster.member("c").start();
      await cluster.untilWell();
      // It has them itself then, and leads soon if the others go.
      await cluster.connect().cluster.transferLeadership({ topic: "orders", partition: 0, to: "c" });
      await holds(cluster.connect("c"), golden, added);
    });
  }

  test("they hold each kind of file that a node leaves, and a compacted log", () => {
    const files = versions.flatMap((version) => [
      ...Object.keys(imageOf(readGoldenDirectories(version, "single-node"), "single")),
      ...Object.keys(imageOf(readGoldenDirectories(version, "three-nodes"), "a")),
    ]);
    const kinds = new Set(files.map((path) => path.replace(/^.*\//, "").replace(/^\d+/, "*")));
    assert.deepEqual([...kinds].sort(), [
      ...["*.index", "*.store", "*.timeindex", "base-0", "base-1", "compaction-mark", "hard-state", "manifest"],
      ...["node-record", "sync-mark"],
    ]);
  });
});

function imageOf(golden: GoldenDirectories, name: string): DirectoryImage {
  const image = golden.nodes[name];
  assert.ok(image !== undefined);
  return image;
}

/** Each partition has what it had, and behind it what was added. */
async function holds(
  client: Client,
  golden: GoldenDirectories,
  added: Readonly<Record<string, readonly GoldenRecord[]>>,
): Promise<void> {
  for (const [name, records] of Object.entries(golden.records)) {
    const [topic = "", partition] = name.split("/");
    const found: GoldenRecord[] = [];
    for await (const { offset, key, value } of client.consume({ topic, partition: Number(partition), stopsAtEnd: true }))
      found.push({ offset, key: key?.toString() ?? null, value: value?.toString() ?? null });
    assert.deepEqual(found, [...records, ...(added[name] ?? [])]);
  }
}
