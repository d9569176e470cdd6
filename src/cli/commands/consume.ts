import { type Command, Option } from "commander";
import { messageOf } from "../../base/error.ts";
import { cliAnswerMaxMs } from "../../base/limits.ts";
import { KiB } from "../../base/units.ts";
import type { Consumer, ReadFrom, StoredRecord } from "../../client/index.ts";
import { parseStartingPoint, type StartingPoint } from "../../wire/starting-point.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseInteger, serverOption, topicOption } from "../option-parsers.ts";
import type { Output } from "../output.ts";
import { formatHelp, formatLine, jsonFormatter, parseFormat, type RecordFormatter } from "../record-format.ts";
import { type ServerConnection, serverError } from "../server-connection.ts";
import { listenForStop, type StopListener } from "../stop-signal.ts";

export function addConsumeCommand(program: Command, context: CommandContext): void {
  program
    .command("consume")
    .summary("print records, and with --follow wait for more")
    .description(
      "Prints the records of a partition, up to its end as it was at the start. With --follow it goes on as they come.",
    )
    .addOption(topicOption())
    .option("--partition <number>", "partition", parseInteger("--partition", 0), 0)
    .addOption(
      new Option("--from <point>", "start, end, an offset (42), milliseconds (@1760000000000) or a time (2026-01-31T08:00Z)")
        .argParser(parseStartingPoint)
        .default("start" satisfies StartingPoint, "start"),
    )
    .option("--limit <count>", "stop after so many records", parseInteger("--limit", 0))
    .addOption(
      new Option("--read-from <who>", "whom to ask in a cluster: its leader, or a replica that follows it")
        .choices(["leader", "follower"])
        .default("leader"),
    )
    .option("--follow", "wait for more at the end, through lost connections too, until Ctrl-C")
    .addOption(new Option("--json", "one JSON object in a line: key, value, headers, timestamp, offset").conflicts("format"))
    .option("--format <format>", formatHelp)
    .addOption(serverOption())
    .addHelpText(
      "after",
      `
Examples:
  $ proglog consume --topic access | grep ' 500 '
  $ proglog consume --topic events --from end --follow
  $ proglog consume --topic events --from 2026-01-31T08:00Z --limit 10 --json
  $ proglog consume --topic events --format '%o\\t%T\\t%k\\t%v'

Without --json and --format a record is its value and a newline.
`,
    )
    .action(context.action((options: ConsumeOptions) => consume(context, options)));
}

interface ConsumeOptions {
  readonly topic: string;
  readonly partition: number;
  readonly from: StartingPoint;
  readonly limit?: number;
  readonly readFrom: ReadFrom;
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly format?: string;
  readonly server?: string;
}

async function consume(context: CommandContext, options: ConsumeOptions): Promise<ExitCode> {
  const format = chooseFormat(options);
  const connection = await context.connect(options.server);
  using stop = listenForStop(context.io);
  try {
    await print(context, { connection, format, stop, options });
  } catch (error) {
    if (!stop.signal.aborted) throw serverError(error, { attempt: `consume ${options.topic}`, isRead: true });
  } finally {
    await connection.client.close();
  }
  // A reader that waits for more is stopped by Ctrl-C, so that is its good end; another one had not come to its end.
  return options.follow === true ? exitCodes.done : (stop.exitCode ?? exitCodes.done);
}

function chooseFormat({ json, format, partition }: ConsumeOptions): RecordFormatter {
  if (json === true) return jsonFormatter(partition);
  return format === undefined ? formatLine : parseFormat(format, partition);
}

interface Printing {
  readonly connection: ServerConnection;
  readonly format: RecordFormatter;
  readonly stop: StopListener;
  readonly options: ConsumeOptions;
}

async function print(context: CommandContext, { connection, format, stop, options }: Printing): Promise<void> {
  const { limit = Number.POSITIVE_INFINITY } = options;
  if (limit === 0) return;
  let left = limit;
  for await (const batch of openConsumer(context, { connection, stop, options }).batches()) {
    const records = batch.records();
    await writeRecords(context.stdout, records.length > left ? records.slice(0, left) : records, format);
    left -= records.length;
    if (left <= 0) return;
  }
}

/**
 * Until a first answer has come, a failure is an error: the address may be wrong. Afterwards it is tried again: with --follow until the
 * server answers, else for 30 s, which is longer than another node of a cluster needs to lead.
 */
function openConsumer(context: CommandContext, { connection, stop, options }: Omit<Printing, "format">): Consumer {
  const { topic, partition, from, readFrom, follow } = options;
  const attempt = { attempt: `consume ${topic}`, isRead: true };
  const { clock } = context.io;
  const patience = follow === true ? "until it answers" : "for 30 s";
  let state: "new" | "connected" | "lost" = "new";
  let lostAtMs = 0;
  // Standard error is optional: writing there never fails, and what it says may come as late as it likes.
  const say = (text: string): void => void context.stderr.write(`proglog: ${text}\n`);
  return connection.client.consume({
    topic,
    partition,
    from,
    readFrom,
    stopsAtEnd: follow !== true,
    signal: stop.signal,
    onConnected: () => {
      if (state === "lost") say(`${connection.address} answers again`);
      state = "connected";
    },
    onRetry: ({ error }) => {
      if (state === "new") throw error;
      if (state === "connected") {
        say(`${messageOf(serverError(error, attempt))}; trying again ${patience}`);
        lostAtMs = clock.monotonic();
      }
      state = "lost";
      if (follow !== true && clock.monotonic() - lostAtMs >= cliAnswerMaxMs) throw error;
    },
  });
}

async function writeRecords(stdout: Output, records: readonly StoredRecord[], format: RecordFormatter): Promise<void> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for (const record of records) {
    const piece = format(record);
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < writeBytes) continue;
    await stdout.write(Buffer.concat(pieces));
    pieces = [];
    bytes = 0;
  }
  if (pieces.length > 0) await stdout.write(Buffer.concat(pieces));
}

/** Small writes cost a system call each, and large ones hold a slow reader's memory. */
const writeBytes = 256 * KiB;
