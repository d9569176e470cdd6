import fs from "node:fs";
import { dirname, resolve } from "node:path";
import { fileClosedError, assertPosition } from "./disk-error.ts";
import { type Disk, type DiskFile, systemErrorCode } from "./disk.ts";
import { diskRetryMaxCount } from "./limits.ts";
import { lockFile } from "./lock-file.ts";
import { WritePieces } from "./write-pieces.ts";

/**
 * The real disk. Data of a log is nobody's business but its owner's and, for backup and inspection, his group's: files are
 * made 0640 and directories 0750, and the umask takes away more where it is set so.
 */
export const nodeDisk: Disk = {
  open(path, mode) {
    return new NodeFile(path, fs.openSync(path, openFlags[mode], fileMode));
  },

  list(directory) {
    // By code unit, as on the other disks: the order must not hang on the locale.
    return fs.readdirSync(directory).sort();
  },

  size(path) {
    const stats = fs.statSync(path, { throwIfNoEntry: false });
    return stats?.isFile() === true ? stats.size : undefined;
  },

  isReadableByOthers(path) {
    return ((fs.statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o004) !== 0;
  },

  isDirectory(path) {
    return fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  },

  async makeDirectory(directory) {
    // Resolved, so that the walk up ends at the root and not at a "." that says nothing of its parents.
    for (const missing of missingDirectories(resolve(directory))) {
      try {
        fs.mkdirSync(missing, directoryMode);
      } catch (error) {
        // Somebody else made it meanwhile: theirs or ours, it has to be durable before it is built upon.
        if (systemErrorCode(error) !== "EEXIST" || !nodeDisk.isDirectory(missing)) throw error;
      }
      await nodeDisk.syncDirectory(dirname(missing));
    }
  },

  rename(from, to) {
    fs.renameSync(from, to);
  },

  remove(path) {
    ignoreMissing(() => fs.unlinkSync(path));
  },

  removeDirectory(directory) {
    ignoreMissing(() => fs.rmdirSync(directory));
  },

  async syncDirectory(directory) {
    const fd = await settle<number>((done) => fs.open(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, done));
    try {
      await settle<void>((done) => fs.fsync(fd, done));
    } finally {
      await settle<void>((done) => fs.close(fd, done));
    }
  },

  lock(path) {
    return lockFile(path);
  },

  canMap(directory) {
    if (process.platform !== "linux") return false;
    try {
      return mappableFileSystems.has(fs.statfsSync(directory).type);
    } catch {
      // What can't be asked is unknown, and the unknown isn't mapped.
      return false;
    }
  },

  get openFilesMaxCount() {
    openFilesMaxCount ??= readOpenFilesLimit();
    return openFilesMaxCount;
  },
};

let openFilesMaxCount: number | undefined;

/** Of the process, as Linux tells it. Node has raised it to the hard limit when it started. */
function readOpenFilesLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8")) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    // Another system: what can't be asked isn't known.
    return undefined;
  }
}

const fileMode = 0o640;
const directoryMode = 0o750;

const openFlags = {
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
} as const;

/**
 * File systems that write in place, by the magic number of statfs(2): a store into a mapping of written blocks needs no new
 * block there, so it can't meet a full disk. On the others (btrfs, zfs, f2fs, overlayfs, network and FUSE ones) that is
 * a SIGBUS, which no program survives, so whatever isn't known to be safe is left out.
 */
const mappableFileSystems: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x01021994, // tmpfs
]);

class NodeFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  #isClosed = false;
  /** Asynchronous calls under way. While there are any, the descriptor stays open: closed, its number could be given to another file. */
  #pendingCount = 0;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  get fd(): number {
    return this.#isClosed ? -1 : this.#fd;
  }

  size(): number {
    this.#checkOpen("measure");
    return fs.fstatSync(this.#fd).size;
  }

  readSync(buffer: Uint8Array, position: number): number {
    this.#checkOpen("read");
    assertPosition(position);
    let readBytes = 0;
    while (readBytes < buffer.length) {
      const start = readBytes;
      const got = retrySync(() => fs.readSync(this.#fd, buffer, start, buffer.length - start, position + start));
      if (got === 0) break;
      readBytes += got;
    }
    return readBytes;
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return this.#pending("read", async () => {
      assertPosition(position);
      let readBytes = 0;
      while (readBytes < buffer.length) {
        const start = readBytes;
        const got = await retry<number>((done) =>
          fs.read(this.#fd, buffer, start, buffer.length - start, position + start, done),
        );
        if (got === 0) break;
        readBytes += got;
      }
      return readBytes;
    });
  }

  writeSync(buffers: readonly Uint8Array[], position: number): void {
    this.#checkOpen("write");
    assertPosition(position);
    const pieces = new WritePieces(buffers);
    for (let piece = pieces.next(); piece !== undefined; piece = pieces.next()) {
      const { buffers: pieceBuffers, start } = piece;
      pieces.wrote(
        retrySync(() => fs.writevSync(this.#fd, pieceBuffers, position + start)),
        this.path,
      );
    }
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.#pending("write", async () => {
      assertPosition(position);
      const pieces = new WritePieces(buffers);
      for (let piece = pieces.next(); piece !== undefined; piece = pieces.next()) {
        const { buffers: pieceBuffers, start } = piece;
        pieces.wrote(await retry<number>((done) => fs.writev(this.#fd, pieceBuffers, position + start, done)), this.path);
      }
    });
  }

  truncate(size: number): void {
    this.#checkOpen("truncate");
    assertPosition(size);
    fs.ftruncateSync(this.#fd, size);
  }

  datasync(): Promise<void> {
    // Never called again on an error, not even on EINTR: after a failed sync the next one says nothing about the lost pages.
    return this.#pending("sync", () => settle<void>((done) => fs.fdatasync(this.#fd, done)));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#pendingCount === 0) fs.closeSync(this.#fd);
  }

  #checkOpen(attempt: string): void {
    if (this.#isClosed) throw fileClosedError(attempt, this.path);
  }

  async #pending<Result>(attempt: string, run: () => Promise<Result>): Promise<Result> {
    this.#checkOpen(attempt);
    this.#pendingCount += 1;
    try {
      return await run();
    } finally {
      this.#pendingCount -= 1;
      if (this.#isClosed && this.#pendingCount === 0) this.#closeLate();
    }
  }

  #closeLate(): void {
    try {
      fs.closeSync(this.#fd);
    } catch {
      // Linux has given the descriptor back all the same, and what had to be durable was synced, or known not to be, before.
    }
  }
}

function missingDirectories(directory: string): string[] {
  const missing: string[] = [];
  for (let path = directory; !nodeDisk.isDirectory(path); path = dirname(path)) {
    missing.unshift(path);
    if (path === dirname(path)) break;
  }
  return missing;
}

function ignoreMissing(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
}

type Callback<Result> = (error: NodeJS.ErrnoException | null, result: Result) => void;

/** One callback call of node:fs as a promise: half the price of FileHandle's, and its descriptor is ours alone. */
function settle<Result>(start: (done: Callback<Result>) => void): Promise<Result> {
  return new Promise((resolvePromise, reject) => {
    start((error, result) => {
      if (error !== null) reject(error);
      else resolvePromise(result);
    });
  });
}

async function retry<Result>(start: (done: Callback<Result>) => void): Promise<Result> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await settle(start);
    } catch (error) {
      if (!isPassing(error) || retries === diskRetryMaxCount) throw error;
    }
  }
}

function retrySync<Result>(run: () => Result): Result {
  for (let retries = 0; ; retries += 1) {
    try {
      return run();
    } catch (error) {
      if (!isPassing(error) || retries === diskRetryMaxCount) throw error;
    }
  }
}

function isPassing(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === "EINTR" || code === "EAGAIN";
}
