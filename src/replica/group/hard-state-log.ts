import { dirname } from "node:path";
import { assert } from "../../base/assert.ts";
import { type Disk, type DiskFile, systemErrorCode } from "../../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { hardStateMaxBytes } from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import { corrupt, encodeFile, type HardStateHead, readFile, seedOf } from "./hard-state-file.ts";
import { encodeChange, encodeRound, type HardStateChanges } from "./hard-state-round.ts";
import type { HardStateSlot, SavedHardState } from "./hard-state-slot.ts";

export interface HardStateLogOptions {
  /** Of the directory: the file of another one isn't read. */
  readonly storageId: string;
  readonly logger: Logger;
  /** Default true. False where the node is known to have had groups: then a missing file is a loss, and never an empty one. */
  readonly createIfMissing?: boolean;
  /** Default `hardStateCopyMinBytes`. */
  readonly copyMinBytes?: number;
}

/**
 * Term and vote of all groups of a node, in one file (docs/format.md). What must never be forgotten is small and seldom, but a node
 * that starts, or loses a peer, votes in a thousand groups at once: a file each would be a thousand syncs. So what all groups write
 * while a sync runs, or in one turn, goes together: one round, one sync. A round isn't begun before the one before it is synced,
 * which is what tells a tear from rot when the file is read.
 *
 * After a failed write or sync nobody knows what is on the disk: then nothing is written any more, and every write is refused with
 * DISK_FAILED. A group whose write was refused may not answer for that term or vote.
 */
export class HardStateLog {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #options: HardStateLogOptions;
  readonly #slots = new Map<string, Slot>();
  /** Groups whose removal isn't durable yet. */
  readonly #removing = new Set<string>();
  /** What is durable, by group. */
  readonly #states: Map<string, SavedHardState>;
  #file: DiskFile;
  #head: HardStateHead;
  /** Of the last round. */
  #sequence: number;
  /** Behind the last round, in each copy. */
  #end: number;
  /** What gathers for the next round. */
  #waiting: Round | undefined;
  #running: Promise<void> | undefined;
  #poison: ProglogError | undefined;
  #isClosed = false;
  #syncCount = 0;

  private constructor(disk: Disk, path: string, options: HardStateLogOptions, opened: Opened) {
    this.#disk = disk;
    this.#path = path;
    this.#options = options;
    this.#states = opened.states;
    this.#file = opened.file;
    this.#head = opened.head;
    this.#sequence = opened.sequence;
    this.#end = opened.end;
  }

  /**
   * Opens the file, or makes it. What it says is durable when this resolves: after a process was killed, or a sync failed, what is
   * read may be in memory alone, so all of it is written and synced again. Throws MANIFEST_CORRUPT where a vote may be lost,
   * UNSUPPORTED_FORMAT, DISK_FULL, DISK_FAILED.
   */
  static async open(disk: Disk, path: string, options: HardStateLogOptions): Promise<HardStateLog> {
    try {
      disk.remove(temporaryPathOf(path));
      const size = disk.size(path);
      if (size !== undefined) return new HardStateLog(disk, path, options, await openFile(disk, path, size, options));
      if (options.createIfMissing === false) throw corrupt(path, "it is missing, and this node had groups");
      const states = new Map<string, SavedHardState>();
      return new HardStateLog(disk, path, options, {
        states,
        ...(await makeFile(disk, path, { ...options, generation: 1 }, states)),
      });
    } catch (error) {
      throw isProglogError(error) ? error : diskError(`open the hard states ${path}`, error);
    }
  }

