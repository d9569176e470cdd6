import { assert } from "../base/assert.ts";
import type { ProglogError } from "../base/error.ts";
import type { Disk } from "../base/disk.ts";
import { producersMaxCount, readEntryBytes } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import { ActiveSegment } from "./active-segment.ts";
import type { AdmittedBatch } from "./admission.ts";
import { checkCondition } from "./append-options.ts";
import { type BaseRecord, encodeBaseRecord, type TermStart } from "./base-record.ts";
import { findChainFault, advanceChain } from "./chain.ts";
import type { CommitLog, LogParts } from "./commit-log.ts";
import type { ControlEntries } from "./control-entries.ts";
import { corruptError } from "./corrupt-error.ts";
import { chainBefore, damageError, describeEnd, readEntry, readPiece } from "./entry-lookup.ts";
import { entryFlags, type Frame, frameHeadBytes, nextOffsetOf } from "./frame.ts";
import {
  baseWithoutEntries,
  finishInstall,
  incomingSuffix,
  installReceived,
  openReceived,
  removeIncoming,
} from "./installing.ts";
import type { AppendOptions, Log, LogOptions, RecoveryReport } from "./log.ts";
import { describedBase } from "./log-description.ts";
import { resolveOptions } from "./log-options.ts";
import { type OpenOptions, openCommitLog } from "./open-log.ts";
import type { ProducerTable } from "./producer-table.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { type FetchEntries, type RepairedStore, repairSegment } from "./segment-repair.ts";
import { removeRewrite } from "./segment-rewrite.ts";
import { slotBytes } from "./slots.ts";
import { decodeFromPeer, encodeForPeer, type StampedEntry } from "./stamped-entry.ts";
import { planTrim, trim } from "./trimming.ts";
import { planTruncation } from "./truncation.ts";
import { diskFailedError } from "./write-failure.ts";

export interface ReplicaLogOptions extends Omit<LogOptions, "sync" | "syncIntervalMs" | "retentionIntervalMs"> {
  /** The group's: the same in all replicas. */
  readonly logId: Buffer;
}

/**
 * Opens the log of a directory as a replica's, or makes one there. Errors as those of `openLog`; LOG_CORRUPT too when the
 * directory holds the log of another group.
 */
export async function openReplicaLog(directory: string, options: ReplicaLogOptions): Promise<ReplicaLog> {
  if (options.disk !== undefined) await finishInstall(options.disk, directory);
  return openAsReplicas(directory, options);
}

/**
 * Opens the log beside that of a directory into which a peer's is received, where one was begun and may be gone on with; else makes it, with
 * nothing in it behind `base`. `isFit` says whether what is there is wanted.
 */
export async function openIncomingLog(
  directory: string,
  options: ReplicaLogOptions & { readonly disk: Disk },
  { base, isFit }: { readonly base: BaseRecord; readonly isFit: (found: ReplicaLog) => boolean },
): Promise<ReplicaLog> {
  const { disk } = options;
  const { scrubIntervalMs: _, ...rest } = options;
  // Nothing is done to it, or told of it, but that it is received.
  const open = { ...rest, observer: {}, cleanup: "delete", takesLock: false } as const;
  const found = await openReceived(disk, directory, (path) => openAsReplicas(path, { ...open, createIfMissing: false }));
  if (found !== undefined && isFit(found)) return found;
  await found?.close();
  await removeIncoming(disk, directory);
  const { producerExpiryMs } = resolveOptions(options);
  const limits = { expiryMs: producerExpiryMs, maxCount: producersMaxCount };
  const made = { ...open, createIfMissing: true, base: baseWithoutEntries(base, limits) };
  return openAsReplicas(directory + incomingSuffix, made);
}

async function openAsReplicas(directory: string, options: ReplicaLogOptions & Pick<OpenOptions, "base">): Promise<ReplicaLog> {
  const log = await openCommitLog(directory, { ...options, sync: "always", isReplicas: true });
  const replicaLog = new ReplicaLog(log);
  if (replicaLog.logId.equals(options.logId)) return replicaLog;
  await log.close();
  const reason = "it belongs to another group";
  throw corruptError(`open ${directory}`, { file: directory, position: 0, firstOffset: 0, nextOffset: 0, reason });
}

