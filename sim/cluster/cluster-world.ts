import { isProglogError, messageOf } from "../../src/base/error.ts";
import type { CatalogTopic } from "../../src/replica/cluster/catalog-state.ts";
import type { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import type { GroupReplica } from "../../src/replica/group/group-replica.ts";
import { EventQueue } from "../event-queue.ts";
import type { Call } from "../fault-plan.ts";
import { Network } from "../network.ts";
import type { SeededRandom } from "../random.ts";
import { Trace } from "../trace.ts";
import { Violation } from "../violation.ts";
import { ClusterChecks, isOwnFault, stackOf } from "./cluster-checks.ts";
import { ClusterClient, isCode, type ClusterClientWorld, type Heard } from "./cluster-client.ts";
import { ClusterOperator, type LostNode, type OperatorWorld } from "./cluster-operator.ts";
import type { ClusterSettings } from "./cluster-settings.ts";
import { Machine, type MachineWorld } from "./machine.ts";
import { PartitionHistory } from "./partition-history.ts";
import { RealClient, type RealClientWorld } from "./real-client.ts";
import { Rot } from "./rot.ts";

/** How often all nodes are looked at. */
const lookMs = 50;

/** A turn of the loop costs as much as a small event does. */
const eventsPerTurn = 64;

/**
 * Machines with whole nodes on them, their clients and their operator, in one process and one order: what the server runs, but for its
 * sockets, over simulated disks, clocks and wires. Everything that is left to chance comes from one seed.
 */
export class ClusterWorld implements MachineWorld, ClusterClientWorld, RealClientWorld, OperatorWorld {
  readonly settings: ClusterSettings;
  readonly queue = new EventQueue();
  readonly trace: Trace;
  readonly network: Network;
  readonly machines: readonly Machine[];
  readonly checks: ClusterChecks;
  readonly clients: readonly ClusterClient[];
  readonly realClients: readonly RealClient[];
  readonly operator: ClusterOperator;
  readonly lostNodes = new Set<LostNode>();
  readonly rot = new Rot();
  violation: Violation | undefined;
  isHealed = false;
  readonly #going = new Set<string>();
  #settledCount = 0;
  #partitions: readonly PartitionHistory[] = [];

  constructor(random: SeededRandom, settings: ClusterSettings, storyLines: number) {
    this.settings = settings;
    this.trace = new Trace(() => this.queue.nowMs, storyLines);
    this.network = new Network(this.queue, random.fork("network"));
    const count = settings.firstNodes + settings.spares;
    this.machines = Array.from({ length: count }, (_, position) => this.#newMachine(random, position + 1));
    this.checks = new ClusterChecks(this.machines);
    this.clients = Array.from({ length: settings.clients }, (_, position) => {
      const isIdempotent = position % 3 !== 2;
      return new ClusterClient(this, random.fork(`client ${position}`), { id: position + 1, isIdempotent });
    });
    this.realClients = Array.from(
      { length: settings.realClients },
      (_, position) => new RealClient(this, random.fork(`real client ${position}`), position + 1),
    );
    this.operator = new ClusterOperator(this, random.fork("operator"));
  }

  get nowMs(): number {
    return this.queue.nowMs;
  }

  get partitions(): readonly PartitionHistory[] {
    return this.#partitions;
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

  findMachine(address: string): Machine | undefined {
    return this.machines.find((machine) => machine.address === address);
  }

  findCatalogLeader(): Machine | undefined {
    const leading = this.machines.filter(({ served, isStopped }) => !isStopped && served?.clusterCatalog?.isLeader === true);
    const termOf = ({ served }: Machine): number => served?.groups?.find(served.clusterId ?? "")?.term ?? 0;
    return leading.toSorted((a, b) => termOf(b) - termOf(a))[0];
  }

  /** The replica that leads a group in the newest term. */
  findGroupLeader(group: string): GroupReplica | undefined {
    let found: GroupReplica | undefined;
    for (const { served, isStopped } of this.machines) {
      const member = served?.groups?.find(group);
      if (isStopped || member?.isLeader !== true) continue;
      if (found === undefined || member.term > found.term) found = member;
    }
    return found;
  }

  /** Whether nothing that was acknowledged hangs on a machine's disk alone: every group that it is in has two other voters, both of them sound. */
  mayLose(machine: Machine): boolean {
    const catalog = this.findCatalogLeader()?.served?.clusterCatalog;
    if (
      this.operator.isBusy ||
      this.lostNodes.size > 0 ||
      this.rot.spots.length > 0 ||
      machine.served === undefined ||
      catalog?.state.nodes.has(machine.nodeName) !== true
    )
      return false;
    if (catalog.state.nodes.size !== this.machines.filter(({ served }) => served !== undefined).length) return false;
    const groups = [catalog.state.clusterId ?? "", ...catalog.state.groups.keys()];
    return groups.every((group) => {
      const leader = this.findGroupLeader(group);
      if (leader === undefined) return false;
      const { voters, outgoing, learners } = leader.membership;
      const isIn = [...voters, ...outgoing, ...learners].some(({ nodeId }) => nodeId === machine.nodeName);
      return !isIn || isWhole(leader);
    });
  }

  /**
   * Bytes of a sealed segment go bad, of a group in which two others have everything: at one place at a time in the whole world, and where
   * nothing else is lost. False when there is no such place now.
   */
  letRot(first: Machine, random: SeededRandom): boolean {
    if (this.operator.isBusy || this.lostNodes.size > 0 || this.rot.spots.length > 0) return false;
    // Whoever can be struck, from the one that is meant on.
    for (const machine of [first, ...this.machines]) {
      const spot = this.rot.strike(machine, this.#wholeGroupsOf(machine), random);
      if (spot === undefined) continue;
      this.tell(() => `${spot.path} of ${machine.name} rots at ${spot.position}`);
      return true;
    }
    return false;
  }

  /** Groups of which this machine has a replica that votes, and could do without it. */
  #wholeGroupsOf({ served }: Machine): readonly string[] {
    return [...(served?.groups?.states() ?? [])].flatMap(({ record: { groupId, incarnation }, state }) => {
      const leader = this.findGroupLeader(groupId);
      if (state.kind !== "open" || leader === undefined || !isWhole(leader)) return [];
      const own = `${served?.storageId}/${incarnation}`;
      return leader.membership.voters.some(({ storageId }) => storageId === own) ? [groupId] : [];
    });
  }

  /** The machine's disk is lost, and an empty one takes its place. */
  lose(machine: Machine): void {
    const { storageId } = machine.served ?? {};
    if (storageId !== undefined) this.lostNodes.add({ name: machine.nodeName, storageId });
    machine.wipe();
  }

  async ask<Answer>(
    machine: Machine,
    timeoutMs: number,
    question: (node: ClusteredNode) => Promise<Answer>,
  ): Promise<Heard<Answer>> {
    const { promise, resolve } = Promise.withResolvers<Heard<Answer>>();
    const timeout = this.queue.after(timeoutMs, () => resolve({ kind: "silence" }));
    this.queue.after(0.2, () =>
      machine.arrive(() => {
        const { served, life } = machine;
        if (served === undefined) return resolve({ kind: "unreached" });
        Promise.try(() => question(served)).then(
          // The dead say nothing.
          (answer) => machine.life === life && void this.queue.after(0.2, () => resolve({ kind: "answer", answer })),
          (error: unknown) => {
            if (machine.life !== life) return;
            if (!isProglogError(error) || (isOwnFault(error) && !isCode(error, "INVALID_ARGUMENT"))) return this.failed(error);
            this.queue.after(0.2, () => resolve({ kind: "refusal", error }));
          },
        );
      }),
    );
    const heard = await promise;
    timeout.cancel();
    return heard;
  }

  topicSeen(topic: CatalogTopic): void {
    const known = new Set(this.#partitions.map(({ uuid }) => uuid));
    const added = topic.partitions.filter(({ uuid }) => !known.has(uuid) && !this.#going.has(topic.uuid));
    this.#partitions = [
      ...this.#partitions,
      ...added.map(({ partition, uuid }) => new PartitionHistory(topic.name, topic.uuid, partition, uuid)),
    ];
  }

  topicGoing(uuid: string): void {
    this.#going.add(uuid);
    this.#partitions = this.#partitions.filter(({ topicUuid }) => topicUuid !== uuid);
  }

  opened(machine: Machine): void {
    this.note(1, machine.ordinal);
    this.tell(() => `${machine.name} serves as ${machine.nodeName}`);
  }

  processFailed(machine: Machine, error: unknown): void {
    this.note(4, machine.ordinal);
    if (isOwnFault(error) || isProglogError(error, "LOG_CORRUPT") || isProglogError(error, "MANIFEST_CORRUPT"))
      this.failed(new Violation("I19", `${machine.name} doesn't start: ${stackOf(error)}`));
  }

  diskCalled(machine: Machine, call: Call): void {
    try {
      this.checks?.diskCalled(machine, call);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Starts everything, and lets time pass. */
  async begin(): Promise<void> {
    this.network.weather = this.settings.weather;
    for (const machine of this.machines) machine.start();
    for (const client of [...this.clients, ...this.realClients]) client.start();
    this.operator.start();
    this.#look();
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

  /** Ends all faults: the network is whole, disks are quick and have room, and every machine runs. */
  heal(): void {
    this.tell(() => "everything heals");
    this.isHealed = true;
    this.network.healAll();
    for (const machine of this.machines) machine.heal();
  }

  #look(): void {
    this.queue.after(lookMs, () => {
      try {
        this.checks.look();
        this.rot.look();
      } catch (error) {
        this.failed(error);
      }
      this.#look();
    });
  }

  /**
   * Lets everything run that can. Nothing of a world is outside of this process or waits for a turn of the loop, so it is done when no
   * microtask is left: that is when the next tick runs. The loop has its own turn now and then, for what is no part of the world.
   */
  #settle(): Promise<void> {
    this.#settledCount += 1;
    const isLoopsTurn = this.#settledCount % eventsPerTurn === 0;
    return new Promise((resolve) => void (isLoopsTurn ? setImmediate(resolve) : process.nextTick(resolve)));
  }

  #newMachine(random: SeededRandom, ordinal: number): Machine {
    const { firstNodes, isBootstrapped, crashModel, clockSkew, syncMeanMs, raft, tickMs, log } = this.settings;
    const isFirst = ordinal <= firstNodes;
    const others = Array.from({ length: firstNodes }, (_, position) => `n${position + 1}:8400`);
    const startJoinAddrs = others.filter((address) => address !== `n${ordinal}:8400`);
    const forms = isBootstrapped && ordinal === 1;
    const machine = new Machine(this, random.fork(`machine ${ordinal}`), {
      ordinal,
      flags: {
        nodeName: undefined,
        startJoinAddrs: forms ? [] : startJoinAddrs,
        initialNodes: isFirst && !isBootstrapped ? firstNodes : undefined,
        isBootstrapping: forms,
      },
      options: {
        crashModel,
        clockSkew,
        syncMeanMs,
        raft,
        tickMs,
        log,
        others: startJoinAddrs,
        hasLyingDisk: this.settings.hasLyingDisks,
      },
    });
    // Those that may join wait for the operator.
    if (!isFirst) machine.condition = "retired";
    return machine;
  }
}

/** Whether a group has three voters at least, all of which have everything, and isn't being changed. */
function isWhole(leader: GroupReplica): boolean {
  const { membership, peers, commitIndex, lastIndex } = leader.status();
  const { voters, outgoing, learners } = membership;
  const isSettled = outgoing.length === 0 && learners.length === 0 && commitIndex === lastIndex;
  return (
    isSettled && voters.length >= 3 && peers.every(({ matchIndex, lostIndex }) => matchIndex === lastIndex && lostIndex === 0)
  );
}