  /** The groups of which something is kept. */
  get groupIds(): readonly string[] {
    return [...this.#states.keys()];
  }

  /** Of the groups that were opened here and aren't removed. */
  get slotCount(): number {
    return this.#slots.size;
  }

  /** Syncs since it was opened. */
  get syncCount(): number {
    return this.#syncCount;
  }

  /** Why nothing is written any more. */
  get poison(): ProglogError | undefined {
    return this.#poison;
  }

  slot(groupId: string): HardStateSlot {
    // Who asks for one before a removal is durable begins anew all the same: rounds keep their order.
    const saved = this.#removing.has(groupId) ? undefined : this.#states.get(groupId);
    return this.#slots.get(groupId) ?? this.#addSlot(groupId, saved);
  }

  /**
   * The slot of a replica that is being opened. One that was closed before it may have been writing: that becomes durable, or doesn't, before the
   * next one begins. By what wasn't durable yet it would vote once more in a term in which it has voted.
   */
  async openSlot(groupId: string): Promise<HardStateSlot> {
    const before = this.#slots.get(groupId);
    before?.end();
    await before?.settled();
    return this.#addSlot(groupId, this.#states.get(groupId));
  }

  /**
   * Forgets a group whose replica is deleted, durably. Only for one that never comes back under the storage id it had in it (rule 12
   * of docs/raft.md). Nothing is to be written by the slot it had any more.
   */
  async remove(groupId: string): Promise<void> {
    const slot = this.#slots.get(groupId);
    if (slot === undefined && !this.#states.has(groupId)) return;
    slot?.end();
    this.#slots.delete(groupId);
    this.#removing.add(groupId);
    try {
      await this.#write(groupId, undefined);
    } finally {
      this.#removing.delete(groupId);
    }
  }

  #addSlot(groupId: string, saved: SavedHardState | undefined): Slot {
    const slot = new Slot(saved, (state) => this.#write(groupId, state));
    this.#slots.set(groupId, slot);
    return slot;
  }

  /** Waits for what was asked to be written. Closing twice is fine. */
  async close(): Promise<void> {
    if (this.#isClosed) return await this.#running;
    this.#isClosed = true;
    await this.#running;
    await this.#vouch();
    this.#file.close();
  }

  #write(groupId: string, state: SavedHardState | undefined): Promise<void> {
    if (this.#poison !== undefined) return Promise.reject(this.#poison);
    if (this.#isClosed) {
      return Promise.reject(new ProglogError("LOG_CLOSED", `Cannot write a hard state to ${this.#path}: it is closed`));
    }
    // Encoded here too, so that a name too long for the file is the wrong of who brings it, and not of the whole round.
    encodeChange(groupId, state);
    this.#waiting ??= new Round();
    this.#waiting.changes.set(groupId, state);
    const { promise } = this.#waiting;
    this.#running ??= this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    // A turn of the microtask queue first: what all groups write in one go is one round.
    await Promise.resolve();
    for (let round = this.#takeRound(); round !== undefined; round = this.#takeRound()) {
      try {
        if (this.#poison !== undefined) throw this.#poison;
        await this.#commit(round.changes);
        for (const [groupId, state] of round.changes) this.#slots.get(groupId)?.saveAs(state);
        round.resolve();
      } catch (error) {
        round.reject(error);
      }
    }
    this.#running = undefined;
  }

  #takeRound(): Round | undefined {
    const round = this.#waiting;
    this.#waiting = undefined;
    return round;
  }

  /** Makes a round durable. What it throws is coded. */
  async #commit(changes: HardStateChanges): Promise<void> {
    const bytes = encodeRound(this.#sequence + 1, changes, seedOf(this.#head));
    if (this.#end + bytes.length > this.#head.copyBytes) {
      await this.#writeAnew(changes);
    } else {
      try {
        await this.#writeRound(bytes);
      } catch (error) {
        throw this.#poisonBy(error);
      }
    }
    applyChanges(this.#states, changes);
  }

  async #writeRound(bytes: Buffer): Promise<void> {
    for (const start of [0, this.#head.copyBytes]) this.#file.writeSync([bytes], start + this.#end);
    await this.#file.datasync();
    this.#syncCount += 1;
    this.#sequence += 1;
    this.#end += bytes.length;
  }

  /** Writes what is alive into a new file. Where there is no room for one nothing has changed, and it may be tried again. */
  async #writeAnew(changes: HardStateChanges): Promise<void> {
    const states = new Map(this.#states);
    applyChanges(states, changes);
    try {
      const made = await makeFile(this.#disk, this.#path, { ...this.#options, generation: this.#head.generation + 1 }, states);
      this.#file.close();
      this.#file = made.file;
      this.#head = made.head;
      this.#sequence = made.sequence;
      this.#end = made.end;
      this.#syncCount += 1;
    } catch (error) {
      if (isProglogError(error, "DISK_FULL")) throw error;
      throw this.#poisonBy(error);
    }
  }

  /** A last round without changes says that the one before it was synced: should both copies of that rot, it isn't taken for a tear. */
  async #vouch(): Promise<void> {
    const bytes = encodeRound(this.#sequence + 1, new Map(), seedOf(this.#head));
    if (this.#poison !== undefined || this.#end + bytes.length > this.#head.copyBytes) return;
    try {
      await this.#writeRound(bytes);
    } catch (error) {
      this.#options.logger.warn(
        { file: this.#path, reason: messageOf(error) },
        "the hard states couldn't be closed as they should",
      );
    }
  }

  #poisonBy(error: unknown): ProglogError {
    this.#poison ??= new ProglogError("DISK_FAILED", `Cannot write hard states to ${this.#path}: ${messageOf(error)}`, {
      hint: "This node can't vote or lead any more. Replace its disk, or start it again if the disk is sound.",
      cause: error,
    });
    this.#options.logger.error({ file: this.#path, reason: messageOf(error) }, "hard states can't be written any more");
    return this.#poison;
  }
}

interface Opened {
  readonly file: DiskFile;
  readonly head: HardStateHead;
  readonly states: Map<string, SavedHardState>;
  readonly sequence: number;
  readonly end: number;
}

/** The changes of a round, and the promise of all who wait for it. Of a group only the newest state is kept. */
class Round {
  readonly changes = new Map<string, SavedHardState | undefined>();
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.promise = promise;
    this.resolve = resolve;
    this.reject = reject;
  }
}

class Slot implements HardStateSlot {
  readonly #write: (state: SavedHardState) => Promise<void>;
  #saved: SavedHardState | undefined;
  /** The last one asked for. */
  #newest: SavedHardState | undefined;
  #isEnded = false;
  #lastWrite: Promise<void> = Promise.resolve();

  constructor(saved: SavedHardState | undefined, write: (state: SavedHardState) => Promise<void>) {
    this.#saved = saved;
    this.#newest = saved;
    this.#write = write;
  }

  get saved(): SavedHardState | undefined {
    return this.#saved;
  }

  async write(state: SavedHardState): Promise<void> {
    assert(!this.#isEnded, "a replica that was closed, or removed, writes no hard state");
    const { term, vote } = this.#newest ?? { term: 0, vote: undefined };
    assert(state.term >= term, "terms don't fall");
    const isKept = vote === undefined || (vote.nodeId === state.vote?.nodeId && vote.storageId === state.vote.storageId);
    assert(state.term > term || isKept, "a vote isn't taken back");
    // Copied: what is written a turn later is what was asked for.
    const { nodeId = "", storageId = "" } = state.vote ?? {};
    this.#newest = { term: state.term, vote: state.vote === undefined ? undefined : { nodeId, storageId } };
    const written = this.#write(this.#newest);
    const settle = (): void => {};
    this.#lastWrite = written.then(settle, settle);
    await written;
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#lastWrite;
  }

  saveAs(state: SavedHardState | undefined): void {
    this.#saved = state;
  }

  end(): void {
    this.#isEnded = true;
  }
}

function applyChanges(states: Map<string, SavedHardState>, changes: HardStateChanges): void {
  for (const [groupId, state] of changes) {
    if (state === undefined) states.delete(groupId);
    else states.set(groupId, state);
  }
}

const temporaryPathOf = (path: string): string => `${path}.tmp`;

/** Reads the file, and makes what it says durable again in place: one copy after the other, so that one is whole at any time. */
async function openFile(disk: Disk, path: string, size: number, options: HardStateLogOptions): Promise<Opened> {
  if (size > hardStateMaxBytes) throw corrupt(path, `it has ${size} bytes, and at most ${hardStateMaxBytes} are possible`);
  const file = disk.open(path, "write");
  try {
    const copies = readCopies(file, size);
    const found = readFile(path, copies, options.storageId);
    const { head, states, image, cutBytes, repairedCount } = found;
    let { sequence, end } = found;
    if (cutBytes > 0) options.logger.warn({ file: path, cutBytes }, "a write of hard states that a crash had torn was cut off");
    if (repairedCount > 0)
      options.logger.warn({ file: path, repairedCount }, "hard states were bad in one of two copies; the other counts");
    const vouch = encodeRound(sequence + 1, new Map(), seedOf(head));
    if (found.lastCount > 0 && end + vouch.length <= head.copyBytes) {
      vouch.copy(image, end);
      sequence += 1;
      end += vouch.length;
    }
    for (const start of [0, head.copyBytes]) {
      await file.write([image], start);
      await file.datasync();
    }
    return { file, head, states, sequence, end };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Both halves, of which one may be unreadable: undefined. Throws where both are. */
function readCopies(file: DiskFile, size: number): readonly (Buffer | undefined)[] {
  const failures: unknown[] = [];
  const copies = [0, 1].map((number) => {
    const bytes = Buffer.alloc(Math.floor(size / 2));
    try {
      file.readSync(bytes, number * bytes.length);
      return bytes;
    } catch (error) {
      failures.push(error);
      return undefined;
    }
  });
  if (failures.length === copies.length) throw failures[0];
  return copies;
}

/** Puts a file that says `states` in the place of what is there, durably. Throws DISK_FULL where the old one stands as it was. */
async function makeFile(
  disk: Disk,
  path: string,
  options: HardStateLogOptions & { readonly generation: number },
  states: ReadonlyMap<string, SavedHardState>,
): Promise<Omit<Opened, "states">> {
  const { head, bytes, end } = encodeFile(options, states, options.copyMinBytes);
  const temporaryPath = temporaryPathOf(path);
  let file: DiskFile | undefined;
  let isReplaced = false;
  try {
    disk.remove(temporaryPath);
    file = disk.open(temporaryPath, "create");
    await file.write([bytes], 0);
    await file.datasync();
    isReplaced = true;
    disk.rename(temporaryPath, path);
    await disk.syncDirectory(dirname(path));
    return { file, head, sequence: 1, end };
  } catch (error) {
    file?.close();
    if (!isReplaced) removeQuietly(disk, temporaryPath);
    if (isReplaced) throw diskFailed(`write the hard states ${path}`, error);
    throw diskError(`write the hard states ${path}`, error);
  }
}

function removeQuietly(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch {
    // It is removed before the next one is made, and at the next opening.
  }
}

function diskError(attempt: string, error: unknown): ProglogError {
  const isFull = ["ENOSPC", "EDQUOT"].includes(systemErrorCode(error) ?? "");
  return isFull
    ? new ProglogError("DISK_FULL", `Cannot ${attempt}: the disk is full`, { cause: error })
    : diskFailed(attempt, error);
}

function diskFailed(attempt: string, error: unknown): ProglogError {
  return new ProglogError("DISK_FAILED", `Cannot ${attempt}: ${messageOf(error)}`, { cause: error });
}
