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
  MovePartitionResponseSchema,
  type Partition,
  PartitionSchema,
  type Replica,
  ReplicaSchema,
  type Server,
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
  readonly uuid: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** All that hold, set or by the node's default, as text. */
  readonly effectiveSettings: Readonly<Record<string, string>>;
  /** On how many nodes each partition is to lie. 1 on a node that is in no cluster. */
  readonly replicationFactor: number;
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
  /** "open", "poisoned", "closed" or "failed": only of an open or a poisoned one the offsets and what follows are known. */
  readonly state: string;
  readonly logEndOffset?: number | undefined;
  readonly storeBytes?: number | undefined;
  readonly segments?: number | undefined;
  readonly queuedBytes?: number | undefined;
  /** Ranges found rotten since the node's start. */
  readonly damages?: number | undefined;
  /** Where it is compacted: what share of it isn't yet. */
  readonly dirtyRatio?: number | undefined;
  /** The nodes that have a replica, the leader among them. None where there is only one node. */
  readonly replicas: readonly ReplicaDescription[];
  /** Of the leader: of two answers the one with the higher term is the newer. 0 where there is only one node. */
  readonly term: number;
}

/** A node's copy of a partition. */
export interface ReplicaDescription {
  readonly nodeId: string;
  /** "" while nobody knows it. */
  readonly rpcAddr: string;
  /** It counts for a quorum; one that is catching up doesn't yet. */
  readonly isVoter: boolean;
  /** It has, or had a moment ago, all that is committed. */
  readonly isInSync: boolean;
  /** Batches that the leader has and it hasn't; absent where that isn't known. */
  readonly lag?: number | undefined;
}

