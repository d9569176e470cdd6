import type { Command } from "commander";
import type { BackupSource, BackupReport, BackupVerification } from "../../backup/index.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatNumberOf } from "../figures.ts";
import { Progress } from "../progress.ts";
import { serverDefault } from "../server-address.ts";
import { listenForStop } from "../stop-signal.ts";

export function addBackupCommand(program: Command, context: CommandContext): void {
  const backup = program
    .command("backup")
    .summary("copy a node's or a cluster's topics to a folder, and check such a copy")
    .description("Backups of a running node or cluster, or of a directory whose server doesn't run (docs/backup.md).");
  backup
    .command("create")
    .description(
      "Copies all topics, up to what is committed, to a folder. What the folder has already of an earlier backup isn't copied again.\n" +
        "A run that is cut short leaves the earlier backup whole; run again, it goes on with what is there.",
    )
    .argument("<folder>", "where it goes: a new folder, an empty one, or that of an earlier backup")
    .option("--server <host:port,…>", `server, or nodes of a cluster (default: ${serverDefault}, env: PROGLOG_SERVER)`)
    .option("--data-dir <dir>", "instead, the directory of a single node that doesn't run")
    .option("--json", "the report as one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ proglog backup create /backup/proglog\n  $ proglog backup create /backup/proglog --data-dir ./data\n",
    )
    .action(context.action((folder: string, options: CreateOptions) => create(context, folder, options)));
  backup
    .command("verify")
    .description(
      "Reads every byte of a backup against its checksums. Exits with 0 when all is sound and with 6 when something is damaged.",
    )
    .argument("<folder>", "a backup's folder")
    .option("--json", "one JSON object for each log, in a line")
    .addHelpText("after", "\nExample:\n  $ proglog backup verify /backup/proglog\n")
    .action(context.action((folder: string, options: { readonly json?: boolean }) => verify(context, folder, options)));
}

export function addRestoreCommand(program: Command, context: CommandContext): void {
  program
    .command("restore")
    .summary("make a data directory of a backup")
    .description(
      "Makes the data directory of a single node of a backup, verifying every byte. Start it with proglog serve --data-dir; with\n" +
        "--bootstrap it begins a cluster, which other nodes then join (docs/backup.md).",
    )
    .argument("<folder>", "a backup's folder")
    .argument("<dir>", "the directory to make; it isn't there yet, or is empty")
    .option("--json", "the report as one JSON object")
    .addHelpText("after", "\nExample:\n  $ proglog restore /backup/proglog ./data && proglog serve --data-dir ./data\n")
    .action(
      context.action((folder: string, dir: string, options: { readonly json?: boolean }) =>
        restore(context, { folder, dir }, options),
      ),
    );
}

interface CreateOptions {
  readonly server?: string;
  readonly dataDir?: string;
  readonly json?: boolean;
}

async function create(context: CommandContext, folder: string, options: CreateOptions): Promise<ExitCode> {
  const [{ nodeDisk }, { writeBackup }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../../backup/index.ts"),
  ]);
  const { io, stdout, stderr, version } = context;
  using stop = listenForStop(io);
  const source = await openSource(context, options, stop.signal);
  const progress = new Progress({ output: stderr, clock: io.clock, isTerminal: io.stderr.isTTY === true });
  try {
    const report = await writeBackup(source, folder, {
      ...{ disk: nodeDisk, clock: io.clock, release: version, signal: stop.signal },
      onProgress: ({ log, logNumber, logCount, bytes }) =>
        void progress.show(() => `${log} (${logNumber} of ${logCount}), ${formatBytes(bytes)} copied`),
    });
    await progress.clear();
    await stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : describeReport(report));
    return exitCodes.done;
  } catch (error) {
    await progress.clear();
    if (stop.exitCode === undefined) throw error;
    await stderr.write("stopped; the backup isn't done. Run it again, and it goes on with what is there\n");
    return stop.exitCode;
  } finally {
    await source.close();
  }
}

