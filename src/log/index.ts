/** The log as a library: `import { openLog } from "proglog/log"`. */
export type { Compression } from "../batch/compression.ts";
export { decodeBatch } from "../batch/decode-batch.ts";
export { encodeBatch } from "../batch/encode-batch.ts";
export type { RecordHeader, RecordInput, StoredHeader, StoredRecord } from "../batch/record.ts";
export type { ErrorCode, ErrorDetails } from "../base/error.ts";
export { isProglogError, ProglogError } from "../base/error.ts";
export type { Logger } from "../base/logger.ts";
export type {
  AppendOptions,
  AppendResult,
  BatchReadOptions,
  Cleanup,
  CompactionReport,
  LargeBatch,
  Log,
  LogChanges,
  LogOptions,
  LogStatus,
  Portion,
  PortionReadOptions,
  ReadOptions,
  RecoveryReport,
  ScrubReport,
  StartingPoint,
  StoredBatch,
  SyncPolicy,
} from "./log.ts";
export type { LogDamage, LogObserver } from "./log-observer.ts";
export { openLog, openMemoryLog } from "./open-log.ts";
