import { assert, unreachable } from "../base/assert.ts";
import { peerHeadsMaxBytes } from "../base/limits.ts";
import type { Envelope, Message, MessageKind } from "../raft/message.ts";
import { PeerReader, uintMaxBytes } from "./peer-reader.ts";
import { PeerWriter } from "./peer-writer.ts";

/**
 * The payload of a frame of `messages` (docs/peer-protocol.md): first the heads of all messages, then the entries of all appends among
 * them, in the same order and as they lie on the disk.
 *
 *     0           4
 *     ┌───────────┬──────────┬───────────┐        head:  u8   kind (bits 0-3), form of the group id (4-5), form of the storage id (6), flag (7)
 *     │ headBytes │ heads …  │ entries … │               group id: 16 bytes, or u8 length and text
 *     └───────────┴──────────┴───────────┘               storage id: incarnation, or u8 length and text
 *                                                        term, then the numbers of its kind; of an append also how many entries, and each one's length
 *
 * Numbers take seven bits a byte. Who speaks and who is spoken to is known from the connection, and so is the disk: a replica's storage
 * id is the node's and an incarnation. So a heartbeat takes some 25 bytes, 16 of which are the group's id.
 */
export interface WireMessage {
  readonly groupId: string;
  /** Its `entries` are empty. */
  readonly message: Message;
  readonly frames: readonly Buffer[];
}

/** Between whom. */
export interface WireEnds {
  readonly from: string;
  /** The node's, without an incarnation. */
  readonly fromStorage: string;
  readonly to: string;
}

/** What its head takes at most, about: for limits, before it is written. */
export function headMaxBytesOf({ groupId, message, frames }: WireMessage): number {
  const storageBytes = message.kind === "removed" ? 1 + 3 * message.storageId.length : 0;
  const textBytes = 1 + groupIdMaxBytes(groupId) + 1 + 3 * message.fromStorage.length + storageBytes;
  return 1 + textBytes + numbersMaxCount * uintMaxBytes + frames.length * lengthMaxBytes;
}

/** The payload in two parts: the heads, and the entries, none of them copied. */
export function encodeMessages(
  messages: readonly WireMessage[],
  ends: WireEnds,
): { readonly head: Buffer; readonly body: readonly Buffer[] } {
  const writer = new PeerWriter(headBytesAt + messages.reduce((sum, each) => sum + headMaxBytesOf(each), 0));
  writer.u32(0);
  const body: Buffer[] = [];
  for (const each of messages) {
    writeMessage(writer, each, ends);
    for (const frame of each.frames) body.push(frame);
  }
  const head = writer.finish();
  assert(head.length - headBytesAt <= peerHeadsMaxBytes, "the heads of a frame stay within their limit");
  head.writeUInt32LE(head.length - headBytesAt, 0);
  return { head, body };
}

/** Throws PEER_REFUSED. The entries are views of the payload. */
export function decodeMessages(payload: Buffer, ends: WireEnds): WireMessage[] {
  const start = new PeerReader(payload, "a frame of messages");
  const headBytes = start.u32();
  if (headBytes > peerHeadsMaxBytes || headBytes > start.leftBytes) throw start.refuse("its heads don't fit in");
  const heads = new PeerReader(payload, "the head of a message", headBytesAt, headBytesAt + headBytes);
  const entries = new PeerReader(payload, "the entries of an append", headBytesAt + headBytes);
  const messages: WireMessage[] = [];
  while (heads.leftBytes > 0) messages.push(readMessage(heads, entries, ends));
  entries.end();
  return messages;
}

/** By number, from 1 on. It only grows at its end. */
const kinds: readonly MessageKind[] = [
  "pre-vote-request",
  "pre-vote-response",
  "vote-request",
  "vote-response",
  "append",
  "append-accepted",
  "append-rejected",
  "commit-notice",
  "heartbeat",
  "heartbeat-response",
  "newer-term",
  "timeout-now",
  "read-request",
  "read-response",
  "sleep-request",
  "sleep-response",
  "removed",
];

/** From this number on the kind has a byte of its own behind the first: four bits hold no more, and it needs the rare ones. */
const longKind = 15;

