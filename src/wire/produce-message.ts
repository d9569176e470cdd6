import { ProglogError } from "../base/error.ts";
import { produceRequestMaxCount } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import { type ProtoError, protoErrorBytes, readProtoError, writeProtoError } from "./proto-error.ts";
import { ProtoReader } from "./proto-reader.ts";
import { protoRecordBytes, readProtoRecord, writeProtoRecord } from "./proto-record.ts";
import { fieldSpanBytes, intBytes, ProtoWriter, spanBytes, uintBytes } from "./proto-writer.ts";

/** `log.v1.ProduceRequest` and `ProduceResponse` (proto/log/v1/log.proto), by hand: with numbers, and views instead of copies. */
export interface ProduceRequest {
  /** "" for the default one. */
  readonly topic: string;
  readonly partition?: number | undefined;
  /** Exactly one of `record`, `records` that aren't empty, and `batch`: whoever takes the request checks that. */
  readonly record?: RecordInput | undefined;
  readonly records: readonly RecordInput[];
  /** A view into the message. */
  readonly batch?: Buffer | undefined;
  readonly acks: Acks;
  readonly producer?: ProducerSequence | undefined;
  readonly expectedOffset?: number | undefined;
  readonly answersErrors: boolean;
}

export const acksLevels = ["quorum", "leader", "none"] as const;

export type Acks = (typeof acksLevels)[number];

export interface ProducerSequence {
  readonly id: number;
  readonly epoch: number;
  readonly baseSequence: number;
}

const requestFields = {
  record: 1,
  topic: 2,
  partition: 3,
  records: 4,
  batch: 5,
  acks: 6,
  producer: 7,
  expectedOffset: 8,
  answersErrors: 9,
} as const;
const producerFields = { id: 1, epoch: 2, baseSequence: 3 } as const;

