import assert from "node:assert/strict";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { ProglogError } from "../src/base/error.ts";
import { groupTickMs } from "../src/base/cluster-limits.ts";
import { silentLogger } from "../src/base/logger.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import type { NodeId } from "../src/raft/member.ts";
import { NodeRecord } from "../src/replica/cluster/node-record.ts";
import type { ReplicaRecord } from "../src/replica/cluster/node-record-state.ts";
import { isCopyQuestion } from "../src/replica/group/copy-questions.ts";
import { GroupReplica } from "../src/replica/group/group-replica.ts";
import { GroupSet } from "../src/replica/group/group-set.ts";
import { leadersQuestion } from "../src/replica/group/leader-exchange.ts";
import { memberOptionsOf } from "../src/replica/group/member-options.ts";
import { MemoryPeers } from "../src/replica/memory-peers.ts";
import type { PeerIdentity, PeerTransport } from "../src/replica/peer-network.ts";

/**
 * Whole group sets of real replicas in one process, for tests: simulated disks, the network in memory, and a clock that stands until it is
 * told. Time passes in `tick`, and in `settle` whatever can happen without it.
 */
export class GroupNodes {
  readonly clock = createVirtualClock(1_760_000_000_000);
  readonly peers = new MemoryPeers(this.clock);
  readonly nodes: readonly GroupNode[];
  readonly unsyncedMaxBytes: number | undefined;
  /** Of the logs that are opened from now on. */
  segmentMaxBytes: number | undefined;

  constructor(nodeIds: readonly NodeId[], unsyncedMaxBytes?: number) {
    this.unsyncedMaxBytes = unsyncedMaxBytes;
    this.nodes = nodeIds.map((nodeId) => new GroupNode(this, nodeId));
  }

  async start(): Promise<void> {
    for (const node of this.nodes) await node.start();
    await this.settle();
  }

  node(nodeId: NodeId): GroupNode {
    const node = this.nodes.find((other) => other.nodeId === nodeId);
    assert.ok(node !== undefined, `there is no ${nodeId}`);
    return node;
  }

  /** A group of a replica on each node, all of them voters. */
  async create(groupIds: readonly string[]): Promise<void> {
    const firstMembers = this.nodes.map(({ nodeId, storageId }) => ({ nodeId, storageId: `${storageId}/0` }));
    const creations = this.nodes.flatMap((node) =>
      groupIds.map((groupId) =>
        node.running.create({ groupId, incarnation: 0, logId: groupId.replaceAll("-", ""), firstMembers }),
      ),
    );
    await Promise.all(creations);
  }

  /** The node on which a group is led, by a leader of the newest term. */
  findLeader(groupId: string): GroupNode | undefined {
    const leading = this.nodes.filter(({ set }) => set?.find(groupId)?.isLeader === true);
    const termOf = ({ set }: GroupNode): number => set?.find(groupId)?.term ?? 0;
    return leading.toSorted((a, b) => termOf(b) - termOf(a))[0];
  }

  /** Lets time pass until `isDone`; throws where it isn't, after so many ticks. */
  async tickUntil(isDone: () => boolean, maxTicks: number): Promise<number> {
    for (let ticks = 0; ticks <= maxTicks; ticks += 1) {
      if (isDone()) return ticks;
      await this.tick(1);
    }
    throw new Error(`it isn't so after ${maxTicks} ticks`);
  }

  async tick(count: number): Promise<void> {
    for (let ticks = 0; ticks < count; ticks += 1) {
      this.clock.advance(groupTickMs);
      await this.settle();
    }
  }

  /** Turns of the loop until nothing is on its way between nodes. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 3; turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      await this.peers.settled();
    }
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }
}

export class GroupNode {
  readonly nodeId: NodeId;
  readonly storageId: string;
  readonly #world: GroupNodes;
  disk: SimDisk = createSimDisk({ isRecording: false });
  set: GroupSet<GroupReplica> | undefined;
  #transport: PeerTransport | undefined;
  #bootCounter = 0;

  constructor(world: GroupNodes, nodeId: NodeId) {
    this.#world = world;
    this.nodeId = nodeId;
    this.storageId = Buffer.from(nodeId.padEnd(16, ".")).toString("hex");
  }

  get running(): GroupSet<GroupReplica> {
    assert.ok(this.set !== undefined, `${this.nodeId} is down`);
    return this.set;
  }

  /** Begins, or begins again on the disk as it is. */
  async start(): Promise<void> {
    const { nodeId } = this;
    const { clock, peers, unsyncedMaxBytes, segmentMaxBytes } = this.#world;
    await this.disk.makeDirectory("/data");
    const record = await NodeRecord.open(this.disk, "/data", () => this.storageId);
    this.#bootCounter = record.state.bootCounter;
    const openFiles = new OpenFiles();
    const set: GroupSet<GroupReplica> = await GroupSet.open<GroupReplica>({
      disk: this.disk,
      directory: "/data",
      clock,
      logger: silentLogger,
      nodeId,
      record,
      ...(unsyncedMaxBytes !== undefined && { unsyncedMaxBytes }),
      peers: {
        send: (...message) => this.#transport?.send(...message) ?? false,
        ask: (...question) => {
          assert.ok(this.#transport !== undefined);
          return this.#transport.ask(...question);
        },
      },
      openMember: (group: ReplicaRecord, seams) => {
        const options = memberOptionsOf(group, seams, { nodeId, storageId: this.storageId });
        const random = createSeededRandom(`${nodeId} ${group.groupId} ${this.#bootCounter}`);
        return GroupReplica.open({
          ...options,
          disk: set.disk,
          clock,
          random,
          openFiles,
          log: { ...options.log, index: "heap", ...(segmentMaxBytes !== undefined && { segmentMaxBytes }) },
        });
      },
    });
    this.set = set;
    set.setPeers(this.#world.nodes.flatMap((other) => (other === this ? [] : [other.nodeId])));
    this.#transport = peers.join(() => this.#identity(), {
      check: () => {},
      received: (_from, groupId, message) => set.received(groupId, message),
      answer: async (from, kind, body, signal) => {
        if (isCopyQuestion(kind)) return set.answerCopy(from.nodeId, kind, body, signal);
        assert.equal(kind, leadersQuestion);
        return set.answerLeaders(from.nodeId, body);
      },
      connected: (peer) => set.connected(peer),
      disconnected: (peerId) => set.disconnected(peerId),
    });
    await set.openAll();
  }

  /** As kill -9 does: what was written is there. */
  kill(): void {
    const { set } = this;
    this.#world.peers.stop(this.nodeId);
    this.set = undefined;
    this.#transport = undefined;
    this.disk = this.disk.endProcess({ isRecording: false });
    // Of a process that is gone nothing runs on; its disk is turned off, so that closing it changes nothing.
    for (const { state } of set?.states() ?? []) if (state.kind === "open") state.member.end();
    set?.halt();
  }

  async stop(): Promise<void> {
    await this.#transport?.close();
    await this.set?.close(new ProglogError("SHUTTING_DOWN", "Cannot use it: the node is stopping"));
    this.set = undefined;
  }

  #identity(): PeerIdentity {
    const { nodeId, storageId } = this;
    return {
      clusterId: "c",
      nodeId,
      storageId,
      bootCounter: this.#bootCounter,
      life: "1234567890abcdef",
      address: `${nodeId}:8000`,
    };
  }
}
