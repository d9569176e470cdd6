import { describeMessage, describeState } from "./describe.ts";
import { beginSync, endSync, type FakeReplica, hasUnsynced, syncHardState } from "./fake-replica.ts";
import type { GroupWitness } from "./group-witness.ts";
import type { MembershipChange } from "./membership.ts";
import type { Message } from "./message.ts";
import { type Budget, budgetNames, type DiskRules, keyOfMessage, keyOfReplica, SearchWorld } from "./search-world.ts";

/**
 * A bounded exhaustive search: every order of deliveries, losses, repetitions, timeouts, syncs and crashes of a small group, breadth
 * first, with each state looked at once. What random worlds find by luck is found here by necessity, and by the shortest way.
 *
 * A world is kept as a row of numbers. Replicas, messages and witnesses are stored once and numbered; far fewer of them differ
 * than worlds do. A loss is a message that is never delivered, so it needs no step of its own. An election begins with its
 * pre-votes already given, and no lease stands against it: both can only keep elections from happening.
 */
export interface Scope extends DiskRules {
  readonly replicas: readonly FakeReplica[];
  /** What happened before the search begins. */
  readonly prepare?: (world: SearchWorld) => void;
  /** How often each may happen on the way to a state. */
  readonly budget: Budget;
  /** What a leader may be asked to change. */
  readonly changes?: readonly (readonly MembershipChange[])[];
}

export interface SearchResult {
  readonly stateCount: number;
  readonly depth: number;
  /** Every state within the budget was looked at. */
  readonly isComplete: boolean;
  /** The shortest way to what must not be, a line a step. */
  readonly failure: readonly string[] | undefined;
}

export function search(scope: Scope, stateMaxCount: number): SearchResult {
  return new Search(scope).run(stateMaxCount);
}

/** Things by number: equal ones, by a key, get the same. */
class Numbered<Thing extends object> {
  readonly #numbers = new Map<string, number>();
  readonly #numbersOfThings = new WeakMap<Thing, number>();
  readonly #things: Thing[] = [];
  readonly #keyOf: (thing: Thing) => string;

  constructor(keyOf: (thing: Thing) => string) {
    this.#keyOf = keyOf;
  }

  /** A thing isn't changed once it was numbered. */
  number(thing: Thing): number {
    const known = this.#numbersOfThings.get(thing);
    if (known !== undefined) return known;
    const key = this.#keyOf(thing);
    const number = this.#numbers.get(key) ?? this.#things.length;
    if (number === this.#things.length) {
      this.#numbers.set(key, number);
      this.#things.push(thing);
    }
    this.#numbersOfThings.set(thing, number);
    return number;
  }

