import { assert } from "../base/assert.ts";
import { type ErrorCode, type ErrorDetails, ProglogError } from "../base/error.ts";
import { peerRefusalMaxBytes } from "../base/cluster-limits.ts";
import { errorTable } from "./error-table.ts";
import { PeerReader } from "./peer-reader.ts";
import { PeerWriter } from "./peer-writer.ts";

/**
 * Questions and what comes back for them (docs/peer-protocol.md). Numbers of questions are their asker's, from 1 on, and free again once
 * answered; 0 stands for the connection itself, in a refusal that ends it.
 *
 *     question  u32 number │ u8 length, kind │ body       answer   u32 number │ body
 *     cancel    u32 number                                refusal  u32 number │ JSON
 */
export interface PeerQuestion {
  readonly number: number;
  readonly kind: string;
  readonly body: Buffer;
}

/** What stands before the body. */
export function encodeQuestionHead(number: number, kind: string): Buffer {
  const name = Buffer.from(kind);
  assert(name.length <= kindMaxBytes, "the kind of a question has at most 255 bytes");
  const writer = new PeerWriter(numberBytes + 1 + name.length);
  writer.u32(number);
  writer.u8(name.length);
  writer.bytes(name);
  return writer.finish();
}

/** Throws PEER_REFUSED. */
export function decodeQuestion(payload: Buffer): PeerQuestion {
  const reader = new PeerReader(payload, "a question");
  const number = readQuestionNumber(reader);
  const kind = reader.text(reader.u8());
  return { number, kind, body: reader.rest() };
}

/** Of an answer: what stands before the body. A cancel is nothing else. */
export function encodeNumber(number: number): Buffer {
  const writer = new PeerWriter(numberBytes);
  writer.u32(number);
  return writer.finish();
}

/** Throws PEER_REFUSED. */
export function decodeAnswer(payload: Buffer): { readonly number: number; readonly body: Buffer } {
  const reader = new PeerReader(payload, "an answer");
  return { number: readQuestionNumber(reader), body: reader.rest() };
}

/** Throws PEER_REFUSED. */
export function decodeCancel(payload: Buffer): number {
  const reader = new PeerReader(payload, "a cancel");
  const number = readQuestionNumber(reader);
  reader.end();
  return number;
}

/** Texts beyond a few KiB are cut, and details that would be too large left out: a refusal is always told. */
export function encodeRefusal(number: number, { code, message, hint, details }: ProglogError): Buffer {
  const words = { code, message: cut(message), ...(hint === undefined ? {} : { hint: cut(hint) }) };
  let json = Buffer.from(JSON.stringify({ ...words, details }));
  if (json.length > peerRefusalMaxBytes - numberBytes) json = Buffer.from(JSON.stringify(words));
  const writer = new PeerWriter(numberBytes + json.length);
  writer.u32(number);
  writer.bytes(json);
  return writer.finish();
}

/** The error that it told of; a code of a newer version is INTERNAL, with its own code in the details. Throws PEER_REFUSED. */
export function decodeRefusal(payload: Buffer): { readonly number: number; readonly error: ProglogError } {
  const reader = new PeerReader(payload, "a refusal");
  const number = reader.u32();
  const told = parseObject(reader.text(reader.leftBytes));
  const { code, message, hint, details } = told ?? {};
  if (typeof code !== "string" || typeof message !== "string") throw reader.refuse("it is no error");
  const isKnown = Object.hasOwn(errorTable, code);
  const error = new ProglogError(isKnown ? (code as ErrorCode) : "INTERNAL", message, {
    ...(typeof hint === "string" ? { hint } : {}),
    details: { ...plainDetails(details), ...(isKnown ? {} : { peerCode: code }) },
  });
  return { number, error };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Not JSON: the caller says so in its own words.
    return undefined;
  }
}

function plainDetails(details: unknown): ErrorDetails {
  if (typeof details !== "object" || details === null) return {};
  const plain: [string, string | number | boolean | null][] = [];
  for (const [name, value] of Object.entries(details as Record<string, unknown>))
    if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      plain.push([name, value]);
  return Object.fromEntries(plain);
}

function readQuestionNumber(reader: PeerReader): number {
  const number = reader.u32();
  if (number === 0) throw reader.refuse("its number is 0");
  return number;
}

function cut(text: string): string {
  return text.length <= textMaxChars ? text : `${text.slice(0, textMaxChars)}…`;
}

const numberBytes = 4;
const kindMaxBytes = 255;

/** What stands before the body of a question or an answer, at most. */
export const questionHeadMaxBytes = numberBytes + 1 + kindMaxBytes;

/** As JSON each may take six bytes a character, twice: within the limit with room to spare. */
const textMaxChars = 1_000;
