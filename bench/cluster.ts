import { setTimeout as pause } from "node:timers/promises";
import { GiB, MiB } from "../src/base/units.ts";
import { connect } from "../src/client/index.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { ClusterProcess, nameOf } from "./cluster-process.ts";
import { dropPageCache } from "./page-cache.ts";
import { Driver, type ProduceOrder } from "./peers/driver.ts";
import { formatNumber, type Row, rowOf } from "./row.ts";

/** Three nodes on this machine, each record on the disks of two of them before it is acknowledged. */
export const cluster: Bench = {
  name: "cluster",
  about: "three nodes: produce to one partition and to a hundred, by batches, by callers who wait, one at a time",
  async run(context) {
    const { scratch, choose } = context;
    scratch.checkFree(choose({ quick: 4, default: 12, full: 40 }) * GiB, "three nodes");
    const directory = scratch.directory("three");
    const three = await ClusterProcess.start(directory);
    try {
      return await throughput(context, three);
    } finally {
      await three.stop();
      scratch.remove(directory);
    }
  },
};

async function throughput({ choose }: BenchContext, nodes: ClusterProcess): Promise<Row[]> {
  const rounds = choose({ quick: 2, default: 5, full: 11 });
  const seconds = choose({ quick: 0.5, default: 2, full: 4 });
  const client = connect(nodes.addresses);
  await client.createTopic("one");
  await client.createTopic("hundred", { partitionCount: 100 });
  await nodes.untilWhole(client);
  await client.close();
  const driver = await Driver.start("proglog", nodes.address);
  const rateOf = async (order: Omit<ProduceOrder, "kind" | "seconds">): Promise<number> =>
    (await driver.tell({ kind: "produce", seconds, ...order })).recordsPerSecond ?? Number.NaN;
  const to100B = { recordBytes: 100, recordsPerSend: 1000 };
  const figures = {
    batches: [] as number[],
    hundred: [] as number[],
    singles: [] as number[],
    callers: [] as number[],
    kib: [] as number[],
    p50: [] as number[],
    p99: [] as number[],
  };
  for (let round = 0; round < rounds; round += 1) {
    figures.batches.push(await rateOf({ ...to100B, topic: "one", outstanding: 32_768 }));
    figures.hundred.push(await rateOf({ ...to100B, topic: "hundred", outstanding: 131_072 }));
    figures.singles.push(await rateOf({ topic: "one", recordBytes: 100, recordsPerSend: 1, outstanding: 16_384 }));
    figures.callers.push(await rateOf({ topic: "one", recordBytes: 100, recordsPerSend: 1, outstanding: 64 }));
    figures.kib.push(
      (1024 / 1e6) * (await rateOf({ topic: "one", recordBytes: 1024, recordsPerSend: 200, outstanding: 6_400 })),
    );
    const alone = { topic: "one", recordBytes: 100, recordsPerSend: 1, outstanding: 1 };
    const { p50Us = Number.NaN, p99Us = Number.NaN } = await driver.tell({ kind: "produce", seconds, ...alone });
    figures.p50.push(p50Us);
    figures.p99.push(p99Us);
  }
  await driver.stop();
  const rates = { unit: "records/s" } as const;
  return [
    rowOf({
      ...rates,
      name: "three nodes, produce 100 B, batches of 1,000",
      figures: figures.batches,
      target: { of: "figure", atLeast: 200_000 },
    }),
    rowOf({ ...rates, name: "three nodes, produce 100 B, a promise per record", figures: figures.singles }),
    rowOf({ ...rates, name: "three nodes, produce 100 B, 64 callers who wait", figures: figures.callers }),
    rowOf({ name: "three nodes, produce 1 KiB, batches of 200", unit: "MB/s", figures: figures.kib }),
    rowOf({ name: "three nodes, produce one at a time, p50", unit: "µs", figures: figures.p50 }),
    rowOf({ name: "three nodes, produce one at a time, p99", unit: "µs", figures: figures.p99 }),
    rowOf({
      ...rates,
      name: "three nodes, produce 100 B to 100 partitions",
      figures: figures.hundred,
      ceilings: { what: "to one partition", figures: figures.batches },
      target: { of: "ratio", atLeast: 0.3 },
    }),
  ];
}

