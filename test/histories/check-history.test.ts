import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { checkHistory } from "./check-history.ts";
import { checkHistoryByBruteForce } from "./dumb-check.ts";
import type { AnomalyKind, AppendOperation, History, ReadOperation, SeenRecord } from "./history.ts";

/** A good history: five appends of three clients, one of them in doubt and there, one in doubt and not, and readers. */
const good: History = {
  appends: [
    append("a1", { at: [0, 10], baseOffset: 0 }),
    append("b1 b2", { at: [5, 12], baseOffset: 1 }),
    append("c1", { at: [13, 20], outcome: "info" }),
    append("c2", { at: [13, 14], outcome: "fail" }),
    append("a2", { at: [15, 30], baseOffset: 4 }),
    append("c3", { at: [15, 90], outcome: "info" }),
  ],
  reads: [
    read("r", "0:a1 1:b1", { at: [13, 14] }),
    read("r", "2:b2 3:c1", { at: [22, 24] }),
    read("s", "0:a1 1:b1 2:b2", { at: [13, 15], isLatest: true }),
    read("t", "", { at: [31, 32], from: 5, isLatest: true }),
  ],
  finals: new Map([
    ["n1", seen("0:a1 1:b1 2:b2 3:c1 4:a2")],
    ["n2", seen("0:a1 1:b1 2:b2 3:c1 4:a2")],
    ["n3", seen("2:b2 3:c1 4:a2")],
  ]),
};

describe("the checkers of histories", () => {
  for (const [name, check] of [
    ["by sorting", checkHistory],
    ["by looking at every pair", checkHistoryByBruteForce],
  ] as const) {
    test(`find nothing in a good one, ${name}`, () => {
      assert.deepEqual(check(good), []);
    });
    for (const { title, history, kind } of badHistories())
      test(`find ${kind} ${name}: ${title}`, () => {
        const kinds = new Set(check(history).map((anomaly) => anomaly.kind));
        assert.ok(kinds.has(kind), `found ${[...kinds].join(", ") || "nothing"}`);
      });
  }

  test("agree on histories that were changed at random", () => {
    let state = 7;
    const draw = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * below);
    };
    for (let round = 0; round < 3_000; round += 1) {
      const history = changed(good, draw);
      const kindsOf = (check: typeof checkHistory): AnomalyKind[] =>
        [...new Set(check(history).map(({ kind }) => kind))].toSorted();
      assert.deepEqual(
        kindsOf(checkHistory),
        kindsOf(checkHistoryByBruteForce),
        JSON.stringify({ ...history, finals: [...history.finals] }),
      );
    }
  });
});

interface BadHistory {
  readonly title: string;
  readonly kind: AnomalyKind;
  readonly history: History;
}