/** Throws INVALID_ARGUMENT or INVALID_RECORD. */
export function decodeProduceRequest(bytes: Buffer): ProduceRequest {
  const reader = new ProtoReader(bytes, "ProduceRequest");
  let topic = "";
  let partition: number | undefined;
  let record: RecordInput | undefined;
  const records: RecordInput[] = [];
  /** Of records and their headers. */
  let count = 0;
  let batch: Buffer | undefined;
  let acks = 0;
  let producer: ProducerSequence | undefined;
  let expectedOffset: number | undefined;
  let answersErrors = false;
  while (reader.next()) {
    switch (reader.field) {
      case requestFields.record:
        record = readProtoRecord(reader.message("Record"));
        break;
      case requestFields.topic:
        topic = reader.string();
        break;
      case requestFields.partition:
        partition = reader.uint32();
        break;
      case requestFields.records:
        {
          const each = readProtoRecord(reader.message("Record"));
          count += 1 + each.headers.length;
          if (count > produceRequestMaxCount) throw tooManyError();
          records.push(each);
        }
        break;
      case requestFields.batch:
        batch = reader.bytes();
        break;
      case requestFields.acks:
        acks = reader.uint32();
        break;
      case requestFields.producer:
        producer = readProducer(reader.message("Producer"));
        break;
      case requestFields.expectedOffset:
        expectedOffset = reader.uint64();
        break;
      case requestFields.answersErrors:
        answersErrors = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  const level = acksLevels[acks];
  if (level === undefined) {
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot produce with acks ${acks}: there are 0 (quorum), 1 (leader) and 2 (none)`,
    );
  }
  return { topic, partition, record, records, batch, acks: level, producer, expectedOffset, answersErrors };
}

export function encodeProduceRequest(request: ProduceRequest): Buffer {
  const { topic, partition, record, records, batch, producer, expectedOffset, answersErrors } = request;
  const acks = acksLevels.indexOf(request.acks);
  let byteLength = topic.length === 0 ? 0 : fieldSpanBytes(topic);
  const recordSize = record === undefined ? 0 : protoRecordBytes(record, 0);
  if (record !== undefined) byteLength += spanBytes(recordSize);
  if (partition !== undefined) byteLength += uintBytes(partition);
  const sizes = records.map((each) => protoRecordBytes(each, 0));
  for (const size of sizes) byteLength += spanBytes(size);
  if (batch !== undefined && batch.length > 0) byteLength += fieldSpanBytes(batch);
  if (acks > 0) byteLength += uintBytes(acks);
  const producerSize = producer === undefined ? 0 : producerBytes(producer);
  if (producer !== undefined) byteLength += spanBytes(producerSize);
  if (expectedOffset !== undefined) byteLength += uintBytes(expectedOffset);
  if (answersErrors) byteLength += 2;

  const writer = new ProtoWriter(byteLength);
  if (record !== undefined) {
    writer.message(requestFields.record, recordSize);
    writeProtoRecord(writer, record, 0);
  }
  if (topic.length > 0) writer.field(requestFields.topic, topic);
  if (partition !== undefined) writer.uint(requestFields.partition, partition);
  records.forEach((each, i) => {
    writer.message(requestFields.records, sizes[i] ?? 0);
    writeProtoRecord(writer, each, 0);
  });
  if (batch !== undefined && batch.length > 0) writer.bytes(requestFields.batch, batch);
  if (acks > 0) writer.uint(requestFields.acks, acks);
  if (producer !== undefined) {
    writer.message(requestFields.producer, producerSize);
    if (producer.id > 0) writer.uint(producerFields.id, producer.id);
    if (producer.epoch > 0) writer.uint(producerFields.epoch, producer.epoch);
    if (producer.baseSequence > 0) writer.uint(producerFields.baseSequence, producer.baseSequence);
  }
  if (expectedOffset !== undefined) writer.uint(requestFields.expectedOffset, expectedOffset);
  if (answersErrors) writer.bool(requestFields.answersErrors);
  return writer.finish();
}

/** The same in parts, of which the last is the batch itself: it isn't copied, and must not be changed until it is sent. */
export function encodeBatchRequest({ batch, ...rest }: ProduceRequest & { readonly batch: Buffer }): readonly [Buffer, Buffer] {
  const before = encodeProduceRequest(rest);
  const head = new ProtoWriter(before.length + fieldSpanBytes(batch) - batch.length);
  head.raw(before);
  head.message(requestFields.batch, batch.length);
  return [head.finish(), batch];
}

function tooManyError(): ProglogError {
  return new ProglogError(
    "BATCH_TOO_LARGE",
    `Cannot produce a request of more than ${produceRequestMaxCount} records and headers together`,
    { hint: "Send fewer at a time, or pack them into a batch." },
  );
}

function readProducer(reader: ProtoReader): ProducerSequence {
  let [id, epoch, baseSequence] = [0, 0, 0];
  while (reader.next()) {
    if (reader.field === producerFields.id) id = reader.uint64();
    else if (reader.field === producerFields.epoch) epoch = reader.uint32();
    else if (reader.field === producerFields.baseSequence) baseSequence = reader.uint32();
    else reader.skip();
  }
  return { id, epoch, baseSequence };
}

function producerBytes({ id, epoch, baseSequence }: ProducerSequence): number {
  return [id, epoch, baseSequence].reduce((sum, value) => sum + (value === 0 ? 0 : uintBytes(value)), 0);
}

export interface ProduceResponse {
  /** Of the first record. */
  readonly offset: number;
  readonly partition: number;
  readonly count: number;
  readonly appendTime: number;
  readonly isDurable: boolean;
  readonly isDuplicate: boolean;
  /** Nothing else means anything then. */
  readonly error?: ProtoError | undefined;
}

const responseFields = {
  offset: 1,
  partition: 2,
  count: 3,
  appendTime: 4,
  isDurable: 5,
  isDuplicate: 6,
  error: 7,
} as const;

export function encodeProduceResponse(response: ProduceResponse): Buffer {
  const { offset, partition, count, appendTime, isDurable, isDuplicate, error } = response;
  let byteLength = offset === 0 ? 0 : uintBytes(offset);
  if (partition > 0) byteLength += uintBytes(partition);
  if (count > 0) byteLength += uintBytes(count);
  if (appendTime !== 0) byteLength += intBytes(appendTime);
  if (isDurable) byteLength += 2;
  if (isDuplicate) byteLength += 2;
  const errorSize = error === undefined ? 0 : protoErrorBytes(error);
  if (error !== undefined) byteLength += spanBytes(errorSize);

  const writer = new ProtoWriter(byteLength);
  if (offset > 0) writer.uint(responseFields.offset, offset);
  if (partition > 0) writer.uint(responseFields.partition, partition);
  if (count > 0) writer.uint(responseFields.count, count);
  if (appendTime !== 0) writer.int(responseFields.appendTime, appendTime);
  if (isDurable) writer.bool(responseFields.isDurable);
  if (isDuplicate) writer.bool(responseFields.isDuplicate);
  if (error !== undefined) {
    writer.message(responseFields.error, errorSize);
    writeProtoError(writer, error);
  }
  return writer.finish();
}

/** Throws INVALID_ARGUMENT. */
export function decodeProduceResponse(bytes: Buffer): ProduceResponse {
  const reader = new ProtoReader(bytes, "ProduceResponse");
  let [offset, partition, count, appendTime] = [0, 0, 0, 0];
  let [isDurable, isDuplicate] = [false, false];
  let error: ProtoError | undefined;
  while (reader.next()) {
    switch (reader.field) {
      case responseFields.offset:
        offset = reader.uint64();
        break;
      case responseFields.partition:
        partition = reader.uint32();
        break;
      case responseFields.count:
        count = reader.uint32();
        break;
      case responseFields.appendTime:
        appendTime = reader.int64();
        break;
      case responseFields.isDurable:
        isDurable = reader.bool();
        break;
      case responseFields.isDuplicate:
        isDuplicate = reader.bool();
        break;
      case responseFields.error:
        error = readProtoError(reader.message("Error"));
        break;
      default:
        reader.skip();
    }
  }
  return { offset, partition, count, appendTime, isDurable, isDuplicate, error };
}
