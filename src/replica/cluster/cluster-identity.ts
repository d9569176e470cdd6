import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Disk } from "../../base/disk.ts";
import { messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import { manifestName, readManifest } from "../../log/manifest.ts";
import type { PeerIdentity } from "../peer-network.ts";
import { FormationDriver, type FormationNetwork } from "./formation-driver.ts";
import { firstVoters, type FormationMember } from "./formation-proposal.ts";
import { decodeJoinRequest, encodeJoined, type Joined, type JoinRequest } from "./formation-view.ts";
import { NodeRecord } from "./node-record.ts";
import { nodeRecordName, type NodeRecordState, readNodeRecord } from "./node-record-state.ts";
import { checkPeer, type PeerKnowledge, type PeerStanding } from "./peer-check.ts";

export interface ClusterIdentityOptions {
  readonly disk: Disk;
  /** The data directory, whose lock the caller holds. */
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly flags: ClusterFlags;
  /** The name of a node that was never given one. */
  readonly defaultName: string;
  /** Where others reach this node: `host:port`. */
  readonly address: string;
  /** The addresses behind a join address: `host:port` gives one or many of them. */
  readonly resolve: (address: string) => Promise<readonly string[]>;
  /**
   * Begins to listen, with `identity.answer` for the questions of formation and `identity.peer` for introductions. Called once, when
   * this start is durably counted and before anything is sent. What it opened is the caller's to close, also when the start fails.
   */
  readonly connect: (identity: ClusterIdentity) => Promise<FormationNetwork> | FormationNetwork;
  /**
   * Has a node taken in by the leader of group 0; resolves with its cluster when that is committed. Throws NODE_ALREADY_EXISTS as
   * `judgeJoin` does, NOT_LEADER, UNAVAILABLE and the like while it can't be done.
   */
  readonly admit: (request: JoinRequest, signal: AbortSignal) => Promise<Joined>;
  /** Ends a start that waits for others. */
  readonly signal: AbortSignal;
}

/** What an operator said, by flag, environment or file. */
export interface ClusterFlags {
  readonly nodeName: string | undefined;
  readonly startJoinAddrs: readonly string[];
  readonly initialNodes: number | undefined;
  readonly isBootstrapping: boolean;
}

/** What a node is in its cluster, at first: group 0 tells what it is by now. */
export interface ClusterMembership {
  readonly clusterId: string;
  /** Those with whom it formed the cluster; empty where it joined one that was there. */
  readonly members: readonly FormationMember[];
  /** Of those, the ones that vote in group 0 from its beginning. */
  readonly firstVoters: readonly FormationMember[];
  /** Its part in group 0: one of the first voters, one of the others that formed the cluster, or taken in later. */
  readonly role: "voter" | "learner" | "joined";
}

/** Whether a directory is, or by these flags begins to be, a cluster's. */
export function isClustered(disk: Disk, directory: string, flags: ClusterFlags): boolean {
  return isBound(readNodeRecord(disk, join(directory, nodeRecordName))) || wantsCluster(flags);
}

/**
 * Who this node is, from its start on: opens the node record and, unless the directory is a single node's, forms or joins its
 * cluster. Resolves with undefined for a single node, and else when the directory belongs to a cluster; that may take until others are
 * there. Throws INVALID_CONFIG, NODE_ALREADY_EXISTS, PEER_REFUSED, MANIFEST_CORRUPT, CANCELLED and a disk's errors.
 */
export async function openClusterIdentity(options: ClusterIdentityOptions): Promise<ClusterIdentity | undefined> {
  const { disk, directory, random, flags } = options;
  const found = readNodeRecord(disk, join(directory, nodeRecordName));
  const content = readContent(disk, directory);
  // What was promised binds whatever the node is started with: a single node's topics could come into a cluster otherwise.
  if (!isBound(found) && !wantsCluster(flags)) return undefined;
  if (!isBound(found)) checkContent(content, directory, flags);
  const name = nameOf(found, options);
  const record = await NodeRecord.open(disk, directory, () => content.storageId ?? random.bytes(16).toString("hex"));
  await record.setName(name);
  const identity = new ClusterIdentity(record, name, content.hasTopics, options);
  const network = await options.connect(identity);
  await identity.form(network);
  return identity;
}

export class ClusterIdentity {
  readonly record: NodeRecord;
  readonly name: string;
  readonly #options: ClusterIdentityOptions;
  readonly #driver: FormationDriver;
  readonly #life: string;

  /** For `openClusterIdentity`. */
  constructor(record: NodeRecord, name: string, hasTopics: boolean, options: ClusterIdentityOptions) {
    this.record = record;
    this.name = name;
    this.#options = options;
    const { flags, address, resolve, clock, random, logger } = options;
    this.#life = random.bytes(8).toString("hex");
    this.#driver = new FormationDriver({
      record,
      name,
      address,
      joinAddresses: flags.startJoinAddrs,
      initialNodes: flags.initialNodes,
      isBootstrapping: flags.isBootstrapping,
      hasTopics,
      resolve,
      clock,
      random,
      logger,
    });
  }

  /** How this node introduces itself, now: storage id and cluster id may still change while the cluster is formed. */
  get peer(): PeerIdentity {
    const { clusterId, storageId, bootCounter } = this.record.state;
    return { clusterId, nodeId: this.name, storageId, bootCounter, life: this.#life, address: this.#options.address };
  }

  /** What the start waits for, for a status; undefined once the directory belongs to a cluster. */
  get waitsFor(): string | undefined {
    return this.#driver.waitsFor;
  }

  /** Undefined until the directory belongs to a cluster. */
  get membership(): ClusterMembership | undefined {
    const { clusterId, promise, storageId } = this.record.state;
    if (clusterId === undefined) return undefined;
    if (promise === undefined) return { clusterId, members: [], firstVoters: [], role: "joined" };
    const voters = firstVoters(promise);
    const isVoter = voters.some((member) => member.storageId === storageId);
    return { clusterId, members: promise.members, firstVoters: voters, role: isVoter ? "voter" : "learner" };
  }

  /** Answers formation/*, from the moment on at which the node listens, and for as long as it runs. */
  async answer(kind: string, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (kind !== "formation/join") return this.#driver.answer(kind, body);
    const request = decodeJoinRequest(body);
    const { clusterId } = this.record.state;
    if (clusterId === undefined)
      throw new ProglogError("UNAVAILABLE", `Cannot take in ${request.name}: ${this.name} doesn't belong to a cluster yet`);
    const admitted = await this.#options.admit(request, signal);
    return encodeJoined(admitted);
  }

  /**
   * Judges who introduces itself, and remembers its boot counter if it is of this cluster. `nodes` are the catalog's, as far as it is known here. Throws PEER_REFUSED as `checkPeer` does.
   */
  check(peer: PeerIdentity, knowledge: Pick<PeerKnowledge, "nodes" | "connected" | "mayLead">): PeerStanding {
    const { nodes } = knowledge;
    const { clusterId, storageId, promise, bootCounters } = this.record.state;
    // Those that formed the cluster know each other before its catalog knows anybody. Nobody is refused for them: a node of that name may have
    // been replaced since, and lead group 0, and this one start and not know yet.
    const members = clusterId === undefined ? [] : (promise?.members ?? []);
    const formed = members.filter(({ name, storageId: formedAs }) => name === peer.nodeId && formedAs === peer.storageId);
    const known = new Map(formed.map((member) => [member.name, member]));
    for (const node of nodes) known.set(node.name, node);
    const self = { clusterId, storageId };
    const standing = checkPeer(peer, { ...knowledge, self, nodes: known.values(), bootCounters });
    if (clusterId === undefined) this.#driver.introduce(peer.address);
    // Of those who are nobody here, any number could come, and push out those who are.
    const isSomebody = clusterId === undefined || [...known.values()].some((node) => node.storageId === peer.storageId);
    const { bootCounter } = peer;
    // Before there is a cluster two may run on copies of one directory, and either may be the one that stays: whose start it is comes out behind that.
    const life = clusterId === undefined ? undefined : peer.life;
    if (isSomebody && peer.storageId !== storageId)
      this.record.noteStart(peer.storageId, { bootCounter, life }).catch(this.#noteFailed);
    return standing;
  }

  /** Whether a refusal says that others know of later starts of this very directory. */
  isPutBack({ code, details }: ProglogError): boolean {
    return (
      code === "PEER_REFUSED" && details["reason"] === "rolled-back" && details["storageId"] === this.record.state.storageId
    );
  }

  /** Until it is noted, an older copy of that directory would pass; nothing else hangs on it. */
  readonly #noteFailed = (error: unknown): void => {
    this.#options.logger.warn({ reason: messageOf(error) }, "the boot counter of a peer can't be noted");
  };

  /** Asks once whom its join addresses lead to; what comes of it is that both ends introduce themselves. Not more often than once a round. */
  lookAround(network: FormationNetwork): void {
    this.#driver.lookAround(network, this.#options.signal).catch((error: unknown) => {
      this.#options.logger.debug({ reason: messageOf(error) }, "can't look for the other nodes");
    });
  }

  /** For `openClusterIdentity`. */
  async form(network: FormationNetwork): Promise<void> {
    await this.#driver.form(network, this.#options.signal);
    const { logger } = this.#options;
    logger.info({ node: this.name, ...this.peer, role: this.membership?.role }, "belongs to a cluster");
  }
}

