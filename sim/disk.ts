import { posix } from "node:path";
import { assert, unreachable } from "../src/base/assert.ts";
import { assertPosition, fileClosedError, lockedError, systemError } from "../src/base/disk-error.ts";
import type { Disk, DiskFile, DiskLock } from "../src/base/disk.ts";
import { TreeDirectory } from "../src/base/name-tree.ts";
import type { CrashChoice, CrashModel, CrashPoint } from "./crash.ts";
import { type Call, type CallKind, type CallMatch, type Fault, FaultPlan, type PlannedFault } from "./fault-plan.ts";
import { sectorBytes, SectorFile } from "./sector-file.ts";
import { SyncHold } from "./sync-hold.ts";
import { Volume } from "./volume.ts";

export interface SimDiskOptions extends SimProcessOptions {
  /** What a crash may lose; "strict" when not given. */
  readonly model?: CrashModel;
  /** Room for data. No bound when not given. */
  readonly capacityBytes?: number;
}

/** What is between one process and the disk, and ends with it. */
export interface SimProcessOptions {
  /** Keeps every call in `operations`; true when not given. Long runs turn it off. */
  readonly isRecording?: boolean;
  /** Is told of every call before it takes effect: the place to take crash images at each step. */
  readonly onCall?: (call: Call) => void;
  /** Waited for before an asynchronous call takes effect: latency, by a clock of the simulator's. */
  readonly delay?: (call: Call) => Promise<void>;
}

/** What a process asked of the disk, or was told by it: a sync has an end, too, and what lies between is not durable. */
export interface Operation extends Omit<Call, "kind"> {
  readonly kind: CallKind | "datasynced" | "directory-synced" | "close";
  /** The fault that struck it: its code, or its effect where it reported success. */
  readonly fault?: string;
}

/**
 * A disk for proofs: it keeps apart what a process sees and what would be there after a power cut, and takes all its decisions
 * from the test. `crash` makes one of the many disks that the cut could leave behind; `crashPoints` lists what there is to
 * decide, so that all of them can be tried where they are few. It runs no timer and rolls no dice.
 *
 * Asynchronous calls take effect at their end, a few microtasks later, so that a crash in between finds them undone. A sync covers
 * what was written before it was called, and nothing that was written while it ran.
 *
 * Unlike a real disk's, its lock leaves no files behind: in a crash there would be decisions to take on them.
 */
export function createSimDisk(options: SimDiskOptions = {}): SimDisk {
  return new SimDisk(new Volume(options.model ?? "strict", options.capacityBytes ?? Infinity), options);
}

/** The pid in the simulator's LOG_LOCKED: the same in every run. */
const simulatedPid = 1;

export class SimDisk implements Disk {
  readonly #volume: Volume;
  readonly #options: SimProcessOptions;
  readonly #faults = new FaultPlan();
  #holds: SyncHold[] = [];
  readonly #operations: Operation[] = [];
  readonly #openFiles = new Set<SimFile>();
  readonly #lockedPaths = new Set<string>();
  #isOff = false;

  constructor(volume: Volume, options: SimProcessOptions) {
    this.#volume = volume;
    this.#options = options;
  }

  // The disk as a process sees it.

