import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { keepAll, loseAll, randomChoice } from "../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { createSeededRandom } from "../../sim/random.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { silentLogger } from "../base/logger.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { partitionFilesCount, partitionsMaxCount, reservedFilesCount } from "../base/limits.ts";
import type { TopicSettingChanges } from "../base/topic-settings.ts";
import { KiB, MiB } from "../base/units.ts";
import { readManifest, writeManifest } from "../log/manifest.ts";
import { DataDirectory } from "./data-directory.ts";

const stopping = new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over");

describe("the access policy of a single node", () => {
  test("is kept in its manifest, replaced on its basis alone, and told to who watches", async () => {
    const disk = createMemoryDisk();
    {
      await using opened = await open(disk);
      const { policy, catalog } = opened.directory;
      assert.equal(policy.text, "");
      let told = 0;
      policy.watch(() => (told += 1));
      // Two at once: one of them is made from what isn't there any more.
      const both = await Promise.allSettled([policy.replace("", "first"), policy.replace("", "other")]);
      assert.deepEqual(
        both.map(({ status }) => status),
        ["fulfilled", "rejected"],
      );
      await assert.rejects(policy.replace("", "third"), { code: "CHANGE_IN_PROGRESS" });
      assert.deepEqual([policy.text, told], ["first", 1]);
      await catalog.createTopic({ name: "orders" });
      await policy.refresh();
    }
    assert.equal(readManifest(disk, "/data/manifest")?.policy, "first");
    await using opened = await open(disk);
    assert.equal(opened.directory.policy.text, "first");
    assert.equal((await opened.directory.catalog.describeTopic("orders")).name, "orders");
  });
});

