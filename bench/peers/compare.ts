import { execFileSync } from "node:child_process";
import { messageOf } from "../../src/base/error.ts";
import type { Bench, BenchContext } from "../bench.ts";
import { type Row, rowOf, type Target, type Unit } from "../row.ts";
import type { ServerProcess } from "../server-process.ts";
import { Driver, type DriverAnswer, type ProduceOrder } from "./driver.ts";
import { recordsPerBatch } from "./load.ts";
import { listFolders, type Promised } from "./peer.ts";
import { peers } from "./peers.ts";

/**
 * Proglog and its peers under the same loads, through their Node clients: each server and each client a process of its own on
 * this machine, all of them up all the time. They take turns load by load and round by round, and whoever is first changes; a row
 * gives a peer's figure as a share of proglog's of the same rounds.
 */
export const peersDurable: Bench = {
  name: "peers-durable",
  about: "the same loads on Redis Streams, JetStream and Kafka, each syncing before it acknowledges",
  title: "Equal durability: on disk before the ack",
  isOnlyByName: true,
  run: (context) => compare(context, "durable"),
};

export const peersDefault: Bench = {
  name: "peers-default",
  about: "the same, each at its defaults: only proglog syncs before it acknowledges",
  title: "Each at its defaults: of these only proglog is on disk before the ack",
  isOnlyByName: true,
  run: (context) => compare(context, "default"),
};

interface Contender {
  readonly name: string;
  readonly what: string;
  readonly server: ServerProcess;
  readonly driver: Driver;
  readonly hasBatches: boolean;
}

async function compare(context: BenchContext, promised: Promised): Promise<readonly Row[]> {
  const { choose } = context;
  const rounds = choose({ quick: 2, default: 5, full: 9 });
  const seconds = choose({ quick: 0.5, default: 1.5, full: 3 });
  const contenders = await startAll(context, promised);
  const rows: Row[] = [];
  try {
    for (const load of produceLoads) {
      const { name, recordBytes, recordsPerSend, outstanding } = load;
      const able = contenders.filter(({ hasBatches }) => recordsPerSend === 1 || hasBatches);
      for (const { what } of contenders.filter((each) => !able.includes(each)))
        context.skip(`${what}, ${name}`, "its client has no batches");
      const order: Omit<ProduceOrder, "topic" | "outstanding"> = { kind: "produce", recordBytes, recordsPerSend, seconds };
      const bounds = new Map<Contender, number>();
      const answers = await takeTurns(context, able, rounds, async (contender, topic) => {
        const { driver } = contender;
        await driver.tell({ kind: "create", topic });
        const bound = bounds.get(contender) ?? Math.min(outstanding, Math.max(firstOutstanding, 2 * recordsPerSend));
        const answer = await driver.tell({ ...order, topic, outstanding: bound });
        bounds.set(contender, Math.min(outstanding, Math.max(bound, Math.round((answer.recordsPerSecond ?? 0) * seconds))));
        await driver.tell({ kind: "remove", topic });
        return answer;
      });
      for (const measure of outstanding === 1 ? latencies : [rate]) {
        rows.push(...rowsOf({ answers, promised, load: `${name}${measure.suffix}`, measure }));
      }
    }
    for (const recordBytes of [100, 1024]) {
      const name = `catch-up, ${recordBytes === 1024 ? "1 KiB" : `${recordBytes} B`}`;
      const count = choose({ quick: 50_000, default: 500_000, full: 1_000_000 }) / (recordBytes === 1024 ? 5 : 1);
      const topic = `read-${recordBytes}`;
      const filled = await takeTurns(context, contenders, 0, async ({ driver }) => {
        await driver.tell({ kind: "create", topic });
        return driver.tell({ kind: "fill", topic, recordBytes, count });
      });
      const able = contenders.filter((contender) => filled.has(contender));
      const answers = await takeTurns(context, able, rounds, ({ driver }) => driver.tell({ kind: "read", topic, count }));
      for (const { driver } of able) await driver.tell({ kind: "remove", topic });
      rows.push(...rowsOf({ answers, promised, load: name, measure: rate }));
    }
  } finally {
    for (const { driver, server } of contenders) {
      await driver.stop();
      await server.stop();
    }
  }
  return rows;
}

interface ProduceLoad {
  readonly name: string;
  readonly recordBytes: number;
  readonly recordsPerSend: number;
  readonly outstanding: number;
}

/** Below 10,000: as much as a JetStream takes in before it refuses more. */
const manyOutstanding = 8192;

/**
 * In the round that isn't counted. From then on as many as were acknowledged in the time of a run, up to all: whoever syncs a
 * hundred times a second would need minutes for thousands, and is no faster for them.
 */
const firstOutstanding = 128;

