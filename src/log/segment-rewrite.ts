import type { DiskFile } from "../base/disk.ts";
import type { ProglogError } from "../base/error.ts";
import { compactionPieceBytes } from "../base/limits.ts";
import { corruptError } from "./corrupt-error.ts";
import { entryFlags, type Frame } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { IndexBuilder } from "./index-builder.ts";
import type { LogContext } from "./log-context.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import { checkSeam, type SegmentEnd } from "./seam.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { temporarySuffix } from "./segment-name.ts";
import { findScanFault } from "./store-scan.ts";
import { StoreWriter } from "./store-writer.ts";

/** A sealed segment as it was read, and the store that is to take its place where a batch of it changed. */
export interface SegmentRewrite {
  readonly end: SegmentEnd;
  readonly bytesBefore: number;
  /** Undefined when every batch stays as it is. */
  readonly store: NewStore | undefined;
}

/** A store beside the log's, durable, that is to take the place of one of them. */
export interface NewStore {
  readonly path: string;
  readonly builder: IndexBuilder;
  readonly bytes: number;
}

export interface RewriteOptions {
  /** What is to stand in the place of a data entry's batch; undefined when it stays. */
  readonly change: (frame: Frame) => Buffer | undefined;
  /** Told how many bytes were read and written; throws when the rewrite is to end. */
  readonly goOn: (bytes: number) => Promise<void>;
}

/**
 * Reads a sealed segment, verifies it, and writes it anew, with the batches that change changed, to a file beside it, which is
 * durable when this resolves. Nothing is written unless a batch changes. Entries keep their index, term, offsets and times.
 * Throws LOG_CORRUPT; then, as whenever it throws, nothing is left beside the segment.
 */
export async function rewriteSegment(
  context: LogContext,
  segment: SealedSegment,
  options: RewriteOptions,
): Promise<SegmentRewrite> {
  const { disk, openFiles } = context;
  const path = segment.storePath + temporarySuffix;
  const source = openFiles.acquire(disk, segment.storePath);
  let target: DiskFile | undefined;
  try {
    const scan = await findFirstChange(context, segment, source, options);
    if (!("first" in scan)) return { end: scan.end, bytesBefore: source.size(), store: undefined };
    // An earlier run may have failed to remove its file.
    disk.remove(path);
    target = disk.open(path, "create");
    const writer = new StoreWriter(target, new IndexBuilder(segment.before()), context.seed);
    const end = await writeAnew(context, segment, { source, writer, first: scan.first }, options);
    await target.datasync();
    return { end, bytesBefore: source.size(), store: { path, builder: writer.builder, bytes: writer.end } };
  } catch (error) {
    if (target !== undefined) removeRewrite(context, path);
    throw error;
  } finally {
    target?.close();
    openFiles.release(source);
  }
}

/** The first entry that changes, and what stands in its place. */
interface FirstChange {
  readonly index: number;
  readonly batch: Buffer;
}

/** Reads a segment up to the first entry that changes, or to its end. */
async function findFirstChange(
  context: LogContext,
  segment: SealedSegment,
  source: DiskFile,
  { change, goOn }: RewriteOptions,
): Promise<{ readonly first: FirstChange } | { readonly end: SegmentEnd }> {
  const scanner = scannerOf(context, segment, source);
  while (scanner.end === undefined) {
    const from = scanner.position;
    for (const frame of await scanner.next()) {
      const batch = canChange(frame) ? change(frame) : undefined;
      if (batch !== undefined) return { first: { index: frame.index, batch } };
    }
    await goOn(scanner.position - from);
  }
  return { end: checkEnd(segment, source, scanner) };
}

/**
 * Writes a segment anew from its front, with `first` and what `change` says from there on. What was read before is read and
 * verified again: only what was right gets copied. Resolves with the end of the old store.
 */
async function writeAnew(
  context: LogContext,
  segment: SealedSegment,
  parts: { readonly source: DiskFile; readonly writer: StoreWriter; readonly first: FirstChange },
  { change, goOn }: RewriteOptions,
): Promise<SegmentEnd> {
  const { source, writer, first } = parts;
  writer.addHeader(readHeader(segment, source));
  const scanner = scannerOf(context, segment, source);
  while (scanner.end === undefined) {
    const from = scanner.position;
    for (const frame of await scanner.next()) {
      const mayChange = frame.index >= first.index && canChange(frame);
      const batch = !mayChange ? undefined : frame.index === first.index ? first.batch : change(frame);
      if (batch === undefined) writer.add(frame);
      else writer.addChanged(frame, batch);
    }
    // The frames lie in memory that the next piece takes.
    const writtenBytes = await writer.flush();
    await goOn(scanner.position - from + writtenBytes);
  }
  return checkEnd(segment, source, scanner);
}

