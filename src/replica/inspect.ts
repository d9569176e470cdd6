import { basename, dirname, join } from "node:path";
import { findLastNonZero } from "../base/bytes.ts";
import { hardStateMaxBytes, nodeRecordMaxBytes } from "../base/cluster-limits.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, type ProglogError } from "../base/error.ts";
import { nodeDisk } from "../base/node-disk.ts";
import type { InspectedItem } from "../log/inspect.ts";
import { wholeFileHeadBytes } from "../log/whole-file.ts";
import type { Member } from "../raft/member.ts";
import { nodeRecordName, type NodeRecordState, readNodeRecord, type ReplicaRecord } from "./cluster/node-record-state.ts";
import {
  corrupt,
  decodeHead,
  hardStateHeadBytes,
  hardStateName,
  type HardStateFound,
  type HardStateHead,
  readFile,
  seedOf,
} from "./group/hard-state-file.ts";
import { decodeRound, findLaterRound } from "./group/hard-state-round.ts";
import type { SavedHardState } from "./group/hard-state-slot.ts";

/** What the offline commands read of the files by which a directory is a cluster's node. Nothing here changes a file. */
export interface NodeInspection {
  /** Undefined where there is none, or it can't be read. */
  readonly record: NodeRecordState | undefined;
  /** By group; undefined where there are none, or they can't be read. */
  readonly hardStates: ReadonlyMap<string, SavedHardState> | undefined;
  /** Replicas that have voted or acknowledged, and have no files. */
  readonly lost: readonly string[];
  readonly faults: readonly { readonly name: string; readonly error: ProglogError }[];
}

export interface InspectNodeOptions {
  readonly disk?: Disk;
}

/** Of a data directory. */
export function inspectNode(directory: string, { disk = nodeDisk }: InspectNodeOptions = {}): NodeInspection {
  const faults: { readonly name: string; readonly error: ProglogError }[] = [];
  const tryRead = <Found>(name: string, read: (path: string) => Found): Found | undefined => {
    try {
      return read(join(directory, name));
    } catch (error) {
      if (!isProglogError(error)) throw error;
      faults.push({ name, error });
      return undefined;
    }
  };
  const record = tryRead(nodeRecordName, (path) => readNodeRecord(disk, path));
  const hardStates = tryRead(hardStateName, (path) => {
    if (disk.size(path) !== undefined) return readHardStates(path, readCopies(path, disk), record?.storageId).states;
    if (record !== undefined && record.replicas.length > 0) throw corrupt(path, "it is missing, and this node had groups");
    return undefined;
  });
  const isLost = ({ groupId, state }: ReplicaRecord): boolean =>
    state === "created" && hardStates?.has(groupId) === true && !disk.isDirectory(join(directory, "logs", groupId));
  return { record, hardStates, lost: record?.replicas.filter(isLost).map(({ groupId }) => groupId) ?? [], faults };
}

/** Whether `inspectNodeFile` knows a file by its name. */
export function isNodeFile(path: string): boolean {
  return [nodeRecordName, hardStateName].includes(basename(path));
}

/**
 * What a node record or a file of hard states holds, and what is wrong with it: an item `damage` where it keeps the node from starting, and all
 * the same what it says, as far as that can be read.
 */
export function inspectNodeFile(path: string, { disk = nodeDisk }: InspectNodeOptions = {}): Generator<InspectedItem> {
  return basename(path) === nodeRecordName ? inspectNodeRecord(path, disk) : inspectHardStates(path, disk);
}

function* inspectNodeRecord(path: string, disk: Disk): Generator<InspectedItem> {
  let record: NodeRecordState | undefined;
  try {
    record = readNodeRecord(disk, path);
  } catch (error) {
    if (!isProglogError(error)) throw error;
    yield damageOf(error);
    // By its checksum it isn't known which of it is wrong; a reader may see.
    const text = readFileBytes(path, disk, nodeRecordMaxBytes).toString("utf8", wholeFileHeadBytes);
    yield { item: "unchecked", position: wholeFileHeadBytes, text };
    return;
  }
  if (record === undefined) return;
  const { promise, bootCounters, peers, replicas, ...fields } = record;
  const { nodeName = null, clusterId = null, ...plain } = fields;
  yield { item: "node-record", position: 0, ...plain, nodeName, clusterId };
  const position = wholeFileHeadBytes;
  if (promise !== undefined) {
    const { members, ...rest } = promise;
    yield { item: "promise", position, ...rest, members: members.map(({ name }) => name).join(", ") };
  }
  for (const peer of peers) yield { item: "peer", position, ...peer };
  for (const [storageId, { bootCounter, life = null }] of bootCounters)
    yield { item: "heard", position, storageId, bootCounter, life };
  for (const { firstMembers, ...replica } of replicas)
    yield { item: "replica", position, ...replica, firstMembers: firstMembers?.map(nameOf).join(", ") ?? null };
}

