import type { Command } from "commander";
import type { ConfigEntry } from "../../server/index.ts";
import { errorLine } from "../error-line.ts";
import type { CommandContext } from "../command-context.ts";
import { addConfigOptions } from "../config-options.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatNumberOf } from "../figures.ts";
import { formatTable } from "../table.ts";

export async function addConfigCommand(program: Command, context: CommandContext, argv: readonly string[]): Promise<void> {
  const config = program
    .command("config")
    .summary("show what serve would be started with, and what is wrong with it")
    .description("Reads the same flags, environment and --config-file as proglog serve, and starts nothing.");
  const check = config
    .command("check")
    .description("Says all that is wrong. Exits with 0 when serve would take it, and with 2 when not.")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ proglog config check --config-file /etc/proglog.yaml\n")
    .action(context.action((flags: Flags) => checkConfig(context, flags)));
  const show = config
    .command("show")
    .description("Shows every key with its value and where that comes from. Secrets are masked.")
    .option("--json", "one JSON object for each key, in a line")
    .option("--set", "only those that aren't the default")
    .addHelpText("after", "\nExample:\n  $ proglog config show --set\n")
    .action(context.action((flags: Flags) => showConfig(context, flags)));
  if (!argv.includes("config")) return;
  for (const command of [check, show]) await addConfigOptions(command);
}

type Flags = Readonly<Record<string, unknown>>;

async function inspect(context: CommandContext, { json: _json, set: _set, ...flags }: Flags) {
  const { inspectConfig } = await import("../../server/index.ts");
  return inspectConfig({ flags, env: context.io.env });
}

async function checkConfig(context: CommandContext, flags: Flags): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const { entries, problems } = await inspect(context, flags);
  if (flags["json"] === true) {
    const told = problems.map(({ code, message, hint, details }) => ({
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
      details,
    }));
    await stdout.write(`${JSON.stringify({ ok: problems.length === 0, problems: told })}\n`);
  } else if (problems.length === 0) {
    await stdout.write(`The configuration is sound: ${formatNumberOf(entries.length, "key")}, ${describeSources(entries)}.\n`);
  } else for (const problem of problems) await stderr.write(errorLine(problem));
  return problems.length === 0 ? exitCodes.done : exitCodes.usage;
}

function describeSources(entries: readonly ConfigEntry[]): string {
  const counts = (["file", "environment", "flag"] as const).flatMap((source) => {
    const count = entries.filter((entry) => entry.source === source).length;
    return count === 0 ? [] : [`${count} ${sourceNames[source]}`];
  });
  return counts.length === 0 ? "all by default" : `${counts.join(", ")}, the others by default`;
}

const sourceNames = { file: "by the file", environment: "by the environment", flag: "by flags" };

async function showConfig(context: CommandContext, flags: Flags): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const { entries, problems } = await inspect(context, flags);
  for (const problem of problems) await stderr.write(errorLine(problem));
  if (problems.length > 0) return exitCodes.usage;
  const { formatConfigValue } = await import("../../server/index.ts");
  const shown = entries.filter(({ source }) => flags["set"] !== true || source !== "default");
  if (flags["json"] === true) {
    for (const { key, value, source, sourceName } of shown) {
      const told = key.isSecret === true && value !== null ? formatConfigValue(key, value) : value;
      await stdout.write(
        `${JSON.stringify({ key: key.name, value: told, source, ...(sourceName === undefined ? {} : { sourceName }) })}\n`,
      );
    }
    return exitCodes.done;
  }
  const rows = shown.map(({ key, value, sourceName }) => [key.name, formatConfigValue(key, value), sourceName ?? "default"]);
  await stdout.write(formatTable(["KEY", "VALUE", "SOURCE"], rows));
  return exitCodes.done;
}
