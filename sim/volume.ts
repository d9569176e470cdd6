import { assert } from "../src/base/assert.ts";
import { systemError } from "../src/base/disk-error.ts";
import { NameTree, type TreeChange, TreeDirectory, type TreeNode } from "../src/base/name-tree.ts";
import type { CrashChoice, CrashModel, CrashPoint } from "./crash.ts";
import { sectorBytes, SectorFile } from "./sector-file.ts";

/** A change of names that no sync has made durable: a creation, a removal, or a rename as a whole. */
interface NameOperation {
  readonly sequence: number;
  readonly what: string;
  readonly changes: readonly TreeChange<SectorFile>[];
}

type Names = Map<string, TreeNode<SectorFile>>;

/**
 * What of the simulated disk outlives a process: files, names, the space they take, and which of all that has reached the
 * platter. `SimDisk` is what one process sees of it.
 */
export class Volume {
  readonly model: CrashModel;
  /** Room for data; names are free, and so are holes. */
  capacityBytes: number;
  readonly tree: NameTree<SectorFile>;
  /** The names on the platter. A directory that isn't here has none. */
  readonly #syncedNames = new WeakMap<TreeDirectory<SectorFile>, Names>();
  #nameOperations: NameOperation[] = [];
  #nameSequence = 0;
  #usedSectors = 0;
  #fileCount = 0;

