import { decodeBatch } from "../../src/batch/decode-batch.ts";
import { baseRecordNames, decodeBaseRecord } from "../../src/log/base-record.ts";
import { decodeTrim } from "../../src/log/control-entries.ts";
import { type Frame, logSeed, readFrame } from "../../src/log/frame.ts";
import { readSegmentHeader } from "../../src/log/segment-header.ts";
import { storeSuffix } from "../../src/log/segment-name.ts";
import type { SeenRecord } from "../../test/histories/history.ts";
import type { SimDisk } from "../disk.ts";
import { Violation } from "../violation.ts";
import { contentOf } from "./cluster-client.ts";

/** What the files of a log say of where it begins. */
export interface LogBase {
  readonly index: number;
  readonly logStartOffset: number;
}

/** The term that the entry of an index has in a group; undefined when nobody knows, or when it isn't committed. */
export type CommittedTermOf = (index: number) => number | undefined;

/**
 * Records that were trimmed away, as the files had them that went: what a history is held against where no replica has it any more. A log says
 * durably where it begins before its files go, so what goes below that was trimmed, or is replaced by what another replica begins with. Of that
 * only what was committed counts: who fell behind may have had something else there.
 */
export class TrimmedRecords {
  readonly #groups = new Map<string, Map<number, string>>();
  readonly #wished = new Map<string, number>();

  /** The store of a log is about to be removed. Says where its log begins, if the store lies before that. */
  removing(disk: SimDisk, path: string, group: string, committedTermOf: CommittedTermOf): LogBase | undefined {
    if (!path.endsWith(storeSuffix)) return undefined;
    const base = findBase(disk, path.slice(0, path.lastIndexOf("/")));
    if (base === undefined) return undefined;
    const frames = framesOf(disk.contentOf(path)).filter(({ index }) => index <= base.index);
    this.#keep(group, frames, committedTermOf);
    return frames.length === 0 ? undefined : base;
  }

  /** Where a group's log is to start, by the committed entries that were looked at. */
  wishedOf(group: string): number {
    return this.#wished.get(group) ?? 0;
  }

  /** What still lies in the files of a log: below its start too, since a trim needn't end with a segment. */
  lookInto(disk: SimDisk, directory: string, group: string, committedTermOf: CommittedTermOf): void {
    for (const name of disk.list(directory))
      if (name.endsWith(storeSuffix)) this.#keep(group, framesOf(disk.contentOf(`${directory}/${name}`)), committedTermOf);
  }

  /** In the order of their offsets. */
  before(group: string, offset: number): readonly SeenRecord[] {
    const kept = [...(this.#groups.get(group) ?? [])].map(([at, content]) => ({ offset: at, content }));
    return kept.filter((record) => record.offset < offset).sort((a, b) => a.offset - b.offset);
  }

  #keep(group: string, frames: readonly Frame[], committedTermOf: CommittedTermOf): void {
    const kept = this.#groups.get(group) ?? new Map<number, string>();
    this.#groups.set(group, kept);
    for (const { kind, index, term, payload } of frames) {
      if ((kind !== "data" && kind !== "trim") || committedTermOf(index) !== term) continue;
      if (kind === "trim") {
        this.#wished.set(group, Math.max(this.wishedOf(group), decodeTrim(payload)));
        continue;
      }
      for (const { offset, value } of decodeBatch(payload)) {
        const content = contentOf(value);
        const known = kept.get(offset);
        if (known !== undefined && known !== content)
          throw new Violation("I9", `offset ${offset} of ${group} was ${known} to one replica, and ${content} to another`);
        kept.set(offset, content);
      }
    }
  }
}

function findBase(disk: SimDisk, directory: string): LogBase | undefined {
  const slots = baseRecordNames.flatMap((name) => {
    const path = `${directory}/${name}`;
    const slot = disk.size(path) === undefined ? undefined : decodeBaseRecord(disk.contentOf(path));
    return slot === undefined ? [] : [slot];
  });
  const newest = slots.toSorted((a, b) => b.generation - a.generation)[0];
  return newest === undefined ? undefined : { index: newest.record.baseIndex, logStartOffset: newest.record.logStartOffset };
}

/** The frames of a store up to its end, or to the first that is bad. */
function framesOf(bytes: Buffer): readonly Frame[] {
  const read = readSegmentHeader(bytes);
  if ("fault" in read) return [];
  const seed = logSeed(read.header.logId);
  const frames: Frame[] = [];
  for (let at = 0; ; ) {
    const next = readFrame(bytes, at, bytes.length, at, seed);
    if (next.outcome !== "frame") return frames;
    frames.push(next.frame);
    at += next.frame.byteLength;
  }
}
