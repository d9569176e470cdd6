import type { Socket } from "node:net";
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import {
  peerBufferMaxBytes,
  peerFrameEntriesBytes,
  peerGatherBytes,
  peerHeadsMaxBytes,
  peerReserveBytes,
  peerSmallPieceBytes,
  peerSocketBytes,
} from "../base/limits.ts";
import { encodePeerFrame, type PeerFrameType } from "../wire/peer-frame.ts";
import { encodeMessages, headMaxBytesOf, type WireEnds, type WireMessage } from "../wire/peer-messages.ts";

/**
 * What waits to be sent on one connection. All that is handed over in a turn leaves in one write; and what is urgent overtakes what is
 * large: frames of no size first, then messages without entries, then appends and the bodies of questions and answers. So a heartbeat
 * waits behind what the socket has, not behind megabytes of other groups' appends; but a message never overtakes one of its own group.
 */
export class PeerSender {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #ends: () => WireEnds;
  readonly #onFault: (error: unknown) => void;
  #urgent: Buffer[] = [];
  #urgentBytes = 0;
  #light: WireMessage[] = [];
  #bulk: Bulk[] = [];
  #queuedBytes = 0;
  /** Of each group, how many of its messages wait among the bulk. */
  readonly #bulkOfGroups = new Map<string, number>();
  #isScheduled = false;
  /** Frames that the socket has and hasn't written. */
  #writesCount = 0;
  #isStopped = false;

  constructor(socket: Socket, { clock, ends, onFault }: PeerSenderOptions) {
    this.#socket = socket;
    this.#clock = clock;
    this.#ends = ends;
    this.#onFault = onFault;
  }