  constructor(model: CrashModel, capacityBytes: number, root = new TreeDirectory<SectorFile>()) {
    this.model = model;
    this.capacityBytes = capacityBytes;
    this.tree = new NameTree(root, (changes, what) => this.#namesChanged(changes, what));
    for (const directory of directoriesOf(root)) {
      this.#syncedNames.set(directory, new Map(directory.entries));
      for (const node of directory.entries.values()) {
        if (node instanceof TreeDirectory) continue;
        this.#usedSectors += node.allocatedSectors;
        this.#fileCount = Math.max(this.#fileCount, node.id);
      }
    }
  }

  get usedBytes(): number {
    return this.#usedSectors * sectorBytes;
  }

  /** The number of the last change of names; a directory's sync covers those up to the one it was called after. */
  get nameSequence(): number {
    return this.#nameSequence;
  }

  create(path: string): SectorFile {
    return this.tree.create(path, () => {
      this.#fileCount += 1;
      return new SectorFile(this.#fileCount, path);
    });
  }

  rename(from: string, to: string): void {
    this.tree.rename(from, to);
    const node = this.tree.find(to);
    if (node instanceof SectorFile) node.path = to;
  }

  /** Writes as much as there is room for, then throws ENOSPC if that wasn't all, as a disk does. */
  write(file: SectorFile, bytes: Uint8Array, position: number, isLost = false): void {
    const room = Math.max(0, Math.floor(this.capacityBytes / sectorBytes) - this.#usedSectors);
    const fitting = file.fittingBytes(position, bytes.length, room);
    this.#account(file, () => file.write(bytes.subarray(0, fitting), position, isLost));
    if (fitting < bytes.length) throw systemError("ENOSPC", "write", file.path);
  }

  truncate(file: SectorFile, size: number): void {
    this.#account(file, () => file.truncate(size));
  }

  corrupt(file: SectorFile, position: number, bytes: Uint8Array): void {
    this.#account(file, () => file.corrupt(position, Uint8Array.from(bytes)));
  }

  opened(file: SectorFile): void {
    file.openCount += 1;
  }

  closed(file: SectorFile): void {
    file.openCount -= 1;
    this.#freeWhenGone(file);
  }

  /** Makes durable the changes of names in a directory, up to the one numbered `sequence`, and whatever came before them in the same places. */
  syncNames(directory: TreeDirectory<SectorFile>, sequence: number): void {
    for (const operation of this.#takeNameOperations(directory, sequence)) apply(operation, this.#syncedNames);
  }

  /** A directory's failed sync: the names are as they are until the crash, and no later sync makes them durable. */
  loseNames(directory: TreeDirectory<SectorFile>, sequence: number): void {
    this.#takeNameOperations(directory, sequence);
  }

  /** Everything that a crash now would have to decide. */
  crashPoints(): CrashPoint[] {
    return [...this.#namePoints(), ...this.#reachable().files.flatMap((file) => [...file.crashPoints()])];
  }

  /** The disk after a crash. This one isn't touched. */
  crash(choose: CrashChoice): Volume {
    const kept = this.#keptNameOperations(choose);
    const { directories, files } = this.#reachable();
    const names = new Map(directories.map((directory) => [directory, new Map(this.#syncedNames.get(directory))]));
    for (const operation of kept) apply(operation, names);

    const images = new Map<TreeNode<SectorFile>, TreeNode<SectorFile>>();
    for (const file of files) images.set(file, file.image(choose, this.model));
    const imageOf = (node: TreeNode<SectorFile>): TreeNode<SectorFile> => {
      const known = images.get(node);
      if (known !== undefined) return known;
      assert(node instanceof TreeDirectory, "every file has an image");
      const directory = new TreeDirectory<SectorFile>();
      images.set(node, directory);
      for (const [name, entry] of names.get(node) ?? []) directory.entries.set(name, imageOf(entry));
      return directory;
    };
    const root = imageOf(this.tree.root);
    assert(root instanceof TreeDirectory, "the root is a directory");
    return new Volume(this.model, this.capacityBytes, root);
  }

  #namesChanged(changes: readonly TreeChange<SectorFile>[], what: string): void {
    this.#nameSequence += 1;
    this.#nameOperations.push({ sequence: this.#nameSequence, what, changes });
    for (const { previous } of changes) if (previous instanceof SectorFile) previous.isLinked = false;
    for (const { node } of changes) if (node instanceof SectorFile) node.isLinked = true;
    for (const { previous } of changes) if (previous instanceof SectorFile) this.#freeWhenGone(previous);
  }

  /** A removed file keeps its space while it is open. */
  #freeWhenGone(file: SectorFile): void {
    if (!file.isLinked && file.openCount === 0) this.#usedSectors -= file.allocatedSectors;
  }

  #account(file: SectorFile, change: () => void): void {
    const before = file.allocatedSectors;
    change();
    this.#usedSectors += file.allocatedSectors - before;
  }

  /** Takes out the pending operations that a sync of `directory` carries to the platter, oldest first. */
  #takeNameOperations(directory: TreeDirectory<SectorFile>, sequence: number): NameOperation[] {
    const reached = new Set([directory]);
    const taken: NameOperation[] = [];
    const left: NameOperation[] = [];
    // Newest first: a rename between two directories draws along what happened before it in the other one.
    for (const operation of this.#nameOperations.toReversed()) {
      const touches = operation.changes.some((change) => reached.has(change.directory));
      if (operation.sequence > sequence || !(touches || this.model === "ordered")) {
        left.unshift(operation);
        continue;
      }
      for (const change of operation.changes) reached.add(change.directory);
      taken.unshift(operation);
    }
    this.#nameOperations = left;
    return taken;
  }

  #namePoints(): CrashPoint[] {
    const operations = this.#nameOperations;
    if (operations.length === 0) return [];
    if (this.model === "ordered") {
      return [{ kind: "names", key: "names", what: operations.map(({ what }) => what), options: operations.length + 1 }];
    }
    return operations.map(({ sequence, what }) => ({ kind: "name", key: `name ${sequence}`, what, options: 2 }));
  }

  #keptNameOperations(choose: CrashChoice): NameOperation[] {
    const choices = this.#namePoints().map(choose);
    if (this.model === "ordered") return this.#nameOperations.slice(0, choices[0] ?? 0);
    return this.#nameOperations.filter((_, index) => choices[index] === 1);
  }

  /** Every directory and file that some image may hold; the files by id, so that the same decisions come in the same order in each run. */
  #reachable(): { directories: TreeDirectory<SectorFile>[]; files: SectorFile[] } {
    const nodes = new Set<TreeNode<SectorFile>>([this.tree.root]);
    for (const { changes } of this.#nameOperations) {
      for (const { node } of changes) if (node !== undefined) nodes.add(node);
    }
    const directories: TreeDirectory<SectorFile>[] = [];
    const files: SectorFile[] = [];
    // A set goes through what is added to it on the way, too.
    for (const node of nodes) {
      if (node instanceof SectorFile) {
        files.push(node);
        continue;
      }
      directories.push(node);
      for (const entry of this.#syncedNames.get(node)?.values() ?? []) nodes.add(entry);
    }
    return { directories, files: files.sort((a, b) => a.id - b.id) };
  }
}

interface NamesByDirectory {
  get(directory: TreeDirectory<SectorFile>): Names | undefined;
  set(directory: TreeDirectory<SectorFile>, names: Names): unknown;
}

/** Does to the names of an image what an operation did. A rename whose source isn't there, since its creation was lost, is lost with it. */
function apply(operation: NameOperation, names: NamesByDirectory): void {
  const isSourceLost = operation.changes.some(
    ({ directory, name, node, previous }) =>
      node === undefined && operation.changes.length > 1 && names.get(directory)?.get(name) !== previous,
  );
  if (isSourceLost) return;
  for (const { directory, name, node } of operation.changes) {
    let entries = names.get(directory);
    if (entries === undefined) {
      entries = new Map();
      names.set(directory, entries);
    }
    if (node === undefined) entries.delete(name);
    else entries.set(name, node);
  }
}

function* directoriesOf(root: TreeDirectory<SectorFile>): Generator<TreeDirectory<SectorFile>> {
  yield root;
  for (const node of root.entries.values()) if (node instanceof TreeDirectory) yield* directoriesOf(node);
}
