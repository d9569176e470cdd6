import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { keepAll, loseAll, randomChoice } from "../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { createSeededRandom } from "../../sim/random.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import { silentLogger } from "../base/logger.ts";
import { partitionsMaxCount } from "../base/limits.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { readManifest, writeManifest } from "../log/manifest.ts";
import { DataDirectory } from "./data-directory.ts";

const stopping = new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over");

describe("a data directory", () => {
  test("topics and records are there when it is opened again", async () => {
    const disk = createMemoryDisk();
    let topic: unknown;
    {
      await using opened = await open(disk);
      topic = await opened.directory.catalog.createTopic({ name: "orders", partitions: 2 });
      await opened.directory.getReplica("orders", 1).append([{ value: "a" }]);
    }
    await using opened = await open(disk);
    assert.deepEqual(await opened.directory.catalog.listTopics(), [topic]);
    assert.deepEqual(await valuesOf(opened.directory, "orders", 1), ["a"]);
    assert.deepEqual(await valuesOf(opened.directory, "orders", 0), []);
  });

  test("it is one process's at a time", async () => {
    const disk = createMemoryDisk();
    await using opened = await open(disk);
    await assert.rejects(open(disk), { code: "LOG_LOCKED" });
    await opened.directory.close(stopping);
    await using _again = await open(disk);
  });

  test("a failed opening gives the lock back", async () => {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/data");
    disk.open("/data/manifest", "create").close();
    await assert.rejects(open(disk), { code: "MANIFEST_CORRUPT" });
    disk.remove("/data/manifest");
    await using _again = await open(disk);
  });

  test("a single log's directory isn't taken for one", async () => {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/data");
    disk.open("/data/00000000000000000001.store", "create").close();
    await assert.rejects(open(disk), { code: "INVALID_CONFIG" });
    assert.equal(disk.size("/data/manifest"), undefined);
  });

  test("a first start that failed at any call can be repeated", async () => {
    for (let nth = 1; ; nth += 1) {
      const disk = createSimDisk();
      const fault = disk.fail({ nth, code: "EIO" });
      await open(disk).then(
        (opened) => opened[Symbol.asyncDispose](),
        (error: unknown) => assert(isProglogError(error), messageOf(error)),
      );
      if (fault.struckCount === 0) {
        assert(nth > 5);
        return;
      }
      fault.cancel();
      await using _again = await open(disk);
    }
  });

  test("after it was closed everything is answered with the reason", async () => {
    const disk = createMemoryDisk();
    const opened = await open(disk);
    await opened.directory.catalog.createTopic({ name: "orders" });
    const replica = opened.directory.getReplica("orders", 0);
    await opened.directory.close(stopping);
    await assert.rejects(replica.append([{ value: "a" }]), { code: "SHUTTING_DOWN" });
    await assert.rejects(replica.read(0, { limit: 1, maxBytes: 1 }), { code: "SHUTTING_DOWN" });
    await assert.rejects(opened.directory.catalog.createTopic({ name: "x" }), { code: "SHUTTING_DOWN" });
  });
});

