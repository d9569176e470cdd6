import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { createSimDisk } from "../../sim/disk.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { readTurnBytes, recordOverheadBytes } from "../base/limits.ts";
import { type Log, openLog } from "../log/index.ts";
import { readRecords, unpackedBytes } from "./read-records.ts";

const clock = createVirtualClock();
const valueBytes = 1000 - recordOverheadBytes;

describe("reading records for an answer", () => {
  test("ends where they take as much as was asked for, unpacked, amid a batch and across batches", async () => {
    await using log = await openTestLog();
    for (let batch = 0; batch < 3; batch += 1) await appendThousands(log, 4);
    const packedBytes = log.status().storeBytes;
    assert(packedBytes < 1000, "the batches are compressed");
    for (const [from, maxBytes, count] of [
      [0, 1, 1],
      [0, 1999, 1],
      [0, 2000, 2],
      [1, 3000, 3],
      [1, 5000, 5],
      [2, 4999, 4],
      [0, 11_999, 11],
      [0, 12_000, 12],
      [11, 12_000, 1],
    ] as const) {
      const read = await readRecords(log, from, { limit: 100, maxBytes }, clock);
      const offsets = Array.from({ length: count }, (_, number) => from + number);
      assert.deepEqual(
        read.records.map(({ offset }) => offset),
        offsets,
        `from ${from}, ${maxBytes} bytes`,
      );
      assert.equal(read.nextOffset, from + count);
    }
  });

  test("counts keys, values, headers, and something for each record and each header", async () => {
    await using log = await openTestLog();
    await log.append([{ key: "ab", value: null, headers: [{ key: "ü", value: "xyz" }] }]);
    const { records } = await readRecords(log, 0, { limit: 1, maxBytes: 1 }, clock);
    const [record] = records;
    assert(record !== undefined);
    assert.equal(unpackedBytes(record), 2 * recordOverheadBytes + 2 + 2 + 3);
  });

  test("passes over batches without records in one read, however little is asked for", async () => {
    await using log = await openTestLog({ cleanup: "compact", tombstoneRetentionMs: 0, indexMaxBytes: 8 * 16 });
    for (let number = 0; number < 200; number += 1) await log.append([{ key: "k", value: `${number}` }]);
    await log.compact();
    let emptyCount = 0;
    for await (const batch of log.batches({ from: 0 })) {
      if (batch.recordCount > 0) break;
      emptyCount += 1;
    }
    assert(emptyCount >= 2, `${emptyCount} batches without records lie there`);
    const { records, nextOffset } = await readRecords(log, 0, { limit: 1, maxBytes: 1 }, clock);
    assert.equal(records.length, 1);
    assert(nextOffset > 100);
  });

  test("ends before what there is no room for, and is refused when that comes first", async () => {
    await using log = await openTestLog();
    for (let batch = 0; batch < 3; batch += 1) await appendThousands(log, 4);
    let leftBytes = 9_000;
    const take = (bytes: number): void => {
      if (bytes > leftBytes) throw new Error("no room");
      leftBytes -= bytes;
    };
    const bounds = { limit: 100, maxBytes: 1_000_000, take };
    const { records, nextOffset } = await readRecords(log, 0, bounds, clock);
    assert.deepEqual([records.length, nextOffset, leftBytes], [8, 8, 1_000]);
    await assert.rejects(readRecords(log, 8, bounds, clock), { message: "no room" });
  });

  test("lets others have their turn, and ends when its signal is aborted meanwhile", async () => {
    await using log = await openTestLog();
    const perBatch = Math.ceil(readTurnBytes / 1000);
    for (let batch = 0; batch < 8; batch += 1) await appendThousands(log, perBatch);
    const gone = new AbortController();
    let turns = 0;
    const turn = async (): Promise<void> => {
      turns += 1;
      if (turns === 3) gone.abort();
    };
    const bounds = { limit: 1_000_000, maxBytes: 1_000_000_000, signal: gone.signal };
    const { nextOffset } = await readRecords(log, 0, bounds, { ...clock, turn });
    assert.deepEqual([turns, nextOffset], [3, 3 * perBatch]);
  });
});

function openTestLog(options: object = {}): Promise<Log> {
  const disk = createSimDisk();
  return openLog("/log", { disk, clock, random: createSeededRandom(1), compression: "zstd", ...options });
}

/** Records that count for a thousand bytes each, as one batch. */
async function appendThousands(log: Log, count: number): Promise<void> {
  await log.append(Array.from({ length: count }, () => ({ value: "a".repeat(valueBytes) })));
}
