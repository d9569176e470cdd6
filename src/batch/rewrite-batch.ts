import { batchMaxBytes } from "../base/limits.ts";
import { type BatchHeader, batchHeaderBytes, type TimestampType, writeBatchHeader } from "./batch-header.ts";
import { type Compression, compress } from "./compression.ts";

export interface BatchRewrite {
  /** The records' bytes as they are to be compressed; for the codec that the batch has, its own body does. */
  readonly body: Buffer;
  readonly compression: Compression;
  readonly timestampType: TimestampType;
  readonly maxTimestamp: number;
  /** Bytes of the new batch. Default: `batchMaxBytes`. */
  readonly maxBytes?: number;
}

/**
 * A copy of a batch under another header, sealed anew: another codec, or times of the append. The records stay byte for byte what
 * their producer made, so offset deltas, its own times and its sequence numbers do; base offset and leader epoch are 0.
 *
 * Throws UNSUPPORTED_COMPRESSION, and BATCH_TOO_LARGE where the codec needs more than `maxBytes`; "none" is up to the caller.
 */
export function rewriteBatch(header: BatchHeader, rewrite: BatchRewrite): Buffer {
  const { compression, timestampType, maxTimestamp, maxBytes = batchMaxBytes } = rewrite;
  const isSame = compression === header.compression;
  const body = isSame ? rewrite.body : compress(compression, rewrite.body, maxBytes - batchHeaderBytes);
  const batch = Buffer.allocUnsafeSlow(batchHeaderBytes + body.length);
  batch.set(body, batchHeaderBytes);
  writeBatchHeader(batch, { ...header, compression, timestampType, maxTimestamp });
  return batch;
}
