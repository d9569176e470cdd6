import type { Problem } from "../wire/problem.ts";

/** How a live tail is written. Every text is whole: a client that gets all of it, and nothing behind, misses nothing. */
export interface TailFormat {
  readonly mediaType: string;
  /** What comes first: from where on records follow, and when to come back after the connection was lost. */
  hello(id: string, retryMs: number): string;
  /** A record's JSON, its partition in it. */
  record(json: string, id: string): string;
  /** Records that can't be sent any more, as they were trimmed away. */
  gap(gap: TailGap, id: string): string;
  /** Why the tail ends. Without one it was cut off. */
  problem(problem: Problem): string;
  readonly heartbeat: string;
}

/** Offsets `[fromOffset, toOffset)` of a partition. */
export interface TailGap {
  readonly partition: number;
  readonly fromOffset: number;
  readonly toOffset: number;
}

/**
 * Server-sent events, as browsers read them. JSON has no line breaks outside of its strings and escapes those inside, so it is one
 * line. The first block has an id and no data: it dispatches nothing, but sets where a browser resumes that has seen no event yet.
 */
export const eventStreamFormat: TailFormat = {
  mediaType: "text/event-stream",
  hello: (id, retryMs) => `retry: ${retryMs}\nid: ${id}\n\n`,
  record: (json, id) => `id: ${id}\ndata: ${json}\n\n`,
  gap: (gap, id) => `id: ${id}\nevent: gap\ndata: ${JSON.stringify(gap)}\n\n`,
  problem: (problem) => `event: problem\ndata: ${JSON.stringify(problem)}\n\n`,
  heartbeat: ":\n\n",
};

/** A line for each: a record, `{ "gap": … }` or, as the last, `{ "error": … }`. An empty line is a heartbeat. */
export const linesFormat: TailFormat = {
  mediaType: "application/x-ndjson",
  hello: () => "",
  record: (json) => `${json}\n`,
  gap: (gap) => `${JSON.stringify({ gap })}\n`,
  problem: (problem) => `${JSON.stringify({ error: problem })}\n`,
  heartbeat: "\n",
};