/** The bytes of the segment header, verified. */
function readHeader(segment: SealedSegment, source: DiskFile): Buffer {
  const bytes = Buffer.alloc(segmentHeaderBytes);
  const read = readSegmentHeader(bytes.subarray(0, source.readSync(bytes, 0)));
  if ("fault" in read) throw damageOf(segment, 0, segment.before().nextOffset, read.fault);
  return bytes;
}

function scannerOf({ seed }: LogContext, segment: SealedSegment, file: DiskFile): FrameScanner {
  return new FrameScanner({
    file,
    position: segmentHeaderBytes,
    endPosition: file.size(),
    chain: segment.before(),
    seed,
    pieceBytes: compactionPieceBytes,
    reusesMemory: true,
  });
}

/** Where a scan ended. Throws LOG_CORRUPT when that isn't the end of the store. */
function checkEnd(segment: SealedSegment, source: DiskFile, scanner: FrameScanner): SegmentEnd {
  const { chain, position } = scanner;
  const fault = findScanFault(source, scanner);
  if (fault !== undefined) throw damageOf(segment, position, chain.nextOffset, fault);
  return { lastIndex: chain.index, nextOffset: chain.nextOffset, storeBytes: position };
}

function damageOf(segment: SealedSegment, position: number, offset: number, reason: string): ProglogError {
  const damage = { file: segment.storePath, position, firstOffset: offset, nextOffset: offset, reason };
  return corruptError("compact a segment", damage);
}

/**
 * Writes the entries of segments that follow each other, verified, to one store beside the first, which is durable when this
 * resolves. Throws as `rewriteSegment` does, and LOG_CORRUPT when something is missing between two of them.
 */
export async function joinSegments(
  context: LogContext,
  segments: readonly [SealedSegment, ...SealedSegment[]],
  goOn: (bytes: number) => Promise<void>,
): Promise<NewStore> {
  const { disk } = context;
  const [first] = segments;
  const path = first.storePath + temporarySuffix;
  disk.remove(path);
  const target = disk.open(path, "create");
  try {
    const writer = new StoreWriter(target, new IndexBuilder(first.before()), context.seed);
    for (const segment of segments) {
      checkSeam("merge segments", first, { ...endOf(writer), storeBytes: writer.end }, segment);
      await appendSegment(context, segment, writer, goOn);
    }
    await target.datasync();
    return { path, builder: writer.builder, bytes: writer.end };
  } catch (error) {
    removeRewrite(context, path);
    throw error;
  } finally {
    target.close();
  }
}

async function appendSegment(
  context: LogContext,
  segment: SealedSegment,
  writer: StoreWriter,
  goOn: (bytes: number) => Promise<void>,
): Promise<void> {
  const { disk, openFiles } = context;
  const source = openFiles.acquire(disk, segment.storePath);
  try {
    if (writer.end === 0) writer.addHeader(readHeader(segment, source));
    const scanner = scannerOf(context, segment, source);
    while (scanner.end === undefined) {
      const from = scanner.position;
      for (const frame of await scanner.next()) writer.add(frame);
      const writtenBytes = await writer.flush();
      await goOn(scanner.position - from + writtenBytes);
    }
    checkEnd(segment, source, scanner);
  } finally {
    openFiles.release(source);
  }
}

function endOf({ builder }: StoreWriter): { readonly lastIndex: number; readonly nextOffset: number } {
  return { lastIndex: builder.last.index, nextOffset: builder.last.nextOffset };
}

/** What a rewrite left that isn't wanted any more. A file that can't be removed is left to the next opening. */
export function removeRewrite({ disk, logger }: LogContext, path: string): void {
  try {
    disk.remove(path);
  } catch (error) {
    logger.warn({ error, file: path }, "could not remove what compaction left");
  }
}

/** What repair put in the place of lost records says so by its flag, and has nothing to lose. */
function canChange({ kind, flags }: Frame): boolean {
  return kind === "data" && (flags & entryFlags.lost) === 0;
}
