import { dirname, join, resolve } from "node:path";
import { type Disk, type DiskLock, systemErrorCode } from "../base/disk.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { type Manifest, manifestName, readManifest } from "../log/inspect.ts";

/**
 * A directory as the offline commands are given it: that of a log, or that of a node, which holds many. While it is open here
 * no server has it open: a node's lock is taken once for all its logs, also when only one of them was named.
 */
export interface OfflineDirectory extends Disposable {
  readonly path: string;
  readonly kind: "log" | "node";
  /** By topic and partition; those that no topic names come last. */
  readonly logs: readonly OfflineLog[];
  /** A node's manifest; undefined where there is none, or it can't be read. */
  readonly manifest: Manifest | undefined;
  /** Why the manifest can't be read. The logs are found all the same, only their names are lost. */
  readonly manifestError: ProglogError | undefined;
}

export interface OfflineLog {
  /** "orders/0", or its directory's name where no topic is known for it. */
  readonly name: string;
  readonly directory: string;
}

/** `attempt` is for the errors: "verify". Throws LOG_LOCKED, or LOG_NOT_FOUND for what is neither. */
export function openOfflineDirectory(
  directory: string,
  { attempt, disk }: { readonly attempt: string; readonly disk: Disk },
): OfflineDirectory {
  // Absolute, so that the parents of "." are known.
  const path = resolve(directory);
  const kind = kindOf(path, attempt, disk);
  const lock = kind === "node" ? disk.lock(join(path, lockName)) : lockNodeOf(path, disk);
  const release = (): void => lock?.release();
  if (kind === "log") {
    const log = { name: directory, directory: path };
    return { path, kind, logs: [log], manifest: undefined, manifestError: undefined, [Symbol.dispose]: release };
  }
  try {
    const { manifest, manifestError } = tryManifest(path, disk);
    return { path, kind, logs: listLogs(path, manifest, disk), manifest, manifestError, [Symbol.dispose]: release };
  } catch (error) {
    release();
    throw error;
  }
}

function kindOf(path: string, attempt: string, disk: Disk): OfflineDirectory["kind"] {
  let names: readonly string[];
  try {
    names = disk.list(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    const reason = code === "ENOENT" ? "there is no such directory" : "it is no directory";
    throw new ProglogError("LOG_NOT_FOUND", `Cannot ${attempt} ${path}: ${reason}`, { cause: error });
  }
  if ([manifestName, nodeRecordName, logsName].some((name) => names.includes(name))) return "node";
  if (names.some((name) => logFilePattern.test(name))) return "log";
  throw new ProglogError("LOG_NOT_FOUND", `Cannot ${attempt} ${path}: it holds neither a log nor a node's data`, {
    hint: "Name a log's directory, or what proglog serve has as --data-dir.",
  });
}

const nodeRecordName = "node-record";
const logsName = "logs";
const lockName = "lock";
const logFilePattern = /^(base-[01]|sync-mark|\d{20}\.store)$/;

/** For one file: the locks, where there are any, of the directory it lies in and of the node that has that. A file elsewhere has none. */
export function lockOfflineFile(path: string, disk: Disk): Disposable {
  const directory = dirname(resolve(path));
  const locks = [lockNodeOf(directory, disk)];
  try {
    if (disk.size(join(directory, lockName)) !== undefined) locks.push(disk.lock(join(directory, lockName)));
  } catch (error) {
    locks[0]?.release();
    throw error;
  }
  return { [Symbol.dispose]: () => locks.forEach((lock) => lock?.release()) };
}

/** The lock of the node whose log this is, `<data-dir>/logs/<uuid>`: the node locks its whole directory and no log of its own. */
function lockNodeOf(path: string, disk: Disk): DiskLock | undefined {
  const logs = dirname(path);
  const node = dirname(logs);
  if (logs !== join(node, logsName) || disk.size(join(node, lockName)) === undefined) return undefined;
  return disk.lock(join(node, lockName));
}

function tryManifest(path: string, disk: Disk): Pick<OfflineDirectory, "manifest" | "manifestError"> {
  try {
    return { manifest: readManifest(disk, join(path, manifestName)), manifestError: undefined };
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return { manifest: undefined, manifestError: error };
  }
}

function listLogs(path: string, manifest: Manifest | undefined, disk: Disk): readonly OfflineLog[] {
  const logsPath = join(path, logsName);
  const strangers = new Set(
    disk.isDirectory(logsPath) ? disk.list(logsPath).filter((name) => disk.isDirectory(join(logsPath, name))) : [],
  );
  // What a crash left of a deleted topic goes at the next start, whatever state it is in.
  for (const uuid of manifest?.deleted ?? []) strangers.delete(uuid);
  const logs: OfflineLog[] = [];
  for (const topic of manifest?.topics ?? []) {
    for (const { partition, uuid } of topic.partitions) {
      strangers.delete(uuid);
      logs.push({ name: `${topic.name}/${partition}`, directory: join(logsPath, uuid) });
    }
  }
  return [...logs, ...[...strangers].map((name) => ({ name, directory: join(logsPath, name) }))];
}
