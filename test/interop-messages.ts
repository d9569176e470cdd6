import { bytesField, findField, integerField, type ProtobufField, readFields, textOf } from "../src/grpc/protobuf-fields.ts";

/** The messages of gRPC's interop tests (`grpc.testing`), as far as the cases need them. */

export interface SimpleRequest {
  readonly responseSize?: number;
  readonly payload?: Buffer;
  readonly responseCompressed?: boolean;
  readonly expectCompressed?: boolean;
  readonly status?: EchoStatus;
}

export interface EchoStatus {
  readonly code: number;
  readonly message: string;
}

export interface StreamingRequest {
  readonly responses: readonly { readonly size: number; readonly isCompressed?: boolean }[];
  readonly payload?: Buffer;
  readonly status?: EchoStatus;
}

const boolField = (number: number, value: boolean | undefined): Buffer =>
  value === undefined ? Buffer.alloc(0) : bytesField(number, integerField(1, value ? 1 : 0));

const readBool = (fields: readonly ProtobufField[], number: number): boolean | undefined => {
  const field = findField(fields, number);
  return field === undefined ? undefined : findField(readFields(field.bytes), 1)?.integer === 1;
};

const statusField = (status: EchoStatus | undefined): Buffer =>
  status === undefined
    ? Buffer.alloc(0)
    : bytesField(7, Buffer.concat([integerField(1, status.code), bytesField(2, status.message)]));

function readStatus(fields: readonly ProtobufField[]): EchoStatus | undefined {
  const field = findField(fields, 7);
  if (field === undefined) return undefined;
  const inner = readFields(field.bytes);
  return { code: findField(inner, 1)?.integer ?? 0, message: textOf(inner, 2) };
}

export function payloadField(number: number, body: Buffer | undefined): Buffer {
  return body === undefined ? Buffer.alloc(0) : bytesField(number, bytesField(2, body));
}

/** The body of a payload; undefined where there is none. */
export function readPayload(message: Buffer, number = 1): Buffer | undefined {
  const field = findField(readFields(message), number);
  return field === undefined ? undefined : (findField(readFields(field.bytes), 2)?.bytes ?? Buffer.alloc(0));
}

export function encodeSimpleRequest(request: SimpleRequest): Buffer {
  return Buffer.concat([
    integerField(2, request.responseSize ?? 0),
    payloadField(3, request.payload),
    boolField(6, request.responseCompressed),
    statusField(request.status),
    boolField(8, request.expectCompressed),
  ]);
}

export function decodeSimpleRequest(bytes: Buffer): SimpleRequest & { readonly responseSize: number } {
  const fields = readFields(bytes);
  const payload = readPayload(bytes, 3);
  const responseCompressed = readBool(fields, 6);
  const expectCompressed = readBool(fields, 8);
  const status = readStatus(fields);
  return {
    responseSize: findField(fields, 2)?.integer ?? 0,
    ...(payload !== undefined && { payload }),
    ...(responseCompressed !== undefined && { responseCompressed }),
    ...(expectCompressed !== undefined && { expectCompressed }),
    ...(status !== undefined && { status }),
  };
}

export function encodeStreamingRequest({ responses, payload, status }: StreamingRequest): Buffer {
  const parameters = responses.map(({ size, isCompressed }) =>
    bytesField(2, Buffer.concat([integerField(1, size), boolField(3, isCompressed)])),
  );
  return Buffer.concat([...parameters, payloadField(3, payload), statusField(status)]);
}

export function decodeStreamingRequest(bytes: Buffer): StreamingRequest {
  const fields = readFields(bytes);
  const responses = fields
    .filter(({ number }) => number === 2)
    .map((field) => {
      const inner = readFields(field.bytes);
      return { size: findField(inner, 1)?.integer ?? 0, isCompressed: readBool(inner, 3) ?? false };
    });
  const status = readStatus(fields);
  return { responses, ...(status !== undefined && { status }) };
}

/** `StreamingInputCallRequest`. */
export function encodeInputRequest(payload: Buffer, expectCompressed?: boolean): Buffer {
  return Buffer.concat([payloadField(1, payload), boolField(2, expectCompressed)]);
}

export function decodeInputRequest(bytes: Buffer): { readonly size: number; readonly expectCompressed: boolean } {
  return { size: readPayload(bytes)?.length ?? 0, expectCompressed: readBool(readFields(bytes), 2) ?? false };
}

/** `StreamingInputCallResponse`. */
export function encodeInputResponse(size: number): Buffer {
  return integerField(1, size);
}

export function decodeInputResponse(bytes: Buffer): number {
  return findField(readFields(bytes), 1)?.integer ?? 0;
}
