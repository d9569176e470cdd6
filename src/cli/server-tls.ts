import type { Command } from "commander";
import { readCredentialFile } from "../base/credential-file.ts";
import { ProglogError } from "../base/error.ts";
import type { ClientTls } from "../client/index.ts";
import type { CommandIo } from "./command-io.ts";
import { formatServerAddress, parseServerAddress, type ServerAddress, serverDefault } from "./server-address.ts";

/** Which server a command speaks with, and how. */
export interface ServerChoice {
  readonly addresses: readonly ServerAddress[];
  /** Undefined in clear. Reads the files anew each time: a command that goes on for days outlives its certificate. */
  readonly tls: (() => ClientTls) | undefined;
}

/** The options of every command that asks a server. They stand with the program, so that they may come before the command, too. */
export function addTlsOptions(program: Command): void {
  for (const { flag, environment, value, help } of parts)
    program.option(`--${flag} <${value}>`, `${help} (env: ${environment})`);
}

/** Throws INVALID_ARGUMENT for options that a command has no use for: it must not seem to do something. */
export function checkTlsOptions(program: Command, action: Command): void {
  const given = parts.find(({ property }) => program.opts()[property] !== undefined);
  const asksServer = action.options.some(({ long }) => long === "--server" || long === "--addr");
  if (given === undefined || asksServer) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot run proglog ${action.name()}: --${given.flag} is for commands that ask a server`,
  );
}

/**
 * What `--server`, `--tls-…` and the environment say. TLS is spoken with `https://` addresses, and where any of its options is given and no
 * address says `http://`. Throws INVALID_ARGUMENT, and INVALID_CONFIG for files that can't be used.
 */
export function chooseServer(server: string | undefined, program: Command, { env }: Pick<CommandIo, "env">): ServerChoice {
  const named = server ?? (env["PROGLOG_SERVER"] || serverDefault);
  const addresses = named.split(",").map((one) => parseServerAddress(one.trim()));
  const found = new Map<PartName, { readonly text: string; readonly source: string; readonly isFlag: boolean }>();
  for (const { name, flag, environment, property } of parts) {
    const option: unknown = program.opts()[property];
    const text = typeof option === "string" ? option : (env[environment] ?? "");
    const isFlag = typeof option === "string";
    if (isFlag || text !== "") found.set(name, { text, source: isFlag ? `--${flag}` : environment, isFlag });
  }
  const isAsked = addresses.some(({ scheme }) => scheme === "https");
  const isClear = addresses.some(({ scheme }) => scheme === "http");
  const flag = [...found.values()].find(({ isFlag }) => isFlag);
  if (isClear && (isAsked || flag !== undefined))
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot use the server ${JSON.stringify(named)}: it says http, and ${isAsked ? "https" : flag?.source} asks for TLS`,
    );
  if (isClear || (!isAsked && found.size === 0)) return { addresses, tls: undefined };
  const [cert, key] = [found.get("cert"), found.get("key")];
  if ((cert === undefined) !== (key === undefined))
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot use ${(cert ?? key)?.source}: --tls-${cert === undefined ? "cert" : "key"}-file is missing`,
    );
  const read = (name: "ca" | "cert" | "key"): { readonly [Name in typeof name]?: Buffer } => {
    const file = found.get(name);
    return file === undefined
      ? {}
      : { [name]: readCredentialFile(file.text, { source: file.source, isSecret: name === "key" }) };
  };
  const serverName = found.get("serverName")?.text;
  const tls = (): ClientTls => ({
    ...{ ...read("ca"), ...read("cert"), ...read("key") },
    ...(serverName === undefined ? {} : { serverName }),
  });
  // What can't be read is told before anything is tried.
  tls();
  return { addresses, tls };
}

/** As the client takes them, and messages show them. */
export function formatAddresses({ addresses }: ServerChoice): readonly string[] {
  return addresses.map(formatServerAddress);
}

/** Of its HTTP, without a path. */
export function urlsOf({ addresses, tls }: ServerChoice): readonly string[] {
  return addresses.map((address) => `${tls === undefined ? "http" : "https"}://${formatServerAddress(address)}`);
}

type PartName = "ca" | "cert" | "key" | "serverName";

const parts = [
  part("ca", "tlsCaFile", "tls-ca-file", "path", "authorities of the server's certificate, PEM (default: the system's)"),
  part("cert", "tlsCertFile", "tls-cert-file", "path", "certificate to show to the server, PEM"),
  part("key", "tlsKeyFile", "tls-key-file", "path", "its key"),
  part("serverName", "tlsServerName", "tls-server-name", "name", "what the server's certificate is for (default: its address)"),
] as const;

function part(name: PartName, property: string, flag: string, value: string, help: string) {
  return { name, property, flag, value, help, environment: `PROGLOG_${flag.toUpperCase().replaceAll("-", "_")}` };
}
