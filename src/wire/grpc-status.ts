import { type ErrorCode, isProglogError, ProglogError } from "../base/error.ts";
import { errorTableEntry } from "./error-table.ts";
import {
  type ProtoError,
  protoErrorBytes,
  readProtoError,
  fromProtoError,
  toProtoError,
  writeProtoError,
} from "./proto-error.ts";
import { ProtoReader } from "./proto-reader.ts";
import { fieldSpanBytes, ProtoWriter, spanBytes, uintBytes } from "./proto-writer.ts";

/**
 * An error as a gRPC status: the number and text that every client shows, and in `grpc-status-details-bin` a
 * `google.rpc.Status` whose details hold our `log.v1.Error`. An offset that isn't there has the book's `LocalizedMessage` too, since its
 * clients look for that.
 *
 *     google.rpc.Status           1 code   2 message   3 details (Any, repeated)
 *     google.protobuf.Any         1 type_url   2 value
 *     google.rpc.LocalizedMessage 1 locale   2 message
 */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  readonly details: Buffer;
}

const statusFields = { code: 1, message: 2, details: 3 } as const;
const anyFields = { typeUrl: 1, value: 2 } as const;
const localizedFields = { locale: 1, message: 2 } as const;
const errorTypeUrl = "type.googleapis.com/log.v1.Error";
const localizedTypeUrl = "type.googleapis.com/google.rpc.LocalizedMessage";

/** For whatever was thrown. What isn't a `ProglogError` is INTERNAL and keeps its message to itself. */
export function toGrpcStatus(error: unknown): GrpcStatus {
  const known = toProtoError(error);
  const { grpc: code } = errorTableEntry(known.code as ErrorCode);
  const details = [{ typeUrl: errorTypeUrl, value: encodeError(known) }];
  if (isProglogError(error, "OFFSET_OUT_OF_RANGE")) {
    details.push({ typeUrl: localizedTypeUrl, value: encodeLocalized(error) });
  }
  return { code, message: known.message, details: encodeStatus(code, known.message, details) };
}

/**
 * The error that a status told of. Without our details it came from something else: a proxy, a foreign server, the connection.
 * Then the status says what it can, and an append may have happened.
 */
export function fromGrpcStatus(status: {
  readonly code: number;
  readonly message: string;
  readonly details?: Buffer | undefined;
}): ProglogError {
  const error = status.details === undefined ? undefined : findError(status.details);
  if (error !== undefined) return fromProtoError(error);
  const code = codesOfStatus[status.code] ?? "INTERNAL";
  return new ProglogError(code, status.message, { details: { grpcStatus: status.code, outcome: "unknown" } });
}

/** For statuses that came without our error. Indexed by their number. */
const codesOfStatus: readonly ErrorCode[] = [
  "INTERNAL",
  "CANCELLED",
  "INTERNAL",
  "INVALID_ARGUMENT",
  "TIMEOUT",
  "TOPIC_NOT_FOUND",
  "TOPIC_ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "OVERLOADED",
  "INVALID_ARGUMENT",
  "UNAVAILABLE",
  "OFFSET_OUT_OF_RANGE",
  "ROUTE_NOT_FOUND",
  "INTERNAL",
  "UNAVAILABLE",
  "LOG_CORRUPT",
  "UNAUTHENTICATED",
];

function encodeError(error: ProtoError): Buffer {
  const writer = new ProtoWriter(protoErrorBytes(error));
  writeProtoError(writer, error);
  return writer.finish();
}

/** The book's words, from its ninth chapter on. */
function encodeLocalized(error: ProglogError): Buffer {
  const locale = "en-US";
  const message = `The requested offset is outside of the log: ${String(error.details["offset"] ?? "")}`;
  const writer = new ProtoWriter(fieldSpanBytes(locale) + fieldSpanBytes(message));
  writer.field(localizedFields.locale, locale);
  writer.field(localizedFields.message, message);
  return writer.finish();
}

function encodeStatus(
  code: number,
  message: string,
  details: readonly { readonly typeUrl: string; readonly value: Buffer }[],
): Buffer {
  const sizes = details.map(({ typeUrl, value }) => fieldSpanBytes(typeUrl) + fieldSpanBytes(value));
  let byteLength = uintBytes(code) + fieldSpanBytes(message);
  for (const size of sizes) byteLength += spanBytes(size);
  const writer = new ProtoWriter(byteLength);
  writer.uint(statusFields.code, code);
  writer.field(statusFields.message, message);
  details.forEach(({ typeUrl, value }, i) => {
    writer.message(statusFields.details, sizes[i] ?? 0);
    writer.field(anyFields.typeUrl, typeUrl);
    writer.field(anyFields.value, value);
  });
  return writer.finish();
}

/** Undefined for bytes that hold none, whatever they are: the status itself is known all the same. */
function findError(details: Buffer): ProtoError | undefined {
  try {
    const reader = new ProtoReader(details, "google.rpc.Status");
    while (reader.next()) {
      if (reader.field !== statusFields.details) {
        reader.skip();
        continue;
      }
      const error = readAny(reader.message("google.protobuf.Any"));
      if (error !== undefined && error.code !== "") return error;
    }
  } catch (thrown) {
    if (!isProglogError(thrown)) throw thrown;
  }
  return undefined;
}

function readAny(reader: ProtoReader): ProtoError | undefined {
  let typeUrl = "";
  let value: Buffer | undefined;
  while (reader.next()) {
    if (reader.field === anyFields.typeUrl) typeUrl = reader.string();
    else if (reader.field === anyFields.value) value = reader.bytes();
    else reader.skip();
  }
  if (typeUrl !== errorTypeUrl || value === undefined) return undefined;
  return readProtoError(new ProtoReader(value, "Error"));
}
