import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { assert } from "../../base/assert.ts";
import type { Disk } from "../../base/disk.ts";
import { isProglogError, ProglogError } from "../../base/error.ts";
import { bootCountersMaxCount, nodeRecordChangesMaxCount } from "../../base/cluster-limits.ts";
import { writeWholeFile } from "../../log/whole-file.ts";
import type { KnownPeer } from "../peer-network.ts";
import type { FormationProposal } from "./formation-proposal.ts";
import {
  encodeNodeRecord,
  type HeardStart,
  nodeRecordFormat,
  nodeRecordName,
  type NodeRecordState,
  readNodeRecord,
  type ReplicaRecord,
} from "./node-record-state.ts";

/**
 * Who a directory is: an open node record. Each change is durable when its promise resolves, and changes what `state` says only then.
 * Changes are judged one after the other, each against what those before it left; those that gather while the disk is busy go there
 * in one write. The rules that keep two clusters from being made of one directory hold here, whoever asks:
 *
 * - a storage id promises once: one proposal, and never another;
 * - it becomes a member of what it promised, or, having promised nothing, of one cluster that took it in; and stays it for ever;
 * - who wants to be free of a promise becomes somebody else (`renew`), as if the directory had been wiped.
 */
export class NodeRecord {
  readonly #disk: Disk;
  readonly #path: string;
  #state: NodeRecordState;
  #waiting: Change[] = [];
  #writing: Promise<void> | undefined;
  #isClosed = false;
  /** Set when a write left open what stands on the disk: nothing more may be changed until a start has looked. */
  #uncertainty: ProglogError | undefined;

  private constructor(disk: Disk, path: string, state: NodeRecordState) {
    this.#disk = disk;
    this.#path = path;
    this.#state = state;
  }

  /**
   * The record of a directory, whose lock the caller holds; made when there is none. Resolves when this start is counted, durably.
   * `makeStorageId` says which disk a directory without a record is. Throws MANIFEST_CORRUPT, UNSUPPORTED_FORMAT, DISK_FULL, DISK_FAILED; PEER_REFUSED for one that
   * was put back.
   */
  static async open(disk: Disk, directory: string, makeStorageId: () => string): Promise<NodeRecord> {
    const path = join(directory, nodeRecordName);
    const found = readNodeRecord(disk, path);
    if (found?.bootCounters.has(found.storageId) === true) throw putBackError(directory, found.storageId);
    const record = new NodeRecord(disk, path, found ?? emptyState(makeStorageId()));
    await record.#change((state) => ({ ...state, bootCounter: state.bootCounter + 1 }));
    return record;
  }

  /** As it is on the disk. */
  get state(): NodeRecordState {
    return this.#state;
  }

  async setName(nodeName: string): Promise<void> {
    await this.#change((state) => (state.nodeName === nodeName ? state : { ...state, nodeName }));
  }

