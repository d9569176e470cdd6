import { crc32c } from "../batch/crc32c.ts";

/**
 * The dumb twin of the frame's encoder, for tests: written from the table in docs/format.md alone, with `bigint`, no checks and
 * any value in any field, so it makes the frames that the encoder never would. Sealed rightly unless a crc is given.
 */
export function dumbFrame(fields: DumbFrameFields, logId: Uint8Array): Buffer {
  const payload = fields.payload ?? Buffer.alloc(0);
  const kind = fields.kind ?? 0;
  const head = new DataView(new ArrayBuffer(56));
  head.setBigUint64(0, fields.length ?? BigInt(48 + payload.length), true);
  head.setUint16(12, fields.magic ?? 0x4c50, true);
  head.setUint8(14, kind);
  head.setUint8(15, fields.version ?? 1);
  head.setBigUint64(16, fields.index ?? 0n, true);
  head.setUint32(24, fields.term ?? 0, true);
  head.setUint32(28, fields.span ?? 0, true);
  head.setBigUint64(32, fields.baseOffset ?? 0n, true);
  head.setBigUint64(40, fields.appendTime ?? 0n, true);
  head.setUint32(48, fields.syncedBack ?? 0, true);
  head.setUint32(52, fields.flags ?? 0, true);
  const frame = Buffer.concat([Buffer.from(head.buffer), payload]);
  frame.writeUInt32LE(fields.crc ?? dumbFrameCrc(frame, logId), 8);
  return frame;
}

/** "Over bytes 0-7, bytes 12-55 and the protected part of the payload, seeded with the log id." */
export function dumbFrameCrc(frame: Buffer, logId: Uint8Array): number {
  const protectedEnd = frame[14] === 0 ? 77 : frame.length;
  const covered = Buffer.concat([frame.subarray(0, 8), frame.subarray(12, protectedEnd)]);
  return crc32c(covered, 0, covered.length, crc32c(Buffer.from(logId)));
}

export interface DumbFrameFields {
  readonly length?: bigint;
  readonly crc?: number;
  readonly magic?: number;
  readonly kind?: number;
  readonly version?: number;
  readonly index?: bigint;
  readonly term?: number;
  readonly span?: number;
  readonly baseOffset?: bigint;
  readonly appendTime?: bigint;
  readonly syncedBack?: number;
  readonly flags?: number;
  readonly payload?: Uint8Array;
}