describe("changing a topic", () => {
  test("settings hold at once, are kept over a restart, and go when they are taken back", async () => {
    const disk = createMemoryDisk();
    {
      await using opened = await open(disk);
      const { catalog } = opened.directory;
      await catalog.createTopic({ name: "orders", settings: { maxRecordBytes: 50, cleanup: null } });
      assert.deepEqual((await catalog.describeTopic("orders")).settings, { maxRecordBytes: 50 });
      await assert.rejects(append(opened.directory, "x".repeat(51)), { code: "RECORD_TOO_LARGE" });
      const changed = await catalog.changeTopic("orders", { settings: { maxRecordBytes: 60, segmentBytes: 4096 } });
      assert.deepEqual(changed.settings, { maxRecordBytes: 60, segmentBytes: 4096 });
      assert.equal(catalog.findTopic("orders"), changed);
      await append(opened.directory, "x".repeat(60));
    }
    await using opened = await open(disk);
    const { catalog } = opened.directory;
    const topic = await catalog.describeTopic("orders");
    assert.deepEqual(topic.settings, { maxRecordBytes: 60, segmentBytes: 4096 });
    assert.equal(opened.directory.effectiveSettings(topic).segmentBytes, 4096);
    await assert.rejects(append(opened.directory, "x".repeat(61)), { code: "RECORD_TOO_LARGE" });
    assert.deepEqual((await catalog.changeTopic("orders", { settings: { maxRecordBytes: null } })).settings, {
      segmentBytes: 4096,
    });
    await append(opened.directory, "x".repeat(61));
  });

  test("a single node keeps one replica, and takes no more", async () => {
    const disk = createMemoryDisk();
    await using opened = await open(disk);
    const { catalog } = opened.directory;
    const topic = await catalog.createTopic({ name: "orders", replicationFactor: 1 });
    assert.equal(topic.replicationFactor, 1);
    await assert.rejects(catalog.createTopic({ name: "more", replicationFactor: 3 }), {
      code: "NOT_CLUSTERED",
      message: "Cannot create topic more with 3 replicas: a single node keeps one",
    });
    await assert.rejects(catalog.changeTopic("orders", { replicationFactor: 2 }), { code: "NOT_CLUSTERED" });
    assert.equal((await catalog.changeTopic("orders", { replicationFactor: 1 })).replicationFactor, 1);
    assert.deepEqual(Object.keys(readManifest(disk, "/data/manifest")?.topics[0] ?? {}), [
      "name",
      "uuid",
      "createdAt",
      "partitions",
      "settings",
    ]);
  });

  test("what a topic doesn't set goes by the node, and by another node's start after the next", async () => {
    const disk = createMemoryDisk();
    {
      await using opened = await open(disk, { segmentMaxBytes: 2 * KiB, retentionMaxBytes: 8 * KiB });
      const topic = await opened.directory.catalog.createTopic({ name: "orders", settings: { retentionBytes: "unlimited" } });
      assert.equal(opened.directory.effectiveSettings(topic).segmentBytes, 2 * KiB);
      assert.equal(opened.directory.effectiveSettings(topic).retentionBytes, "unlimited");
    }
    await using opened = await open(disk, { segmentMaxBytes: MiB });
    const topic = await opened.directory.catalog.describeTopic("orders");
    assert.equal(opened.directory.effectiveSettings(topic).segmentBytes, MiB);
  });

  test("partitions are added behind those that are there, with the settings of the topic, and never taken away", async () => {
    const disk = createMemoryDisk();
    const uuids: string[] = [];
    {
      await using opened = await open(disk);
      const { catalog } = opened.directory;
      const before = await catalog.createTopic({ name: "orders", partitions: 2 });
      await append(opened.directory, "a", 1);
      const after = await catalog.changeTopic("orders", { partitions: 4, settings: { maxRecordBytes: 5 } });
      assert.equal(after.uuid, before.uuid);
      assert.deepEqual(after.partitions.slice(0, 2), before.partitions);
      assert.deepEqual(
        after.partitions.map(({ partition }) => partition),
        [0, 1, 2, 3],
      );
      uuids.push(...after.partitions.map(({ uuid }) => uuid));
      assert.equal(new Set(uuids).size, 4);
      await append(opened.directory, "b", 3);
      await assert.rejects(append(opened.directory, "bbbbbb", 3), { code: "RECORD_TOO_LARGE" });
      await assert.rejects(catalog.changeTopic("orders", { partitions: 3 }), {
        code: "INVALID_ARGUMENT",
        message: /^Cannot give topic orders 3 partitions: it has 4, /,
      });
      assert.equal(await catalog.changeTopic("orders", { partitions: 4 }), after);
    }
    await using opened = await open(disk);
    assert.deepEqual(disk.list("/data/logs").toSorted(), uuids.toSorted());
    assert.deepEqual(await valuesOf(opened.directory, 1), ["a"]);
    assert.deepEqual(await valuesOf(opened.directory, 3), ["b"]);
  });

  test("what changes nothing writes nothing", async () => {
    const disk = createMemoryDisk();
    await using opened = await open(disk);
    const { catalog } = opened.directory;
    const topic = await catalog.createTopic({ name: "orders", settings: { deepCheck: true } });
    const generation = readManifest(disk, "/data/manifest")?.generation;
    for (const change of [{}, { partitions: 1 }, { settings: {} }, { settings: { deepCheck: true, cleanup: null } }] as const)
      assert.equal(await catalog.changeTopic("orders", change), topic);
    assert.equal(readManifest(disk, "/data/manifest")?.generation, generation);
  });

  const refused: readonly (readonly [string, { partitions?: number; settings?: object }, string])[] = [
    ["a value that is wrong beside one that is right", { settings: { deepCheck: true, segmentBytes: 1 } }, "INVALID_ARGUMENT"],
    ["a setting that there isn't", { settings: { deepCheck: true, segmentByte: 4096 } }, "INVALID_ARGUMENT"],
    ["a wrong value beside partitions to add", { partitions: 3, settings: { cleanup: "all" } }, "INVALID_ARGUMENT"],
    ["fewer partitions beside a setting", { partitions: 1, settings: { deepCheck: true } }, "INVALID_ARGUMENT"],
    ["no number of partitions", { partitions: 2.5 }, "INVALID_ARGUMENT"],
    ["no partition at all", { partitions: 0 }, "INVALID_ARGUMENT"],
    ["more partitions than a node has", { partitions: partitionsMaxCount + 1 }, "TOO_MANY_PARTITIONS"],
  ];
  for (const [what, change, code] of refused) {
    test(`${what} is ${code}, and nothing is changed`, async () => {
      const disk = createMemoryDisk();
      await using opened = await open(disk);
      const { catalog } = opened.directory;
      const topic = await catalog.createTopic({ name: "orders", partitions: 2, settings: { maxRecordBytes: 5 } });
      await assert.rejects(catalog.changeTopic("orders", change), { code });
      assert.equal(await catalog.describeTopic("orders"), topic);
      assert.equal(disk.list("/data/logs").length, 2);
      await assert.rejects(append(opened.directory, "xxxxxx"), { code: "RECORD_TOO_LARGE" });
    });
  }

  test("a node takes no more partitions than its process may have files open for, and keeps some for others", async () => {
    const disk: Disk = Object.assign(createMemoryDisk(), { openFilesMaxCount: reservedFilesCount + 2 * partitionFilesCount });
    await using opened = await open(disk);
    const { catalog } = opened.directory;
    await assert.rejects(catalog.createTopic({ name: "orders", partitions: 3 }), {
      code: "TOO_MANY_PARTITIONS",
      message: /: the node has 0 partitions, and 2 are allowed where a process may have \d+ files open$/,
      hint: /ulimit -n/,
    });
    await catalog.createTopic({ name: "orders" });
    await catalog.changeTopic("orders", { partitions: 2 });
    await assert.rejects(catalog.changeTopic("orders", { partitions: 3 }), { code: "TOO_MANY_PARTITIONS" });
    assert.equal(disk.list("/data/logs").length, 2);
  });

  test("a topic that isn't there can't be changed, and one isn't made with wrong settings", async () => {
    await using opened = await open(createMemoryDisk());
    const { catalog } = opened.directory;
    await assert.rejects(catalog.changeTopic("orders", {}), { code: "TOPIC_NOT_FOUND" });
    await assert.rejects(catalog.createTopic({ name: "orders", settings: { segmentBytes: 1 } }), { code: "INVALID_ARGUMENT" });
    assert.deepEqual(await catalog.listTopics(), []);
  });

  test("changes at once go one after the other, and none undoes another's", async () => {
    await using opened = await open(createMemoryDisk());
    const { catalog } = opened.directory;
    await catalog.createTopic({ name: "orders" });
    const changes: TopicSettingChanges[] = [
      { segmentBytes: 4096 },
      { retentionMs: 5 },
      { deepCheck: true },
      { segmentBytes: 1 },
      { cleanup: "both" },
      { deepCheck: null },
    ];
    const outcomes = await Promise.allSettled([
      ...changes.map((settings) => catalog.changeTopic("orders", { settings })),
      ...[3, 2, 4].map((partitions) => catalog.changeTopic("orders", { partitions })),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled", "rejected", "fulfilled"],
    );
    const topic = await catalog.describeTopic("orders");
    assert.deepEqual(topic.settings, { segmentBytes: 4096, retentionMs: 5, cleanup: "both" });
    assert.equal(topic.partitions.length, 4);
  });

  test("appends that come in the middle of changes are all there, in order", async () => {
    await using opened = await open(createMemoryDisk());
    const { catalog } = opened.directory;
    await catalog.createTopic({ name: "orders" });
    const pending: Promise<unknown>[] = [];
    for (let number = 0; number < 200; number += 1) {
      pending.push(append(opened.directory, `${number}`));
      if (number % 10 === 0) {
        const settings = { segmentBytes: KiB + number, timestampType: number % 20 === 0 ? "append" : "create" } as const;
        pending.push(catalog.changeTopic("orders", { settings }));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await Promise.all(pending);
    assert.deepEqual(
      await valuesOf(opened.directory, 0),
      Array.from({ length: 200 }, (_, number) => `${number}`),
    );
  });

  test("a crash at any call leaves all of a change or nothing of it, and logs that go by it", async () => {
    const images: SimDisk[] = [];
    let isWatching = false;
    const random = createSeededRandom("change");
    const disk: SimDisk = createSimDisk({
      onCall: () => {
        if (isWatching) images.push(disk.crash(loseAll), disk.crash(keepAll), disk.crash(randomChoice(random)));
      },
    });
    const opened = await open(disk);
    await prepare(opened.directory);
    isWatching = true;
    await makeChange(opened.directory);
    isWatching = false;
    images.push(disk.crash(loseAll), disk.crash(keepAll));
    await opened[Symbol.asyncDispose]();
    assert(images.length > 30);
    const seen = new Set<boolean>();
    for (const image of images) {
      await using after = await open(image);
      seen.add(await checkWhole(after.directory));
    }
    assert.deepEqual(seen, new Set([true, false]));
    // Once it was answered, nothing takes it back.
    for (const image of images.slice(-2)) {
      await using after = await open(image);
      assert.equal(await checkWhole(after.directory), true);
    }
  });

  for (const code of ["EIO", "ENOSPC"]) {
    test(`a change in which any call fails with ${code} is made whole or not, now and after a restart`, async () => {
      for (let nth = 1; ; nth += 1) {
        const disk = createSimDisk();
        const opened = await open(disk);
        await prepare(opened.directory);
        const fault = disk.fail({ nth, code });
        const error = await makeChange(opened.directory).then(
          () => undefined,
          (cause: unknown) => cause,
        );
        const isDone = fault.struckCount === 0;
        fault.cancel();
        if (error !== undefined) assert(isProglogError(error), messageOf(error));
        const isMadeNow = await checkWhole(opened.directory);
        if (error !== undefined) assert.equal(isMadeNow, false, "what was answered with an error doesn't hold yet");
        await opened[Symbol.asyncDispose]();
        await using after = await open(disk);
        const isMade = await checkWhole(after.directory);
        if (error === undefined) assert.equal(isMade, true);
        if (!isMade) await makeChange(after.directory);
        assert.equal(await checkWhole(after.directory), true);
        if (isDone) {
          assert(nth > 10);
          return;
        }
      }
    });
  }

  test("a change that fails leaves no log of a new partition behind, and those that were there", async () => {
    const disk = createSimDisk();
    await using opened = await open(disk);
    await prepare(opened.directory);
    for (const fault of [
      { kind: "create", path: ".store", nth: 2 },
      { kind: "create", path: "manifest.tmp" },
    ] as const) {
      const planned = disk.fail({ ...fault, code: "EIO" });
      await assert.rejects(opened.directory.catalog.changeTopic("orders", { partitions: 4 }), { code: "DISK_FAILED" });
      assert.equal(planned.struckCount, 1);
      assert.equal(disk.list("/data/logs").length, 1);
      await append(opened.directory, "b");
    }
    await opened.directory.catalog.changeTopic("orders", { partitions: 4 });
    assert.equal(disk.list("/data/logs").length, 4);
  });

  test("a setting of a later version is kept through a change, and a value nobody here knows keeps only its own logs closed", async () => {
    const disk = createMemoryDisk();
    {
      await using opened = await open(disk);
      for (const name of ["orders", "later", "other"]) await opened.directory.catalog.createTopic({ name });
    }
    const manifest = readManifest(disk, "/data/manifest");
    assert(manifest !== undefined);
    const settings: Readonly<Record<string, object>> = { later: { tierMs: 5 }, other: { retentionMs: "a week", tierMs: 5 } };
    const topics = manifest.topics.map((topic) => ({ ...topic, settings: { ...settings[topic.name] } }));
    await writeManifest(disk, "/data/manifest", { ...manifest, topics });
    {
      await using opened = await open(disk);
      const { catalog, replicas } = opened.directory;
      const changed = await catalog.changeTopic("later", { settings: { deepCheck: true } });
      assert.deepEqual(changed.settings, { tierMs: 5, deepCheck: true });
      await append(opened.directory, "a");
      const [partition] = (await catalog.describeTopic("other")).partitions;
      assert.equal(replicas.find(partition?.uuid ?? "")?.status().error?.code, "UNSUPPORTED_FORMAT");
      await assert.rejects(catalog.changeTopic("other", { settings: { deepCheck: true } }), { code: "UNSUPPORTED_FORMAT" });
      await catalog.changeTopic("other", { settings: { retentionMs: 5 } });
    }
    await using opened = await open(disk);
    await opened.directory.getReplica("other", 0).append([{ value: "a" }]);
    assert.deepEqual((await opened.directory.catalog.describeTopic("other")).settings, { retentionMs: 5, tierMs: 5 });
  });

  async function prepare(directory: DataDirectory): Promise<void> {
    await directory.catalog.createTopic({ name: "orders", settings: { segmentMs: 5_000 } });
    await append(directory, "a");
  }

  async function makeChange(directory: DataDirectory): Promise<void> {
    await directory.catalog.changeTopic("orders", {
      partitions: 2,
      settings: { segmentMs: null, segmentBytes: 4096, maxRecordBytes: 5 },
    });
  }

  /** Returns whether the change was made. */
  async function checkWhole(directory: DataDirectory): Promise<boolean> {
    const topic = await directory.catalog.describeTopic("orders");
    assert.deepEqual(await valuesOf(directory, 0), ["a"]);
    const isMade = topic.partitions.length === 2;
    assert.deepEqual(topic.settings, isMade ? { segmentBytes: 4096, maxRecordBytes: 5 } : { segmentMs: 5_000 });
    if (isMade) assert.deepEqual(await valuesOf(directory, 1), []);
    for (const { partition } of topic.partitions) {
      // Refused in any case, and why tells what its log goes by: the record by its limit, or else the condition.
      const code = isMade ? "RECORD_TOO_LARGE" : "CONDITION_FAILED";
      const probe = directory.getReplica("orders", partition).append([{ value: "xxxxxx" }], { expectedOffset: 99 });
      await assert.rejects(probe, { code });
    }
    return isMade;
  }
});

function append(directory: DataDirectory, value: string, partition = 0): Promise<unknown> {
  return directory.getReplica("orders", partition).append([{ value }]);
}

async function valuesOf(directory: DataDirectory, partition: number): Promise<unknown[]> {
  const { records } = await directory.getReplica("orders", partition).read(0, { limit: 1_000, maxBytes: MiB });
  return records.map(({ value }) => value?.toString());
}

interface Opened extends AsyncDisposable {
  readonly directory: DataDirectory;
}

/** Every start has randomness of its own: with the same, it would make the uuids that the one before made. */
let startCount = 0;

async function open(disk: Disk, log: object = {}): Promise<Opened> {
  const directory = await DataDirectory.open("/data", {
    disk,
    clock: createVirtualClock(),
    random: createSeededRandom(`start ${(startCount += 1)}`),
    logger: silentLogger,
    log,
  });
  await directory.openReplicas();
  return { directory, [Symbol.asyncDispose]: () => directory.close(stopping).catch(() => {}) };
}