/**
 * A log as the replica of a group has it: entries by index, stamped by whoever leads, cut where a leader's differ, and shown to
 * readers only as far as they are committed. One call at a time changes it; readers go through `log`, as those of any log do.
 *
 * The files are those of a log that `openLog` writes; what differs is who decides. Nothing here knows of raft: it is told.
 */
export class ReplicaLog {
  /** For reading. Nothing is to be appended, truncated or trimmed by it. */
  readonly log: Log;
  readonly #parts: LogParts;

  constructor(log: CommitLog) {
    this.log = log;
    this.#parts = log.parts();
    // Nobody knows yet what is committed, but for what was trimmed.
    const { base } = this.#parts.state;
    this.#parts.state.shown = { index: base.baseIndex, nextOffset: base.nextOffset };
  }

  get logId(): Buffer {
    return this.#parts.state.context.logId;
  }

  get recovery(): RecoveryReport {
    return this.log.recovery;
  }

  /** What was trimmed away; zeros when nothing was. */
  get base(): { readonly index: number; readonly term: number; readonly nextOffset: number } {
    const { baseIndex, baseTerm, nextOffset } = this.#parts.state.base;
    return { index: baseIndex, term: baseTerm, nextOffset };
  }

  /** The last entry written. */
  get last(): { readonly index: number; readonly term: number; readonly nextOffset: number; readonly appendTime: number } {
    return this.#parts.state.last;
  }

  get durableIndex(): number {
    return this.#parts.state.durable.index;
  }

  /** Up to here readers are shown entries. */
  get shownIndex(): number {
    return this.#parts.state.shown?.index ?? 0;
  }

  /** Where each term begins behind the base, with term 1 of a log that had no leader. */
  get termHistory(): readonly TermStart[] {
    const { base, last } = this;
    if (last.index === base.index) return [];
    const first = { firstIndex: base.index + 1, firstOffset: base.nextOffset };
    const { termHistory } = this.#parts.state.description.sections();
    const at = termHistory.findLastIndex(({ firstIndex }) => firstIndex <= first.firstIndex);
    return [{ term: termHistory[at]?.term ?? 1, ...first }, ...termHistory.slice(at + 1)];
  }

  /** Memberships and trims, and from which index on all memberships are known. */
  get controls(): ControlEntries {
    return this.#parts.state.description.controls;
  }

  /** The payload of the newest membership; empty when there is none. */
  get membership(): Buffer {
    return this.#parts.state.description.sections().membership;
  }

  /** What is known of those who wrote, up to the last entry written. Another object after each truncation. */
  get producers(): ProducerTable {
    return this.#parts.state.description.producers;
  }

  /** Appends that wait until they may be proposed are bounded as those of a log that is written at once. */
  get appendQueueMaxBytes(): number {
    return this.#parts.options.appendQueueMaxBytes;
  }

  /** Entries that are written and synced together, in bytes. */
  get groupMaxBytes(): number {
    return this.#parts.options.groupMaxBytes;
  }

  /** LOG_POISONED once a write or sync has failed. */
  findPoison(attempt: string): ProglogError | undefined {
    return this.#parts.writer.findPoison(attempt);
  }

  /** Checks a packed batch as `Log.appendBatch` does, and throws as that does. Entries up to `lastAppendTime` are under way. */
  admit(batch: Buffer, expectedOffset: number | undefined, lastAppendTime: number): AdmittedBatch {
    checkCondition({ ...(expectedOffset !== undefined && { expectedOffset }) });
    return this.#parts.admit(batch, lastAppendTime);
  }

  /** Checks and packs records as `Log.append` does, and throws as that does. */
  pack(records: readonly RecordInput[], options: AppendOptions, lastAppendTime: number): AdmittedBatch {
    checkCondition(options);
    return this.#parts.pack(records, options, lastAppendTime);
  }