  /** Waiting here or in the socket. */
  get bufferedBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /** False when the buffer is full. */
  message(message: WireMessage): boolean {
    const entriesBytes = byteLengthOf(message.frames);
    const headBytes = headMaxBytesOf(message);
    const bytes = entriesBytes + headBytes + overheadBytes;
    assert(headBytes <= peerHeadsMaxBytes, "the head of a message fits into a frame");
    const isBulk = entriesBytes > 0 || this.#bulkOfGroups.has(message.groupId);
    if (!this.#hasRoom(bytes, entriesBytes > 0)) return false;
    if (isBulk) {
      this.#bulkOfGroups.set(message.groupId, (this.#bulkOfGroups.get(message.groupId) ?? 0) + 1);
      this.#bulk.push({ kind: "message", message, bytes, headBytes, entriesBytes });
    } else {
      this.#light.push(message);
    }
    this.#queuedBytes += bytes;
    this.#schedule();
    return true;
  }

  /** A frame of any other type; one with a body of more than a few KiB waits its turn. False when the buffer is full. */
  frame(type: Exclude<PeerFrameType, "messages">, head?: Buffer, body?: Buffer): boolean {
    const pieces = encodePeerFrame(type, head, body === undefined ? [] : [body]);
    const bytes = byteLengthOf(pieces) + overheadBytes;
    const isLarge = bytes > peerSmallPieceBytes;
    if (!this.#hasRoom(bytes, isLarge)) return false;
    if (isLarge) {
      this.#bulk.push({ kind: "frame", pieces, bytes });
    } else {
      this.#urgent.push(...pieces);
      this.#urgentBytes += bytes;
    }
    this.#queuedBytes += bytes;
    this.#schedule();
    return true;
  }

  /** Hands the socket all that waits, however much: before the connection ends. */
  flush(): void {
    this.#write(Number.POSITIVE_INFINITY);
  }

  /** Nothing is sent any more. */
  stop(): void {
    this.#isStopped = true;
    this.#urgent = [];
    this.#urgentBytes = 0;
    this.#light = [];
    this.#bulk = [];
    this.#bulkOfGroups.clear();
    this.#queuedBytes = 0;
  }

  /** The one thing that is larger than the whole buffer goes when nothing waits. */
  #hasRoom(bytes: number, isLarge: boolean): boolean {
    const buffered = this.bufferedBytes;
    return buffered + bytes <= peerBufferMaxBytes + (isLarge ? 0 : peerReserveBytes) || buffered === 0;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#writesCount > 0) return;
    this.#isScheduled = true;
    void this.#clock.turn().then(() => {
      this.#isScheduled = false;
      this.#write(peerSocketBytes);
    });
  }

  #write(socketBytes: number): void {
    const socket = this.#socket;
    if (this.#isStopped || socket.destroyed) return;
    socket.cork();
    try {
      while (socket.writableLength < socketBytes) {
        const pieces = gatherSmall(this.#next());
        const last = pieces.pop();
        if (last === undefined) break;
        for (const piece of pieces) socket.write(piece);
        this.#writesCount += 1;
        socket.write(last, this.#onWritten);
      }
    } catch (error) {
      // A message that can't be written down: whoever sent it is long gone.
      this.#onFault(error);
    }
    socket.uncork();
  }

  readonly #onWritten = (): void => {
    this.#writesCount -= 1;
    if (this.#writesCount === 0) this.#write(peerSocketBytes);
  };

  /** The next frames, or no pieces when nothing waits. */
  #next(): Buffer[] {
    if (this.#urgent.length > 0) {
      const pieces = this.#urgent;
      this.#queuedBytes -= this.#urgentBytes;
      this.#urgent = [];
      this.#urgentBytes = 0;
      return pieces;
    }
    if (this.#light.length > 0) return this.#nextLight();
    return this.#nextBulk();
  }

  #nextLight(): Buffer[] {
    let bytes = 0;
    let count = 0;
    for (const message of this.#light) {
      const more = headMaxBytesOf(message);
      if (bytes + more > peerHeadsMaxBytes) break;
      bytes += more;
      count += 1;
    }
    this.#queuedBytes -= bytes + count * overheadBytes;
    return this.#frameOf(this.#light.splice(0, count));
  }

  #nextBulk(): Buffer[] {
    const [first] = this.#bulk;
    if (first === undefined) return [];
    if (first.kind === "frame") {
      this.#bulk.shift();
      this.#queuedBytes -= first.bytes;
      return first.pieces;
    }
    const messages: WireMessage[] = [];
    let [headBytes, entriesBytes] = [0, 0];
    for (const each of this.#bulk) {
      if (each.kind === "frame") break;
      const isFirst = messages.length === 0;
      if (!isFirst && each.entriesBytes > 0 && entriesBytes + each.entriesBytes > peerFrameEntriesBytes) break;
      if (!isFirst && headBytes + each.headBytes > peerHeadsMaxBytes) break;
      headBytes += each.headBytes;
      entriesBytes += each.entriesBytes;
      this.#queuedBytes -= each.bytes;
      messages.push(each.message);
    }
    this.#bulk.splice(0, messages.length);
    for (const { groupId } of messages) {
      const left = (this.#bulkOfGroups.get(groupId) ?? 1) - 1;
      if (left === 0) this.#bulkOfGroups.delete(groupId);
      else this.#bulkOfGroups.set(groupId, left);
    }
    return this.#frameOf(messages);
  }

  #frameOf(messages: readonly WireMessage[]): Buffer[] {
    const { head, body } = encodeMessages(messages, this.#ends());
    return encodePeerFrame("messages", head, body, false);
  }
}

export interface PeerSenderOptions {
  readonly clock: Clock;
  readonly ends: () => WireEnds;
  /** What was sent is no message, by a mistake of this node: the connection is of no use any more. */
  readonly onFault: (error: unknown) => void;
}

type Bulk =
  | {
      readonly kind: "message";
      readonly message: WireMessage;
      readonly bytes: number;
      readonly headBytes: number;
      readonly entriesBytes: number;
    }
  | { readonly kind: "frame"; readonly pieces: Buffer[]; readonly bytes: number };

/** What a message or frame that waits takes beside its bytes, about: a million pongs of 9 bytes aren't 9 MB. */
const overheadBytes = 256;

/** The same bytes with runs of small pieces put together. */
function gatherSmall(pieces: readonly Buffer[]): Buffer[] {
  const gathered: Buffer[] = [];
  let small: Buffer[] = [];
  let smallBytes = 0;
  const close = (): void => {
    const [only] = small;
    if (only !== undefined) gathered.push(small.length === 1 ? only : Buffer.concat(small, smallBytes));
    small = [];
    smallBytes = 0;
  };
  for (const piece of pieces) {
    const isSmall = piece.length <= peerSmallPieceBytes;
    if (!isSmall || smallBytes + piece.length > peerGatherBytes) close();
    if (isSmall) {
      small.push(piece);
      smallBytes += piece.length;
    } else {
      gathered.push(piece);
    }
  }
  close();
  return gathered;
}

function byteLengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}
