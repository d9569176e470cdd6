import type { Command } from "commander";
import { isProglogError } from "../../base/error.ts";
import type { VerifyReport } from "../../log/inspect.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { describeOffsets, formatBytes, formatNumberOf } from "../figures.ts";
import type { OfflineLog } from "../offline-directory.ts";
import { Progress } from "../progress.ts";

export function addVerifyCommand(program: Command, context: CommandContext): void {
  program
    .command("verify")
    .summary("check every byte of a log's or a node's directory")
    .description(
      "Reads every byte of a log, or of all logs of a node, against its checksums. Nothing is changed. The server must not run.\n" +
        "Exits with 0 when all is sound and with 6 when something is damaged.",
    )
    .argument("<dir>", "a log's directory, or a node's data directory")
    .option("--json", "one JSON object for each log, in a line")
    .addHelpText(
      "after",
      `
Examples:
  $ proglog verify ./data
  $ proglog verify ./data && tar -czf backup.tar.gz data
`,
    )
    .action(context.action((directory: string, options: { readonly json?: boolean }) => verify(context, directory, options)));
}

async function verify(context: CommandContext, path: string, { json }: { readonly json?: boolean }): Promise<ExitCode> {
  const [{ nodeDisk }, { openOfflineDirectory }, { inspectNode }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../offline-directory.ts"),
    import("../../replica/inspect.ts"),
  ]);
  using directory = openOfflineDirectory(path, { attempt: "verify", disk: nodeDisk });
  const isTerminal = context.io.stderr.isTTY === true;
  const progress = new Progress({ output: context.stderr, clock: context.io.clock, isTerminal });
  let damagedCount = 0;
  const manifestFaults = directory.manifestError === undefined ? [] : [{ name: "manifest", error: directory.manifestError }];
  const { faults } = directory.kind === "node" ? inspectNode(directory.path) : { faults: [] };
  for (const { name, error } of [...manifestFaults, ...faults]) {
    damagedCount += 1;
    const { code, message } = error;
    await context.stdout.write(
      json === true ? `${JSON.stringify({ name, ok: false, code, message })}\n` : `DAMAGED ${name}: ${message}\n`,
    );
  }
  for (const log of directory.logs) {
    const verified = await verifyOne(log, ({ bytes, totalBytes }) => {
      if (isTerminal) void progress.show(() => `${log.name}: ${formatBytes(bytes)} of ${formatBytes(totalBytes)}`);
    });
    await progress.clear();
    if (!verified.ok) damagedCount += 1;
    await context.stdout.write(
      json === true ? `${JSON.stringify({ name: log.name, ...verified })}\n` : describe(log, verified),
    );
  }
  const count = formatNumberOf(directory.logs.length, "log");
  if (json !== true)
    await context.stdout.write(damagedCount === 0 ? `${count}, all sound.\n` : `${count}; damage in ${damagedCount}.\n`);
  return damagedCount === 0 ? exitCodes.done : exitCodes.damaged;
}

/** A log that can't be verified at all is damaged; that another process has it is not. */
async function verifyOne({ directory }: OfflineLog, onProgress: VerifyProgress): Promise<VerifyReport> {
  const { verifyLog } = await import("../../log/inspect.ts");
  try {
    return await verifyLog(directory, { onProgress });
  } catch (error) {
    if (!isProglogError(error) || !["LOG_CORRUPT", "LOG_NOT_FOUND"].includes(error.code)) throw error;
    return {
      ok: false,
      segments: 0,
      batches: 0,
      records: 0,
      bytes: 0,
      damages: [],
      notes: [`${error.code}: ${error.message}`],
    };
  }
}

type VerifyProgress = (progress: { readonly bytes: number; readonly totalBytes: number }) => void;

function describe({ name, directory }: OfflineLog, verified: VerifyReport): string {
  const { segments, batches, records, bytes } = verified;
  const counts = [
    formatNumberOf(segments, "segment"),
    formatNumberOf(batches, "batch", "batches"),
    formatNumberOf(records, "record"),
    formatBytes(bytes),
  ];
  let text = `${verified.ok ? "sound  " : "DAMAGED"} ${name}: ${counts.join(", ")}\n`;
  for (const damage of verified.damages) {
    text += `        ${damage.file} at ${damage.position}, ${describeOffsets(damage)}: ${damage.reason}\n`;
  }
  for (const note of verified.notes) text += `        ${note}\n`;
  if (!verified.ok) text += `        see: proglog repair ${directory}\n`;
  return text;
}
