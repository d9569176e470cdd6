import { type BatchHeader, batchHeaderBytes, readBatchHeader } from "../batch/batch-header.ts";
import { checkBatch, openBatch } from "../batch/check-batch.ts";
import { rewriteBatch } from "../batch/rewrite-batch.ts";
import { ProglogError } from "../base/error.ts";
import type { LogObserver } from "./log-observer.ts";
import type { ResolvedOptions } from "./log-options.ts";

/** A batch that may be queued. */
export interface AdmittedBatch {
  readonly batch: Buffer;
  readonly header: BatchHeader;
}

/**
 * The door for packed batches: checks one as deep as the log's options ask, and gives back what is to be appended. That is the
 * batch itself wherever possible; a copy when it comes in another codec than the log keeps, or when the log sets the times. `now` is
 * the time it gets then.
 */
export function admitBatch(
  batch: Buffer,
  options: ResolvedOptions,
  { now, observer }: { readonly now: number; readonly observer: LogObserver },
): AdmittedBatch {
  const { batchMaxBytes: maxBytes, recordMaxBytes, batchCompression, timestampType } = options;
  const requiresKeys = options.cleanup !== "delete";
  const header = checkBatch(batch, { maxBytes, recordMaxBytes, requiresKeys });
  const compression = batchCompression === "producer" ? header.compression : batchCompression;
  const isRepacked = compression !== header.compression;
  const isOpened = header.compression !== "none" && (isRepacked || isDeep(options));
  const records = isOpened
    ? openBatch(batch, header, { maxBytes: recordMaxBytes, requiresKeys })
    : batch.subarray(batchHeaderBytes);
  if (!isRepacked && timestampType === "create") return { batch, header };

  const rewritten = rewriteBatch(header, {
    body: isRepacked ? records : batch.subarray(batchHeaderBytes),
    compression,
    timestampType: timestampType === "append" ? "append" : header.timestampType,
    maxTimestamp: timestampType === "append" ? now : header.maxTimestamp,
    maxBytes,
  });
  checkBatchBytes(rewritten, maxBytes);
  if (isRepacked) observer.repacked?.({ bytes: rewritten.length, batches: 1 });
  return { batch: rewritten, header: readBatchHeader(rewritten) };
}

/** Throws BATCH_TOO_LARGE. */
export function checkBatchBytes(batch: Buffer, maxBytes: number): void {
  if (batch.length <= maxBytes) return;
  throw new ProglogError("BATCH_TOO_LARGE", `Cannot append a batch of ${batch.length} bytes: ${maxBytes} are allowed`, {
    hint: "Append fewer records at a time.",
  });
}

/** What compaction has to read later must be readable. */
function isDeep({ deepCheck, cleanup }: ResolvedOptions): boolean {
  return deepCheck || cleanup !== "delete";
}
