import { setTimeout as pause } from "node:timers/promises";
import { MiB } from "../src/base/units.ts";
import { BareWriter } from "./bare-writer.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { Child } from "./child.ts";
import { loadUnary } from "./h2load.ts";
import { Driver, type DriverAnswer, type ProduceOrder } from "./peers/driver.ts";
import { recordsPerBatch } from "./peers/load.ts";
import { startProglog } from "./peers/proglog.ts";
import { findPeer } from "./peers/peers.ts";
import { type Row, rowOf, type Target } from "./row.ts";
import type { ServerProcess } from "./server-process.ts";
import { medianOf } from "./spread.ts";

/**
 * The client over gRPC against a node that syncs before it acknowledges, a process each. Beside it, in turn: a bare TCP server
 * that checks and syncs the same bytes, a bare unary call of node:http2, and a write and fdatasync alone.
 */
export const clientOverGrpc: Bench = {
  name: "client",
  about: "the client over gRPC, against a bare TCP server that syncs and a bare node:http2 call",
  async run(context) {
    const node = await startProglog(context.scratch.directory("node"));
    try {
      return [
        ...(await throughput(context, node)),
        ...(await oneAtATime(context, node)),
        ...(await catchUp(context, node)),
        ...(await stuckConsumers(context, node)),
        ...(await crowd(context)),
        ...(await loadUnary(context)),
      ];
    } finally {
      await node.stop();
    }
  },
};

const manyOutstanding = 16_384;

interface ProduceLoad {
  readonly name: string;
  readonly recordBytes: number;
  readonly recordsPerSend: number;
  readonly outstanding: number;
  readonly unit: "records/s" | "MB/s";
  readonly targets: readonly Target[];
}

const loads: readonly ProduceLoad[] = [
  {
    name: "gRPC produce 100 B, a promise per record",
    recordBytes: 100,
    recordsPerSend: 1,
    outstanding: manyOutstanding,
    unit: "records/s",
    targets: [{ of: "figure", atLeast: 500_000 }],
  },
  {
    name: "gRPC produce 100 B, batches of 1,000",
    recordBytes: 100,
    recordsPerSend: 1000,
    outstanding: 2 * manyOutstanding,
    unit: "records/s",
    targets: [{ of: "figure", atLeast: 1_000_000 }],
  },
  {
    name: "gRPC produce 1 KiB, a promise per record",
    recordBytes: 1024,
    recordsPerSend: 1,
    outstanding: manyOutstanding,
    unit: "MB/s",
    targets: [
      { of: "figure", atLeast: 200 },
      { of: "ratio", atLeast: 0.55 },
    ],
  },
  {
    name: "gRPC produce 1 KiB, batches of 200",
    recordBytes: 1024,
    recordsPerSend: 200,
    outstanding: manyOutstanding,
    unit: "MB/s",
    targets: [
      { of: "figure", atLeast: 200 },
      { of: "ratio", atLeast: 0.55 },
    ],
  },
  {
    name: "gRPC produce 100 B, 64 callers",
    recordBytes: 100,
    recordsPerSend: 1,
    outstanding: 64,
    unit: "records/s",
    targets: [{ of: "figure", atLeast: 60_000 }],
  },
];

/** Each load beside the bare loop, which gets frames of 64 KiB, 16 outstanding; its figure is in the load's own unit. */
async function throughput(context: BenchContext, node: ServerProcess): Promise<Row[]> {
  const rounds = context.choose({ quick: 2, default: 5, full: 11 });
  const seconds = context.choose({ quick: 0.5, default: 1.5, full: 3 });
  const bare = await startCeiling(context, "bare-loop");
  const client = await Driver.start("proglog", node.address);
  const rows: Row[] = [];
  for (const { name, recordBytes, recordsPerSend, outstanding, unit, targets } of loads) {
    const perUnit = unit === "MB/s" ? recordBytes / 1e6 : 1;
    const [ours = [], theirs = []] = await takeTurns(rounds, [
      () => produce(client, { recordBytes, recordsPerSend, outstanding, seconds }),
      () => bare.driver.tell({ ...bareFrames, seconds, topic: "" }),
    ]);
    const figures = ours.map((answer) => rateOf(answer) * perUnit);
    const ceilings = {
      what: "bare TCP + crc + fdatasync",
      figures: theirs.map((answer) => (rateOf(answer) * bareFrames.recordBytes * perUnit) / recordBytes),
    };
    for (const [i, target] of targets.entries()) {
      rows.push(rowOf({ name: i === 0 ? name : `${name}, beside the bare loop`, unit, figures, ceilings, target }));
    }
  }
  await client.stop();
  await bare.stop();
  return rows;
}

