import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { ProglogError } from "../../base/error.ts";
import { catalogCommandMaxBytes, manifestPartitionsMaxCount } from "../../base/cluster-limits.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { readBaseRecord } from "../../log/base-record.ts";
import { type Manifest, readManifest } from "../../log/manifest.ts";
import { DataDirectory } from "../data-directory.ts";
import { applyCommand } from "./apply-command.ts";
import { type CatalogChange, encodeCommand } from "./catalog-command.ts";
import { encodeState } from "./catalog-snapshot.ts";
import { type CatalogState, emptyCatalogState } from "./catalog-state.ts";
import { changesOfManifest } from "./from-manifest.ts";

const clusterId = "c".repeat(32);
const node = { name: "n1", storageId: "1".repeat(32), address: "n1:8000", version: 1 };

describe("a single node's manifest", () => {
  test("becomes the cluster's first commands: topics, uuids, settings and logs as they were", async () => {
    const disk = createMemoryDisk();
    const directory = await DataDirectory.open("/data", {
      disk,
      clock: createVirtualClock(),
      random: createSeededRandom("manifest"),
      logger: silentLogger,
      log: {},
    });
    await directory.openReplicas();
    await directory.catalog.createTopic({ name: "orders", partitions: 3, settings: { retentionMs: 5, cleanup: "both" } });
    await directory.catalog.createTopic({ name: "default" });
    const topics = await directory.catalog.listTopics();
    await directory.close(new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over"));
    const manifest = readManifest(disk, "/data/manifest");
    assert.ok(manifest !== undefined);

    const logIds = new Map<string, string>();
    const logIdOf = (uuid: string): string => {
      const read = readBaseRecord(disk, `/data/logs/${uuid}`);
      assert.ok(read.state === "valid");
      logIds.set(uuid, read.record.logId.toString("hex"));
      return read.record.logId.toString("hex");
    };
    const state = apply(emptyCatalogState(), changesOfManifest(manifest, emptyCatalogState(), { clusterId, node, logIdOf }));
    assert.equal(state.clusterId, clusterId);
    for (const { name, uuid, createdAt, settings, partitions } of topics) {
      const topic = state.topics.get(name);
      assert.deepEqual(
        { uuid: topic?.uuid, createdAt: topic?.createdAt, settings: topic?.settings, factor: topic?.replicationFactor },
        { uuid, createdAt, settings, factor: 1 },
      );
      assert.deepEqual(
        topic?.partitions.map((partition) => [partition.uuid, partition.logId, partition.leader]),
        partitions.map((partition) => [partition.uuid, logIds.get(partition.uuid), "n1"]),
      );
    }
    assert.equal(logIds.size, 4);
  });

  test("that was taken over in part is taken over to the end, and no further", () => {
    const manifest = manifestOf([
      ["a", 2 * manifestPartitionsMaxCount + 1],
      ["b", 1],
    ]);
    const logIdOf = (uuid: string): string => uuid.replaceAll("-", "").split("").toReversed().join("");
    const owner = { clusterId, node, logIdOf };
    const all = changesOfManifest(manifest, emptyCatalogState(), owner);
    assert.deepEqual(
      all.map(({ kind }) => kind),
      ["form-cluster", "create-topic", "alter-topic", "alter-topic", "create-topic"],
    );
    for (const change of all) assert.ok(encodeCommand({ id: "c1", ...change }).length <= catalogCommandMaxBytes);
    const whole = apply(emptyCatalogState(), all);
    for (let count = 0; count <= all.length; count += 1) {
      const state = apply(emptyCatalogState(), all.slice(0, count));
      const rest = changesOfManifest(manifest, state, owner);
      assert.equal(rest.length, all.length - count);
      assert.equal(encodeState(apply(state, rest)), encodeState(whole));
    }
  });

  test("a topic that somebody made under its name meanwhile stays theirs", () => {
    const manifest = manifestOf([["a", 1]]);
    const owner = { clusterId, node, logIdOf: () => "0".repeat(32) };
    const state = apply(emptyCatalogState(), changesOfManifest(manifestOf([["a", 1]], 900), emptyCatalogState(), owner));
    assert.deepEqual(changesOfManifest(manifest, state, owner), []);
  });
});

/** In as many commands as given: their ids are their places. */
function apply(state: CatalogState, changes: readonly CatalogChange[]): CatalogState {
  for (const change of changes) {
    const offset = state.applied.size;
    assert.equal(applyCommand(state, { id: `c${offset}`, ...change }, 0).kind, "applied");
  }
  return state;
}

function manifestOf(topics: readonly (readonly [name: string, partitions: number])[], firstUuid = 1): Manifest {
  let number = firstUuid;
  const uuid = (): string => {
    number += 1;
    return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
  };
  return {
    generation: 1,
    storageId: node.storageId,
    topics: topics.map(([name, count]) => ({
      name,
      uuid: uuid(),
      createdAt: 1,
      partitions: Array.from({ length: count }, (_, partition) => ({ partition, uuid: uuid() })),
      settings: {},
    })),
    deleted: [],
  };
}
