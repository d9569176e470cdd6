import type { Command } from "commander";
import { ProglogError } from "../../base/error.ts";
import { formatDuration, parseDuration } from "../../base/quantity.ts";
import { KiB, secondMs } from "../../base/units.ts";
import { fromProblem } from "../../wire/problem.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { askHttp, type HttpQuestion, parseAnswer } from "../http-request.ts";
import { serverDefault } from "../server-address.ts";
import { urlsOf } from "../server-tls.ts";

export function addLogLevelCommand(program: Command, context: CommandContext): void {
  program
    .command("log-level")
    .summary("show or change what a running node logs")
    .description(
      "Without a level it shows the one that holds. A change holds at once, on that node alone, and until it is started again.",
    )
    .argument("[level]", "debug, info, warn, error or silent")
    .option("--for <duration>", "go back to what is configured after this time, from 1s to 7d")
    .option("--server <host:port>", `server to ask (default: ${serverDefault}, env: PROGLOG_SERVER)`)
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ proglog log-level debug --for 10m\n")
    .action(context.action((level: string | undefined, options: LogLevelOptions) => logLevel(context, level, options)));
}

interface LogLevelOptions {
  readonly for?: string;
  readonly server?: string;
  readonly json?: boolean;
}

async function logLevel(context: CommandContext, level: string | undefined, options: LogLevelOptions): Promise<ExitCode> {
  if (level === undefined && options.for !== undefined)
    throw new ProglogError("INVALID_ARGUMENT", "Cannot use --for: there is no level to change to");
  const forMs = options.for === undefined ? undefined : parseDuration(options.for);
  if (options.for !== undefined && forMs === undefined)
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot use --for ${JSON.stringify(options.for)}: it isn't a duration, as in 30s or 10m`,
    );
  const choice = context.chooseServer(options.server);
  const [url = "", ...others] = urlsOf(choice);
  if (others.length > 0)
    throw new ProglogError("INVALID_ARGUMENT", `Cannot ask ${[url, ...others].join(" and ")}: a log level is of one node`);
  const question: HttpQuestion = {
    attempt: level === undefined ? "ask for the log level of" : "change the log level of",
    ...(level === undefined ? {} : { method: "PUT", body: { level, ...(forMs === undefined ? {} : { forMs }) } }),
    maxBytes: answerMaxBytes,
    timeoutMs: answerMaxMs,
    token: context.findToken(),
    tls: choice.tls,
  };
  const answer = await askHttp(new URL("/v1/log-level", url), question);
  const told = parseAnswer(answer);
  if (answer.status !== 200 || !isLogLevel(told)) {
    throw (
      fromProblem(told) ??
      new ProglogError(
        "UNAVAILABLE",
        `Cannot ${question.attempt} ${new URL(url).host}: it answers ${answer.status}, and is no proglog server`,
      )
    );
  }
  await context.stdout.write(
    options.json === true ? `${JSON.stringify(told)}\n` : `${describe(told, context.io.clock.now())}\n`,
  );
  return exitCodes.done;
}

interface LogLevel {
  readonly level: string;
  readonly configured: string;
  readonly until?: number;
}

function isLogLevel(told: unknown): told is LogLevel {
  return typeof told === "object" && told !== null && "level" in told && "configured" in told;
}

function describe({ level, configured, until }: LogLevel, now: number): string {
  if (until !== undefined) {
    const left = Math.max(1, Math.round((until - now) / secondMs)) * secondMs;
    return `${level}, and ${configured} again in ${formatDuration(left)}`;
  }
  return level === configured ? level : `${level}, and ${configured} again when the node is started again`;
}

const answerMaxBytes = 64 * KiB;
const answerMaxMs = 10 * secondMs;
