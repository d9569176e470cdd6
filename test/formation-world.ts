import { randomChoice } from "../sim/crash.ts";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import type { SeededRandom } from "../sim/random.ts";
import type { Clock } from "../src/base/clock.ts";
import { isProglogError, ProglogError } from "../src/base/error.ts";
import type { Logger } from "../src/base/logger.ts";
import { type ClusterFlags, type ClusterIdentity, openClusterIdentity } from "../src/replica/cluster/cluster-identity.ts";
import type { Joined } from "../src/replica/cluster/formation-view.ts";
import type { FormationNetwork } from "../src/replica/cluster/formation-driver.ts";
import { type ClusterNode, judgeJoin } from "../src/replica/cluster/joining.ts";
import type { NodeRecordState } from "../src/replica/cluster/node-record-state.ts";
import { mayAsk } from "../src/replica/cluster/peer-check.ts";
import { noWayError, unansweredError } from "../src/replica/peer-error.ts";

/**
 * Nodes that begin clusters: the real code over disks that forget what isn't synced, and a network worse than TCP, which loses,
 * doubles and delays questions and answers, also from one life of a node into the next. Everything by one seed.
 */
export class FormationWorld {
  readonly random: SeededRandom;
  readonly clock: VirtualClock = createVirtualClock();
  readonly nodes: WorldNode[] = [];
  /** What leads a cluster's group 0 would know: the nodes of each cluster. */
  readonly catalogs = new Map<string, ClusterNode[]>();
  readonly story: string[] = [];
  /** Questions and answers that are lost, and those that come late, and those that come twice: between 0 and 1. */
  lossRate = 0;
  lateRate = 0;
  doubleRate = 0;
  /** Of the calls to a disk that change something: before how many the power goes. */
  powerCutRate = 0;
  /** Links that are cut, "from>to" by address. */
  readonly cuts = new Set<string>();
  /** What `resolve` says of a name; else the name is an address. */
  readonly names = new Map<string, readonly string[]>();
  readonly #history = new BindingHistory();

  constructor(random: SeededRandom) {
    this.random = random;
  }

  add(name: string, flags: Partial<ClusterFlags> = {}, options: { readonly address?: string } = {}): WorldNode {
    const node = new WorldNode(this, name, options.address ?? `${name}:8000`, {
      nodeName: name,
      startJoinAddrs: [],
      initialNodes: undefined,
      isBootstrapping: false,
      ...flags,
    });
    this.nodes.push(node);
    return node;
  }

  /** Lets time pass, event by event, until it is over or `isEnough`. */
  async run(forMs: number, isEnough: () => boolean = () => false): Promise<boolean> {
    const endMs = this.clock.monotonic() + forMs;
    for (;;) {
      await new Promise((resolve) => void setImmediate(resolve));
      this.check();
      if (isEnough()) return true;
      const nextMs = this.clock.nextTimerMs;
      if (nextMs === undefined || nextMs > endMs) break;
      this.clock.runNext();
    }
    this.clock.advance(Math.max(0, endMs - this.clock.monotonic()));
    return false;
  }

  /** What must never be, after each event. */
  check(): void {
    for (const node of this.nodes) {
      if (node.failure !== undefined && !isProglogError(node.failure))
        throw new Error(`${node.name} failed`, { cause: node.failure });
      const state = node.identity?.record.state;
      if (state !== undefined) this.#history.note(state);
    }
  }

  /** The clusters that any storage id ever belonged to. */
  get clusterIds(): readonly string[] {
    return this.#history.clusterIds;
  }

  /** Each cluster's members have all promised it, and none is a member of two. */
  checkFormed(): void {
    this.#history.checkFormed();
  }

  findAt(address: string): WorldNode | undefined {
    return this.nodes.find((node) => node.isUp && node.address === address);
  }

  tell(text: string): void {
    this.story.push(`${this.clock.monotonic().toFixed(0)} ${text}`);
  }
}

export class WorldNode {
  readonly name: string;
  address: string;
  flags: ClusterFlags;
  disk: SimDisk;
  identity: ClusterIdentity | undefined;
  /** What a life ended with. */
  failure: unknown;
  readonly log: string[] = [];
  /** Cuts the power before so manieth call of this life that changes the disk, from 1. */
  cutBeforeCall: number | undefined;
  readonly #world: FormationWorld;
  #life: Life | undefined;
  #isCutting = false;

