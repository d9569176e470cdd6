import type { Disk } from "../../base/disk.ts";
import { bootCountersMaxCount, nodeRecordMaxBytes } from "../../base/cluster-limits.ts";
import {
  checkFields,
  checkList,
  type CorruptFile,
  corruptFile,
  decodeWholeFile,
  encodeWholeFile,
  isObject,
  readWholeFile,
  type WholeFile,
  type WholeFileFormat,
} from "../../log/whole-file.ts";
import type { Member } from "../../raft/member.ts";
import type { KnownPeer } from "../peer-network.ts";
import { faultOfProposal, type FormationMember, type FormationProposal } from "./formation-proposal.ts";

/**
 * Who a directory is, as it stands on the disk (docs/format.md). One that can't be read stops the node: taken for none, the
 * directory would be somebody else's disk, or vote again in a term in which it has voted.
 */
export interface NodeRecordState {
  /** Counts up with each change, from 1. */
  readonly generation: number;
  /** 32 hex digits: which disk this is. */
  readonly storageId: string;
  /** Undefined until the node was started under one. */
  readonly nodeName: string | undefined;
  /** The cluster that it belongs to, for ever. */
  readonly clusterId: string | undefined;
  /** How often the directory was started. */
  readonly bootCounter: number;
  /** The one proposal that this storage id takes part in. Stays when it has become the cluster. */
  readonly promise: FormationProposal | undefined;
  /** The highest boot counter heard of each storage id, and whose it was; those heard last come last. */
  readonly bootCounters: ReadonlyMap<string, HeardStart>;
  /** The incarnation that this node's replica of the catalog's group has, or is to get: 0 at first for those that formed the cluster. */
  readonly catalogIncarnation: number;
  /** The other nodes of the cluster as they were last known: whom to ask when nobody here knows the catalog yet. */
  readonly peers: readonly KnownPeer[];
  /**
   * What the catalog placed here before this offset and isn't listed is gone for good, or never came to be: a catalog that is read again from
   * an earlier offset has it made no more.
   */
  readonly placedBefore: number;
  /** The replicas that were made here and aren't forgotten, in order of their making. */
  readonly replicas: readonly ReplicaRecord[];
}

/** A start of another node's directory. */
export interface HeardStart {
  readonly bootCounter: number;
  /** Of its process; undefined where an earlier version noted it. */
  readonly life: string | undefined;
}

/** One replica that this node made; by group id and incarnation there is one. */
export interface ReplicaRecord {
  /** A uuid, or the cluster id for the catalog's. */
  readonly groupId: string;
  /** The catalog's offset at which it was placed. */
  readonly incarnation: number;
  /** 32 hex digits. */
  readonly logId: string;
  /** The group's first members, where this replica is one of them; undefined for one that learns them. */
  readonly firstMembers: readonly Member[] | undefined;
  /** `deleting`: its files may be there or not, and go. `deleted`: they are gone, and this incarnation never comes again. */
  readonly state: "created" | "deleting" | "deleted";
}

export const nodeRecordName = "node-record";

export const nodeRecordFormat: WholeFileFormat = {
  noun: "node record",
  magic: "PLNODER1",
  version: 1,
  maxBytes: nodeRecordMaxBytes,
  keepsRoom: true,
  corruptHint:
    "The logs are untouched. Don't put back an older copy: it has forgotten what was promised. Remove the node from its cluster, and let it join anew with an empty directory.",
};

/** The record at `path`, or undefined when there is none. Throws MANIFEST_CORRUPT, UNSUPPORTED_FORMAT or DISK_FAILED. */
export function readNodeRecord(disk: Disk, path: string): NodeRecordState | undefined {
  const file = readWholeFile(disk, path, nodeRecordFormat);
  return file === undefined ? undefined : parse(file, corruptFile(path, nodeRecordFormat));
}

