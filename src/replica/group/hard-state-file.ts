import { crc32c } from "../../batch/crc32c.ts";
import { assert } from "../../base/assert.ts";
import { findLastNonZero, readUint64LE, writeUint64LE } from "../../base/bytes.ts";
import { ProglogError } from "../../base/error.ts";
import { hardStateCopyMinBytes, hardStateMaxBytes } from "../../base/cluster-limits.ts";
import { decodeRound, encodeRound, findLaterRound, type HardStateRound } from "./hard-state-round.ts";
import type { SavedHardState } from "./hard-state-slot.ts";

/**
 * The bytes of a hard-state file (docs/format.md): two copies, one behind the other, each of a head and of all rounds.
 *
 *      0      512                                     copy bytes                                      2 × copy bytes
 *     ┌──────┬─────────┬─────────┬───────┬───────────┬──────┬─────────┬─────────┬───────┬────────────┐
 *     │ head │ round 1 │ round 2 │ …     │ zeros     │ head │ round 1 │ round 2 │ …     │ zeros      │
 *     └──────┴─────────┴─────────┴───────┴───────────┴──────┴─────────┴─────────┴───────┴────────────┘
 *
 * One copy would leave a question that nobody can answer: the last round is bad; was it torn by a power cut and never told to anybody,
 * or has it rotted since? Whoever takes rot for a tear forgets a vote. A power cut can tear both copies of the round that was being
 * written, but rot strikes one place. So what is sound in one copy counts; and what is bad in both counts as torn only where no later
 * round is found, since a round isn't begun before the one before it is synced.
 */
export interface HardStateHead {
  /** Counts up with each file that takes the place of another; part of the seed, so that no round of an earlier file is one of this. */
  readonly generation: number;
  readonly copyBytes: number;
  readonly storageId: string;
}

/** In the data directory. */
export const hardStateName = "hard-state";

export const hardStateHeadBytes = 512;

const magic = Buffer.from("PLHARDS1", "latin1");
const version = 1;
const storageIdMaxBytes = 255;
const copyStepBytes = 4096;

export function encodeHead({ generation, copyBytes, storageId }: HardStateHead): Buffer {
  const head = Buffer.alloc(hardStateHeadBytes);
  const name = Buffer.from(storageId, "utf8");
  assert(name.length > 0 && name.length <= storageIdMaxBytes, "a storage id has 1 to 255 bytes");
  magic.copy(head, 0);
  head.writeUInt16LE(version, 12);
  writeUint64LE(head, generation, 16);
  writeUint64LE(head, copyBytes, 24);
  head.writeUInt8(name.length, 32);
  name.copy(head, 33);
  head.writeUInt32LE(crc32c(head, 12, hardStateHeadBytes), 8);
  return head;
}

export function seedOf({ storageId, generation }: Pick<HardStateHead, "storageId" | "generation">): number {
  const bytes = Buffer.alloc(8);
  writeUint64LE(bytes, generation, 0);
  return crc32c(bytes, 0, 8, crc32c(Buffer.from(storageId, "utf8")));
}

/** A file that says `states` in its first round. A copy has room for as much again, three times. */
export function encodeFile(
  { storageId, generation }: Pick<HardStateHead, "storageId" | "generation">,
  states: ReadonlyMap<string, SavedHardState>,
  copyMinBytes = hardStateCopyMinBytes,
): { readonly head: HardStateHead; readonly bytes: Buffer; readonly end: number } {
  const round = encodeRound(1, states, seedOf({ storageId, generation }));
  const plainBytes = hardStateHeadBytes + round.length;
  assert(2 * plainBytes <= hardStateMaxBytes, "the hard states of all groups fit into a file");
  const wanted = Math.min(Math.max(copyMinBytes, 4 * plainBytes), hardStateMaxBytes / 2);
  const copyBytes = Math.ceil(wanted / copyStepBytes) * copyStepBytes;
  const head = { storageId, generation, copyBytes };
  const bytes = Buffer.alloc(2 * copyBytes);
  for (const start of [0, copyBytes]) {
    encodeHead(head).copy(bytes, start);
    round.copy(bytes, start + hardStateHeadBytes);
  }
  return { head, bytes, end: hardStateHeadBytes + round.length };
}

/** What a file says. */
export interface HardStateFound {
  readonly head: HardStateHead;
  readonly states: Map<string, SavedHardState>;
  /** Of the last sound round, and how many changes it has. */
  readonly sequence: number;
  readonly lastCount: number;
  /** Behind it, in each copy. */
  readonly end: number;
  /** One copy as it should be: up to the end, and zeros behind it. */
  readonly image: Buffer;
  /** Bytes behind the end that were never acknowledged. */
  readonly cutBytes: number;
  /** Rounds and heads that were sound in one copy alone. */
  readonly repairedCount: number;
}

/** The bytes of one copy; undefined where they can't be read: then it is bad from its beginning to its end. */
export type HardStateCopy = Buffer | undefined;

