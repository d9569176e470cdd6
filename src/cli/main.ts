import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { isBearerToken, readTokenFile } from "../base/bearer-token.ts";
import { ProglogError } from "../base/error.ts";
import { nodeDisk } from "../base/node-disk.ts";
import type { CommandContext } from "./command-context.ts";
import { type CommandIo, processIo } from "./command-io.ts";
import { addAclCommand } from "./commands/acl.ts";
import { addBackupCommand, addRestoreCommand } from "./commands/backup.ts";
import { addBenchCommand } from "./commands/bench.ts";
import { addCertsCommand } from "./commands/certs.ts";
import { addClusterCommand } from "./commands/cluster.ts";
import { addConfigCommand } from "./commands/config.ts";
import { addConsumeCommand } from "./commands/consume.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addGetServersCommand } from "./commands/getservers.ts";
import { addHealthCommand } from "./commands/health.ts";
import { addInspectCommand } from "./commands/inspect.ts";
import { addLogLevelCommand } from "./commands/log-level.ts";
import { addProduceCommand } from "./commands/produce.ts";
import { addRepairCommand } from "./commands/repair.ts";
import { addServeCommand } from "./commands/serve.ts";
import { addTokensCommand } from "./commands/tokens.ts";
import { addTopicsCommand } from "./commands/topics.ts";
import { addVerifyCommand } from "./commands/verify.ts";
import { errorCauses, errorLine } from "./error-line.ts";
import { type ExitCode, exitCodeOf, exitCodes, exitMeanings, type ExitName } from "./exit-codes.ts";
import { Output, OutputClosedError } from "./output.ts";
import { addTlsOptions, checkTlsOptions, chooseServer, formatAddresses } from "./server-tls.ts";

/**
 * The `proglog` command. `argv` are the arguments alone, without node and script. Resolves with the exit code when everything is
 * said and written; it never throws, and never ends the process but at a second Ctrl-C.
 */
export async function main(argv: readonly string[], io: CommandIo = processIo()): Promise<number> {
  const stdout = new Output(io.stdout);
  const stderr = new Output(io.stderr, { isOptional: true });
  let exitCode: ExitCode = exitCodes.done;
  const context: CommandContext = {
    io,
    stdout,
    stderr,
    version: packageVersion(),
    action:
      (run) =>
      async (...parameters) => {
        exitCode = await run(...parameters);
      },
    findToken: () => findToken(program.opts()["tokenFile"], io),
    chooseServer: (server) => chooseServer(server, program, io),
    async connect(server) {
      const choice = chooseServer(server, program, io);
      const addresses = formatAddresses(choice);
      // Loaded here: what works on files only has no use for it.
      const { connect } = await import("../client/index.ts");
      const token = context.findToken();
      const client = connect(addresses, {
        ...(token === undefined ? {} : { token }),
        ...(choice.tls === undefined ? {} : { tls: choice.tls }),
      });
      return { address: addresses.join(","), client };
    },
  };

  const program: Command = await buildProgram(argv, context);
  try {
    await program.parseAsync(argv, { from: "user" });
    await stdout.finish();
  } catch (error) {
    exitCode = await report(error, { argv, program, stderr });
  }
  await stderr.finish();
  return exitCode;
}

async function buildProgram(argv: readonly string[], context: CommandContext): Promise<Command> {
  const { io } = context;
  const program = new Command("proglog")
    .description("A durable commit log: a server, and what works with it and its files.")
    .version(context.version, "--version", "print the version")
    .option("--verbose", "print an error's causes and stack")
    .option(
      "--token-file <path>",
      "file of the token to show to the server (env: PROGLOG_TOKEN_FILE, or PROGLOG_TOKEN: the token)",
    )
    .helpOption("-h, --help", "show help")
    .addHelpText("after", () => exitCodesHelp())
    // What goes wrong is said by `report`, in one line.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => {},
      getOutHelpWidth: () => io.stdout.columns ?? helpWidth,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .configureHelp({ showGlobalOptions: true })
    .hook("preAction", (_, action) => {
      checkTokenFile(program, action);
      checkTlsOptions(program, action);
    });
  addTlsOptions(program);
  await addServeCommand(program, context, argv);
  addProduceCommand(program, context);
  addConsumeCommand(program, context);
  addTopicsCommand(program, context);
  addGetServersCommand(program, context);
  addHealthCommand(program, context);
  addClusterCommand(program, context);
  addAclCommand(program, context);
  addTokensCommand(program, context);
  addBenchCommand(program, context);
  addCertsCommand(program, context);
  addLogLevelCommand(program, context);
  addInspectCommand(program, context);
  addVerifyCommand(program, context);
  addRepairCommand(program, context);
  addBackupCommand(program, context);
  addRestoreCommand(program, context);
  await addConfigCommand(program, context, argv);
  await addDoctorCommand(program, context, argv);
  return program;
}

