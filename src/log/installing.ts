import { dirname } from "node:path";
import { assert } from "../base/assert.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { ActiveSegment } from "./active-segment.ts";
import { type BaseRecord, readBaseRecord } from "./base-record.ts";
import { BaseSlots } from "./base-slots.ts";
import type { LogParts } from "./commit-log.ts";
import { describedBase, LogDescription } from "./log-description.ts";
import type { LogState } from "./log-state.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";
import { Segments } from "./segments.ts";
import { readSyncMark, SyncMarkFile } from "./sync-mark.ts";
import { ActiveTimeIndex } from "./time-index.ts";

/**
 * A log takes the place of another (docs/format.md, "A log that is received"): a replica too far behind its leader is given what the
 * leader's log begins with, and writes it to a directory beside its own, as a log like any other. When that is whole and closed, the
 * two change places by names alone:
 *
 *     x           → x.replaced
 *     x.incoming  → x
 *
 * and only when that is durable the replaced one is removed. Whatever a crash leaves of this, one of the two stands there whole:
 * `x.replaced` is there only once `x.incoming` is, so who opens `x` and finds it missing knows which one is meant.
 */
export const incomingSuffix = ".incoming";
const replacedSuffix = ".replaced";

/** To be called before a log is opened: finishes what a crash cut short. What is still being received stays. */
export async function finishInstall(disk: Disk, directory: string): Promise<void> {
  const replaced = directory + replacedSuffix;
  if (!disk.isDirectory(replaced)) return;
  if (!disk.isDirectory(directory)) {
    const incoming = directory + incomingSuffix;
    disk.rename(disk.isDirectory(incoming) ? incoming : replaced, directory);
  }
  await disk.syncDirectory(dirname(directory));
  await removeDirectory(disk, replaced);
}

/** Whether something was received for the log of a directory, whole or not. */
export function hasIncoming(disk: Disk, directory: string): boolean {
  return disk.isDirectory(directory + incomingSuffix);
}

export async function removeIncoming(disk: Disk, directory: string): Promise<void> {
  await removeDirectory(disk, directory + incomingSuffix);
}

/** Removes what stands beside the log of a directory that is deleted. The caller syncs the parent. */
export function removeBeside(disk: Disk, directory: string): void {
  for (const suffix of [incomingSuffix, replacedSuffix]) removeFiles(disk, directory + suffix);
}

/** What a log begins with that holds nothing but what is known of `base`'s trimmed entries: as far as that can be told of what is known later. */
export function baseWithoutEntries(base: BaseRecord, limits: LogState["context"]["producerLimits"]): BaseRecord {
  const { baseIndex, nextOffset } = base;
  const description = LogDescription.of(base, limits).cutTo({ index: baseIndex, nextOffset });
  // Where the log start lies among entries that are still to come, it is moved there when they have.
  return describedBase({ ...base, logStartOffset: nextOffset }, description);
}

/** Opens what was received with `open`; undefined when there is nothing, or nothing that is a log of this group. */
export async function openReceived<Log>(
  disk: Disk,
  directory: string,
  open: (directory: string) => Promise<Log>,
): Promise<Log | undefined> {
  const incoming = directory + incomingSuffix;
  if (!disk.isDirectory(incoming)) return undefined;
  try {
    return await open(incoming);
  } catch (error) {
    // A crash may have come before it was one, and what rotted is received again.
    if (isProglogError(error, "LOG_NOT_FOUND") || isProglogError(error, "LOG_CORRUPT")) return undefined;
    throw error;
  }
}

/**
 * Puts the log that was received in the place of the one of `parts`, durably; that one's files go last. `received` is the state of a log
 * that is closed and whose newest segment is empty. The caller has the log to itself.
 *
 * From the first name that changes to the last of what is in memory nobody gets a turn: a reader finds the one log or the other.
 */
export async function installReceived(parts: LogParts, received: LogState): Promise<void> {
  const { state } = parts;
  const { disk, directory, openFiles } = state.context;
  const [incoming, replaced, parent] = [directory + incomingSuffix, directory + replacedSuffix, dirname(directory)];
  await removeDirectory(disk, replaced);
  state.truncations += 1;
  for (const segment of state.segments.sealed) segment.retire();
  await state.segments.active.close();
  state.markFile.close();
  openFiles.forgetAll(`${directory}/`);
  disk.rename(directory, replaced);
  disk.rename(incoming, directory);
  adopt(state, received);
  state.truncations += 1;
  state.replacements += 1;
  parts.replaced();
  await disk.syncDirectory(parent);
  await removeDirectory(disk, replaced);
}

/** Makes the state that of a log which lies in the directory now, closed, with an empty segment at its end. */
function adopt(state: LogState, received: LogState): void {
  const { context } = state;
  const { disk, directory, logId } = context;
  const baseRead = readBaseRecord(disk, directory);
  const markRead = readSyncMark(disk, directory, logId);
  if (baseRead.state !== "valid" || markRead.state !== "valid") throw new Error("what was received isn't there any more");
  const { sealed, active } = received.segments;
  const before = active.before();
  assert(received.last.index === before.index, "what was received ends with an empty segment");
  const store = disk.open(segmentPath(directory, active.baseIndex, storeSuffix), "write");
  const none = { slots: Buffer.alloc(0), timeIndex: new ActiveTimeIndex(), firstAppendTime: undefined };
  const newest = ActiveSegment.adopt(context, store, { before, last: before, end: segmentHeaderBytes, ...none });
  state.replaceAll({
    markFile: SyncMarkFile.open(disk, directory, logId, markRead.sequence, markRead.mark),
    segments: new Segments(
      sealed.map(({ baseIndex }) => new SealedSegment(context, baseIndex)),
      newest,
    ),
    baseSlots: new BaseSlots(disk, directory, baseRead),
    description: received.description,
  });
}

async function removeDirectory(disk: Disk, directory: string): Promise<void> {
  if (!disk.isDirectory(directory)) return;
  removeFiles(disk, directory);
  await disk.syncDirectory(dirname(directory));
}

function removeFiles(disk: Disk, directory: string): void {
  if (!disk.isDirectory(directory)) return;
  for (const name of disk.list(directory)) disk.remove(`${directory}/${name}`);
  disk.removeDirectory(directory);
}
