import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Clock, Timer } from "../../base/clock.ts";
import { clusterAnswerMaxMs, replicaLostAfterMs } from "../../base/cluster-limits.ts";
import type { Disk, DiskLock } from "../../base/disk.ts";
import { type ErrorDetails, isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { controllerIntervalMs } from "../../base/limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import type { TopicSettings } from "../../base/topic-settings.ts";
import { minuteMs } from "../../base/units.ts";
import { manifestName, readManifest } from "../../log/manifest.ts";
import { OpenFiles } from "../../log/open-files.ts";
import type { NodeId } from "../../raft/member.ts";
import type { RaftSettings } from "../../raft/raft-settings.ts";
import type { Catalog, Topic } from "../catalog.ts";
import type { LogObserver, LogSettings } from "../data-directory.ts";
import { effectiveSettings } from "../effective-settings.ts";
import { type KnownLeader, leaderDetails, notLeaderError } from "../group/group-errors.ts";
import type { GroupObserver } from "../group/group-options.ts";
import { GroupReplica } from "../group/group-replica.ts";
import { GroupSet } from "../group/group-set.ts";
import { newestLeader } from "../group/leader-table.ts";
import { memberOptionsOf } from "../group/member-options.ts";
import { topicNotFound } from "../manifest-catalog.ts";
import type { NodeStorage, PartitionPlace, ReplicaLookup } from "../node-storage.ts";
import type { KnownPeer, PeerIdentity, PeerListener, PeerTransport } from "../peer-network.ts";
import type { Replica } from "../replica.ts";
import { CatalogReplica } from "./catalog-replica.ts";
import { type CatalogPartition, catalogPlacement, partitionsOf } from "./catalog-state.ts";
import { ClusterCatalog } from "./cluster-catalog.ts";
import { type ClusterFlags, type ClusterIdentity, openClusterIdentity } from "./cluster-identity.ts";
import { ClusterFacts } from "./cluster-facts.ts";
import { ClusterPolicy } from "./cluster-policy.ts";
import { Controller } from "./controller.ts";
import type { Joined, JoinRequest } from "./formation-view.ts";
import { findPlace } from "./find-place.ts";
import { handOver } from "./hand-over.ts";
import { formCatalog, topicsToTake } from "./form-catalog.ts";
import { admit } from "./joining.ts";
import { catalogVersion } from "./catalog-fold.ts";
import { CatalogRenewal } from "./catalog-renewal.ts";
import { nodeRecordName, readNodeRecord, type ReplicaRecord } from "./node-record-state.ts";
import { PeerAddresses } from "./peer-addresses.ts";
import { answerPeerQuestion, startingError } from "./peer-questions.ts";
import { PendingCatalog } from "./pending-catalog.ts";
import { ReplicaKeeper } from "./replica-keeper.ts";
import { ServedReplicas, uuidOf } from "./served-replicas.ts";
import { TopicLogs } from "./topic-logs.ts";
import { untilLed } from "./until-led.ts";

export interface ClusteredNodeOptions {
  /** The data directory. */
  readonly path: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How logs behave where their topic doesn't say. */
  readonly log: LogSettings;
  readonly observer?: LogObserver;
  /** Told of all groups. */
  readonly groupObserver?: GroupObserver;
  readonly flags: ClusterFlags;
  readonly defaultName: () => string;
  /** Where others reach this node. Asked once it listens. */
  readonly address: () => string;
  /** The addresses behind a join address. */
  readonly resolve: (address: string) => Promise<readonly string[]>;
  readonly connectPeers: (parts: { readonly identity: () => PeerIdentity; readonly listener: PeerListener }) => PeerTransport;
  readonly settings?: RaftSettings;
  /** What is sent of logs to those that catch up. Default `catchUpBytesPerSecond`. */
  readonly catchUpBytesPerSecond?: number;
  readonly tickMs?: number;
}

/**
 * A node of a cluster: who it is, its groups, its share of the catalog, and on one node at a time the controller. Opening takes the lock; then
 * `openReplicas`, called when the node listens, takes as long as it takes until the directory belongs to a cluster. Disk, clock, chance
 * and network are handed in: the simulator runs this as it is.
 */
export class ClusteredNode implements NodeStorage {
  readonly catalog: Catalog;
  readonly policy: ClusterPolicy;
  readonly replicas: ReplicaLookup;
  readonly #options: ClusteredNodeOptions;
  readonly #lock: DiskLock;
  readonly #openFiles = new OpenFiles();
  readonly #stopping = new AbortController();
  /** Aborts, with the reason, when the node is closed: also by itself, where its directory was put back to an earlier state. */
  readonly stopped: AbortSignal = this.#stopping.signal;
  readonly #storageIdBefore: string | undefined;
  readonly #peerListener: PeerListener = {
    check: (peer) => this.#check(peer),
    received: (from, groupId, message) => {
      // Who came later than the catalog as it is known here may be the one that brings the rest of it: its group knows its members by itself.
      if (this.#isMember(from) || (groupId === this.clusterId && from.clusterId === this.clusterId))
        this.#groups?.received(groupId, message);
    },
    answer: (from, kind, body, signal) => this.#answer(from, kind, body, signal),
    connected: (peer) => this.#connected(peer),
    disconnected: (nodeId) => this.#disconnected(nodeId),
    refused: (error) => this.#refused(error),
  };
  #identity: ClusterIdentity | undefined;
  #peers: PeerTransport | undefined;
  #groups: GroupSet<GroupReplica> | undefined;
  #catalog: ClusterCatalog | undefined;
  #keeper: ReplicaKeeper | undefined;
  #renewal: CatalogRenewal | undefined;
  #controller: Controller | undefined;
  #facts: ClusterFacts | undefined;
  #logs: TopicLogs | undefined;
  #watch: Timer | undefined;
  #knownPeers: readonly KnownPeer[] = [];
  readonly #connectedPeers = new Map<NodeId, PeerIdentity>();
  readonly #addresses = new PeerAddresses({
    self: () => this.nodeId,
    clusterId: () => this.clusterId,
    catalog: () => this.#catalog?.state ?? { nodes: new Map() },
    leader: () => this.#catalog?.leader,
    isConnected: (nodeId) => this.#connectedPeers.has(nodeId),
  });
  #isAnnouncing = false;
  /** Topics of the single node that this was, until the catalog has them. */
  #topicsToTake: ReadonlySet<string> = new Set();
  #refusal: ProglogError | undefined;
  #opening: Promise<void> | undefined;
  #forming: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: ClusteredNodeOptions, lock: DiskLock, storageId: string | undefined) {
    this.#options = options;
    this.#lock = lock;
    this.#storageIdBefore = storageId;
    this.catalog = new PendingCatalog(
      () => this.#catalog,
      (topic) => untilLed(topic, () => this.#groups, { clock: this.#options.clock, signal: this.#stopping.signal }),
    );
    this.policy = new ClusterPolicy(options);
    this.replicas = new ServedReplicas({
      clock: options.clock,
      catalog: () => this.#catalog?.state,
      groups: () => this.#groups,
    });
  }

  /** Throws LOG_LOCKED, MANIFEST_CORRUPT, UNSUPPORTED_FORMAT or DISK_FAILED. */
  static async open(options: ClusteredNodeOptions): Promise<ClusteredNode> {
    const { disk, path } = options;
    let lock: DiskLock | undefined;
    try {
      await disk.makeDirectory(path);
      lock = disk.lock(join(path, "lock"));
      const record = readNodeRecord(disk, join(path, nodeRecordName));
      const storageId = record?.storageId ?? readManifest(disk, join(path, manifestName))?.storageId;
      return new ClusteredNode(options, lock, storageId);
    } catch (error) {
      lock?.release();
      if (isProglogError(error)) throw error;
      throw new ProglogError("DISK_FAILED", `Cannot use the data directory ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  get storageId(): string {
    return this.#identity?.record.state.storageId ?? this.#storageIdBefore ?? unknownStorageId;
  }

  /** This node's name; undefined before it begins. */
  get nodeId(): string | undefined {
    return this.#identity?.name;
  }

  /** What a start that isn't in a cluster yet waits for, for people. */
  get waitsFor(): string | undefined {
    return this.#identity?.waitsFor;
  }

  get clusterId(): string | undefined {
    return this.#identity?.record.state.clusterId;
  }

  /** Of nodes that have the cluster's catalog, as this one knows it. */
  get clusterCatalog(): ClusterCatalog | undefined {
    return this.#catalog;
  }

  get groups(): GroupSet<GroupReplica> | undefined {
    return this.#groups;
  }

  get controller(): Controller | undefined {
    return this.#controller;
  }

  /** What the node knows of others beside the catalog. */
  get facts(): ClusterFacts | undefined {
    return this.#facts;
  }

  get peers(): PeerTransport | undefined {
    return this.#peers;
  }

  get orphans(): readonly string[] {
    return [];
  }

  get openFileCount(): number {
    return this.#openFiles.count;
  }

  /**
   * Forms or joins the cluster, or goes on as its node; opens this node's replicas. Errors as those of `openClusterIdentity`. Resolves without
   * waiting for a leader.
   */
  openReplicas(): Promise<void> {
    return (this.#opening = this.#open().catch((error: unknown) => {
      throw this.#refusal ?? error;
    }));
  }

  async #open(): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const { path, disk, clock, random, logger, flags, resolve } = this.#options;
    const identity = await openClusterIdentity({
      ...{ disk, directory: path, clock, random, logger, flags, resolve },
      defaultName: this.#options.defaultName(),
      address: this.#options.address(),
      connect: (opened) => this.#connect(opened),
      admit: (request, signal) => this.#admit(request, signal),
      signal: this.#stopping.signal,
    });
    const clusterId = identity?.record.state.clusterId;
    if (identity === undefined || clusterId === undefined || this.#peers === undefined)
      throw new ProglogError("INVALID_CONFIG", `Cannot begin as a node of a cluster: ${path} is a single node's`);
    this.#identity = identity;
    this.#stopping.signal.throwIfAborted();
    const groups = await this.#openGroups(identity, this.#peers);
    this.#groups = groups;
    this.#stopping.signal.throwIfAborted();
    for (const peer of this.#connectedPeers.values()) groups.connected(peer);
    this.#setPeers(identity);
    await groups.openAll();
    this.#stopping.signal.throwIfAborted();
    if (groups.stateOf(clusterId) === undefined) await this.#createCatalogGroup(identity, clusterId);
    this.#stopping.signal.throwIfAborted();
    this.#begin(identity, clusterId, groups, this.#peers);
  }

  getTopic(name: string): Topic {
    const topic = this.catalog.findTopic(name);
    if (topic === undefined) throw topicNotFound(name, "use");
    return topic;
  }

  getReplica(topicName: string, partition: number): Replica {
    return this.getReplicaOf(this.getTopic(topicName), partition);
  }

  getReplicaOf(topic: Topic, partition: number): Replica {
    const uuid = uuidOf(topic, partition);
    const replica = this.replicas.find(uuid);
    if (replica !== undefined) return replica;
    const leader = this.#leaderOf(uuid);
    const { nodeId, rpcAddress } = leader;
    const reason = nodeId === undefined ? "and nobody is known to lead it" : `${nodeId} leads it`;
    throw new ProglogError(
      "NOT_A_REPLICA",
      `Cannot read partition ${partition} of topic ${topic.name}: this node doesn't have it; ${reason}`,
      {
        hint: rpcAddress === undefined ? "Try again soon, or ask another node." : `Ask ${rpcAddress}.`,
        details: leaderDetails(leader),
      },
    );
  }

  getLeaderOf(topic: Topic, partition: number): Replica {
    const uuid = uuidOf(topic, partition);
    const replica = this.replicas.find(uuid);
    // A replica that doesn't lead says so by itself, and knows better who does.
    if (replica !== undefined) return replica;
    throw notLeaderError(`append to partition ${partition} of topic ${topic.name}`, this.#leaderOf(uuid));
  }

  whenRoom(bytes: number): Promise<void> | undefined {
    return this.#groups?.unsynced.whenRoom(bytes);
  }

  findPlace(topic: Topic, number: number): PartitionPlace {
    const partition = topic.partitions[number] as CatalogPartition | undefined;
    if (partition === undefined) return { leader: undefined, replicas: [], term: 0 };
    const addressOf = (nodeId: NodeId): string => this.#addressOf(nodeId) ?? "";
    return findPlace(partition, { groups: this.#groups, facts: this.#facts, addressOf });
  }

  findSuccessor(topicName: string, partition: number | undefined): ErrorDetails {
    const partitions = this.#catalog?.findTopic(topicName)?.partitions ?? [];
    const number = partition ?? (partitions.length === 1 ? 0 : -1);
    const uuid = partitions[number]?.uuid;
    if (uuid === undefined) return {};
    return leaderDetails(this.#groups?.find(uuid)?.successor ?? this.#leaderOf(uuid));
  }

  effectiveSettings({ settings }: Topic): TopicSettings {
    return effectiveSettings(settings, this.#options.log);
  }

  /** Asks a node of the cluster, this one included. */
  askNode(nodeId: NodeId, kind: string, body: Buffer): Promise<Buffer> {
    if (this.#identity === undefined || this.#peers === undefined) throw startingError();
    return this.#askAnyone(this.#identity, this.#peers)({ nodeId }, kind, body, {
      timeoutMs: clusterAnswerMaxMs,
      signal: this.#stopping.signal,
    });
  }

  /** Closes everything. Twice is fine. */
  close(reason: ProglogError): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: ProglogError): Promise<void> {
    this.#stopping.abort(reason);
    this.#logs?.close();
    this.#watch?.cancel();
    try {
      // Together: each waits for what it asked of the catalog, and the catalog refuses all that wait.
      const closings = [this.#controller, this.#keeper, this.#renewal].map((part) => part?.close());
      await Promise.all([...closings, this.#catalog?.close(reason), this.#forming]);
      // What is still being opened ends at its next step, which may have brought groups to close.
      await Promise.all([this.#groups?.close(reason), this.#opening?.catch(() => {})]);
      await this.#groups?.close(reason);
    } finally {
      await this.#peers?.close();
      // Once the lock is gone the directory is another process's.
      await this.#identity?.record.close();
      this.#openFiles.forgetAll("");
      this.#lock.release();
    }
  }

  /** A planned stop needn't cost anybody an election timeout. */
  async handOver(): Promise<void> {
    if (this.#groups === undefined) return;
    // It hands nothing back from now on; what it has asked may take its time.
    void this.#controller?.close();
    await handOver(this.#groups, this.#options.clock);
  }

  /** A directory that was put back has forgotten votes and acknowledgements: it takes part in nothing any more. */
  #refused(refusal: ProglogError): void {
    const identity = this.#identity;
    if (identity?.isPutBack(refusal) !== true || this.#closing !== undefined) return;
    const { logger } = this.#options;
    const why = "Cannot go on: this node's directory was put back to an earlier state, and others have refused it";
    logger.error({ reason: refusal.message, hint: refusal.hint }, why);
    const failed = (error: unknown): void => logger.warn({ reason: messageOf(error) }, "the node didn't stop as it should");
    identity.record.notePutBack().catch(failed);
    this.close((this.#refusal = new ProglogError("SHUTTING_DOWN", why, { cause: refusal }))).catch(failed);
  }

  #connect(identity: ClusterIdentity): PeerTransport {
    this.#identity = identity;
    this.#peers = this.#options.connectPeers({ identity: () => identity.peer, listener: this.#peerListener });
    return this.#peers;
  }

  #openGroups(identity: ClusterIdentity, peers: PeerTransport): Promise<GroupSet<GroupReplica>> {
    const { path, disk, clock, logger, tickMs, settings, catchUpBytesPerSecond } = this.#options;
    return GroupSet.open<GroupReplica>({
      ...{ disk, directory: path, clock, logger, nodeId: identity.name, record: identity.record, peers },
      ...(tickMs !== undefined && { tickMs }),
      ...(catchUpBytesPerSecond !== undefined && { catchUpBytesPerSecond }),
      ...(settings !== undefined && { electionTicks: settings.electionTicks }),
      openMember: async (record, seams) => {
        const { storageId } = identity.record.state;
        return this.#openMember(record, memberOptionsOf(record, seams, { nodeId: identity.name, storageId }));
      },
    });
  }

  async #openMember(record: ReplicaRecord, options: ReturnType<typeof memberOptionsOf>): Promise<GroupReplica> {
    const { clock, random, logger, log, observer, groupObserver, settings } = this.#options;
    // One log for all topics' settings until the catalog says which this one has: none of them matters before it is led.
    const { segmentMaxBytes, segmentMaxAgeMs, index, compression, scrubIntervalMs } = log;
    const group = await GroupReplica.open({
      ...options,
      disk: this.#groups?.disk ?? this.#options.disk,
      ...{ clock, random, logger, openFiles: this.#openFiles },
      rpcAddressOf: (nodeId) => this.#addressOf(nodeId),
      ...(settings !== undefined && { settings }),
      ...(groupObserver !== undefined && { observer: groupObserver }),
      log: {
        ...options.log,
        ...(segmentMaxBytes !== undefined && { segmentMaxBytes }),
        ...(segmentMaxAgeMs !== undefined && { segmentMaxAgeMs }),
        ...(index !== undefined && { index }),
        ...(compression !== undefined && { compression }),
        ...(scrubIntervalMs !== undefined && { scrubIntervalMs }),
        ...(observer !== undefined && { observer }),
      },
    });
    this.#logs?.configure(record.groupId, group);
    return group;
  }

  /** This node's replica of the catalog, the first time, or where another one is to take its place. */
  async #createCatalogGroup(identity: ClusterIdentity, clusterId: string): Promise<void> {
    const { membership } = identity;
    const incarnation = identity.record.state.catalogIncarnation;
    // Another one learns from the others who they are.
    const voters = incarnation === 0 && membership?.role === "voter" ? membership.firstVoters : undefined;
    const firstMembers = voters?.map(({ name, storageId }) => ({ nodeId: name, storageId: `${storageId}/${incarnation}` }));
    await this.#groups?.create({ groupId: clusterId, incarnation, logId: clusterId, firstMembers });
  }

  #begin(identity: ClusterIdentity, clusterId: string, groups: GroupSet<GroupReplica>, peers: PeerTransport): void {
    const { clock, random, logger, path, disk } = this.#options;
    const findLeader = (group: string): NodeId | undefined => newestLeader(groups.find(group), groups.findLeader(group));
    const catalogGroup = new CatalogReplica(() => groups.find(clusterId));
    const asking = { ask: this.#askAnyone(identity, peers) };
    this.#topicsToTake = topicsToTake(disk, path, identity);
    const reservedTopics = (): ReadonlySet<string> => this.#topicsToTake;
    const facts = new ClusterFacts({
      self: identity.name,
      startedMs: clock.monotonic(),
      now: () => clock.monotonic(),
      leaderOf: findLeader,
      outOf: (group) => groups.outOf(group),
      lostAfterMs: replicaLostAfterMs,
    });
    const isUp = (node: NodeId): boolean => facts.presenceOf(node).isConnected;
    const catalog = new ClusterCatalog(catalogGroup, { clock, random, logger, peers: asking, reservedTopics, isUp });
    for (const nodeId of this.#connectedPeers.keys()) facts.connected(nodeId);
    this.#facts = facts;
    this.#catalog = catalog;
    const { log } = this.#options;
    const retentionIntervalMs = log.retentionIntervalMs ?? minuteMs;
    this.#logs = new TopicLogs({ groups, catalog: () => catalog.state, log, retentionIntervalMs, clock, logger });
    catalog.watch(() => this.#catalogChanged(identity));
    this.policy.follow(catalog, { hasJoined: identity.membership?.role === "joined", signal: this.#stopping.signal });
    this.#keeper = new ReplicaKeeper({
      ...{ catalog, record: identity.record, groups, self: identity.name, clock, logger },
      changed: () => this.#logs?.configureAll(),
    });
    this.#controller = new Controller({ catalog, facts, peers: asking, clock, logger });
    this.#renewal = new CatalogRenewal({
      ...{ groups, record: identity.record, clusterId, ...asking, clock, logger },
      create: () => this.#createCatalogGroup(identity, clusterId),
    });
    const forming = formCatalog({ catalog, identity, disk, directory: path, clock, logger, signal: this.#stopping.signal });
    this.#forming = forming.then(() => void (this.#topicsToTake = new Set()));
    this.#scheduleWatch();
  }

  /** Asks any node, this one included. */
  #askAnyone(identity: ClusterIdentity, peers: PeerTransport): PeerTransport["ask"] {
    const stopping = this.#stopping.signal;
    return async (to, kind, body, options) => {
      const signal = options?.signal === undefined ? stopping : AbortSignal.any([options.signal, stopping]);
      if (!("nodeId" in to) || to.nodeId !== identity.name) return peers.ask(to, kind, body, { ...options, signal });
      return this.#answer(identity.peer, kind, body, signal);
    };
  }

  #catalogChanged(identity: ClusterIdentity): void {
    this.#logs?.configureAll();
    if (this.#catalog?.state.clusterId === undefined) return;
    this.#announceAddress(identity);
    this.#setPeers(identity);
    if (isDeepStrictEqual(this.#knownPeers, identity.record.state.peers)) return;
    identity.record.setPeers(this.#knownPeers).catch((error: unknown) => {
      this.#options.logger.warn({ reason: messageOf(error) }, "the cluster's nodes can't be noted");
    });
  }

  #setPeers({ record, membership }: ClusterIdentity): void {
    const known = this.#addresses.known(record.state.peers, membership?.members ?? []);
    if (isDeepStrictEqual(known, this.#knownPeers)) return;
    this.#knownPeers = known;
    this.#peers?.setPeers(known);
    this.#groups?.setPeers(known.map(({ nodeId }) => nodeId));
  }

  /** A node that starts again elsewhere tells so. */
  #announceAddress(identity: ClusterIdentity): void {
    if (this.#isAnnouncing) return;
    const known = this.#catalog?.state.nodes.get(identity.name);
    const { address, storageId } = identity.peer;
    if (known === undefined || known.address === address || known.storageId !== storageId) return;
    const node = { name: identity.name, storageId, address, version: catalogVersion };
    this.#isAnnouncing = true;
    this.#catalog
      ?.propose({ kind: "update-node", node, isRenewed: false })
      .catch((error: unknown) => {
        this.#options.logger.warn({ reason: messageOf(error) }, "the cluster can't be told where this node is now");
      })
      .finally(() => {
        this.#isAnnouncing = false;
      });
  }

  /** When nobody is where this node knows them to be, its join addresses may lead to where they are: who meets introduces himself. */
  #lookAround(): void {
    if (this.#peers !== undefined && this.#knownPeers.length > 0 && this.#connectedPeers.size === 0)
      this.#identity?.lookAround(this.#peers);
  }

  /** Who had another directory than the catalog has for its name, and might have led group 0 by it, and doesn't, is asked anew who it is. */
  #leaveStrangers(): void {
    const isStranger = ({ nodeId }: KnownPeer): boolean => {
      const known = this.#catalog?.state.nodes.get(nodeId)?.storageId;
      const { storageId = known } = this.#connectedPeers.get(nodeId) ?? {};
      return known !== undefined && storageId !== known && !this.#addresses.mayLead(nodeId);
    };
    if (!this.#knownPeers.some(isStranger)) return;
    this.#peers?.setPeers(this.#knownPeers.filter((peer) => !isStranger(peer)));
    this.#peers?.setPeers(this.#knownPeers);
  }

  /** Looks after which replicas are lost, now and then. */
  #scheduleWatch(): void {
    this.#watch = this.#options.clock.setTimer(controllerIntervalMs, () => {
      const state = this.#catalog?.state;
      if (state !== undefined && this.#catalog?.isLeader === true)
        this.#facts?.watchReplicas(function* () {
          yield catalogPlacement(state);
          for (const { partition } of partitionsOf(state)) yield partition;
        });
      if (this.#identity !== undefined) this.#announceAddress(this.#identity);
      this.#lookAround();
      this.#leaveStrangers();
      if (!this.#stopping.signal.aborted) this.#scheduleWatch();
    });
  }

  #leaderOf(uuid: string): KnownLeader {
    const { leaderId, term } = this.#groups?.findLeader(uuid) ?? {};
    // That one isn't here was just found.
    const nodeId = leaderId === this.nodeId ? undefined : leaderId;
    return { nodeId, rpcAddress: nodeId === undefined ? undefined : this.#addressOf(nodeId), term };
  }

  #addressOf(nodeId: NodeId): string | undefined {
    return this.#catalog?.state.nodes.get(nodeId)?.address;
  }

  /** Has a node taken in, by way of the leader of group 0. */
  async #admit(request: JoinRequest, _signal: AbortSignal): Promise<Joined> {
    const catalog = this.#catalog;
    if (catalog?.state.clusterId === undefined)
      throw new ProglogError("UNAVAILABLE", `Cannot take in ${request.name}: this node hasn't heard from its cluster yet`);
    // Whoever else came to lead group 0 wouldn't know of them, and let others make topics of their names.
    if (this.#topicsToTake.size > 0)
      throw new ProglogError("UNAVAILABLE", `Cannot take in ${request.name}: the cluster is taking over this node's topics`);
    return admit(catalog, request);
  }

  #check(peer: PeerIdentity): void {
    const nodes = [...(this.#catalog?.state.nodes.values() ?? [])];
    const identity = this.#identity;
    const mayLead = (nodeId: NodeId): boolean => this.#addresses.mayLead(nodeId);
    identity?.check(peer, { nodes, connected: [...this.#connectedPeers.values()], mayLead });
    // Not from within the handshake, which goes on with the connections that there are.
    if (identity !== undefined && this.#addresses.introduce(peer)) queueMicrotask(() => this.#setPeers(identity));
  }

  /** Of this cluster, as the catalog has it; before there is one, by its own word. */
  #isMember({ nodeId, storageId, clusterId }: PeerIdentity): boolean {
    if (clusterId === undefined || clusterId !== this.clusterId) return false;
    const nodes = this.#catalog?.state.nodes;
    return nodes === undefined || nodes.size === 0 || nodes.get(nodeId)?.storageId === storageId;
  }

  async #answer(from: PeerIdentity, kind: string, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    const standing = this.#isMember(from)
      ? ({ kind: "member", movedFrom: undefined } as const)
      : ({ kind: "outsider" } as const);
    const parts = { identity: this.#identity, groups: this.#groups, catalog: this.#catalog };
    return answerPeerQuestion({ from, standing, kind, body, signal }, parts);
  }

  #connected(peer: PeerIdentity): void {
    this.#connectedPeers.set(peer.nodeId, peer);
    this.#facts?.connected(peer.nodeId);
    this.#groups?.connected(peer);
  }

  #disconnected(nodeId: NodeId): void {
    this.#connectedPeers.delete(nodeId);
    this.#facts?.disconnected(nodeId);
    this.#groups?.disconnected(nodeId);
  }
}

const unknownStorageId = "0".repeat(32);
