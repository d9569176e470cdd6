import { crc32c } from "../src/batch/crc32c.ts";
import { assert, AssertionError } from "../src/base/assert.ts";
import { isProglogError, messageOf, ProglogError } from "../src/base/error.ts";
import { describeMessage, describeReady, describeState } from "../src/raft/describe.ts";
import type { NodeId } from "../src/raft/member.ts";
import { type Membership, membersOf, unknownMembership } from "../src/raft/membership.ts";
import { isCopyQuestion } from "../src/replica/group/copy-questions.ts";
import type { Asked, AskedNode, ClientWorld } from "./client.ts";
import { appendTimeoutMs, Client } from "./client.ts";
import { EventQueue } from "./event-queue.ts";
import { GroupWatch } from "./group-watch.ts";
import { History } from "./history.ts";
import { Network } from "./network.ts";
import { NodeLiveness } from "./node-liveness.ts";
import { NodeSlot } from "./node-slot.ts";
import { Operator } from "./operator.ts";
import { isOnPlatter } from "./platter.ts";
import { describeFailure, RaftNode, type RaftNodeListener } from "./raft-node.ts";
import type { SeededRandom } from "./random.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";
import type { WorldSettings } from "./world-settings.ts";

/** How long a healed world may take until it is at rest. */
const livenessMaxMs = 60_000;

/** How long a node waits for another's answer. */
const peerAnswerMs = 1_000;

/** One commit in so many is looked for on the platters. */
const platterChance = 0.02;

/**
 * A group of nodes, its clients, and everything between them, in one process and one order: the real core and the real log over a
 * simulated disk, network and clock. Everything that is left to chance comes from one seed, so a run can be had again.
 */
export class World implements ClientWorld {
  readonly settings: WorldSettings;
  readonly queue = new EventQueue();
  readonly trace: Trace;
  readonly network: Network;
  readonly slots: readonly NodeSlot[];
  readonly watch: GroupWatch;
  readonly history: History;
  readonly operator: Operator;
  readonly nodeIds: readonly NodeId[];
  violation: Violation | undefined;
  readonly #clients: readonly Client[];
  readonly #random: SeededRandom;
  readonly #groupId: Buffer;
  readonly #firstMembership: Membership;