  /** Throws PEER_REFUSED when this storage id promised something else, belongs to a cluster, or isn't among the members. */
  async promise(proposal: FormationProposal): Promise<void> {
    await this.#change((state) => {
      if (state.promise?.clusterId === proposal.clusterId) return state;
      if (state.clusterId !== undefined)
        throw boundError(`promise cluster ${proposal.clusterId}`, `it belongs to ${state.clusterId}`);
      if (state.promise !== undefined)
        throw boundError(`promise cluster ${proposal.clusterId}`, `it promised ${state.promise.clusterId}`);
      if (!proposal.members.some(({ storageId }) => storageId === state.storageId))
        throw boundError(`promise cluster ${proposal.clusterId}`, `${state.storageId} isn't among its members`);
      return { ...state, promise: proposal };
    });
  }

  /** What was promised is the cluster. To be called when all members are known to have promised it. */
  async adopt(clusterId: string): Promise<void> {
    await this.#change((state) => {
      if (state.clusterId === clusterId) return state;
      if (state.promise?.clusterId !== clusterId) throw boundError(`adopt cluster ${clusterId}`, "it didn't promise that");
      return { ...state, clusterId };
    });
  }

  /** A cluster took this node in. Throws PEER_REFUSED when it promised another one, or belongs to it. */
  async join(clusterId: string, catalogIncarnation: number): Promise<void> {
    await this.#change((state) => {
      if (state.clusterId === clusterId) return state;
      if (state.clusterId !== undefined) throw boundError(`join cluster ${clusterId}`, `it belongs to ${state.clusterId}`);
      if (state.promise !== undefined) throw boundError(`join cluster ${clusterId}`, `it promised ${state.promise.clusterId}`);
      return { ...state, clusterId, catalogIncarnation };
    });
  }

  /**
   * This node's replica of the catalog is to be another one, of this incarnation. To be called when the one before has left the group: it
   * goes, whatever happens from here on.
   */
  async renewCatalog(catalogIncarnation: number): Promise<void> {
    await this.#change((state) => {
      assert(state.clusterId !== undefined, "who has a catalog belongs to a cluster");
      return catalogIncarnation <= state.catalogIncarnation ? state : { ...state, catalogIncarnation };
    });
  }

  /** The other nodes, as the catalog has them now. */
  async setPeers(peers: readonly KnownPeer[]): Promise<void> {
    await this.#change((state) => (isDeepStrictEqual(state.peers, peers) ? state : { ...state, peers }));
  }

  /** Drops the promise of cluster `promisedId`, which can't come to be any more, together with the storage id that gave it. */
  async renew(storageId: string, promisedId: string): Promise<void> {
    await this.#change((state) => {
      if (state.promise?.clusterId !== promisedId) return state;
      if (state.clusterId !== undefined) throw boundError("be another node", `it belongs to ${state.clusterId}`);
      assert(state.replicas.length === 0, "a node without a cluster has no replicas");
      return { ...state, storageId, promise: undefined };
    });
  }

  /**
   * Others know of later starts of this directory than it does itself: it was put back from a copy, and has forgotten what it promised since.
   * It isn't to be started again, or after as many starts nobody could tell any more.
   */
  async notePutBack(): Promise<void> {
    await this.#change((state) => {
      const { storageId, bootCounter, bootCounters } = state;
      return bootCounters.has(storageId)
        ? state
        : {
            ...state,
            bootCounters: new Map([...bootCounters, [storageId, { bootCounter: bootCounter + 1, life: undefined }]]),
          };
    });
  }

  /** Who was heard of first under a boot counter stays. Of more than `bootCountersMaxCount` disks, the one that wasn't heard of for the longest time is forgotten. */
  async noteStart(storageId: string, start: HeardStart): Promise<void> {
    await this.#change((state) => {
      const known = state.bootCounters.get(storageId);
      const isNews = known === undefined || known.bootCounter < start.bootCounter;
      const isNamed = known?.bootCounter === start.bootCounter && known.life === undefined && start.life !== undefined;
      if (!isNews && !isNamed) return state;
      const bootCounters = new Map(state.bootCounters);
      bootCounters.delete(storageId);
      bootCounters.set(storageId, start);
      if (bootCounters.size > bootCountersMaxCount) {
        const [oldest = storageId] = bootCounters.keys();
        bootCounters.delete(oldest);
      }
      return { ...state, bootCounters };
    });
  }

  /** To be called before the logs of new replicas are made: one that is listed and has no files is lost, never made anew in silence. */
  async addReplicas(added: readonly Omit<ReplicaRecord, "state">[]): Promise<void> {
    await this.#change((state) => {
      const replicas: ReplicaRecord[] = [...state.replicas];
      for (const replica of added) {
        for (const { groupId, incarnation, state: other } of replicas)
          assert(
            groupId !== replica.groupId || (other === "deleted" && incarnation !== replica.incarnation),
            "a group has one replica here, and an incarnation comes once",
          );
        replicas.push({ ...replica, state: "created" });
      }
      return { ...state, replicas };
    });
  }

  /** The files of a replica are to go (`deleting`, before the first does), or are gone. */
  async setReplicaState(groupId: string, incarnation: number, next: "deleting" | "deleted"): Promise<void> {
    await this.#change((state) => {
      const replica = findReplica(state, groupId, incarnation);
      assert(replica !== undefined, "a replica that is deleted is listed");
      assert(next === "deleting" || replica.state !== "created", "files go only when it was noted that they do");
      if (replica.state === next || replica.state === "deleted") return state;
      return { ...state, replicas: state.replicas.map((other) => (other === replica ? { ...replica, state: next } : other)) };
    });
  }

  /**
   * Forgets the deleted replicas that were placed before an offset of the catalog. From then on nothing is to be made that was placed before it and
   * isn't listed: a catalog that is read again would have them made anew. So it has to be so that nothing of that kind is still to be made.
   */
  async forgetReplicas(placedBefore: number): Promise<void> {
    await this.#change((state) => {
      const replicas = state.replicas.filter((replica) => replica.state !== "deleted" || replica.incarnation >= placedBefore);
      if (replicas.length === state.replicas.length) return state;
      return { ...state, replicas, placedBefore: Math.max(state.placedBefore, placedBefore) };
    });
  }

  /** Waits for the changes that were asked for, and takes no more. Twice is fine. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
  }

  #change(apply: (state: NodeRecordState) => NodeRecordState): Promise<void> {
    if (this.#isClosed)
      return Promise.reject(new ProglogError("SHUTTING_DOWN", `Cannot change ${this.#path}: the node is stopping`));
    if (this.#waiting.length >= nodeRecordChangesMaxCount)
      return Promise.reject(
        new ProglogError("OVERLOADED", `Cannot change ${this.#path}: ${this.#waiting.length} changes wait`),
      );
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ apply, resolve, reject });
    this.#writing ??= this.#writeWaiting();
    return promise;
  }

  /** Never rejects: what fails is each change's own answer. */
  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const changes = this.#waiting;
      this.#waiting = [];
      await this.#writeTogether(changes);
    }
    this.#writing = undefined;
  }

  async #writeTogether(changes: readonly Change[]): Promise<void> {
    let next = this.#state;
    const applied: Change[] = [];
    for (const change of changes) {
      try {
        if (this.#uncertainty !== undefined) throw this.#uncertainty;
        next = change.apply(next);
        applied.push(change);
      } catch (error) {
        change.reject(error);
      }
    }
    try {
      if (next !== this.#state) {
        next = { ...next, generation: this.#state.generation + 1 };
        await writeWholeFile(this.#disk, this.#path, nodeRecordFormat, encodeNodeRecord(next));
        this.#state = next;
      }
      for (const { resolve } of applied) resolve();
    } catch (error) {
      if (!isProglogError(error) || error.details["isReplaced"] !== false)
        this.#uncertainty = new ProglogError("DISK_FAILED", `Cannot change ${this.#path}: an earlier write of it failed`, {
          hint: "Restart the node: it reads which one stands.",
          cause: error,
        });
      for (const { reject } of applied) reject(error);
    }
  }
}

export function findReplica(
  { replicas }: Pick<NodeRecordState, "replicas">,
  groupId: string,
  incarnation: number,
): ReplicaRecord | undefined {
  return replicas.find((replica) => replica.groupId === groupId && replica.incarnation === incarnation);
}

interface Change {
  readonly apply: (state: NodeRecordState) => NodeRecordState;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function emptyState(storageId: string): NodeRecordState {
  return {
    generation: 0,
    storageId,
    nodeName: undefined,
    clusterId: undefined,
    bootCounter: 0,
    promise: undefined,
    bootCounters: new Map(),
    catalogIncarnation: 0,
    peers: [],
    placedBefore: 0,
    replicas: [],
  };
}

function putBackError(directory: string, storageId: string): ProglogError {
  return new ProglogError(
    "PEER_REFUSED",
    `Cannot start in ${directory}: it was put back to an earlier state, and has forgotten what it promised to other nodes since`,
    {
      hint: "Remove the node from the cluster, and let it join anew with an empty directory.",
      details: { storageId, reason: "rolled-back" },
    },
  );
}

function boundError(attempt: string, why: string): ProglogError {
  return new ProglogError("PEER_REFUSED", `Cannot ${attempt}: ${why}`);
}