async function openSource(
  context: CommandContext,
  { server, dataDir }: CreateOptions,
  signal: AbortSignal,
): Promise<BackupSource> {
  if (dataDir === undefined) {
    const { BackupServer } = await import("../backup-server.ts");
    return new BackupServer(context.chooseServer(server), { signal, token: context.findToken() });
  }
  if (server !== undefined)
    throw new ProglogError("INVALID_ARGUMENT", "Cannot make a backup of both --server and --data-dir", {
      hint: "Name one of them.",
    });
  const [{ nodeDisk }, { openLocalSource }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../../backup/index.ts"),
  ]);
  return openLocalSource(dataDir, { disk: nodeDisk, clock: context.io.clock, logger: silentLogger });
}

function describeReport({ topics, logs, segments, bytes, fetchedBytes, keptBytes, deleted, generation }: BackupReport): string {
  const counts = [formatNumberOf(topics, "topic"), formatNumberOf(logs, "log"), formatNumberOf(segments, "segment")];
  const gone = deleted.length === 0 ? "" : `Deleted meanwhile, and not in it: ${deleted.join(", ")}.\n`;
  return `Backup ${generation}: ${counts.join(", ")}, ${formatBytes(bytes)}; ${formatBytes(fetchedBytes)} copied, ${formatBytes(keptBytes)} were there.\n${gone}`;
}

async function verify(context: CommandContext, folder: string, { json }: { readonly json?: boolean }): Promise<ExitCode> {
  const [{ nodeDisk }, { verifyBackup }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../../backup/index.ts"),
  ]);
  const { io, stdout, stderr } = context;
  const isTerminal = io.stderr.isTTY === true;
  const progress = new Progress({ output: stderr, clock: io.clock, isTerminal });
  const verified = await verifyBackup(folder, {
    disk: nodeDisk,
    onProgress: ({ log, bytes }) => {
      if (isTerminal) void progress.show(() => `${log}, ${formatBytes(bytes)} read`);
    },
  });
  await progress.clear();
  for (const text of json === true ? verificationLines(verified) : describeVerification(verified)) await stdout.write(text);
  return verified.ok ? exitCodes.done : exitCodes.damaged;
}

function verificationLines({ logs }: BackupVerification): readonly string[] {
  return logs.map((log) => `${JSON.stringify({ ...log, ok: log.faults.length === 0 })}\n`);
}

function describeVerification({ ok, logs, manifest }: BackupVerification): readonly string[] {
  const lines = logs.map(({ name, segments, bytes, logStartOffset, nextOffset, faults }) => {
    const counts = `${formatNumberOf(segments, "segment")}, offsets ${logStartOffset} to ${nextOffset}, ${formatBytes(bytes)}`;
    const head = `${faults.length === 0 ? "sound  " : "DAMAGED"} ${name}: ${counts}\n`;
    return head + faults.map((fault) => `        ${fault}\n`).join("");
  });
  const damagedCount = logs.filter(({ faults }) => faults.length > 0).length;
  const when = new Date(manifest.finishedAt).toISOString();
  const end = ok ? "all sound" : `damage in ${damagedCount}`;
  return [...lines, `Backup ${manifest.generation} of ${when}: ${formatNumberOf(logs.length, "log")}; ${end}.\n`];
}

async function restore(
  context: CommandContext,
  { folder, dir }: { readonly folder: string; readonly dir: string },
  { json }: { readonly json?: boolean },
): Promise<ExitCode> {
  const [{ nodeDisk }, { systemRandom }, { restoreBackup }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../../base/random.ts"),
    import("../../backup/index.ts"),
  ]);
  const { io, stdout, stderr } = context;
  const progress = new Progress({ output: stderr, clock: io.clock, isTerminal: io.stderr.isTTY === true });
  const report = await restoreBackup(folder, dir, {
    ...{ disk: nodeDisk, clock: io.clock, random: systemRandom, logger: silentLogger },
    onProgress: ({ log, bytes, totalBytes }) =>
      void progress.show(() => `${log}, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}`),
  });
  await progress.clear();
  const { topics, logs, bytes, finishedAt } = report;
  const counts = `${formatNumberOf(topics, "topic")}, ${formatNumberOf(logs, "log")}, ${formatBytes(bytes)}`;
  const text = `Restored to ${dir}: ${counts}, as of ${new Date(finishedAt).toISOString()}.\n`;
  await stdout.write(json === true ? `${JSON.stringify(report)}\n` : text);
  return exitCodes.done;
}