  constructor(random: SeededRandom, settings: WorldSettings, storyLines: number) {
    this.settings = settings;
    this.#random = random;
    this.#groupId = random.fork("group").bytes(16);
    this.trace = new Trace(() => this.queue.nowMs, storyLines);
    this.network = new Network(this.queue, random.fork("network"));
    const names = Array.from({ length: settings.voters + settings.spares }, (_, position) => `n${position + 1}`);
    this.nodeIds = names;
    this.slots = names.map((nodeId) => this.#newSlot(nodeId));
    const voters = this.slots.slice(0, settings.voters).map(({ member }) => member);
    this.#firstMembership = { voters, outgoing: [], learners: [] };
    const luck = random.fork("platter");
    this.watch = new GroupWatch(this.#firstMembership, (member, index, term) =>
      luck.chance(platterChance)
        ? isOnPlatter(this.slotOf(member.nodeId), member, crc32c(this.#groupId), { index, term })
        : undefined,
    );
    this.history = new History(this.watch);
    this.operator = new Operator(this, random.fork("operator"));
    // One more only reads: who waits for appends to time out sees little of what a deposed leader shows.
    this.#clients = Array.from({ length: settings.clients + 1 }, (_, position) => {
      const isReader = position === settings.clients;
      return new Client(this, random.fork(`client ${position}`), { id: position + 1, isReader });
    });
  }

  get nowMs(): number {
    return this.queue.nowMs;
  }

  get thinkMs(): number {
    return this.settings.thinkMs;
  }

  get valueMaxBytes(): number {
    return this.settings.valueMaxBytes;
  }

  readonly failed = (error: unknown): void => {
    this.violation ??= error instanceof Violation ? error : new Violation("I19", `${messageOf(error)} ${stackOf(error)}`);
  };

  after(delayMs: number, run: () => void): void {
    this.queue.after(delayMs, run);
  }

  note(...numbers: readonly number[]): void {
    this.trace.note(...numbers);
  }

  tell(words: () => string): void {
    this.trace.tell(words);
  }

  slotOf(nodeId: NodeId): NodeSlot {
    const slot = this.slots.find((candidate) => candidate.nodeId === nodeId);
    if (slot === undefined) throw new Error(`there is no ${nodeId}`);
    return slot;
  }

  /** Whoever leads the newest term that is led. */
  findLeader(): NodeSlot | undefined {
    let found: NodeSlot | undefined;
    for (const slot of this.slots) {
      const { node } = slot;
      if (node?.state.role.kind !== "leader" || slot.isStopped) continue;
      if (found?.node === undefined || node.raft.term > found.node.raft.term) found = slot;
    }
    return found;
  }

  async ask<Answer>(nodeId: NodeId, timeoutMs: number, question: (node: AskedNode) => Promise<Answer>): Promise<Asked<Answer>> {
    const { promise, resolve } = Promise.withResolvers<Asked<Answer>>();
    const slot = this.slotOf(nodeId);
    const timeout = this.queue.after(timeoutMs, () => resolve({ outcome: "unanswered" }));
    this.queue.after(0.2, () =>
      slot.arrive(() => {
        const { node } = slot;
        if (node === undefined) {
          resolve({ outcome: "unreached" });
          return;
        }
        question(node)
          .then((answer) => void this.queue.after(0.2, () => resolve({ outcome: "answered", answer })))
          .catch(this.failed);
      }),
    );
    const asked = await promise;
    timeout.cancel();
    return asked;
  }

  /** Starts nodes and clients, and lets time pass. */
  async begin(): Promise<void> {
    this.network.weather = this.settings.weather;
    for (const slot of this.slots) slot.start();
    this.operator.start();
    new NodeLiveness(this.slots, this.network, this.queue).start();
    for (const client of this.#clients) client.start();
    await this.#settle();
  }

  /** Runs what happens up to a time, or until `isDone`. False when a check failed. */
  async run(untilMs: number, isDone?: () => boolean): Promise<boolean> {
    while (this.violation === undefined && this.queue.runNext(untilMs)) {
      await this.#settle();
      if (isDone?.() === true) break;
    }
    return this.violation === undefined;
  }

  /** Ends all faults: the network is whole, disks are quick and have room, and every node that can runs. */
  heal(): void {
    this.tell(() => "everything heals");
    this.network.healAll();
    for (const slot of this.slots) slot.heal();
  }

  /** The second phase: nothing fails any more, and the group has to come to rest and to take on new work. */
  async prove(): Promise<void> {
    for (const client of this.#clients) client.stop();
    const deadlineMs = this.nowMs + livenessMaxMs;
    let isAtRest = false;
    // Not at each event: what is looked at hardly changes between two.
    let lookMs = this.nowMs;
    const look = (): boolean => {
      if (this.nowMs < lookMs) return isAtRest;
      lookMs = this.nowMs + 50;
      isAtRest = this.#findUnrest() === undefined;
      return isAtRest;
    };
    if (!(await this.run(deadlineMs, look))) return;
    if (!isAtRest) throw new Violation("I20", `after ${livenessMaxMs} ms ${this.#findUnrest()}`);
    for (const client of this.#clients) await this.#appendOnce(client);
    if (this.violation !== undefined) return;
    this.operator.end();
    isAtRest = false;
    await this.run(this.nowMs + livenessMaxMs, look);
    if (this.violation === undefined && !isAtRest) throw new Violation("I20", `after new appends ${this.#findUnrest()}`);
    if (this.violation === undefined) await this.#proveSleep();
  }

  /** A group that nobody wants anything of sleeps; it wakes when its leader's node dies, though nobody asks, and sleeps again. */
  async #proveSleep(): Promise<void> {
    // A member whose disk is lost for good keeps its group awake, until it is replaced.
    if (membersOf(this.watch.membership).some(({ nodeId }) => this.slotOf(nodeId).isLost)) return;
    await this.#reach("a group at rest doesn't sleep", () => this.#findSleepless());
    const leader = this.findLeader();
    const { voters } = this.watch.membership;
    const left = voters.filter(({ nodeId }) => nodeId !== leader?.nodeId && this.slotOf(nodeId).node !== undefined);
    if (leader === undefined || left.length * 2 <= voters.length) return;
    this.tell(() => `${leader.nodeId} is killed in its sleep`);
    leader.kill();
    await this.#reach("the leader's node died in its sleep", () => {
      const node = this.findLeader()?.node;
      if (node === undefined) return "nobody leads";
      return node.raft.commitIndex < node.state.log.lastIndex ? "its successor commits nothing" : undefined;
    });
    await this.#reach("without the node that died", () => this.#findSleepless());
    leader.start();
    await this.#reach("after a node came back", () => this.#findUnrest() ?? this.#findSleepless());
  }

  async #reach(what: string, findFault: () => string | undefined): Promise<void> {
    let fault = findFault();
    let lookMs = this.nowMs;
    const look = (): boolean => {
      if (this.nowMs < lookMs) return false;
      lookMs = this.nowMs + 50;
      fault = findFault();
      return fault === undefined;
    };
    await this.run(this.nowMs + livenessMaxMs, look);
    if (this.violation !== undefined) throw this.violation;
    if (fault !== undefined) throw new Violation("I20", `${what}: ${fault}`);
  }

