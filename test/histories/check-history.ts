import type { Anomaly, AnomalyKind, AppendOperation, History, ReadOperation, SeenRecord } from "./history.ts";

/** Everything in a history that no log would have answered. */
export function checkHistory({ appends, reads, finals }: History): readonly Anomaly[] {
  const anomalies: Anomaly[] = [];
  const report = (kind: AnomalyKind, text: string): void => void anomalies.push({ kind, text });
  const log = checkFinals(finals, report);
  const offsets = checkContents(log, appends, report);
  checkAppends(appends, offsets, report);
  checkRealTime(appends, offsets, report);
  const contentAt = lookup(log);
  for (const read of reads) checkRead(read, { contentAt, logStart: log[0]?.offset ?? 0 }, report);
  checkFreshness(appends, reads, log, report);
  checkStreams(reads, report);
  return anomalies;
}

type Report = (kind: AnomalyKind, text: string) => void;

/** The longest of the logs, to which all others are held. */
function checkFinals(finals: History["finals"], report: Report): readonly SeenRecord[] {
  const [[leader, longest] = ["", []]] = [...finals].toSorted(([, a], [, b]) => endOf(b) - endOf(a));
  for (const [node, records] of finals) {
    for (const [position, { offset }] of records.entries()) {
      const before = records[position - 1];
      if (before !== undefined && offset !== before.offset + 1) report("hole", `${node}: ${offset} follows ${before.offset}`);
    }
    if (endOf(records) !== endOf(longest))
      report("replicas-differ", `${node} ends at ${endOf(records)}, ${leader} at ${endOf(longest)}`);
    // Each may begin elsewhere: they trim by themselves, within what was agreed.
    const contentAt = lookup(longest);
    for (const { offset, content } of records) {
      const theirs = contentAt.get(offset);
      if (theirs !== undefined && theirs !== content)
        report("replicas-differ", `${offset} is ${content} at ${node} and ${theirs} at ${leader}`);
    }
  }
  return longest;
}

/** Where each content lies. */
function checkContents(log: readonly SeenRecord[], appends: readonly AppendOperation[], report: Report): Map<string, number> {
  const sent = new Set(appends.flatMap(({ contents }) => contents));
  const offsets = new Map<string, number>();
  for (const { offset, content } of log) {
    const first = offsets.get(content);
    if (first !== undefined) report("duplicate", `${content} is at ${first} and at ${offset}`);
    else offsets.set(content, offset);
    if (!sent.has(content)) report("invented", `${content} at ${offset} was sent by nobody`);
  }
  return offsets;
}

function checkAppends(appends: readonly AppendOperation[], offsets: ReadonlyMap<string, number>, report: Report): void {
  for (const { contents, outcome, baseOffset = Number.NaN } of appends) {
    const first = offsets.get(contents[0] ?? "");
    for (const [position, content] of contents.entries()) {
      const offset = offsets.get(content);
      if (outcome === "fail" && offset !== undefined) report("aborted", `${content} was refused and is at ${offset}`);
      if (outcome === "ok" && offset === undefined)
        report("lost", `${content} was acknowledged at ${baseOffset + position} and is nowhere`);
      if (outcome === "ok" && offset !== undefined && offset !== baseOffset + position)
        report("moved", `${content} was acknowledged at ${baseOffset + position} and is at ${offset}`);
      const isBeside = (first === undefined) === (offset === undefined) && (first === undefined || offset === first + position);
      if (outcome !== "ok" && !isBeside) report("torn", `${content} is at ${offset}, and what it was sent with at ${first}`);
    }
  }
}

/** In the order in which they were asked for: none may lie before what had been acknowledged by then. */
function checkRealTime(appends: readonly AppendOperation[], offsets: ReadonlyMap<string, number>, report: Report): void {
  const returned = appends.filter(({ outcome }) => outcome === "ok").toSorted((a, b) => a.returnedMs - b.returnedMs);
  let position = 0;
  let end = 0;
  for (const append of appends.toSorted((a, b) => a.invokedMs - b.invokedMs)) {
    for (let next = returned[position]; next !== undefined && next.returnedMs < append.invokedMs; next = returned[position]) {
      end = Math.max(end, (next.baseOffset ?? 0) + next.contents.length);
      position += 1;
    }
    const told = append.outcome === "ok" ? append.baseOffset : offsets.get(append.contents[0] ?? "");
    if (told !== undefined && append.outcome !== "fail" && told < end)
      report(
        "reordered",
        `${append.contents[0]} is at ${told}, and ${end} records had been acknowledged when it was asked for`,
      );
  }
}

function checkRead(
  { stream, from, records }: ReadOperation,
  { contentAt, logStart }: { readonly contentAt: ReadonlyMap<number, string>; readonly logStart: number },
  report: Report,
): void {
  for (const [position, { offset, content }] of records.entries()) {
    const expected = position === 0 ? from : (records[position - 1]?.offset ?? 0) + 1;
    if (offset !== expected) report("read-gap", `${stream} got ${offset} where ${expected} follows`);
    const there = contentAt.get(offset);
    // What was trimmed since can't be held against anything.
    if (offset >= logStart && there !== content)
      report("dirty-read", `${stream} got ${content} at ${offset}, where ${there ?? "nothing"} is`);
  }
}

function checkFreshness(
  appends: readonly AppendOperation[],
  reads: readonly ReadOperation[],
  log: readonly SeenRecord[],
  report: Report,
): void {
  const returned = appends.filter(({ outcome }) => outcome === "ok").toSorted((a, b) => a.returnedMs - b.returnedMs);
  let position = 0;
  let end = 0;
  for (const read of reads.filter(({ isLatest }) => isLatest).toSorted((a, b) => a.invokedMs - b.invokedMs)) {
    for (let next = returned[position]; next !== undefined && next.returnedMs < read.invokedMs; next = returned[position]) {
      end = Math.max(end, (next.baseOffset ?? 0) + next.contents.length);
      position += 1;
    }
    const shown = (read.records.at(-1)?.offset ?? read.from - 1) + 1;
    if (shown < end) report("stale-read", `${read.stream} was shown ${shown} offsets, and ${end} had been acknowledged`);
    if (shown > endOf(log) && read.records.length === 0)
      report("dirty-read", `${read.stream} was told of ${shown} offsets of ${endOf(log)}`);
  }
}

function checkStreams(reads: readonly ReadOperation[], report: Report): void {
  const ends = new Map<string, number>();
  for (const { stream, from, records } of reads) {
    const end = ends.get(stream);
    if (end !== undefined && from !== end) report("stream-jump", `${stream} went on at ${from} where it had got to ${end}`);
    ends.set(stream, (records.at(-1)?.offset ?? from - 1) + 1);
  }
}

/** By offset; of two at one offset, which is wrong anyway, the first. */
function lookup(records: readonly SeenRecord[]): ReadonlyMap<number, string> {
  return new Map(records.toReversed().map(({ offset, content }) => [offset, content]));
}

function endOf(records: readonly SeenRecord[]): number {
  return (records.at(-1)?.offset ?? -1) + 1;
}
