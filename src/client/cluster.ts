import {
  type AddNodeResult,
  type ClusterStatus,
  decodeAddNodeResponse,
  decodeGetStatusResponse,
  decodeRemoveNodeResponse,
  decodeTransferLeadershipResponse,
  encodeAddNodeRequest,
  encodeGetStatusRequest,
  encodeMovePartitionRequest,
  encodeRemoveNodeRequest,
  encodeTransferLeadershipRequest,
  type GetStatusRequest,
  type RemoveNodeResult,
  type TransferLeadershipResult,
} from "../wire/cluster-message.ts";

/**
 * What the cluster is made of, how it is, and what an operator does to it: `client.cluster`. On a node that is in no cluster
 * `status` tells of that node alone, and the rest throws NOT_CLUSTERED. Nothing is tried again by itself.
 *
 * ```ts
 * const { nodes, underReplicatedCount } = await client.cluster.status({ troubledOnly: true });
 * await client.cluster.movePartition({ topic: "orders", partition: 0, replicas: ["a", "b", "d"] });
 * ```
 */
export class Cluster {
  readonly #call: Ask;

  constructor(call: Ask) {
    this.#call = call;
  }

  /** Nodes, groups and how they are, as the node that answers sees it. With `troubledOnly` only groups that aren't well. */
  async status({ troubledOnly = false }: Partial<GetStatusRequest> = {}): Promise<ClusterStatus> {
    return decodeGetStatusResponse(
      await this.#call("/log.v1.Cluster/GetStatus", encodeGetStatusRequest({ troubledOnly }), true),
    );
  }

  /**
   * Takes a node out. Resolves when that is decided: its replicas move to others first, and `status` tells how far that is.
   * `force` is for a node that won't come back: its replicas are given up. Throws NODE_NOT_FOUND.
   */
  async removeNode(name: string, { force = false }: { readonly force?: boolean } = {}): Promise<RemoveNodeResult> {
    const answer = await this.#call("/log.v1.Cluster/RemoveNode", encodeRemoveNodeRequest({ name, force }));
    return decodeRemoveNodeResponse(answer);
  }

  /** Has a node stay that is being taken out. Nodes join by themselves: nothing else adds one. Throws NODE_NOT_FOUND. */
  async addNode(name: string): Promise<AddNodeResult> {
    return decodeAddNodeResponse(await this.#call("/log.v1.Cluster/AddNode", encodeAddNodeRequest({ name })));
  }

  /** Resolves when another replica leads: the one on node `to`, by default the best placed. Throws NOT_A_REPLICA, CHANGE_IN_PROGRESS. */
  async transferLeadership(options: TransferOptions): Promise<TransferLeadershipResult> {
    const { topic = "default", partition = 0, to = "" } = options;
    const request = encodeTransferLeadershipRequest({ topic, partition, to });
    return decodeTransferLeadershipResponse(await this.#call("/log.v1.Cluster/TransferLeadership", request));
  }

  /**
   * Says which nodes are to have a partition's replicas, the one that is to lead first. Resolves when that is decided; `status` tells
   * how far it is. Throws NODE_NOT_FOUND, CHANGE_IN_PROGRESS.
   */
  async movePartition({ topic = "default", partition = 0, replicas }: MoveOptions): Promise<void> {
    await this.#call("/log.v1.Cluster/MovePartition", encodeMovePartitionRequest({ topic, partition, replicas }));
  }
}

/** Asks any node. */
type Ask = (method: string, request: Buffer, isRead?: boolean) => Promise<Buffer>;

export interface TransferOptions {
  /** Default "default". */
  readonly topic?: string;
  /** Default 0. */
  readonly partition?: number;
  /** A node's name. */
  readonly to?: string;
}

export interface MoveOptions {
  /** Default "default". */
  readonly topic?: string;
  /** Default 0. */
  readonly partition?: number;
  /** Names of nodes, each once. */
  readonly replicas: readonly string[];
}