  #findSleepless(): string | undefined {
    for (const { nodeId, storageId } of membersOf(this.watch.membership)) {
      const { node, member } = this.slotOf(nodeId);
      if (node === undefined || member.storageId !== storageId || node.raft.isAsleep) continue;
      return `${nodeId} is awake: ${describeState(node.state)}`;
    }
    return undefined;
  }

  async #appendOnce(client: Client): Promise<void> {
    const deadlineMs = this.nowMs + livenessMaxMs;
    while (this.nowMs <= deadlineMs) {
      const asked: { isCommitted?: boolean } = {};
      client.append().then((isCommitted) => (asked.isCommitted = isCommitted), this.failed);
      if (!(await this.run(this.nowMs + 2 * appendTimeoutMs, () => asked.isCommitted !== undefined))) return;
      if (asked.isCommitted === true) return;
      await this.run(this.nowMs + 100);
    }
    throw new Violation("I20", "nobody takes a new append");
  }

  /** Why the group isn't at rest yet, or undefined. */
  #findUnrest(): string | undefined {
    if (this.#clients.some(({ isAsking }) => isAsking)) return "a client waits";
    const leader = this.findLeader()?.node;
    if (leader === undefined) return "nobody leads";
    const { state } = leader;
    const { membership } = this.watch;
    if (state.commitIndex < state.log.lastIndex) return `${state.self.nodeId} has entries that aren't committed`;
    if (membership.outgoing.length > 0) return "a change of membership isn't over";
    for (const member of membersOf(membership)) {
      const slot = this.slotOf(member.nodeId);
      if (slot.isRotten && slot.node !== undefined) return `${member.nodeId} is rotten, and the others aren't`;
      if (slot.isLost || slot.member.storageId !== member.storageId) continue;
      if (slot.node === undefined) return `${member.nodeId} is ${slot.condition}`;
      if (slot.node.log.shownIndex < state.log.lastIndex) return `${member.nodeId} lags: ${describeState(slot.node.state)}`;
    }
    return undefined;
  }

  /** What must hold of the whole run, and of what every replica has in the end. */
  async finish(): Promise<void> {
    this.history.check();
    const end = this.watch.nextOffset;
    for (const slot of this.slots) {
      const { node } = slot;
      const isMember = membersOf(this.watch.membership).some(({ storageId }) => storageId === slot.member.storageId);
      if (node === undefined || slot.isLost || !isMember) continue;
      const seen = await this.#lettingTimePass(node.readShown(0, Number.POSITIVE_INFINITY));
      if (seen === undefined) throw new Violation("I18", `${slot.nodeId} can't read its log`);
      if (seen.nextOffset !== end)
        throw new Violation("I18", `${slot.nodeId} ends at ${seen.nextOffset}, and the log at ${end}`);
      this.history.sawRead(slot.nodeId, 0, seen, undefined, true);
      this.watch.checkMembership(node.state);
    }
    for (const slot of this.slots) {
      const { node, disk } = slot;
      if (node === undefined || slot.isLost) continue;
      await this.#lettingTimePass(node.close());
      if (disk.openFileCount > 0) throw new Violation("I17", `${slot.nodeId} leaves ${disk.openFileCount} files open`);
    }
  }

  /** What waits for a disk waits for the world's time. */
  async #lettingTimePass<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const finish = (): void => void (isDone = true);
    work.then(finish, finish);
    await this.run(this.nowMs + 60_000, () => isDone);
    // Nothing may have been planned that it had to wait for.
    await this.#settle();
    if (this.violation !== undefined) throw this.violation;
    if (!isDone) throw new Violation("I20", "a replica neither reads nor closes");
    return work;
  }

  #settle(): Promise<void> {
    // Nothing is outside of this process, so one turn of the loop lets everything run that can.
    return new Promise((resolve) => void setImmediate(resolve));
  }

  #newSlot(nodeId: NodeId): NodeSlot {
    const { crashModel, clockSkew, syncMeanMs } = this.settings;
    return new NodeSlot(nodeId, this.queue, this.#random.fork(`node ${nodeId}`), {
      crashModel,
      clockSkew,
      syncMeanMs,
      open: (slot, recovered, onFrame) => {
        if (this.settings.hasLyingDisks)
          slot.disk.fail({ kind: "datasync", path: ".store", times: Number.POSITIVE_INFINITY, effect: "lost" });
        return RaftNode.open(
          {
            self: slot.member,
            directory: `/${nodeId}`,
            disk: slot.disk,
            clock: slot.clock,
            random: this.#random.fork(`${slot.member.storageId} ${this.nowMs}`),
            groupId: this.#groupId,
            firstMembership: this.#isFirst(slot) ? this.#firstMembership : unknownMembership,
            settings: this.settings.raft,
            segmentMaxBytes: this.settings.segmentMaxBytes,
            tickMs: this.settings.tickMs,
            listener: this.#listenerOf(slot, (state) => this.watch.recovered(state, recovered)),
          },
          onFrame,
        );
      },
      opened: (slot) => {
        if (slot.isRotten) void slot.node?.scrub();
        this.note(1, this.#ordinal(slot));
        this.tell(() => `${nodeId} is up: ${slot.node === undefined ? "" : describeState(slot.node.state)}`);
      },
      failed: (slot, error) => this.#nodeFailed(slot, error),
    });
  }

  #isFirst({ member }: NodeSlot): boolean {
    return this.#firstMembership.voters.some(({ storageId }) => storageId === member.storageId);
  }

  #ordinal({ nodeId }: Pick<NodeSlot, "nodeId">): number {
    return Number(nodeId.slice(1));
  }

  #listenerOf(slot: NodeSlot, recovered: RaftNodeListener["recovered"]): RaftNodeListener {
    const { nodeId } = slot;
    const ordinal = this.#ordinal(slot);
    let state: Parameters<RaftNodeListener["recovered"]>[0] | undefined;
    const checking = (check: () => void): void => {
      try {
        check();
      } catch (error) {
        this.failed(error);
      }
    };
    return {
      recovered: (recoveredState) => {
        state = recoveredState;
        checking(() => recovered(recoveredState));
      },
      saved: (hardState) => checking(() => state !== undefined && this.watch.saved(state, hardState)),
      send: (message) => {
        checking(() => state !== undefined && this.watch.sending(state, message.message));
        const { to } = message.message;
        this.tell(
          () => `${describeMessage(message.message)}${message.frames.length > 0 ? ` frames=${message.frames.length}` : ""}`,
        );
        this.network.send(nodeId, to, () => {
          this.note(2, ordinal, message.message.term, message.frames.length);
          this.slots.find((candidate) => candidate.nodeId === to)?.receive(message);
        });
      },
      ask: (to, kind, body) => {
        assert("nodeId" in to && isCopyQuestion(kind), "nodes ask each other for parts of their logs");
        return this.#askPeer(nodeId, to.nodeId, (node) => node.answerCopy(nodeId, kind, body));
      },
      whole: () => {
        if (slot.isRotten) this.tell(() => `${nodeId} is whole again`);
        slot.isRotten = false;
      },
      stepped: (ready) => {
        const now = state;
        if (now === undefined) return;
        this.note(3, ordinal, now.hardState.term, now.log.lastIndex, now.log.durableIndex, now.commitIndex);
        if (ready?.role?.kind === "leader") this.operator.leaderElected();
        if (ready !== undefined) this.tell(() => `${nodeId}: ${describeReady({ ...ready, messages: [] })}`);
        checking(() => this.watch.stepped(now));
      },
      handed: (truncateTo, entries) => checking(() => state !== undefined && this.watch.handed(state, truncateTo, entries)),
      wrote: (entries) => checking(() => state !== undefined && this.watch.wrote(state, entries)),
      truncating: (index) => checking(() => state !== undefined && this.watch.truncating(state, index)),
      failed: (error) => slot.failed(error),
    };
  }

  /** Question and answer go the way of messages; one that is lost, or meets nobody, has no answer. */
  async #askPeer(from: NodeId, to: NodeId, question: (node: RaftNode) => Promise<Buffer>): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const noWay = new ProglogError("UNAVAILABLE", `Cannot ask ${to}: there was no answer`);
    const timeout = this.queue.after(peerAnswerMs, () => reject(noWay));
    const slot = this.slotOf(to);
    const ask = (): void => {
      if (slot.node === undefined) return;
      question(slot.node).then(
        (answer) => this.network.send(to, from, () => resolve(Buffer.from(answer))),
        (error: unknown) => {
          if (isProglogError(error)) this.network.send(to, from, () => reject(error));
          else this.failed(error);
        },
      );
    };
    this.network.send(from, to, () => slot.arrive(ask));
    try {
      return await promise;
    } finally {
      timeout.cancel();
    }
  }

  #nodeFailed(slot: NodeSlot, error: unknown): void {
    const ordinal = this.#ordinal(slot);
    this.note(4, ordinal);
    this.tell(() => `${slot.nodeId} is out: ${describeFailure(error)}`);
    if (error instanceof Violation || isOwnFault(error)) {
      this.failed(error);
      return;
    }
    // Damage that nobody did.
    if (slot.condition === "halted" && !slot.isRotten) {
      this.failed(new Violation("I16", `${slot.nodeId} takes its disk for damaged: ${describeFailure(error)}`));
      return;
    }
    if (slot.condition === "down") this.queue.after(1_000, () => slot.start());
  }
}

/** Something that it believed isn't so, or code that is wrong: nothing that a disk or a network may bring about. */
function isOwnFault(error: unknown): boolean {
  if (error instanceof AssertionError || error instanceof TypeError || error instanceof RangeError) return true;
  if (isProglogError(error, "INTERNAL") || isProglogError(error, "INVALID_ARGUMENT")) return true;
  return error instanceof Error && error.cause !== undefined && isOwnFault(error.cause);
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? "") : "";
}
