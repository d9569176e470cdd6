import { type Command, Option } from "commander";
import { ProglogError } from "../../base/error.ts";
import { benchCallersMaxCount, recordMaxBytes } from "../../base/limits.ts";
import { parseBytes, parseDuration } from "../../base/quantity.ts";
import { systemRandom } from "../../base/random.ts";
import { KiB, secondMs } from "../../base/units.ts";
import type { Acks, Client, Compression, ConsumedBatch, Producer } from "../../client/index.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatCount, formatNumberOf } from "../figures.ts";
import { type CallSize, type Load, type Measured, measure } from "../load.ts";
import { describeLoad, loadJson } from "../load-report.ts";
import { parseInteger, serverOption } from "../option-parsers.ts";
import { Progress } from "../progress.ts";
import { serverError } from "../server-connection.ts";
import { listenForStop } from "../stop-signal.ts";

export function addBenchCommand(program: Command, context: CommandContext): void {
  const bench = program
    .command("bench")
    .summary("measure a running server")
    .description(
      "Measures a running server through the client, as a program of yours would use it: rate, and how long calls take.\n" +
        "It works on a topic of its own, which it deletes afterwards, unless --topic names one.",
    );
  bench.addHelpText("after", benchExamples);
  addShared(
    bench.command("produce"),
    "Measures how fast records are acknowledged. Into a topic that is named they are really appended.",
  )
    .option("--outstanding <count>", "callers, each of which waits for its acknowledgement", parseCallers)
    .option("--batch <count>", "records that a caller sends at once, with one promise", parseInteger("--batch", 1), 1)
    .addOption(new Option("--acks <level>", "when it counts as sent").choices(["quorum", "leader", "none"]).default("quorum"))
    .addOption(
      new Option("--compression <codec>", "of batches").choices(["none", "gzip", "snappy", "lz4", "zstd"]).default("none"),
    )
    .action(context.action((options: ProduceOptions) => runBench(context, options, benchProduce)));
  addShared(
    bench.command("consume"),
    "Measures how fast records are read and unpacked, from the start. A topic that is named isn't filled before, and is read up to its end.",
  ).action(context.action((options: SharedOptions) => runBench(context, options, benchConsume)));
}

const benchExamples = `
Examples:
  $ proglog bench produce
  $ proglog bench produce --size 1KiB --outstanding 64 --duration 30s
  $ proglog bench produce --batch 500 --outstanding 16 --json
  $ proglog bench consume --count 2000000
`;

function addShared(command: Command, description: string): Command {
  return command
    .description(description)
    .addHelpText("after", `\nExample:\n  $ proglog bench ${command.name()} --size 1KiB\n`)
    .option("--topic <name>", "topic (default: one of its own, deleted afterwards)")
    .option("--partitions <count>", "partitions of its own topic", parseInteger("--partitions", 1), 1)
    .option("--size <bytes>", "bytes of a record's value", parseSize, 100)
    .addOption(new Option("--count <count>", "records").argParser(parseInteger("--count", 1)).conflicts("duration"))
    .option("--duration <time>", "how long (default: 5s)", parseTime)
    .option("--json", "one JSON object in a line")
    .addOption(serverOption());
}

interface SharedOptions {
  readonly topic?: string;
  readonly partitions: number;
  readonly size: number;
  readonly count?: number;
  readonly duration?: number;
  readonly json?: boolean;
  readonly server?: string;
}

interface ProduceOptions extends SharedOptions {
  readonly outstanding?: number;
  readonly batch: number;
  readonly acks: Acks;
  readonly compression: Compression;
}

/** One measurement: what it does, on which topic. */
interface Bench<Options> {
  readonly client: Client;
  readonly topic: string;
  readonly options: Options;
  readonly signal: AbortSignal;
  /** Measures, showing how far it is. */
  readonly measure: (load: Pick<Load, "call" | "callers"> & Partial<Pick<Load, "limit">>) => Promise<Measured>;
}

interface Result {
  readonly measured: Measured;
  /** What was asked for, in words. */
  readonly about: readonly string[];
}

async function runBench<Options extends SharedOptions>(
  context: CommandContext,
  options: Options,
  bench: (bench: Bench<Options>) => Promise<Result>,
): Promise<ExitCode> {
  const { io, stdout, stderr } = context;
  const { topic: named, count, duration = 5 * secondMs, json, partitions, server: _, ...asked } = options;
  const { client } = await context.connect(options.server);
  using stop = listenForStop(io);
  const progress = new Progress({ output: stderr, clock: io.clock, isTerminal: io.stderr.isTTY === true });
  const topic = named ?? `bench-${systemRandom.bytes(6).toString("hex")}`;
  const show = ({ records }: Measured): void => {
    if (io.stderr.isTTY === true) void progress.show(() => `${formatNumberOf(records, "record")}, ${progress.rate(records)}`);
  };
  let isMade = false;
  try {
    if (named === undefined) await client.createTopic(topic, { partitionCount: partitions });
    isMade = named === undefined;
    const limit = count === undefined ? { durationMs: duration } : { records: count };
    const { measured, about } = await bench({
      client,
      topic,
      options,
      signal: stop.signal,
      measure: (load) => measure({ limit, ...load, signal: stop.signal, clock: io.clock, onCall: show }),
    });
    await progress.clear();
    await stdout.write(json === true ? loadJson(measured, asked) : describeLoad(measured, about));
    return stop.exitCode ?? exitCodes.done;
  } catch (error) {
    await progress.clear();
    throw serverError(error, { attempt: `measure with the topic ${topic}`, isRead: isMade });
  } finally {
    // What it measured is said by then: a topic that stays behind is no reason to fail.
    if (isMade)
      await client
        .deleteTopic(topic)
        .catch(() => stderr.write(`proglog: the topic ${topic} couldn't be deleted, and stays behind\n`));
    await client.close();
  }
}