  /**
   * Whether the entry that follows is to begin a segment: asked by the leader, who stamps it. `ahead` is what it has stamped and not
   * written yet, of the segment that comes last, with the entry itself; that may be one that is still to be begun.
   */
  isSegmentFull(ahead: { readonly bytes: number; readonly count: number; readonly isOfNewSegment: boolean }): boolean {
    const { active } = this.#parts.state.segments;
    const { segmentMaxBytes, segmentMaxAgeMs, indexMaxBytes } = this.#parts.options;
    const end = ahead.isOfNewSegment ? segmentHeaderBytes : active.store.end;
    const count = (ahead.isOfNewSegment ? 0 : active.entryCount) + ahead.count;
    if (!ahead.isOfNewSegment && active.firstAppendTime !== undefined) {
      if (this.#parts.state.context.clock.now() - active.firstAppendTime >= segmentMaxAgeMs) return true;
    }
    return count > 1 && (end + ahead.bytes > segmentMaxBytes || count * slotBytes > indexMaxBytes);
  }

  /**
   * Appends entries behind the last one, all in one write and one sync, but for segments that one of them begins. They are durable
   * when it resolves. DISK_FULL or OVERLOADED: those from the last entry on aren't there, and it may be tried again with them.
   */
  async append(entries: readonly StampedEntry[]): Promise<void> {
    const { writer, state } = this.#parts;
    await writer.exclusively("append entries", async () => {
      let chain = state.last;
      for (const entry of entries) {
        const fault = findChainFault(chain, { ...entry, syncedBack: 0 });
        assert(fault === undefined, `an entry follows the last one: ${fault}`);
        chain = advanceChain({ ...entry, syncedBack: 0 });
      }
      for (const run of runsOf(entries)) {
        const begins = ((run[0]?.flags ?? 0) & entryFlags.beginsSegment) !== 0;
        if (begins && state.segments.active.entryCount > 0) await writer.rollNow();
        await writer.writeStamped(run);
      }
    });
  }

  /** Drops what lies behind `index`, durably. Nothing that was shown is ever dropped. */
  async truncate(index: number): Promise<void> {
    const { writer, reads, state, dropBehind } = this.#parts;
    await writer.exclusively(`truncate behind entry ${index}`, async () => {
      assert(index >= this.shownIndex && index >= state.base.baseIndex, "what is committed is never truncated");
      if (index >= state.last.index) return;
      await writer.syncNow();
      await dropBehind(await reads.run(`truncate behind entry ${index}`, () => planTruncation(state, index)));
    });
  }

  /**
   * Entries from `index` on, one at least and then no more than `maxBytes` of frames; verified. None when a truncation changed
   * the log meanwhile. Errors: LOG_CORRUPT, DISK_FAILED, LOG_CLOSED.
   */
  read(index: number, maxBytes: number): Promise<readonly Frame[]> {
    const { reads, state } = this.#parts;
    const { context } = state;
    assert(index > state.base.baseIndex && index <= state.last.index, "an entry of the log is read");
    return reads.run(`read entry ${index}`, async () => {
      const { truncations, replacements, last } = state;
      const segment = state.segments.findByIndex(index);
      const end = segment instanceof ActiveSegment ? { endPosition: segment.store.end } : {};
      try {
        const location = await segment.locateIndex(index);
        // The index is a hint: where it leads elsewhere, the entry is looked for.
        const isHere = (frame: Frame | undefined): boolean => frame?.index === index;
        const pieceBytes = Math.max(maxBytes, readEntryBytes);
        let piece = await readPiece(context, segment, { ...location, chain: chainBefore(location), pieceBytes, ...end });
        if (!isHere(piece.frames[0])) {
          const { position, baseOffset } = await readEntry(context, segment, index);
          piece = await readPiece(context, segment, {
            position,
            chain: chainBefore({ index, baseOffset, position }),
            pieceBytes,
            ...end,
          });
        }
        if (truncations !== state.truncations) return [];
        if (!isHere(piece.frames[0])) throw await damageError(context, segment, location, describeEnd(piece.end) ?? "no frame");
        return upTo(piece.frames, last.index, maxBytes);
      } catch (error) {
        if (truncations !== state.truncations) return [];
        // Compaction put another store in the place of the one that was looked into.
        if (replacements !== state.replacements) return this.read(index, maxBytes);
        throw error;
      }
    });
  }

  /** Tells of every entry from `index` on to the last. For an opening: it reads all of them. */
  async scan(index: number, onFrame: (frame: Frame) => void): Promise<void> {
    for (let next = Math.max(index, this.base.index + 1); next <= this.last.index; ) {
      const frames = await this.read(next, scanPieceBytes);
      for (const frame of frames) onFrame(frame);
      next = (frames.at(-1)?.index ?? this.last.index) + 1;
    }
  }

  /** Entries up to `index` are committed and durable here: readers may see them. */
  async show(index: number): Promise<void> {
    const { state, reads } = this.#parts;
    if (index <= this.shownIndex) return;
    assert(index <= state.durable.index, "what is shown is durable");
    const nextOffset = await reads
      .run(`show entry ${index}`, () => this.#endOf(index))
      .catch((error: unknown) => {
        // Another log has taken the place of this one, and what was looked for lies before its base.
        if (index <= this.shownIndex) return 0;
        throw error;
      });
    if (index <= this.shownIndex) return;
    state.shown = { index, nextOffset };
    this.#parts.wakeReaders();
  }

  async #endOf(index: number): Promise<number> {
    const { state } = this.#parts;
    if (index === state.last.index) return state.last.nextOffset;
    const segment = state.segments.findByIndex(index);
    if (segment === state.segments.active) return state.segments.active.locateIndex(index + 1).baseOffset;
    return nextOffsetOf(await readEntry(state.context, segment, index));
  }

  /** What the log knows of what was trimmed away, with all that it knows of its entries: as a base record. */
  describeBase(): Buffer {
    const { base, description } = this.#parts.state;
    return encodeBaseRecord(describedBase(base, description), 0);
  }

  /** The last entry that lies in a sealed segment, or the base. */
  get sealedIndex(): number {
    const { segments, base } = this.#parts.state;
    return Math.max(base.baseIndex, segments.active.baseIndex - 1);
  }

  /**
   * Puts the entries in the place of what is bad in a store of this log, as others have them; the segment that is written to is sealed for
   * it. Resolves with how much that was: nothing where nothing is bad, or the segment is gone. Throws what `fetch` throws,
   * LOG_CORRUPT when what it brings doesn't fit, DISK_FULL, DISK_FAILED.
   */
  async repairStore(storePath: string, fetch: FetchEntries): Promise<{ readonly entries: number; readonly bytes: number }> {
    const { writer, reads, state } = this.#parts;
    const attempt = `repair ${storePath}`;
    if (state.segments.active.storePath === storePath)
      await writer.exclusively(attempt, async () => {
        const { active } = state.segments;
        if (active.storePath === storePath && active.entryCount > 0) await writer.rollNow();
      });
    const segment = state.segments.sealed.find((sealed) => sealed.storePath === storePath);
    let repaired: RepairedStore | undefined;
    try {
      repaired = segment && (await reads.run(attempt, () => repairSegment(state, segment, fetch)));
      if (segment !== undefined && repaired !== undefined) await this.#replaceStore(attempt, segment, repaired);
      // Nothing is bad but perhaps its index.
      else await segment?.rebuild();
    } catch (error) {
      // Trimmed, truncated or compacted meanwhile: what was bad went with it.
      if (segment === undefined || state.segments.sealed.includes(segment)) throw error;
    }
    state.context.damages.forget(storePath);
    return { entries: repaired?.entries ?? 0, bytes: repaired?.fetchedBytes ?? 0 };
  }

  /** In the place of the old one, as compaction puts one there (docs/format.md, "Replacing a segment"). */
  async #replaceStore(attempt: string, segment: SealedSegment, { path, builder }: RepairedStore): Promise<void> {
    const { state, writer, sizesChanged } = this.#parts;
    const { context } = state;
    try {
      await writer.exclusively(attempt, async () => {
        if (!state.segments.sealed.includes(segment)) return;
        try {
          context.disk.rename(path, segment.storePath);
        } catch (error) {
          throw diskFailedError("put a segment in its place", error);
        }
        context.openFiles.forget(segment.storePath);
        const replacement = SealedSegment.replacing(context, builder);
        state.replaceSealed([segment], replacement);
        sizesChanged();
        await context.disk.syncDirectory(context.directory);
        replacement.settle();
      });
    } finally {
      // Once it is renamed, there is nothing of that name.
      removeRewrite(context, path);
    }
  }

