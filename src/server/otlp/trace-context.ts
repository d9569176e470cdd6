import { traceSearchMaxCount } from "../../base/limits.ts";
import { batchHeaderBytes, readBatchHeader } from "../../batch/batch-header.ts";
import type { RecordInput } from "../../batch/record.ts";
import { RecordReader } from "../../batch/record-reader.ts";
import { invalidBatch } from "../../batch/refusal.ts";

/** Where a span belongs: what the header `traceparent` of a record says (W3C Trace Context). */
export interface TraceContext {
  /** 32 hex digits. */
  readonly traceId: string;
  /** Of the span that is its parent, 16 hex digits. */
  readonly spanId: string;
}

/** The first context in the headers of records whose trace is kept. */
export function findContextOf(records: readonly RecordInput[]): TraceContext | undefined {
  for (let i = 0; i < Math.min(records.length, traceSearchMaxCount); i += 1) {
    const header = records[i]?.headers?.find(({ key }) => key === headerName);
    const { value = null } = header ?? {};
    const context =
      value === null ? undefined : parseTraceparent(typeof value === "string" ? value : Buffer.from(value).toString("latin1"));
    if (context !== undefined) return context;
  }
  return undefined;
}

/** The same of a packed batch, whatever its bytes are. A compressed one isn't unpacked for it: nothing is found there. */
export function findContextIn(batch: Buffer): TraceContext | undefined {
  try {
    const { compression, recordCount } = readBatchHeader(batch);
    if (compression !== "none") return undefined;
    const reader = new RecordReader(batch, batchHeaderBytes, batch.length, invalidBatch("Cannot trace the batch"));
    for (let i = 0; i < Math.min(recordCount, traceSearchMaxCount); i += 1) {
      const context = readContext(batch, reader);
      if (context !== undefined) return context;
    }
  } catch {
    // What is wrong with it, its append will say.
  }
  return undefined;
}

/** Of the reader's next record. */
function readContext(batch: Buffer, reader: RecordReader): TraceContext | undefined {
  reader.readRecord();
  let context: TraceContext | undefined;
  for (let left = reader.headerCount; left > 0; left -= 1) {
    reader.readHeader();
    const { headerKeyStart, headerKeyBytes, headerValueStart, headerValueBytes } = reader;
    if (context !== undefined || headerValueBytes !== valueBytes || headerKeyBytes !== headerName.length) continue;
    if (batch.toString("latin1", headerKeyStart, headerKeyStart + headerKeyBytes) !== headerName) continue;
    context = parseTraceparent(batch.toString("latin1", headerValueStart, headerValueStart + valueBytes));
  }
  reader.endRecord();
  return context;
}

/** Undefined for what isn't one, and for a trace that nobody keeps. */
export function parseTraceparent(text: string): TraceContext | undefined {
  const [, traceId, spanId, flags] = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const isSampled = (Number.parseInt(flags, 16) & 1) === 1;
  return isSampled && !/^0+$/.test(traceId) && !/^0+$/.test(spanId) ? { traceId, spanId } : undefined;
}

const headerName = "traceparent";
/** Of the two ids, version and flags, with hyphens between. */
const valueBytes = 55;