  open(path: string, mode: "read" | "write" | "create"): DiskFile {
    const kind = mode === "create" ? "create" : "open";
    const opened = this.#plain({ kind, path }, () => {
      const file = mode === "create" ? this.#volume.create(path) : this.#volume.tree.getFile(path, "open");
      return { file };
    });
    const file = new SimFile(this.#access, path, opened.file, mode !== "read");
    this.#volume.opened(opened.file);
    this.#openFiles.add(file);
    return file;
  }

  list(directory: string): string[] {
    return this.#plain({ kind: "list", path: directory }, () =>
      [...this.#volume.tree.getDirectory(directory, "scandir").entries.keys()].sort(),
    );
  }

  size(path: string): number | undefined {
    return this.#plain({ kind: "size", path }, () => {
      const node = this.#volume.tree.find(path);
      return node instanceof SectorFile ? node.size : undefined;
    });
  }

  isDirectory(path: string): boolean {
    return this.#plain({ kind: "is-directory", path }, () => this.#volume.tree.find(path) instanceof TreeDirectory);
  }

  async makeDirectory(directory: string): Promise<void> {
    this.#checkOn();
    for (const missing of this.#volume.tree.missingDirectories(directory)) {
      this.#plain({ kind: "make-directory", path: missing }, () => {
        // Two callers may be making the same one.
        if (!(this.#volume.tree.find(missing) instanceof TreeDirectory)) this.#volume.tree.makeDirectory(missing);
      });
      await this.syncDirectory(posix.dirname(missing));
    }
  }

  rename(from: string, to: string): void {
    this.#plain({ kind: "rename", path: from }, () => this.#volume.rename(from, to));
  }

  remove(path: string): void {
    this.#plain({ kind: "remove", path }, () => this.#volume.tree.remove(path));
  }

  removeDirectory(directory: string): void {
    this.#plain({ kind: "remove-directory", path: directory }, () => this.#volume.tree.removeDirectory(directory));
  }

  async syncDirectory(directory: string): Promise<void> {
    const call: Call = { kind: "sync-directory", path: directory };
    const fault = this.#begin(call);
    const node = this.#volume.tree.getDirectory(directory, "open");
    const sequence = this.#volume.nameSequence;
    await this.#delay(call);
    const effect = fault === undefined ? "all" : (fault.effect ?? "lost");
    if (effect === "all") this.#volume.syncNames(node, sequence);
    if (effect === "lost" || effect === "half") this.#volume.loseNames(node, sequence);
    throwFault(fault, call);
    this.#record({ ...call, kind: "directory-synced" });
  }

  lock(path: string): DiskLock {
    const lockPath = posix.resolve("/", path);
    this.#plain({ kind: "lock", path }, () => {
      this.#volume.tree.getDirectory(posix.dirname(lockPath), "stat");
      if (this.#lockedPaths.has(lockPath)) throw lockedError(lockPath, simulatedPid);
      this.#lockedPaths.add(lockPath);
    });
    let isHeld = true;
    return {
      release: () => {
        if (isHeld) this.#lockedPaths.delete(lockPath);
        isHeld = false;
      },
    };
  }

  canMap(): boolean {
    return false;
  }

  // The disk as a test sees it. None of this is a call: it is neither counted nor recorded, and no fault strikes it.

  /** What was asked so far, in order. */
  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** Every decision that a crash now would have to take. */
  crashPoints(): CrashPoint[] {
    return this.#volume.crashPoints();
  }

  /** Those of the decisions that are about sectors of data. */
  pendingSectors(): Extract<CrashPoint, { kind: "sector" }>[] {
    return this.crashPoints().filter((point) => point.kind === "sector");
  }

  /**
   * The disk that a power cut now would leave, with everything on the platter and nothing locked, failing or held. This one
   * goes on as if nothing had happened, so many images can be taken of it; `turnOff` stops what still runs on it.
   */
  crash(choose: CrashChoice, options: SimProcessOptions = {}): SimDisk {
    return new SimDisk(this.#volume.crash(choose), options);
  }

  /**
   * The same disk for the next process, after this one was killed: it sees everything, and what wasn't synced still isn't.
   * For the old process the disk is turned off.
   */
  endProcess(options: SimProcessOptions = {}): SimDisk {
    this.turnOff();
    for (const file of this.#openFiles) this.#volume.closed(file.data);
    this.#openFiles.clear();
    return new SimDisk(this.#volume, options);
  }

  /** From now on every call fails, and those under way never end. */
  turnOff(): void {
    this.#isOff = true;
  }

  /** Lets a call fail, or do something else than it says. */
  fail(fault: Fault): PlannedFault {
    return this.#faults.add(fault);
  }

  /** Keeps datasyncs, of certain files where `match` says so, from completing. */
  holdSync(match: Pick<CallMatch, "path" | "where"> = {}): SyncHold {
    const hold = new SyncHold({ ...match, kind: "datasync" });
    this.#holds.push(hold);
    return hold;
  }

  /** Files that this process has open. */
  get openFileCount(): number {
    return this.#openFiles.size;
  }

  get openPaths(): readonly string[] {
    return [...this.#openFiles].map(({ path }) => path);
  }

  get usedBytes(): number {
    return this.#volume.usedBytes;
  }

  get capacityBytes(): number {
    return this.#volume.capacityBytes;
  }

  set capacityBytes(bytes: number) {
    this.#volume.capacityBytes = bytes;
  }

  /** The bytes of a file as a reader sees them. */
  contentOf(path: string): Buffer {
    const file = this.#volume.tree.getFile(path, "open");
    const bytes = Buffer.alloc(file.size);
    file.read(bytes, 0);
    return bytes;
  }

  /** Overwrites bytes of a file at rest, on the platter and in all caches. The range lies in the file. */
  corrupt(path: string, position: number, bytes: Uint8Array): void {
    const file = this.#volume.tree.getFile(path, "open");
    assert(position >= 0 && position + bytes.length <= file.size, "what is corrupted lies in the file");
    this.#volume.corrupt(file, position, bytes);
  }

  /** Flips bit `bit` (0 is the lowest) of byte `position` at rest. */
  flipBit(path: string, position: number, bit: number): void {
    const byte = this.contentOf(path)[position];
    assert(byte !== undefined, "what is flipped lies in the file");
    this.corrupt(path, position, Uint8Array.of(byte ^ (1 << bit)));
  }

  /** Zeroes a sector at rest, as a disk does that has lost it and doesn't say so. */
  zeroSector(path: string, sector: number): void {
    const start = sector * sectorBytes;
    const file = this.#volume.tree.getFile(path, "open");
    this.corrupt(path, start, new Uint8Array(Math.min(sectorBytes, file.size - start)));
  }

  // What both need.

  /** What an open file may do to its disk. */
  readonly #access: FileAccess = {
    begin: (call) => this.#begin(call),
    delay: (call) => this.#delay(call),
    record: (operation) => this.#record(operation),
    volume: () => this.#volume,
    checkOn: () => this.#checkOn(),
    closed: (file) => {
      if (this.#openFiles.delete(file)) this.#volume.closed(file.data);
    },
  };

  /** A call of which a fault can only let happen nothing or everything. */
  #plain<Result>(call: Call, run: () => Result): Result {
    const fault = this.#begin(call);
    if (fault === undefined) return run();
    assert(fault.code !== undefined, `a fault of ${call.kind} has a code`);
    if (fault.effect === "all") run();
    throw systemError(fault.code, call.kind, call.path);
  }

  /** Counts and records a call, and says what strikes it. */
  #begin(call: Call): Fault | undefined {
    this.#checkOn();
    this.#options.onCall?.(call);
    const fault = this.#faults.strike(call);
    this.#record(fault === undefined ? call : { ...call, fault: fault.code ?? fault.effect ?? "none" });
    return fault;
  }

  #record(operation: Operation): void {
    if (this.#options.isRecording !== false) this.#operations.push(operation);
  }

  async #delay(call: Call): Promise<void> {
    for (const hold of this.#holds) if (hold.holds(call)) await hold.wait();
    // With no latency given, one turn of the microtask queue: an asynchronous call never ends before it returns.
    await this.#options.delay?.(call);
    if (this.#isOff) await new Promise<never>(() => {});
  }

  #checkOn(): void {
    if (this.#isOff) throw systemError("EIO", "disk", "turned off");
  }
}

interface FileAccess {
  begin(call: Call): Fault | undefined;
  delay(call: Call): Promise<void>;
  record(operation: Operation): void;
  volume(): Volume;
  checkOn(): void;
  closed(file: SimFile): void;
}

class SimFile implements DiskFile {
  readonly path: string;
  readonly fd = -1;
  readonly data: SectorFile;
  readonly #access: FileAccess;
  readonly #isWritable: boolean;
  #isClosed = false;

  constructor(access: FileAccess, path: string, data: SectorFile, isWritable: boolean) {
    this.#access = access;
    this.path = path;
    this.data = data;
    this.#isWritable = isWritable;
  }

  size(): number {
    this.#checkOpen("measure");
    const call: Call = { kind: "size", path: this.path };
    throwFault(this.#access.begin(call), call);
    return this.data.size;
  }

  readSync(buffer: Uint8Array, position: number): number {
    const { call, fault } = this.#beginRead(buffer, position);
    return this.#read(call, fault, buffer, position);
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    const { call, fault } = this.#beginRead(buffer, position);
    await this.#access.delay(call);
    return this.#read(call, fault, buffer, position);
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    const { call, fault } = this.#beginWrite(buffers, position);
    this.#write(call, fault, Buffer.concat(buffers), position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    const { call, fault } = this.#beginWrite(buffers, position);
    await this.#access.delay(call);
    this.#write(call, fault, Buffer.concat(buffers), position);
  }

  truncate(size: number): void {
    this.#checkOpen("truncate");
    assertPosition(size);
    const call: Call = { kind: "truncate", path: this.path, position: size };
    const fault = this.#access.begin(call);
    if (!this.#isWritable) throw systemError("EINVAL", "ftruncate", this.path);
    if (fault === undefined || fault.effect === "all") this.#access.volume().truncate(this.data, size);
    throwFault(fault, call);
  }

  async datasync(): Promise<void> {
    this.#checkOpen("sync");
    const call: Call = { kind: "datasync", path: this.path };
    const fault = this.#access.begin(call);
    const sequence = this.data.sequence;
    await this.#access.delay(call);
    const effect = fault === undefined ? "all" : (fault.effect ?? "lost");
    if (effect === "all") this.data.sync(sequence);
    if (effect === "lost") this.data.loseSync(sequence);
    if (effect === "half") this.data.loseSync(sequence, Math.floor(this.data.pendingSectorCount / 2));
    throwFault(fault, call);
    this.#access.record({ ...call, kind: "datasynced" });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#access.record({ kind: "close", path: this.path });
    this.#access.closed(this);
  }

  #beginRead(buffer: Uint8Array, position: number): { call: Call; fault: Fault | undefined } {
    this.#checkOpen("read");
    assertPosition(position);
    const call: Call = { kind: "read", path: this.path, position, length: buffer.length };
    return { call, fault: this.#access.begin(call) };
  }

  #read(call: Call, fault: Fault | undefined, buffer: Uint8Array, position: number): number {
    throwFault(fault, call);
    const readBytes = this.data.read(buffer, position);
    const middle = Math.floor(readBytes / 2);
    const byte = buffer[middle];
    if (fault?.effect === "flipped" && readBytes > 0 && byte !== undefined) buffer[middle] = byte ^ 1;
    return readBytes;
  }

  #beginWrite(buffers: readonly Uint8Array[], position: number): { call: Call; fault: Fault | undefined } {
    this.#checkOpen("write");
    assertPosition(position);
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    const call: Call = { kind: "write", path: this.path, position, length };
    const fault = this.#access.begin(call);
    if (!this.#isWritable) throw systemError("EBADF", "write", this.path);
    return { call, fault };
  }

  /** `bytes` are a copy: the caller may use his buffers again at once. */
  #write(call: Call, fault: Fault | undefined, bytes: Buffer, position: number): void {
    const volume = this.#access.volume();
    const effect = fault === undefined ? "all" : (fault.effect ?? "none");
    switch (effect) {
      case "all":
        volume.write(this.data, bytes, position);
        break;
      case "half":
        volume.write(this.data, bytes.subarray(0, Math.floor(bytes.length / 2)), position);
        break;
      case "lost":
        volume.write(this.data, bytes, position, true);
        break;
      case "misdirected": {
        assert(fault?.to !== undefined, "a misdirected write has a target");
        volume.write(this.data, bytes, position, true);
        const target = fault.to.path === undefined ? this.data : volume.tree.getFile(fault.to.path, "open");
        target.writeUnseen(bytes, fault.to.position);
        break;
      }
      case "none":
      case "flipped":
        break;
      default:
        unreachable(effect);
    }
    throwFault(fault, call);
  }

  #checkOpen(attempt: string): void {
    if (this.#isClosed) throw fileClosedError(attempt, this.path);
    this.#access.checkOn();
  }
}

function throwFault(fault: Fault | undefined, call: Call): void {
  if (fault?.code !== undefined) throw systemError(fault.code, call.kind, call.path);
}
