import { type Command, Option } from "commander";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { cliAnswerMaxMs, cliBatchBytes, recordMaxBytes } from "../../base/limits.ts";
import { LineSplitter } from "../../base/line-splitter.ts";
import type { Producer } from "../../client/index.ts";
import type { CommandContext } from "../command-context.ts";
import type { CommandIo } from "../command-io.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { AppendedOffsets } from "../appended-offsets.ts";
import { formatBytes, formatCount, formatNumberOf } from "../figures.ts";
import { type InputRecord, type LineShape, parseKeySeparator, recordOfLine } from "../input-record.ts";
import { parseInteger, serverOption, topicOption } from "../option-parsers.ts";
import { OutputClosedError } from "../output.ts";
import { Reconnecting } from "../reconnecting.ts";
import { Progress } from "../progress.ts";
import { type Appended, type FeedResult, feedRecords } from "../record-feed.ts";
import { serverError } from "../server-connection.ts";
import { listenForStop } from "../stop-signal.ts";

export function addProduceCommand(program: Command, context: CommandContext): void {
  program
    .command("produce")
    .summary("append records: arguments, or lines from standard input")
    .description(
      "Appends records to a topic: one for each argument or, without arguments, one for each line of standard input, as it comes.\n" +
        "A line is taken byte for byte without its newline; an empty line is a record with an empty value.",
    )
    .argument("[values...]", "values, one record each")
    .addOption(topicOption())
    .option("--partition <number>", "partition (default: by key, or the server's choice)", parseInteger("--partition", 0))
    .option("--key <key>", "key of every record")
    .addOption(
      new Option("--key-separator <text>", "what ends the key in a line, as in key:value; \\t is a tab")
        .argParser(parseKeySeparator)
        .conflicts("key"),
    )
    .option(
      "--print-offsets",
      "print a line for each acknowledgement, at once: BASE-OFFSET COUNT, and PARTITION when it isn't 0",
    )
    .option("--no-retry", "end at once when the connection is lost, instead of sending again for 30 s what isn't acknowledged")
    .option("--progress", "show progress on standard error, though it is no terminal")
    .addOption(serverOption())
    .addHelpText(
      "after",
      `
Examples:
  $ proglog produce 'hello, world'
  $ proglog produce --topic access < access.log
  $ tail -F app.log | proglog produce --topic app
  $ printf 'user-1:login\\nuser-2:logout\\n' | proglog produce --topic events --key-separator :

Records are acknowledged in order, so when it fails, the error names the first line that isn't.
`,
    )
    .action(context.action((values: string[], options: ProduceOptions) => produce(context, values, options)));
}

interface ProduceOptions {
  readonly topic: string;
  readonly partition?: number;
  readonly key?: string;
  readonly keySeparator?: string;
  readonly printOffsets?: boolean;
  readonly retry: boolean;
  readonly progress?: boolean;
  readonly server?: string;
}

async function produce(context: CommandContext, values: readonly string[], options: ProduceOptions): Promise<ExitCode> {
  const { io, stdout, stderr } = context;
  const { client } = await context.connect(options.server);
  using stop = listenForStop(io);
  const isTerminal = io.stderr.isTTY === true;
  const progress = new Progress({ output: stderr, clock: io.clock, isTerminal });
  const offsets = new AppendedOffsets();
  const done = { records: 0, bytes: 0 };
  const reconnecting = new Reconnecting({ isWished: options.retry, stderr });

  async function onAppended(appended: Appended): Promise<void> {
    reconnecting.answered();
    done.records += appended.records;
    done.bytes += appended.bytes;
    for (const range of appended.ranges) offsets.add(range);
    if (options.printOffsets === true) await printOffsets(appended);
    if (isProgressShown(io, options)) await progress.show(describeProgress);
  }

  function describeProgress(): string {
    return `${formatNumberOf(done.records, "record")}, ${formatBytes(done.bytes)}, ${progress.rate(done.records)}`;
  }

  async function printOffsets(appended: Appended): Promise<void> {
    try {
      for (const { partition, baseOffset, count } of appended.ranges) {
        await stdout.write(`${baseOffset} ${count}${partition === 0 ? "" : ` ${partition}`}\n`);
      }
    } catch (error) {
      // Whoever read them has gone, but the records are still to be sent.
      if (!(error instanceof OutputClosedError)) throw error;
    }
  }

  const source = values.length > 0 ? packValues(values, options) : packLines(io.stdin, options);
  try {
    const { topic, partition } = options;
    const openProducer = (): Producer =>
      client.producer({
        topic,
        ...(partition === undefined ? {} : { partition }),
        batchMaxBytes: cliBatchBytes,
        deliveryTimeoutMs: cliAnswerMaxMs,
        isRetrying: (error) => reconnecting.mayRetry(error),
        onRetry: ({ error }) => reconnecting.tell(error, topic),
        stopsAtFailure: true,
      });
    const result = await feedRecords({ openProducer, source, signal: stop.signal, onAppended });
    await progress.clear();
    if (result.failure !== undefined) {
      const unit = values.length > 0 ? "value" : "line";
      throw describeFailure(result, result.failure, { offsets, unit, topic });
    }
    const rate = isTerminal ? `, ${progress.rate(done.records)}` : "";
    const unsynced = offsets.isDurable ? "" : "; acknowledged before they are synced, as the server is told to";
    const stopped = stop.exitCode === undefined ? "" : "; stopped";
    await stderr.write(`${formatNumberOf(done.records, "record")}${offsets.describe()}${rate}${unsynced}${stopped}\n`);
    return stop.exitCode ?? exitCodes.done;
  } finally {
    await client.close();
    // Else an open terminal or pipe keeps the process.
    if (values.length === 0) io.stdin.destroy();
  }
}

