import { type Command, Option } from "commander";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { cliFollowWaitMs, cliRetryMaxMs, cliRetryMinMs } from "../../base/limits.ts";
import { KiB } from "../../base/units.ts";
import { parseStartingPoint, type StartingPoint } from "../../wire/starting-point.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import type { ConsumedRecords, LogClient } from "../log-client.ts";
import { parseInteger, serverOption, topicOption } from "../option-parsers.ts";
import { formatHelp, formatLine, jsonFormatter, parseFormat, type RecordFormatter } from "../record-format.ts";
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
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly format?: string;
  readonly server?: string;
}

async function consume(context: CommandContext, options: ConsumeOptions): Promise<ExitCode> {
  const format = chooseFormat(options);
  const client = await context.connect(options.server);
  using stop = listenForStop(context.io);
  try {
    await new Consumption(context, { client, format, stop, options }).run();
  } catch (error) {
    // A reader that waits for more is stopped by Ctrl-C, so that is its good end; another one had not come to its end.
    if (!stop.signal.aborted) throw error;
    return options.follow === true ? exitCodes.done : (stop.exitCode ?? exitCodes.done);
  } finally {
    client.close();
  }
  return exitCodes.done;
}

function chooseFormat({ json, format, partition }: ConsumeOptions): RecordFormatter {
  if (json === true) return jsonFormatter(partition);
  return format === undefined ? formatLine : parseFormat(format, partition);
}

/** One run of the command: where it is, and where it ends. */
class Consumption {
  readonly #context: CommandContext;
  readonly #client: LogClient;
  readonly #format: RecordFormatter;
  readonly #stop: StopListener;
  readonly #options: ConsumeOptions;
  #from: StartingPoint;
  #remaining: number;
  /** The partition's end at the first answer: not to run after a producer for ever. With --follow there is none. */
  #endOffset: number | undefined;

  constructor(
    context: CommandContext,
    run: {
      readonly client: LogClient;
      readonly format: RecordFormatter;
      readonly stop: StopListener;
      readonly options: ConsumeOptions;
    },
  ) {
    this.#context = context;
    this.#client = run.client;
    this.#format = run.format;
    this.#stop = run.stop;
    this.#options = run.options;
    this.#from = run.options.from;
    this.#remaining = run.options.limit ?? Number.POSITIVE_INFINITY;
  }

  async run(): Promise<void> {
    while (this.#remaining > 0) {
      const consumed = await this.#ask();
      await this.#print(consumed);
      this.#from = consumed.nextOffset;
      if (this.#options.follow === true) continue;
      this.#endOffset ??= consumed.highWatermark;
      if (consumed.nextOffset >= this.#endOffset) return;
    }
  }

  /** The next records; with --follow, through lost connections. A first one that fails is an error: the address may be wrong. */
  async #ask(): Promise<ConsumedRecords> {
    const { topic, partition, follow } = this.#options;
    for (let failures = 0; ; failures += 1) {
      try {
        const consumed = await this.#client.consume({
          topic,
          partition,
          from: this.#from,
          ...(Number.isFinite(this.#remaining) ? { limit: this.#remaining } : {}),
          waitMs: follow === true ? cliFollowWaitMs : 0,
          signal: this.#stop.signal,
        });
        if (failures > 0) await this.#context.stderr.write(`proglog: ${this.#client.address} answers again\n`);
        this.#hasAnswered = true;
        return consumed;
      } catch (error) {
        if (follow !== true || !this.#hasAnswered || !isPassing(error)) throw error;
        if (failures === 0) await this.#context.stderr.write(`proglog: ${messageOf(error)}; trying again until it answers\n`);
        await this.#pause(Math.min(cliRetryMinMs * 2 ** failures, cliRetryMaxMs));
      }
    }
  }
  #hasAnswered = false;

  async #print(consumed: ConsumedRecords): Promise<void> {
    const { stdout } = this.#context;
    let pieces: Buffer[] = [];
    let bytes = 0;
    for (const record of consumed.records) {
      if (this.#remaining === 0 || (this.#endOffset !== undefined && record.offset >= this.#endOffset)) break;
      const piece = this.#format(record);
      pieces.push(piece);
      bytes += piece.length;
      this.#remaining -= 1;
      if (bytes < writeBytes) continue;
      await stdout.write(Buffer.concat(pieces));
      pieces = [];
      bytes = 0;
    }
    if (pieces.length > 0) await stdout.write(Buffer.concat(pieces));
  }

  /** Ends early, with CANCELLED, when we are told to stop. */
  #pause(delayMs: number): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        clearTimeout(timer);
        reject(new ProglogError("CANCELLED", "Cannot go on consuming: it was cancelled"));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", cancel);
        resolve();
      }, delayMs);
      if (signal.aborted) cancel();
      else signal.addEventListener("abort", cancel, { once: true });
    });
  }
}

/** What a server that is starting, stopping or gone for a moment answers. */
function isPassing(error: unknown): boolean {
  return isProglogError(error) && ["UNAVAILABLE", "TIMEOUT", "SHUTTING_DOWN", "OVERLOADED", "LOG_CLOSED"].includes(error.code);
}

/** Small writes cost a system call each, and large ones hold a slow reader's memory. */
const writeBytes = 256 * KiB;