  get(number: number): Thing {
    return itemAt(this.#things, number);
  }
}

interface Step {
  readonly text: string;
  readonly take: (world: SearchWorld) => string[];
}

class Search {
  readonly #scope: Scope;
  readonly #replicas = new Numbered<FakeReplica>(keyOfReplica);
  readonly #messages = new Numbered<Message>(keyOfMessage);
  readonly #witnesses = new Numbered<GroupWitness>((witness) => JSON.stringify(witness));
  /** Of each state: its row, the state before it, the step that led here. */
  readonly #rows: string[] = [];
  readonly #parents: number[] = [];
  readonly #steps: string[] = [];
  readonly #depths: number[] = [];
  readonly #seen = new Set<string>();
  readonly #texts = new Map<string, string>();
  readonly #messageTexts = new WeakMap<Message, string>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  run(stateMaxCount: number): SearchResult {
    const { replicas, prepare, budget } = this.#scope;
    const first = new SearchWorld(replicas, budget, this.#scope);
    for (const position of replicas.keys()) first.act(position, () => undefined);
    prepare?.(first);
    Object.assign(first.budget, budget);
    this.#add(first, -1, "begin");
    for (let position = 0; position < this.#rows.length; position += 1) {
      const result = { stateCount: this.#rows.length, depth: itemAt(this.#depths, position), isComplete: false };
      if (this.#rows.length >= stateMaxCount) return { ...result, failure: undefined };
      const before = this.#read(position);
      for (const { text, take } of this.#stepsFrom(before)) {
        const world = before.fork();
        const violations = takeStep(world, take);
        if (violations.length > 0) {
          const states = world.replicas.map(({ raft }) => describeState(raft.state));
          return { ...result, failure: [...this.#story(position), text, ...violations, ...states] };
        }
        this.#add(world, position, text);
      }
    }
    return { stateCount: this.#rows.length, depth: this.#depths.at(-1) ?? 0, isComplete: true, failure: undefined };
  }

  /** Everything that can happen next. */
  #stepsFrom({ network, replicas, budget }: SearchWorld): Step[] {
    const steps: Step[] = [];
    for (const message of network) {
      const text = this.#textOf(message);
      steps.push({ text, take: (world) => world.deliver(message) });
      if (budget.repetitions > 0) steps.push({ text: `${text} once more`, take: (world) => world.deliver(message, true) });
    }
    for (const [position, replica] of replicas.entries()) {
      const { nodeId } = replica.raft.state.self;
      const add = (text: string, take: Step["take"]): void => void steps.push({ text: `${nodeId} ${text}`, take });
      this.#addDiskSteps(position, replica, budget, add);
      this.#addLossSteps(position, replica, budget, add);
      if (replica.raft.state.role.kind === "leader") this.#addLeaderSteps(position, budget, add);
      else if (budget.elections > 0) add("campaigns", (world) => world.campaign(position));
    }
    return steps;
  }

  #addDiskSteps(position: number, replica: FakeReplica, budget: Budget, add: (text: string, take: Step["take"]) => void): void {
    const isUnsynced = hasUnsynced(replica);
    if (replica.hardStatePending !== undefined) add("syncs its hard state", (world) => world.onDisk(position, syncHardState));
    if (this.#scope.syncs === "slow") {
      if (isUnsynced && replica.syncing?.log !== replica.written)
        add("begins to sync", (world) => world.onDisk(position, beginSync));
      if (replica.syncing !== undefined) add("has synced", (world) => world.onDisk(position, endSync));
    } else if (isUnsynced) {
      add("syncs", (world) => [...world.onDisk(position, beginSync), ...world.onDisk(position, endSync)]);
    }
    if (budget.crashes === 0) return;
    add("crashes and loses what isn't synced", (world) => world.crash(position, false));
    if (isUnsynced) add("crashes and keeps what it wrote", (world) => world.crash(position, true));
  }

  #addLossSteps(position: number, replica: FakeReplica, budget: Budget, add: (text: string, take: Step["take"]) => void): void {
    const { lostNodes, self } = replica.raft.state;
    for (const nodeId of lostNodes) add(`finds ${nodeId}`, (world) => world.act(position, (raft) => raft.peerFound(nodeId)));
    if (budget.losses === 0) return;
    for (const { raft } of this.#scope.replicas) {
      const { nodeId } = raft.state.self;
      if (nodeId === self.nodeId || lostNodes.has(nodeId)) continue;
      add(`loses ${nodeId}`, (world) => {
        world.budget.losses -= 1;
        return world.act(position, (core) => core.peerLost(nodeId));
      });
    }
  }

  #addLeaderSteps(position: number, budget: Budget, add: (text: string, take: Step["take"]) => void): void {
    if (budget.heartbeats > 0) {
      add("ticks", (world) => {
        world.budget.heartbeats -= 1;
        return world.act(position, (raft) => raft.tick());
      });
    }
    if (budget.proposals > 0) {
      add("proposes", (world) => {
        world.budget.proposals -= 1;
        return world.act(position, (raft) => raft.propose([{ kind: "data", span: 1, bytes: budget.proposals }]));
      });
    }
    for (const changes of budget.changes > 0 ? (this.#scope.changes ?? []) : []) {
      add(`changes ${JSON.stringify(changes)}`, (world) => {
        world.budget.changes -= 1;
        return world.act(position, (raft) => raft.changeMembership(changes));
      });
    }
  }

  /** Keeps a world if it is new. */
  #add(world: SearchWorld, parent: number, text: string): void {
    const replicas = world.replicas.map((replica) => this.#replicas.number(replica));
    const messages = world.network.map((message) => this.#messages.number(message)).sort((a, b) => a - b);
    const budget = budgetNames.map((name) => world.budget[name]);
    const row = [...replicas, this.#witnesses.number(world.witness), ...budget, ...messages].join(" ");
    if (this.#seen.has(row)) return;
    this.#seen.add(row);
    this.#rows.push(row);
    this.#parents.push(parent);
    this.#depths.push(parent === -1 ? 0 : itemAt(this.#depths, parent) + 1);
    // The same step is taken from many states: its text is kept once.
    const kept = this.#texts.get(text) ?? text;
    this.#texts.set(kept, kept);
    this.#steps.push(kept);
  }

  #read(position: number): SearchWorld {
    const numbers = itemAt(this.#rows, position).split(" ").map(Number);
    const count = this.#scope.replicas.length;
    const replicas = numbers.slice(0, count).map((number) => this.#replicas.get(number));
    const budget = Object.fromEntries(budgetNames.map((name, i) => [name, itemAt(numbers, count + 1 + i)]));
    const world = new SearchWorld(replicas, budget as unknown as Budget, this.#scope);
    world.witness = this.#witnesses.get(itemAt(numbers, count));
    world.network = numbers.slice(count + 1 + budgetNames.length).map((number) => this.#messages.get(number));
    return world;
  }

  #textOf(message: Message): string {
    const known = this.#messageTexts.get(message);
    if (known !== undefined) return known;
    const text = `deliver ${describeMessage(message)}`;
    this.#messageTexts.set(message, text);
    return text;
  }

  #story(end: number): string[] {
    const story: string[] = [];
    for (let position = end; position > 0; position = itemAt(this.#parents, position))
      story.unshift(itemAt(this.#steps, position));
    return story;
  }
}

/** An assertion of the core that fails is found like a broken invariant. */
function takeStep(world: SearchWorld, take: Step["take"]): string[] {
  try {
    return take(world);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

function itemAt<Item>(items: readonly Item[], position: number): Item {
  const item = items[position];
  if (item === undefined) throw new Error(`there is no ${position}`);
  return item;
}
