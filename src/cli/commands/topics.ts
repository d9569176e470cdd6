import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { confirm } from "../confirm.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatNumberOf } from "../figures.ts";
import type { LogClient, PartitionDescription, TopicDescription } from "../log-client.ts";
import { parseInteger, serverOption } from "../option-parsers.ts";
import { formatTable } from "../table.ts";

export function addTopicsCommand(program: Command, context: CommandContext): void {
  const topics = program
    .command("topics")
    .summary("list, create, describe and delete topics")
    .description("Works with topics.");
  topics.addHelpText(
    "after",
    `
Examples:
  $ proglog topics list
  $ proglog topics create orders --partitions 4
  $ proglog topics describe orders --json
  $ proglog topics delete orders --yes
`,
  );
  topics
    .command("list")
    .description("Lists the topics.")
    .option("--json", "one JSON object in a line")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog topics list --json\n")
    .action(context.action((options: TopicOptions) => listTopics(context, options)));
  topics
    .command("create")
    .description("Creates a topic.")
    .argument("<name>", "letters, digits, '.', '_' and '-', at most 249")
    .option("--partitions <count>", "partitions (default: the server's)", parseInteger("--partitions", 1))
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog topics create orders --partitions 4\n")
    .action(context.action((name: string, options: CreateOptions) => createTopic(context, name, options)));
  topics
    .command("describe")
    .description("Shows a topic and its partitions.")
    .argument("<name>", "topic")
    .option("--json", "as JSON")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog topics describe orders\n")
    .action(context.action((name: string, options: TopicOptions) => describeTopic(context, name, options)));
  topics
    .command("delete")
    .description("Deletes a topic and every record in it. There is no way back. Asks first, on a terminal.")
    .argument("<name>", "topic")
    .option("--yes", "don't ask")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog topics delete orders --yes\n")
    .action(context.action((name: string, options: DeleteOptions) => deleteTopic(context, name, options)));
}

interface TopicOptions {
  readonly server?: string;
  readonly json?: boolean;
}

interface CreateOptions {
  readonly server?: string;
  readonly partitions?: number;
}

interface DeleteOptions {
  readonly server?: string;
  readonly yes?: boolean;
}

async function listTopics(context: CommandContext, { server, json }: TopicOptions): Promise<ExitCode> {
  const topics = await withClient(context, server, (client) => client.listTopics());
  if (json === true) {
    for (const topic of topics) await context.stdout.write(`${JSON.stringify(topic)}\n`);
    return exitCodes.done;
  }
  const rows = topics.map((topic) => [topic.name, String(topic.partitions.length), new Date(topic.createdAt).toISOString()]);
  await context.stdout.write(formatTable(["TOPIC", "PARTITIONS", "CREATED"], rows));
  return exitCodes.done;
}

async function createTopic(context: CommandContext, name: string, { server, partitions }: CreateOptions): Promise<ExitCode> {
  const topic = await withClient(context, server, (client) => client.createTopic({ topic: name, partitions }));
  await context.stdout.write(`Created ${topic.name} with ${formatNumberOf(topic.partitions.length, "partition")}.\n`);
  return exitCodes.done;
}

async function describeTopic(context: CommandContext, name: string, { server, json }: TopicOptions): Promise<ExitCode> {
  const topic = await withClient(context, server, (client) => client.describeTopic(name));
  await context.stdout.write(json === true ? `${JSON.stringify(topic)}\n` : formatTopic(topic));
  return exitCodes.done;
}

async function deleteTopic(context: CommandContext, name: string, { server, yes }: DeleteOptions): Promise<ExitCode> {
  return withClient(context, server, async (client) => {
    if (yes !== true) {
      // Asked for first, so that nobody is asked about a topic that isn't there.
      const topic = await client.describeTopic(name);
      const records = topic.partitions.reduce((sum, partition) => sum + (countRecords(partition) ?? 0), 0);
      const question = `Delete the topic ${name} with ${formatNumberOf(records, "record")} on ${client.address}, for good?`;
      if (!(await confirm(context.io, question, `delete the topic ${name}`))) {
        await context.stderr.write("Nothing was deleted.\n");
        return exitCodes.failed;
      }
    }
    await client.deleteTopic(name);
    await context.stdout.write(`Deleted ${name}.\n`);
    return exitCodes.done;
  });
}

/** Undefined where the log isn't open. */
function countRecords({ highWatermark, logStartOffset }: PartitionDescription): number | undefined {
  return highWatermark === undefined || logStartOffset === undefined ? undefined : highWatermark - logStartOffset;
}

function formatTopic(topic: TopicDescription): string {
  const rows = topic.partitions.map((partition) => {
    const { logStartOffset, highWatermark, storeBytes, error } = partition;
    const figures = [logStartOffset, highWatermark, countRecords(partition)].map((figure) =>
      figure === undefined ? "-" : String(figure),
    );
    const state = error === undefined ? partition.state : `${partition.state}: ${error.code}`;
    return [String(partition.partition), ...figures, storeBytes === undefined ? "-" : formatBytes(storeBytes), state];
  });
  const table = formatTable(["PARTITION", "START", "END", "RECORDS", "STORED", "STATE"], rows);
  return `${topic.name}, created ${new Date(topic.createdAt).toISOString()}\n${table}`;
}

async function withClient<Result>(
  context: CommandContext,
  server: string | undefined,
  run: (client: LogClient) => Promise<Result>,
): Promise<Result> {
  const client = await context.connect(server);
  try {
    return await run(client);
  } finally {
    client.close();
  }
}
