import assert from "node:assert/strict";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import type { CallMatch } from "../sim/fault-plan.ts";
import { createSeededRandom } from "../sim/random.ts";
import { CallHold } from "./log-world.ts";
import { encodeBatch, type EncodeBatchOptions } from "../src/batch/encode-batch.ts";
import { type ErrorCode, isProglogError, ProglogError } from "../src/base/error.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import type { Member, NodeId } from "../src/raft/member.ts";
import type { Membership } from "../src/raft/membership.ts";
import { defaultSettings, type RaftSettings } from "../src/raft/raft-settings.ts";
import type { RoleChange } from "../src/raft/ready.ts";
import type { AskOptions, PeerAddress, PeerMessage } from "../src/replica/peer-network.ts";
import { isCopyQuestion } from "../src/replica/group/copy-questions.ts";
import type { GroupReplicaOptions } from "../src/replica/group/group-options.ts";
import { GroupReplica } from "../src/replica/group/group-replica.ts";
import type { HardStateSlot, SavedHardState } from "../src/replica/group/hard-state-slot.ts";

const { electionTicks } = defaultSettings;

export const startMs = 1_760_000_000_000;

/**
 * A group of nodes in one process, for tests: real replicas over simulated disks, a network that carries what it is handed unless it is cut,
 * and a clock that stands until it is told. Nothing happens by chance, and nothing by itself: time passes in `tick`, and in
 * `settle` whatever can happen without time passing.
 */
export class TestGroup {
  readonly clock = createVirtualClock(startMs);
  readonly nodes = new Map<NodeId, TestNode>();
  readonly #options: TestGroupOptions;
  #messages: { readonly to: NodeId; readonly message: PeerMessage }[] = [];
  #cut = new Set<string>();
  /** What was asked, in order. */
  readonly questions: string[] = [];
  readonly #asked = new Set<{ readonly from: NodeId; readonly to: NodeId; readonly broken: AbortController }>();
  /** Questions that find no way. */
  refuses: (kind: string, from: NodeId, to: NodeId) => boolean = () => false;
  /** What becomes of an answer on its way. */
  alters: (kind: string, answer: Buffer) => Buffer = (_kind, answer) => answer;
  /** Messages that are lost. */
  loses: (message: PeerMessage) => boolean = () => false;

  private constructor(options: TestGroupOptions) {
    this.#options = options;
  }

  /** `names` are the first voters, all of them up, and nobody leads. */
  static async open(names: readonly NodeId[] = ["n1", "n2", "n3"], options: TestGroupOptions = {}): Promise<TestGroup> {
    const group = new TestGroup(options);
    const voters = names.map(memberOf);
    for (const name of names) await group.add(name, { voters, outgoing: [], learners: [] });
    return group;
  }

  /** One more node; without a membership it learns it from a leader. */
  async add(name: NodeId, firstMembership?: Membership): Promise<TestNode> {
    const node = this.make(name, firstMembership);
    await node.start();
    return node;
  }