export function encodeNodeRecord(state: NodeRecordState): Buffer {
  const { generation, storageId, nodeName, clusterId, bootCounter, promise, bootCounters, replicas } = state;
  const { catalogIncarnation, peers, placedBefore } = state;
  const body = {
    storageId,
    nodeName: nodeName ?? null,
    clusterId: clusterId ?? null,
    bootCounter,
    promise: promise ?? null,
    bootCounters: Object.fromEntries(
      [...bootCounters].map(([disk, { bootCounter: heard, life }]) => [
        disk,
        life === undefined ? heard : { bootCounter: heard, life },
      ]),
    ),
    catalogIncarnation,
    peers,
    placedBefore,
    replicas: replicas.map((replica) => ({ ...replica, firstMembers: replica.firstMembers ?? null })),
  };
  return encodeWholeFile({ generation, body }, nodeRecordFormat);
}

/** `path` is for the errors only. */
export function decodeNodeRecord(buffer: Buffer, path: string): NodeRecordState {
  return parse(decodeWholeFile(buffer, path, nodeRecordFormat), corruptFile(path, nodeRecordFormat));
}

function parse({ generation, body }: WholeFile, corrupt: CorruptFile): NodeRecordState {
  const fields = checkFields(body, bodyFields, "its body", corrupt);
  const state = {
    generation,
    storageId: hexId(fields.storageId, "its storage id", corrupt),
    nodeName: fields.nodeName === null ? undefined : text(fields.nodeName, "its node name", corrupt),
    clusterId: fields.clusterId === null ? undefined : hexId(fields.clusterId, "its cluster id", corrupt),
    bootCounter: counter(fields.bootCounter, "its boot counter", corrupt),
    promise: fields.promise === null ? undefined : parsePromise(fields.promise, corrupt),
    bootCounters: parseBootCounters(fields.bootCounters, corrupt),
    catalogIncarnation: counter(fields.catalogIncarnation, "the incarnation of its catalog", corrupt),
    peers: parsePeers(fields.peers, corrupt),
    placedBefore: counter(fields.placedBefore ?? 0, "the offset up to which it has what was placed", corrupt),
    replicas: parseReplicas(fields.replicas, corrupt),
  };
  const { promise, clusterId, storageId } = state;
  if (promise !== undefined) {
    if (clusterId !== undefined && clusterId !== promise.clusterId)
      throw corrupt("it promised another cluster than it belongs to");
    if (!promise.members.some((member) => member.storageId === storageId))
      throw corrupt("it promised a cluster without itself");
  }
  return state;
}

const bodyFields = [
  ...(["storageId", "nodeName", "clusterId", "bootCounter", "promise", "bootCounters"] as const),
  ...(["catalogIncarnation", "peers", "placedBefore", "replicas"] as const),
] as const;

function parsePromise(value: unknown, corrupt: CorruptFile): FormationProposal {
  const fields = checkFields(value, ["clusterId", "proposer", "members"], "its promise", corrupt);
  const proposal = {
    clusterId: hexId(fields.clusterId, "its promise's cluster id", corrupt),
    proposer: hexId(fields.proposer, "its promise's proposer", corrupt),
    members: checkList(fields.members, "its promise's members", corrupt).map((member) => parseMember(member, corrupt)),
  };
  const fault = faultOfProposal(proposal);
  if (fault !== undefined) throw corrupt(`in its promise, ${fault}`);
  return proposal;
}

function parseMember(value: unknown, corrupt: CorruptFile): FormationMember {
  const fields = checkFields(value, ["name", "storageId", "address"], "a member of its promise", corrupt);
  return {
    name: text(fields.name, "the name of a member of its promise", corrupt),
    storageId: hexId(fields.storageId, "the storage id of a member of its promise", corrupt),
    address: text(fields.address, "the address of a member of its promise", corrupt),
  };
}

