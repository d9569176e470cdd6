import type { Command } from "commander";
import type { ServerDescription } from "../../client/index.ts";
import type { CommandContext } from "../command-context.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { serverDefault } from "../server-address.ts";
import { askServer } from "../server-connection.ts";

/** The book's command of the same name: its flag, and its lines. */
export function addGetServersCommand(program: Command, context: CommandContext): void {
  program
    .command("getservers")
    .summary("list the nodes, as one of them sees them")
    .description("Asks a node for all that it knows, itself included: id, address, and whether it leads.")
    .option("--addr <host:port>", `node to ask (default: ${serverDefault}, env: PROGLOG_SERVER)`)
    .option("--json", "one JSON object in a line, with each node's state too")
    .addHelpText("after", "\nExample:\n  $ proglog getservers --addr 127.0.0.1:8000\n")
    .action(context.action((options: GetServersOptions) => getServers(context, options)));
}

interface GetServersOptions {
  readonly addr?: string;
  readonly json?: boolean;
}

async function getServers(context: CommandContext, { addr, json }: GetServersOptions): Promise<ExitCode> {
  const attempt = { attempt: "list the servers", isRead: true };
  const servers = await askServer(await context.connect(addr), attempt, (client) => client.getServers());
  const lines = json === true ? servers.map((server) => `${JSON.stringify(server)}\n`) : bookLines(servers);
  for (const line of lines) await context.stdout.write(line);
  return exitCodes.done;
}

/** As Go prints the messages: what is empty or false isn't there. */
function bookLines(servers: readonly ServerDescription[]): readonly string[] {
  return [
    "servers:\n",
    ...servers.map(({ id, rpcAddr, isLeader }) => {
      const leader = isLeader ? " is_leader:true" : "";
      return `\t- id:${JSON.stringify(id)} rpc_addr:${JSON.stringify(rpcAddr)}${leader}\n`;
    }),
  ];
}
