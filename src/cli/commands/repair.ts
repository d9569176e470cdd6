import { join, relative } from "node:path";
import type { Command } from "commander";
import { ProglogError } from "../../base/error.ts";
import type { RepairPlan } from "../../log/repair.ts";
import type { CommandContext } from "../command-context.ts";
import { confirm } from "../confirm.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { describeOffsets, formatNumberOf } from "../figures.ts";
import type { OfflineDirectory, OfflineLog } from "../offline-directory.ts";

export function addRepairCommand(program: Command, context: CommandContext): void {
  program
    .command("repair")
    .summary("make a damaged log open again, without what is lost")
    .description(
      "Makes a log that is damaged, or all damaged logs of a node, open again. What can't be read any more is replaced by a mark\n" +
        "that spans its offsets, so that every other record keeps its own. Each lost range is named before anything is done, and\n" +
        "a copy of the damaged log is kept. The server must not run. Asks first, on a terminal.",
    )
    .argument("<dir>", "a log's directory, or a node's data directory")
    .option("--copy-to <dir>", "where the copy goes (default: beside <dir>, named by the time)")
    .option("--yes", "don't ask")
    .addHelpText(
      "after",
      `
Examples:
  $ proglog repair ./data
  $ proglog repair ./data --yes --copy-to /mnt/spare/damaged
`,
    )
    .action(context.action((directory: string, options: RepairOptions) => repair(context, directory, options)));
}

interface RepairOptions {
  readonly copyTo?: string;
  readonly yes?: boolean;
}

async function repair(context: CommandContext, path: string, options: RepairOptions): Promise<ExitCode> {
  const [{ nodeDisk }, { openOfflineDirectory }, { applyRepair, planRepair }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../offline-directory.ts"),
    import("../../log/repair.ts"),
  ]);
  const { io, stdout, stderr } = context;
  using directory = openOfflineDirectory(path, { attempt: "repair", disk: nodeDisk });
  // A node without its manifest doesn't start, whatever its logs are. That isn't ours to invent.
  if (directory.manifestError !== undefined) throw directory.manifestError;

  const needed: { readonly log: OfflineLog; readonly plan: RepairPlan }[] = [];
  for (const log of directory.logs) {
    const plan = await planRepair(log.directory);
    if (plan.isNeeded) needed.push({ log, plan });
  }
  if (needed.length === 0) {
    await stdout.write(`${formatNumberOf(directory.logs.length, "log")}, all sound. There is nothing to repair.\n`);
    return exitCodes.done;
  }
  for (const { log, plan } of needed) await stdout.write(describePlan(log, plan));

  const copyTo = options.copyTo ?? `${directory.path}.before-repair-${timeName(io.clock.now())}`;
  if (nodeDisk.isDirectory(copyTo) || nodeDisk.size(copyTo) !== undefined) {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot keep a copy in ${copyTo}: it is there already`, {
      hint: "Name another with --copy-to.",
    });
  }
  const question = `Repair ${formatNumberOf(needed.length, "log")}, with a copy of what is there now in ${copyTo}?`;
  if (options.yes !== true && !(await confirm(io, question, `repair ${path}`))) {
    await stderr.write("Nothing was changed.\n");
    return exitCodes.failed;
  }
  for (const { log, plan } of needed) {
    const logCopy = copyPath(copyTo, log, directory);
    await applyRepair(plan, { copyTo: logCopy, now: io.clock.now() });
    await stdout.write(`Repaired ${log.name}; its old files are in ${logCopy}\n`);
  }
  return exitCodes.done;
}

/** A node's logs lie in the copy as they lie in the node: copied back, they are in their place. */
function copyPath(copyTo: string, log: OfflineLog, directory: OfflineDirectory): string {
  return join(copyTo, relative(directory.path, log.directory));
}

function describePlan(log: OfflineLog, { losses, mends }: RepairPlan): string {
  let count = 0;
  let text = "";
  for (const { firstOffset, nextOffset, file, position, reason } of losses) {
    count += nextOffset - firstOffset;
    text += `  lost: ${describeOffsets({ firstOffset, nextOffset })}, in ${file} at ${position}: ${reason}\n`;
  }
  for (const mend of mends) text += `  mended: ${mend}\n`;
  return `${log.name}: ${count === 0 ? "damaged, but no record is lost" : `${formatNumberOf(count, "record")} lost`}\n${text}`;
}

/** "2026-01-31T08-00-00Z": no colons, which not every file system takes. */
function timeName(time: number): string {
  return new Date(time)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replaceAll(":", "-");
}