const produceLoads: readonly ProduceLoad[] = [100, 1024]
  .flatMap((recordBytes): ProduceLoad[] => {
    const size = recordBytes === 1024 ? "1 KiB" : `${recordBytes} B`;
    const perBatch = recordsPerBatch(recordBytes);
    return [
      { name: `${size}, a promise per record`, recordBytes, recordsPerSend: 1, outstanding: manyOutstanding },
      { name: `${size}, batches of ${perBatch}`, recordBytes, recordsPerSend: perBatch, outstanding: manyOutstanding },
    ];
  })
  .concat([
    { name: "100 B, 64 callers", recordBytes: 100, recordsPerSend: 1, outstanding: 64 },
    { name: "100 B, one at a time", recordBytes: 100, recordsPerSend: 1, outstanding: 1 },
  ]);

interface Measure {
  readonly suffix: string;
  readonly unit: Unit;
  readonly of: (answer: DriverAnswer) => number | undefined;
}

const rate: Measure = { suffix: "", unit: "records/s", of: ({ recordsPerSecond }) => recordsPerSecond };
const latencies: readonly Measure[] = [
  { suffix: ", p50", unit: "µs", of: ({ p50Us }) => p50Us },
  { suffix: ", p99", unit: "µs", of: ({ p99Us }) => p99Us },
];

/** Those that are here, up and connected. One that isn't is named, with how it is had, and the others go on. */
async function startAll({ scratch, skip, peersFolder }: BenchContext, promised: Promised): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const peer of peers) {
    const found = await peer.find(listFolders(peersFolder));
    if (found === undefined) {
      skip(`MISSING ${peer.name}`, peer.remedy);
      continue;
    }
    const what = found.describe(promised);
    let server: ServerProcess | undefined;
    try {
      server = await found.start(scratch.directory(peer.name), promised);
      const driver = await Driver.start(peer.name, server.address);
      const { hasBatches = false } = await driver.tell({ kind: "batches" });
      contenders.push({ name: peer.name, what, server, driver, hasBatches });
    } catch (error) {
      await server?.stop();
      const isClientMissing = messageOf(error).includes("ERR_MODULE_NOT_FOUND");
      if (isClientMissing) skip(`MISSING the Node client of ${peer.name}`, "make bench-peers installs it");
      else skip(`FAILED ${what}`, messageOf(error));
    }
  }
  return contenders;
}

/**
 * Has each of them act, in turn, `rounds` times after one that isn't counted. What is dirty in the page cache goes to the disk
 * between the turns, so that nobody pays for the one before. One that fails is named and left out from then on.
 */
async function takeTurns(
  { skip, scratch }: BenchContext,
  contenders: readonly Contender[],
  rounds: number,
  act: (contender: Contender, topic: string) => Promise<DriverAnswer>,
): Promise<Map<Contender, DriverAnswer[]>> {
  const answers = new Map<Contender, DriverAnswer[]>(contenders.map((each) => [each, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const contender = contenders[(round + turn) % contenders.length];
      const counted = contender === undefined ? undefined : answers.get(contender);
      if (contender === undefined || counted === undefined) continue;
      topicCount += 1;
      try {
        const answer = await act(contender, `topic-${topicCount}`);
        if (round > 0) counted.push(answer);
      } catch (error) {
        answers.delete(contender);
        skip(`FAILED ${contender.what}`, messageOf(error));
      }
      execFileSync("sync", ["-f", scratch.path]);
    }
  }
  return answers;
}

let topicCount = 0;

/** One row for proglog, then one for each peer, beside proglog. */
function rowsOf({
  answers,
  promised,
  load,
  measure,
}: {
  readonly answers: ReadonlyMap<Contender, readonly DriverAnswer[]>;
  readonly promised: Promised;
  readonly load: string;
  readonly measure: Measure;
}): Row[] {
  const samplesOf = (each: readonly DriverAnswer[]): number[] => each.map((answer) => measure.of(answer) ?? Number.NaN);
  const ours = [...answers].find(([{ name }]) => name === "proglog")?.[1];
  return [...answers].map(([{ name, what }, theirs]) => {
    const isPeer = name !== "proglog" && ours !== undefined;
    const target = isPeer ? targets[`${name}, ${promised}`] : undefined;
    return rowOf({
      name: `${load}: ${what}`,
      unit: measure.unit,
      figures: samplesOf(theirs),
      ...(isPeer && { ceilings: { what: "proglog", figures: samplesOf(ours) } }),
      ...(target !== undefined && targetLoads.test(load) && { target }),
    });
  });
}

/** What the peer may reach at most of what proglog does, where many are outstanding. */
const targets: Readonly<Record<string, Target>> = {
  "redis, durable": { of: "ratio", atMost: 1 / 3 },
  "kafka, durable": { of: "ratio", atMost: 1 / 2 },
  "jetstream, default": { of: "ratio", atMost: 1 / 2 },
};
const targetLoads = /a promise per record$|batches of \d+$/;