  /** The same, but it isn't started. */
  make(name: NodeId, firstMembership?: Membership): TestNode {
    const node = new TestNode(this, memberOf(name), firstMembership, this.#options);
    this.nodes.set(name, node);
    return node;
  }

  node(name: NodeId): TestNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`there is no ${name}`);
    return node;
  }

  /** The replica that runs on a node. */
  replica(name: NodeId): GroupReplica {
    const { replica } = this.node(name);
    if (replica === undefined) throw new Error(`${name} is down`);
    return replica;
  }

  /** Time passes for those named, or for all; a tick each, as often as that, and what follows. */
  async tick(count: number, names: readonly NodeId[] = [...this.nodes.keys()]): Promise<void> {
    for (let ticks = 0; ticks < count; ticks += 1) {
      this.clock.advance(50);
      for (const name of names) this.node(name).replica?.tick();
      await this.settle();
    }
  }

  /**
   * Makes a node the leader, where none leads that the others hear: time passes for them until they have given up the last one, then for
   * the node alone until it leads, and then a little for all of `among`.
   */
  async elect(name: NodeId, among: readonly NodeId[] = [...this.nodes.keys()]): Promise<GroupReplica> {
    const others = among.filter((other) => other !== name);
    const isWaiting = (other: NodeId): boolean => {
      const state = this.node(other).replica?.raft.state;
      return state !== undefined && state.electionElapsed < electionTicks;
    };
    // No longer than that: whoever lost its connection to the last leader is near to standing itself.
    for (let count = 0; count < electionTicks; count += 1) await this.tick(1, others.filter(isWaiting));
    const replica = this.replica(name);
    for (let count = 0; count < 3 * electionTicks && !replica.isLeader; count += 1) await this.tick(1, [name]);
    if (!replica.isLeader) throw new Error(`${name} isn't elected`);
    await this.tick(4, among);
    return replica;
  }

  /** Lets everything run that can run without time passing or a held call coming free. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 4; quiet += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#deliver()) quiet = 0;
    }
  }

  /** Whoever leads the newest term that is led. */
  leader(): GroupReplica {
    const leader = this.#leaders()
      .sort((a, b) => a.term - b.term)
      .at(-1);
    if (leader === undefined) throw new Error("nobody leads");
    return leader;
  }

  #leaders(): GroupReplica[] {
    return [...this.nodes.values()].flatMap(({ replica }) => (replica?.isLeader === true ? [replica] : []));
  }

  /** What becomes of `work` when everything has run that can, and a few ticks have passed. */
  async done<Result>(work: Promise<Result>, among?: readonly NodeId[]): Promise<Result> {
    work.catch(() => {});
    await this.tick(3, among);
    return work;
  }

  /** What each node that is up shows. */
  async values(): Promise<string[][]> {
    const values: string[][] = [];
    for (const node of this.nodes.values()) if (node.replica !== undefined) values.push(await node.values());
    return values;
  }

  send(from: NodeId, to: NodeId, message: PeerMessage): boolean {
    if (this.isCut(from, to) || !this.nodes.has(to)) return false;
    if (!this.loses(message)) this.#messages.push({ to, message });
    return true;
  }

  /** Questions are answered a turn later, or fail where there is no way. */
  async ask(from: NodeId, to: PeerAddress, kind: string, body: Buffer, { signal }: AskOptions = {}): Promise<Buffer> {
    const nodeId = "nodeId" in to ? to.nodeId : to.address;
    this.questions.push(`${from} asks ${nodeId}: ${kind} ${body.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
    const noWay = new ProglogError("UNAVAILABLE", `Cannot ask ${nodeId}: there is no way to it`);
    const replica = this.nodes.get(nodeId)?.replica;
    if (this.isCut(from, nodeId) || replica === undefined || this.refuses(kind, from, nodeId)) throw noWay;
    assert.ok(isCopyQuestion(kind));
    const broken = new AbortController();
    const question = { from, to: nodeId, broken };
    this.#asked.add(question);
    signal?.addEventListener("abort", () => broken.abort());
    const gone = new Promise<never>((_, reject) => broken.signal.addEventListener("abort", () => reject(noWay)));
    try {
      const answer = replica.answerCopy(from, kind, Buffer.from(body), broken.signal);
      return this.alters(kind, Buffer.from(await Promise.race([answer, gone])));
    } finally {
      this.#asked.delete(question);
    }
  }

  /** Nothing gets from or to a node any more. */
  isolate(name: NodeId): void {
    for (const other of this.nodes.keys()) {
      if (other === name) continue;
      this.#cut.add(`${name} ${other}`);
      this.#cut.add(`${other} ${name}`);
      this.node(other).replica?.disconnected(name);
      this.node(name).replica?.disconnected(other);
    }
    this.gone(name);
  }

  /** A node is gone: what was asked of it, and by it, isn't answered. */
  gone(name: NodeId): void {
    for (const { from, to, broken } of [...this.#asked]) if (from === name || to === name) broken.abort();
  }

  heal(): void {
    this.#cut = new Set();
  }

  async close(): Promise<void> {
    for (const node of this.nodes.values()) await node.stop();
  }

  #deliver(): boolean {
    const messages = this.#messages.splice(0);
    for (const { to, message } of messages) {
      if (this.isCut(message.message.from, to)) continue;
      this.nodes.get(to)?.replica?.receive(message);
    }
    return messages.length > 0;
  }

  /** Whether nothing gets from one to the other. */
  isCut(from: NodeId, to: NodeId): boolean {
    return this.#cut.has(`${from} ${to}`);
  }
}

/** A node's disk, and at times the replica that runs on it. */
export class TestNode {
  readonly member: Member;
  disk: SimDisk;
  replica: GroupReplica | undefined;
  readonly roles: RoleChange[] = [];
  readonly failures: unknown[] = [];
  readonly damages: (ProglogError | undefined)[] = [];
  readonly hardState = new MemorySlot();
  /** What was repaired, where its options say that it is to be noted. */
  readonly repairs: { readonly entries: number; readonly bytes: number }[] = [];
  /** How many batches each sync of its log covered. */
  readonly syncs: number[] = [];
  /** What its next start is handed beside the group's options. */
  options: Partial<GroupReplicaOptions> = {};
  readonly #group: TestGroup;
  readonly #firstMembership: Membership | undefined;
  readonly #common: TestGroupOptions;
  #holds: CallHold[] = [];

  constructor(group: TestGroup, member: Member, firstMembership: Membership | undefined, options: TestGroupOptions) {
    this.member = member;
    this.#group = group;
    this.#firstMembership = firstMembership;
    this.#common = options;
    this.disk = createSimDisk(this.#process());
  }

  async start(): Promise<GroupReplica> {
    const { member: self, disk } = this;
    const { clock } = this.#group;
    const { nodeId } = self;
    this.replica = await GroupReplica.open({
      self,
      directory: "/log",
      disk,
      clock,
      // Nobody campaigns before nearly two election timeouts.
      random: { ...createSeededRandom(nodeId), float: () => 0.95 },
      groupId: testGroupId,
      groupName: "group",
      firstMembership: this.#firstMembership,
      hardState: this.hardState,
      openFiles: new OpenFiles(),
      send: (to, _group, message) => this.#group.send(nodeId, to, message),
      ask: (...question) => this.#group.ask(nodeId, ...question),
      rpcAddressOf: (leader) => `${leader}.test:8000`,
      settings: { ...defaultSettings, ...this.#common.settings },
      listener: {
        roleChanged: (change) => this.roles.push(change),
        failed: (error) => this.failures.push(error),
        damaged: (reason) => this.damages.push(reason),
      },
      ...this.options,
      log: {
        index: "heap",
        ...this.#common.log,
        ...this.options.log,
        observer: { synced: ({ batches }) => this.syncs.push(batches) },
      },
    });
    await this.#group.settle();
    return this.replica;
  }

  /** Ends the process as kill -9 does: what was written is there. */
  kill(): void {
    this.replica?.end();
    this.#group.gone(this.member.nodeId);
    this.replica = undefined;
    this.disk = this.disk.endProcess(this.#process());
    this.#holds = [];
  }

  async restart(): Promise<GroupReplica> {
    this.kill();
    return this.start();
  }

  async stop(): Promise<void> {
    for (const hold of this.#holds) hold.release();
    await this.replica?.close();
    this.replica = undefined;
  }

  /** Keeps asynchronous calls to its disk that match from taking effect until they are let go. */
  hold(match: CallMatch): CallHold {
    const hold = new CallHold(match);
    this.#holds.push(hold);
    return hold;
  }

  /** The values of the records that are shown here, from the log start on. */
  async values(): Promise<string[]> {
    const values: string[] = [];
    const { replica } = this;
    if (replica === undefined) throw new Error("the node is down");
    for await (const record of replica.log.records()) values.push(record.value?.toString() ?? "");
    return values;
  }

  #process() {
    return {
      isRecording: false,
      delay: async (call: Parameters<CallHold["pass"]>[0]): Promise<void> => {
        for (const hold of this.#holds) await hold.pass(call);
      },
    };
  }
}

export interface TestGroupOptions {
  readonly settings?: Partial<RaftSettings>;
  readonly log?: GroupReplicaOptions["log"];
}

/** A hard state in memory, which a test may fail. */
export class MemorySlot implements HardStateSlot {
  saved: SavedHardState | undefined;
  /** Thrown by the next writes, one each. */
  readonly failures: Error[] = [];

  async write(state: SavedHardState): Promise<void> {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    this.saved = { term: state.term, vote: state.vote };
  }
}

export const testGroupId = Buffer.from("0123456789abcdef");

export function memberOf(nodeId: NodeId): Member {
  return { nodeId, storageId: `${nodeId}-disk/1` };
}

/** A batch of one record. */
export function batchOf(value: string, options: Partial<EncodeBatchOptions> = {}): Buffer {
  const producer = options.producerId === undefined ? {} : { producerEpoch: 0 };
  return encodeBatch([{ value }], { now: 1, ...producer, ...options });
}

/** How something ended: its error's code, or none. */
export async function outcomeOf(
  work: Promise<unknown>,
): Promise<Pick<ProglogError, "details"> & { readonly code?: ErrorCode }> {
  try {
    await work;
    return { details: {} };
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return error;
  }
}

export function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isProglogError(error, code);
}
