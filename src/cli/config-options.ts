import { type Command, Option } from "commander";
import type { ConfigKey, formatConfigValue as FormatConfigValue } from "../server/index.ts";

type FormatValue = typeof FormatConfigValue;

/** The flags of `proglog serve`, from the server's own schema, which is loaded with the server. */
export async function addConfigOptions(command: Command): Promise<void> {
  const { configKeys, formatConfigValue } = await import("../server/index.ts");
  for (const key of configKeys) command.addOption(optionOf(key, formatConfigValue));
}

/** A flag may be told off as well as on, since the environment may have told it on. What a value is worth is the schema's to say. */
function optionOf(key: ConfigKey, formatConfigValue: FormatValue): Option {
  const help = `${key.help} (default: ${formatConfigValue(key, key.default)}, env: ${key.environment})`;
  const option = new Option(`--${key.name} ${valueOf(key)}`, help);
  // A list may come in one value or in several.
  return key.kind === "addresses" ? option.argParser(addToList) : option;
}

function addToList(value: string, before: string | undefined): string {
  return before === undefined ? value : `${before},${value}`;
}

function valueOf({ kind, choices = [] }: ConfigKey): string {
  return kind === "choice" ? `<${choices.join("|")}>` : valueNames[kind];
}

const valueNames: Readonly<Record<Exclude<ConfigKey["kind"], "choice">, string>> = {
  text: "<text>",
  name: "<name>",
  address: "<host:port>",
  addresses: "<host:port,…>",
  origins: "<origins>",
  url: "<url>",
  headers: "<name=value,…>",
  flag: "[true|false]",
  integer: "<number>",
  bytes: "<size>",
  duration: "<duration>",
};
