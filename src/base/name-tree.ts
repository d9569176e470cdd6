import { posix } from "node:path";
import { systemError } from "./disk-error.ts";

/** What a directory holds under a name: another one, or a file of whatever kind the disk has. */
export type TreeNode<File extends object> = TreeDirectory<File> | File;

export class TreeDirectory<File extends object> {
  readonly entries = new Map<string, TreeNode<File>>();
}

/** One name that got, changed or lost its node. */
export interface TreeChange<File extends object> {
  readonly directory: TreeDirectory<File>;
  readonly name: string;
  /** What the name stands for from now on; undefined when it is gone. */
  readonly node: TreeNode<File> | undefined;
  /** What it stood for before. */
  readonly previous: TreeNode<File> | undefined;
}

/**
 * The names of a disk that isn't a real one, with the rules and errors of POSIX: who may be created, renamed over or removed.
 * Every call changes the tree at once and tells `onChange` which names moved, a rename as one list; the simulator's disk keeps
 * them to decide in a crash which of them had reached the platter.
 *
 * There is no working directory: a relative path starts at the root.
 */
export class NameTree<File extends object> {
  readonly root: TreeDirectory<File>;
  readonly #onChange: (changes: readonly TreeChange<File>[], what: string) => void;

  constructor(
    root: TreeDirectory<File> = new TreeDirectory<File>(),
    onChange: (changes: readonly TreeChange<File>[], what: string) => void = () => {},
  ) {
    this.root = root;
    this.#onChange = onChange;
  }

  find(path: string): TreeNode<File> | undefined {
    let node: TreeNode<File> = this.root;
    for (const name of namesOf(path)) {
      if (!(node instanceof TreeDirectory)) return undefined;
      const next = node.entries.get(name);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  /** The file at `path`, or ENOENT, ENOTDIR, EISDIR in the name of `syscall`. */
  getFile(path: string, syscall: string): File {
    const node = this.#place(path, syscall).node;
    if (node === undefined) throw systemError("ENOENT", syscall, path);
    if (node instanceof TreeDirectory) throw systemError("EISDIR", syscall, path);
    return node;
  }

  getDirectory(path: string, syscall: string): TreeDirectory<File> {
    const node = namesOf(path).length === 0 ? this.root : this.#place(path, syscall).node;
    if (node === undefined) throw systemError("ENOENT", syscall, path);
    if (!(node instanceof TreeDirectory)) throw systemError("ENOTDIR", syscall, path);
    return node;
  }

  create(path: string, make: () => File): File {
    const { directory, name, node } = this.#place(path, "open");
    if (node !== undefined) throw systemError("EEXIST", "open", path);
    const file = make();
    this.#change(`create ${path}`, [{ directory, name, node: file, previous: undefined }]);
    return file;
  }

  /** `path` and those of its parents that aren't there, outermost first. */
  missingDirectories(path: string): string[] {
    const missing: string[] = [];
    for (let place = posix.resolve("/", path); !(this.find(place) instanceof TreeDirectory); place = posix.dirname(place)) {
      missing.unshift(place);
    }
    return missing;
  }

  makeDirectory(path: string): void {
    const { directory, name, node } = this.#place(path, "mkdir");
    if (node !== undefined) throw systemError("EEXIST", "mkdir", path);
    this.#change(`make ${path}`, [{ directory, name, node: new TreeDirectory<File>(), previous: undefined }]);
  }

  rename(from: string, to: string): void {
    const source = this.#place(from, "rename", to);
    const target = this.#place(to, "rename");
    if (source.node === undefined) throw systemError("ENOENT", "rename", from, to);
    if (source.node === target.node) return;
    if (source.node instanceof TreeDirectory) {
      if (contains(source.node, target.directory)) throw systemError("EINVAL", "rename", from, to);
      if (target.node !== undefined && !(target.node instanceof TreeDirectory))
        throw systemError("ENOTDIR", "rename", from, to);
      if (target.node instanceof TreeDirectory && target.node.entries.size > 0)
        throw systemError("ENOTEMPTY", "rename", from, to);
    } else if (target.node instanceof TreeDirectory) {
      throw systemError("EISDIR", "rename", from, to);
    }
    this.#change(`rename ${from} to ${to}`, [
      { directory: source.directory, name: source.name, node: undefined, previous: source.node },
      { directory: target.directory, name: target.name, node: source.node, previous: target.node },
    ]);
  }

  /** False when there was nothing to remove. */
  remove(path: string): boolean {
    const { directory, name, node } = this.#placeOrNothing(path, "unlink");
    if (directory === undefined || node === undefined) return false;
    if (node instanceof TreeDirectory) throw systemError("EISDIR", "unlink", path);
    this.#change(`remove ${path}`, [{ directory, name, node: undefined, previous: node }]);
    return true;
  }

  removeDirectory(path: string): boolean {
    const { directory, name, node } = this.#placeOrNothing(path, "rmdir");
    if (directory === undefined || node === undefined) return false;
    if (!(node instanceof TreeDirectory)) throw systemError("ENOTDIR", "rmdir", path);
    if (node.entries.size > 0) throw systemError("ENOTEMPTY", "rmdir", path);
    this.#change(`remove ${path}`, [{ directory, name, node: undefined, previous: node }]);
    return true;
  }

  #change(what: string, changes: readonly TreeChange<File>[]): void {
    for (const { directory, name, node } of changes) {
      if (node === undefined) directory.entries.delete(name);
      else directory.entries.set(name, node);
    }
    this.#onChange(changes, what);
  }

  /** The directory that `path` lies in, which must be there, and what it has under that name. */
  #place(path: string, syscall: string, destination?: string): Place<File> {
    const names = namesOf(path);
    const name = names.pop();
    // The root itself is in no directory, and nothing that a caller does to a name can be done to it.
    if (name === undefined) throw systemError("EBUSY", syscall, path, destination);
    let directory: TreeNode<File> = this.root;
    for (const parent of names) {
      const next: TreeNode<File> | undefined = directory.entries.get(parent);
      if (next === undefined) throw systemError("ENOENT", syscall, path, destination);
      if (!(next instanceof TreeDirectory)) throw systemError("ENOTDIR", syscall, path, destination);
      directory = next;
    }
    return { directory, name, node: directory.entries.get(name) };
  }

  #placeOrNothing(path: string, syscall: string): Place<File> | { directory: undefined; name: string; node: undefined } {
    try {
      return this.#place(path, syscall);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        return { directory: undefined, name: path, node: undefined };
      }
      throw error;
    }
  }
}

interface Place<File extends object> {
  readonly directory: TreeDirectory<File>;
  readonly name: string;
  readonly node: TreeNode<File> | undefined;
}

function namesOf(path: string): string[] {
  return posix
    .resolve("/", path)
    .split("/")
    .filter((name) => name !== "");
}

function contains<File extends object>(outer: TreeDirectory<File>, inner: TreeDirectory<File>): boolean {
  if (outer === inner) return true;
  return [...outer.entries.values()].some((node) => node instanceof TreeDirectory && contains(node, inner));
}
