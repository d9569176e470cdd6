import { ProglogError } from "../../base/error.ts";
import { catalogSnapshotMinBytes, catalogSnapshotTimes } from "../../base/cluster-limits.ts";
import { applyCommand, type CommandOutcome } from "./apply-command.ts";
import { type CatalogCommand, decodeCommand } from "./catalog-command.ts";
import { decodeState, encodeState, type SnapshotPart, snapshotParts } from "./catalog-snapshot.ts";
import { type CatalogState, emptyCatalogState } from "./catalog-state.ts";
import { MalformedJson } from "./json-fields.ts";

/** The latest format of the catalog that this release knows. */
export const catalogVersion = 1;

/**
 * Makes the catalog of the records of group 0, one after the other.
 *
 * A snapshot is a run of records that holds the state before its first one, cut into pieces. It counts when all pieces are there, one
 * behind the other, and the first one lies exactly where it says that its state ends: nothing came in between. A run that was
 * interrupted, since its leader was lost, or that something came before, is no snapshot and changes nothing. So what is one
 * is a property of the log, on which all nodes agree, whoever wrote it and in whatever state.
 *
 * A fold that begins at 0 needs none. One that begins at a later log start knows nothing until it has met one.
 */
export class CatalogFold {
  #state: CatalogState = emptyCatalogState();
  #nextOffset: number;
  #isReady: boolean;
  #run: SnapshotRun | undefined;
  #snapshotOffset: number | undefined;
  #snapshotChars = 0;
  #bytesSinceSnapshot = 0;
  #divergenceCount = 0;

  /** `logStartOffset`: of the first record that it will be given. */
  constructor(logStartOffset: number) {
    this.#nextOffset = logStartOffset;
    this.#isReady = logStartOffset === 0;
  }

  /** Not to be changed. Empty until the fold is ready. */
  get state(): CatalogState {
    return this.#state;
  }

  /** The offset behind the last record that was folded. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** False until it knows the whole state. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Where the newest snapshot in the log begins: what lies before it isn't needed any more. */
  get snapshotOffset(): number | undefined {
    return this.#snapshotOffset;
  }

  /** Snapshots that said something else than this fold: one of the nodes did not fold what is written. */
  get divergenceCount(): number {
    return this.#divergenceCount;
  }

  /** Whether so much was written since the last snapshot that another one pays. */
  get isSnapshotDue(): boolean {
    if (!this.#isReady || this.#state.clusterId === undefined) return false;
    const bytes = this.#bytesSinceSnapshot;
    if (bytes <= catalogSnapshotMinBytes || bytes <= catalogSnapshotTimes * this.#snapshotChars) return false;
    // The state may have grown since its size was last known, and finding out costs some milliseconds.
    this.#snapshotChars = encodeState(this.#state).length;
    return bytes > catalogSnapshotTimes * this.#snapshotChars;
  }

  /** The records of a snapshot, to be appended behind the last record that was folded, with nothing in between. */
  takeSnapshot(id: string): Buffer[] {
    return snapshotParts(this.#state, { at: this.#nextOffset, id });
  }

  /**
   * Folds the record at `nextOffset` or behind it; in a log there may be none in between. Throws UNSUPPORTED_FORMAT at a record behind which a
   * later format holds: nothing may be folded any more then.
   */
  fold({ offset, value }: CatalogRecord): FoldedCommand | undefined {
    this.#nextOffset = offset + 1;
    const command = decodeCommand(value);
    if (command.kind === "snapshot-part") {
      this.#foldPart(command, offset, value.length);
      return undefined;
    }
    this.#run = undefined;
    this.#bytesSinceSnapshot += value.length;
    if (command.kind === "malformed") {
      const error = new ProglogError("INVALID_ARGUMENT", `Cannot apply the command at offset ${offset}: ${command.reason}`);
      return { command: undefined, outcome: { kind: "refused", error } };
    }
    if (!this.#isReady) return undefined;
    const outcome = applyCommand(this.#state, command, offset);
    this.#checkVersion(this.#state.version);
    return { command, outcome };
  }

  #foldPart(part: SnapshotPart, offset: number, bytes: number): void {
    if (part.part === 0)
      this.#run = part.at === offset ? { id: part.id, at: part.at, parts: part.parts, texts: [] } : undefined;
    const run = this.#run;
    const isNext =
      run !== undefined &&
      run.id === part.id &&
      run.at === part.at &&
      run.parts === part.parts &&
      run.texts.length === part.part &&
      offset === run.at + part.part;
    this.#bytesSinceSnapshot += bytes;
    if (!isNext) {
      this.#run = undefined;
      return;
    }
    run.texts.push(part.text);
    if (run.texts.length < run.parts) return;
    this.#run = undefined;
    this.#foldSnapshot(run);
  }

  #foldSnapshot({ at, texts }: SnapshotRun): void {
    const text = texts.join("");
    let state: CatalogState;
    try {
      this.#checkVersion(versionOf(text));
      state = decodeState(text);
    } catch (error) {
      if (!(error instanceof MalformedJson)) throw error;
      return;
    }
    if (this.#isReady && encodeState(this.#state) !== text) this.#divergenceCount += 1;
    // Taken up even by who knew the state before: whatever was wrong, from here on all nodes have the same.
    this.#state = state;
    this.#isReady = true;
    this.#snapshotOffset = at;
    this.#snapshotChars = text.length;
    this.#bytesSinceSnapshot = 0;
  }

  #checkVersion(version: number): void {
    if (version <= catalogVersion) return;
    throw new ProglogError(
      "UNSUPPORTED_FORMAT",
      `Cannot go on with the catalog: it is of version ${version}, and ${catalogVersion} is known`,
      { hint: "Start the release of proglog that the other nodes have, or a later one." },
    );
  }
}

export interface CatalogRecord {
  readonly offset: number;
  readonly value: Buffer;
}

export interface FoldedCommand {
  /** Undefined of a record that is no command. */
  readonly command: CatalogCommand | undefined;
  readonly outcome: CommandOutcome;
}

interface SnapshotRun {
  readonly id: string;
  readonly at: number;
  readonly parts: number;
  readonly texts: string[];
}

/** Before the rest of it is looked at, which a later version may have changed. */
function versionOf(text: string): number {
  try {
    const { version } = JSON.parse(text) as { readonly version?: unknown };
    return typeof version === "number" ? version : 0;
  } catch {
    // What isn't JSON has no version; `decodeState` says so.
    return 0;
  }
}
