import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect } from "../src/client/index.ts";
import { MiB } from "../src/base/units.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { ClusterProcess, nameOf } from "./cluster-process.ts";
import { Driver } from "./peers/driver.ts";
import { type Row, rowOf } from "./row.ts";
import { medianOf } from "./spread.ts";

/** Three nodes on this machine, each record on the disks of two of them before it is acknowledged; then leaders go away. */
export const cluster: Bench = {
  name: "cluster",
  about: "three nodes: produce, many partitions, idle ones, and how long it takes until somebody leads again",
  async run(context) {
    const rows: Row[] = [];
    const three = await ClusterProcess.start(context.scratch.directory("three"));
    try {
      rows.push(...(await throughput(context, three)));
      rows.push(...(await failover(context, three)));
    } finally {
      await three.stop();
    }
    const idle = await ClusterProcess.start(context.scratch.directory("idle"));
    try {
      rows.push(...(await idlePartitions(context, idle)));
    } finally {
      await idle.stop();
    }
    return rows;
  },
};

/** One partition, then a hundred at once: records of 100 B, in batches of a thousand. */
async function throughput(context: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const rounds = context.choose({ quick: 2, default: 5, full: 11 });
  const seconds = context.choose({ quick: 0.5, default: 2, full: 4 });
  const client = connect(nodes.address.split(","));
  await client.createTopic("one");
  await client.createTopic("hundred", { partitionCount: 100 });
  await client.close();
  const driver = await Driver.start("proglog", nodes.address);
  const load = { kind: "produce", recordBytes: 100, seconds } as const;
  const batches: number[] = [];
  const singles: number[] = [];
  const hundreds: number[] = [];
  const p99s: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const rateOf = async (order: Parameters<Driver["tell"]>[0]): Promise<number> =>
      (await driver.tell(order)).recordsPerSecond ?? Number.NaN;
    batches.push(await rateOf({ ...load, topic: "one", recordsPerSend: 1000, outstanding: 32_768 }));
    hundreds.push(await rateOf({ ...load, topic: "hundred", recordsPerSend: 1000, outstanding: 131_072 }));
    singles.push(await rateOf({ ...load, topic: "one", recordsPerSend: 1, outstanding: 16_384 }));
    const alone = await driver.tell({ ...load, topic: "one", recordsPerSend: 1, outstanding: 1 });
    p99s.push(alone.p99Us ?? Number.NaN);
  }
  await driver.stop();
  return [
    rowOf({
      name: "three nodes, produce 100 B, batches of 1,000",
      unit: "records/s",
      figures: batches,
      target: { of: "figure", atLeast: 200_000 },
    }),
    rowOf({ name: "three nodes, produce 100 B, a promise per record", unit: "records/s", figures: singles }),
    rowOf({ name: "three nodes, produce one at a time, p99", unit: "µs", figures: p99s }),
    rowOf({
      name: "three nodes, produce 100 B to 100 partitions",
      unit: "records/s",
      figures: hundreds,
      ceilings: { what: "to one partition", figures: batches },
      target: { of: "ratio", atLeast: 0.3 },
    }),
  ];
}

type Fault = "killed" | "stopped" | "handed over";

/** A record at a time, one after the other, while whoever leads goes away: how long nothing was acknowledged. */
async function failover(context: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const rows: Row[] = [];
  const counts: Readonly<Record<Fault, number>> = {
    killed: context.choose({ quick: 3, default: 10, full: 50 }),
    stopped: context.choose({ quick: 1, default: 5, full: 20 }),
    "handed over": context.choose({ quick: 3, default: 10, full: 50 }),
  };
  const client = connect(nodes.address.split(","));
  await client.createTopic("failing");
  for (const fault of ["killed", "stopped", "handed over"] as const) {
    const gaps: number[] = [];
    for (let round = 0; round < counts[fault]; round += 1) gaps.push(await gapOf(fault, { nodes, client }));
    const sorted = gaps.toSorted((a, b) => a - b);
    const [p99 = Number.NaN] = sorted.slice(-1);
    const name = `leader ${fault}, until a record is acknowledged`;
    const note = `${gaps.length} times; the longest stands for the 99th percentile`;
    const limits = { killed: { p50: 0.7, p99: 1.5 }, stopped: { p50: 3, p99: 3 }, "handed over": { p50: 0.15, p99: 0.15 } }[
      fault
    ];
    rows.push(
      rowOf({ name: `${name}, p50`, unit: "s", figures: [medianOf(gaps)], target: { of: "figure", atMost: limits.p50 }, note }),
      rowOf({ name: `${name}, p99`, unit: "s", figures: [p99], target: { of: "figure", atMost: limits.p99 }, note }),
    );
  }
  await client.close();
  return rows;
}

