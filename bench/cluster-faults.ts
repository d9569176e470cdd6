import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect } from "../src/client/index.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { ClusterProcess, nameOf } from "./cluster-process.ts";
import { Driver } from "./peers/driver.ts";
import { type Row, rowOf } from "./row.ts";
import { medianOf } from "./spread.ts";

/** Nodes go away and come back while records are written. */
export const clusterFaults: Bench = {
  name: "cluster-faults",
  about: "three nodes: until somebody leads again, one restart after the other under load, and a follower that catches up",
  isOnlyByName: true,
  async run(context) {
    const rows: Row[] = [];
    await withCluster(context, { isCuttable: false }, async (nodes) => {
      rows.push(...(await failover(context, nodes, ["killed", "stopped", "handed over"])));
      rows.push(...(await rollingRestart(context, nodes)));
      rows.push(...(await besideCatchUp(context, nodes)));
    });
    await withCluster(context, { isCuttable: true }, async (nodes) => {
      rows.push(...(await failover(context, nodes, ["cut off"])));
    });
    return rows;
  },
};

async function withCluster(
  { scratch }: BenchContext,
  options: { readonly isCuttable: boolean },
  run: (nodes: ClusterProcess) => Promise<void>,
): Promise<void> {
  const directory = scratch.directory("faults");
  const nodes = await ClusterProcess.start(directory, options);
  try {
    await run(nodes);
  } finally {
    await nodes.stop();
    scratch.remove(directory);
  }
}

type Fault = "killed" | "stopped" | "cut off" | "handed over";

/** In seconds. */
const limits: Readonly<Record<Fault, { readonly p50?: number; readonly p99: number }>> = {
  killed: { p50: 0.7, p99: 1.5 },
  stopped: { p99: 3 },
  "cut off": { p99: 3 },
  "handed over": { p99: 0.15 },
};

/** A record at a time, one after the other, while whoever leads goes away: how long nothing was acknowledged. */
async function failover({ choose }: BenchContext, nodes: ClusterProcess, faults: readonly Fault[]): Promise<Row[]> {
  const rows: Row[] = [];
  const many = choose({ quick: 3, default: 10, full: 50 });
  const few = choose({ quick: 2, default: 5, full: 20 });
  const client = connect(nodes.addresses);
  await client.createTopic("failing");
  for (const fault of faults) {
    const count = fault === "killed" || fault === "handed over" ? many : few;
    const gaps: number[] = [];
    for (let round = 0; round < count; round += 1) gaps.push(await gapOf(fault, { nodes, client }));
    const name = `leader ${fault}, until a record is acknowledged`;
    const note = `${count} times; the longest stands for the 99th percentile`;
    const { p50, p99 } = limits[fault];
    rows.push(
      rowOf({
        ...{ name: `${name}, p50`, unit: "s", figures: [medianOf(gaps)], note },
        ...(p50 !== undefined && { target: { of: "figure", atMost: p50 } }),
      }),
      rowOf({ name: `${name}, p99`, unit: "s", figures: [Math.max(...gaps)], target: { of: "figure", atMost: p99 }, note }),
    );
  }
  await client.close();
  return rows;
}

/** The longest time between two acknowledgements around the fault, in seconds. */
async function gapOf(fault: Fault, { nodes, client }: { nodes: ClusterProcess; client: Client }): Promise<number> {
  const writer = connect(nodes.addresses);
  const producer = writer.producer({ topic: "failing" });
  const seen = { isOver: false, longestMs: 0, acknowledged: 0 };
  const writing = (async () => {
    for (let before = Number.NaN; !seen.isOver; ) {
      await producer.send({ value: "x" });
      const now = performance.now();
      if (now - before > seen.longestMs) seen.longestMs = now - before;
      before = now;
      seen.acknowledged += 1;
    }
  })();
  const until = async (count: number): Promise<void> => {
    while (seen.acknowledged < count) await Promise.race([pause(5), writing]);
  };
  await until(100);
  const leader = await nodes.findLeader(client, "failing");
  seen.longestMs = 0;
  await strike(fault, leader, { nodes, client });
  await until(seen.acknowledged + 100);
  seen.isOver = true;
  await writing;
  await writer.close();
  await mend(fault, leader, nodes);
  // Everybody is to be there again before the next one goes.
  await nodes.untilWhole(client);
  return seen.longestMs / 1000;
}

async function strike(
  fault: Fault,
  leader: number,
  { nodes, client }: { nodes: ClusterProcess; client: Client },
): Promise<void> {
  if (fault === "killed") nodes.signal(leader, "SIGKILL");
  else if (fault === "stopped") nodes.signal(leader, "SIGSTOP");
  else if (fault === "cut off") nodes.network?.cut(nameOf(leader));
  else await client.cluster.transferLeadership({ topic: "failing", partition: 0 });
}

