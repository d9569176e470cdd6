import { join } from "node:path";
import { GiB } from "../src/base/units.ts";
import { CertificateDirectory } from "../src/cli/certs/certificate-directory.ts";
import { connect } from "../src/client/index.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { ClusterProcess, nameOf } from "./cluster-process.ts";
import { Driver, type DriverOrder, type ProduceOrder, type ReadOrder } from "./peers/driver.ts";
import { recordsPerBatch } from "./peers/load.ts";
import { readClientTls, startProglog } from "./peers/proglog.ts";
import { type Row, rowOf, type Unit } from "./row.ts";
import type { ServerProcess } from "./server-process.ts";

/**
 * What encryption costs: a node, and three of them, with mutual TLS everywhere and in clear, side by side and in turns. Each ratio is of the
 * encrypted figure to the other one, of the same round.
 */
export const mutualTls: Bench = {
  name: "tls",
  about: "mutual TLS beside clear text: one node and three, produce, consume, and handshakes",
  async run(context) {
    const certificates = makeCertificates(context.scratch.directory("certificates"));
    return [...(await ofOneNode(context, certificates)), ...(await ofThreeNodes(context, certificates))];
  },
};

async function ofOneNode({ scratch, choose }: BenchContext, certificates: string): Promise<Row[]> {
  const rounds = choose({ quick: 2, default: 5, full: 11 });
  const seconds = choose({ quick: 0.5, default: 1.5, full: 3 });
  const count = choose({ quick: 100, default: 1000, full: 3000 }) * recordsPerBatch(1024);
  scratch.checkFree(choose({ quick: 4, default: 12, full: 40 }) * GiB, "a node with TLS and one without");
  const clear = await startProglog(scratch.directory("clear"));
  const encrypted = await startProglog(scratch.directory("encrypted"), flagsOf("node0", certificates));
  const drivers = {
    clear: await Driver.start("proglog", clear.address),
    encrypted: await Driver.start("proglog", `${encrypted.address}#${certificates}`),
  };
  try {
    for (const driver of Object.values(drivers)) {
      for (const topic of ["produced", "history"]) await driver.tell({ kind: "create", topic });
      await driver.tell({ kind: "fill", topic: "history", recordBytes: 1024, count });
    }
    const produce = { kind: "produce", topic: "produced", seconds } as const;
    return [
      await compare(drivers, rounds, {
        name: "mutual TLS, produce 100 B, batches of 1,000",
        unit: "records/s",
        order: { ...produce, recordBytes: 100, recordsPerSend: 1000, outstanding: 32_768 },
      }),
      await compare(drivers, rounds, {
        name: "mutual TLS, produce 1 KiB, batches of 200",
        unit: "MB/s",
        order: { ...produce, recordBytes: 1024, recordsPerSend: 200, outstanding: 16_384 },
      }),
      ...(await ofProcessor({ drivers, nodes: { clear, encrypted }, rounds }, [
        ["produce 1 KiB, batches of 200", { ...produce, recordBytes: 1024, recordsPerSend: 200, outstanding: 16_384 }],
        ["consume 1 KiB, catching up", { kind: "read", topic: "history", count }],
      ])),
      await compare(drivers, rounds, {
        name: "mutual TLS, produce 100 B, 64 callers",
        unit: "records/s",
        order: { ...produce, recordBytes: 100, recordsPerSend: 1, outstanding: 64 },
      }),
      await compare(drivers, rounds, {
        name: "mutual TLS, produce one at a time, p50",
        unit: "µs",
        order: { ...produce, recordBytes: 100, recordsPerSend: 1, outstanding: 1 },
      }),
      await compare(drivers, rounds, {
        name: "mutual TLS, consume 1 KiB, catching up",
        unit: "MB/s",
        order: { kind: "read", topic: "history", count },
      }),
      ...(await handshakes({ rounds, clear: clear.address, encrypted: encrypted.address, certificates })),
    ];
  } finally {
    for (const driver of Object.values(drivers)) await driver.stop();
    await clear.stop();
    await encrypted.stop();
  }
}

async function ofThreeNodes({ scratch, choose }: BenchContext, certificates: string): Promise<Row[]> {
  const rounds = choose({ quick: 2, default: 5, full: 11 });
  const seconds = choose({ quick: 0.5, default: 2, full: 4 });
  scratch.checkFree(choose({ quick: 8, default: 24, full: 80 }) * GiB, "three nodes with TLS and three without");
  const tls = readClientTls(certificates);
  const clear = await ClusterProcess.start(scratch.directory("three-clear"));
  const options = { tls, flagsOf: (name: string) => flagsOf(name, certificates) };
  const encrypted = await ClusterProcess.start(scratch.directory("three-encrypted"), options);
  const drivers = {
    clear: await Driver.start("proglog", clear.address),
    encrypted: await Driver.start("proglog", `${encrypted.address}#${certificates}`),
  };
  try {
    for (const [nodes, client] of [
      [clear, connect(clear.addresses)],
      [encrypted, connect(encrypted.addresses, { tls })],
    ] as const) {
      await client.createTopic("one");
      await nodes.untilWhole(client);
      await client.close();
    }
    const produce = { kind: "produce", topic: "one", seconds } as const;
    return [
      await compare(drivers, rounds, {
        name: "mutual TLS, three nodes, produce 100 B, batches of 1,000",
        unit: "records/s",
        order: { ...produce, recordBytes: 100, recordsPerSend: 1000, outstanding: 32_768 },
      }),
      await compare(drivers, rounds, {
        name: "mutual TLS, three nodes, produce 1 KiB, batches of 200",
        unit: "MB/s",
        order: { ...produce, recordBytes: 1024, recordsPerSend: 200, outstanding: 6_400 },
      }),
    ];
  } finally {
    for (const driver of Object.values(drivers)) await driver.stop();
    await clear.stop();
    await encrypted.stop();
  }
}