/** The longest time between two acknowledgements around the fault, in seconds. */
async function gapOf(fault: Fault, { nodes, client }: { nodes: ClusterProcess; client: Client }): Promise<number> {
  const writer = connect(nodes.address.split(","));
  const producer = writer.producer({ topic: "failing" });
  let isOver = false;
  let longestMs = 0;
  let acknowledged = 0;
  const writing = (async () => {
    for (let before = Number.NaN; !isOver; ) {
      await producer.send({ value: "x" });
      const now = performance.now();
      if (now - before > longestMs) longestMs = now - before;
      before = now;
      acknowledged += 1;
    }
  })();
  const until = async (count: number): Promise<void> => {
    while (acknowledged < count) await Promise.race([pause(5), writing]);
  };
  await until(100);
  longestMs = 0;
  const leader = await nodes.findLeader(client, "failing");
  if (fault === "killed") nodes.signal(leader, "SIGKILL");
  else if (fault === "stopped") nodes.signal(leader, "SIGSTOP");
  else await client.cluster.transferLeadership({ topic: "failing", partition: 0 });
  const before = acknowledged;
  await until(before + 100);
  isOver = true;
  await writing;
  await writer.close();
  if (fault === "killed") {
    await nodes.ended(leader);
    await nodes.startNode(leader);
  } else if (fault === "stopped") nodes.signal(leader, "SIGCONT");
  // Everybody is to be there again before the next one goes.
  await untilWhole(client);
  return longestMs / 1000;
}

async function untilWhole(client: Client): Promise<void> {
  for (const deadline = performance.now() + 60_000; ; await pause(50)) {
    const status = await client.cluster.status();
    if (status.nodes.every((node) => node.state === "up") && status.underReplicatedCount === 0 && status.leaderlessCount === 0)
      return;
    if (performance.now() > deadline) throw new Error(`the cluster isn't whole again: ${JSON.stringify(status)}`);
  }
}

/** Nobody writes and nobody reads. */
async function idlePartitions(context: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const partitions = context.choose({ quick: 200, default: 1000, full: 1000 });
  const seconds = context.choose({ quick: 3, default: 10, full: 30 });
  const client = connect(nodes.address.split(","));
  await client.createTopic("idle", { partitionCount: partitions });
  await untilWhole(client);
  await client.close();
  // What was made has been led, told and, where that is so, put to sleep by then.
  await pause(5_000);
  const before = nodes.nodes.map((node) => node.cpuSeconds() ?? Number.NaN);
  await pause(seconds * 1000);
  const shares = nodes.nodes.map((node, i) => (100 * ((node.cpuSeconds() ?? Number.NaN) - (before[i] ?? 0))) / seconds);
  const memory = nodes.nodes.map((node) => (node.residentBytes() ?? Number.NaN) / MiB);
  nodes.signal(0, "SIGKILL");
  await nodes.ended(0);
  const start = performance.now();
  await nodes.startNode(0);
  await untilReady(nodes);
  const restartSeconds = (performance.now() - start) / 1000;
  const name = `${nameOf(0)} of three with ${partitions} idle partitions`;
  return [
    rowOf({ name: `${name}, processor`, unit: "% CPU", figures: shares, target: { of: "figure", atMost: 1 } }),
    rowOf({ name: `${name}, memory`, unit: "MiB", figures: memory, target: { of: "figure", atMost: 400 } }),
    rowOf({ name: `${name}, restart`, unit: "s", figures: [restartSeconds], target: { of: "figure", atMost: 5 } }),
  ];
}

async function untilReady(nodes: ClusterProcess): Promise<void> {
  const [first = ""] = nodes.address.split(",");
  for (const deadline = performance.now() + 60_000; ; await pause(20)) {
    const answer = await fetch(`http://${first}/readyz`).catch(() => undefined);
    if (answer?.status === 200) return;
    if (performance.now() > deadline) throw new Error("the node doesn't serve again");
  }
}
