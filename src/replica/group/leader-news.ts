import { ProglogError } from "../../base/error.ts";
import { ledGroupsMaxCount, termMax } from "../../base/cluster-limits.ts";

/**
 * What a node says of the groups that it leads, as the body of the question `leaders` and of its answer: JSON, as it is small and
 * seldom.
 *
 *     { "isFull": true, "leads": [["<group id>", 7], …], "left": [["<group id>", 6], …] }
 *
 * Groups stand with the term that they are led in. `isFull` says that these are all it leads, and asks the same of who is told.
 */
export interface LeaderNews {
  readonly isFull: boolean;
  readonly leads: readonly GroupTerm[];
  /** It led them in that term and does no more. */
  readonly left: readonly GroupTerm[];
}

export type GroupTerm = readonly [groupId: string, term: number];

export function encodeLeaderNews({ isFull, leads, left }: LeaderNews): Buffer {
  return Buffer.from(JSON.stringify({ isFull, leads, left }));
}

/** Throws INVALID_ARGUMENT. */
export function decodeLeaderNews(body: Buffer): LeaderNews {
  let news: unknown;
  try {
    news = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw wrong("it is no JSON", error);
  }
  if (typeof news !== "object" || news === null) throw wrong("it is no object");
  const { isFull, leads, left }: Readonly<Record<string, unknown>> = { ...news };
  if (typeof isFull !== "boolean") throw wrong("isFull isn't true or false");
  return { isFull, leads: termsOf(leads, "leads"), left: termsOf(left, "left") };
}

function termsOf(value: unknown, name: string): readonly GroupTerm[] {
  if (!Array.isArray(value)) throw wrong(`${name} is no list`);
  if (value.length > ledGroupsMaxCount)
    throw wrong(`${name} has ${value.length} groups, and at most ${ledGroupsMaxCount} are possible`);
  return value.map((item: unknown): GroupTerm => {
    const pair: readonly unknown[] = Array.isArray(item) ? item : [];
    const [groupId, term] = pair.length === 2 ? pair : [];
    const isGroup = typeof groupId === "string" && groupId.length > 0 && groupId.length <= groupIdMaxChars;
    const isTerm = typeof term === "number" && Number.isSafeInteger(term) && term >= 0 && term <= termMax;
    if (!isGroup || !isTerm) throw wrong(`${name} holds what is no group with its term`);
    return [groupId, term];
  });
}

/** As hard states have it. */
const groupIdMaxChars = 255;

function wrong(reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read who leads what: ${reason}`, { cause });
}
