import { isProglogError, ProglogError } from "../../src/base/error.ts";
import type { Logger } from "../../src/base/logger.ts";
import type { RaftSettings } from "../../src/raft/raft-settings.ts";
import { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import type { ClusterFlags } from "../../src/replica/cluster/cluster-identity.ts";
import type { LogSettings } from "../../src/replica/data-directory.ts";
import { type CrashModel, randomChoice } from "../crash.ts";
import { createSimDisk, type SimDisk, type SimProcessOptions } from "../disk.ts";
import type { Call, Fault, PlannedFault } from "../fault-plan.ts";
import { NodeClock } from "../node-clock.ts";
import type { SeededRandom } from "../random.ts";
import { type PeersWorld, SimPeers } from "./sim-peers.ts";

/** No call to a device takes longer, so that a healed world comes to rest in time. */
export const stallMaxMs = 10_000;

/** How soon a process that ended by itself is started again. */
const restartMs = 1_000;

export const dataPath = "/data";

export interface MachineOptions {
  readonly crashModel: CrashModel;
  readonly clockSkew: number;
  readonly syncMeanMs: number;
  readonly raft: RaftSettings;
  readonly tickMs: number;
  readonly log: LogSettings;
  /** Where others are found. */
  readonly others: readonly string[];
  /** It says that all is synced that isn't. */
  readonly hasLyingDisk: boolean;
}

export interface MachineWorld extends PeersWorld {
  /** It begins to serve. */
  opened(machine: Machine): void;
  /** Its process ended by itself. */
  processFailed(machine: Machine, error: unknown): void;
  /** Something threw that no disk and no network can be blamed for. */
  readonly failed: (error: unknown) => void;
  diskCalled(machine: Machine, call: Call): void;
}

/**
 * A machine of a cluster: a disk, a clock, an address, and at times a process, which is a whole node as the server runs it. The process is
 * started, stopped, killed, loses its power in the middle of whatever it does, and starts again with what the disk has.
 */
export class Machine {
  readonly name: string;
  readonly ordinal: number;
  readonly address: string;
  /** What its node is called; another one with each disk, or the same again. */
  nodeName: string;
  flags: ClusterFlags;
  disk: SimDisk;
  clock: NodeClock;
  /** `off` starts again by itself or by a fault's end; `retired` waits for the operator. */
  condition: "up" | "off" | "retired" = "off";
  slowBy = 1;
  /** Until then its device completes nothing. */
  #stalledUntilMs = 0;
  /** Counts its disks: what an earlier one had is gone. */
  diskNumber = 1;
  #life: Life | undefined;
  #lifeCount = 0;
  #planned: PlannedFault[] = [];
  #isStopped = false;
  #cutInSync: { left: number; readonly cut: () => void } | undefined;
  #waiting: (() => void)[] = [];
  readonly #world: MachineWorld;
  readonly #random: SeededRandom;
  readonly #options: MachineOptions;

  constructor(
    world: MachineWorld,
    random: SeededRandom,
    { ordinal, flags, options }: { readonly ordinal: number; readonly flags: ClusterFlags; readonly options: MachineOptions },
  ) {
    this.#world = world;
    this.#random = random;
    this.#options = options;
    this.ordinal = ordinal;
    this.name = `n${ordinal}`;
    this.nodeName = this.name;
    this.address = `${this.name}:8400`;
    this.flags = flags;
    this.clock = this.#newClock();
    this.disk = createSimDisk({ model: options.crashModel, ...this.#processOptions() });
  }

  /** Its node, from the moment on at which it has the directory. */
  get node(): ClusteredNode | undefined {
    return this.#life?.node;
  }

  /** Its node, once it serves. */
  get served(): ClusteredNode | undefined {
    return this.#life?.isOpen === true ? this.#life.node : undefined;
  }

  get peers(): SimPeers | undefined {
    return this.#life?.peers;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** It hands over and closes, and will end by itself. */
  get isClosing(): boolean {
    return this.#life?.isClosing === true;
  }

  /** Of the process; 0 when there is none. What was asked of an earlier one means nothing to a later one. */
  get life(): number {
    return this.#life?.number ?? 0;
  }

  start(): void {
    if (this.condition !== "off") return;
    this.condition = "up";
    this.#lifeCount += 1;
    const life = newLife(this.#lifeCount);
    this.#life = life;
    void this.#run(life);
  }

  /** As by SIGTERM: it hands over, and closes. Resolves when the process is gone, by itself or by what strikes it meanwhile. */
  async stopGently(): Promise<void> {
    const life = this.#life;
    if (life?.node === undefined || !life.isOpen || this.#isStopped) return this.kill();
    life.isClosing = true;
    for (const run of life.stopWatchers) run();
    // What a killed process waits for never comes.
    await Promise.race([this.#close(life, life.node), life.ended.promise]);
  }

  async #close(life: Life, node: ClusteredNode): Promise<void> {
    try {
      await node.handOver();
      await node.close(new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is being stopped"));
    } catch (error) {
      // A disk that fails at the close has it say so, and all the rest is closed.
      const isOfDisk = isProglogError(error, "DISK_FAILED") || isProglogError(error, "LOG_POISONED");
      if (!life.isEnded && !isOfDisk) this.foundFault(error);
    }
    if (life.isEnded) return;
    const { openPaths } = this.disk;
    if (openPaths.length > 0) this.foundFault(new Error(`${this.name} leaves files open: ${openPaths.join(", ")}`));
    this.kill();
  }

  /** The process is killed: what it wrote is there, synced or not. */
  kill(): void {
    if (this.condition !== "up") return;
    this.#end(true);
    this.disk = this.disk.endProcess(this.#processOptions());
  }

  /** The power goes: what wasn't synced may be there, in part, or not. */
  cutPower(): void {
    if (this.condition === "retired") return;
    if (this.condition === "up") this.#end(false);
    const old = this.disk;
    this.disk = old.crash(randomChoice(this.#random), this.#processOptions());
    this.disk.capacityBytes = old.capacityBytes;
    old.turnOff();
  }

  /** The power goes in the middle of the `nth` sync from now on, unless the process ends before. */
  cutPowerInSync(nth: number, whenCut: () => void): void {
    const { life } = this;
    const cut = (): void => {
      if (life !== this.life) return;
      this.cutPower();
      whenCut();
    };
    this.#cutInSync = { left: nth, cut };
  }

  /** The disk is replaced by an empty one. */
  wipe(): void {
    if (this.condition === "up") this.#end(false);
    this.disk.turnOff();
    this.diskNumber += 1;
    this.disk = createSimDisk({ model: this.#options.crashModel, ...this.#processOptions() });
    this.condition = "off";
    // There is a cluster by now, and it was its first node: begun again like that, it would begin another one.
    this.flags = { ...this.flags, isBootstrapping: false, startJoinAddrs: this.#options.others };
  }

  /** It is switched off for good, or until it gets an empty disk. */
  retire(): void {
    this.kill();
    this.condition = "retired";
  }

  /** SIGSTOP. */
  stop(): void {
    this.#isStopped = true;
    this.clock.stop();
  }

  /** SIGCONT: what has arrived is taken in before the clock's ticks. */
  goOn(): void {
    this.#isStopped = false;
    for (const run of this.#waiting.splice(0)) run();
    this.clock.goOn();
  }

  /** One of the next calls to the disk fails, unless the process ends or heals before. */
  failCall(fault: Fault): void {
    this.#planned.push(this.disk.fail(fault));
  }

  /** For so long the device completes nothing that is new to it; what is in the cache can be read. */
  stallDisk(durationMs: number): void {
    this.#stalledUntilMs = this.#world.queue.nowMs + durationMs;
  }

  /** The machine is as good as new, but for what its disk lost. */
  heal(): void {
    for (const fault of this.#planned.splice(0)) fault.cancel();
    this.#cutInSync = undefined;
    this.slowBy = 1;
    this.#stalledUntilMs = 0;
    this.disk.capacityBytes = Number.POSITIVE_INFINITY;
    if (this.#isStopped) this.goOn();
    this.clock.setRate(1);
    this.start();
  }

  /** Something comes in; a stopped process gets it when it goes on. */
  arrive(run: () => void): void {
    if (!this.#isStopped) run();
    else this.#waiting.push(run);
  }

  /** Calls back when the process that runs now ends, with whether the other ends of its connections hear of that. */
  whenEnded(run: (tells: boolean) => void): void {
    this.#life?.watchers.push(run);
  }

  /** Calls back when the process that runs now begins to stop by itself. */
  whenStopping(run: () => void): void {
    this.#life?.stopWatchers.push(run);
  }

  foundFault(error: unknown): void {
    this.#world.failed(error);
  }

  async #run(life: Life): Promise<void> {
    const { raft, tickMs, log } = this.#options;
    const world = this.#world;
    if (this.#options.hasLyingDisk)
      this.disk.fail({ kind: "datasync", path: ".store", times: Number.POSITIVE_INFINITY, effect: "lost" });
    try {
      const node = await ClusteredNode.open({
        path: dataPath,
        disk: this.disk,
        clock: this.clock,
        random: this.#random.fork(`life ${life.number}`),
        logger: this.#logger(life),
        log,
        flags: { ...this.flags, nodeName: this.nodeName },
        defaultName: () => this.nodeName,
        address: () => this.address,
        resolve: async (address) => [address],
        connectPeers: (parts) => {
          life.peers = new SimPeers(world, this, parts);
          return life.peers;
        },
        settings: raft,
        tickMs,
      });
      if (life.isEnded) return;
      life.node = node;
      await node.openReplicas();
      if (life.isEnded) return;
      life.isOpen = true;
      world.opened(this);
    } catch (error) {
      if (life.isEnded) return;
      this.kill();
      world.tell(() => `${this.name} doesn't start: ${String(error)}`);
      world.processFailed(this, error);
      world.queue.after(restartMs, () => this.start());
    }
  }

  #end(tells: boolean): void {
    const life = this.#life;
    this.#life = undefined;
    if (life !== undefined) {
      life.isEnded = true;
      life.peers?.end(tells);
      for (const run of life.watchers) run(tells);
      life.ended.resolve();
    }
    this.condition = "off";
    this.#isStopped = false;
    this.#planned = [];
    this.#cutInSync = undefined;
    this.clock.end();
    this.clock = this.#newClock();
    // Its connections are gone; who waits at the other ends hears of that, or of nothing.
    for (const run of this.#waiting.splice(0)) run();
  }

  #newClock(): NodeClock {
    const skew = this.#options.clockSkew * (2 * this.#random.float() - 1);
    return new NodeClock(this.#world.queue, {
      rate: 1 + skew,
      timersFollow: true,
      wallAheadMs: Math.floor((this.#random.float() - 0.5) * 1_000),
    });
  }

  #processOptions(): SimProcessOptions {
    return {
      isRecording: false,
      delay: (call) => this.#delay(call),
      onCall: (call) => this.#world.diskCalled(this, call),
    };
  }

  /** What waits for the device takes its time; what is in the cache doesn't. */
  #delay(call: Call): Promise<void> {
    if (call.kind === "read") return Promise.resolve();
    const isSync = call.kind === "datasync" || call.kind === "sync-directory";
    const meanMs = isSync ? this.#options.syncMeanMs : 0.1;
    const ownMs = -Math.log(1 - this.#random.float()) * meanMs * this.slowBy;
    const delayMs = Math.min(stallMaxMs, ownMs + Math.max(0, this.#stalledUntilMs - this.#world.queue.nowMs));
    if (isSync && this.#cutInSync !== undefined) {
      this.#cutInSync.left -= 1;
      if (this.#cutInSync.left === 0) this.#world.queue.after(delayMs * this.#random.float(), this.#cutInSync.cut);
    }
    return new Promise((resolve) => void this.clock.setDeviceTimer(delayMs, resolve));
  }

  #logger(life: Life): Logger {
    const write =
      (level: string) =>
      (fields: object, message: string): void => {
        if (life.isEnded) return;
        this.#world.tell(() => `${this.name} ${level}: ${message} ${JSON.stringify(fields)}`);
      };
    return { debug: () => {}, info: write("says"), warn: write("warns"), error: write("complains") };
  }
}

interface Life {
  readonly number: number;
  node: ClusteredNode | undefined;
  peers: SimPeers | undefined;
  isOpen: boolean;
  isClosing: boolean;
  isEnded: boolean;
  readonly ended: PromiseWithResolvers<void>;
  readonly watchers: ((tells: boolean) => void)[];
  readonly stopWatchers: (() => void)[];
}

function newLife(number: number): Life {
  const ended = Promise.withResolvers<void>();
  return {
    number,
    node: undefined,
    peers: undefined,
    isOpen: false,
    isClosing: false,
    isEnded: false,
    ended,
    watchers: [],
    stopWatchers: [],
  };
}
