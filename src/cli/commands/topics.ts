import type { Command } from "commander";
import { isProglogError, ProglogError } from "../../base/error.ts";
import {
  formatTopicSetting,
  isTopicSettingName,
  type TopicSettingDefinition,
  topicSettingDefinitions,
  topicSettingNames,
} from "../../base/topic-settings.ts";
import { describeReplicas } from "../cluster-view.ts";
import type { CommandContext } from "../command-context.ts";
import { confirm } from "../confirm.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatNumberOf } from "../figures.ts";
import { askServer } from "../server-connection.ts";
import { type PartitionView, type TopicView, viewTopic } from "../topic-view.ts";
import { collectName, collectSetting, parseInteger, type Settings, serverOption } from "../option-parsers.ts";
import { formatTable } from "../table.ts";

export function addTopicsCommand(program: Command, context: CommandContext): void {
  const topics = program
    .command("topics")
    .summary("list, create, describe, alter and delete topics")
    .description("Works with topics.");
  topics.addHelpText(
    "after",
    `
Examples:
  $ proglog topics list
  $ proglog topics create orders --partitions 4
  $ proglog topics describe orders --json
  $ proglog topics alter orders --set retentionMs=30d
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
    .option(
      "--replication-factor <count>",
      "on how many nodes each partition lies (default: 3, or as many as there are)",
      parseInteger("--replication-factor", 1),
    )
    .option("--set <name=value>", "a setting, as often as needed", collectSetting)
    .addOption(serverOption())
    .addHelpText(
      "after",
      `${settingsHelp()}
Examples:
  $ proglog topics create orders --partitions 4
  $ proglog topics create access --set retentionMs=7d --set segmentBytes=64MiB
  $ proglog topics create audit --replication-factor 5
`,
    )
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
    .command("alter")
    .description("Changes a topic, at once and while it is in use. All of it is done, or nothing.")
    .argument("<name>", "topic")
    .option("--set <name=value>", "a setting, as often as needed", collectSetting)
    .option("--unset <name>", "a setting to be as the server has it by default", collectName)
    .option(
      "--partitions <count>",
      "how many it is to have; never fewer, and keys may then lead to others than before",
      parseInteger("--partitions", 1),
    )
    .option(
      "--replication-factor <count>",
      "on how many nodes of the cluster each partition is to lie; `proglog cluster status` shows how far that is",
      parseInteger("--replication-factor", 1),
    )
    .addOption(serverOption())
    .addHelpText(
      "after",
      `${settingsHelp()}
Examples:
  $ proglog topics alter orders --set retentionMs=30d --unset segmentBytes
  $ proglog topics alter orders --partitions 8
  $ proglog topics alter orders --replication-factor 3
`,
    )
    .action(context.action((name: string, options: AlterOptions) => alterTopic(context, name, options)));
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
  readonly replicationFactor?: number;
  readonly set?: Settings;
}

interface AlterOptions extends CreateOptions {
  readonly unset?: readonly string[];
}

interface DeleteOptions {
  readonly server?: string;
  readonly yes?: boolean;
}

async function listTopics(context: CommandContext, { server, json }: TopicOptions): Promise<ExitCode> {
  const connection = await context.connect(server);
  return askServer(connection, { attempt: "list the topics", isRead: true }, async (client) => {
    const topics = await client.listTopics();
    if (json !== true) {
      const rows = topics.map(({ name, partitionCount, createdAt }) => [
        name,
        String(partitionCount),
        new Date(createdAt).toISOString(),
      ]);
      await context.stdout.write(formatTable(["TOPIC", "PARTITIONS", "CREATED"], rows));
      return exitCodes.done;
    }
    for (const { name } of topics) {
      const topic = await client.describeTopic(name).catch((error: unknown) => {
        // Deleted since it was listed.
        if (isProglogError(error, "TOPIC_NOT_FOUND")) return undefined;
        throw error;
      });
      if (topic !== undefined) await context.stdout.write(`${JSON.stringify(viewTopic(topic))}\n`);
    }
    return exitCodes.done;
  });
}

async function createTopic(
  context: CommandContext,
  name: string,
  { server, partitions, replicationFactor, set = {} }: CreateOptions,
): Promise<ExitCode> {
  const attempt = `create the topic ${name}`;
  const topic = await askServer(await context.connect(server), { attempt }, (client) =>
    client.createTopic(name, {
      settings: textOfSettings(set),
      ...(partitions === undefined ? {} : { partitionCount: partitions }),
      ...(replicationFactor === undefined ? {} : { replicationFactor }),
    }),
  );
  const replicas = topic.replicationFactor > 1 ? ` on ${formatNumberOf(topic.replicationFactor, "node")} each` : "";
  await context.stdout.write(
    `Created ${topic.name} with ${formatNumberOf(topic.partitions.length, "partition")}${replicas}.\n`,
  );
  return exitCodes.done;
}

async function alterTopic(
  context: CommandContext,
  name: string,
  { server, partitions, replicationFactor, set = {}, unset = [] }: AlterOptions,
): Promise<ExitCode> {
  const both = unset.find((setting) => Object.hasOwn(set, setting));
  if (both !== undefined)
    throw new ProglogError("INVALID_ARGUMENT", `Cannot alter ${name}: ${both} is to be set and unset at once`);
  const counts = {
    ...(partitions === undefined ? {} : { partitionCount: partitions }),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
  };
  if (Object.keys({ ...counts, ...set }).length + unset.length === 0) {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot alter ${name}: there is nothing to change`, {
      hint: "Say --set, --unset, --partitions or --replication-factor.",
    });
  }
  const attempt = `change the topic ${name}`;
  const topic = await askServer(await context.connect(server), { attempt }, (client) =>
    client.alterTopic(name, {
      settings: textOfSettings(set),
      unset,
      ...counts,
    }),
  );
  await context.stdout.write(`Altered ${topic.name}.\n${formatSettings(viewTopic(topic))}`);
  return exitCodes.done;
}

