import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../src/base/error.ts";
import { abuse } from "./abuse.ts";
import { appendBatches } from "./append-batches.ts";
import { appendLatency } from "./append-latency.ts";
import { appendMemory } from "./append-memory.ts";
import { appendRecords } from "./append-records.ts";
import type { Bench, BenchContext, Mode } from "./bench.ts";
import { clientOverGrpc } from "./client.ts";
import { clusterFaults } from "./cluster-faults.ts";
import { cluster, clusterIdle, clusterRestart } from "./cluster.ts";
import { compaction } from "./compaction.ts";
import { http } from "./http.ts";
import { grpcLayer } from "./grpc-layer.ts";
import { indexMemory } from "./index-memory.ts";
import { manyLogs } from "./many-logs.ts";
import { manySegments } from "./many-segments.ts";
import { peerTransport } from "./peer-transport.ts";
import { mutualTls } from "./mutual-tls.ts";
import { peersDefault, peersDurable } from "./peers/compare.ts";
import { readRandom } from "./read-random.ts";
import { readSequential } from "./read-sequential.ts";
import { restart } from "./restart.ts";
import { formatTable, isReached, type Row } from "./row.ts";
import { Scratch } from "./scratch.ts";
import { killServers } from "./server-process.ts";
import { tlsFlood } from "./tls-flood.ts";

const benches: readonly Bench[] = [
  appendBatches,
  appendLatency,
  appendRecords,
  appendMemory,
  readSequential,
  readRandom,
  indexMemory,
  restart,
  manyLogs,
  manySegments,
  http,
  grpcLayer,
  clientOverGrpc,
  mutualTls,
  tlsFlood,
  abuse,
  cluster,
  clusterFaults,
  clusterIdle,
  clusterRestart,
  compaction,
  peerTransport,
  peersDurable,
  peersDefault,
];

const usage = `Usage: make bench [ARGS='--quick --only NAME']

  --only NAME   that one only; may be given more than once
  --quick       a glance, below 50 s
  --full        larger logs and more rounds, for figures that are to be quoted
  --dir PATH    a directory on the disk to measure (default: the system's for temporary files)
  --peers PATH  a folder with the servers that only "make bench-peers" measures (default: BENCH_PEERS, then the PATH)

${benches.map(({ name, about, isOnlyByName }) => `  ${name.padEnd(18)}${about}${isOnlyByName === true ? " (only by name)" : ""}`).join("\n")}
`;

const { values: flags } = parseFlags();

const unknown = flags.only.find((name) => !benches.some((bench) => bench.name === name));
if (flags.help || unknown !== undefined || (flags.quick && flags.full)) {
  if (unknown !== undefined) process.stderr.write(`There is no benchmark "${unknown}".\n\n`);
  (flags.help ? process.stdout : process.stderr).write(usage);
  process.exit(flags.help ? 0 : 2);
}

const mode: Mode = flags.quick ? "quick" : flags.full ? "full" : "default";
const scratch = Scratch.make(flags.dir);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    process.exit(130);
  });
}
process.once("exit", () => {
  killServers();
  scratch.remove();
});

/** By the title of their table; most have none. */
const tables = new Map<string, Row[]>();
const skipped: string[] = [];
const context: BenchContext = {
  scratch,
  mode,
  choose: (choices) => choices[mode],
  skip: (what, why) => skipped.push(`${what}: ${why}`),
  peersFolder: flags.peers ?? process.env["BENCH_PEERS"],
};
if (process.env["GLIBC_TUNABLES"] === undefined)
  skipped.push("GLIBC_TUNABLES isn't set, see Makefile: copies may take many times as long");

const start = performance.now();
for (const bench of benches) {
  if (flags.only.length > 0 ? !flags.only.includes(bench.name) : bench.isOnlyByName === true) continue;
  const benchStart = performance.now();
  process.stderr.write(`${bench.name}: ${bench.about} … `);
  const { title = "" } = bench;
  tables.set(title, [...(tables.get(title) ?? []), ...(await bench.run(context))]);
  process.stderr.write(`${((performance.now() - benchStart) / 1000).toFixed(1)} s\n`);
}
const seconds = (performance.now() - start) / 1000;
for (const [title, rows] of tables) process.stdout.write(`\n${title === "" ? "" : `${title}\n`}${formatTable(rows)}\n`);
const rows = [...tables.values()].flat();
if (skipped.length > 0) process.stdout.write(`\nSkipped or warm\n${skipped.map((line) => `  ${line}\n`).join("")}`);
const missed = rows.filter((row) => isReached(row) === false).length;
process.stdout.write(`\n${rows.length} rows in ${seconds.toFixed(0)} s, mode ${mode}; targets missed: ${missed}\n`);
appendFileSync(join(import.meta.dirname, "history.ndjson"), `${JSON.stringify(historyEntry())}\n`);

/** What a later reader needs to compare, and nothing that tells whose machine it was. */
function historyEntry(): object {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpus: availableParallelism(),
    mode,
    ...(flags.only.length > 0 && { only: flags.only }),
    rows: rows.map(({ ceiling, ...row }) => ({
      ...row,
      figure: digits(row.figure),
      ...(row.ratio !== undefined && { ratio: digits(row.ratio) }),
      ...(ceiling !== undefined && { ceiling: { what: ceiling.what, figure: digits(ceiling.figure) } }),
      isReached: isReached(row),
    })),
    skipped,
  };
}

function digits({ median, min, max }: Row["figure"]): readonly number[] {
  return [min, median, max].map((value) => Number(value.toPrecision(4)));
}

/** The commit that was measured, with a "+" where the checkout differs from it; null outside a checkout. */
function commit(): string | null {
  const git = (...parameters: string[]): string =>
    execFileSync("git", parameters, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const isChanged = git("status", "--porcelain", "--", "../src") !== "";
    return git("rev-parse", "--short=12", "HEAD") + (isChanged ? "+" : "");
  } catch {
    return null;
  }
}

function parseFlags() {
  try {
    return parseArgs({
      options: {
        only: { type: "string", multiple: true, default: [] },
        quick: { type: "boolean", default: false },
        full: { type: "boolean", default: false },
        dir: { type: "string", default: tmpdir() },
        peers: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n\n${usage}`);
    return process.exit(2);
  }
}