const bareFrames = { kind: "produce", recordBytes: 65_536, recordsPerSend: 1, outstanding: 16 } as const;

/** On the open stream, and a call each; what is above a sync, and a bare call. */
async function oneAtATime(context: BenchContext, node: ServerProcess): Promise<Row[]> {
  const rounds = context.choose({ quick: 3, default: 7, full: 15 });
  const seconds = context.choose({ quick: 0.3, default: 1, full: 2 });
  const writer = new BareWriter(context.scratch.directory("bare"), Buffer.alloc(MiB, 1));
  const bare = await startCeiling(context, "bare-unary");
  const stream = await Driver.start("proglog", node.address);
  const unary = await Driver.start("proglog-unary", node.address);
  const order = { recordBytes: 100, recordsPerSend: 1, outstanding: 1, seconds };
  const [streamed = [], called = [], answered = [], synced = []] = await takeTurns(rounds, [
    () => produce(stream, order),
    () => produce(unary, order),
    () => bare.driver.tell({ kind: "produce", topic: "", ...order }),
    async () => ({ p50Us: 1000 * medianOf(await writer.write(Array.from({ length: 1000 * seconds }, () => 256))) }),
  ]);
  for (const driver of [stream, unary, bare]) await driver.stop();
  await writer.close();
  const p50sOf = (answers: readonly DriverAnswer[]): number[] => answers.map(({ p50Us = Number.NaN }) => p50Us);
  const syncs = p50sOf(synced);
  const sums = p50sOf(answered).map((p50, round) => p50 + (syncs[round] ?? Number.NaN));
  const p99s = streamed.map(({ p99Us = Number.NaN }) => p99Us);
  return [
    ...above("gRPC produce one at a time, open stream", p50sOf(streamed), { what: "fdatasync p50", figures: syncs }, 250),
    rowOf({ name: "gRPC produce one at a time, open stream, p99", unit: "µs", figures: p99s }),
    ...above(
      "gRPC produce one at a time, unary",
      p50sOf(called),
      { what: "fdatasync p50 + bare unary p50", figures: sums },
      150,
    ),
  ];
}

function above(
  name: string,
  p50s: readonly number[],
  ceilings: { readonly what: string; readonly figures: readonly number[] },
  atMost: number,
): Row[] {
  const differences = p50s.map((p50, round) => p50 - (ceilings.figures[round] ?? Number.NaN));
  return [
    rowOf({ name: `${name}, p50`, unit: "µs", figures: p50s, ceilings }),
    rowOf({ name: `${name}, p50 above ${ceilings.what}`, unit: "µs", figures: differences, target: { of: "figure", atMost } }),
  ];
}

async function catchUp(context: BenchContext, node: ServerProcess): Promise<Row[]> {
  const rounds = context.choose({ quick: 2, default: 5, full: 11 });
  const client = await Driver.start("proglog", node.address);
  const rows: Row[] = [];
  for (const { recordBytes, size, unit, atLeast } of [
    { recordBytes: 100, size: "100 B", unit: "records/s", atLeast: 1_500_000 },
    { recordBytes: 1024, size: "1 KiB", unit: "MB/s", atLeast: 400 },
  ] as const) {
    const batchCount = context.choose({ quick: 200, default: 2000, full: 5000 });
    const count = batchCount * recordsPerBatch(recordBytes);
    context.scratch.checkFree(2 * count * (recordBytes + 16), "catching up");
    const topic = `history-${recordBytes}`;
    await client.tell({ kind: "create", topic });
    await client.tell({ kind: "fill", topic, recordBytes, count });
    const [read = []] = await takeTurns(rounds, [() => client.tell({ kind: "read", topic, count })]);
    const perUnit = unit === "MB/s" ? recordBytes / 1e6 : 1;
    const figures = read.map((answer) => rateOf(answer) * perUnit);
    rows.push(rowOf({ name: `gRPC consume ${size}, catching up`, unit, figures, target: { of: "figure", atLeast } }));
  }
  await client.stop();
  return rows;
}