interface Load {
  readonly name: string;
  readonly unit: Extract<Unit, "records/s" | "MB/s" | "µs">;
  readonly order: DriverOrder;
}

/** In turns, after a round that isn't counted; the first place changes. */
async function compare({ clear, encrypted }: Sides<Driver>, rounds: number, { name, unit, order }: Load): Promise<Row> {
  const figures = { clear: [] as number[], encrypted: [] as number[] };
  const measure = async (side: "clear" | "encrypted", driver: Driver, isCounted: boolean): Promise<void> => {
    const { recordsPerSecond = Number.NaN, p50Us = Number.NaN } = await driver.tell(order);
    const figure = unit === "µs" ? p50Us : recordsPerSecond * (unit === "MB/s" ? 1024 / 1e6 : 1);
    if (isCounted) figures[side].push(figure);
  };
  for (let round = 0; round <= rounds; round += 1) {
    const sides = [() => measure("clear", clear, round > 0), () => measure("encrypted", encrypted, round > 0)];
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
  }
  return rowOf({ name, unit, figures: figures.encrypted, ceilings: { what: "in clear", figures: figures.clear } });
}

/** What the node takes of a processor for a GB: that is the same on a machine that has other things to do. */
async function ofProcessor(
  {
    drivers,
    nodes,
    rounds,
  }: { readonly drivers: Sides<Driver>; readonly nodes: Sides<ServerProcess>; readonly rounds: number },
  loads: readonly (readonly [what: string, order: ProduceOrder | ReadOrder])[],
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, order] of loads) {
    const figures = { clear: [] as number[], encrypted: [] as number[] };
    for (let round = 0; round < rounds; round += 1)
      for (const side of ["clear", "encrypted"] as const) {
        const before = nodes[side].cpuSeconds() ?? Number.NaN;
        const { recordsPerSecond = Number.NaN } = await drivers[side].tell(order);
        const records = order.kind === "read" ? order.count : recordsPerSecond * order.seconds;
        figures[side].push((((nodes[side].cpuSeconds() ?? Number.NaN) - before) / (records * 1024)) * 1e9);
      }
    const ceilings = { what: "in clear", figures: figures.clear };
    const name = `mutual TLS, ${what}, the node's processor for a GB`;
    rows.push(rowOf({ name, unit: "s", figures: figures.encrypted, ceilings }));
  }
  return rows;
}

interface Sides<Side> {
  readonly clear: Side;
  readonly encrypted: Side;
}

/** A connection and one call on it, one after the other: what a client costs that comes and goes. */
async function handshakes({
  rounds,
  clear,
  encrypted,
  certificates,
}: {
  readonly rounds: number;
  readonly clear: string;
  readonly encrypted: string;
  readonly certificates: string;
}): Promise<Row[]> {
  const tls = readClientTls(certificates);
  const measure = async (connectOnce: () => ReturnType<typeof connect>): Promise<number> => {
    const times: number[] = [];
    for (let count = 0; count < connectionsPerRound; count += 1) {
      const begin = performance.now();
      const client = connectOnce();
      await client.getServers();
      times.push(1000 * (performance.now() - begin));
      await client.close();
    }
    return times.toSorted((one, other) => one - other)[connectionsPerRound / 2] ?? Number.NaN;
  };
  const figures = { clear: [] as number[], encrypted: [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    const inClear = await measure(() => connect(clear));
    const byTls = await measure(() => connect(encrypted, { tls }));
    if (round === 0) continue;
    figures.clear.push(inClear);
    figures.encrypted.push(byTls);
  }
  const ceilings = { what: "in clear", figures: figures.clear };
  return [
    rowOf({ name: "mutual TLS, a connection and its first call, p50", unit: "µs", figures: figures.encrypted, ceilings }),
  ];
}

const connectionsPerRound = 50;

/** As `proglog certs` makes them, for three nodes and a client. */
export function makeCertificates(directory: string): string {
  const made = new CertificateDirectory(directory, { nowMs: Date.now(), isReplacing: false });
  made.init();
  for (let number = 0; number < 3; number += 1) made.makeNode(nameOf(number), { hosts: ["127.0.0.1"], days: 1 });
  made.makeClient("client", { days: 1 });
  return directory;
}

export function flagsOf(node: string, certificates: string): readonly string[] {
  return (["server", "peer"] as const).flatMap((plane) => {
    const [pair, prefix] = plane === "server" ? [node, ""] : [`${node}-peer`, "peer-"];
    return [
      ...[`--${plane}-tls-cert-file`, join(certificates, `${pair}.pem`)],
      ...[`--${plane}-tls-key-file`, join(certificates, `${pair}-key.pem`)],
      ...[`--${plane}-tls-ca-file`, join(certificates, `${prefix}ca.pem`)],
    ];
  });
}