/** It must not seem to do something where nobody is shown it. Throws INVALID_ARGUMENT. */
function checkTokenFile(program: Command, action: Command): void {
  const asksServer = action.options.some(({ long }) => long === "--server" || long === "--addr");
  if (asksServer || program.opts()["tokenFile"] === undefined) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot run proglog ${action.name()}: --token-file is for commands that ask a server`,
  );
}

/**
 * Whom the command speaks for. A token is never an argument: whoever is on the machine sees those. Throws INVALID_CONFIG for one that can't be
 * had, and doesn't tell what is in its place.
 */
function findToken(tokenFile: unknown, { env }: CommandIo): string | undefined {
  if (typeof tokenFile === "string") return readTokenFile(nodeDisk, tokenFile, "--token-file");
  const { PROGLOG_TOKEN: token = "", PROGLOG_TOKEN_FILE: path = "" } = env;
  if (token === "") return path === "" ? undefined : readTokenFile(nodeDisk, path, "PROGLOG_TOKEN_FILE");
  if (isBearerToken(token)) return token;
  throw new ProglogError("INVALID_CONFIG", "Cannot use PROGLOG_TOKEN: it is no token", {
    hint: 'It is one word of visible characters, without "Bearer" before it.',
  });
}

/** Says what was thrown and returns its exit code. */
async function report(
  thrown: unknown,
  { argv, program, stderr }: { readonly argv: readonly string[]; readonly program: Command; readonly stderr: Output },
): Promise<ExitCode> {
  if (thrown instanceof OutputClosedError) return exitCodes.done;
  const error = thrown instanceof CommanderError ? usageError(thrown, argv, program) : thrown;
  if (error === undefined) return thrown instanceof CommanderError && thrown.exitCode !== 0 ? exitCodes.usage : exitCodes.done;
  await stderr.write(errorLine(error));
  if (program.opts()["verbose"] === true) await stderr.write(errorCauses(error));
  return exitCodeOf(error);
}

/** Commander's complaint in our form; undefined when it only ended after help or version. */
function usageError(error: CommanderError, argv: readonly string[], program: Command): ProglogError | undefined {
  if (["commander.help", "commander.helpDisplayed", "commander.version"].includes(error.code)) return undefined;
  const [reason = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const command = program.commands.find((one) => one.name() === argv[0]);
  const attempt = command === undefined ? "proglog" : `proglog ${command.name()}`;
  return new ProglogError("INVALID_ARGUMENT", `Cannot run ${attempt}: ${reason}`, {
    hint: suggestion?.replace(/^\(|\)$/g, "") ?? `See ${attempt} --help.`,
    cause: error,
  });
}

/** Of help that goes to no terminal. */
const helpWidth = 80;

function exitCodesHelp(): string {
  const names = Object.keys(exitCodes) as ExitName[];
  const lines = names.map((name) => `  ${String(exitCodes[name]).padEnd(5)} ${exitMeanings[name]}`);
  return `
Examples:
  $ proglog serve --data-dir ./data
  $ proglog produce 'hello, world'
  $ proglog consume --follow
  $ proglog verify ./data

Exit codes:
${lines.join("\n")}
`;
}

function packageVersion(): string {
  // By require, and not by import: a JSON import would drag the file into the build's output.
  const manifest = createRequire(import.meta.url)("../../package.json") as { readonly version: string };
  return manifest.version;
}
