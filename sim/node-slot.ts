import { isProglogError } from "../src/base/error.ts";
import type { Frame } from "../src/log/frame.ts";
import type { Member, NodeId } from "../src/raft/member.ts";
import { type CrashModel, randomChoice } from "./crash.ts";
import { createSimDisk, type SimDisk, type SimProcessOptions } from "./disk.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Call, Fault, PlannedFault } from "./fault-plan.ts";
import type { RecoveredEntry } from "./group-watch.ts";
import { NodeClock } from "./node-clock.ts";
import type { PeerMessage, RaftNode } from "./raft-node.ts";
import type { SeededRandom } from "./random.ts";

/**
 * Where a node lives: its machine, with a disk and a clock, and at times a process. The process is started, stopped, killed, loses
 * its power in the middle of whatever it does, and starts again with what the disk has; or the disk is lost and it is another's.
 */
export class NodeSlot {
  readonly nodeId: NodeId;
  disk: SimDisk;
  clock: NodeClock;
  node: RaftNode | undefined;
  /**
   * `down` starts again by itself; `halted` found its disk damaged and waits for somebody to replace it.
   */
  condition: "up" | "opening" | "down" | "halted" = "down";
  /** The disk is, or will be found to be, damaged. */
  isRotten = false;
  /** It lost its disk, and its group doesn't know the new one as a voter yet. */
  isReplaced = false;
  slowBy = 1;
  /** What is to go wrong with calls of this process. */
  planned: PlannedFault[] = [];
  /** Counts its processes: what an older one began means nothing to a newer one. */
  #processes = 0;
  #disks = 1;
  #isStopped = false;
  #cutInSync: { left: number; readonly cut: () => void } | undefined;
  #waiting: (() => void)[] = [];
  readonly #queue: EventQueue;
  readonly #random: SeededRandom;
  readonly #options: NodeSlotOptions;