function writeMessage(writer: PeerWriter, { groupId, message, frames }: WireMessage, ends: WireEnds): void {
  assert(message.from === ends.from && message.to === ends.to, "a message goes from its sender to its receiver");
  const groupForm = groupFormOf(groupId);
  const incarnation = incarnationOf(message.fromStorage, ends.fromStorage);
  const kind = kinds.indexOf(message.kind) + 1;
  const storageBit = incarnation === undefined ? storageIsTextBit : 0;
  writer.u8(
    Math.min(kind, longKind) | (groupForms.indexOf(groupForm) << groupFormShift) | storageBit | (flagOf(message) ? flagBit : 0),
  );
  if (kind >= longKind) writer.u8(kind);
  if (groupForm === "text") writeText(writer, groupId);
  else writer.hex(groupForm === "uuid" ? groupId.replaceAll("-", "") : groupId);
  if (incarnation === undefined) writeText(writer, message.fromStorage);
  else writer.uint(incarnation);
  writer.uint(message.term);
  writeNumbers(writer, message, frames);
}

function writeNumbers(writer: PeerWriter, message: Message, frames: readonly Buffer[]): void {
  assert(message.kind === "append" || frames.length === 0, "only an append has entries");
  switch (message.kind) {
    case "pre-vote-request":
    case "vote-request":
      writer.uint(message.lastIndex);
      return writer.uint(message.lastTerm);
    case "append":
      assert(message.entries.length === 0, "the entries of a message between peers are frames");
      writer.uint(message.prevIndex);
      writer.uint(message.prevTerm);
      writer.uint(message.commitIndex);
      writer.uint(frames.length);
      for (const frame of frames) writer.uint(frame.length);
      return;
    case "append-accepted":
      writer.uint(message.matchIndex);
      return writer.uint(message.agreedIndex);
    case "append-rejected":
      writer.uint(message.prevIndex);
      writer.uint(message.hintIndex);
      return writer.uint(message.hintTerm);
    case "commit-notice":
      return writer.uint(message.commitIndex);
    case "heartbeat":
      writer.uint(message.commitIndex);
      writer.uint(message.matchIndex);
      return writer.uint(message.round);
    case "heartbeat-response":
      return writer.uint(message.round);
    case "read-request":
      return writer.uint(message.id);
    case "read-response":
      writer.uint(message.id);
      return writer.uint(message.index);
    case "sleep-request":
      writer.uint(message.round);
      return writer.uint(message.commitIndex);
    case "sleep-response":
      return writer.uint(message.round);
    case "removed":
      writeText(writer, message.storageId);
      return writer.uint(message.membershipIndex);
    case "pre-vote-response":
    case "vote-response":
    case "newer-term":
    case "timeout-now":
      return;
    default:
      return unreachable(message);
  }
}

function flagOf(message: Message): boolean {
  switch (message.kind) {
    case "pre-vote-response":
    case "vote-response":
      return message.isGranted;
    case "vote-request":
      return message.isTransfer;
    case "heartbeat-response":
      return message.hasForgotten;
    case "sleep-response":
      return message.isAgreed;
    default:
      return false;
  }
}

function readMessage(heads: PeerReader, entries: PeerReader, ends: WireEnds): WireMessage {
  const first = heads.u8();
  const short = first & kindMask;
  const kind = kinds[(short === longKind ? heads.u8() : short) - 1];
  const groupForm = groupForms[(first >> groupFormShift) & groupFormMask];
  if (kind === undefined || groupForm === undefined) throw heads.refuse("its kind isn't known");
  const groupId = readGroupId(heads, groupForm);
  const isText = (first & storageIsTextBit) !== 0;
  const fromStorage = isText ? heads.text(heads.u8()) : `${ends.fromStorage}/${heads.uint()}`;
  const envelope: Envelope = { from: ends.from, fromStorage, to: ends.to, term: heads.uint() };
  const frames: Buffer[] = [];
  const message = readNumbers(heads, kind, envelope, (first & flagBit) !== 0, (byteLength) =>
    frames.push(entries.bytes(byteLength)),
  );
  return { groupId, message, frames };
}