interface DirectoryContent {
  readonly storageId: string | undefined;
  readonly hasTopics: boolean;
  /** Logs that no topic names. */
  readonly orphanCount: number;
}

function readContent(disk: Disk, directory: string): DirectoryContent {
  const manifest = readManifest(disk, join(directory, manifestName));
  const logsPath = join(directory, "logs");
  const logCount = disk.isDirectory(logsPath) ? disk.list(logsPath).length : 0;
  const hasTopics = manifest !== undefined && manifest.topics.length + manifest.deleted.length > 0;
  return { storageId: manifest?.storageId, hasTopics, orphanCount: hasTopics ? 0 : logCount };
}

function isBound(record: NodeRecordState | undefined): boolean {
  return record?.clusterId !== undefined || record?.promise !== undefined;
}

function wantsCluster({ startJoinAddrs, initialNodes, isBootstrapping }: ClusterFlags): boolean {
  return isBootstrapping || initialNodes !== undefined || startJoinAddrs.length > 0;
}

/** A directory that doesn't belong to a cluster goes into one empty, or as its first node. */
function checkContent(
  { hasTopics, orphanCount }: DirectoryContent,
  directory: string,
  { isBootstrapping }: ClusterFlags,
): void {
  if (orphanCount > 0)
    throw new ProglogError(
      "MANIFEST_CORRUPT",
      `Cannot begin a cluster in ${directory}: it has ${orphanCount} logs that nobody names`,
      {
        hint: "It may have lost its node record or its manifest. The logs are untouched; use an empty directory.",
        details: { file: join(directory, nodeRecordName) },
      },
    );
  if (hasTopics && !isBootstrapping)
    throw new ProglogError(
      "INVALID_CONFIG",
      `Cannot take ${directory} into a cluster of others: it has topics of a single node`,
      {
        hint: "Two nodes' topics can't be put together. Begin a cluster with them by --bootstrap, or use an empty directory.",
      },
    );
}

/** A node keeps its name once others may know it by that. */
function nameOf(found: NodeRecordState | undefined, { flags: { nodeName }, defaultName }: ClusterIdentityOptions): string {
  if (!isBound(found) || found?.nodeName === undefined) return nodeName ?? found?.nodeName ?? defaultName;
  if (nodeName === undefined || nodeName === found.nodeName) return found.nodeName;
  throw new ProglogError("INVALID_CONFIG", `Cannot start as ${nodeName}: this directory is that of ${found.nodeName}`, {
    hint: `Leave out --node-name, or say --node-name ${found.nodeName}.`,
  });
}