describe("making and deleting topics", () => {
  /** What is done after a topic "kept" with one record is there; and how it may look after a crash in the middle. */
  const changes = {
    create: async (directory: DataDirectory) => {
      await directory.catalog.createTopic({ name: "changed", partitions: 2 });
    },
    delete: async (directory: DataDirectory) => {
      await directory.catalog.deleteTopic("changed");
    },
  };

  for (const [name, change] of Object.entries(changes)) {
    test(`a crash at any call of a ${name} leaves the topic whole or not there, and the others as they were`, async () => {
      const images: SimDisk[] = [];
      let isWatching = false;
      const random = createSeededRandom(name);
      const disk: SimDisk = createSimDisk({
        onCall: () => {
          if (!isWatching) return;
          images.push(disk.crash(loseAll), disk.crash(keepAll), disk.crash(randomChoice(random)));
        },
      });
      const opened = await open(disk);
      await prepare(opened.directory, name);
      isWatching = true;
      await change(opened.directory);
      isWatching = false;
      images.push(disk.crash(loseAll), disk.crash(keepAll));
      await opened[Symbol.asyncDispose]();
      assert(images.length > 30);
      const seen = new Set<boolean>();
      for (const image of images) {
        await using after = await open(image);
        seen.add(await checkWhole(after.directory, name));
        if (name === "delete") assert.deepEqual(after.directory.orphans, []);
      }
      assert.deepEqual(seen, new Set([true, false]));
      // Once it was answered, nothing brings the topic back or takes it away.
      for (const image of images.slice(-2)) {
        await using after = await open(image);
        assert.equal(await checkWhole(after.directory, name), name === "create");
      }
    });

    for (const code of ["EIO", "ENOSPC"]) {
      test(`a ${name} in which any call fails with ${code} leaves the topic whole or not there, now and after a restart`, async () => {
        for (let nth = 1; ; nth += 1) {
          const disk = createSimDisk();
          const opened = await open(disk);
          await prepare(opened.directory, name);
          const fault = disk.fail({ nth, code });
          const error = await change(opened.directory).then(
            () => undefined,
            (cause: unknown) => cause,
          );
          const isDone = fault.struckCount === 0;
          fault.cancel();
          if (error !== undefined) assert(isProglogError(error), messageOf(error));
          await checkWhole(opened.directory, name);
          await opened[Symbol.asyncDispose]();
          await using after = await open(disk);
          const isThere = await checkWhole(after.directory, name);
          // A failed sync of the directory leaves open which manifest stands; every other failure says what is the case.
          if (error === undefined) assert.equal(isThere, name === "create");
          // The next attempt succeeds, whatever the failed one left behind.
          if (isThere === (name === "delete")) await change(after.directory);
          if (isDone) {
            assert(nth > 10);
            return;
          }
        }
      });
    }
  }

  test("after a write of the manifest that left open which one stands, topics can't be changed until a restart", async () => {
    const disk = createSimDisk();
    const opened = await open(disk);
    disk.fail({
      kind: "sync-directory",
      path: "/data",
      code: "EIO",
      where: () => disk.size("/data/manifest.tmp") === undefined,
    });
    const created = await opened.directory.catalog.createTopic({ name: "a" }).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert(isProglogError(created, "DISK_FAILED"));
    await assert.rejects(opened.directory.catalog.createTopic({ name: "b" }), { code: "DISK_FAILED", hint: /Restart/ });
    await opened[Symbol.asyncDispose]();
    await using after = await open(disk);
    await after.directory.catalog.createTopic({ name: "b" });
  });

  test("a create that fails leaves no log behind", async () => {
    const disk = createSimDisk();
    await using opened = await open(disk);
    for (const fault of [
      { kind: "create", path: ".store", nth: 2 },
      { kind: "create", path: "manifest.tmp" },
    ] as const) {
      const planned = disk.fail({ ...fault, code: "EIO" });
      await assert.rejects(opened.directory.catalog.createTopic({ name: "orders", partitions: 3 }), { code: "DISK_FAILED" });
      assert.equal(planned.struckCount, 1);
      assert.deepEqual(disk.list("/data/logs"), []);
    }
    await opened.directory.catalog.createTopic({ name: "orders", partitions: 3 });
    assert.equal(disk.list("/data/logs").length, 3);
  });

  test("deletes that were decided and not finished are finished at start; what can't be removed is tried again", async () => {
    const disk = createSimDisk();
    const opened = await open(disk);
    const { partitions } = await opened.directory.catalog.createTopic({ name: "orders" });
    await opened.directory.getReplica("orders", 0).append([{ value: "a" }]);
    const uuid = partitions[0]?.uuid ?? "";
    const fault = disk.fail({ kind: "remove", path: ".store", code: "EIO", times: Number.POSITIVE_INFINITY });
    await opened.directory.catalog.deleteTopic("orders");
    assert.equal(opened.directory.catalog.findTopic("orders"), undefined);
    await opened[Symbol.asyncDispose]();
    assert.deepEqual(readManifest(disk, "/data/manifest")?.deleted, [uuid]);
    const lines: string[] = [];
    {
      await using again = await open(disk, { ...silentLogger, warn: (_, message) => lines.push(message) });
      assert.deepEqual(again.directory.orphans, []);
    }
    assert.deepEqual(lines, ["a deleted log can't be removed yet"]);
    fault.cancel();
    await using last = await open(disk);
    assert.deepEqual(disk.list("/data/logs"), []);
    assert.deepEqual(readManifest(disk, "/data/manifest")?.deleted, []);
    assert.deepEqual(await last.directory.catalog.listTopics(), []);
  });

  test("what is under way when a topic is deleted hears of it", async () => {
    await using opened = await open(createMemoryDisk());
    await opened.directory.catalog.createTopic({ name: "orders" });
    const replica = opened.directory.getReplica("orders", 0);
    const waiting = replica.waitForOffset(0, new AbortController().signal);
    await opened.directory.catalog.deleteTopic("orders");
    await assert.rejects(waiting, { code: "TOPIC_NOT_FOUND" });
    await assert.rejects(replica.append([{ value: "a" }]), { code: "TOPIC_NOT_FOUND" });
    assert.throws(() => opened.directory.getReplica("orders", 0), { code: "TOPIC_NOT_FOUND" });
  });

  test("changes at once go one after the other, and one that fails doesn't stop the next", async () => {
    await using opened = await open(createMemoryDisk());
    const { catalog } = opened.directory;
    const outcomes = await Promise.allSettled([
      catalog.createTopic({ name: "a" }),
      catalog.createTopic({ name: "a" }),
      catalog.deleteTopic("a"),
      catalog.deleteTopic("a"),
      catalog.createTopic({ name: "a" }),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled", "rejected", "fulfilled"],
    );
    assert.equal((await catalog.listTopics()).length, 1);
  });

  test("a node has at most so many partitions", async () => {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/data");
    const uuid = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
    const partitions = Array.from({ length: partitionsMaxCount - 1 }, (_, partition) => ({ partition, uuid: uuid(partition) }));
    const topic = { name: "many", uuid: uuid(999_999), createdAt: 1, partitions, settings: {} };
    await writeManifest(disk, "/data/manifest", { generation: 1, storageId: "0".repeat(32), topics: [topic], deleted: [] });
    const directory = await DataDirectory.open("/data", options(disk));
    await assert.rejects(directory.catalog.createTopic({ name: "x", partitions: 2 }), { code: "TOO_MANY_PARTITIONS" });
    await directory.catalog.createTopic({ name: "x", partitions: 1 });
    await assert.rejects(directory.catalog.createTopic({ name: "y" }), { code: "TOO_MANY_PARTITIONS" });
    await directory.close(stopping);
  });

  test("a partition that a topic doesn't have is not found", async () => {
    await using opened = await open(createMemoryDisk());
    await opened.directory.catalog.createTopic({ name: "orders" });
    for (const partition of [1, -1, 0.5]) {
      assert.throws(() => opened.directory.getReplica("orders", partition), { code: "PARTITION_NOT_FOUND" });
    }
  });

  async function prepare(directory: DataDirectory, name: string): Promise<void> {
    await directory.catalog.createTopic({ name: "kept" });
    await directory.getReplica("kept", 0).append([{ value: "kept" }]);
    if (name === "create") return;
    await directory.catalog.createTopic({ name: "changed", partitions: 2 });
    for (const partition of [0, 1]) await directory.getReplica("changed", partition).append([{ value: "changed" }]);
  }

  /** Returns whether the topic is there. */
  async function checkWhole(directory: DataDirectory, name: string): Promise<boolean> {
    assert.deepEqual(await valuesOf(directory, "kept", 0), ["kept"]);
    await directory.getReplica("kept", 0).findOffset("end");
    const topic = directory.catalog.findTopic("changed");
    if (topic === undefined) return false;
    assert.equal(topic.partitions.length, 2);
    for (const partition of [0, 1]) {
      assert.deepEqual(await valuesOf(directory, "changed", partition), name === "create" ? [] : ["changed"]);
    }
    return true;
  }
});

async function valuesOf(directory: DataDirectory, topic: string, partition: number): Promise<unknown[]> {
  const replica = directory.getReplica(topic, partition);
  const { records } = await replica.read(await replica.findOffset("start"), { limit: 100, maxBytes: 1_000_000 });
  return records.map(({ value }) => value?.toString());
}

interface Opened extends AsyncDisposable {
  readonly directory: DataDirectory;
}

async function open(disk: Disk, logger: Logger = silentLogger): Promise<Opened> {
  const directory = await DataDirectory.open("/data", { ...options(disk), logger });
  await directory.openReplicas();
  return { directory, [Symbol.asyncDispose]: () => directory.close(stopping).catch(() => {}) };
}

/** Every start has randomness of its own: with the same, it would make the uuids that the one before made. */
let startCount = 0;

function options(disk: Disk) {
  return {
    disk,
    clock: createVirtualClock(),
    random: createSeededRandom(`start ${(startCount += 1)}`),
    logger: silentLogger,
    log: {},
  };
}