/** What the node holds for a consumer that has stopped reading. */
async function stuckConsumers(context: BenchContext, node: ServerProcess): Promise<Row[]> {
  const name = "memory per stuck consumer, 200 of them, a connection each";
  const before = await settledBytes(node);
  if (before === undefined) {
    context.skip(name, "the memory of another process is known on Linux only");
    return [];
  }
  const consumers = new Child("stuck-consumers", [node.address, "history-1024", "200"]);
  await consumers.next<{ stuck: number }>();
  const after = (await settledBytes(node)) ?? before;
  await consumers.kill();
  const figures = [(after - before) / 200 / MiB];
  return [rowOf({ name, unit: "MiB", figures, target: { of: "figure", atMost: 1 } })];
}

/** The resident size once it has stopped growing: at most ten seconds later. */
async function settledBytes(node: ServerProcess): Promise<number | undefined> {
  let before = node.residentBytes();
  for (let i = 0; i < 10 && before !== undefined; i += 1) {
    await pause(1000);
    const now = node.residentBytes() ?? 0;
    if (now <= before * 1.01) return now;
    before = now;
  }
  return before;
}

/** The node's memory at most under all that 64 connections send, in a node that has done nothing before. */
async function crowd(context: BenchContext): Promise<Row[]> {
  const seconds = context.choose({ quick: 1, default: 5, full: 15 });
  const rows: Row[] = [];
  for (const { what, recordBytes, recordsPerSend, outstanding } of [
    { what: "records of 100 B", recordBytes: 100, recordsPerSend: 1, outstanding: manyOutstanding },
    { what: "batches of 200 records of 1 KiB", recordBytes: 1024, recordsPerSend: 200, outstanding: 128 * 200 },
  ]) {
    const name = `peak memory of the node, 64 connections, ${what}`;
    const node = await startProglog(context.scratch.directory("crowd"));
    const idle = node.residentBytes();
    const client = await Driver.start("proglog-crowd", node.address);
    const answer = await produce(client, { recordBytes, recordsPerSend, outstanding, seconds });
    const peak = node.residentBytes("peak");
    await client.stop();
    await node.stop();
    if (idle === undefined || peak === undefined) {
      context.skip(name, "the memory of another process is known on Linux only");
      continue;
    }
    rows.push(
      rowOf({
        name,
        unit: "MiB",
        figures: [peak / MiB],
        ceilings: { what: "before the load", figures: [idle / MiB] },
        target: { of: "figure", atMost: 250 },
        note: `at ${Math.round(rateOf(answer)).toLocaleString("en-US")} records/s; run from the sources, which takes some 40 MiB more`,
      }),
    );
  }
  return rows;
}

let topicCount = 0;

/** To a topic of its own, which goes afterwards. */
async function produce(driver: Driver, order: Omit<ProduceOrder, "kind" | "topic">): Promise<DriverAnswer> {
  topicCount += 1;
  const topic = `topic-${topicCount}`;
  await driver.tell({ kind: "create", topic });
  const answer = await driver.tell({ kind: "produce", topic, ...order });
  await driver.tell({ kind: "remove", topic });
  return answer;
}

function rateOf({ recordsPerSecond = Number.NaN }: DriverAnswer): number {
  return recordsPerSecond;
}

/** The answers of each side, round by round after one that isn't counted; the first place changes. */
async function takeTurns(rounds: number, sides: readonly (() => Promise<DriverAnswer>)[]): Promise<DriverAnswer[][]> {
  const answers: DriverAnswer[][] = sides.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (let turn = 0; turn < sides.length; turn += 1) {
      const side = (round + turn) % sides.length;
      const answer = await sides[side]?.();
      if (round > 0 && answer !== undefined) answers[side]?.push(answer);
    }
  }
  return answers;
}

async function startCeiling({ scratch }: BenchContext, name: string) {
  const server = await (await findPeer(name).find([]))?.start(scratch.directory(name), "durable");
  if (server === undefined) throw new Error(`${name} is part of this checkout`);
  const driver = await Driver.start(name, server.address);
  const stop = async (): Promise<void> => {
    await driver.stop();
    await server.stop();
  };
  return { driver, server, stop };
}