export interface TopicSummary {
  readonly name: string;
  readonly partitionCount: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export interface CreateTopicRequest {
  readonly name: string;
  /** 0: one. */
  readonly partitionCount: number;
  readonly settings: Readonly<Record<string, string>>;
  /** 0, the default: as the cluster has it. */
  readonly replicationFactor?: number | undefined;
}

export interface AlterTopicRequest {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly unset: readonly string[];
  /** 0: as it is. */
  readonly partitionCount: number;
  /** 0, the default: as it is. */
  readonly replicationFactor?: number | undefined;
}

export interface ServerDescription {
  /** The node's name. */
  readonly id: string;
  readonly rpcAddr: string;
  /** It leads the group that keeps the cluster's catalog; who leads a partition says the topic. */
  readonly isLeader: boolean;
  /** "up", "down" or "removing"; a later server may know more words. */
  readonly state: string;
  /** Of its directory, made with it. */
  readonly storageId: string;
  /** It has a vote on who leads the cluster. */
  readonly isVoter: boolean;
}

export function encodeListTopicsResponse(topics: readonly TopicSummary[]): Buffer {
  const init = { topics: topics.map(({ createdAt, ...rest }) => ({ ...rest, createdAt: BigInt(createdAt) })) };
  return bytesOf(toBinary(ListTopicsResponseSchema, create(ListTopicsResponseSchema, init)));
}

export function decodeListTopicsResponse(bytes: Buffer): readonly TopicSummary[] {
  const { topics } = reading("ListTopicsResponse", () => fromBinary(ListTopicsResponseSchema, bytes));
  return topics.map(({ name, partitionCount, createdAt }) => ({ name, partitionCount, createdAt: toNumber(createdAt) }));
}

export function encodeCreateTopicRequest({ settings, replicationFactor = 0, ...rest }: CreateTopicRequest): Buffer {
  const init = { ...rest, replicationFactor, settings: { ...settings } };
  return bytesOf(toBinary(CreateTopicRequestSchema, create(CreateTopicRequestSchema, init)));
}

export function decodeCreateTopicRequest(bytes: Buffer): CreateTopicRequest {
  const read = reading("CreateTopicRequest", () => fromBinary(CreateTopicRequestSchema, bytes));
  const { name, partitionCount, settings, replicationFactor } = read;
  return { name, partitionCount, settings, replicationFactor };
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
  const { settings, unset, replicationFactor = 0 } = request;
  const init = { ...request, settings: { ...settings }, unset: [...unset], replicationFactor };
  return bytesOf(toBinary(AlterTopicRequestSchema, create(AlterTopicRequestSchema, init)));
}

export function decodeAlterTopicRequest(bytes: Buffer): AlterTopicRequest {
  const read = reading("AlterTopicRequest", () => fromBinary(AlterTopicRequestSchema, bytes));
  const { name, settings, unset, partitionCount, replicationFactor } = read;
  return { name, settings, unset, partitionCount, replicationFactor };
}

export function encodeGetServersResponse(servers: readonly ServerDescription[]): Buffer {
  const init = { servers: servers.map((server) => ({ ...server })) };
  return bytesOf(toBinary(GetServersResponseSchema, create(GetServersResponseSchema, init)));
}

export function decodeGetServersResponse(bytes: Buffer): readonly ServerDescription[] {
  const { servers } = reading("GetServersResponse", () => fromBinary(GetServersResponseSchema, bytes));
  return servers.map(serverFromGenerated);
}

export function serverFromGenerated({ id, rpcAddr, isLeader, state, storageId, isVoter }: Server): ServerDescription {
  return { id, rpcAddr, isLeader, state, storageId, isVoter };
}

/** DeleteTopicResponse, MovePartitionResponse, and the requests that hold nothing. */
export const emptyMessage = Buffer.alloc(0);

/** The pairs of messages that one codec serves here: a test holds that their fields are the same. */
export const sameShapes = [
  [DescribeTopicResponseSchema, CreateTopicResponseSchema],
  [DescribeTopicResponseSchema, AlterTopicResponseSchema],
  [DescribeTopicRequestSchema, DeleteTopicRequestSchema],
] as const;

/** Those that hold nothing. */
export const emptyShapes = [DeleteTopicResponseSchema, MovePartitionResponseSchema] as const;

function toGenerated({ partitions, createdAt, settings, effectiveSettings, ...rest }: TopicDescription): Topic {
  return create(TopicSchema, {
    ...rest,
    createdAt: BigInt(createdAt),
    settings: { ...settings },
    effectiveSettings: { ...effectiveSettings },
    partitions: partitions.map(partitionToGenerated),
  });
}

function partitionToGenerated(partition: PartitionDescription): Partition {
  const { logStartOffset, highWatermark, logEndOffset, storeBytes, queuedBytes, error, replicas, ...rest } = partition;
  const { segments, damages, dirtyRatio, ...always } = rest;
  return create(PartitionSchema, {
    ...always,
    logStartOffset: BigInt(logStartOffset),
    highWatermark: BigInt(highWatermark),
    replicas: replicas.map(replicaToGenerated),
    ...(error === undefined ? {} : { error: errorToGenerated(error) }),
    ...(logEndOffset === undefined ? {} : { logEndOffset: BigInt(logEndOffset) }),
    ...(storeBytes === undefined ? {} : { storeBytes: BigInt(storeBytes) }),
    ...(queuedBytes === undefined ? {} : { queuedBytes: BigInt(queuedBytes) }),
    ...(segments === undefined ? {} : { segments }),
    ...(damages === undefined ? {} : { damages }),
    ...(dirtyRatio === undefined ? {} : { dirtyRatio }),
  });
}

function fromGenerated({ partitions, createdAt, ...rest }: Topic): TopicDescription {
  const { name, uuid, settings, effectiveSettings, replicationFactor } = rest;
  const described = partitions.map(partitionFromGenerated);
  const always = { name, uuid, settings, effectiveSettings, replicationFactor };
  return { ...always, createdAt: toNumber(createdAt), partitions: described };
}

export function replicaToGenerated({ lag, ...always }: ReplicaDescription): Replica {
  return create(ReplicaSchema, { ...always, ...(lag === undefined ? {} : { lag: BigInt(lag) }) });
}

export function replicaFromGenerated({ nodeId, rpcAddr, isVoter, isInSync, lag }: Replica): ReplicaDescription {
  return { nodeId, rpcAddr, isVoter, isInSync, ...(lag === undefined ? {} : { lag: toNumber(lag) }) };
}

function partitionFromGenerated(generated: Partition): PartitionDescription {
  const { partition, uuid, leaderId, leaderRpcAddr, logStartOffset, highWatermark, state, error } = generated;
  const { logEndOffset, storeBytes, queuedBytes, segments, damages, dirtyRatio, replicas, term } = generated;
  return {
    partition,
    uuid,
    leaderId,
    leaderRpcAddr,
    state,
    logStartOffset: toNumber(logStartOffset),
    highWatermark: toNumber(highWatermark),
    replicas: replicas.map(replicaFromGenerated),
    term,
    ...(error === undefined ? {} : { error: errorFromGenerated(error) }),
    ...(logEndOffset === undefined ? {} : { logEndOffset: toNumber(logEndOffset) }),
    ...(storeBytes === undefined ? {} : { storeBytes: toNumber(storeBytes) }),
    ...(queuedBytes === undefined ? {} : { queuedBytes: toNumber(queuedBytes) }),
    ...(segments === undefined ? {} : { segments }),
    ...(damages === undefined ? {} : { damages }),
    ...(dirtyRatio === undefined ? {} : { dirtyRatio }),
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

export function toNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot take the number ${value}: it is beyond 2^53-1`);
}

export function bytesOf(array: Uint8Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

export function reading<Message>(name: string, read: () => Message): Message {
  try {
    return read();
  } catch (error) {
    if (isProglogError(error)) throw error;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot read the message ${name}: ${messageOf(error)}`, { cause: error });
  }
}
