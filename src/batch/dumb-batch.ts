import { crc32c } from "./crc32c.ts";

/**
 * The dumb twin of the encoder, for tests: no limits, no checks, `bigint` and small pieces, written from the layout alone. Its
 * fields can be given any value, so it makes the batches that the encoder never would.
 */
export function dumbBatch(records: readonly Uint8Array[], fields: DumbBatchFields = {}): Buffer {
  const body = fields.body ?? Buffer.concat(records);
  const head = new DataView(new ArrayBuffer(61));
  head.setBigInt64(0, fields.baseOffset ?? 0n);
  head.setInt32(8, fields.batchLength ?? 49 + body.length);
  head.setInt32(12, fields.leaderEpoch ?? 0);
  head.setInt8(16, fields.magic ?? 2);
  head.setUint16(21, fields.attributes ?? 0);
  head.setInt32(23, fields.lastOffsetDelta ?? records.length - 1);
  head.setBigInt64(27, fields.baseTimestamp ?? 0n);
  head.setBigInt64(35, fields.maxTimestamp ?? 0n);
  head.setBigInt64(43, fields.producerId ?? -1n);
  head.setInt16(51, fields.producerEpoch ?? -1);
  head.setInt32(53, fields.baseSequence ?? -1);
  head.setInt32(57, fields.recordCount ?? records.length);
  const batch = Buffer.concat([Buffer.from(head.buffer), body]);
  batch.writeUInt32BE(fields.crc ?? crc32c(batch, 21), 17);
  return batch;
}

export interface DumbBatchFields {
  readonly baseOffset?: bigint;
  readonly batchLength?: number;
  readonly leaderEpoch?: number;
  readonly magic?: number;
  readonly crc?: number;
  readonly attributes?: number;
  readonly lastOffsetDelta?: number;
  readonly baseTimestamp?: bigint;
  readonly maxTimestamp?: bigint;
  readonly producerId?: bigint;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly recordCount?: number;
  /** What follows the header, instead of the records. */
  readonly body?: Uint8Array;
}

/** A record; lengths and counts are those of the parts unless given. */
export function dumbRecord(fields: DumbRecordFields = {}): Buffer {
  const { key = null, value = null, headers = [] } = fields;
  const body = Buffer.concat([
    Buffer.from([fields.attributes ?? 0]),
    dumbVarint(fields.timestampDelta ?? 0n),
    dumbVarint(fields.offsetDelta ?? 0n),
    dumbVarint(fields.keyLength ?? BigInt(key?.length ?? -1)),
    key ?? Buffer.alloc(0),
    dumbVarint(fields.valueLength ?? BigInt(value?.length ?? -1)),
    value ?? Buffer.alloc(0),
    dumbVarint(fields.headerCount ?? BigInt(headers.length)),
    ...headers.flatMap(([name, content]) => [
      dumbVarint(BigInt(name?.length ?? -1)),
      name ?? Buffer.alloc(0),
      dumbVarint(BigInt(content?.length ?? -1)),
      content ?? Buffer.alloc(0),
    ]),
  ]);
  return Buffer.concat([dumbVarint(fields.length ?? BigInt(body.length)), body]);
}

export interface DumbRecordFields {
  readonly length?: bigint;
  readonly attributes?: number;
  readonly timestampDelta?: bigint;
  readonly offsetDelta?: bigint;
  readonly keyLength?: bigint;
  readonly key?: Uint8Array | null;
  readonly valueLength?: bigint;
  readonly value?: Uint8Array | null;
  readonly headerCount?: bigint;
  readonly headers?: readonly (readonly [Uint8Array | null, Uint8Array | null])[];
}

/** A zigzag varint of up to 64 bits. */
export function dumbVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value < 0n ? -value * 2n - 1n : value * 2n;
  for (; rest >= 128n; rest /= 128n) bytes.push(Number(rest % 128n) + 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