  constructor(nodeId: NodeId, queue: EventQueue, random: SeededRandom, options: NodeSlotOptions) {
    this.nodeId = nodeId;
    this.#queue = queue;
    this.#random = random;
    this.#options = options;
    this.clock = this.#newClock();
    this.disk = createSimDisk({ model: options.crashModel, ...this.#processOptions() });
  }

  get member(): Member {
    return { nodeId: this.nodeId, storageId: `${this.nodeId}-disk${this.#disks}` };
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Out of the group for good, until somebody replaces it. */
  get isLost(): boolean {
    return this.isRotten || this.isReplaced || this.condition === "halted";
  }

  start(): void {
    if (this.condition !== "down") return;
    this.condition = "opening";
    const process = this.#processes;
    const recovered: RecoveredEntry[] = [];
    let prevTerm = 0;
    const onFrame = (frame: Frame): void => {
      const { kind, index, term, span, baseOffset, appendTime, flags, payload } = frame;
      recovered.push({ entry: { kind, index, term, span, baseOffset, appendTime, flags, payload }, prevTerm });
      prevTerm = term;
    };
    this.#options.open(this, recovered, onFrame).then(
      (node) => {
        if (process !== this.#processes) return;
        if (node.isEnded) return;
        this.node = node;
        this.condition = "up";
        this.#options.opened(this);
      },
      (error: unknown) => {
        if (process === this.#processes) this.failed(error);
      },
    );
  }

  /** Its process has ended by itself, or couldn't begin. */
  failed(error: unknown): void {
    this.#end();
    const isCorrupt = isProglogError(error, "LOG_CORRUPT") || isProglogError(error, "MANIFEST_CORRUPT");
    this.condition = isCorrupt ? "halted" : "down";
    this.disk = this.disk.endProcess(this.#processOptions());
    this.#options.failed(this, error);
  }

  /** The process is killed: what it wrote is there, synced or not. */
  kill(): void {
    if (this.condition === "down" || this.condition === "halted") return;
    this.#end();
    this.disk = this.disk.endProcess(this.#processOptions());
  }

  /** The power goes: what wasn't synced may be there, in part, or not. */
  cutPower(): void {
    if (this.condition === "halted") return;
    const isOff = this.condition === "down";
    if (!isOff) this.#end();
    const { capacityBytes } = this.disk;
    const old = this.disk;
    this.disk = old.crash(randomChoice(this.#random), this.#processOptions());
    this.disk.capacityBytes = capacityBytes;
    old.turnOff();
  }

  /** The power goes in the middle of the `nth` sync from now on, unless the process ends before. */
  cutPowerInSync(nth: number, whenCut: () => void): void {
    const process = this.#processes;
    const cut = (): void => {
      if (process !== this.#processes) return;
      this.cutPower();
      whenCut();
    };
    this.#cutInSync = { left: nth, cut };
  }

  /** The disk is replaced by an empty one. */
  wipe(): void {
    if (this.condition !== "down" && this.condition !== "halted") this.#end();
    this.disk.turnOff();
    this.#disks += 1;
    this.disk = createSimDisk({ model: this.#options.crashModel, ...this.#processOptions() });
    this.condition = "down";
    this.isRotten = false;
    this.isReplaced = true;
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
    this.planned.push(this.disk.fail(fault));
  }

  /** The machine is as good as new, but for what its disk lost. */
  heal(): void {
    for (const fault of this.planned.splice(0)) fault.cancel();
    this.#cutInSync = undefined;
    this.slowBy = 1;
    this.disk.capacityBytes = Number.POSITIVE_INFINITY;
    if (this.#isStopped) this.goOn();
    this.start();
  }

  receive(message: PeerMessage): void {
    this.arrive(() => this.node?.receive(message));
  }

  /** Something comes in; a stopped process gets it when it goes on. */
  arrive(run: () => void): void {
    if (!this.#isStopped) run();
    else if (this.#waiting.length < waitingMaxCount) this.#waiting.push(run);
  }

  #end(): void {
    this.#processes += 1;
    this.node?.end();
    this.node = undefined;
    this.condition = "down";
    this.clock.end();
    this.clock = this.#newClock();
    this.#isStopped = false;
    this.#waiting = [];
    this.slowBy = 1;
    this.planned = [];
    this.#cutInSync = undefined;
  }

  #newClock(): NodeClock {
    const { clockSkew } = this.#options;
    const rate = 1 + (2 * this.#random.float() - 1) * clockSkew;
    return new NodeClock(this.#queue, { rate, wallAheadMs: Math.floor((this.#random.float() - 0.5) * 1_000) });
  }

  #processOptions(): SimProcessOptions {
    return { isRecording: false, delay: (call) => this.#delay(call) };
  }

  /** What waits for the device takes its time; what is in the cache doesn't. */
  #delay(call: Call): Promise<void> {
    if (call.kind === "read") return Promise.resolve();
    const isSync = call.kind === "datasync" || call.kind === "sync-directory";
    const meanMs = isSync ? this.#options.syncMeanMs : 0.1;
    const delayMs = Math.min(stallMaxMs, -Math.log(1 - this.#random.float()) * meanMs * this.slowBy);
    if (isSync && this.#cutInSync !== undefined) {
      this.#cutInSync.left -= 1;
      if (this.#cutInSync.left === 0) this.#queue.after(delayMs * this.#random.float(), this.#cutInSync.cut);
    }
    return new Promise((resolve) => void this.clock.setDeviceTimer(delayMs, resolve));
  }
}

/** No call to the device takes longer, so that a healed world comes to rest in time. */
const stallMaxMs = 10_000;

/** Of what arrives while a process is stopped: a socket's buffer is no larger. */
const waitingMaxCount = 1_000;

export interface NodeSlotOptions {
  readonly crashModel: CrashModel;
  readonly clockSkew: number;
  readonly syncMeanMs: number;
  open(slot: NodeSlot, recovered: readonly RecoveredEntry[], onFrame: (frame: Frame) => void): Promise<RaftNode>;
  opened(slot: NodeSlot): void;
  failed(slot: NodeSlot, error: unknown): void;
}
