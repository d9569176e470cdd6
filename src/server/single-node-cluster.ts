import { ProglogError } from "../base/error.ts";
import type { Partition, Topic } from "../replica/catalog.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type {
  AddNodeRequest,
  ClusterStatus,
  GetStatusRequest,
  GroupStatus,
  MovePartitionRequest,
  RemoveNodeRequest,
  TransferLeadershipRequest,
} from "../wire/cluster-message.ts";
import type { ServerDescription } from "../wire/topic-message.ts";
import type { ClusterAdmin } from "./cluster-admin.ts";

/** A node that is in no cluster: it tells of itself, as if it were all of one, and has nobody to give anything to. */
export class SingleNodeCluster implements ClusterAdmin {
  readonly #storage: NodeStorage;
  readonly #describeSelf: () => ServerDescription;

  constructor(storage: NodeStorage, describeSelf: () => ServerDescription) {
    this.#storage = storage;
    this.#describeSelf = describeSelf;
  }

  async getStatus({ troubledOnly }: GetStatusRequest): Promise<ClusterStatus> {
    const self = this.#describeSelf();
    const topics = await this.#storage.catalog.listTopics();
    const groups = topics.flatMap((topic) => topic.partitions.map((partition) => this.#describe(topic, partition, self)));
    const closed = groups.filter(({ leaderId }) => leaderId === "");
    return {
      clusterId: "",
      nodes: [{ ...self, replicaCount: groups.length, leaderCount: groups.length - closed.length }],
      groups: troubledOnly ? closed : groups,
      groupCount: groups.length,
      leaderlessCount: closed.length,
      underReplicatedCount: closed.length,
      movingCount: 0,
    };
  }

  removeNode({ name }: RemoveNodeRequest): Promise<never> {
    return refuse(`remove node ${name}`);
  }

  addNode({ name }: AddNodeRequest): Promise<never> {
    return refuse(`add node ${name}`);
  }

  transferLeadership({ topic, partition }: TransferLeadershipRequest): Promise<never> {
    return refuse(`have another node lead partition ${partition} of topic ${topic}`);
  }

  movePartition({ topic, partition }: MovePartitionRequest): Promise<never> {
    return refuse(`move partition ${partition} of topic ${topic}`);
  }

  #describe(topic: Topic, { partition, uuid }: Partition, self: ServerDescription): GroupStatus {
    // What doesn't take appends has nobody who leads it.
    const isOpen = this.#storage.replicas.find(uuid)?.status().state === "open";
    return {
      topic: topic.name,
      partition,
      uuid,
      leaderId: isOpen ? self.id : "",
      term: 0,
      replicas: [{ nodeId: self.id, rpcAddr: self.rpcAddr, isVoter: true, isInSync: isOpen }],
      isUnderReplicated: !isOpen,
    };
  }
}

async function refuse(attempt: string): Promise<never> {
  throw new ProglogError("NOT_CLUSTERED", `Cannot ${attempt}: this node is in no cluster`, {
    hint: "See docs/replication.md for how nodes become one.",
  });
}
