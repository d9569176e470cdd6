import type { Clock } from "../base/clock.ts";
import { clusterAnswerMaxMs, clusterPollMs } from "../base/cluster-limits.ts";
import { ProglogError } from "../base/error.ts";
import type { Topic } from "../replica/catalog.ts";
import type { ClusteredNode } from "../replica/cluster/clustered-node.ts";
import {
  type CatalogPartition,
  type CatalogTopic,
  type ClusterCatalog,
  groupQuestions,
  partitionsOf,
} from "../replica/cluster/index.ts";
import type {
  AddNodeRequest,
  AddNodeResult,
  ClusterStatus,
  GetStatusRequest,
  GroupStatus,
  MovePartitionRequest,
  NodeStatus,
  RemoveNodeRequest,
  RemoveNodeResult,
  TransferLeadershipRequest,
  TransferLeadershipResult,
} from "../wire/cluster-message.ts";
import type { ServerDescription } from "../wire/topic-message.ts";
import type { ClusterAdmin } from "./cluster-admin.ts";

/** How a cluster is, and what is to change, as this node knows it and has it decided. */
export class ClusteredAdmin implements ClusterAdmin {
  readonly #node: ClusteredNode;
  readonly #clock: Clock;

  constructor(node: ClusteredNode, clock: Clock) {
    this.#node = node;
    this.#clock = clock;
  }