/** Reads a file by its two halves. Throws MANIFEST_CORRUPT or UNSUPPORTED_FORMAT. */
export function readFile(path: string, copies: readonly HardStateCopy[], storageId: string): HardStateFound {
  const heads = copies.map((bytes) => decodeHead(path, bytes));
  const head = heads.find((found) => found !== undefined);
  if (head === undefined) throw corrupt(path, "it doesn't begin as one, in neither copy");
  if (head.storageId !== storageId) {
    throw corrupt(path, `it belongs to the directory with the storage id ${head.storageId}, and this one has ${storageId}`);
  }
  const seed = seedOf(head);
  const states = new Map<string, SavedHardState>();
  const image = Buffer.alloc(head.copyBytes);
  encodeHead(head).copy(image, 0);
  let repairedCount = heads.filter((found) => found === undefined).length;
  let sequence = 0;
  let lastCount = 0;
  let end = hardStateHeadBytes;
  for (;;) {
    const rounds = copies.map((bytes) => nextRound(bytes, end, sequence + 1, seed));
    const sound = rounds.findIndex((round) => round !== undefined);
    const round = rounds[sound];
    if (round === undefined) break;
    const content = copies[sound]?.subarray(end, end + round.byteLength) ?? Buffer.alloc(0);
    for (const [number, other] of rounds.entries()) {
      if (other === undefined) repairedCount += 1;
      else if (copies[number]?.subarray(end, end + other.byteLength).equals(content) !== true)
        throw corrupt(path, `round ${round.sequence} says one thing in one copy and another in the other`);
    }
    content.copy(image, end);
    apply(states, round);
    sequence = round.sequence;
    lastCount = round.changes.size;
    end += round.byteLength;
  }
  checkTail(path, copies, { end, sequence, seed });
  return { head, states, sequence, lastCount, end, image, cutBytes: cutBytesOf(copies, end), repairedCount };
}

function nextRound(bytes: HardStateCopy, at: number, sequence: number, seed: number): HardStateRound | undefined {
  if (bytes === undefined) return undefined;
  const round = decodeRound(bytes, at, seed);
  return round?.sequence === sequence ? round : undefined;
}

function apply(states: Map<string, SavedHardState>, { changes }: HardStateRound): void {
  for (const [groupId, state] of changes) {
    if (state === undefined) states.delete(groupId);
    else states.set(groupId, state);
  }
}

/** Throws where what lies behind the last sound round may have been told to somebody. */
function checkTail(
  path: string,
  copies: readonly HardStateCopy[],
  { end, sequence, seed }: { readonly end: number; readonly sequence: number; readonly seed: number },
): void {
  // A file gets its name when its first round is durable.
  if (sequence === 0) throw corrupt(path, "its first round is bad in both copies");
  for (const [number, bytes] of copies.entries()) {
    const later = bytes === undefined ? undefined : findLaterRound(bytes, end, sequence, seed);
    if (later === undefined) continue;
    throw corrupt(path, `round ${sequence + 1} is bad in both copies, and copy ${number + 1} has a later one at ${later}`);
  }
  const isUnreadable = copies.includes(undefined);
  if (isUnreadable && cutBytesOf(copies, end) > 0) {
    throw corrupt(path, `round ${sequence + 1} is bad in one copy, and the other can't be read`);
  }
}

function cutBytesOf(copies: readonly HardStateCopy[], end: number): number {
  return Math.max(...copies.map((bytes) => (bytes === undefined ? 0 : findLastNonZero(bytes.subarray(end)) + 1)));
}

/** The head of a copy; undefined where there is no sound one. Throws UNSUPPORTED_FORMAT. */
export function decodeHead(path: string, bytes: HardStateCopy): HardStateHead | undefined {
  if (bytes === undefined || bytes.length < hardStateHeadBytes) return undefined;
  const head = bytes.subarray(0, hardStateHeadBytes);
  if (head.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32c(head, 12, hardStateHeadBytes) !== head.readUInt32LE(8)) return undefined;
  if (head.readUInt16LE(12) !== version) {
    throw new ProglogError(
      "UNSUPPORTED_FORMAT",
      `Cannot read the hard states ${path}: they are of version ${head.readUInt16LE(12)}, and ${version} is known`,
      { hint: "Start the release of proglog that wrote them, or a later one." },
    );
  }
  const generation = readUint64LE(head, 16);
  const copyBytes = readUint64LE(head, 24);
  const length = head.readUInt8(32);
  if (copyBytes !== bytes.length || !Number.isSafeInteger(generation) || length === 0) return undefined;
  return { generation, copyBytes, storageId: head.toString("utf8", 33, 33 + length) };
}

export function corrupt(path: string, reason: string): ProglogError {
  return new ProglogError("MANIFEST_CORRUPT", `Cannot read the hard states ${path}: ${reason}`, {
    hint:
      "The logs are untouched. Without its votes this node could vote twice: remove it from the cluster, " +
      "and let it join with an empty directory.",
    details: { file: path },
  });
}
