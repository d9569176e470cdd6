/**
 * The disk as the log sees it: five kinds of file call and a few on directories. It is handed in everywhere, so that the same
 * engine runs on a real directory, in memory, and on the simulator's disk, which tears, loses, flips and fills up.
 *
 * Two things are deliberate. Small hot calls are synchronous (a 4 KiB write takes 3 µs on the loop and 50 µs through the
 * thread pool); whatever waits for the device is asynchronous. And `append` has no place here: every write says where.
 */
export interface Disk {
  /** Opens an existing file, or creates it when `mode` is "create" (then it must not exist). Throws ENOENT or EEXIST as Node does. */
  open(path: string, mode: "read" | "write" | "create"): DiskFile;
  /** Names in a directory, sorted; an absent directory throws ENOENT. */
  list(directory: string): string[];
  /** Size in bytes, or undefined when there is no such file. */
  size(path: string): number | undefined;
  /** Whether others than the file's owner and group may read it. Absent where nobody else is there. */
  isReadableByOthers?(path: string): boolean;
  isDirectory(path: string): boolean;
  /** Makes a directory and its parents; fine when it is there. Syncs the parent of each directory it made. */
  makeDirectory(directory: string): Promise<void>;
  rename(from: string, to: string): void;
  /** Removes a file; fine when it isn't there. */
  remove(path: string): void;
  /** Removes an empty directory; fine when it isn't there. */
  removeDirectory(directory: string): void;
  /** Makes created, renamed and removed names in `directory` durable. */
  syncDirectory(directory: string): Promise<void>;
  /**
   * Takes the lock of a directory for this process, by file `path`. The operating system drops it when the process dies.
   * Throws LOG_LOCKED, with the holder's pid in message and details, when somebody else holds it.
   */
  lock(path: string): DiskLock;
  /** True where a file of this disk may be mapped into memory: a real one, on a file system that writes in place. */
  canMap(directory: string): boolean;
  /** How many files the process may have open; undefined where nobody says. */
  readonly openFilesMaxCount?: number | undefined;
}

export interface DiskFile {
  readonly path: string;
  /** Descriptor for mapping; -1 where there is none. */
  readonly fd: number;
  size(): number;
  /** Reads up to `buffer.length` bytes; fewer only at the end of the file. Returns how many. */
  readSync(buffer: Uint8Array, position: number): number;
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Writes all buffers one behind the other from `position`, retrying short writes, or throws as Node does. */
  writeSync(buffers: readonly Uint8Array[], position: number): void;
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  truncate(size: number): void;
  /** fdatasync: data, and the size where it changed, are durable when it resolves. */
  datasync(): Promise<void>;
  /** Closing twice is fine. */
  close(): void;
}

export interface DiskLock {
  release(): void;
}

/** The `code` of a Node system error ("ENOENT"), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
