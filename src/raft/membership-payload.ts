import { assert } from "../base/assert.ts";
import { entryControlMaxBytes } from "../base/limits.ts";
import type { Member } from "./member.ts";
import { findMembershipFault, type Membership } from "./membership.ts";

/**
 * A membership as the payload of an entry of kind membership, and as a section of the base record (docs/raft.md). Little-endian,
 * as all but batches is; under the crc of what it lies in, so it has none of its own.
 *
 *     0        2          4          6      8
 *     ┌────────┬──────────┬──────────┬──────┬────────────────────────────────────────────────────────────┐
 *     │ voters │ outgoing │ learners │ zero │ each member: u8 length, node id, u8 length, storage id …    │
 *     └────────┴──────────┴──────────┴──────┴────────────────────────────────────────────────────────────┘
 */
export function encodeMembership({ voters, outgoing, learners }: Membership): Buffer {
  const parts = [voters, outgoing, learners];
  const head = Buffer.alloc(headBytes);
  for (const [position, part] of parts.entries()) {
    assert(part.length <= partMaxCount, "a part of a membership has a number of 16 bits");
    head.writeUInt16LE(part.length, 2 * position);
  }
  const names = parts.flat().flatMap(({ nodeId, storageId }) => [encodeName(nodeId), encodeName(storageId)]);
  const bytes = Buffer.concat([head, ...names]);
  assert(bytes.length <= entryControlMaxBytes, "a membership stays within the limit of control entries");
  return bytes;
}

/** The membership, or undefined when the bytes are none. */
export function decodeMembership(bytes: Buffer): Membership | undefined {
  if (bytes.length < headBytes || bytes.readUInt16LE(6) !== 0) return undefined;
  const reader = { bytes, at: headBytes };
  const parts: Member[][] = [];
  for (let position = 0; position < 3; position += 1) {
    const part: Member[] = [];
    for (let left = bytes.readUInt16LE(2 * position); left > 0; left -= 1) {
      const nodeId = readName(reader);
      const storageId = readName(reader);
      if (nodeId === undefined || storageId === undefined) return undefined;
      part.push({ nodeId, storageId });
    }
    parts.push(part);
  }
  const [voters = [], outgoing = [], learners = []] = parts;
  const membership = { voters, outgoing, learners };
  return reader.at === bytes.length && findMembershipFault(membership) === undefined ? membership : undefined;
}

const headBytes = 8;
const partMaxCount = 2 ** 16 - 1;
const nameMaxBytes = 2 ** 8 - 1;

function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, "utf8");
  assert(bytes.length > 0 && bytes.length <= nameMaxBytes, "a node's name or storage id has 1 to 255 bytes");
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function readName(reader: { readonly bytes: Buffer; at: number }): string | undefined {
  const { bytes, at } = reader;
  const end = at + 1 + (bytes[at] ?? bytes.length);
  if (end > bytes.length) return undefined;
  reader.at = end;
  return bytes.toString("utf8", at + 1, end);
}
