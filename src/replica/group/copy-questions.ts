import { ProglogError } from "../../base/error.ts";
import { integerMax } from "../../base/limits.ts";
import { termMax } from "../../base/cluster-limits.ts";
import { JsonFields, MalformedJson, parseJson } from "../cluster/json-fields.ts";

/**
 * How a log gets from one replica to another (docs/replication.md, "Catching up"): a leader asks a peer to catch up, and whoever lacks
 * entries asks for them in pieces. Questions are JSON; an answer begins with the length of its head, u32 LE, then the head as JSON, then a base
 * record, or frames one behind the other, as they travel in appends.
 */
export const copyQuestions = { catchUp: "group/catch-up", fetch: "group/fetch" } as const;

export type CopyQuestionKind = (typeof copyQuestions)[keyof typeof copyQuestions];

/** To a peer that lacks what its leader has trimmed: it is to fetch what the leader's log begins with. Answered when it has. */
export interface CatchUpQuestion {
  readonly group: string;
  readonly term: number;
}

export interface CatchUpAnswer {
  /** Up to here the peer has the leader's log. */
  readonly lastIndex: number;
}

/** For the base record, or for entries from `index` on, up to and with `lastIndex`. */
export type FetchQuestion =
  | { readonly group: string; readonly wants: "base" }
  | { readonly group: string; readonly wants: "entries"; readonly index: number; readonly lastIndex: number };

export interface BaseAnswer {
  /** What lies behind the base up to here is committed, and mostly in sealed segments: to be fetched, too. */
  readonly lastIndex: number;
  readonly logStartOffset: number;
  /** The one in force at the base, as the payload of an entry: that one may be gone, or never have been one. */
  readonly membership: Buffer;
  readonly record: Buffer;
}

export interface EntriesAnswer {
  readonly frames: readonly Buffer[];
  /** Where the answering log begins: what was asked for may be gone. */
  readonly baseIndex: number;
}

export function isCopyQuestion(kind: string): kind is CopyQuestionKind {
  return kind === copyQuestions.catchUp || kind === copyQuestions.fetch;
}

export function encodeCopyQuestion(question: CatchUpQuestion | FetchQuestion): Buffer {
  return Buffer.from(JSON.stringify(question));
}

/** The group that a question of either kind is about. Throws INVALID_ARGUMENT, as all here do. */
export function groupOfQuestion(body: Buffer): string {
  return reading(() => new JsonFields(parseJson(body), "it").text("group", { maxChars: groupMaxChars }));
}

export function decodeCatchUpQuestion(body: Buffer): CatchUpQuestion {
  return reading(() => {
    const fields = new JsonFields(parseJson(body), "it");
    const question = { group: fields.text("group", { maxChars: groupMaxChars }), term: fields.integer("term", 1) };
    fields.end();
    if (question.term > termMax) throw new MalformedJson("its term is none");
    return question;
  });
}

export function decodeFetchQuestion(body: Buffer): FetchQuestion {
  return reading(() => {
    const fields = new JsonFields(parseJson(body), "it");
    const group = fields.text("group", { maxChars: groupMaxChars });
    const isOfBase = fields.text("wants", { pattern: /^(base|entries)$/ }) === "base";
    const question: FetchQuestion = isOfBase
      ? { group, wants: "base" }
      : { group, wants: "entries", index: fields.integer("index", 1), lastIndex: fields.integer("lastIndex", 1) };
    fields.end();
    return question;
  });
}

export function encodeCatchUpAnswer(answer: CatchUpAnswer): Buffer {
  return Buffer.from(JSON.stringify(answer));
}

export function decodeCatchUpAnswer(body: Buffer): CatchUpAnswer {
  return reading(() => ({ lastIndex: new JsonFields(parseJson(body), "it").integer("lastIndex") }));
}

export function encodeBaseAnswer({ lastIndex, logStartOffset, membership, record }: BaseAnswer): Buffer {
  return withHead({ lastIndex, logStartOffset, membership: membership.toString("base64") }, [record]);
}

export function decodeBaseAnswer(body: Buffer): BaseAnswer {
  return reading(() => {
    const { fields, rest } = readHead(body);
    const [lastIndex, logStartOffset] = [fields.integer("lastIndex"), fields.integer("logStartOffset")];
    return { lastIndex, logStartOffset, membership: Buffer.from(fields.text("membership"), "base64"), record: rest };
  });
}

export function encodeEntriesAnswer({ frames, baseIndex }: EntriesAnswer): Buffer {
  return withHead({ baseIndex }, frames);
}

/** The frames aren't looked into, but for how long they say they are. */
export function decodeEntriesAnswer(body: Buffer): EntriesAnswer {
  return reading(() => {
    const { fields, rest } = readHead(body);
    const frames: Buffer[] = [];
    for (let at = 0; at < rest.length; ) {
      if (at + lengthBytes > rest.length) throw new MalformedJson("a frame of it is cut short");
      const entryBytes = rest.readBigUInt64LE(at);
      const end = entryBytes > BigInt(integerMax) ? integerMax : at + lengthBytes + Number(entryBytes);
      if (end > rest.length || entryBytes === 0n) throw new MalformedJson("a frame of it is cut short");
      frames.push(rest.subarray(at, end));
      at = end;
    }
    return { frames, baseIndex: fields.integer("baseIndex") };
  });
}

function withHead(head: object, parts: readonly Buffer[]): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(headLengthBytes);
  length.writeUInt32LE(text.length, 0);
  return Buffer.concat([length, text, ...parts]);
}

function readHead(body: Buffer): { readonly fields: JsonFields; readonly rest: Buffer } {
  const end = body.length < headLengthBytes ? Number.POSITIVE_INFINITY : headLengthBytes + body.readUInt32LE(0);
  if (end > body.length) throw new MalformedJson("it is cut short");
  return { fields: new JsonFields(parseJson(body.subarray(headLengthBytes, end)), "it"), rest: body.subarray(end) };
}

function reading<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot read what is said of a copy of a log: ${error.message}`, {
      cause: error,
    });
  }
}

const headLengthBytes = 4;
const lengthBytes = 8;
/** A group's id is a uuid; in tests it may be any name. */
const groupMaxChars = 64;
