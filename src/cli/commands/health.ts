import type { Command } from "commander";
import { ProglogError } from "../../base/error.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { serverDefault } from "../server-address.ts";
import { askServer } from "../server-connection.ts";

/**
 * For health checks of containers and supervisors that run a command: an image needs no curl then, and where clients show certificates
 * this one does, which most probes over HTTP can't.
 */
export function addHealthCommand(program: Command, context: CommandContext): void {
  program
    .command("health")
    .summary("say by the exit code whether a node serves")
    .description("Asks one node, once. Exits with 0 when it serves, and with 3 when it doesn't, or doesn't answer.")
    .option("--server <address>", `node to ask, one (default: ${serverDefault}, env: PROGLOG_SERVER)`)
    .option("--live", "also well when it answers, and doesn't serve yet: it opens its logs, or waits for its cluster")
    .addHelpText("after", "\nExample:\n  $ proglog health --server 127.0.0.1:8000\n")
    .action(context.action((options: HealthOptions) => checkHealth(context, options)));
}

interface HealthOptions {
  readonly server?: string;
  readonly live?: boolean;
}

async function checkHealth(context: CommandContext, { server, live }: HealthOptions): Promise<ExitCode> {
  const connection = await context.connect(server);
  const { address } = connection;
  const attempt = { attempt: "ask whether the node serves", isRead: true };
  const isServing = await askServer(connection, attempt, async (client) => {
    // Whichever of several answers would stand for one that doesn't.
    if (address.includes(",")) throw new ProglogError("INVALID_ARGUMENT", `Cannot ask ${address}: health is of one node`);
    return client.isServing();
  });
  if (!isServing && live !== true) {
    const hint = "It opens its logs, waits for its cluster, or stops: see its diagnostics, or /v1/status.";
    throw new ProglogError("UNAVAILABLE", `Cannot be served by ${address}: it answers, and doesn't serve`, { hint });
  }
  await context.stdout.write(isServing ? "serving\n" : "not serving\n");
  return exitCodes.done;
}