  /** The nodes, as this one knows them. */
  listServers(): readonly ServerDescription[] {
    const catalog = this.#node.clusterCatalog;
    if (catalog === undefined) return [];
    const leader = catalog.state.clusterId === undefined ? undefined : catalog.leader;
    const voters = this.#catalogVoters();
    return [...catalog.state.nodes.values()]
      .map(({ name, address, storageId, isDraining }) => ({
        id: name,
        rpcAddr: address,
        isLeader: name === leader,
        state: isDraining ? "draining" : this.#isUp(name) ? "up" : "down",
        storageId,
        isVoter: voters.has(name),
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async getStatus({ troubledOnly }: GetStatusRequest): Promise<ClusterStatus> {
    const catalog = this.#getCatalog("tell how the cluster is");
    const groups = [this.#describeCatalog(catalog), ...this.#describePartitions(catalog)];
    const replicaCounts = new Map<string, number>();
    const leaderCounts = new Map<string, number>();
    for (const { topic, leaderId } of groups)
      if (topic !== "") leaderCounts.set(leaderId, (leaderCounts.get(leaderId) ?? 0) + 1);
    // Those that are leaving, too: a node that is drained isn't empty before they have left.
    for (const { partition } of partitionsOf(catalog.state))
      for (const node of new Set([...partition.replicas, ...partition.leaving].map((replica) => replica.node)))
        replicaCounts.set(node, (replicaCounts.get(node) ?? 0) + 1);
    const nodes = this.listServers().map((server): NodeStatus => {
      return { ...server, replicaCount: replicaCounts.get(server.id) ?? 0, leaderCount: leaderCounts.get(server.id) ?? 0 };
    });
    const isTroubled = ({ leaderId, isUnderReplicated, move }: GroupStatus): boolean =>
      leaderId === "" || isUnderReplicated || move !== undefined;
    return {
      clusterId: this.#node.clusterId ?? "",
      nodes,
      groups: troubledOnly ? groups.filter(isTroubled) : groups,
      groupCount: groups.length,
      leaderlessCount: groups.filter(({ leaderId }) => leaderId === "").length,
      underReplicatedCount: groups.filter((group) => group.isUnderReplicated).length,
      movingCount: groups.filter(({ move }) => move !== undefined).length,
    };
  }

  async removeNode({ name, force }: RemoveNodeRequest): Promise<RemoveNodeResult> {
    const catalog = this.#getCatalog(`remove node ${name}`);
    await catalog.refresh();
    if (!catalog.state.nodes.has(name))
      throw new ProglogError("NODE_NOT_FOUND", `Cannot remove node ${name}: the cluster has no node of that name`);
    if (force) await catalog.propose({ kind: "remove-node", name, isForced: true });
    else await catalog.propose({ kind: "drain-node", name, isDraining: true });
    return { isRemoved: !catalog.state.nodes.has(name) };
  }

  async addNode({ name }: AddNodeRequest): Promise<AddNodeResult> {
    const catalog = this.#getCatalog(`add node ${name}`);
    await catalog.refresh();
    const node = catalog.state.nodes.get(name);
    if (node === undefined) {
      const addresses = [...catalog.state.nodes.values()].map(({ address }) => address).join(",");
      throw new ProglogError("NODE_NOT_FOUND", `Cannot add node ${name}: it hasn't joined the cluster`, {
        hint: `Start it with an empty directory, and it joins by itself: proglog serve --node-name ${name} --start-join-addrs ${addresses}`,
      });
    }
    if (node.isDraining) await catalog.propose({ kind: "drain-node", name, isDraining: false });
    return { wasDraining: node.isDraining };
  }

  async transferLeadership(request: TransferLeadershipRequest): Promise<TransferLeadershipResult> {
    const { topic: name, partition } = request;
    const attempt = `have another node lead partition ${partition} of topic ${name}`;
    const placed = await this.#getPartition(name, partition, attempt);
    const before = this.#node.groups?.findLeader(placed.uuid)?.leaderId;
    if (before === undefined)
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: nobody leads it at the moment`, {
        hint: "Try again soon.",
      });
    const to = request.to === "" ? this.#heirOf(placed, before) : request.to;
    if (to === before) return { leaderId: before };
    if (to === undefined || !placed.replicas.some(({ node }) => node === to))
      throw new ProglogError("NOT_A_REPLICA", `Cannot ${attempt}: ${to ?? "no other node"} has no replica of it`, {
        hint: 'Name a node that has one; "proglog topics describe" shows them.',
      });
    // The wish first, or it would be handed back.
    await this.#getCatalog(attempt).moveReplicas({
      topic: name,
      partition,
      nodes: placed.replicas.map(({ node }) => node),
      leader: to,
    });
    await this.#node.askNode(before, groupQuestions.transfer, Buffer.from(JSON.stringify({ group: placed.uuid, to })));
    return { leaderId: await this.#untilLed(placed.uuid, to, attempt) };
  }

  async movePartition({ topic, partition, replicas }: MovePartitionRequest): Promise<void> {
    const attempt = `move partition ${partition} of topic ${topic}`;
    const { uuid } = await this.#getPartition(topic, partition, attempt);
    // Before its first leader the nodes that make it must find it as it was made; and later nobody could move it.
    if (this.#node.groups?.findLeader(uuid) === undefined)
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: nobody leads it at the moment`, {
        hint: "Try again soon.",
      });
    await this.#getCatalog(attempt).moveReplicas({
      topic,
      partition,
      nodes: replicas,
      ...(replicas[0] === undefined ? {} : { leader: replicas[0] }),
    });
  }

  async #untilLed(uuid: string, to: string, attempt: string): Promise<string> {
    const endMs = this.#clock.monotonic() + clusterAnswerMaxMs;
    for (;;) {
      if (this.#node.groups?.findLeader(uuid)?.leaderId === to) return to;
      if (this.#clock.monotonic() >= endMs)
        throw new ProglogError("TIMEOUT", `Cannot ${attempt}: ${to} doesn't lead it yet`, {
          hint: "It may lag behind. It is wished for now, and leads as soon as it can.",
        });
      await new Promise<void>((resolve) => void this.#clock.setTimer(clusterPollMs, resolve));
    }
  }

  /** Who is next in the placement, and there. */
  #heirOf({ replicas }: CatalogPartition, leader: string): string | undefined {
    return replicas.find(({ node }) => node !== leader && this.#isUp(node))?.node;
  }

  #describePartitions(catalog: ClusterCatalog): readonly GroupStatus[] {
    const topics = [...catalog.state.topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return topics.flatMap((topic) => topic.partitions.map((partition) => this.#describe(topic, partition)));
  }

  #describe(topic: CatalogTopic, partition: CatalogPartition): GroupStatus {
    const { leader, replicas: places, term } = this.#node.findPlace(topic, partition.partition);
    const leaderId = this.#leaderOf(leader?.nodeId);
    const replicas = places.map(({ address: rpcAddr, ...replica }) => {
      const isInSync = replica.isInSync && (replica.nodeId !== leader?.nodeId || leaderId !== "");
      return { ...replica, isInSync, rpcAddr };
    });
    const inSyncCount = replicas.filter(({ isInSync, isVoter }) => isInSync && isVoter).length;
    const wished = partition.leader === undefined ? [] : [partition.leader];
    const nodes = partition.replicas.map(({ node }) => node);
    const move = partition.isMoving
      ? {
          replicas: [...wished, ...nodes.filter((node) => node !== partition.leader)],
          phase: this.#phaseOf(replicas, partition),
        }
      : undefined;
    return {
      topic: topic.name,
      partition: partition.partition,
      uuid: partition.uuid,
      leaderId,
      term,
      replicas,
      isUnderReplicated: inSyncCount < Math.max(1, partition.replicas.length),
      ...(move === undefined ? {} : { move }),
    };
  }

  /**
   * Who was heard to lead last may be gone, and nobody says so of a group that has nobody else. Clients are sent there all the same: perhaps they
   * find a way. To this node nobody leads.
   */
  #leaderOf(known: string | undefined): string {
    return known !== undefined && this.#isUp(known) ? known : "";
  }

  #phaseOf(
    replicas: readonly { readonly isInSync: boolean; readonly isVoter: boolean }[],
    { leaving }: CatalogPartition,
  ): string {
    if (replicas.some(({ isInSync }) => !isInSync)) return "catching-up";
    if (replicas.some(({ isVoter }) => !isVoter)) return "changing";
    return leaving.length > 0 ? "removing" : "waiting";
  }

  #describeCatalog(catalog: ClusterCatalog): GroupStatus {
    const { clusterId = "" } = this.#node;
    const known = this.#node.groups?.findLeader(clusterId);
    const leader = this.#leaderOf(known?.leaderId ?? catalog.leader);
    const voters = this.#catalogVoters();
    const replicas = [...catalog.state.nodes.values()].map(({ name, address }) => ({
      nodeId: name,
      rpcAddr: address,
      isVoter: voters.has(name),
      isInSync: this.#isUp(name),
    }));
    const downCount = replicas.filter(({ isVoter, isInSync }) => isVoter && !isInSync).length;
    return {
      ...{ topic: "", partition: 0, uuid: clusterId, leaderId: leader, term: known?.term ?? 0, replicas },
      isUnderReplicated: downCount > 0,
    };
  }

  #catalogVoters(): ReadonlySet<string> {
    const membership = this.#node.groups?.find(this.#node.clusterId ?? "")?.membership;
    return new Set(membership?.voters.map(({ nodeId }) => nodeId));
  }

  #isUp(name: string): boolean {
    return this.#node.facts?.presenceOf(name).isConnected === true;
  }

  async #getPartition(name: string, number: number, attempt: string): Promise<CatalogPartition> {
    const topic: Topic = await this.#getCatalog(attempt).describeTopic(name);
    const partition = topic.partitions[number] as CatalogPartition | undefined;
    if (partition !== undefined) return partition;
    throw new ProglogError("PARTITION_NOT_FOUND", `Cannot ${attempt}: the topic has ${topic.partitions.length}, from 0`);
  }

  #getCatalog(attempt: string): ClusterCatalog {
    const catalog = this.#node.clusterCatalog;
    if (catalog?.state.clusterId !== undefined) return catalog;
    throw new ProglogError("UNAVAILABLE", `Cannot ${attempt}: this node hasn't heard from its cluster yet`, {
      details: { outcome: "not-appended" },
    });
  }
}
