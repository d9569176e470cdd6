import type { Disk, DiskFile } from "../base/disk.ts";
import { openFilesMaxCount } from "../base/limits.ts";

/**
 * Read descriptors of sealed files, shared by all logs of a process, the least recently used closed first: a history of 100,000
 * segments must fit under a limit of 1,024 descriptors.
 */
export class OpenFiles {
  readonly #maxCount: number;
  // A Map keeps insertion order, so its first idle entry is the least recently used one.
  readonly #files = new Map<string, CachedFile>();

  constructor(maxCount: number = openFilesMaxCount) {
    this.#maxCount = maxCount;
  }

  get count(): number {
    return this.#files.size;
  }

  /** Opens `path`, or hands out the descriptor that is open already. Every `acquire` is followed by one `release`. */
  acquire(disk: Disk, path: string): DiskFile {
    const cached = this.#files.get(path);
    if (cached !== undefined) {
      this.#files.delete(path);
      this.#files.set(path, cached);
      cached.users += 1;
      return cached.file;
    }
    this.#closeIdle(this.#maxCount - 1);
    const file = disk.open(path, "read");
    this.#files.set(path, { file, users: 1 });
    return file;
  }

  release(file: DiskFile): void {
    const cached = this.#files.get(file.path);
    // A forgotten file is closed by its last user.
    if (cached?.file !== file) {
      const orphan = this.#orphans.get(file);
      if (orphan === undefined) return;
      orphan.users -= 1;
      if (orphan.users === 0) {
        this.#orphans.delete(file);
        file.close();
      }
      return;
    }
    cached.users -= 1;
  }

  readonly #orphans = new Map<DiskFile, CachedFile>();

  /** The file at `path` was removed or replaced: its descriptor is closed as soon as nobody reads from it. */
  forget(path: string): void {
    const cached = this.#files.get(path);
    if (cached === undefined) return;
    this.#files.delete(path);
    if (cached.users === 0) cached.file.close();
    else this.#orphans.set(cached.file, cached);
  }

  /** Forgets every file whose path begins with `prefix`. */
  forgetAll(prefix: string): void {
    for (const path of [...this.#files.keys()]) if (path.startsWith(prefix)) this.forget(path);
  }

  #closeIdle(keepCount: number): void {
    if (this.#files.size <= keepCount) return;
    for (const [path, cached] of this.#files) {
      if (cached.users > 0) continue;
      this.#files.delete(path);
      cached.file.close();
      if (this.#files.size <= keepCount) return;
    }
  }
}

interface CachedFile {
  readonly file: DiskFile;
  users: number;
}
