import assert from "node:assert/strict";
import { test } from "node:test";
import { batchMaxBytes, recordMaxBytes } from "../base/limits.ts";
import { dayMs, KiB, MiB } from "../base/units.ts";
import type { LogOptions } from "./log.ts";
import { resolveOptions } from "./log-options.ts";

test("the defaults are those that the options' documentation tells", () => {
  assert.deepEqual(resolveOptions({}), {
    sync: "always",
    syncIntervalMs: 1000,
    segmentMaxBytes: 256 * MiB,
    segmentMaxAgeMs: 7 * dayMs,
    indexMaxBytes: 16 * MiB,
    index: "auto",
    retentionMaxBytes: Number.POSITIVE_INFINITY,
    retentionMaxAgeMs: Number.POSITIVE_INFINITY,
    retentionIntervalMs: 60_000,
    cleanup: "delete",
    tombstoneRetentionMs: 1 * dayMs,
    compactionIntervalMs: 60_000,
    compactionMinDirtyRatio: 0.5,
    compactionBytesPerSecond: 32 * MiB,
    compactionMapMaxBytes: 128 * MiB,
    tombstoneCeiling: undefined,
    recordMaxBytes: 1 * MiB,
    batchMaxBytes: 4 * MiB,
    compression: "none",
    batchCompression: "producer",
    timestampType: "create",
    deepCheck: false,
    appendQueueMaxBytes: 64 * MiB,
    groupMaxBytes: 8 * MiB,
    producerExpiryMs: 1 * dayMs,
    scrubIntervalMs: undefined,
    scrubBytesPerSecond: 16 * MiB,
    createIfMissing: true,
    takesLock: true,
  });
});

test("what is given is taken, at the limits too", () => {
  const given = {
    sync: "interval",
    syncIntervalMs: 1,
    segmentMaxBytes: 1 * KiB,
    segmentMaxAgeMs: 1,
    indexMaxBytes: 16,
    index: "heap",
    retentionMaxBytes: 0,
    retentionMaxAgeMs: 0,
    retentionIntervalMs: 1,
    cleanup: "both",
    tombstoneRetentionMs: 0,
    compactionIntervalMs: 1,
    compactionMinDirtyRatio: 0,
    compactionBytesPerSecond: 1 * KiB,
    compactionMapMaxBytes: 1 * KiB,
    tombstoneCeiling: () => 7,
    recordMaxBytes: 1,
    batchMaxBytes: 1 * KiB,
    compression: "zstd",
    batchCompression: "gzip",
    timestampType: "append",
    deepCheck: true,
    appendQueueMaxBytes: 1,
    groupMaxBytes: 1,
    producerExpiryMs: 1,
    scrubIntervalMs: 1,
    scrubBytesPerSecond: 1 * KiB,
    createIfMissing: false,
    takesLock: false,
  } as const;
  assert.deepEqual(resolveOptions(given), given);
});

const refused: readonly (readonly [keyof LogOptions, unknown])[] = [
  ["sync", "sometimes"],
  ["index", "disk"],
  ["compression", "brotli"],
  ["batchCompression", "brotli"],
  ["timestampType", "log"],
  ["deepCheck", "true"],
  ["cleanup", "none"],
  ["tombstoneRetentionMs", -1],
  ["syncIntervalMs", 0],
  ["segmentMaxBytes", 1 * KiB - 1],
  ["segmentMaxBytes", 2 ** 40 + 1],
  ["segmentMaxBytes", 4096.5],
  ["segmentMaxBytes", Number.NaN],
  ["segmentMaxBytes", "4096"],
  ["segmentMaxAgeMs", 0],
  ["indexMaxBytes", 15],
  ["retentionMaxBytes", -1],
  ["retentionMaxAgeMs", -1],
  ["retentionIntervalMs", 0],
  ["compactionIntervalMs", 0],
  ["compactionMinDirtyRatio", -0.1],
  ["compactionMinDirtyRatio", 1.1],
  ["compactionMinDirtyRatio", Number.NaN],
  ["compactionBytesPerSecond", 1023],
  ["compactionMapMaxBytes", 1023],
  ["compactionMapMaxBytes", 1024 * MiB + 1],
  ["recordMaxBytes", recordMaxBytes + 1],
  ["batchMaxBytes", batchMaxBytes + 1],
  ["batchMaxBytes", 1023],
  ["appendQueueMaxBytes", 0],
  ["groupMaxBytes", 0],
  ["producerExpiryMs", 0],
  ["scrubIntervalMs", 0],
  ["scrubBytesPerSecond", 1023],
];

test("what is out of range is refused, and named", () => {
  for (const [option, value] of refused) {
    assert.throws(
      () => resolveOptions({ [option]: value }),
      { code: "INVALID_ARGUMENT", details: { option } },
      `${option} ${String(value)}`,
    );
  }
});