function badHistories(): readonly BadHistory[] {
  const finals = (text: string): History["finals"] =>
    new Map([
      ["n1", seen(text)],
      ["n2", seen(text)],
    ]);
  const withAppend = (extra: AppendOperation): History => ({ ...good, appends: [...good.appends, extra] });
  const withRead = (extra: ReadOperation): History => ({ ...good, reads: [...good.reads, extra] });
  const withFinal = (node: string, text: string): History => ({
    ...good,
    finals: new Map([...good.finals, [node, seen(text)]]),
  });
  const bad = (kind: AnomalyKind, title: string, history: History): BadHistory => ({ kind, title, history });
  return [
    bad("lost", "the last record", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1") }),
    bad("lost", "everything", { ...good, finals: finals("") }),
    bad("lost", "the second of a batch", { ...good, finals: finals("0:a1 1:b1 2:c1 3:a2") }),
    bad("lost", "one that nobody has", withAppend(append("z", { at: [40, 50], baseOffset: 5 }))),
    bad("moved", "two have changed places", { ...good, finals: finals("0:a1 1:b1 2:b2 3:a2 4:c1") }),
    bad("moved", "one came before", { ...good, finals: finals("0:c1 1:a1 2:b1 3:b2 4:a2") }),
    bad("moved", "acknowledged where another is", withAppend({ ...append("c1", { at: [40, 50], baseOffset: 2 }) })),
    bad("aborted", "a refused one is there", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:c2") }),
    bad("aborted", "a refused one in the middle", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c2 4:a2") }),
    bad("duplicate", "one is there twice", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:a1") }),
    bad("duplicate", "one in doubt is there twice", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:c1") }),
    bad("duplicate", "side by side", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:c3 6:c3") }),
    bad("invented", "nobody sent it", { ...good, finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:q") }),
    bad("invented", "at the front of all", { ...good, appends: good.appends.slice(1) }),
    bad("torn", "half of a batch in doubt is there", {
      ...withAppend(append("d1 d2", { at: [40, 50], outcome: "info" })),
      finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:d1"),
    }),
    bad("torn", "the other half is there", {
      ...withAppend(append("d1 d2", { at: [40, 50], outcome: "info" })),
      finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:d2"),
    }),
    bad("torn", "something lies between", {
      ...withAppend(append("d1 d2", { at: [14, 50], outcome: "info" })),
      finals: finals("0:a1 1:b1 2:b2 3:c1 4:a2 5:d1 6:c3 7:d2"),
    }),
    bad("replicas-differ", "in a record", withFinal("n2", "0:a1 1:b1 2:b2 3:x 4:a2")),
    bad("replicas-differ", "one is shorter", withFinal("n2", "0:a1 1:b1 2:b2 3:c1")),
    bad("replicas-differ", "one is longer", withFinal("n4", "0:a1 1:b1 2:b2 3:c1 4:a2 5:c3")),
    bad("replicas-differ", "one is empty", withFinal("n2", "")),
    bad("replicas-differ", "in the one that begins later", withFinal("n3", "2:b2 3:c1 4:b1")),
    bad("hole", "in the middle", withFinal("n2", "0:a1 1:b1 3:c1 4:a2")),
    bad("hole", "an offset twice", withFinal("n2", "0:a1 1:b1 1:b2 3:c1 4:a2")),
    bad("hole", "behind the first", withFinal("n3", "0:a1 2:b2 3:c1 4:a2")),
    bad("reordered", "acknowledged, and then one before it", {
      ...withAppend(append("d1", { at: [40, 50], baseOffset: 3 })),
    }),
    bad("reordered", "one in doubt lies before what was there", {
      ...good,
      appends: good.appends.map((each) => (each.contents[0] === "c1" ? { ...each, invokedMs: 31, returnedMs: 40 } : each)),
    }),
    bad("reordered", "the first of all", {
      ...good,
      appends: good.appends.map((each) => (each.contents[0] === "a1" ? { ...each, invokedMs: 13, returnedMs: 14 } : each)),
    }),
    bad("dirty-read", "something else is there", withRead(read("u", "0:a1 1:x", { at: [40, 41] }))),
    bad("dirty-read", "nothing is there", withRead(read("u", "5:c3", { at: [40, 41] }))),
    bad("dirty-read", "a refused one", withRead(read("u", "5:c2", { at: [40, 41] }))),
    bad("dirty-read", "the first", withRead(read("u", "0:b1", { at: [40, 41] }))),
    bad("dirty-read", "an end that isn't", withRead(read("u", "", { at: [40, 41], from: 9, isLatest: true }))),
    bad("read-gap", "one is left out", withRead(read("u", "0:a1 2:b2", { at: [40, 41] }))),
    bad("read-gap", "it begins later", withRead(read("u", "1:b1", { at: [40, 41], from: 0 }))),
    bad("read-gap", "it begins earlier", withRead(read("u", "0:a1", { at: [40, 41], from: 1 }))),
    bad("read-gap", "one comes twice", withRead(read("u", "0:a1 0:a1", { at: [40, 41] }))),
    bad("read-gap", "it goes back", withRead(read("u", "1:b1 0:a1", { at: [40, 41] }))),
    bad("stale-read", "the last is missing", withRead(read("u", "3:c1", { at: [40, 41], isLatest: true }))),
    bad("stale-read", "nothing is shown", withRead(read("u", "", { at: [40, 41], from: 0, isLatest: true }))),
    bad("stale-read", "right after the answer", withRead(read("u", "", { at: [11, 12], from: 0, isLatest: true }))),
    bad("stale-read", "of a batch only the first", withRead(read("u", "0:a1 1:b1", { at: [13, 14], isLatest: true }))),
    bad("stream-jump", "it goes back", withRead(read("r", "2:b2", { at: [40, 41] }))),
    bad("stream-jump", "it leaves one out", withRead(read("r", "5:q", { at: [40, 41] }))),
    bad("stream-jump", "it begins anew", withRead(read("r", "0:a1", { at: [40, 41] }))),
    bad("stream-jump", "after an empty answer", withRead(read("t", "4:a2", { at: [40, 41] }))),
    bad("stream-jump", "past what was asked for", withRead(read("s", "4:a2", { at: [40, 41] }))),
  ];
}

/** One thing of it is another, or is gone. */
function changed(history: History, draw: (below: number) => number): History {
  const appends = [...history.appends];
  const reads = [...history.reads];
  const finals = new Map(history.finals);
  const edit = (records: readonly SeenRecord[]): SeenRecord[] => {
    const copy = [...records];
    const at = draw(copy.length + 1);
    const kind = draw(3);
    if (kind === 0) copy.splice(at, 1);
    else if (kind === 1) copy.splice(at, 0, { offset: draw(6), content: ["a1", "b1", "c2", "c3", "q"][draw(5)] ?? "" });
    else if (copy[at] !== undefined) copy[at] = { offset: copy[at].offset, content: ["a1", "b2", "c1"][draw(3)] ?? "" };
    return copy;
  };
  switch (draw(4)) {
    case 0: {
      const at = draw(appends.length);
      const one = appends[at];
      if (one !== undefined)
        appends[at] = { ...one, outcome: (["ok", "fail", "info"] as const)[draw(3)] ?? "ok", baseOffset: draw(6) };
      break;
    }
    case 1: {
      const at = draw(appends.length);
      const one = appends[at];
      const invokedMs = draw(40);
      if (one !== undefined) appends[at] = { ...one, invokedMs, returnedMs: invokedMs + 1 + draw(20) };
      break;
    }
    case 2: {
      const at = draw(reads.length);
      const one = reads[at];
      if (one !== undefined) reads[at] = { ...one, records: edit(one.records), isLatest: draw(2) === 0 };
      break;
    }
    default: {
      const node = `n${1 + draw(3)}`;
      finals.set(node, edit(finals.get(node) ?? []));
    }
  }
  return { appends, reads, finals };
}

function append(
  contents: string,
  { at, outcome = "ok", baseOffset }: { at: [number, number]; outcome?: AppendOperation["outcome"]; baseOffset?: number },
): AppendOperation {
  const [invokedMs, returnedMs] = at;
  return {
    ...{ kind: "append", client: contents.slice(0, 1), contents: contents.split(" "), invokedMs, returnedMs, outcome },
    ...(baseOffset === undefined ? {} : { baseOffset }),
  };
}

function read(
  stream: string,
  text: string,
  { at, from, isLatest = false }: { at: [number, number]; from?: number; isLatest?: boolean },
): ReadOperation {
  const [invokedMs, returnedMs] = at;
  const records = seen(text);
  return { kind: "read", stream, from: from ?? records[0]?.offset ?? 0, invokedMs, returnedMs, records, isLatest };
}

/** `0:a1 1:b1` */
function seen(text: string): SeenRecord[] {
  if (text === "") return [];
  return text.split(" ").map((each) => {
    const [offset = "", content = ""] = each.split(":");
    return { offset: Number(offset), content };
  });
}