async function mend(fault: Fault, leader: number, nodes: ClusterProcess): Promise<void> {
  if (fault === "killed") {
    await nodes.ended(leader);
    await nodes.startNode(leader);
  } else if (fault === "stopped") nodes.signal(leader, "SIGCONT");
  else if (fault === "cut off") nodes.network?.heal();
}

const callers = 16;

/** Each node in turn is stopped in order and started again; whoever waits for an acknowledgement waits a little longer. Nothing is lost. */
async function rollingRestart({ choose }: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const rounds = choose({ quick: 1, default: 2, full: 5 });
  const client = connect(nodes.addresses);
  await client.createTopic("rolling");
  const writer = connect(nodes.addresses);
  const producer = writer.producer({ topic: "rolling" });
  const seen = { isOver: false, sent: 0 };
  const durations: number[] = [];
  const acknowledged = new Map<number, string>();
  const caller = async (): Promise<void> => {
    while (!seen.isOver) {
      const value = `${(seen.sent += 1)}`;
      const before = performance.now();
      const { offset } = await producer.send({ value });
      durations.push(performance.now() - before);
      acknowledged.set(offset, value);
    }
  };
  const calling = Promise.all(Array.from({ length: callers }, caller));
  for (let round = 0; round < rounds; round += 1) {
    for (const number of [0, 1, 2]) {
      await Promise.race([nodes.restartNode(number).then(() => nodes.untilReady(number)), calling]);
      await nodes.untilWhole(client);
    }
  }
  seen.isOver = true;
  await calling;
  await writer.close();
  await checkRecords(client, acknowledged);
  await client.close();
  const sorted = durations.toSorted((a, b) => a - b);
  const p99 = (sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN) / 1000;
  const note = `${callers} callers who wait, ${rounds} times all three; each of ${sorted.length} records is there once`;
  return [
    rowOf({
      ...{ name: "all nodes restarted under load, produce p99", unit: "s", figures: [p99], note },
      target: { of: "figure", atMost: 1 },
    }),
    rowOf({ name: "all nodes restarted under load, the longest produce", unit: "s", figures: [(sorted.at(-1) ?? 0) / 1000] }),
  ];
}

/** Throws unless each record that was acknowledged is at its offset, and nothing else is there. */
async function checkRecords(client: Client, acknowledged: ReadonlyMap<number, string>): Promise<void> {
  let count = 0;
  for await (const record of client.consume({ topic: "rolling", from: "start", stopsAtEnd: true })) {
    const expected = acknowledged.get(record.offset);
    const found = record.value?.toString();
    if (found !== expected) throw new Error(`offset ${record.offset} has ${found}, and ${expected} was acknowledged`);
    count += 1;
  }
  if (count !== acknowledged.size) throw new Error(`${acknowledged.size} records were acknowledged, and ${count} are there`);
}

/** Under a load that leaves room, a follower is killed, is away for a while, and has all of it to catch up with. */
async function besideCatchUp({ choose }: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const awaySeconds = choose({ quick: 3, default: 10, full: 10 });
  const seconds = choose({ quick: 2, default: 5, full: 10 });
  const rounds = choose({ quick: 1, default: 3, full: 5 });
  const client = connect(nodes.addresses);
  await client.createTopic("behind");
  const [loading, probing] = [await Driver.start("proglog", nodes.address), await Driver.start("proglog", nodes.address)];
  const load = { kind: "produce", topic: "behind", recordBytes: 1024, recordsPerSend: 200, outstanding: 1_000 } as const;
  const probe = { kind: "produce", topic: "behind", recordBytes: 100, recordsPerSend: 1, outstanding: 1, seconds } as const;
  const beside: number[] = [];
  const before: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const first = loading.tell({ ...load, seconds });
    before.push((await probing.tell(probe)).p99Us ?? Number.NaN);
    await first;
    const follower = ((await nodes.findLeader(client, "behind")) + 1) % 3;
    nodes.signal(follower, "SIGKILL");
    await nodes.ended(follower);
    await loading.tell({ ...load, seconds: awaySeconds });
    const second = loading.tell({ ...load, seconds: seconds + 1 });
    await nodes.startNode(follower);
    beside.push((await probing.tell(probe)).p99Us ?? Number.NaN);
    await second;
    await nodes.untilWhole(client);
  }
  await Promise.all([loading.stop(), probing.stop()]);
  await client.close();
  return [
    rowOf({
      name: "produce one at a time under load beside a follower that catches up, p99",
      unit: "µs",
      figures: beside,
      ceilings: { what: "before it went", figures: before },
      target: { of: "ratio", atMost: 2 },
      note: `it was away for ${awaySeconds} s; the load is batches of 200 KiB, five outstanding`,
    }),
  ];
}
