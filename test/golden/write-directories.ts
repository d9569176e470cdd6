import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packageManifest from "../../package.json" with { type: "json" };
import { openLocalSource, writeBackup } from "../../src/backup/index.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { createMemoryDisk } from "../../src/base/memory-disk.ts";
import { type Client, connect } from "../../src/client/index.ts";
import { openLog } from "../../src/log/open-log.ts";
import { TestCluster } from "../test-cluster.ts";
import { startTestNode } from "../test-node.ts";
import {
  type DirectoryImage,
  type GoldenDirectories,
  type GoldenRecord,
  readDirectoryImage,
  readGoldenDirectories,
  writeDirectoryImage,
} from "./golden-directories.ts";

/**
 * Writes the golden data directories of this version anew, a single node's, those of a cluster of three, and a backup of the first:
 * `tools/run-node test/golden/write-directories.ts`, with the names of those that are meant when it isn't all. To be run once for a version
 * that changes what is written, before it is released; those of released versions stay as they are for ever.
 */
const directory = join(import.meta.dirname, packageManifest.version);
mkdirSync(directory, { recursive: true });
const meant = process.argv.slice(2);
for (const [name, write] of [
  ["single-node", writeSingleNode],
  ["three-nodes", writeThreeNodes],
  ["backup", writeBackupOfNode],
] as const) {
  if (meant.length > 0 && !meant.includes(name)) continue;
  const golden = await write();
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(golden, undefined, 2)}\n`);
  const counts = Object.values(golden.nodes).map((image) => Object.keys(image).length);
  console.log(`${name}: ${counts.join(", ")} files, ${Object.values(golden.records).flat().length} records`);
}

async function writeSingleNode(): Promise<GoldenDirectories> {
  const node = await startTestNode({ flags: { "segment-max-bytes": 1024 } });
  await using client = connect(`127.0.0.1:${node.port}`);
  await fill(client, 1);
  const status = await node.json<{ partitions: { topic: string; uuid: string }[] }>("GET", "/v1/status");
  await node.node.close();
  const states = status.partitions.find(({ topic }) => topic === "states");
  const log = await openLog(`/data/logs/${states?.uuid}`, {
    disk: node.disk,
    takesLock: false,
    createIfMissing: false,
    cleanup: "compact",
  });
  const { isComplete, recordsRemoved } = await log.compact();
  await log.close();
  if (!isComplete || recordsRemoved === 0) throw new Error("nothing was compacted");
  await using again = await startTestNode({ disk: node.disk });
  await using reader = connect(`127.0.0.1:${again.port}`);
  const records = { "orders/0": await read(reader, "orders", 0), "states/0": await read(reader, "states", 0) };
  await again.node.close();
  return { nodes: { single: readDirectoryImage(node.disk, "/data") }, records };
}

/** The third node went in the middle: it is behind the others, as a node is that is upgraded. */
async function writeThreeNodes(): Promise<GoldenDirectories> {
  await using cluster = await TestCluster.form(3);
  const client = cluster.connect();
  await fill(client, 3);
  await cluster.untilWell();
  await cluster.member("c").stop();
  await using producer = client.producer({ topic: "orders", partition: 0 });
  await producer.send({ key: "order-9", value: "while c was away" });
  await producer.close();
  const records = { "orders/0": await read(client, "orders", 0), "states/0": await read(client, "states", 0) };
  const nodes: Record<string, DirectoryImage> = {};
  for (const member of cluster.members) {
    await member.stop();
    nodes[member.name] = readDirectoryImage(member.disk, member.directory);
  }
  return { nodes, records };
}

async function writeBackupOfNode(): Promise<GoldenDirectories> {
  const { nodes, records } = readGoldenDirectories(packageManifest.version, "single-node");
  const disk = createMemoryDisk();
  await writeDirectoryImage(disk, "/data", nodes["single"] ?? {});
  const source = await openLocalSource("/data", { disk, clock: systemClock, logger: silentLogger });
  await writeBackup(source, "/backup", { disk, clock: systemClock, release: packageManifest.version });
  await source.close();
  return { nodes: { backup: readDirectoryImage(disk, "/backup") }, records };
}

/** Two topics, one of them with settings, written by producers with an identity. */
async function fill(client: Client, replicationFactor: number): Promise<void> {
  await client.createTopic("orders", { partitionCount: 1, replicationFactor });
  await client.createTopic("states", { replicationFactor, settings: { cleanup: "compact", segmentBytes: "1KiB" } });
  for (const topic of ["orders", "states"]) {
    await using producer = client.producer({ topic, compression: topic === "orders" ? "none" : "zstd" });
    for (let number = 0; number < 40; number += 1)
      await producer.send({ key: `${topic}-${number % 5}`, value: number % 11 === 10 ? null : `value ${number}` });
  }
}

async function read(client: Client, topic: string, partition: number): Promise<GoldenRecord[]> {
  const records: GoldenRecord[] = [];
  for await (const { offset, key, value } of client.consume({ topic, partition, stopsAtEnd: true }))
    records.push({ offset, key: key?.toString() ?? null, value: value?.toString() ?? null });
  return records;
}
