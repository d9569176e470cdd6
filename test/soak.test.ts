import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { findGrowths, judge, keptNode, type Soak } from "../tools/soak/judge.ts";
import { type LineChart, niceCeiling, renderLineChart } from "../tools/soak/line-chart.ts";
import { renderReport } from "../tools/soak/report.ts";
import { medianOf, planPhases, type Sample } from "../tools/soak/sample.ts";
import { MiB } from "../src/base/units.ts";
import { makeFolder } from "./command-process.ts";
import { repository } from "./source-code.ts";

const minuteMs = 60_000;

/** A sample a second of the node that is never ended, each figure as it is at that second. */
function soakOf(figures: (second: number) => Partial<Sample>): Soak {
  const phases = planPhases(2 * minuteMs);
  const samples = Array.from({ length: 120 }, (_, second): Sample => {
    const constant = { residentBytes: 200 * MiB, heapUsedBytes: 80 * MiB, externalBytes: 5 * MiB, descriptors: 50 };
    const rest = { timers: 20, sockets: 10, loopDelayP99Ms: 12, loopDelayMaxMs: 30 };
    return { atMs: second * 1000, node: keptNode, ...constant, ...rest, ...figures(second) };
  });
  const heaps = phases.map(({ endMs }) => ({ atMs: endMs + 100, node: keptNode, bytes: 30 * MiB }));
  return { phases, samples, heaps, faults: [] };
}

