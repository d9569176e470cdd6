import { join } from "node:path";
import type { Command } from "commander";
import { authorityDays, certificateDays } from "../../base/security-limits.ts";
import type { CertificateDirectory, WrittenFile } from "../certs/certificate-directory.ts";
import type { CommandContext } from "../command-context.ts";
import { ProglogError } from "../../base/error.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { collectName, parseInteger } from "../option-parsers.ts";

export function addCertsCommand(program: Command, context: CommandContext): void {
  const certs = program
    .command("certs")
    .summary("make certificates, for trying TLS and for small clusters")
    .description("Makes two authorities, one for clients and one for nodes among themselves, and certificates by them.")
    .addHelpText(
      "after",
      `
Examples:
  $ proglog certs init
  $ proglog certs node n1 --host node-1.example --host 10.0.0.1
  $ proglog certs client root
  $ proglog certs revoke root.pem
`,
    );
  certs
    .command("init")
    .description(
      "Makes the authorities, and their empty lists of revoked certificates: ten years. Keep the keys off the nodes.",
    )
    .option(...dirOption)
    .option(...forceOption)
    .addHelpText("after", "\nExample:\n  $ proglog certs init --dir ./certs\n")
    .action(context.action((options: CertsOptions) => init(context, options)));
  certs
    .command("node")
    .description("Makes what a node shows to clients, at the hosts that they dial, and what it shows to other nodes.")
    .argument("<name>", "the node's name")
    .option("--host <name or address>", "where clients reach it; once for each", collectName)
    .option(...daysOption)
    .option(...dirOption)
    .option(...forceOption)
    .addHelpText("after", "\nExample:\n  $ proglog certs node n1 --host node-1.example --host 10.0.0.1\n")
    .action(context.action((name: string, options: NodeOptions) => makeNode(context, name, options)));
  certs
    .command("client")
    .description("Makes what a client shows. Rules of access call it by its name, or by its URI where it has one.")
    .argument("<name>", "its name")
    .option("--uri <uri>", "what it is called, in the place of its name")
    .option(...daysOption)
    .option(...dirOption)
    .option(...forceOption)
    .addHelpText("after", "\nExample:\n  $ proglog certs client root\n")
    .action(context.action((name: string, options: ClientOptions) => makeClient(context, name, options)));
  certs
    .command("revoke")
    .description(
      "Puts certificates on their authority's list of revoked ones. A node with that list ends their connections\n" +
        "within five seconds.",
    )
    .argument("<file...>", "certificates, in the directory or elsewhere")
    .option(...dirOption)
    .addHelpText("after", "\nExample:\n  $ proglog certs revoke root.pem\n")
    .action(context.action((files: readonly string[], options: CertsOptions) => revoke(context, files, options)));
}

interface CertsOptions {
  readonly dir: string;
  readonly force?: boolean;
}

interface NodeOptions extends CertsOptions {
  readonly host?: readonly string[];
  readonly days: number;
}

interface ClientOptions extends CertsOptions {
  readonly uri?: string;
  readonly days: number;
}

const dirOption = ["--dir <directory>", "where the certificates are", "certs"] as const;
const forceOption = ["--force", "write over what is there"] as const;
const daysOption = ["--days <number>", "how long it is valid", parseDays, certificateDays] as const;

function parseDays(text: string): number {
  const days = parseInteger("--days", 1)(text);
  if (days <= authorityDays) return days;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot use --days ${days}: an authority is valid for ${authorityDays}`);
}

async function init(context: CommandContext, options: CertsOptions): Promise<ExitCode> {
  const written = (await open(context, options)).init();
  return tell(context, written, `Keep ca-key.pem and peer-ca-key.pem off the nodes: whoever has them makes any certificate.\n`);
}

async function makeNode(context: CommandContext, name: string, options: NodeOptions): Promise<ExitCode> {
  const { dir, host: hosts = [], days } = options;
  if (hosts.length === 0)
    throw new ProglogError("INVALID_ARGUMENT", `Cannot make certificates of ${name}: nothing says where clients reach it`, {
      hint: "Say --host, once for each name and address that they may dial.",
    });
  const written = (await open(context, options)).makeNode(name, { hosts, days });
  const flags = (["server", "peer"] as const).flatMap((plane) => {
    const [pair, prefix] = plane === "server" ? [name, ""] : [`${name}-peer`, "peer-"];
    return [
      `--${plane}-tls-cert-file ${join(dir, `${pair}.pem`)} --${plane}-tls-key-file ${join(dir, `${pair}-key.pem`)}`,
      `--${plane}-tls-ca-file ${join(dir, `${prefix}ca.pem`)} --${plane}-tls-crl-file ${join(dir, `${prefix}crl.pem`)}`,
    ];
  });
  return tell(context, written, `Use them by\n  proglog serve --node-name ${name} \\\n    ${flags.join(" \\\n    ")}\n`);
}

async function makeClient(context: CommandContext, name: string, options: ClientOptions): Promise<ExitCode> {
  const { dir, uri, days } = options;
  const written = (await open(context, options)).makeClient(name, { days, ...(uri === undefined ? {} : { uri }) });
  const [ca, cert, key] = ["ca.pem", `${name}.pem`, `${name}-key.pem`].map((file) => join(dir, file));
  return tell(
    context,
    written,
    `Use them by\n  proglog topics list --server https://… \\\n    --tls-ca-file ${ca} --tls-cert-file ${cert} --tls-key-file ${key}\n`,
  );
}

async function revoke(context: CommandContext, files: readonly string[], options: CertsOptions): Promise<ExitCode> {
  const written = (await open(context, options)).revoke(files);
  return tell(
    context,
    written,
    "Nodes look at theirs every 2 s: put it in the place of what --server-tls-crl-file and --peer-tls-crl-file name.\n",
  );
}

/** Loaded here, as it is for this command alone. */
async function open({ io }: CommandContext, { dir, force = false }: CertsOptions): Promise<CertificateDirectory> {
  const { CertificateDirectory } = await import("../certs/certificate-directory.ts");
  return new CertificateDirectory(dir, { nowMs: io.clock.now(), isReplacing: force });
}

async function tell({ stdout }: CommandContext, written: readonly WrittenFile[], advice: string): Promise<ExitCode> {
  for (const { path, isSecret } of written) await stdout.write(`Wrote ${path}${isSecret ? ", a key" : ""}\n`);
  await stdout.write(`\n${advice}`);
  return exitCodes.done;
}
