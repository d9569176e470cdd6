import type { Clock } from "./clock.ts";
import { fileClosedError } from "./disk-error.ts";
import type { Disk, DiskFile, DiskLock } from "./disk.ts";
import { diskSyncsMaxCount } from "./cluster-limits.ts";
import { SyncGate } from "./sync-gate.ts";

export interface GatedDiskOptions {
  /** Default `diskSyncsMaxCount`. */
  readonly syncsMaxCount?: number;
  /** Whose syncs go first. */
  readonly isUrgent?: (path: string) => boolean;
}

/**
 * A disk of which at most a few syncs run at a time, of files and directories together (`SyncGate`). Everything else goes through as
 * it is. A sync that is asked for while another one of the same open file waits is that one: it covers what was written before it
 * begins. So as many wait as there are files and directories, however often they are asked for.
 */
export class GatedDisk implements Disk {
  readonly #inner: Disk;
  readonly #gate: SyncGate;
  readonly #isUrgent: (path: string) => boolean;
  /** Syncs of directories that wait. */
  readonly #waiting = new Map<string, Promise<void>>();

  constructor(inner: Disk, clock: Clock, options: GatedDiskOptions = {}) {
    this.#inner = inner;
    this.#gate = new SyncGate(clock, options.syncsMaxCount ?? diskSyncsMaxCount);
    this.#isUrgent = options.isUrgent ?? (() => false);
  }

  /** For how long the oldest sync under way has been running; 0 when none is. What waits its turn isn't under way. */
  get oldestSyncMs(): number {
    return this.#gate.oldestMs;
  }

  get syncsRunningCount(): number {
    return this.#gate.runningCount;
  }

  get syncsWaitingCount(): number {
    return this.#gate.waitingCount;
  }

  open(path: string, mode: "read" | "write" | "create"): DiskFile {
    return new GatedFile(this.#inner.open(path, mode), (file, sync) => this.#gate.run(file, this.#isUrgent(file), sync));
  }

  list(directory: string): string[] {
    return this.#inner.list(directory);
  }

  size(path: string): number | undefined {
    return this.#inner.size(path);
  }

  isDirectory(path: string): boolean {
    return this.#inner.isDirectory(path);
  }

  makeDirectory(directory: string): Promise<void> {
    // Syncs the parents of what it makes: as one turn.
    return this.#gate.run(directory, this.#isUrgent(directory), () => this.#inner.makeDirectory(directory));
  }

  rename(from: string, to: string): void {
    this.#inner.rename(from, to);
  }

  remove(path: string): void {
    this.#inner.remove(path);
  }

  removeDirectory(directory: string): void {
    this.#inner.removeDirectory(directory);
  }

  syncDirectory(directory: string): Promise<void> {
    return joinWaiting(this.#waiting, directory, (started) =>
      this.#gate.run(directory, this.#isUrgent(directory), () => {
        started();
        return this.#inner.syncDirectory(directory);
      }),
    );
  }

  lock(path: string): DiskLock {
    return this.#inner.lock(path);
  }

  canMap(directory: string): boolean {
    return this.#inner.canMap(directory);
  }

  get openFilesMaxCount(): number | undefined {
    return this.#inner.openFilesMaxCount;
  }
}

/** What waits under this key, or what `run` begins to wait for; from when it tells that it has started, nobody joins it any more. */
function joinWaiting<Key>(
  waiting: Map<Key, Promise<void>>,
  key: Key,
  run: (started: () => void) => Promise<void>,
): Promise<void> {
  const known = waiting.get(key);
  if (known !== undefined) return known;
  let hasStarted = false;
  const promise = run(() => {
    hasStarted = true;
    waiting.delete(key);
  });
  // Where there is room it has started before it could be joined.
  if (!hasStarted) waiting.set(key, promise);
  return promise;
}

class GatedFile implements DiskFile {
  readonly #inner: DiskFile;
  readonly #run: (path: string, sync: () => Promise<void>) => Promise<void>;
  readonly #waiting = new Map<"sync", Promise<void>>();
  /** Syncs that wait or run. While there are any, the file below stays open, as it would without a gate. */
  #syncCount = 0;
  #isClosed = false;

  constructor(inner: DiskFile, run: (path: string, sync: () => Promise<void>) => Promise<void>) {
    this.#inner = inner;
    this.#run = run;
  }

  get path(): string {
    return this.#inner.path;
  }

  get fd(): number {
    return this.#isClosed ? -1 : this.#inner.fd;
  }

  size(): number {
    this.#checkOpen("measure");
    return this.#inner.size();
  }

  readSync(buffer: Uint8Array, position: number): number {
    this.#checkOpen("read");
    return this.#inner.readSync(buffer, position);
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    this.#checkOpen("read");
    return await this.#inner.read(buffer, position);
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    this.#checkOpen("write");
    this.#inner.writeSync(buffers, position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.#checkOpen("write");
    await this.#inner.write(buffers, position);
  }

  truncate(size: number): void {
    this.#checkOpen("truncate");
    this.#inner.truncate(size);
  }

  async datasync(): Promise<void> {
    this.#checkOpen("sync");
    await joinWaiting(this.#waiting, "sync", (started) => this.#runSync(started));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#syncCount === 0) this.#inner.close();
  }

  async #runSync(started: () => void): Promise<void> {
    this.#syncCount += 1;
    try {
      await this.#run(this.#inner.path, () => {
        started();
        return this.#inner.datasync();
      });
    } finally {
      this.#syncCount -= 1;
      if (this.#isClosed && this.#syncCount === 0) this.#closeLate();
    }
  }

  #closeLate(): void {
    try {
      this.#inner.close();
    } catch {
      // Whoever closed it is gone; what had to be durable was synced, or is known not to be.
    }
  }

  #checkOpen(attempt: string): void {
    if (this.#isClosed) throw fileClosedError(attempt, this.path);
  }
}
