import { crc32c } from "../../batch/crc32c.ts";
import { assert } from "../../base/assert.ts";
import { isZero, readUint64LE, writeUint64LE } from "../../base/bytes.ts";
import { termMax } from "../../base/cluster-limits.ts";
import type { SavedHardState } from "./hard-state-slot.ts";

/**
 * What one write brings to the hard-state log: the new terms and votes of all groups that had one (docs/format.md).
 *
 *      0       4     8          16      20      24
 *     ┌───────┬─────┬──────────┬───────┬───────┬──────────────────┐
 *     │ magic │ crc │ sequence │ bytes │ count │ changes … │ zeros │   bytes: all of it, a multiple of 8
 *     └───────┴─────┴──────────┴───────┴───────┴──────────────────┘
 *
 * A change:
 *
 *     ┌─────────┬─────────────────────┬──────────┬────────────────────┬───────────────────────┐
 *     │ kind u8 │ u8 length, group id │ term u32 │ u8 length, node id │ u8 length, storage id │
 *     └─────────┴─────────────────────┴──────────┴────────────────────┴───────────────────────┘
 *
 * of kind 1 a term without a vote, which ends with the term; of kind 2 a term and a vote; of kind 3 a group that was removed, which
 * ends with the group's id. A round without a change says only that all before it were synced.
 */
export interface HardStateRound {
  /** Counts up from 1 in each file. */
  readonly sequence: number;
  readonly changes: HardStateChanges;
  readonly byteLength: number;
}

/** By group; undefined where the group was removed. */
export type HardStateChanges = ReadonlyMap<string, SavedHardState | undefined>;

export const roundHeadBytes = 24;

const magic = 0x4d_52_4c_50;
const alignment = 8;
const nameMaxBytes = 255;
const kinds = { term: 1, vote: 2, removed: 3 } as const;

export function encodeRound(sequence: number, changes: HardStateChanges, seed: number): Buffer {
  const parts = [...changes].map(([groupId, state]) => encodeChange(groupId, state));
  const plainBytes = parts.reduce((sum, part) => sum + part.length, roundHeadBytes);
  const bytes = Buffer.alloc(Math.ceil(plainBytes / alignment) * alignment);
  bytes.writeUInt32LE(magic, 0);
  writeUint64LE(bytes, sequence, 8);
  bytes.writeUInt32LE(bytes.length, 16);
  bytes.writeUInt32LE(parts.length, 20);
  let at = roundHeadBytes;
  for (const part of parts) at += part.copy(bytes, at);
  bytes.writeUInt32LE(crc32c(bytes, 8, bytes.length, seed), 4);
  return bytes;
}

/** The round at `at`, or undefined when there is no sound one. */
export function decodeRound(bytes: Buffer, at: number, seed: number): HardStateRound | undefined {
  if (at + roundHeadBytes > bytes.length || bytes.readUInt32LE(at) !== magic) return undefined;
  const byteLength = bytes.readUInt32LE(at + 16);
  if (byteLength < roundHeadBytes || byteLength % alignment !== 0 || at + byteLength > bytes.length) return undefined;
  const round = bytes.subarray(at, at + byteLength);
  if (crc32c(round, 8, byteLength, seed) !== round.readUInt32LE(4)) return undefined;
  const sequence = readUint64LE(round, 8);
  const changes = decodeChanges(round, round.readUInt32LE(20));
  return changes === undefined || !Number.isSafeInteger(sequence) ? undefined : { sequence, changes, byteLength };
}

/** Where a sound round with a sequence above `sequence` begins, from `from` on; undefined when there is none. */
export function findLaterRound(bytes: Buffer, from: number, sequence: number, seed: number): number | undefined {
  for (let at = from; at + roundHeadBytes <= bytes.length; at += alignment) {
    if (bytes.readUInt32LE(at) !== magic) continue;
    const round = decodeRound(bytes, at, seed);
    if (round !== undefined && round.sequence > sequence) return at;
  }
  return undefined;
}

/** Throws where a name is too long for it, before anything is written. */
export function encodeChange(groupId: string, state: SavedHardState | undefined): Buffer {
  if (state === undefined) return Buffer.concat([Buffer.of(kinds.removed), encodeName(groupId)]);
  const { term, vote } = state;
  assert(Number.isSafeInteger(term) && term >= 0 && term <= termMax, "a term has 32 bits");
  const termBytes = Buffer.alloc(4);
  termBytes.writeUInt32LE(term, 0);
  const head = [Buffer.of(vote === undefined ? kinds.term : kinds.vote), encodeName(groupId), termBytes];
  return Buffer.concat(vote === undefined ? head : [...head, encodeName(vote.nodeId), encodeName(vote.storageId)]);
}

function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, "utf8");
  assert(bytes.length > 0 && bytes.length <= nameMaxBytes, "the name of a group, node or disk has 1 to 255 bytes");
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

function decodeChanges(round: Buffer, count: number): HardStateChanges | undefined {
  const changes = new Map<string, SavedHardState | undefined>();
  const reader: Reader = { bytes: round, at: roundHeadBytes };
  for (let left = count; left > 0; left -= 1) {
    const kind = round[reader.at];
    reader.at += 1;
    const groupId = readName(reader);
    if (groupId === undefined || changes.has(groupId)) return undefined;
    if (kind === kinds.removed) {
      changes.set(groupId, undefined);
      continue;
    }
    const term = readTerm(reader);
    if (term === undefined || (kind !== kinds.term && kind !== kinds.vote)) return undefined;
    if (kind === kinds.term) {
      changes.set(groupId, { term, vote: undefined });
      continue;
    }
    const nodeId = readName(reader);
    const storageId = readName(reader);
    if (nodeId === undefined || storageId === undefined) return undefined;
    changes.set(groupId, { term, vote: { nodeId, storageId } });
  }
  const rest = round.subarray(reader.at);
  return rest.length < alignment && isZero(rest) ? changes : undefined;
}

interface Reader {
  readonly bytes: Buffer;
  at: number;
}

function readTerm(reader: Reader): number | undefined {
  const { bytes, at } = reader;
  if (at + 4 > bytes.length) return undefined;
  reader.at = at + 4;
  return bytes.readUInt32LE(at);
}

function readName(reader: Reader): string | undefined {
  const { bytes, at } = reader;
  const length = bytes[at];
  if (length === undefined || length === 0 || at + 1 + length > bytes.length) return undefined;
  reader.at = at + 1 + length;
  return bytes.toString("utf8", at + 1, reader.at);
}
