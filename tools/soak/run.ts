import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { GiB } from "../../src/base/units.ts";
import { makeFaults } from "./faults.ts";
import { judge, type Soak } from "./judge.ts";
import { Load } from "./load.ts";
import { renderReport } from "./report.ts";
import { type Fault, type LiveHeap, planPhases, type Sample } from "./sample.ts";
import { SoakNodes } from "./soak-nodes.ts";

/**
 * `run.ts [--minutes 10] [--out ./data/soak] [--dir PARENT]`: three nodes under load, with faults in turn and without, for so long; then a
 * report with figures and plots. It ends by itself, with 0 when nothing was found wrong, and leaves nothing but the report. Ctrl-C ends it
 * early, with the report of what there was.
 */
const { values: flags } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    out: { type: "string", default: "./data/soak" },
    dir: { type: "string", default: tmpdir() },
  },
});
const minutes = Number(flags.minutes);
if (!(minutes > 0)) {
  console.error(`soak: MINUTES=${flags.minutes}: it has to be a number above 0`);
  process.exit(2);
}

const startMaxMs = 60_000;
const endMaxMs = 60_000;
const told = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => told.abort());
const scratch = mkdtempSync(join(flags.dir, "proglog-soak-"));
let startedAt = performance.now();
const now = (): number => performance.now() - startedAt;
const samples: Sample[] = [];
const nodes = await SoakNodes.start(scratch, (sample) => samples.push({ atMs: now(), ...sample }));
// Whatever ends this process, the nodes don't stay behind, nor what they wrote.
process.on("exit", () => {
  nodes.kill();
  rmSync(scratch, { recursive: true, force: true });
});

const load = await Load.start(nodes.addresses, startMaxMs);
if (!(await load.untilWhole(startMaxMs))) throw new Error(`the cluster didn't begin: ${nodes.ends.join("\n")}`);
startedAt = performance.now();
samples.length = 0;
const rates: { readonly atMs: number; readonly value: number }[] = [];
let before = load.totals.acknowledged;
const rating = setInterval(() => {
  const { acknowledged } = load.totals;
  rates.push({ atMs: now(), value: acknowledged - before });
  before = acknowledged;
}, 1_000);

const heaps: LiveHeap[] = [];
const faults: Fault[] = [];
const planned = planPhases(minutes * 60_000);
const phases: (typeof planned)[number][] = [];
let fault = 0;
for (const { kind, endMs } of planned) {
  if (told.signal.aborted) break;
  const startMs = now();
  console.log(`${(startMs / 60_000).toFixed(1)} min: ${kind}`);
  // What a fault takes to be healed is the calm time's loss: its end stays.
  const over = AbortSignal.any([told.signal, AbortSignal.timeout(Math.max(1, Math.round(endMs - startMs)))]);
  if (kind === "calm")
    await pause(0x7fffffff, undefined, { signal: over }).catch(() => {}); // it is over
  else fault = await makeFaults({ nodes, load, now, onFault: (one) => faults.push(one) }, fault, over);
  phases.push({ kind, startMs, endMs: now() });
  for (const [node, bytes] of await nodes.liveHeaps()) heaps.push({ atMs: now(), node, bytes });
}
clearInterval(rating);

console.log("ends: readers come to the end, nodes are stopped, every byte is read again");
await load.untilWhole(endMaxMs);
await load.stop(endMaxMs);
await nodes.stop();
const soak: Soak = { phases, samples, heaps, faults };
const findings = [...load.totals.findings, ...nodes.ends, ...nodes.verify(), ...judge(soak)];
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "a processor"}, ${Math.round(totalmem() / GiB)} GiB, Node ${process.version}`;
mkdirSync(flags.out, { recursive: true });
for (const [name, text] of renderReport({ soak, totals: load.totals, findings, rates, machine })) {
  writeFileSync(join(flags.out, name), text);
}
for (const finding of findings) console.log(`found: ${finding}`);
const { acknowledged, visits } = load.totals;
console.log(
  `${acknowledged} records, ${visits} visits, ${faults.length} faults, ${findings.length} findings: ${join(flags.out, "report.md")}`,
);
process.exitCode = findings.length === 0 ? 0 : 1;
