import type { Command } from "commander";
import type { Clock } from "../../base/clock.ts";
import { type ErrorCode, isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { secondMs } from "../../base/units.ts";
import type { ClusterStatus } from "../../client/index.ts";
import { formatCluster } from "../cluster-view.ts";
import type { CommandContext } from "../command-context.ts";
import { confirm } from "../confirm.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatNumberOf } from "../figures.ts";
import { parseInteger, serverOption, topicOption } from "../option-parsers.ts";
import { askServer, type ServerConnection, serverError } from "../server-connection.ts";
import { listenForStop, type StopListener } from "../stop-signal.ts";

export function addClusterCommand(program: Command, context: CommandContext): void {
  const cluster = program
    .command("cluster")
    .summary("show a cluster, move its partitions, take nodes out of it")
    .description("Works with a cluster.")
    .addHelpText(
      "after",
      `
Examples:
  $ proglog cluster status --watch
  $ proglog cluster add node-4
  $ proglog cluster remove node-3
  $ proglog cluster transfer --topic orders --partition 0 --to node-2
  $ proglog cluster move --topic orders --partition 0 --to node-1,node-2,node-4
`,
    );
  cluster
    .command("status")
    .description("Shows the nodes, and the groups that have no leader, too few replicas in sync, or are on the move.")
    .option("--all", "show all groups")
    .option("--watch", "show it again each second, until Ctrl-C")
    .option("--json", "one JSON object in a line")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog cluster status --watch\n")
    .action(context.action((options: StatusOptions) => showStatus(context, options)));
  cluster
    .command("add")
    .description(
      "Waits until a node has joined, and says how to start it: a node joins by itself. One that is being removed stays\n" +
        "from then on.",
    )
    .argument("<node>", "its name")
    .option("--no-wait", "fail when it isn't there")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog cluster add node-4\n")
    .action(context.action((name: string, options: AddOptions) => addNode(context, name, options)));
  cluster
    .command("remove")
    .description(
      "Takes a node out: its replicas move to other nodes, then it leaves. Waits for that; Ctrl-C doesn't take it back.\n" +
        "Asks first, on a terminal.",
    )
    .argument("<node>", "its name")
    .option("--force", "it won't come back: its replicas are given up")
    .option("--no-wait", "return once it is decided")
    .option("--yes", "don't ask")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog cluster remove node-3 --yes\n")
    .action(context.action((name: string, options: RemoveOptions) => removeNode(context, name, options)));
  cluster
    .command("transfer")
    .description("Has another replica lead a partition.")
    .addOption(topicOption())
    .option("--partition <number>", "partition", parseInteger("--partition", 0), 0)
    .option("--to <node>", "node that is to lead (default: the best placed)")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog cluster transfer --topic orders --partition 0 --to node-2\n")
    .action(context.action((options: TransferOptions) => transferLeadership(context, options)));
  cluster
    .command("move")
    .description("Says which nodes are to have a partition's replicas; `proglog cluster status --watch` shows how far it is.")
    .addOption(topicOption())
    .option("--partition <number>", "partition", parseInteger("--partition", 0), 0)
    .requiredOption("--to <node,…>", "nodes, the one that is to lead first", parseNodes)
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog cluster move --topic orders --partition 0 --to node-1,node-2,node-4\n")
    .action(context.action((options: MoveOptions) => movePartition(context, options)));
}

interface StatusOptions {
  readonly server?: string;
  readonly all?: boolean;
  readonly watch?: boolean;
  readonly json?: boolean;
}

interface RemoveOptions {
  readonly server?: string;
  readonly force?: boolean;
  readonly wait: boolean;
  readonly yes?: boolean;
}

interface AddOptions {
  readonly server?: string;
  readonly wait: boolean;
}

interface TransferOptions {
  readonly server?: string;
  readonly topic: string;
  readonly partition: number;
  readonly to?: string;
}

interface MoveOptions {
  readonly server?: string;
  readonly topic: string;
  readonly partition: number;
  readonly to: readonly string[];
}

const statusAttempt = { attempt: "ask how the cluster is", isRead: true };

async function showStatus(context: CommandContext, options: StatusOptions): Promise<ExitCode> {
  const connection = await context.connect(options.server);
  const request = { troubledOnly: options.all !== true };
  if (options.watch === true) return watchStatus(context, { connection, request, options });
  const status = await askServer(connection, statusAttempt, (client) => client.cluster.status(request));
  await context.stdout.write(formatStatus(status, options));
  return exitCodes.done;
}

interface Watching {
  readonly connection: ServerConnection;
  readonly request: { readonly troubledOnly: boolean };
  readonly options: StatusOptions;
}

/** Nodes go and come while it is watched: an error is shown in the status' place. Only the first answer has to come. */
async function watchStatus(context: CommandContext, { connection, request, options }: Watching): Promise<ExitCode> {
  const { io, stdout } = context;
  using stop = listenForStop(io);
  const isTerminal = io.stdout.isTTY === true && options.json !== true;
  try {
    for (let hasAnswered = false; !stop.signal.aborted; await pause(watchIntervalMs, io.clock, stop.signal)) {
      let text: string;
      try {
        text = formatStatus(await connection.client.cluster.status(request), options);
        hasAnswered = true;
      } catch (error) {
        const shown = serverError(error, statusAttempt);
        if (!hasAnswered) throw shown;
        text = options.json === true ? "" : `${messageOf(shown)}\n`;
      }
      await stdout.write(isTerminal ? `${homeAndErase}${text}` : text);
      if (!isTerminal && options.json !== true) await stdout.write("\n");
    }
  } finally {
    await connection.client.close();
  }
  return exitCodes.done;
}

function formatStatus(status: ClusterStatus, { json }: StatusOptions): string {
  return json === true ? `${JSON.stringify(status)}\n` : formatCluster(status);
}

async function addNode(context: CommandContext, name: string, options: AddOptions): Promise<ExitCode> {
  const { io, stdout, stderr } = context;
  const connection = await context.connect(options.server);
  using stop = listenForStop(io);
  return await askServer(connection, { attempt: `add node ${name}` }, async (client) => {
    for (let isTold = false; ; await pause(watchIntervalMs, io.clock, stop.signal)) {
      if (stop.exitCode !== undefined) return stop.exitCode;
      try {
        const { wasDraining } = await client.cluster.addNode(name);
        await stdout.write(wasDraining ? `${name} stays.\n` : `${name} is in the cluster.\n`);
        return exitCodes.done;
      } catch (error) {
        const isAwaited = options.wait && isProglogError(error, "NODE_NOT_FOUND");
        if (!isAwaited && !(isTold && isProglogError(error) && passingCodes.includes(error.code))) throw error;
        if (isAwaited && !isTold) await stderr.write(`${name} hasn't joined yet. ${error.hint ?? ""}\n`);
        isTold = true;
      }
    }
  });
}

async function removeNode(context: CommandContext, name: string, options: RemoveOptions): Promise<ExitCode> {
  const { io, stdout, stderr } = context;
  const attempt = `remove node ${name}`;
  const connection = await context.connect(options.server);
  using stop = listenForStop(io);
  // Awaited here: else nobody would listen for Ctrl-C any more.
  return await askServer(connection, { attempt }, async (client) => {
    if (options.yes !== true) {
      // Asked for first, so that nobody is asked about a node that isn't there.
      const { nodes } = await client.cluster.status({ troubledOnly: true });
      const node = nodes.find(({ id }) => id === name);
      if (node === undefined) throw nodeNotFound(name, nodes.map(({ id }) => id).join(", "));
      const what = options.force === true ? "give up" : "move";
      const question = `Remove node ${name} (${node.state}), and ${what} its ${formatNumberOf(node.replicaCount, "replica")}?`;
      if (!(await confirm(io, question, attempt))) {
        await stderr.write("Nothing was removed.\n");
        return exitCodes.failed;
      }
    }
    const { isRemoved } = await client.cluster.removeNode(name, { force: options.force === true });
    if (!isRemoved && options.wait) {
      if (await waitUntilRemoved(context, { connection, name, stop, isDrained: options.force !== true })) {
        await stderr.write(`${name} stays: somebody had it added again meanwhile.\n`);
        return exitCodes.failed;
      }
    } else if (!isRemoved) {
      await stdout.write(`${name} is being removed: proglog cluster status shows how far it is.\n`);
      return exitCodes.done;
    }
    if (stop.exitCode !== undefined) {
      await stderr.write(`${name} is still being removed: proglog cluster status shows how far it is.\n`);
      return stop.exitCode;
    }
    await stdout.write(`Removed ${name}.\n`);
    return exitCodes.done;
  });
}

interface Removal {
  readonly connection: ServerConnection;
  readonly name: string;
  readonly stop: StopListener;
  /** It is being drained; else it is given up. */
  readonly isDrained: boolean;
}

/**
 * Says how many replicas are left whenever that is another number. An answer that doesn't come is asked for again. True when the node is to stay
 * after all: seen several times, since a node that lags behind may not know of its drain yet.
 */
async function waitUntilRemoved(
  { io, stderr }: CommandContext,
  { connection, name, stop, isDrained }: Removal,
): Promise<boolean> {
  let stayingCount = 0;
  for (let shown = -1; !stop.signal.aborted; await pause(watchIntervalMs, io.clock, stop.signal)) {
    try {
      const { nodes } = await connection.client.cluster.status({ troubledOnly: true });
      const node = nodes.find(({ id }) => id === name);
      if (node === undefined) return false;
      stayingCount = isDrained && node.state !== "draining" ? stayingCount + 1 : 0;
      if (stayingCount >= stayingLooksCount) return true;
      if (node.replicaCount !== shown) await stderr.write(`${formatNumberOf(node.replicaCount, "replica")} left on ${name}\n`);
      shown = node.replicaCount;
    } catch (error) {
      if (!isProglogError(error) || !passingCodes.includes(error.code)) throw error;
    }
  }
  return false;
}

async function transferLeadership(context: CommandContext, options: TransferOptions): Promise<ExitCode> {
  const { topic, partition, to } = options;
  const attempt = `have another node lead ${topic}/${partition}`;
  const { leaderId } = await askServer(await context.connect(options.server), { attempt }, (client) =>
    client.cluster.transferLeadership({ topic, partition, ...(to === undefined ? {} : { to }) }),
  );
  await context.stdout.write(`${leaderId} leads ${topic}/${partition}.\n`);
  return exitCodes.done;
}

async function movePartition(context: CommandContext, options: MoveOptions): Promise<ExitCode> {
  const { topic, partition, to } = options;
  await askServer(await context.connect(options.server), { attempt: `move ${topic}/${partition}` }, (client) =>
    client.cluster.movePartition({ topic, partition, replicas: to }),
  );
  await context.stdout.write(`${topic}/${partition} moves to ${to.join(", ")}: proglog cluster status shows how far it is.\n`);
  return exitCodes.done;
}

/** Reads `--to a,b,c`. Throws INVALID_ARGUMENT. */
function parseNodes(text: string): readonly string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.every((name) => name !== "") && new Set(names).size === names.length) return names;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot use --to ${JSON.stringify(text)}: it is no list of nodes, each named once, with commas between them`,
  );
}

function nodeNotFound(name: string, known: string): ProglogError {
  return new ProglogError("NODE_NOT_FOUND", `Cannot remove node ${name}: there are ${known}`);
}

/** Resolves early when the signal aborts. */
function pause(delayMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimer(delayMs, end);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
  });
}

/** What a node says that is going itself, or doesn't say. */
const passingCodes: readonly ErrorCode[] = ["UNAVAILABLE", "SHUTTING_DOWN", "TIMEOUT", "NOT_LEADER", "LEADERSHIP_LOST"];
const watchIntervalMs = secondMs;
const stayingLooksCount = 3;
const homeAndErase = "\u001b[H\u001b[J";
