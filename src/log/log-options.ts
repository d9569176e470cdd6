import type { TimestampType } from "../batch/batch-header.ts";
import { checkCompression, type Compression, compressions } from "../batch/compression.ts";
import { ProglogError } from "../base/error.ts";
import {
  appendQueueMaxBytes,
  batchMaxBytes,
  compactionMapMaxBytes,
  groupMaxBytes,
  recordMaxBytes,
  segmentMinBytes,
} from "../base/limits.ts";
import { dayMs, KiB, MiB, minuteMs, secondMs } from "../base/units.ts";
import type { Cleanup, LogOptions, SyncPolicy } from "./log.ts";
import type { WriterOptions } from "./log-writer.ts";

/** Options with their defaults, checked. */
export interface ResolvedOptions extends WriterOptions {
  readonly index: "auto" | "mmap" | "heap";
  readonly retentionMaxBytes: number;
  readonly retentionMaxAgeMs: number;
  readonly retentionIntervalMs: number;
  readonly cleanup: Cleanup;
  readonly tombstoneRetentionMs: number;
  readonly compactionIntervalMs: number;
  readonly compactionMinDirtyRatio: number;
  readonly compactionBytesPerSecond: number;
  readonly compactionMapMaxBytes: number;
  readonly tombstoneCeiling: (() => number) | undefined;
  readonly recordMaxBytes: number;
  readonly batchMaxBytes: number;
  readonly compression: Compression;
  readonly batchCompression: "producer" | Compression;
  readonly timestampType: TimestampType;
  readonly deepCheck: boolean;
  readonly producerExpiryMs: number;
  readonly scrubIntervalMs: number | undefined;
  readonly scrubBytesPerSecond: number;
  readonly createIfMissing: boolean;
  readonly takesLock: boolean;
}

const syncPolicies: readonly SyncPolicy[] = ["always", "interval", "never"];
const cleanups: readonly Cleanup[] = ["delete", "compact", "both"];
const indexKinds = ["auto", "mmap", "heap"] as const;
const timestampTypes: readonly TimestampType[] = ["create", "append"];

/** Throws INVALID_ARGUMENT with details {option}, and UNSUPPORTED_COMPRESSION for a compression whose package isn't installed. */
export function resolveOptions(options: LogOptions): ResolvedOptions {
  const compression = oneOf("compression", options.compression ?? "none", compressions);
  const batchCompression = oneOf("batchCompression", options.batchCompression ?? "producer", ["producer", ...compressions]);
  // Now, and not with the first append.
  checkCompression(compression, `Cannot open a log with compression "${compression}"`);
  if (batchCompression !== "producer")
    checkCompression(batchCompression, `Cannot open a log with batchCompression "${batchCompression}"`);
  return {
    sync: oneOf("sync", options.sync ?? "always", syncPolicies),
    syncIntervalMs: within("syncIntervalMs", options.syncIntervalMs ?? secondMs, 1, dayMs),
    segmentMaxBytes: within("segmentMaxBytes", options.segmentMaxBytes ?? 256 * MiB, segmentMinBytes, 2 ** 40),
    segmentMaxAgeMs: within("segmentMaxAgeMs", options.segmentMaxAgeMs ?? 7 * dayMs, 1, Number.POSITIVE_INFINITY),
    indexMaxBytes: within("indexMaxBytes", options.indexMaxBytes ?? 16 * MiB, 16, 1024 * MiB),
    index: oneOf("index", options.index ?? "auto", indexKinds),
    retentionMaxBytes: within(
      "retentionMaxBytes",
      options.retentionMaxBytes ?? Number.POSITIVE_INFINITY,
      0,
      Number.POSITIVE_INFINITY,
    ),
    retentionMaxAgeMs: within(
      "retentionMaxAgeMs",
      options.retentionMaxAgeMs ?? Number.POSITIVE_INFINITY,
      0,
      Number.POSITIVE_INFINITY,
    ),
    retentionIntervalMs: within("retentionIntervalMs", options.retentionIntervalMs ?? minuteMs, 1, dayMs),
    cleanup: oneOf("cleanup", options.cleanup ?? "delete", cleanups),
    tombstoneRetentionMs: within("tombstoneRetentionMs", options.tombstoneRetentionMs ?? dayMs, 0, Number.POSITIVE_INFINITY),
    compactionIntervalMs: within("compactionIntervalMs", options.compactionIntervalMs ?? minuteMs, 1, dayMs),
    compactionMinDirtyRatio: ratio("compactionMinDirtyRatio", options.compactionMinDirtyRatio ?? 0.5),
    compactionBytesPerSecond: within(
      "compactionBytesPerSecond",
      options.compactionBytesPerSecond ?? 32 * MiB,
      1 * KiB,
      Number.POSITIVE_INFINITY,
    ),
    compactionMapMaxBytes: within(
      "compactionMapMaxBytes",
      options.compactionMapMaxBytes ?? compactionMapMaxBytes,
      1 * KiB,
      1024 * MiB,
    ),
    tombstoneCeiling: options.tombstoneCeiling,
    recordMaxBytes: within("recordMaxBytes", options.recordMaxBytes ?? recordMaxBytes, 1, recordMaxBytes),
    batchMaxBytes: within("batchMaxBytes", options.batchMaxBytes ?? batchMaxBytes, 1 * KiB, batchMaxBytes),
    compression,
    batchCompression,
    timestampType: oneOf("timestampType", options.timestampType ?? "create", timestampTypes),
    deepCheck: oneOf("deepCheck", options.deepCheck ?? false, [true, false]),
    appendQueueMaxBytes: within("appendQueueMaxBytes", options.appendQueueMaxBytes ?? appendQueueMaxBytes, 1, 2 ** 40),
    groupMaxBytes: within("groupMaxBytes", options.groupMaxBytes ?? groupMaxBytes, 1, 1024 * MiB),
    producerExpiryMs: within("producerExpiryMs", options.producerExpiryMs ?? dayMs, 1, Number.POSITIVE_INFINITY),
    scrubIntervalMs:
      options.scrubIntervalMs === undefined ? undefined : within("scrubIntervalMs", options.scrubIntervalMs, 1, 365 * dayMs),
    scrubBytesPerSecond: within(
      "scrubBytesPerSecond",
      options.scrubBytesPerSecond ?? 16 * MiB,
      1 * KiB,
      Number.POSITIVE_INFINITY,
    ),
    createIfMissing: options.createIfMissing ?? true,
    takesLock: options.takesLock ?? true,
  };
}

function within(name: string, value: number, min: number, max: number): number {
  const isWhole = Number.isSafeInteger(value) || value === Number.POSITIVE_INFINITY;
  if (isWhole && value >= min && value <= max) return value;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use ${name} ${value} for a log: it must be a whole number from ${min} to ${max}`,
    {
      details: { option: name },
    },
  );
}

function ratio(name: string, value: number): number {
  if (value >= 0 && value <= 1) return value;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot open a log with ${name} ${value}: it must be a number from 0 to 1`, {
    details: { option: name },
  });
}

function oneOf<T extends string | boolean>(name: string, value: T, choices: readonly T[]): T {
  if (choices.includes(value)) return value;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use ${name} "${value}" for a log: it must be one of ${choices.join(", ")}`,
    {
      details: { option: name },
    },
  );
}
