import type { Command } from "commander";
import { ProglogError } from "../../base/error.ts";
import type { Client, Grant, PolicyDescription } from "../../client/index.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatNumberOf } from "../figures.ts";
import { serverOption } from "../option-parsers.ts";
import { askServer } from "../server-connection.ts";
import { formatTable } from "../table.ts";

export function addAclCommand(program: Command, context: CommandContext): void {
  const acl = program
    .command("acl")
    .summary("who may do what: add, remove, list and test rules")
    .description("Works with the rules of access. From the first one on, what no rule allows is denied.")
    .addHelpText(
      "after",
      `
A resource is a topic, a prefix of topics (orders-*), or * for all of them and for what isn't a topic's.
An action is produce, consume, describe, admin or cluster.

Examples:
  $ proglog acl add root '*' admin
  $ proglog acl add billing 'invoices-*' produce consume
  $ proglog acl add alice --role billing
  $ proglog acl test alice invoices-eu produce
  $ proglog acl list
`,
    );
  for (const { name, description, run } of changes) {
    acl
      .command(name)
      .description(description)
      .argument("<principal>", "whom it is about, or a role")
      .argument("[resource]", "a topic, a prefix of topics as in orders-*, or *")
      .argument("[actions...]", "produce, consume, describe, admin, cluster")
      .option("--role <name>", "a role that the principal has, in the place of resource and actions")
      .option("--force", "though nobody could change the rules any more")
      .addOption(serverOption())
      .addHelpText(
        "after",
        `\nExamples:\n  $ proglog acl ${name} alice orders produce\n  $ proglog acl ${name} alice --role writers\n`,
      )
      .action(
        context.action((principal: string, resource: string | undefined, actions: readonly string[], options: ChangeOptions) =>
          changeRules(context, { name, run, grants: readGrants({ principal, resource, actions, ...options }), options }),
        ),
      );
  }
  acl
    .command("list")
    .description("Lists the rules, and who has which role.")
    .option("--json", "as JSON, with the tokens")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog acl list\n")
    .action(context.action((options: ListOptions) => listRules(context, options)));
  acl
    .command("test")
    .description("Says what would be decided: permitted, with exit code 0, or denied, with 1.")
    .argument("<principal>", "whom it is about")
    .argument("<resource>", "a topic, or *")
    .argument("<action>", "produce, consume, describe, admin or cluster")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog acl test alice orders produce\n")
    .action(
      context.action((subject: string, resource: string, action: string, options: ListOptions) =>
        testRule(context, { subject, resource, action }, options),
      ),
    );
}

interface ListOptions {
  readonly server?: string;
  readonly json?: boolean;
}

interface ChangeOptions {
  readonly server?: string;
  readonly role?: string;
  readonly force?: boolean;
}

interface Change {
  readonly name: "add" | "remove";
  readonly description: string;
  readonly run: (client: Client, grants: readonly Grant[], force: boolean) => Promise<PolicyDescription>;
}

const changes: readonly Change[] = [
  {
    name: "add",
    description: "Allows something, or gives somebody a role.",
    run: (client, add, force) => client.access.change({ add, force }),
  },
  {
    name: "remove",
    description: "Takes a rule or a role away. What was opened by it and is still open ends.",
    run: (client, remove, force) => client.access.change({ remove, force }),
  },
];

interface GrantWords extends ChangeOptions {
  readonly principal: string;
  readonly resource: string | undefined;
  readonly actions: readonly string[];
}

function readGrants({ principal, resource, actions, role }: GrantWords): readonly Grant[] {
  if (role === undefined && resource !== undefined && actions.length > 0)
    return actions.map((action) => ({ subject: principal, resource, action }));
  if (role !== undefined && resource === undefined) return [{ subject: principal, role }];
  throw new ProglogError("INVALID_ARGUMENT", "Cannot change the rules: it takes a resource and an action, or a role", {
    hint: "As in proglog acl add alice orders produce, or proglog acl add alice --role writers.",
  });
}

async function changeRules(
  context: CommandContext,
  {
    name,
    run,
    grants,
    options,
  }: Omit<Change, "description"> & { readonly grants: readonly Grant[]; readonly options: ChangeOptions },
): Promise<ExitCode> {
  const { server, force = false } = options;
  const { grants: all, revision } = await askServer(await context.connect(server), { attempt: "change the rules" }, (client) =>
    run(client, grants, force),
  );
  const rules = all.filter(({ role }) => role === "").length;
  const done = name === "add" ? "Added" : "Removed";
  await context.stdout.write(`${done}: ${formatNumberOf(rules, "rule")} now, revision ${revision}.\n`);
  return exitCodes.done;
}

async function listRules(context: CommandContext, { server, json }: ListOptions): Promise<ExitCode> {
  const attempt = { attempt: "list the rules", isRead: true };
  const policy = await askServer(await context.connect(server), attempt, (client) => client.access.describe());
  await context.stdout.write(json === true ? `${JSON.stringify(policy)}\n` : formatPolicy(policy));
  return exitCodes.done;
}

function formatPolicy({ isOn, grants, revision }: PolicyDescription): string {
  if (!isOn) return `There is no rule yet: nobody is asked who they are.\n`;
  const rules = grants.filter(({ role }) => role === "").map(({ subject, resource, action }) => [subject, resource, action]);
  const roles = grants.filter(({ role }) => role !== "").map(({ subject, role }) => [subject, role]);
  return [
    `Revision ${revision}: what no rule allows is denied.\n\n`,
    formatTable(["PRINCIPAL", "RESOURCE", "ACTION"], rules),
    ...(roles.length === 0 ? [] : ["\n", formatTable(["PRINCIPAL", "ROLE"], roles)]),
  ].join("");
}

async function testRule(
  context: CommandContext,
  question: { readonly subject: string; readonly resource: string; readonly action: string },
  { server }: ListOptions,
): Promise<ExitCode> {
  const attempt = { attempt: "test the rules", isRead: true };
  const { isOn, isPermitted } = await askServer(await context.connect(server), attempt, (client) =>
    client.access.test(question),
  );
  if (!isOn) await context.stderr.write("There is no rule yet: nobody is asked who they are.\n");
  await context.stdout.write(isPermitted ? "permitted\n" : "denied\n");
  return isPermitted ? exitCodes.done : exitCodes.failed;
}
