import { isProglogError } from "../../src/base/error.ts";
import type { CatalogTopic } from "../../src/replica/cluster/catalog-state.ts";
import { groupQuestions } from "../../src/replica/cluster/group-questions.ts";
import type { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import type { GroupReplica } from "../../src/replica/group/group-replica.ts";
import type { GroupState } from "../../src/replica/group/group-set.ts";
import type { SeededRandom } from "../random.ts";
import { Violation } from "../violation.ts";
import type { Heard } from "./cluster-client.ts";
import type { Machine } from "./machine.ts";

/** How long the operator waits for an answer: longer than any node tries. */
const answerMaxMs = 20_000;

export interface OperatorWorld {
  readonly nowMs: number;
  readonly machines: readonly Machine[];
  readonly settings: { readonly operatorMeanMs: number; readonly firstNodes: number };
  after(delayMs: number, run: () => void): void;
  ask<Answer>(machine: Machine, timeoutMs: number, question: (node: ClusteredNode) => Promise<Answer>): Promise<Heard<Answer>>;
  /** Whose disks were lost, and what the cluster may still have of them. */
  readonly lostNodes: Set<LostNode>;
  /** What rots, and isn't repaired yet. */
  readonly rot: { readonly spots: readonly unknown[] };
  findCatalogLeader(): Machine | undefined;
  findGroupLeader(group: string): GroupReplica | undefined;
  /** The topic is there, or has more partitions now. */
  topicSeen(topic: CatalogTopic): void;
  /** From now on it may be gone at any moment. */
  topicGoing(uuid: string): void;
  readonly failed: (error: unknown) => void;
  note(...numbers: readonly number[]): void;
  tell(words: () => string): void;
}

export interface LostNode {
  readonly name: string;
  readonly storageId: string;
}

/** A topic that the operator was told is there. */
interface KnownTopic {
  readonly name: string;
  readonly uuid: string;
  /** It was told to go: whether it is there nobody knows until the answer. */
  isGoing: boolean;
}

/**
 * Who runs the cluster: makes, changes and deletes topics, moves partitions, has others lead, drains nodes and adds new ones, and replaces
 * nodes whose disks were lost. One thing at a time, each of which may fail; what the catalog said was done must be so.
 */
export class ClusterOperator {
  readonly #world: OperatorWorld;
  readonly #random: SeededRandom;
  readonly #topics: KnownTopic[] = [];
  readonly #gone = new Set<string>();
  #made = 0;
  #isEnding = false;
  #isBusy = false;
  doneCount = 0;

  constructor(world: OperatorWorld, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  get topics(): readonly KnownTopic[] {
    return this.#topics;
  }

  start(): void {
    this.#think(100);
    this.#look();
  }

  /** No wishes any more; what was begun is seen through. */
  end(): void {
    this.#isEnding = true;
  }

  #think(meanMs: number): void {
    this.#world.after(-Math.log(1 - this.#random.float()) * meanMs, () => {
      if (this.#isEnding) return;
      this.#act()
        .catch(this.#world.failed)
        .finally(() => this.#think(this.#world.settings.operatorMeanMs));
    });
  }

  /** Whoever isn't in the cluster's catalog though it should be, or the other way round, is seen to. */
  #look(): void {
    this.#world.after(2_000, () => {
      this.#tend()
        .catch(this.#world.failed)
        .finally(() => this.#look());
    });
  }

  async #act(): Promise<void> {
    // With a lost node among them, partitions of few replicas could be placed where nobody has them; and who has what rots must not become the last.
    if (this.#isBusy || this.#world.lostNodes.size > 0 || this.#world.rot.spots.length > 0) return;
    this.#isBusy = true;
    const luck = this.#random.float();
    const topic = this.#topics.length > 0 ? this.#random.pick(this.#topics) : undefined;
    if (this.#topics.length < 2 || luck < 0.12) await this.#create();
    else if (topic === undefined || luck < 0.3) await this.#list();
    else if (luck < 0.4) await this.#alter(topic);
    else if (luck < 0.46) await this.#delete(topic);
    else if (luck < 0.62) await this.#move(topic);
    else if (luck < 0.78) await this.#transfer(topic);
    else if (luck < 0.9) await this.#drain();
    else this.#add();
    this.#isBusy = false;
  }

  async #ask<Answer>(what: string, question: (node: ClusteredNode) => Promise<Answer>): Promise<Heard<Answer>> {
    const to = this.#random.pick(this.#world.machines);
    const heard = await this.#world.ask(to, answerMaxMs, question);
    if (heard.kind === "answer") this.doneCount += 1;
    this.#world.note(30, to.ordinal, ["answer", "refusal", "unreached", "silence"].indexOf(heard.kind));
    this.#world.tell(
      () => `the operator asks ${to.name} to ${what}: ${heard.kind === "refusal" ? String(heard.error) : heard.kind}`,
    );
    return heard;
  }

  async #create(): Promise<void> {
    this.#made += 1;
    const name = `t${this.#made}`;
    const partitions = 1 + this.#random.integer(3);
    const replicationFactor = this.#random.pick([undefined, undefined, 1, 2, 3, 3]);
    const heard = await this.#ask(`create ${name} of ${partitions}, ${replicationFactor ?? "default"} replicas`, (node) =>
      node.catalog.createTopic({ name, partitions, ...(replicationFactor === undefined ? {} : { replicationFactor }) }),
    );
    if (heard.kind !== "answer") return;
    const topic = heard.answer as CatalogTopic;
    this.#topics.push({ name, uuid: topic.uuid, isGoing: false });
    this.#world.topicSeen(topic);
  }

  /** What was made is there, wherever one asks, and what was deleted isn't. */
  async #list(): Promise<void> {
    const known = this.#topics.filter(({ isGoing }) => !isGoing).map(({ uuid, name }) => ({ uuid, name }));
    const heard = await this.#ask("list the topics", (node) => node.catalog.listTopics());
    if (heard.kind !== "answer") return;
    const listed = new Map(heard.answer.map((topic) => [topic.uuid, topic]));
    for (const { uuid, name } of known)
      if (!listed.has(uuid)) throw new Violation("CATALOG", `topic ${name} was made, and isn't listed`);
    for (const topic of heard.answer) {
      if (this.#gone.has(topic.uuid)) throw new Violation("CATALOG", `topic ${topic.name} was deleted, and is listed`);
      if (known.some(({ uuid }) => uuid === topic.uuid)) this.#world.topicSeen(topic as CatalogTopic);
    }
  }

  async #alter(topic: KnownTopic): Promise<void> {
    const change = this.#random.pick([
      { partitions: 1 + this.#random.integer(4) },
      { replicationFactor: 1 + this.#random.integer(3) },
      { settings: { segmentBytes: this.#random.pick([null, 1_048_576, 2_097_152]) } },
    ]);
    const heard = await this.#ask(`change ${topic.name}: ${JSON.stringify(change)}`, (node) =>
      node.catalog.changeTopic(topic.name, change),
    );
    if (heard.kind === "answer" && heard.answer.uuid === topic.uuid) this.#world.topicSeen(heard.answer as CatalogTopic);
  }

  async #delete(topic: KnownTopic): Promise<void> {
    topic.isGoing = true;
    this.#world.topicGoing(topic.uuid);
    const heard = await this.#ask(`delete ${topic.name}`, (node) => node.catalog.deleteTopic(topic.name));
    const isGone = heard.kind === "answer" || (heard.kind === "refusal" && isProglogError(heard.error, "TOPIC_NOT_FOUND"));
    if (!isGone) return;
    this.#gone.add(topic.uuid);
    this.#topics.splice(this.#topics.indexOf(topic), 1);
  }

  async #move(topic: KnownTopic): Promise<void> {
    const luck = this.#random.float();
    const partition = this.#random.integer(2);
    const shuffle = this.#world.machines.map(() => this.#random.float());
    await this.#ask(`move partition ${partition} of ${topic.name}`, async (node) => {
      const catalog = getCatalog(node);
      const factor = catalog.findTopic(topic.name)?.partitions[partition]?.replicas.length ?? 1;
      const names = [...catalog.state.nodes.values()].filter(({ isDraining }) => !isDraining).map(({ name }) => name);
      const keyed = names.map((name, position) => ({ name, key: shuffle[position] ?? luck }));
      const nodes = keyed.sort((a, b) => a.key - b.key).map(({ name }) => name);
      await catalog.moveReplicas({ topic: topic.name, partition, nodes: nodes.slice(0, factor), leader: nodes[0] ?? "" });
    });
  }

  async #transfer(topic: KnownTopic): Promise<void> {
    const luck = this.#random.integer(3);
    await this.#ask(`have another node lead ${topic.name}`, async (node) => {
      const catalog = getCatalog(node);
      const partition = catalog.findTopic(topic.name)?.partitions[0];
      if (partition === undefined) return;
      const nodes = partition.replicas.map((replica) => replica.node);
      const to = nodes[luck % nodes.length];
      const before = node.groups?.findLeader(partition.uuid)?.leaderId;
      if (to === undefined || before === undefined || to === before) return;
      await catalog.moveReplicas({ topic: topic.name, partition: 0, nodes, leader: to });
      await node.askNode(before, groupQuestions.transfer, Buffer.from(JSON.stringify({ group: partition.uuid, to })));
    });
  }

  async #drain(): Promise<void> {
    const { machines } = this.#world;
    const machine = this.#random.pick(machines);
    if (machines.filter(({ condition }) => condition !== "retired").length <= 3) return;
    await this.#ask(`drain ${machine.nodeName}`, async (node) => {
      const catalog = getCatalog(node);
      await catalog.refresh();
      const stay = [...catalog.state.nodes.values()].filter(({ isDraining }) => !isDraining);
      if (stay.length <= 3) return;
      await catalog.propose({ kind: "drain-node", name: machine.nodeName, isDraining: true });
    });
  }

  #add(): void {
    const machine = this.#world.machines.find(({ condition }) => condition === "retired");
    if (machine === undefined) return;
    this.#world.tell(() => `${machine.name} gets an empty disk, and is to join as ${machine.nodeName}`);
    machine.wipe();
    machine.start();
  }

  async #tend(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const leader = this.#world.findCatalogLeader();
    if (leader !== undefined) {
      for (const lost of [...this.#world.lostNodes]) await this.#removeLost(leader, lost);
      for (const machine of this.#world.machines) await this.#switchOff(leader, machine);
    }
    for (const machine of this.#world.machines) this.#restart(machine);
    this.#isBusy = false;
  }

  /** What the cluster still has of a disk that is lost is removed by force. */
  async #removeLost(leader: Machine, lost: LostNode): Promise<void> {
    const heard = await this.#world.ask(leader, answerMaxMs, async (node) => {
      const catalog = getCatalog(node);
      await catalog.refresh();
      if (catalog.state.nodes.get(lost.name)?.storageId !== lost.storageId) return;
      await catalog.propose({ kind: "remove-node", name: lost.name, isForced: true });
    });
    if (heard.kind !== "answer") return;
    this.#world.tell(() => `the operator has removed ${lost.name} by force: its disk is lost`);
    this.#world.lostNodes.delete(lost);
  }

  /** A node that was drained and is out of the catalog is switched off. */
  async #switchOff(leader: Machine, machine: Machine): Promise<void> {
    const storageId = machine.served?.storageId;
    if (storageId === undefined || !this.#isOut(leader, machine)) return;
    const heard = await this.#world.ask(leader, answerMaxMs, async (node) => {
      await getCatalog(node).refresh();
      return this.#isOut(leader, machine);
    });
    if (heard.kind !== "answer" || !heard.answer || machine.node?.storageId !== storageId) return;
    this.#world.tell(() => `the operator switches ${machine.name} off: it is out of the cluster`);
    machine.retire();
  }

  /**
   * A replica that didn't open, for want of room or since a call failed, or whose log can't be written any more, is opened by starting the node
   * again, where nobody makes it anew: one of the catalog, and one that its group can't be led without.
   */
  #restart(machine: Machine): void {
    const { served } = machine;
    // One that closes has no replicas either.
    if (machine.isClosing || machine.isStopped || machine.disk.capacityBytes !== Number.POSITIVE_INFINITY) return;
    const isMissed = (group: string): boolean =>
      group === served?.clusterId || this.#world.findGroupLeader(group) === undefined;
    const states = [...(served?.groups?.states() ?? [])];
    const missed = states.find(({ record, state }) => isOut(state) && isMissed(record.groupId));
    if (missed === undefined) return;
    this.#world.tell(() => `the operator starts ${machine.name} again: its replica of ${missed.record.groupId} is out`);
    machine.kill();
    machine.start();
  }

  #isOut(leader: Machine, machine: Machine): boolean {
    const state = leader.served?.clusterCatalog?.state;
    return state !== undefined && state.nodes.size > 0 && !state.nodes.has(machine.nodeName);
  }
}

/** Whether a replica does nothing until it is opened again. Rot is repaired, and a full disk gets room. */
function isOut(state: GroupState<GroupReplica>): boolean {
  return state.kind === "failed" || (state.kind === "open" && isProglogError(state.member.status().damage, "LOG_POISONED"));
}

function getCatalog(node: ClusteredNode): NonNullable<ClusteredNode["clusterCatalog"]> {
  const catalog = node.clusterCatalog;
  if (catalog === undefined) throw new Violation("CATALOG", "a node that serves has no catalog");
  return catalog;
}