describe("a soak", () => {
  test("begins and ends calm, with faults in between, for exactly as long as it was told", () => {
    for (const minutes of [0.1, 2, 5, 60, 600]) {
      const phases = planPhases(minutes * minuteMs);
      assert.equal(phases[0]?.startMs, 0);
      assert.equal(phases.at(-1)?.endMs, minutes * minuteMs);
      assert.deepEqual(new Set([phases[0]?.kind, phases.at(-1)?.kind]), new Set(["calm"]));
      for (const [number, { kind, startMs }] of phases.entries()) {
        assert.equal(kind, number % 2 === 0 ? "calm" : "faults");
        if (number > 0) assert.equal(startMs, phases[number - 1]?.endMs);
      }
    }
    assert.equal(planPhases(2 * minuteMs).length, 3);
    assert.equal(planPhases(60 * minuteMs).length, 25);
  });

  test("finds nothing where figures waver, and names what grew from the first calm time to the last", () => {
    assert.deepEqual(judge(soakOf((second) => ({ descriptors: 50 + (second % 7), timers: 20 + (second % 5) }))), []);
    // However high it was while there were faults.
    assert.deepEqual(judge(soakOf((second) => (second > 40 && second < 80 ? { descriptors: 900, timers: 900 } : {}))), []);
    assert.deepEqual(judge(soakOf((second) => ({ descriptors: 50 + second }))), [
      "node1: descriptors grew from 80 to 159.5, and may be 104",
    ]);
    assert.deepEqual(judge(soakOf((second) => ({ timers: 20 + second * 2 }))).length, 1);
    const leaking = soakOf(() => ({}));
    const heaps = leaking.heaps.map((heap, number) => ({ ...heap, bytes: heap.bytes * (1 + number) }));
    assert.deepEqual(judge({ ...leaking, heaps }), ["node1: liveHeap grew from 30 MiB to 90 MiB, and may be 55 MiB"]);
  });

  test("leaves out what the system doesn't tell, and other nodes, which were ended in between", () => {
    const { samples, ...rest } = soakOf(() => ({ descriptors: undefined }));
    const others = samples.map((sample, second) => ({ ...sample, node: "node2", timers: second * 100 }));
    const soak = { ...rest, samples: [...samples, ...others] };
    assert.deepEqual(judge(soak), []);
    assert.deepEqual(
      findGrowths(soak).map(({ what }) => what),
      ["timers", "sockets", "liveHeap", "resident"],
    );
  });

  test("a fault that wasn't healed is a finding", () => {
    const faults = [
      { atMs: 1_000, what: "node2 killed", wholeAfterMs: 900 },
      { atMs: 9_000, what: "node3 killed", wholeAfterMs: undefined },
    ];
    assert.deepEqual(judge({ ...soakOf(() => ({})), faults }), ["after node3 killed (9 s) the cluster wasn't whole again"]);
  });

  test("the report has the figures, what was found, and every plot that it shows", () => {
    const soak = { ...soakOf(() => ({})), faults: [{ atMs: 50_000, what: "node2 killed", wholeAfterMs: 2_500 }] };
    const totals = { acknowledged: 12_345, read: 24_690, visits: 7, failedVisits: 1, findings: [] };
    const rates = [{ atMs: 1_000, value: 1_000 }];
    const files = renderReport({ soak, totals, findings: ["one <thing>"], rates, machine: "a machine" });
    const page = files.get("report.md") ?? "";
    for (const part of ["12,345 records", "- one <thing>", "| descriptors | 50 | 50 | 71 |", "| 50 s | node2 killed | 2.5 s |"])
      assert.ok(page.includes(part), part);
    const shown = [...page.matchAll(/!\[\S+\]\((\S+)\)/g)].map(([, file = ""]) => file);
    assert.deepEqual([...files.keys()], ["report.md", ...shown]);
    for (const file of shown) assert.match(files.get(file) ?? "", /^<svg xmlns=[\s\S]*<\/svg>\n$/);
  });

  const isProving = process.env["PROVE"] !== undefined;
  const skip = isProving ? false : "SKIPPED: PROVE=1 has it run for a few seconds, with all around it most of a minute";
  test("runs for a few seconds, ends by itself with 0, and leaves nothing but its report", { skip }, () => {
    using folder = makeFolder();
    const [out, scratch] = [join(folder.path, "out"), join(folder.path, "scratch")];
    mkdirSync(scratch);
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const parameters = [join(repository, "tools/soak/run.ts"), "--minutes", "0.1", "--out", out, "--dir", scratch];
    const { status, stdout, stderr } = spawnSync(process.execPath, parameters, { env, encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
    assert.match(readFileSync(join(out, "report.md"), "utf8"), /\*\*Nothing was found wrong\.\*\*/);
    assert.ok(existsSync(join(out, "memory.svg")));
    assert.deepEqual(readdirSync(scratch), []);
  });
});

describe("a line chart", () => {
  const chart: LineChart = { title: "a < b", unit: "ms", endMs: 10_000, lines: [], shaded: [], marks: [] };
  const point = (second: number, value: number) => ({ atMs: second * 1000, value });

  test("has its highest value below its top, and a round number there", () => {
    assert.deepEqual([0, 1, 1.2, 3, 8, 99, 101].map(niceCeiling), [1, 1, 2, 5, 10, 100, 200]);
    const svg = renderLineChart({ ...chart, lines: [{ name: "n", points: [point(0, 0), point(1, 8)] }] });
    assert.match(svg, /<path d="M70\.0 240\.0L153\.0 84\.8"/);
    assert.match(svg, />a &lt; b<\/text>/);
  });

  test("joins what belongs together, and nothing over the time in which there was nothing", () => {
    const points = [point(0, 1), point(1, 1), point(6, 1), point(7, 1)];
    const [, path = ""] = /<path d="([^"]*)"/.exec(renderLineChart({ ...chart, lines: [{ name: "n", points }] })) ?? [];
    assert.equal(path.replaceAll(/[^ML]/g, ""), "MLML");
  });

  test("of nothing is drawn, too", () => {
    assert.doesNotMatch(renderLineChart({ ...chart, endMs: 0, lines: [{ name: "n", points: [] }] }), /NaN|Infinity/);
  });
});

test("a median is the middle, or between the two", () => {
  assert.deepEqual([medianOf([3, 1, 2]), medianOf([4, 1, 3, 2]), medianOf([7])], [2, 2.5, 7]);
  assert.ok(Number.isNaN(medianOf([])));
});