function parseBootCounters(value: unknown, corrupt: CorruptFile): ReadonlyMap<string, HeardStart> {
  if (!isObject(value)) throw corrupt("its boot counters are no object");
  const entries = Object.entries(value);
  if (entries.length > bootCountersMaxCount) throw corrupt(`it has ${entries.length} boot counters`);
  return new Map(
    entries.map(([storageId, highest]) => [
      hexId(storageId, "the storage id of a boot counter", corrupt),
      parseHeardStart(highest, corrupt),
    ]),
  );
}

function parseHeardStart(value: unknown, corrupt: CorruptFile): HeardStart {
  const what = "the boot counter of another node";
  if (!isObject(value)) return { bootCounter: counter(value, what, corrupt), life: undefined };
  const { bootCounter, life } = checkFields(value, ["bootCounter", "life"], what, corrupt);
  if (typeof life !== "string" || !lifePattern.test(life)) throw corrupt(`${what} is that of no process`);
  return { bootCounter: counter(bootCounter, what, corrupt), life };
}

function parsePeers(value: unknown, corrupt: CorruptFile): readonly KnownPeer[] {
  return checkList(value, "its peers", corrupt).map((entry) => {
    const { nodeId, address } = checkFields(entry, ["nodeId", "address"], "a peer", corrupt);
    return {
      nodeId: text(nodeId, "the name of a peer", corrupt),
      address: text(address, "the address of a peer", corrupt),
    };
  });
}

function parseReplicas(value: unknown, corrupt: CorruptFile): readonly ReplicaRecord[] {
  const seen = new Set<string>();
  const present = new Set<string>();
  return checkList(value, "its replicas", corrupt).map((entry) => {
    const fields = checkFields(entry, ["groupId", "incarnation", "logId", "firstMembers", "state"], "a replica", corrupt);
    const { groupId, incarnation, state } = fields;
    if (typeof groupId !== "string" || !groupIdPattern.test(groupId)) throw corrupt("a replica has no valid group id");
    const what = `the replica of group ${groupId}`;
    if (!Number.isSafeInteger(incarnation) || Number(incarnation) < 0) throw corrupt(`${what} has no incarnation`);
    if (state !== "created" && state !== "deleting" && state !== "deleted") throw corrupt(`${what} has no state that is known`);
    if (seen.size === seen.add(`${groupId}/${Number(incarnation)}`).size) throw corrupt(`${what} stands there twice`);
    // Both would lie in the directory of the group.
    if (state !== "deleted" && present.size === present.add(groupId).size)
      throw corrupt(`two replicas of group ${groupId} are there`);
    return {
      groupId,
      incarnation: Number(incarnation),
      logId: hexId(fields.logId, `the log of ${what}`, corrupt),
      firstMembers: fields.firstMembers === null ? undefined : parseFirstMembers(fields.firstMembers, what, corrupt),
      state,
    };
  });
}

function parseFirstMembers(value: unknown, what: string, corrupt: CorruptFile): readonly Member[] {
  return checkList(value, `the first members of ${what}`, corrupt).map((entry) => {
    const { nodeId, storageId } = checkFields(entry, ["nodeId", "storageId"], `a first member of ${what}`, corrupt);
    return {
      nodeId: text(nodeId, `a first member of ${what}`, corrupt),
      storageId: text(storageId, `the storage id of a first member of ${what}`, corrupt),
    };
  });
}

export const hexIdPattern = /^[0-9a-f]{32}$/;
const lifePattern = /^[0-9a-f]{16}$/;
const groupIdPattern = /^(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

function hexId(value: unknown, what: string, corrupt: CorruptFile): string {
  if (typeof value !== "string" || !hexIdPattern.test(value)) throw corrupt(`${what} isn't 32 hex digits`);
  return value;
}

function text(value: unknown, what: string, corrupt: CorruptFile): string {
  if (typeof value !== "string" || value === "") throw corrupt(`${what} is missing`);
  return value;
}

function counter(value: unknown, what: string, corrupt: CorruptFile): number {
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw corrupt(`${what} isn't a number from 0 to 2^53-1`);
  return Number(value);
}
