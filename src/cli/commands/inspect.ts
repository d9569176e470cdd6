import { basename } from "node:path";
import type { Command } from "commander";
import { isProglogError, type ProglogError } from "../../base/error.ts";
import type { InspectedFields, InspectedItem, LogInspection } from "../../log/inspect.ts";
import type { NodeInspection } from "../../replica/inspect.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes } from "../figures.ts";
import type { OfflineDirectory, OfflineLog } from "../offline-directory.ts";
import { formatTable } from "../table.ts";

export function addInspectCommand(program: Command, context: CommandContext): void {
  program
    .command("inspect")
    .summary("show what a log's, a node's or a single file holds")
    .description(
      "Shows a log, all logs of a node, or one file of them: frames of a .store, slots of an .index or .timeindex, the fields of a\n" +
        "base record, a sync mark or a manifest; of a cluster's node its node-record and hard-state, too. Nothing is changed. The\n" +
        "server must not run.",
    )
    .argument("<path>", "a log's directory, a node's data directory, or a file of theirs")
    .option("--json", "one JSON object in a line for each log, or for each thing in a file")
    .addHelpText(
      "after",
      `
Examples:
  $ proglog inspect ./data
  $ proglog inspect ./data/manifest --json
  $ proglog inspect ./data/logs/*/00000000000000000001.store | head
`,
    )
    .action(context.action((path: string, options: InspectOptions) => inspect(context, path, options)));
}

type NodeRecord = NonNullable<NodeInspection["record"]>;
type HardState = NonNullable<ReturnType<NonNullable<NodeInspection["hardStates"]>["get"]>>;

interface InspectOptions {
  readonly json?: boolean;
}

async function inspect(context: CommandContext, path: string, options: InspectOptions): Promise<ExitCode> {
  const [{ nodeDisk }, { lockOfflineFile, openOfflineDirectory }] = await Promise.all([
    import("../../base/node-disk.ts"),
    import("../offline-directory.ts"),
  ]);
  if (nodeDisk.size(path) !== undefined) {
    using _lock = lockOfflineFile(path, nodeDisk);
    return await inspectOneFile(context, path, options);
  }
  using directory = openOfflineDirectory(path, { attempt: "inspect", disk: nodeDisk });
  return await inspectDirectory(context, directory, options);
}

async function inspectOneFile({ stdout }: CommandContext, path: string, { json }: InspectOptions): Promise<ExitCode> {
  const [{ inspectFile }, { inspectNodeFile, isNodeFile }] = await Promise.all([
    import("../../log/inspect.ts"),
    import("../../replica/inspect.ts"),
  ]);
  let exitCode: ExitCode = exitCodes.done;
  for await (const item of isNodeFile(path) ? inspectNodeFile(path) : inspectFile(path)) {
    if (isNodeFile(path) && item.item === "damage") exitCode = exitCodes.damaged;
    await stdout.write(json === true ? `${JSON.stringify(item)}\n` : describeItem(item));
  }
  return exitCode;
}

/** A log that can't be shown at all is told of, and the others are shown. */
async function inspectDirectory(
  { stdout }: CommandContext,
  directory: OfflineDirectory,
  { json }: InspectOptions,
): Promise<ExitCode> {
  const [{ inspectLog }, { inspectNode }] = await Promise.all([
    import("../../log/inspect.ts"),
    import("../../replica/inspect.ts"),
  ]);
  let exitCode: ExitCode = exitCodes.done;
  const showFailure = async (name: string, { code, message }: ProglogError): Promise<void> => {
    exitCode = exitCodes.damaged;
    await stdout.write(json === true ? `${JSON.stringify({ name, code, message })}\n` : `${name}\n  ${code}: ${message}\n`);
  };
  if (directory.manifestError !== undefined) await showFailure("manifest", directory.manifestError);
  const node = directory.kind === "node" ? inspectNode(directory.path) : undefined;
  for (const { name, error } of node?.faults ?? []) await showFailure(name, error);
  const identity = node?.record === undefined ? undefined : identityOf(node.record, node);
  if (identity !== undefined)
    await stdout.write(json === true ? `${JSON.stringify({ name: "node-record", ...identity })}\n` : describeNode(identity));
  for (const log of directory.logs) {
    try {
      const inspection = await inspectLog(log.directory);
      const hardState = node?.hardStates?.get(basename(log.directory));
      await stdout.write(
        json === true
          ? `${JSON.stringify({ name: log.name, ...inspection, ...(hardState === undefined ? {} : { hardState }) })}\n`
          : describeLog(log, inspection, hardState),
      );
    } catch (error) {
      if (!isProglogError(error) || !["LOG_CORRUPT", "LOG_NOT_FOUND"].includes(error.code)) throw error;
      await showFailure(log.name, error);
    }
  }
  return exitCode;
}

function describeItem({ position, item, ...fields }: InspectedItem): string {
  return `${String(position).padStart(10)}  ${item}  ${describeFields(fields)}\n`;
}

function describeFields(fields: InspectedFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === "string" && /\s/.test(value) ? JSON.stringify(value) : String(value)}`)
    .join(" ");
}

/** Who a cluster's node is, in short. */
function identityOf(record: NodeRecord, { lost }: NodeInspection): InspectedFields {
  const { storageId, nodeName = null, clusterId = null, bootCounter, catalogIncarnation, promise, replicas } = record;
  const count = (state: string): number => replicas.filter((replica) => replica.state === state).length;
  return {
    nodeName,
    storageId,
    clusterId,
    promised: promise?.clusterId ?? null,
    bootCounter,
    catalogIncarnation,
    replicas: count("created"),
    deleting: count("deleting"),
    lost: lost.join(",") || null,
  };
}

function describeNode({ nodeName, ...fields }: InspectedFields): string {
  return `node ${nodeName ?? "without a name"}\n${Object.entries(fields)
    .map(([name, value]) => `  ${name.padEnd(18)} ${value ?? "-"}\n`)
    .join("")}`;
}

function describeLog({ name, directory }: OfflineLog, inspection: LogInspection, hardState?: HardState): string {
  const { logId, baseRecord, baseRecordState, syncMark, syncMarkState, segments } = inspection;
  const rows = segments.map((segment) => [
    String(segment.baseIndex),
    orDash(segment.baseOffset),
    orDash(segment.nextOffset),
    orDash(segment.entryCount),
    formatBytes(segment.storeBytes),
    segment.createdAt === undefined ? "-" : new Date(segment.createdAt).toISOString(),
    segment.fault ?? (segment === segments.at(-1) ? "active" : segment.isSummed ? "sealed" : "no valid index"),
  ]);
  const table = formatTable(["BASE INDEX", "BASE OFFSET", "NEXT OFFSET", "ENTRIES", "STORE", "CREATED", "STATE"], rows);
  return [
    `${name}\n`,
    `  directory    ${directory}\n`,
    `  log id       ${logId}\n`,
    `  base record  ${baseRecord === undefined ? baseRecordState : describeFields(withoutLogId(baseRecord))}\n`,
    `  sync mark    ${syncMark === undefined ? syncMarkState : describeFields(syncMark)}\n`,
    hardState === undefined ? "" : `  hard state   term=${hardState.term} vote=${hardState.vote?.nodeId ?? "-"}\n`,
    table.replaceAll(/^/gm, "  ").trimEnd(),
    "\n",
  ].join("");
}

function withoutLogId(fields: InspectedFields): InspectedFields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => name !== "logId"));
}

function orDash(value: number | undefined): string {
  return value === undefined ? "-" : String(value);
}