/** On a terminal, but not where somebody types: it would run into the words. */
export function isProgressShown({ stdin, stderr }: CommandIo, { progress }: Pick<ProduceOptions, "progress">): boolean {
  return progress === true || (stderr.isTTY === true && stdin.isTTY !== true);
}

async function* packValues(values: readonly string[], shape: LineShape): AsyncGenerator<readonly InputRecord[]> {
  yield* packAll(
    values.map((value) => Buffer.from(value)),
    shape,
    0,
  );
}

/** The lines of a stream as records: in groups, as they come with one read. */
async function* packLines(stdin: AsyncIterable<Buffer | string>, shape: LineShape): AsyncGenerator<readonly InputRecord[]> {
  // The separator is no part of the record.
  const lineMaxBytes = recordMaxBytes + Buffer.byteLength(shape.keySeparator ?? "");
  const splitter = new LineSplitter({ lineMaxBytes });
  let lineCount = 0;
  for await (const chunk of stdin) {
    const lines = splitter.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
    for (const group of packAll(lines, shape, lineCount)) {
      lineCount += group.length;
      yield group;
    }
  }
  const last = splitter.end();
  if (last !== undefined) yield* packAll([last], shape, lineCount);
}

/** What can be packed before an error is given before it is thrown. */
function* packAll(lines: Iterable<Buffer>, shape: LineShape, lineCount: number): Generator<readonly InputRecord[]> {
  const group: InputRecord[] = [];
  try {
    for (const line of lines) group.push(recordOfLine(line, lineCount + group.length + 1, shape));
  } catch (error) {
    if (group.length > 0) yield group;
    throw error;
  }
  if (group.length > 0) yield group;
}

/** The error, with what has become of the records: where to go on is what its reader needs. */
function describeFailure(
  result: FeedResult,
  failure: NonNullable<FeedResult["failure"]>,
  { offsets, unit, topic }: { readonly offsets: AppendedOffsets; readonly unit: "value" | "line"; readonly topic: string },
): unknown {
  const { acknowledged, doubtfulCount } = result;
  const error = failure.of === "request" ? serverError(failure.error, { attempt: `produce to ${topic}` }) : failure.error;
  const first = acknowledged + 1;
  const facts = [`${formatNumberOf(acknowledged, "record")} acknowledged${offsets.describe()}`];
  if (failure.of === "request") facts.push(`the first ${unit} not acknowledged is ${formatCount(first)}`);
  if (doubtfulCount > 0) {
    const range =
      doubtfulCount === 1
        ? `${unit} ${formatCount(first)}`
        : `${unit}s ${formatCount(first)} to ${formatCount(acknowledged + doubtfulCount)}`;
    facts.push(`${range} may have been appended all the same`);
  }
  const message = `${messageOf(error)}; ${facts.join("; ")}`;
  if (!isProglogError(error)) return Object.assign(new Error(message, { cause: error }), codeOf(error));
  const outcome = failure.of === "request" ? { outcome: doubtfulCount > 0 ? "unknown" : "not-appended" } : {};
  return new ProglogError(error.code, message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, acknowledged, ...outcome },
    cause: error,
  });
}

function codeOf(error: unknown): { readonly code?: unknown } {
  return error instanceof Error && "code" in error ? { code: error.code } : {};
}
