import { GrpcStatusError } from "./grpc-status-error.ts";

/**
 * Protobuf's wire format, as far as the standard services need it: fields of integers, bytes and messages. What a message means is
 * said by who reads it. Groups are refused, as everywhere today.
 */
export interface ProtobufField {
  readonly number: number;
  /** Of a varint or a fixed number; beyond 2^53 it isn't exact. 0 for a field of bytes. */
  readonly integer: number;
  /** Of a field of bytes, text or a message: a view. Empty for a number. */
  readonly bytes: Buffer;
}

/** Throws INVALID_ARGUMENT for bytes that are no message. */
export function readFields(message: Buffer): ProtobufField[] {
  const fields: ProtobufField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 10; shift += 1) {
      const byte = message[at];
      if (byte === undefined) throw truncated();
      at += 1;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (byte < 0x80) return value;
    }
    throw new GrpcStatusError("INVALID_ARGUMENT", "Cannot read the message: a varint is of more than 10 bytes");
  };
  const take = (length: number): Buffer => {
    if (length > message.length - at) throw truncated();
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number === 0 || number >= 2 ** 29)
      throw new GrpcStatusError("INVALID_ARGUMENT", `Cannot read the message: no field has the number ${number}`);
    switch (tag % 8) {
      case 0:
        fields.push({ number, integer: varint(), bytes: none });
        break;
      case 1:
        fields.push({ number, integer: Number(take(8).readBigUInt64LE()), bytes: none });
        break;
      case 2:
        fields.push({ number, integer: 0, bytes: take(varint()) });
        break;
      case 5:
        fields.push({ number, integer: take(4).readUInt32LE(), bytes: none });
        break;
      default:
        throw new GrpcStatusError("INVALID_ARGUMENT", `Cannot read the message: wire type ${tag % 8} isn't known`);
    }
  }
  return fields;
}

/** The last value of a field, which is the one that counts. */
export function findField(fields: readonly ProtobufField[], number: number): ProtobufField | undefined {
  return fields.findLast((field) => field.number === number);
}

/** The text of a field; empty where it is absent. */
export function textOf(fields: readonly ProtobufField[], number: number): string {
  return findField(fields, number)?.bytes.toString("utf8") ?? "";
}

/** A field of a number; nothing for 0, as in proto3. */
export function integerField(number: number, value: number): Buffer {
  return value === 0 ? none : Buffer.concat([varintOf(number * 8), varintOf(value)]);
}

/** A field of bytes, text or a message, also when it is empty: whoever means absent leaves it out. */
export function bytesField(number: number, value: Uint8Array | string): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  return Buffer.concat([varintOf(number * 8 + 2), varintOf(bytes.length), bytes]);
}

function varintOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function truncated(): GrpcStatusError {
  return new GrpcStatusError("INVALID_ARGUMENT", "Cannot read the message: it ends in the middle of a field");
}

const none = Buffer.alloc(0);