/** Nobody writes and nobody reads. */
export const clusterIdle: Bench = {
  name: "cluster-idle",
  about: "three nodes with a thousand partitions in which nothing happens: processor, memory, and a start after kill -9",
  isOnlyByName: true,
  async run(context) {
    const { scratch, choose } = context;
    scratch.checkFree(2 * GiB, "idle partitions");
    const partitions = choose({ quick: 200, default: 1000, full: 1000 });
    // Leaders go where they are wished ten seconds after, twenty a second; and groups sleep after three seconds more.
    const restSeconds = choose({ quick: 15, default: 60, full: 120 });
    const seconds = choose({ quick: 5, default: 20, full: 60 });
    const directory = scratch.directory("idle");
    const three = await ClusterProcess.start(directory);
    try {
      const client = connect(three.addresses);
      const begin = performance.now();
      await client.createTopic("idle", { partitionCount: partitions });
      await three.untilWhole(client);
      const createSeconds = (performance.now() - begin) / 1000;
      await client.close();
      await pause(1000 * restSeconds);
      const before = three.nodes.map((node) => node.cpuSeconds() ?? Number.NaN);
      await pause(1000 * seconds);
      const shares = three.nodes.map((node, i) => (100 * ((node.cpuSeconds() ?? Number.NaN) - (before[i] ?? 0))) / seconds);
      const memory = three.nodes.map((node) => (node.residentBytes() ?? Number.NaN) / MiB);
      const restartSeconds = await restart(three, 0);
      const name = `${nameOf(0)} of three with ${partitions} idle partitions`;
      const note = `each of the three nodes, ${restSeconds} s after they were made`;
      return [
        rowOf({ name: `${partitions} partitions on three nodes, until all are led`, unit: "s", figures: [createSeconds] }),
        rowOf({ name: `${name}, processor`, unit: "% CPU", figures: shares, target: { of: "figure", atMost: 1 }, note }),
        rowOf({ name: `${name}, memory`, unit: "MiB", figures: memory, target: { of: "figure", atMost: 400 } }),
        rowOf({
          name: `${name}, restart`,
          unit: "s",
          figures: [restartSeconds],
          target: { of: "figure", atMost: 5 },
          note: "after kill -9, from the start of the process until it serves",
        }),
      ];
    } finally {
      await three.stop();
      scratch.remove(directory);
    }
  },
};

/** A log of some size on all three nodes, and one of them starts again with none of it in memory. */
export const clusterRestart: Bench = {
  name: "cluster-restart",
  about: "three nodes with a large partition: a start after kill -9 with a cold page cache",
  isOnlyByName: true,
  async run({ scratch, choose, skip }) {
    const sizeGiB = choose({ quick: 0.25, default: 1, full: 10 });
    scratch.checkFree(3 * sizeGiB * GiB + 2 * GiB, "a restart with what is behind");
    const directory = scratch.directory("large");
    const three = await ClusterProcess.start(directory);
    try {
      const client = connect(three.addresses);
      await client.createTopic("large");
      const driver = await Driver.start("proglog", three.address);
      await driver.tell({ kind: "fill", topic: "large", recordBytes: 1024, count: (sizeGiB * GiB) / 1024 });
      await driver.stop();
      await three.untilWhole(client);
      await client.close();
      const seconds: number[] = [];
      let isCold = true;
      for (const number of [0, 1, 2]) {
        isCold = dropPageCache() && isCold;
        seconds.push(await restart(three, number));
      }
      if (!isCold) skip("cluster-restart", "the page cache is warm: only root may drop it");
      return [
        rowOf({
          name: `a node of three with a partition of ${formatNumber(sizeGiB)} GiB, kill -9 until it serves`,
          unit: "s",
          figures: seconds,
          target: { of: "figure", atMost: 2 },
          note: `from the start of the process; ${isCold ? "cold" : "WARM"} page cache`,
        }),
      ];
    } finally {
      await three.stop();
      scratch.remove(directory);
    }
  },
};

/** Seconds from the start of its process, after kill -9, until it serves. */
async function restart(nodes: ClusterProcess, number: number): Promise<number> {
  nodes.signal(number, "SIGKILL");
  await nodes.ended(number);
  const start = performance.now();
  await nodes.startNode(number);
  await nodes.untilReady(number);
  return (performance.now() - start) / 1000;
}
