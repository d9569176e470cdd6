import type {
  AddNodeRequest,
  AddNodeResult,
  ClusterStatus,
  GetStatusRequest,
  MovePartitionRequest,
  RemoveNodeRequest,
  RemoveNodeResult,
  TransferLeadershipRequest,
  TransferLeadershipResult,
} from "../wire/cluster-message.ts";

/** What `log.v1.Cluster` asks of the node, whatever it is a node of. */
export interface ClusterAdmin {
  getStatus(request: GetStatusRequest): Promise<ClusterStatus>;
  /** Resolves when it is decided. Throws NOT_CLUSTERED, NODE_NOT_FOUND or CHANGE_IN_PROGRESS. */
  removeNode(request: RemoveNodeRequest): Promise<RemoveNodeResult>;
  /** Has a node stay that is being taken out. Throws NOT_CLUSTERED or NODE_NOT_FOUND. */
  addNode(request: AddNodeRequest): Promise<AddNodeResult>;
  /** Resolves when the other leads. Throws NOT_CLUSTERED, TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, NOT_A_REPLICA or CHANGE_IN_PROGRESS. */
  transferLeadership(request: TransferLeadershipRequest): Promise<TransferLeadershipResult>;
  /** Resolves when it is decided. Throws NOT_CLUSTERED, TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, NODE_NOT_FOUND or CHANGE_IN_PROGRESS. */
  movePartition(request: MovePartitionRequest): Promise<void>;
}
