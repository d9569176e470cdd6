import { assert } from "../base/assert.ts";
import { type BatchHeader, batchHeaderBytes, writeBatchHeader } from "./batch-header.ts";

/** What a producer's retries are recognized by: -1 in all three where it has none. */
export type ProducerFields = Pick<BatchHeader, "producerId" | "producerEpoch" | "baseSequence">;

const noProducer: ProducerFields = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

/**
 * A batch of no records that spans offsets all the same: what is left of one that compaction emptied or repair gave up, so
 * that offsets have no holes. Base offset and leader epoch are stamped by whoever writes it.
 */
export function encodeEmptyBatch(span: number, producer: ProducerFields = noProducer): Buffer {
  assert(Number.isSafeInteger(span) && span >= 1 && span <= 2 ** 31, "a batch spans 1 to 2^31 offsets");
  const batch = Buffer.alloc(batchHeaderBytes);
  writeBatchHeader(batch, {
    compression: "none",
    baseTimestamp: -1,
    maxTimestamp: -1,
    producerId: producer.producerId,
    producerEpoch: producer.producerEpoch,
    baseSequence: producer.baseSequence,
    recordCount: 0,
    lastOffsetDelta: span - 1,
  });
  return batch;
}
