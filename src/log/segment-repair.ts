import { type DiskFile, systemErrorCode } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { advanceChain, type ChainPoint, findChainFault } from "./chain.ts";
import { corruptError } from "./corrupt-error.ts";
import { readEntry } from "./entry-lookup.ts";
import { type Frame, readFrame } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { NextFrameSearch } from "./frame-search.ts";
import { IndexBuilder } from "./index-builder.ts";
import type { LogState } from "./log-state.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import type { Segment } from "./segments.ts";
import { encodeSegmentHeader, readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { temporarySuffix } from "./segment-name.ts";
import { removeRewrite } from "./segment-rewrite.ts";
import { encodeForPeer, type StampedEntry } from "./stamped-entry.ts";
import { StoreWriter } from "./store-writer.ts";

/** What of a sealed segment was bad, and has been written anew beside it. */
export interface RepairedStore {
  readonly path: string;
  readonly builder: IndexBuilder;
  readonly bytes: number;
  /** How many entries came from others, and their frames' bytes. */
  readonly entries: number;
  readonly fetchedBytes: number;
}

/** Entries from `index` on, one at least, up to and with `lastIndex`; each is that of this log at its index. */
export type FetchEntries = (index: number, lastIndex: number) => Promise<readonly StampedEntry[]>;

/**
 * Writes a sealed segment anew beside itself: what is whole of it as it is, and in the place of what is bad the same entries, as others have
 * them. They have to follow what is before them and lead to what is behind. Undefined when nothing is bad. Durable when it resolves;
 * when it throws, nothing is left beside the segment.
 */
export async function repairSegment(
  state: LogState,
  segment: SealedSegment,
  fetch: FetchEntries,
): Promise<RepairedStore | undefined> {
  const { disk, openFiles } = state.context;
  // Another name than compaction's, which may be at work on the same segment.
  const path = `${segment.storePath}.repair${temporarySuffix}`;
  const source = openSource(state, segment);
  let target: DiskFile | undefined;
  try {
    // An earlier run may have failed to remove its file.
    disk.remove(path);
    target = disk.open(path, "create");
    const repair = new SegmentRepair(state, segment, { source, target, fetch });
    const repaired = await repair.run();
    if (repaired === undefined) {
      removeRewrite(state.context, path);
      return undefined;
    }
    await target.datasync();
    return { path, ...repaired };
  } catch (error) {
    if (target !== undefined) removeRewrite(state.context, path);
    throw error;
  } finally {
    target?.close();
    if (source !== undefined) openFiles.release(source);
  }
}

/** Undefined when the store is gone. */
function openSource({ context }: LogState, { storePath }: SealedSegment): DiskFile | undefined {
  try {
    return context.openFiles.acquire(context.disk, storePath);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

class SegmentRepair {
  readonly #state: LogState;
  readonly #segment: SealedSegment;
  readonly #fetch: FetchEntries;
  readonly #target: DiskFile;
  /** Undefined when it is gone, or from where on it can't be read. */
  #source: DiskFile | undefined;
  #position = segmentHeaderBytes;
  #isHeaderBad = false;
  #entries = 0;
  #fetchedBytes = 0;

  constructor(
    state: LogState,
    segment: SealedSegment,
    parts: { readonly source: DiskFile | undefined; readonly target: DiskFile; readonly fetch: FetchEntries },
  ) {
    this.#state = state;
    this.#segment = segment;
    this.#source = parts.source;
    this.#target = parts.target;
    this.#fetch = parts.fetch;
  }

  async run(): Promise<Omit<RepairedStore, "path"> | undefined> {
    const { seed } = this.#state.context;
    const header = this.#readHeader() ?? (await this.#makeHeader());
    const builder = new IndexBuilder(header.before);
    const writer = new StoreWriter(this.#target, builder, seed);
    writer.addHeader(header.bytes);
    const next = this.#state.segments.after(this.#segment);
    if (next === undefined) throw new Error("a sealed segment is followed by another");
    const lastIndex = next.baseIndex - 1;
    for (;;) {
      await this.#copyWhole(writer, lastIndex);
      if (builder.last.index >= lastIndex) break;
      const found = await this.#findNext(builder.last, lastIndex);
      await this.#fetchUpTo(writer, found === undefined ? lastIndex : found.index - 1);
      // What was found may be a frame of something else: behind it the search goes on.
      if (found !== undefined)
        this.#position = findChainFault(builder.last, found) === undefined ? found.position : found.position + 1;
    }
    this.#checkEnd(builder.last, next);
    await writer.flush();
    if (this.#entries === 0 && !this.#isHeaderBad) return undefined;
    return { builder, bytes: writer.end, entries: this.#entries, fetchedBytes: this.#fetchedBytes };
  }

  #readHeader(): { readonly bytes: Buffer; readonly before: ChainPoint } | undefined {
    const { logId } = this.#state.context;
    const bytes = Buffer.alloc(segmentHeaderBytes);
    const read = this.#trySync((source) => readSegmentHeader(bytes.subarray(0, source.readSync(bytes, 0))));
    if (read === undefined || "fault" in read) return undefined;
    const isOwn = read.header.logId.equals(logId) && read.header.baseIndex === this.#segment.baseIndex;
    return isOwn ? { bytes, before: read.before } : undefined;
  }

  /** Of what is known of the entry before the segment. When it was made isn't known any more. */
  async #makeHeader(): Promise<{ readonly bytes: Buffer; readonly before: ChainPoint }> {
    this.#isHeaderBad = true;
    const { context, segments, base } = this.#state;
    const { logId, clock } = context;
    const index = this.#segment.baseIndex - 1;
    const { baseIndex, baseTerm: term, nextOffset } = base;
    const before: ChainPoint =
      index <= baseIndex
        ? { index: baseIndex, term, nextOffset, appendTime: 0 }
        : advanceChain(await readEntry(context, segments.findByIndex(index), index));
    return { bytes: encodeSegmentHeader({ logId, createdAt: Math.max(0, clock.now()) }, before, before.index), before };
  }

  /** Copies frames from the position on, as far as they are whole and follow. */
  async #copyWhole(writer: StoreWriter, lastIndex: number): Promise<void> {
    const { seed } = this.#state.context;
    await this.#try(async (source) => {
      const scanner = new FrameScanner({
        file: source,
        position: this.#position,
        endPosition: source.size(),
        chain: writer.builder.last,
        seed,
        reusesMemory: true,
      });
      while (scanner.end === undefined) {
        for (const frame of await scanner.next()) if (frame.index <= lastIndex) writer.add(frame);
        await writer.flush();
        this.#position = scanner.position;
      }
    });
  }

  async #findNext(chain: ChainPoint, lastIndex: number): Promise<Frame | undefined> {
    const { seed, clock } = this.#state.context;
    let found: Frame | undefined;
    await this.#try(async (source) => {
      const search = new NextFrameSearch({ file: source, from: this.#position, to: source.size(), seed, chain });
      while (!search.isDone && found === undefined) {
        const frame = search.next();
        if (frame !== undefined && frame.index <= lastIndex) found = frame;
        await clock.turn();
      }
    });
    return found;
  }

  async #fetchUpTo(writer: StoreWriter, lastIndex: number): Promise<void> {
    const { seed } = this.#state.context;
    while (writer.builder.last.index < lastIndex) {
      const entries = await this.#fetch(writer.builder.last.index + 1, lastIndex);
      for (const entry of entries) {
        const fault = findChainFault(writer.builder.last, { ...entry, syncedBack: 0 });
        if (fault !== undefined) throw this.#damage(writer.builder.last, `what others have in its place doesn't fit: ${fault}`);
        const bytes = encodeForPeer(entry, seed);
        const read = readFrame(bytes, 0, bytes.length, 0, seed);
        if (read.outcome !== "frame") throw new Error("a frame is read as it was written");
        writer.add(read.frame);
        this.#entries += 1;
        this.#fetchedBytes += bytes.length;
      }
      await writer.flush();
    }
  }

  /** What is behind the segment goes on where it ends. */
  #checkEnd(last: ChainPoint, next: Segment): void {
    let nextOffset: number | undefined;
    try {
      nextOffset = next.baseOffset();
    } catch (error) {
      // The next one is bad, too, and its turn comes.
      if (!isProglogError(error, "LOG_CORRUPT")) throw error;
    }
    if (nextOffset === undefined || nextOffset === last.nextOffset) return;
    throw this.#damage(last, `it ends with offset ${last.nextOffset}, and the next segment begins with ${nextOffset}`);
  }

  #damage({ nextOffset }: ChainPoint, reason: string): Error {
    const { storePath: file } = this.#segment;
    return corruptError("repair a segment", { file, position: this.#position, firstOffset: nextOffset, nextOffset, reason });
  }

  #trySync<Result>(read: (source: DiskFile) => Result): Result | undefined {
    if (this.#source === undefined) return undefined;
    try {
      return read(this.#source);
    } catch (error) {
      this.#cannotRead(error);
      return undefined;
    }
  }

  async #try(read: (source: DiskFile) => Promise<void>): Promise<void> {
    if (this.#source === undefined) return;
    try {
      await read(this.#source);
    } catch (error) {
      this.#cannotRead(error);
    }
  }

  /** What the disk can't read is as bad as what it reads wrong; what lies behind it is fetched. */
  #cannotRead(error: unknown): void {
    if (systemErrorCode(error) !== "EIO") throw error;
    this.#source = undefined;
  }
}
