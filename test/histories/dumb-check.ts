import type { Anomaly, AnomalyKind, AppendOperation, History, SeenRecord } from "./history.ts";

/**
 * What `checkHistory` finds, found again from the words alone and as slowly as that takes: every rule is a loop over everything. The
 * two were not made from each other, so that a mistake in one of them is a difference.
 */
export function checkHistoryByBruteForce(history: History): readonly Anomaly[] {
  const found: Anomaly[] = [];
  const say = (kind: AnomalyKind, text: string): void => {
    found.push({ kind, text });
  };
  const logs = [...history.finals];
  let longest: readonly SeenRecord[] = [];
  for (const [, log] of logs) if (end(log) > end(longest)) longest = log;

  for (const [node, log] of logs) {
    if (end(log) < end(longest)) say("replicas-differ", `${node} is shorter than another`);
    for (let i = 1; i < log.length; i += 1)
      if ((log[i]?.offset ?? 0) - (log[i - 1]?.offset ?? 0) !== 1) say("hole", `${node} at ${log[i]?.offset}`);
    for (const mine of log) {
      const theirs = longest.find((each) => each.offset === mine.offset);
      if (theirs !== undefined && theirs.content !== mine.content) say("replicas-differ", `${node} at ${mine.offset}`);
    }
  }

  const places = (content: string): number[] => longest.filter((each) => each.content === content).map((each) => each.offset);
  for (const { content, offset } of longest) {
    if (places(content).length > 1) say("duplicate", content);
    if (!history.appends.some(({ contents }) => contents.includes(content))) say("invented", `${content} at ${offset}`);
  }

  for (const append of history.appends) {
    const { contents, outcome } = append;
    contents.forEach((content, i) => {
      const [place] = places(content);
      if (outcome === "ok") {
        if (place === undefined) say("lost", content);
        else if (place !== (append.baseOffset ?? Number.NaN) + i) say("moved", content);
        return;
      }
      if (outcome === "fail" && place !== undefined) say("aborted", content);
      const [head] = places(contents[0] ?? "");
      if (head === undefined ? place !== undefined : place !== head + i) say("torn", content);
    });
    if (outcome === "fail") continue;
    const place = outcome === "ok" ? append.baseOffset : places(contents[0] ?? "")[0];
    for (const before of history.appends) {
      const isBefore = before.outcome === "ok" && before.returnedMs < append.invokedMs;
      if (isBefore && place !== undefined && place < toldEnd(before))
        say("reordered", `${contents[0]} behind ${before.contents[0]}`);
    }
  }

  history.reads.forEach((read, number) => {
    let next = read.from;
    for (const { offset, content } of read.records) {
      if (offset !== next) say("read-gap", `${read.stream} at ${offset}`);
      next = offset + 1;
      const there = longest.find((each) => each.offset === offset);
      const isTrimmed = longest[0] !== undefined && offset < longest[0].offset;
      if (!isTrimmed && offset >= 0 && there?.content !== content) say("dirty-read", `${read.stream} at ${offset}`);
    }
    if (read.isLatest) {
      for (const append of history.appends)
        if (append.outcome === "ok" && append.returnedMs < read.invokedMs && next < toldEnd(append))
          say("stale-read", `${read.stream} without ${append.contents[0]}`);
      if (read.records.length === 0 && read.from > end(longest)) say("dirty-read", `${read.stream} ends at ${read.from}`);
    }
    const before = history.reads.slice(0, number).findLast(({ stream }) => stream === read.stream);
    if (before === undefined) return;
    const last = before.records.at(-1);
    if (read.from !== (last === undefined ? before.from : last.offset + 1)) say("stream-jump", read.stream);
  });
  return found;
}

function toldEnd({ baseOffset = 0, contents }: AppendOperation): number {
  return baseOffset + contents.length;
}

function end(log: readonly SeenRecord[]): number {
  const last = log.at(-1);
  return last === undefined ? 0 : last.offset + 1;
}
