import { ProglogError } from "../../base/error.ts";
import { ledGroupsMaxCount, termMax } from "../../base/cluster-limits.ts";

/**
 * What a node says of the groups that it leads, as the body of the question `leaders` and of its answer: JSON, as it is small and
 * seldom.
 *
 *     { "isFull": true, "leads": [["<group id>", 7], …], "left": [["<group id>", 6], …], "out": ["<group id>", …] }
 *
 * Groups stand with the term that they are led in. `isFull` says that these are all it leads, and asks the same of who is told. `out` is
 * always all there are.
 */
export interface LeaderNews {
  readonly isFull: boolean;
  readonly leads: readonly GroupTerm[];
  /** It led them in that term and does no more. */
  readonly left: readonly GroupTerm[];
  /** Its replicas of these are out of action while the node lives. */
  readonly out: readonly string[];
}

export type GroupTerm = readonly [groupId: string, term: number];

export function encodeLeaderNews({ isFull, leads, left, out }: LeaderNews): Buffer {
  return Buffer.from(JSON.stringify({ isFull, leads, left, out }));
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
  const { isFull, leads, left, out }: Readonly<Record<string, unknown>> = { ...news };
  if (typeof isFull !== "boolean") throw wrong("isFull isn't true or false");
  return { isFull, leads: termsOf(leads, "leads"), left: termsOf(left, "left"), out: groupsOf(out, "out") };
}

function groupsOf(value: unknown, name: string): readonly string[] {
  return listOf(value, name).map((item) => {
    if (!isGroupId(item)) throw wrong(`${name} holds what is no group`);
    return item;
  });
}

function termsOf(value: unknown, name: string): readonly GroupTerm[] {
  return listOf(value, name).map((item): GroupTerm => {
    const pair: readonly unknown[] = Array.isArray(item) ? item : [];
    const [groupId, term] = pair.length === 2 ? pair : [];
    const isTerm = typeof term === "number" && Number.isSafeInteger(term) && term >= 0 && term <= termMax;
    if (!isGroupId(groupId) || !isTerm) throw wrong(`${name} holds what is no group with its term`);
    return [groupId, term];
  });
}

function listOf(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(`${name} is no list`);
  if (value.length <= ledGroupsMaxCount) return value;
  throw wrong(`${name} has ${value.length} groups, and at most ${ledGroupsMaxCount} are possible`);
}

function isGroupId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= groupIdMaxChars;
}

/** As hard states have it. */
const groupIdMaxChars = 255;

function wrong(reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read who leads what: ${reason}`, { cause });
}
