import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { KiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { LargeBatch, Log, LogOptions, Portion } from "./log.ts";

const wholeMaxBytes = 8 * KiB;
const sizes = [100, 8 * KiB, 50 * KiB, 10, 300 * KiB, 9 * KiB, 5 * KiB, 7];

function batchOf(size: number): Buffer {
  return encodeBatch([{ key: `${size}`, value: Buffer.alloc(size, size) }], { now: 1 });
}

async function openFilled(world: LogWorld, options: LogOptions = {}): Promise<Log> {
  const log = await world.open(options);
  for (const size of sizes) await log.appendBatch(batchOf(size));
  return log;
}

async function contentOf(batch: LargeBatch): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of batch.read(4 * KiB)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The batch at offset 4, of 300 KiB, and what has read as far as that. */
async function beginLarge(log: Log): Promise<{ batch: LargeBatch; portions: AsyncGenerator<Portion, void> }> {
  const portions = log.portions({ from: 4, wholeMaxBytes, maxPieceBytes: wholeMaxBytes });
  const { value } = await portions.next();
  assert.ok(value?.kind === "large");
  return { batch: value.batch, portions };
}

/** Reads the first piece, does something to the log, and reads the rest. */
async function readAround(log: Log, change: () => Promise<void> | void): Promise<Buffer> {
  const { batch, portions } = await beginLarge(log);
  const reader = batch.read(4 * KiB);
  const { value: first } = await reader.next();
  const pieces = [first ?? assert.fail()];
  await change();
  try {
    for await (const piece of reader) pieces.push(piece);
  } finally {
    await portions.return();
  }
  return Buffer.concat(pieces);
}

describe("a batch that is too large to be read whole", () => {
  test("comes alone, in its place, and is the same piece by piece; smaller ones come whole", async () => {
    for (const reusesMemory of [false, true]) {
      const world = new LogWorld();
      const log = await openFilled(world, { segmentMaxBytes: 200 * KiB });
      const seen: (readonly [kind: string, offset: number])[] = [];
      for await (const portion of log.portions({ wholeMaxBytes, maxPieceBytes: wholeMaxBytes, reusesMemory })) {
        for (const batch of portion.kind === "large" ? [portion.batch] : portion.batches) {
          const bytes = "batch" in batch ? batch.batch : await contentOf(batch);
          const expected = batchOf(sizes[batch.baseOffset] ?? 0);
          assert.ok(bytes.subarray(21).equals(expected.subarray(21)), `offset ${batch.baseOffset}`);
          assert.equal(Number(bytes.readBigInt64BE()), batch.baseOffset);
          assert.equal(batch.nextOffset, batch.baseOffset + 1);
          seen.push([portion.kind, batch.baseOffset]);
        }
      }
      const kinds = sizes.map((size, offset) => [size >= 8 * KiB ? "large" : "batches", offset]);
      assert.deepEqual(seen, kinds);
      await log.close();
    }
  });

  test("is as large as it may be whole when it fits, and comes in pieces at one byte more", async () => {
    const log = await new LogWorld().open();
    const batch = batchOf(20 * KiB);
    await log.appendBatch(batch);
    const frameBytes = 56 + batch.length;
    for (const [max, kind] of [
      [frameBytes, "batches"],
      [frameBytes - 1, "large"],
    ] as const) {
      const { value } = await log.portions({ wholeMaxBytes: max, maxPieceBytes: 4 * KiB }).next();
      assert.equal(value?.kind, kind);
    }
    await log.close();
  });

  test("is read no further than it is asked for", async () => {
    let readBytes = 0;
    const log = await openFilled(new LogWorld(), { observer: { read: ({ bytes }) => (readBytes += bytes) } });
    await readAround(log, () => assert.equal(readBytes, 4 * KiB));
    assert.equal(readBytes, batchOf(300 * KiB).length);
    await log.close();
  });

  test("that has rotted fails before its last piece, and is reported", async () => {
    const world = new LogWorld();
    const log = await openFilled(world);
    const path = world.path(1);
    const bytes = world.disk.contentOf(path);
    const at = 200 * KiB;
    const { batch } = await beginLarge(log);
    const file = world.disk.open(path, "write");
    file.writeSync([Buffer.from([(bytes[at] ?? 0) ^ 1])], at);
    file.close();
    let pieceCount = 0;
    await assert.rejects(
      async () => {
        for await (const piece of batch.read(4 * KiB)) pieceCount += Math.sign(piece.length);
      },
      { code: "LOG_CORRUPT" },
    );
    assert.equal(pieceCount, Math.ceil(batch.byteLength / (4 * KiB)) - 1);
    assert.equal(log.status().damages, 1);
    await log.close();
  });

  test("that is trimmed, truncated, compacted or closed away while it is read ends with that", async () => {
    const options = { segmentMaxBytes: 200 * KiB };
    const trimmed = await openFilled(new LogWorld(), options);
    await assert.rejects(
      readAround(trimmed, () => trimmed.trim(5)),
      {
        code: "OFFSET_OUT_OF_RANGE",
        message: "Cannot go on reading at offset 5: the log starts at 5 now",
      },
    );
    await trimmed.close();

    const truncated = await openFilled(new LogWorld(), options);
    await assert.rejects(
      readAround(truncated, () => truncated.truncate(4)),
      {
        code: "OFFSET_OUT_OF_RANGE",
        message: "Cannot go on reading at offset 5: the log was truncated to 4 meanwhile",
      },
    );
    await truncated.close();

    const compacted = await openFilled(new LogWorld(), { ...options, cleanup: "compact" });
    const compact = async (): Promise<void> => {
      for (const size of sizes) await compacted.appendBatch(batchOf(size));
      await compacted.appendBatch(batchOf(300 * KiB));
      await compacted.compact();
    };
    await assert.rejects(readAround(compacted, compact), {
      code: "UNAVAILABLE",
      message: "Cannot go on reading at offset 4: the log was compacted meanwhile",
    });
    await compacted.close();

    const closed = await openFilled(new LogWorld(), options);
    await assert.rejects(
      readAround(closed, () => closed.close()),
      { code: "LOG_CLOSED" },
    );
  });
});
