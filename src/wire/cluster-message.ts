import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AddNodeRequestSchema,
  AddNodeResponseSchema,
  GetStatusRequestSchema,
  GetStatusResponseSchema,
  type GroupStatus as GeneratedGroup,
  GroupStatusSchema,
  MovePartitionRequestSchema,
  RemoveNodeRequestSchema,
  RemoveNodeResponseSchema,
  type Server,
  TransferLeadershipRequestSchema,
  TransferLeadershipResponseSchema,
} from "./gen/log/v1/log_pb.ts";
import {
  bytesOf,
  reading,
  replicaFromGenerated,
  replicaToGenerated,
  type ReplicaDescription,
  type ServerDescription,
  serverFromGenerated,
} from "./topic-message.ts";

/** The messages of `log.v1.Cluster`, both ways, by generated code: they are rare. What can't be read is INVALID_ARGUMENT. */
export interface ClusterStatus {
  /** "" on a node that is in no cluster. */
  readonly clusterId: string;
  /** Ordered by name. */
  readonly nodes: readonly NodeStatus[];
  /** The catalog's first, then the partitions' by topic and number. */
  readonly groups: readonly GroupStatus[];
  /** Of all groups, whatever was asked for. */
  readonly groupCount: number;
  readonly leaderlessCount: number;
  readonly underReplicatedCount: number;
  readonly movingCount: number;
}

export interface NodeStatus extends ServerDescription {
  /** Partitions that it has a replica of. */
  readonly replicaCount: number;
  /** Those of them that it leads. */
  readonly leaderCount: number;
}

/** The replicas of one log, of which one leads. */
export interface GroupStatus {
  /** "" for the group that keeps the catalog. */
  readonly topic: string;
  readonly partition: number;
  readonly uuid: string;
  /** "" while nobody is known to lead it. */
  readonly leaderId: string;
  readonly term: number;
  readonly replicas: readonly ReplicaDescription[];
  /** Fewer of its voters are in sync than it should have replicas. */
  readonly isUnderReplicated: boolean;
  /** Absent when its replicas are where they should be. */
  readonly move?: MoveStatus | undefined;
}

export interface MoveStatus {
  /** The nodes that are to have a replica, the one that is to lead first. */
  readonly replicas: readonly string[];
  /** "waiting", "catching-up", "changing" or "removing"; a later server may know more words. */
  readonly phase: string;
}

export interface GetStatusRequest {
  /** Only groups without a leader, with fewer replicas in sync than they should have, or on the move. */
  readonly troubledOnly: boolean;
}

export interface RemoveNodeRequest {
  readonly name: string;
  readonly force: boolean;
}

export interface RemoveNodeResult {
  /** It has left: there was nothing to move. */
  readonly isRemoved: boolean;
}

export interface AddNodeRequest {
  readonly name: string;
}

export interface AddNodeResult {
  /** It was being taken out. False: it is in the cluster, and was to stay. */
  readonly wasDraining: boolean;
}

export interface TransferLeadershipRequest {
  readonly topic: string;
  readonly partition: number;
  /** "": the one that is best placed. */
  readonly to: string;
}

export interface TransferLeadershipResult {
  readonly leaderId: string;
}

export interface MovePartitionRequest {
  readonly topic: string;
  readonly partition: number;
  /** Names of nodes, the one that is to lead first. */
  readonly replicas: readonly string[];
}

export function encodeGetStatusRequest(request: GetStatusRequest): Buffer {
  return bytesOf(toBinary(GetStatusRequestSchema, create(GetStatusRequestSchema, request)));
}

export function decodeGetStatusRequest(bytes: Buffer): GetStatusRequest {
  const { troubledOnly } = reading("GetStatusRequest", () => fromBinary(GetStatusRequestSchema, bytes));
  return { troubledOnly };
}

export function encodeGetStatusResponse({ nodes, groups, ...rest }: ClusterStatus): Buffer {
  const init = { ...rest, nodes: nodes.map((node) => ({ ...node })), groups: groups.map(groupToGenerated) };
  return bytesOf(toBinary(GetStatusResponseSchema, create(GetStatusResponseSchema, init)));
}

export function decodeGetStatusResponse(bytes: Buffer): ClusterStatus {
  return reading("GetStatusResponse", () => {
    const read = fromBinary(GetStatusResponseSchema, bytes);
    const { clusterId, nodes, groups, groupCount, leaderlessCount, underReplicatedCount, movingCount } = read;
    return {
      clusterId,
      nodes: nodes.map(nodeFromGenerated),
      groups: groups.map(groupFromGenerated),
      groupCount,
      leaderlessCount,
      underReplicatedCount,
      movingCount,
    };
  });
}

