import { type ErrorCode, type ErrorDetails, ProglogError } from "../base/error.ts";
import { errorTable } from "./error-table.ts";
import { toProblem } from "./problem.ts";
import type { ProtoReader } from "./proto-reader.ts";
import { fieldSpanBytes, type ProtoWriter, spanBytes, uintBytes } from "./proto-writer.ts";

/** `log.v1.Error`: what gRPC's status has no room for. The same words as in a problem over HTTP. */
export interface ProtoError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly isRetryable: boolean;
  readonly outcome: "not-appended" | "unknown";
  /** Values as JSON, so that a number comes back as one. */
  readonly details: ReadonlyMap<string, string>;
}

/** For whatever was thrown; what isn't a `ProglogError` is INTERNAL and keeps its message to itself. */
export function toProtoError(error: unknown): ProtoError {
  const { code, detail, hint, retryable, outcome, details } = toProblem(error);
  return {
    code,
    message: detail,
    hint: hint ?? "",
    isRetryable: retryable,
    outcome: outcome ?? "not-appended",
    details: new Map(Object.entries(details ?? {}).map(([name, value]) => [name, JSON.stringify(value)])),
  };
}

/** The error it told of. A code of a newer server is INTERNAL, with its own code in the details. */
export function fromProtoError({ code, message, hint, outcome, details }: ProtoError): ProglogError {
  const isKnown = Object.hasOwn(errorTable, code);
  return new ProglogError(isKnown ? (code as ErrorCode) : "INTERNAL", message, {
    ...(hint === "" ? {} : { hint }),
    details: { ...plainDetails(details), ...(isKnown ? {} : { serverCode: code }), outcome },
  });
}

function plainDetails(details: ReadonlyMap<string, string>): ErrorDetails {
  return Object.fromEntries([...details].map(([name, text]) => [name, plainValue(text)]));
}

function plainValue(text: string): string | number | boolean | null {
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  } catch {
    // Not JSON: a foreign server's words, taken as they are.
  }
  return text;
}

const fields = { code: 1, message: 2, hint: 3, isRetryable: 4, outcome: 5, details: 6 } as const;
const entryFields = { key: 1, value: 2 } as const;

export function readProtoError(reader: ProtoReader): ProtoError {
  let [code, message, hint] = ["", "", ""];
  let isRetryable = false;
  let outcome: ProtoError["outcome"] = "not-appended";
  const details = new Map<string, string>();
  while (reader.next()) {
    switch (reader.field) {
      case fields.code:
        code = reader.string();
        break;
      case fields.message:
        message = reader.string();
        break;
      case fields.hint:
        hint = reader.string();
        break;
      case fields.isRetryable:
        isRetryable = reader.bool();
        break;
      case fields.outcome:
        // An outcome that we don't know isn't a promise that nothing was appended.
        outcome = reader.uint32() === 0 ? "not-appended" : "unknown";
        break;
      case fields.details: {
        const [name, value] = readEntry(reader.message("Error.details"));
        details.set(name, value);
        break;
      }
      default:
        reader.skip();
    }
  }
  return { code, message, hint, isRetryable, outcome, details };
}

function readEntry(reader: ProtoReader): [string, string] {
  let [key, value] = ["", ""];
  while (reader.next()) {
    if (reader.field === entryFields.key) key = reader.string();
    else if (reader.field === entryFields.value) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}

export function protoErrorBytes({ code, message, hint, isRetryable, outcome, details }: ProtoError): number {
  let bytes = 0;
  for (const text of [code, message, hint]) if (text !== "") bytes += fieldSpanBytes(text);
  if (isRetryable) bytes += 2;
  if (outcome === "unknown") bytes += uintBytes(1);
  for (const [name, value] of details) bytes += spanBytes(fieldSpanBytes(name) + fieldSpanBytes(value));
  return bytes;
}

export function writeProtoError(writer: ProtoWriter, error: ProtoError): void {
  if (error.code !== "") writer.field(fields.code, error.code);
  if (error.message !== "") writer.field(fields.message, error.message);
  if (error.hint !== "") writer.field(fields.hint, error.hint);
  if (error.isRetryable) writer.bool(fields.isRetryable);
  if (error.outcome === "unknown") writer.uint(fields.outcome, 1);
  for (const [name, value] of error.details) {
    writer.message(fields.details, fieldSpanBytes(name) + fieldSpanBytes(value));
    writer.field(entryFields.key, name);
    writer.field(entryFields.value, value);
  }
}
