import type { Command } from "commander";
import type { Finding } from "../../server/index.ts";
import type { CommandContext } from "../command-context.ts";
import { addConfigOptions } from "../config-options.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatNumberOf } from "../figures.ts";

export async function addDoctorCommand(program: Command, context: CommandContext, argv: readonly string[]): Promise<void> {
  const command = program
    .command("doctor")
    .summary("look at this machine for what would hurt a node")
    .description(
      "Takes the flags, environment and --config-file of proglog serve, and looks at configuration, disk, descriptors, memory, clock,\n" +
        "network, certificates and packages. Starts nothing. Exits with 1 when there is a problem, and with 2 when it is the configuration.",
    )
    .option("--json", "one JSON object for each finding, in a line")
    .option("--quiet", "only what isn't well")
    .addHelpText("after", "\nExample:\n  $ proglog doctor --config-file /etc/proglog.yaml\n")
    .action(context.action((flags: Readonly<Record<string, unknown>>) => doctor(context, flags)));
  if (argv.includes("doctor")) await addConfigOptions(command);
}

async function doctor(context: CommandContext, options: Readonly<Record<string, unknown>>): Promise<ExitCode> {
  const { stdout, io } = context;
  const { json, quiet, ...flags } = options;
  const { examine, inspectConfig } = await import("../../server/index.ts");
  const findings = await examine(inspectConfig({ flags, env: io.env }));
  for (const finding of findings) {
    if (json === true) await stdout.write(`${JSON.stringify(finding)}\n`);
    else if (quiet !== true || finding.level !== "ok") await stdout.write(describe(finding));
  }
  const problems = findings.filter(({ level }) => level === "problem");
  const warnings = findings.filter(({ level }) => level === "warning");
  if (json !== true)
    await stdout.write(`${formatNumberOf(problems.length, "problem")}, ${formatNumberOf(warnings.length, "warning")}.\n`);
  if (problems.some(({ area }) => area === "configuration")) return exitCodes.usage;
  return problems.length > 0 ? exitCodes.failed : exitCodes.done;
}

function describe(finding: Finding): string {
  const line = `${words[finding.level].padEnd(levelWidth)}  ${finding.area.padEnd(areaWidth)}  ${finding.finding}\n`;
  return finding.level === "ok" ? line : `${line}${" ".repeat(levelWidth + areaWidth + 4)}-> ${finding.advice}\n`;
}

const words = { ok: "ok", warning: "WARNING", problem: "PROBLEM" };
const levelWidth = 7;
/** "configuration" */
const areaWidth = 13;