export function encodeRemoveNodeRequest(request: RemoveNodeRequest): Buffer {
  return bytesOf(toBinary(RemoveNodeRequestSchema, create(RemoveNodeRequestSchema, request)));
}

export function decodeRemoveNodeRequest(bytes: Buffer): RemoveNodeRequest {
  const { name, force } = reading("RemoveNodeRequest", () => fromBinary(RemoveNodeRequestSchema, bytes));
  return { name, force };
}

export function encodeRemoveNodeResponse(result: RemoveNodeResult): Buffer {
  return bytesOf(toBinary(RemoveNodeResponseSchema, create(RemoveNodeResponseSchema, result)));
}

export function decodeRemoveNodeResponse(bytes: Buffer): RemoveNodeResult {
  const { isRemoved } = reading("RemoveNodeResponse", () => fromBinary(RemoveNodeResponseSchema, bytes));
  return { isRemoved };
}

export function encodeAddNodeRequest(request: AddNodeRequest): Buffer {
  return bytesOf(toBinary(AddNodeRequestSchema, create(AddNodeRequestSchema, request)));
}

export function decodeAddNodeRequest(bytes: Buffer): AddNodeRequest {
  const { name } = reading("AddNodeRequest", () => fromBinary(AddNodeRequestSchema, bytes));
  return { name };
}

export function encodeAddNodeResponse(result: AddNodeResult): Buffer {
  return bytesOf(toBinary(AddNodeResponseSchema, create(AddNodeResponseSchema, result)));
}

export function decodeAddNodeResponse(bytes: Buffer): AddNodeResult {
  const { wasDraining } = reading("AddNodeResponse", () => fromBinary(AddNodeResponseSchema, bytes));
  return { wasDraining };
}

export function encodeTransferLeadershipRequest(request: TransferLeadershipRequest): Buffer {
  return bytesOf(toBinary(TransferLeadershipRequestSchema, create(TransferLeadershipRequestSchema, request)));
}

/** Topic and partition are those of "default" where they aren't said. */
export function decodeTransferLeadershipRequest(bytes: Buffer): TransferLeadershipRequest {
  const read = reading("TransferLeadershipRequest", () => fromBinary(TransferLeadershipRequestSchema, bytes));
  const { topic, partition, to } = read;
  return { topic: topicOrDefault(topic), partition, to };
}

export function encodeTransferLeadershipResponse(result: TransferLeadershipResult): Buffer {
  return bytesOf(toBinary(TransferLeadershipResponseSchema, create(TransferLeadershipResponseSchema, result)));
}

export function decodeTransferLeadershipResponse(bytes: Buffer): TransferLeadershipResult {
  const read = reading("TransferLeadershipResponse", () => fromBinary(TransferLeadershipResponseSchema, bytes));
  return { leaderId: read.leaderId };
}

export function encodeMovePartitionRequest(request: MovePartitionRequest): Buffer {
  const init = { ...request, replicas: [...request.replicas] };
  return bytesOf(toBinary(MovePartitionRequestSchema, create(MovePartitionRequestSchema, init)));
}

export function decodeMovePartitionRequest(bytes: Buffer): MovePartitionRequest {
  const read = reading("MovePartitionRequest", () => fromBinary(MovePartitionRequestSchema, bytes));
  const { topic, partition, replicas } = read;
  return { topic: topicOrDefault(topic), partition, replicas };
}

function topicOrDefault(topic: string): string {
  return topic === "" ? "default" : topic;
}

function nodeFromGenerated(server: Server): NodeStatus {
  const { replicaCount, leaderCount } = server;
  return { ...serverFromGenerated(server), replicaCount, leaderCount };
}

function groupToGenerated({ replicas, move, ...rest }: GroupStatus): GeneratedGroup {
  return create(GroupStatusSchema, {
    ...rest,
    replicas: replicas.map(replicaToGenerated),
    ...(move === undefined ? {} : { move: { ...move, replicas: [...move.replicas] } }),
  });
}

function groupFromGenerated(generated: GeneratedGroup): GroupStatus {
  const { topic, partition, uuid, leaderId, term, replicas, isUnderReplicated, move } = generated;
  return {
    topic,
    partition,
    uuid,
    leaderId,
    term,
    replicas: replicas.map(replicaFromGenerated),
    isUnderReplicated,
    ...(move === undefined ? {} : { move: { replicas: move.replicas, phase: move.phase } }),
  };
}
