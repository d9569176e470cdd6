import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import {
  AlterTopicRequestSchema,
  AlterTopicResponseSchema,
  CreateTopicRequestSchema,
  CreateTopicResponseSchema,
  DeleteTopicRequestSchema,
  DeleteTopicResponseSchema,
  DescribeTopicRequestSchema,
  DescribeTopicResponseSchema,
  type Error as GeneratedError,
  ErrorSchema,
  GetServersResponseSchema,
  ListTopicsResponseSchema,
  type Topic,
  TopicSchema,
} from "./gen/log/v1/log_pb.ts";
import type { ProtoError } from "./proto-error.ts";

/**
 * The messages of topic administration and of GetServers, both ways, by generated code: they are rare. Here its `bigint`s
 * become numbers. What can't be read is INVALID_ARGUMENT.
 */
export interface TopicDescription {
  readonly name: string;
  readonly partitions: readonly PartitionDescription[];
  /** Those that were set, as text. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface PartitionDescription {
  readonly partition: number;
  readonly uuid: string;
  /** "" while nobody leads it, or where there is only one node. */
  readonly leaderId: string;
  readonly leaderRpcAddr: string;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly error?: ProtoError | undefined;
}

export interface TopicSummary {
  readonly name: string;
  readonly partitionCount: number;
}

export interface CreateTopicRequest {
  readonly name: string;
  /** 0: one. */
  readonly partitionCount: number;
  readonly settings: Readonly<Record<string, string>>;
}

export interface AlterTopicRequest {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly unset: readonly string[];
  /** 0: as it is. */
  readonly partitionCount: number;
}

export interface ServerDescription {
  readonly id: string;
  readonly rpcAddr: string;
  readonly isLeader: boolean;
}

export function encodeListTopicsResponse(topics: readonly TopicSummary[]): Buffer {
  return bytesOf(
    toBinary(ListTopicsResponseSchema, create(ListTopicsResponseSchema, { topics: topics.map((topic) => ({ ...topic })) })),
  );
}

export function decodeListTopicsResponse(bytes: Buffer): readonly TopicSummary[] {
  const { topics } = reading("ListTopicsResponse", () => fromBinary(ListTopicsResponseSchema, bytes));
  return topics.map(({ name, partitionCount }) => ({ name, partitionCount }));
}

export function encodeCreateTopicRequest(request: CreateTopicRequest): Buffer {
  return bytesOf(
    toBinary(CreateTopicRequestSchema, create(CreateTopicRequestSchema, { ...request, settings: { ...request.settings } })),
  );
}

export function decodeCreateTopicRequest(bytes: Buffer): CreateTopicRequest {
  const { name, partitionCount, settings } = reading("CreateTopicRequest", () => fromBinary(CreateTopicRequestSchema, bytes));
  return { name, partitionCount, settings };
}

/** CreateTopicResponse, DescribeTopicResponse and AlterTopicResponse have the same shape. */
export function encodeTopicResponse(topic: TopicDescription): Buffer {
  return bytesOf(toBinary(DescribeTopicResponseSchema, create(DescribeTopicResponseSchema, { topic: toGenerated(topic) })));
}

export function decodeTopicResponse(bytes: Buffer): TopicDescription {
  const { topic } = reading("DescribeTopicResponse", () => fromBinary(DescribeTopicResponseSchema, bytes));
  return reading("DescribeTopicResponse", () => fromGenerated(topic ?? create(TopicSchema)));
}

/** DescribeTopicRequest and DeleteTopicRequest have the same shape. */
export function encodeTopicNameRequest(name: string): Buffer {
  return bytesOf(toBinary(DescribeTopicRequestSchema, create(DescribeTopicRequestSchema, { name })));
}

export function decodeTopicNameRequest(bytes: Buffer): string {
  return reading("DescribeTopicRequest", () => fromBinary(DescribeTopicRequestSchema, bytes)).name;
}

export function encodeAlterTopicRequest(request: AlterTopicRequest): Buffer {
  const init = { ...request, settings: { ...request.settings }, unset: [...request.unset] };
  return bytesOf(toBinary(AlterTopicRequestSchema, create(AlterTopicRequestSchema, init)));
}

export function decodeAlterTopicRequest(bytes: Buffer): AlterTopicRequest {
  const read = reading("AlterTopicRequest", () => fromBinary(AlterTopicRequestSchema, bytes));
  const { name, settings, unset, partitionCount } = read;
  return { name, settings, unset, partitionCount };
}

export function encodeGetServersResponse(servers: readonly ServerDescription[]): Buffer {
  const init = { servers: servers.map((server) => ({ ...server })) };
  return bytesOf(toBinary(GetServersResponseSchema, create(GetServersResponseSchema, init)));
}

export function decodeGetServersResponse(bytes: Buffer): readonly ServerDescription[] {
  const { servers } = reading("GetServersResponse", () => fromBinary(GetServersResponseSchema, bytes));
  return servers.map(({ id, rpcAddr, isLeader }) => ({ id, rpcAddr, isLeader }));
}

/** DeleteTopicResponse, and the requests that hold nothing. */
export const emptyMessage = Buffer.alloc(0);

/** The pairs of messages that one codec serves here: a test holds that their fields are the same. */
export const sameShapes = [
  [DescribeTopicResponseSchema, CreateTopicResponseSchema],
  [DescribeTopicResponseSchema, AlterTopicResponseSchema],
  [DescribeTopicRequestSchema, DeleteTopicRequestSchema],
] as const;

/** Those that hold nothing. */
export const emptyShapes = [DeleteTopicResponseSchema] as const;

function toGenerated({ name, partitions, settings }: TopicDescription): Topic {
  return create(TopicSchema, {
    name,
    settings: { ...settings },
    partitions: partitions.map(({ logStartOffset, highWatermark, error, ...rest }) => ({
      ...rest,
      logStartOffset: BigInt(logStartOffset),
      highWatermark: BigInt(highWatermark),
      ...(error === undefined ? {} : { error: errorToGenerated(error) }),
    })),
  });
}

function fromGenerated({ name, partitions, settings }: Topic): TopicDescription {
  return {
    name,
    settings,
    partitions: partitions.map(({ partition, uuid, leaderId, leaderRpcAddr, logStartOffset, highWatermark, error }) => ({
      partition,
      uuid,
      leaderId,
      leaderRpcAddr,
      logStartOffset: toNumber(logStartOffset),
      highWatermark: toNumber(highWatermark),
      ...(error === undefined ? {} : { error: errorFromGenerated(error) }),
    })),
  };
}

function errorToGenerated({ code, message, hint, isRetryable, outcome, details }: ProtoError): GeneratedError {
  const number = outcome === "unknown" ? 1 : 0;
  return create(ErrorSchema, { code, message, hint, isRetryable, outcome: number, details: Object.fromEntries(details) });
}

function errorFromGenerated({ code, message, hint, isRetryable, outcome, details }: GeneratedError): ProtoError {
  const word = outcome === 0 ? "not-appended" : "unknown";
  return { code, message, hint, isRetryable, outcome: word, details: new Map(Object.entries(details)) };
}

function toNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot take the number ${value}: it is beyond 2^53-1`);
}

function bytesOf(array: Uint8Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

function reading<Message>(name: string, read: () => Message): Message {
  try {
    return read();
  } catch (error) {
    if (isProglogError(error)) throw error;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot read the message ${name}: ${messageOf(error)}`, { cause: error });
  }
}
