import { segmentDamagesMaxCount } from "../base/limits.ts";
import type { DiskFile } from "../base/disk.ts";
import type { ChainPoint } from "./chain.ts";
import { findDamage } from "./corrupt-error.ts";
import type { Frame } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { NextFrameSearch } from "./frame-search.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import type { SegmentEnd } from "./seam.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { findScanFault } from "./store-scan.ts";

export interface SegmentScrub {
  readonly damages: number;
  /** Where the entries end, when the last of them is whole. */
  readonly end: SegmentEnd | undefined;
}

export interface SegmentScrubOptions {
  /** Where the segment behind begins, when that is known. */
  readonly nextOffset: number | undefined;
  /** Asked after each piece. */
  readonly goOn: (readBytes: number) => Promise<boolean>;
  /** In the order of their positions, as they are found. */
  readonly onDamage: (damage: LogDamage) => void;
}

/**
 * Reads a sealed segment to its end, past what is bad in it: behind each damage it looks for the next frame that is whole.
 * Undefined when it was told not to go on. Throws what the disk throws.
 */
export async function scrubSegment(
  context: LogContext,
  segment: SealedSegment,
  options: SegmentScrubOptions,
): Promise<SegmentScrub | undefined> {
  const { disk, openFiles } = context;
  const file = openFiles.acquire(disk, segment.storePath);
  try {
    return await new SegmentReading(context, segment, file, options).run();
  } finally {
    openFiles.release(file);
  }
}

class SegmentReading {
  readonly #context: LogContext;
  readonly #segment: SealedSegment;
  readonly #file: DiskFile;
  readonly #options: SegmentScrubOptions;
  #damages = 0;
  #isStopped = false;

  constructor(context: LogContext, segment: SealedSegment, file: DiskFile, options: SegmentScrubOptions) {
    this.#context = context;
    this.#segment = segment;
    this.#file = file;
    this.#options = options;
  }

  async run(): Promise<SegmentScrub | undefined> {
    let place = await this.#findStart();
    let end: SegmentEnd | undefined;
    while (place !== undefined && !this.#isStopped) {
      const scanner = await this.#scan(place);
      if (this.#isStopped) break;
      const { chain, position } = scanner;
      const reason = findScanFault(this.#file, scanner);
      if (reason === undefined) {
        end = { lastIndex: chain.index, nextOffset: chain.nextOffset, storeBytes: position };
        break;
      }
      place = await this.#passOver({ position, chain, firstOffset: chain.nextOffset, reason });
    }
    return this.#isStopped ? undefined : { damages: this.#damages, end };
  }

  async #findStart(): Promise<Place | undefined> {
    try {
      return { position: segmentHeaderBytes, chain: this.#segment.before() };
    } catch (error) {
      const damage = findDamage(error, this.#segment.storePath);
      if (damage === undefined) throw error;
      const { baseIndex } = this.#segment;
      const firstOffset = this.#segment.findSummary()?.baseOffset;
      // What came before the segment stands in its header alone; the first whole frame tells as much as is needed.
      const chain: ChainPoint = { index: baseIndex - 1, term: 0, nextOffset: firstOffset ?? 0, appendTime: 0 };
      return this.#passOver({ position: 0, chain, firstOffset, reason: damage.reason });
    }
  }

  async #scan({ position, chain }: Place): Promise<FrameScanner> {
    const { seed } = this.#context;
    const endPosition = this.#file.size();
    const scanner = new FrameScanner({ file: this.#file, position, endPosition, chain, seed, reusesMemory: true });
    while (scanner.end === undefined && !this.#isStopped) {
      const from = scanner.position;
      await scanner.next();
      await this.#proceed(scanner.position - from);
    }
    return scanner;
  }

  /** Notes a damage, and returns where to go on behind it; undefined when nothing whole follows. */
  async #passOver(fault: {
    readonly position: number;
    readonly chain: ChainPoint;
    /** Undefined when nobody knows. */
    readonly firstOffset: number | undefined;
    readonly reason: string;
  }): Promise<Place | undefined> {
    const { position, chain } = fault;
    this.#damages += 1;
    const isLast = this.#damages >= segmentDamagesMaxCount;
    const found = isLast ? undefined : await this.#findNext(position, chain);
    if (this.#isStopped) return undefined;
    const firstOffset = fault.firstOffset ?? found?.baseOffset ?? 0;
    this.#options.onDamage({
      file: this.#segment.storePath,
      position,
      firstOffset,
      nextOffset: Math.max(firstOffset, found?.baseOffset ?? this.#options.nextOffset ?? firstOffset),
      reason: isLast ? `${fault.reason}; what follows isn't looked at any more` : fault.reason,
    });
    if (found === undefined) return undefined;
    const { index, baseOffset } = found;
    return { position: found.position, chain: { ...chain, index: index - 1, nextOffset: baseOffset } };
  }

  async #findNext(from: number, chain: ChainPoint): Promise<Frame | undefined> {
    const file = this.#file;
    const search = new NextFrameSearch({ file, from, to: file.size(), seed: this.#context.seed, chain });
    while (!search.isDone && !this.#isStopped) {
      const at = search.position;
      const frame = search.next();
      if (frame !== undefined) return frame;
      await this.#proceed(search.position - at);
    }
    return undefined;
  }

  async #proceed(readBytes: number): Promise<void> {
    this.#isStopped ||= !(await this.#options.goOn(readBytes));
  }
}

interface Place {
  readonly position: number;
  /** The entry before it. */
  readonly chain: ChainPoint;
}
