import type { Command } from "commander";
import { ProglogError } from "../../base/error.ts";
import { parseDuration } from "../../base/quantity.ts";
import type { TokenDescription } from "../../client/index.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { serverOption } from "../option-parsers.ts";
import { askServer } from "../server-connection.ts";
import { formatTable } from "../table.ts";

export function addTokensCommand(program: Command, context: CommandContext): void {
  const tokens = program
    .command("tokens")
    .summary("create, list and revoke the tokens by which callers say who they are")
    .description("Works with tokens. A command shows its own by --token-file or PROGLOG_TOKEN.")
    .addHelpText(
      "after",
      `
Examples:
  $ (umask 077; proglog tokens create root > root.token)
  $ proglog tokens create billing --expires-in 90d
  $ proglog tokens list
  $ proglog tokens revoke 0f3a9c41d2b7
`,
    );
  tokens
    .command("create")
    .description("Makes a token and prints it, this once: the server keeps no more than its hash.")
    .argument("<name>", "the principal that shows it, as rules name it: letters, digits and . _ @ -, at most 64")
    .option("--expires-in <duration>", "until it is none any more (default: never)", parseExpiry)
    .option("--json", "as JSON")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ (umask 077; proglog tokens create billing --expires-in 90d > billing.token)\n")
    .action(context.action((name: string, options: CreateOptions) => createToken(context, name, options)));
  tokens
    .command("list")
    .description("Lists the tokens, without their secrets.")
    .option("--json", "one JSON object in a line")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog tokens list\n")
    .action(context.action((options: ListOptions) => listTokens(context, options)));
  tokens
    .command("revoke")
    .description("Makes a token none, at once, and ends what was opened with it.")
    .argument("<id>", "as `proglog tokens list` shows it")
    .option("--force", "though it is the one that this command shows")
    .addOption(serverOption())
    .addHelpText("after", "\nExample:\n  $ proglog tokens revoke 0f3a9c41d2b7\n")
    .action(context.action((id: string, options: RevokeOptions) => revokeToken(context, id, options)));
}

interface CreateOptions {
  readonly server?: string;
  readonly expiresIn?: number;
  readonly json?: boolean;
}

interface ListOptions {
  readonly server?: string;
  readonly json?: boolean;
}

interface RevokeOptions {
  readonly server?: string;
  readonly force?: boolean;
}

async function createToken(context: CommandContext, name: string, options: CreateOptions): Promise<ExitCode> {
  const { server, expiresIn, json } = options;
  const expiresAt = expiresIn === undefined ? 0 : Math.floor(context.io.clock.now()) + expiresIn;
  const created = await askServer(await context.connect(server), { attempt: `create a token for ${name}` }, (client) =>
    client.access.createToken(name, { expiresAt }),
  );
  if (json !== true) {
    await context.stderr.write(`Token ${created.id} of ${name}, ${describeEnd(created)}. It is shown this once:\n`);
    await context.stdout.write(`${created.token}\n`);
  } else await context.stdout.write(`${JSON.stringify(created)}\n`);
  return exitCodes.done;
}

async function listTokens(context: CommandContext, { server, json }: ListOptions): Promise<ExitCode> {
  const attempt = { attempt: "list the tokens", isRead: true };
  const { tokens } = await askServer(await context.connect(server), attempt, (client) => client.access.describe());
  if (json === true) for (const token of tokens) await context.stdout.write(`${JSON.stringify(token)}\n`);
  else {
    const now = context.io.clock.now();
    const rows = tokens.map((token) => [token.id, token.name, new Date(token.createdAt).toISOString(), endOf(token, now)]);
    await context.stdout.write(formatTable(["ID", "PRINCIPAL", "CREATED", "ENDS"], rows));
  }
  return exitCodes.done;
}

async function revokeToken(context: CommandContext, id: string, { server, force = false }: RevokeOptions): Promise<ExitCode> {
  await askServer(await context.connect(server), { attempt: `revoke token ${id}` }, (client) =>
    client.access.revokeToken(id, { force }),
  );
  await context.stdout.write(`Revoked ${id}.\n`);
  return exitCodes.done;
}

function describeEnd({ expiresAt }: TokenDescription): string {
  return expiresAt === 0 ? "which never ends" : `which ends at ${new Date(expiresAt).toISOString()}`;
}

function endOf({ expiresAt }: TokenDescription, now: number): string {
  if (expiresAt === 0) return "never";
  return `${new Date(expiresAt).toISOString()}${expiresAt <= now ? ", over" : ""}`;
}

/** Throws INVALID_ARGUMENT. */
function parseExpiry(text: string): number {
  const lifeMs = parseDuration(text);
  if (lifeMs !== undefined && lifeMs > 0) return lifeMs;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot use --expires-in ${JSON.stringify(text)}: it is no duration`, {
    hint: "As in 90d or 12h.",
  });
}