function* inspectHardStates(path: string, disk: Disk): Generator<InspectedItem> {
  try {
    const copies = readCopies(path, disk);
    const heads = copies.map((copy) => decodeHead(path, copy));
    for (const [number, bytes] of copies.entries()) {
      const start = number === 0 ? 0 : (copies[0]?.length ?? 0);
      const place = { copy: number + 1, start };
      const head = heads[number];
      if (head === undefined) yield { item: "fault", position: start, copy: number + 1, reason: "no sound head" };
      else yield { item: "head", position: start, copy: number + 1, ...head };
      const known = head ?? heads.find((other) => other !== undefined);
      if (known !== undefined) yield* inspectRounds(bytes, known, place);
    }
    const { states, sequence, cutBytes, repairedCount } = readHardStates(path, copies, storageIdBeside(path, disk));
    // Bytes that are cut were torn by a crash and never acknowledged; what is bad in one copy is written anew. Opening does both.
    yield { item: "hard-states", position: 0, groups: states.size, sequence, cutBytes, badInOneCopy: repairedCount };
    for (const [groupId, { term, vote }] of states)
      yield { item: "state", position: 0, groupId, term, votedFor: vote === undefined ? null : nameOf(vote) };
  } catch (error) {
    if (!isProglogError(error)) throw error;
    yield damageOf(error);
  }
}

function* inspectRounds(
  bytes: Buffer,
  head: HardStateHead,
  { copy, start }: { readonly copy: number; readonly start: number },
): Generator<InspectedItem> {
  const seed = seedOf(head);
  let sequence = 0;
  for (let at = hardStateHeadBytes; ; ) {
    const round = decodeRound(bytes, at, seed);
    const position = start + at;
    if (round?.sequence === sequence + 1) {
      sequence = round.sequence;
      yield { item: "round", position, copy, sequence, changes: round.changes.size, byteLength: round.byteLength };
      at += round.byteLength;
      continue;
    }
    const later = findLaterRound(bytes, at, sequence, seed);
    const badBytes = later === undefined ? findLastNonZero(bytes.subarray(at)) + 1 : later - at;
    if (badBytes === 0) {
      yield { item: "zeros", position, copy, byteLength: bytes.length - at };
      return;
    }
    yield { item: "fault", position, copy, byteLength: badBytes, reason: `round ${sequence + 1} is bad in this copy` };
    if (later === undefined) return;
    at = later;
    sequence = (decodeRound(bytes, later, seed)?.sequence ?? sequence + 1) - 1;
  }
}

function readHardStates(path: string, copies: readonly Buffer[], storageId: string | undefined): HardStateFound {
  const own = copies.map((copy) => decodeHead(path, copy)).find((head) => head !== undefined)?.storageId;
  return readFile(path, copies, storageId ?? own ?? "");
}

function readCopies(path: string, disk: Disk): readonly Buffer[] {
  const bytes = readFileBytes(path, disk, hardStateMaxBytes);
  const half = Math.floor(bytes.length / 2);
  return [bytes.subarray(0, half), bytes.subarray(half, 2 * half)];
}

/** Whose file it should be; undefined where the record beside it doesn't say. */
function storageIdBeside(path: string, disk: Disk): string | undefined {
  try {
    return readNodeRecord(disk, join(dirname(path), nodeRecordName))?.storageId;
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return undefined;
  }
}

function readFileBytes(path: string, disk: Disk, maxBytes: number): Buffer {
  const bytes = Buffer.alloc(Math.min(disk.size(path) ?? 0, maxBytes));
  const file = disk.open(path, "read");
  try {
    return bytes.subarray(0, file.readSync(bytes, 0));
  } finally {
    file.close();
  }
}

function damageOf({ code, message, hint }: ProglogError): InspectedItem {
  return { item: "damage", position: 0, code, reason: message, ...(hint === undefined ? {} : { hint }) };
}

function nameOf({ nodeId, storageId }: Member): string {
  return `${nodeId} (${storageId})`;
}