  /** Of a log that is received: there is all of it. It begins at `logStartOffset`, or where it ends, and is closed. */
  async finish(logStartOffset: number): Promise<void> {
    const { writer, state } = this.#parts;
    await writer.exclusively("finish what was received", async () => {
      await writer.prepareChange();
      if (state.segments.active.entryCount > 0) await writer.rollNow();
      const start = Math.min(logStartOffset, state.last.nextOffset);
      if (start > state.base.logStartOffset) await state.writeBase({ logStartOffset: start }, state.description);
    });
    await this.close();
  }

  /** Puts a log that was received and finished in the place of this one, durably. What was here goes. */
  async install(received: ReplicaLog): Promise<void> {
    const parts = this.#parts;
    const { baseIndex } = received.#parts.state.base;
    await parts.writer.exclusively(`install the base at entry ${baseIndex}`, async () => {
      assert(baseIndex > this.shownIndex, "what is committed isn't replaced");
      await installReceived(parts, received.#parts.state);
    });
  }

  /**
   * Makes `offset` the log start, where it isn't above it already, and removes segments wholly below it. Nothing that isn't shown
   * goes, and no segment is begun for it: both are for the leader to say. DISK_FULL or OVERLOADED: not now.
   */
  async trim(offset: number): Promise<void> {
    const { writer, reads, state } = this.#parts;
    await writer.exclusively(`trim to offset ${offset}`, async () => {
      if (offset <= state.base.logStartOffset) return;
      assert(offset <= (state.shown?.nextOffset ?? 0), "what is trimmed is committed");
      await writer.syncNow();
      await writer.prepareChange();
      const plan = await reads.run(`trim to offset ${offset}`, async () => planTrim(state, offset, this.shownIndex));
      const trimmed = await trim(state, plan);
      this.#parts.sizesChanged();
      state.context.observer.trimmed?.({ ...trimmed, logStartOffset: offset });
    });
  }

  /**
   * What the retention options would have the log begin with, as far as segments wholly at or below `lastIndex` allow; undefined when
   * nothing is to go. Where the segment that is written to is too old, it has to be sealed first: the next entry is to begin another.
   */
  async findRetention(lastIndex: number): Promise<{ readonly offset: number | undefined; readonly mustSeal: boolean }> {
    const { state, options, findExpired } = this.#parts;
    const { retentionMaxBytes, retentionMaxAgeMs, cleanup } = options;
    const isUnlimited = retentionMaxBytes === Number.POSITIVE_INFINITY && retentionMaxAgeMs === Number.POSITIVE_INFINITY;
    if (cleanup === "compact" || isUnlimited) return { offset: undefined, mustSeal: false };
    const now = state.context.clock.now();
    const { segments } = state;
    const { count } = await findExpired(now);
    let kept = Math.min(count, segments.sealed.length);
    while (kept > 0 && segments.at(kept).baseIndex > lastIndex + 1) kept -= 1;
    const offset = kept === 0 ? undefined : segments.at(kept).baseOffset();
    const { active } = segments;
    const holdsRecords = active.last.nextOffset > active.before().nextOffset;
    const mustSeal = holdsRecords && now - active.last.appendTime > retentionMaxAgeMs;
    return { offset: offset !== undefined && offset > state.base.logStartOffset ? offset : undefined, mustSeal };
  }

  /** The offset behind an entry of the log. */
  findEndOf(index: number): Promise<number> {
    const { base } = this;
    if (index <= base.index) return Promise.resolve(base.nextOffset);
    return this.#parts.reads.run(`find entry ${index}`, () => this.#endOf(index));
  }

  encodeForPeer(entry: StampedEntry): Buffer {
    return encodeForPeer(entry, this.#parts.state.context.seed);
  }

  /** Undefined when the bytes aren't one sound frame of this group's. */
  decodeFromPeer(bytes: Buffer): StampedEntry | undefined {
    return decodeFromPeer(bytes, this.#parts.state.context.seed);
  }

  close(): Promise<void> {
    return this.log.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Bytes that an entry takes in a store. */
export function storeBytesOf(entry: Pick<StampedEntry, "payload">): number {
  return frameHeadBytes + entry.payload.length;
}

const scanPieceBytes = 16 * readEntryBytes;

/** Entries that are written together: an entry that begins a segment begins a run. */
function runsOf(entries: readonly StampedEntry[]): StampedEntry[][] {
  const runs: StampedEntry[][] = [];
  for (const entry of entries) {
    const run = runs.at(-1);
    if (run === undefined || (entry.flags & entryFlags.beginsSegment) !== 0) runs.push([entry]);
    else run.push(entry);
  }
  return runs;
}

function upTo(frames: readonly Frame[], lastIndex: number, maxBytes: number): readonly Frame[] {
  let bytes = 0;
  const end = frames.findIndex((frame, position) => {
    bytes += frame.byteLength;
    return frame.index > lastIndex || (position > 0 && bytes > maxBytes);
  });
  return end < 0 ? frames : frames.slice(0, end);
}