async function benchProduce({ client, topic, options, measure: run }: Bench<ProduceOptions>): Promise<Result> {
  const { size, batch, acks, compression } = options;
  const callers = options.outstanding ?? (batch === 1 ? callersDefault : batchCallersDefault);
  await using producer = client.producer({ topic, acks, compression });
  const record = { value: noise(size) };
  const records = Array.from({ length: batch }, () => record);
  const sent = { records: batch, bytes: batch * size };
  const call = async (): Promise<typeof sent> => {
    await (batch === 1 ? producer.send(record) : producer.sendBatch(records));
    return sent;
  };
  const measured = await run({ call, callers });
  const under =
    batch === 1 ? formatNumberOf(callers, "caller") : `${formatNumberOf(callers, "caller")} with ${formatCount(batch)} each`;
  return { measured, about: [formatBytes(size), under, `acks ${acks}`] };
}

async function benchConsume({ client, topic, options, signal, measure: run }: Bench<SharedOptions>): Promise<Result> {
  const { size, duration } = options;
  const isOwn = options.topic === undefined;
  const count = options.count ?? (isOwn ? filledDefault : await countRecords(client, topic));
  if (isOwn) {
    await using producer = client.producer({ topic, batchMaxBytes: filledBatchBytes });
    // A tenth is read before it counts.
    await fill(producer, { count: Math.ceil(count * 1.1), size, signal });
  }
  const open = (): AsyncGenerator<ConsumedBatch, void, undefined> =>
    client.consume({ topic, signal, stopsAtEnd: true, maxBytes: consumeBytes }).batches();
  let batches = open();
  const call = async (): Promise<CallSize | undefined> => {
    let next = await batches.next();
    if (next.done === true && duration !== undefined) {
      // There is less than there is time: from the start again.
      batches = open();
      next = await batches.next();
    }
    if (next.done === true) return undefined;
    const { batch } = next.value;
    return { records: next.value.records().length, bytes: batch.length };
  };
  const measured = await run({ call, callers: 1, ...(duration === undefined ? { limit: { records: count } } : {}) });
  await batches.return();
  return { measured, about: ["a call is a batch, waited for and unpacked"] };
}

async function countRecords(client: Client, topic: string): Promise<number> {
  const { partitions } = await client.describeTopic(topic);
  const count = partitions.reduce((sum, { highWatermark, logStartOffset }) => sum + highWatermark - logStartOffset, 0);
  return Math.max(1, Math.floor(count / 1.1));
}

async function fill(
  producer: Producer,
  { count, size, signal }: { readonly count: number; readonly size: number; readonly signal: AbortSignal },
): Promise<void> {
  const record = { value: noise(size) };
  const perBatch = Math.max(1, Math.floor(filledBatchBytes / (size + 32)));
  let left = count;
  const send = async (): Promise<void> => {
    while (left > 0 && !signal.aborted) {
      const records = Array.from({ length: Math.min(perBatch, left) }, () => record);
      left -= records.length;
      await producer.sendBatch(records);
    }
  };
  await Promise.all(Array.from({ length: batchCallersDefault }, send));
}

/** Bytes that no codec makes smaller. */
function noise(size: number): Buffer {
  return Buffer.from(systemRandom.bytes(size));
}

/** As many as keep a server busy, and few enough that what they wait for is its work. */
const callersDefault = 1_000;
const batchCallersDefault = 16;
/** Records that are read where no number is given. */
const filledDefault = 1_000_000;
const filledBatchBytes = 64 * KiB;
const consumeBytes = 1024 * KiB;

function parseCallers(text: string): number {
  const callers = parseInteger("--outstanding", 1)(text);
  if (callers <= benchCallersMaxCount) return callers;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use --outstanding ${JSON.stringify(text)}: at most ${benchCallersMaxCount} are allowed`,
  );
}

function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== undefined && bytes <= recordMaxBytes) return bytes;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use --size ${JSON.stringify(text)}: it is no size up to ${recordMaxBytes} bytes`,
  );
}

function parseTime(text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs !== undefined && durationMs > 0) return durationMs;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot use --duration ${JSON.stringify(text)}: it is no duration`, {
    hint: "As in --duration 30s.",
  });
}