  constructor(world: FormationWorld, name: string, address: string, flags: ClusterFlags) {
    this.#world = world;
    this.name = name;
    this.address = address;
    this.flags = flags;
    this.disk = createSimDisk({ isRecording: false });
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  get state(): NodeRecordState | undefined {
    return this.identity?.record.state;
  }

  /** The cluster that it is in, by its own word: formation has ended. */
  get clusterId(): string | undefined {
    return this.#life?.isIn === true ? this.state?.clusterId : undefined;
  }

  /** Begins a life; `onEnd` tells how opening ended. */
  start(): void {
    if (this.isUp) return;
    const life: Life = { isIn: false, controller: new AbortController() };
    this.#life = life;
    this.failure = undefined;
    this.identity = undefined;
    this.disk = this.disk.endProcess({ isRecording: false, onCall: ({ kind }) => this.#beforeCall(kind) });
    this.#world.tell(`${this.name} starts`);
    void this.#open(life);
  }

  /** It is told to stop while it waits. */
  stop(): void {
    this.#life?.controller.abort();
  }

  /** kill -9: what the system had in its caches is still there. */
  kill(): void {
    if (!this.isUp) return;
    this.#world.tell(`${this.name} is killed`);
    this.#end();
    this.disk = this.disk.endProcess({ isRecording: false });
  }

  /** What wasn't synced is gone, or not. */
  cutPower(): void {
    if (!this.isUp) return;
    this.#world.tell(`${this.name} loses its power`);
    const old = this.disk;
    this.#isCutting = true;
    this.disk = old.crash(randomChoice(this.#world.random), { isRecording: false });
    this.#isCutting = false;
    old.turnOff();
    this.#end();
  }

  /** An empty disk in its place. */
  wipe(): void {
    this.kill();
    this.disk = createSimDisk({ isRecording: false });
    this.#world.tell(`${this.name} is wiped`);
  }

  /** Another node runs on a copy of this one's directory. */
  copyTo(node: WorldNode): void {
    node.disk = this.disk.crash(({ options }) => options - 1, { isRecording: false });
  }

  async ask(life: Life, address: string, kind: string, body: Buffer, timeoutMs: number): Promise<Buffer> {
    const world = this.#world;
    const { random, clock } = world;
    const to = { address };
    const asked = Promise.withResolvers<Buffer>();
    const from = this.identity?.peer;
    if (from === undefined) throw noWayError(to, "this node doesn't listen yet");
    clock.setTimer(timeoutMs, () => asked.reject(unansweredError(to, kind, timeoutMs)));
    const carry = (source: string, target: string, deliver: () => void): void => {
      const isLost = random.chance(world.lossRate) || world.cuts.has(`${source}>${target}`);
      if (isLost) return;
      const delayMs = random.chance(world.lateRate) ? random.integer(8_000) : 1 + random.integer(60);
      clock.setTimer(delayMs, deliver);
    };
    const deliver = (): void => {
      const target = world.findAt(address);
      const identity = target?.identity;
      const targetLife = target === undefined ? undefined : target.#life;
      if (target === undefined || identity === undefined || targetLife === undefined)
        return carry(address, this.address, () => asked.reject(noWayError(to, "nobody is reached there")));
      const answer = Promise.try(() => {
        const standing = identity.check(from, { nodes: target.#nodesOfCluster(), connected: [], mayLead: () => false });
        if (!mayAsk(standing, kind)) throw new ProglogError("PEER_REFUSED", `Cannot answer ${kind}`);
        this.identity?.check(identity.peer, { nodes: this.#nodesOfCluster(), connected: [], mayLead: () => false });
        return identity.answer(kind, Buffer.from(body), targetLife.controller.signal);
      });
      const isAlive = (): boolean => target.#life === targetLife;
      answer.then(
        (bytes) => isAlive() && carry(address, this.address, () => asked.resolve(bytes)),
        (error: unknown) => isAlive() && carry(address, this.address, () => asked.reject(error)),
      );
    };
    carry(this.address, address, deliver);
    if (random.chance(world.doubleRate)) carry(this.address, address, deliver);
    const outcome = await asked.promise.then(
      (bytes) => () => bytes,
      (error: unknown) => () => {
        throw error;
      },
    );
    // The dead hear nothing.
    if (this.#life !== life) return new Promise<never>(() => {});
    return outcome();
  }

  #nodesOfCluster(): readonly ClusterNode[] {
    const clusterId = this.state?.clusterId;
    return clusterId === undefined ? [] : (this.#world.catalogs.get(clusterId) ?? []);
  }

  async #open(life: Life): Promise<void> {
    const world = this.#world;
    const clock: Clock = {
      ...world.clock,
      now: () => world.clock.now(),
      monotonic: () => world.clock.monotonic(),
      setTimer: (delayMs, run) => world.clock.setTimer(delayMs, () => void (this.#life === life && run())),
    };
    const network: FormationNetwork = {
      ask: (to, kind, body, { timeoutMs = 10_000 } = {}) =>
        this.ask(life, "address" in to ? to.address : to.nodeId, kind, body, timeoutMs),
      announce: () => {},
    };
    const { disk } = this;
    try {
      await disk.makeDirectory("/data");
      const identity = await openClusterIdentity({
        disk,
        directory: "/data",
        clock,
        random: world.random.fork(`${this.name}/${world.random.float()}`),
        logger: this.#logger(),
        flags: this.flags,
        defaultName: this.name,
        address: this.address,
        resolve: async (address) => {
          const found = world.names.get(address) ?? [address];
          if (found.length === 0) throw new Error(`no address for ${address}`);
          return found;
        },
        connect: (opened) => {
          this.identity = opened;
          return network;
        },
        admit: async (request) => this.#admit(request),
        signal: life.controller.signal,
      });
      if (this.#life !== life) return;
      life.isIn = identity !== undefined;
      const membership = identity?.membership;
      if (membership === undefined) return;
      world.tell(`${this.name} is in ${membership.clusterId.slice(0, 6)} as ${membership.role}`);
      // Who formed it brings it to life.
      if (membership.role !== "joined" && !world.catalogs.has(membership.clusterId))
        world.catalogs.set(membership.clusterId, [...membership.members]);
    } catch (error) {
      if (this.#life !== life) return;
      this.failure = error;
      world.tell(`${this.name} gives up: ${String(error)}`);
      this.#end();
      this.disk = this.disk.endProcess({ isRecording: false });
    }
  }

  /** As the leader of group 0 does it. */
  #admit(request: ClusterNode): Joined {
    const clusterId = this.state?.clusterId ?? "";
    const nodes = this.#world.catalogs.get(clusterId);
    if (nodes === undefined || this.#world.random.chance(0.2))
      throw new ProglogError("UNAVAILABLE", "Cannot take in a node: nobody leads");
    const admission = judgeJoin(nodes, request);
    if (admission.kind !== "present")
      this.#world.catalogs.set(clusterId, [...nodes.filter(({ name }) => name !== request.name), request]);
    return { clusterId, incarnation: nodes.length };
  }

  #end(): void {
    this.#life?.controller.abort();
    this.#life = undefined;
  }

  #beforeCall(kind: string): void {
    const { random, powerCutRate } = this.#world;
    if (this.#isCutting || kind === "size" || kind === "list" || kind === "is-directory") return;
    if (this.cutBeforeCall !== undefined) this.cutBeforeCall -= 1;
    const isDue = this.cutBeforeCall === 0;
    if (isDue) this.cutBeforeCall = undefined;
    if (isDue || (powerCutRate > 0 && random.chance(powerCutRate))) this.cutPower();
  }

  #logger(): Logger {
    const write = (level: string) => (_: object, message: string) => {
      this.log.push(`${level} ${message}`);
      if (level !== "debug") this.#world.tell(`${this.name}: ${message}`);
    };
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  }
}

interface Life {
  isIn: boolean;
  readonly controller: AbortController;
}

/** What each storage id was ever bound to, over all lives and disks. */
class BindingHistory {
  readonly #promises = new Map<string, string>();
  readonly #clusters = new Map<string, string>();
  readonly #members = new Map<string, readonly string[]>();

  note({ storageId, promise, clusterId }: NodeRecordState): void {
    if (promise !== undefined) {
      once(this.#promises, storageId, promise.clusterId, "promised");
      this.#members.set(
        promise.clusterId,
        promise.members.map((member) => member.storageId),
      );
    }
    if (clusterId === undefined) return;
    once(this.#clusters, storageId, clusterId, "belonged to");
    const promised = this.#promises.get(storageId);
    if (promised !== undefined && promised !== clusterId)
      throw new Error(`${storageId} promised ${promised}, and belongs to ${clusterId}`);
  }

  get clusterIds(): readonly string[] {
    return [...new Set(this.#clusters.values())];
  }

  checkFormed(): void {
    const ownerOf = new Map<string, string>();
    for (const clusterId of this.clusterIds)
      for (const storageId of this.#members.get(clusterId) ?? []) {
        const promised = this.#promises.get(storageId);
        if (promised !== clusterId)
          throw new Error(`${clusterId} was formed, and its member ${storageId} promised ${promised}`);
        once(ownerOf, storageId, clusterId, "formed");
      }
  }
}

function once(of: Map<string, string>, storageId: string, clusterId: string, verb: string): void {
  const known = of.get(storageId);
  if (known !== undefined && known !== clusterId) throw new Error(`${storageId} ${verb} ${known}, and then ${clusterId}`);
  of.set(storageId, clusterId);
}