/** Each message is one literal, so that all of a kind have one shape: they are read on the hottest path of a follower. */
function readNumbers(
  heads: PeerReader,
  kind: MessageKind,
  { from, fromStorage, to, term }: Envelope,
  flag: boolean,
  takeEntry: (byteLength: number) => void,
): Message {
  switch (kind) {
    case "pre-vote-request":
      return { kind, from, fromStorage, to, term, lastIndex: heads.uint(), lastTerm: heads.uint() };
    case "pre-vote-response":
      return { kind, from, fromStorage, to, term, isGranted: flag };
    case "vote-request":
      return { kind, from, fromStorage, to, term, lastIndex: heads.uint(), lastTerm: heads.uint(), isTransfer: flag };
    case "vote-response":
      return { kind, from, fromStorage, to, term, isGranted: flag };
    case "append": {
      const prevIndex = heads.uint();
      const prevTerm = heads.uint();
      const commitIndex = heads.uint();
      const count = heads.uint();
      // A length takes a byte at least, so the heads themselves bound how often this goes round.
      for (let taken = 0; taken < count; taken += 1) takeEntry(heads.uint());
      return { kind, from, fromStorage, to, term, prevIndex, prevTerm, commitIndex, entries: [] };
    }
    case "append-accepted":
      return { kind, from, fromStorage, to, term, matchIndex: heads.uint(), agreedIndex: heads.uint() };
    case "append-rejected":
      return {
        kind,
        from,
        fromStorage,
        to,
        term,
        prevIndex: heads.uint(),
        hintIndex: heads.uint(),
        hintTerm: heads.uint(),
      };
    case "commit-notice":
      return { kind, from, fromStorage, to, term, commitIndex: heads.uint() };
    case "heartbeat":
      return { kind, from, fromStorage, to, term, commitIndex: heads.uint(), matchIndex: heads.uint(), round: heads.uint() };
    case "heartbeat-response":
      return { kind, from, fromStorage, to, term, round: heads.uint(), hasForgotten: flag };
    case "sleep-request":
      return { kind, from, fromStorage, to, term, round: heads.uint(), commitIndex: heads.uint() };
    case "sleep-response":
      return { kind, from, fromStorage, to, term, round: heads.uint(), isAgreed: flag };
    case "removed":
      return { kind, from, fromStorage, to, term, storageId: heads.text(heads.u8()), membershipIndex: heads.uint() };
    case "newer-term":
    case "timeout-now":
      return { kind, from, fromStorage, to, term };
    case "read-request":
      return { kind, from, fromStorage, to, term, id: heads.uint() };
    case "read-response":
      return { kind, from, fromStorage, to, term, id: heads.uint(), index: heads.uint() };
    default:
      return unreachable(kind);
  }
}

/** A uuid, or the same 16 bytes without hyphens as the catalog's is; any other text only in tests. */
type GroupForm = (typeof groupForms)[number];

const groupForms = ["uuid", "hex", "text"] as const;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const hexPattern = /^[0-9a-f]{32}$/;

function groupFormOf(groupId: string): GroupForm {
  if (uuidPattern.test(groupId)) return "uuid";
  return hexPattern.test(groupId) ? "hex" : "text";
}

function groupIdMaxBytes(groupId: string): number {
  return Math.max(16, 1 + 3 * groupId.length);
}

function readGroupId(heads: PeerReader, form: GroupForm): string {
  if (form === "text") return heads.text(heads.u8());
  const digits = heads.bytes(16).toString("hex");
  if (form === "hex") return digits;
  const parts = [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)];
  return parts.join("-");
}

/** Of `<storage id>/<incarnation>`, when it is that and nothing else, character by character. */
function incarnationOf(fromStorage: string, ofNode: string): number | undefined {
  if (fromStorage.charAt(ofNode.length) !== "/" || !fromStorage.startsWith(ofNode)) return undefined;
  const text = fromStorage.slice(ofNode.length + 1);
  const incarnation = Number(text);
  return Number.isSafeInteger(incarnation) && incarnation >= 0 && `${incarnation}` === text ? incarnation : undefined;
}

function writeText(writer: PeerWriter, text: string): void {
  const bytes = Buffer.from(text);
  assert(bytes.length <= 255, "an id has at most 255 bytes");
  writer.u8(bytes.length);
  writer.bytes(bytes);
}

const kindMask = 0x0f;
const groupFormShift = 4;
const groupFormMask = 0x03;
const storageIsTextBit = 0x40;
const flagBit = 0x80;

const headBytesAt = 4;
/** Term, and of an append three numbers and a count. */
const numbersMaxCount = 5;
/** An entry has at most `entryMaxBytes`: 26 bits. */
const lengthMaxBytes = 4;