async function describeTopic(context: CommandContext, name: string, { server, json }: TopicOptions): Promise<ExitCode> {
  const attempt = { attempt: `describe the topic ${name}`, isRead: true };
  const topic = viewTopic(await askServer(await context.connect(server), attempt, (client) => client.describeTopic(name)));
  await context.stdout.write(json === true ? `${JSON.stringify(topic)}\n` : formatTopic(topic));
  return exitCodes.done;
}

async function deleteTopic(context: CommandContext, name: string, { server, yes }: DeleteOptions): Promise<ExitCode> {
  const connection = await context.connect(server);
  return askServer(connection, { attempt: `delete the topic ${name}` }, async (client) => {
    if (yes !== true) {
      // Asked for first, so that nobody is asked about a topic that isn't there.
      const topic = viewTopic(await client.describeTopic(name));
      const records = topic.partitions.reduce((sum, partition) => sum + (countRecords(partition) ?? 0), 0);
      const question = `Delete the topic ${name} with ${formatNumberOf(records, "record")} on ${connection.address}, for good?`;
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
function countRecords({ highWatermark, logStartOffset }: PartitionView): number | undefined {
  return highWatermark === undefined || logStartOffset === undefined ? undefined : highWatermark - logStartOffset;
}

function placeOf({ leaderId, replicas = [] }: PartitionView): readonly string[] {
  return [leaderId === undefined || leaderId === "" ? "-" : leaderId, describeReplicas(replicas)];
}

function formatTopic(topic: TopicView): string {
  const isClustered = topic.replicationFactor !== undefined;
  const rows = topic.partitions.map((partition) => {
    const { logStartOffset, highWatermark, storeBytes, error } = partition;
    const figures = [logStartOffset, highWatermark, countRecords(partition)].map((figure) =>
      figure === undefined ? "-" : String(figure),
    );
    const state = error === undefined ? partition.state : `${partition.state}: ${error.code}`;
    const stored = storeBytes === undefined ? "-" : formatBytes(storeBytes);
    return [String(partition.partition), ...figures, stored, state, ...(isClustered ? placeOf(partition) : [])];
  });
  const headings = ["PARTITION", "START", "END", "RECORDS", "STORED", "STATE", ...(isClustered ? ["LEADER", "REPLICAS"] : [])];
  const table = formatTable(headings, rows);
  return `${topic.name}, created ${new Date(topic.createdAt).toISOString()}\n${table}\n${formatSettings(topic)}`;
}

/** What holds, and where it comes from. A later server's settings are shown as they are. */
function formatSettings({ settings, effectiveSettings }: TopicView): string {
  const rows = Object.entries({ ...effectiveSettings, ...settings }).map(([name, value]) => {
    const shown = isTopicSettingName(name) ? formatTopicSetting(name, value) : JSON.stringify(value);
    return [name, shown, Object.hasOwn(settings, name) ? "topic" : "default"];
  });
  return formatTable(["SETTING", "VALUE", "SOURCE"], rows);
}

function settingsHelp(): string {
  const rows = topicSettingNames.map((name) => {
    const definition: TopicSettingDefinition = topicSettingDefinitions[name];
    const values = definition.choices ?? [
      valueNames[definition.kind],
      ...(definition.mayBeUnlimited === true ? ["unlimited"] : []),
    ];
    return `  ${name}=<${values.join("|")}>\n      ${definition.help}\n`;
  });
  return `\nSettings (sizes take units, 64MiB; durations too, 7d):\n${rows.join("")}`;
}

const valueNames = { duration: "duration", bytes: "size", choice: "word", flag: "true|false" } as const;

/** As they travel. */
function textOfSettings(settings: Settings): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [
      name,
      isTopicSettingName(name) ? formatTopicSetting(name, value) : String(value),
    ]),
  );
}
