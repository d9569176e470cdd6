import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../../test/log-world.ts";
import { batchOf, testGroupId } from "../../../test/test-group.ts";
import { openReplicaLog, type ReplicaLogOptions } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { Entry } from "../../raft/entry.ts";
import { EntryWriter } from "./entry-writer.ts";

describe("the writer of entries", () => {
  test("writes what gathers during a sync together, up to a group's bytes", async () => {
    const { world, write, syncs } = await begin({ groupMaxBytes: 400 });
    const hold = world.hold({ kind: "datasync" });
    write([1]);
    await hold.arrived;
    for (let index = 2; index <= 7; index += 1) write([index]);
    hold.release();
    await world.settle();
    assert.deepEqual(syncs, [1, 3, 3]);
  });

  test("reports what is durable with the generation of the order that wrote it", async () => {
    const { world, write, told } = await begin();
    write([1, 2, 3]);
    write([2], { truncateTo: 1, generation: 2 });
    await world.settle();
    assert.deepEqual(told, ["wrote 1-3", "durable 3 of 1", "truncating behind 1", "wrote 2-2", "durable 2 of 2"]);
  });

  test("installs before it truncates or appends, and has nothing of the log before any more", async () => {
    const { world, write, told, writer } = await begin();
    const hold = world.hold({ kind: "datasync" });
    write([1, 2]);
    await hold.arrived;
    write([], { installs: true, generation: 2 });
    assert.deepEqual(writer.unwritten(1, 10_000), []);
    assert.equal(writer.hasWritten(0), false);
    hold.release();
    await world.settle();
    assert.deepEqual(told, ["wrote 1-2", "durable 2 of 1", "installed", "durable 2 of 2"]);
    assert.equal(writer.hasWritten(2), true);
  });

  test("has entries in memory until they are written, as many as asked for, and none that were cut", async () => {
    const { world, write, writer } = await begin();
    const hold = world.hold({ kind: "datasync" });
    write([1, 2]);
    await hold.arrived;
    const indexesFrom = (index: number, maxBytes = 10_000) => writer.unwritten(index, maxBytes).map(({ entry }) => entry.index);
    assert.deepEqual([indexesFrom(1), indexesFrom(2), indexesFrom(3), indexesFrom(1, 1)], [[1, 2], [2], [], [1]]);
    assert.equal(writer.unwritten(1, 1)[0]?.frame, writer.unwritten(1, 1)[0]?.frame, "packed once for all peers");
    write([], { truncateTo: 1, generation: 2 });
    assert.deepEqual(indexesFrom(1), [1]);
    hold.release();
    await world.settle();
    assert.deepEqual(indexesFrom(1), []);
  });

  test("says that it has written up to an index only when nothing else is there", async () => {
    const { world, write, writer } = await begin();
    write([1, 2, 3]);
    await world.settle();
    assert.deepEqual([writer.hasWritten(3), writer.hasWritten(4)], [true, false]);
    write([2, 3], { truncateTo: 1, generation: 2 });
    assert.equal(writer.hasWritten(1), false, "what is to go is still there");
    await world.settle();
    assert.equal(writer.hasWritten(3), true);
  });

  test("gives no entry an earlier time than the one before, whatever the clock does", async () => {
    const { world, writer } = await begin();
    const early = writer.nextAppendTime();
    world.clock.jumpWall(-10_000);
    assert.equal(writer.nextAppendTime(), early);
    const first = writer.stamp(entryOf(1), { payload: batchOf("x"), appendTime: early });
    const noOp = writer.stamp({ ...entryOf(2), kind: "no-op", span: 0 }, undefined);
    assert.deepEqual([first.appendTime, noOp.appendTime], [early, early]);
    world.clock.jumpWall(20_000);
    assert.equal(writer.nextAppendTime(), early + 10_000);
  });

  test("that failed keeps what it was handed to be sent, until that is forgotten, and reports nothing more", async () => {
    const { world, write, writer, told } = await begin();
    world.disk.fail({ kind: "datasync", path: ".store", code: "EIO", times: Number.POSITIVE_INFINITY });
    write([1]);
    await world.settle();
    write([2]);
    await world.settle();
    assert.deepEqual(told, ["failed"]);
    assert.equal(writer.isOut, true);
    assert.deepEqual(
      writer.unwritten(1, 10_000).map(({ entry }) => entry.index),
      [1, 2],
    );
    writer.forget();
    assert.deepEqual(writer.unwritten(1, 10_000), []);
  });

  test("that is ended in the middle of a write says nothing of it", async () => {
    const { world, write, writer, told } = await begin();
    const hold = world.hold({ kind: "datasync" });
    write([1]);
    await hold.arrived;
    writer.end();
    hold.release();
    await world.settle();
    assert.deepEqual(told, []);
  });
});

async function begin(options: Partial<ReplicaLogOptions> = {}) {
  const world = new LogWorld();
  const { disk, clock } = world;
  const syncs: number[] = [];
  const observer = { synced: ({ batches }: { readonly batches: number }) => void syncs.push(batches) };
  const log = await openReplicaLog("/log", { disk, clock, index: "heap", logId: testGroupId, observer, ...options });
  const told: string[] = [];
  const writer = new EntryWriter(
    log,
    clock,
    (write) => write(),
    {
      install: async () => void told.push("installed"),
      truncating: (index) => told.push(`truncating behind ${index}`),
      wrote: (entries) => told.push(`wrote ${entries[0]?.index}-${entries.at(-1)?.index}`),
      durable: ({ index, generation }) => told.push(`durable ${index} of ${generation}`),
      stuck: () => told.push("stuck"),
      failed: () => told.push("failed"),
    },
    undefined,
  );
  const write = (indexes: readonly number[], { truncateTo, generation = 1, installs = false }: WriteOptions = {}): void => {
    const stamped = indexes.map((index): StampedEntry => {
      const { kind, term, span, baseOffset } = entryOf(index);
      const payload = batchOf(`value ${index}`);
      return { kind, index, term, span, baseOffset, appendTime: world.clock.now(), flags: 0, payload };
    });
    const install = installs ? { index: 1, term: 1, nextOffset: 1, lastIndex: 2 } : undefined;
    writer.write({ generation, install, truncateTo, entries: indexes.map(entryOf) }, stamped);
  };
  return { world, writer, write, told, syncs };
}

interface WriteOptions {
  readonly truncateTo?: number;
  readonly generation?: number;
  readonly installs?: boolean;
}

/** Data of one record, one after the other. */
function entryOf(index: number): Entry {
  return { index, term: 1, kind: "data", span: 1, baseOffset: index - 1, bytes: 100 };
}
