import { posix } from "node:path";
import { assertPosition, fileClosedError, lockedError, systemError } from "./disk-error.ts";
import type { Disk, DiskFile, DiskLock } from "./disk.ts";
import { NameTree, TreeDirectory } from "./name-tree.ts";

/**
 * A disk in memory, for the in-memory log and for tests: the rules and errors of a real one, whole files in growing buffers,
 * and a sync that has nothing to do. What is written here is gone with the process.
 */
export function createMemoryDisk(): Disk {
  return new MemoryDisk();
}

class MemoryDisk implements Disk {
  readonly #tree = new NameTree<MemoryFile>();
  readonly #lockedPaths = new Set<string>();

  open(path: string, mode: "read" | "write" | "create"): DiskFile {
    const file = mode === "create" ? this.#tree.create(path, () => new MemoryFile()) : this.#tree.getFile(path, "open");
    return new OpenMemoryFile(path, file, mode !== "read");
  }

  list(directory: string): string[] {
    return [...this.#tree.getDirectory(directory, "scandir").entries.keys()].sort();
  }

  size(path: string): number | undefined {
    const node = this.#tree.find(path);
    return node instanceof MemoryFile ? node.size : undefined;
  }

  isDirectory(path: string): boolean {
    return this.#tree.find(path) instanceof TreeDirectory;
  }

  async makeDirectory(directory: string): Promise<void> {
    for (const missing of this.#tree.missingDirectories(directory)) this.#tree.makeDirectory(missing);
  }

  rename(from: string, to: string): void {
    this.#tree.rename(from, to);
  }

  remove(path: string): void {
    this.#tree.remove(path);
  }

  removeDirectory(directory: string): void {
    this.#tree.removeDirectory(directory);
  }

  async syncDirectory(directory: string): Promise<void> {
    this.#tree.getDirectory(directory, "open");
  }

  lock(path: string): DiskLock {
    const lockPath = posix.resolve("/", path);
    this.#tree.getDirectory(posix.dirname(lockPath), "stat");
    if (this.#lockedPaths.has(lockPath)) throw lockedError(lockPath, process.pid);
    this.#lockedPaths.add(lockPath);
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
}

/** The bytes of a file. It lives on under an open file when its name is removed or given to another. */
class MemoryFile {
  #buffer = Buffer.alloc(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  read(target: Uint8Array, position: number): number {
    const end = Math.min(position + target.length, this.#size);
    if (position >= end) return 0;
    target.set(this.#buffer.subarray(position, end));
    return end - position;
  }

  write(buffers: readonly Uint8Array[], position: number): void {
    const end = buffers.reduce((sum, buffer) => sum + buffer.length, position);
    // As with write(2), writing no bytes far behind the end leaves the size as it is.
    if (end === position) return;
    this.#reserve(end);
    let start = position;
    for (const buffer of buffers) {
      this.#buffer.set(buffer, start);
      start += buffer.length;
    }
    this.#size = Math.max(this.#size, end);
  }

  truncate(size: number): void {
    this.#reserve(size);
    // Bytes behind the end are zero at all times: so a file that grows again shows none of its past.
    if (size < this.#size) this.#buffer.fill(0, size, this.#size);
    this.#size = size;
  }

  /** Room for `size` bytes, doubling, so that appending costs the same however long the file is. */
  #reserve(size: number): void {
    if (size <= this.#buffer.length) return;
    const grown = Buffer.alloc(Math.max(size, 2 * this.#buffer.length, 4096));
    grown.set(this.#buffer.subarray(0, this.#size));
    this.#buffer = grown;
  }
}

class OpenMemoryFile implements DiskFile {
  readonly path: string;
  readonly fd = -1;
  readonly #file: MemoryFile;
  readonly #isWritable: boolean;
  #isClosed = false;

  constructor(path: string, file: MemoryFile, isWritable: boolean) {
    this.path = path;
    this.#file = file;
    this.#isWritable = isWritable;
  }

  size(): number {
    this.#checkOpen("measure");
    return this.#file.size;
  }

  readSync(buffer: Uint8Array, position: number): number {
    this.#checkOpen("read");
    assertPosition(position);
    return this.#file.read(buffer, position);
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return this.readSync(buffer, position);
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    this.#checkOpen("write");
    assertPosition(position);
    if (!this.#isWritable) throw systemError("EBADF", "write", this.path);
    this.#file.write(buffers, position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.writeSync(buffers, position);
  }

  truncate(size: number): void {
    this.#checkOpen("truncate");
    assertPosition(size);
    if (!this.#isWritable) throw systemError("EINVAL", "ftruncate", this.path);
    this.#file.truncate(size);
  }

  async datasync(): Promise<void> {
    this.#checkOpen("sync");
  }

  close(): void {
    this.#isClosed = true;
  }

  #checkOpen(attempt: string): void {
    if (this.#isClosed) throw fileClosedError(attempt, this.path);
  }
}
