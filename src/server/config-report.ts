import { isProglogError, type ProglogError } from "../base/error.ts";
import { formatBytes, formatDuration } from "../base/quantity.ts";
import { checkBindAddress } from "./bind-address.ts";
import { isClusterAsked } from "./cluster-config.ts";
import { environmentPrefix } from "./config-definitions.ts";
import { type Config, type ConfigKey, configKeys, type ConfigSources, parseConfig } from "./config.ts";
import { type ConfigValue, parseConfigValue } from "./config-value.ts";
import { checkPeerAddress, isGuarded } from "./tls-config.ts";

/** A key with its value and where that comes from. */
export interface ConfigEntry {
  readonly key: ConfigKey;
  readonly value: ConfigValue;
  readonly source: "default" | "file" | "environment" | "flag";
  /** "--rpc-port", "PROGLOG_RPC_PORT", "rpc-port in /etc/proglog.yaml"; undefined of a default. */
  readonly sourceName: string | undefined;
}

export interface ConfigReport {
  /** Of every key; none while there is a problem, since nothing would start with them. */
  readonly entries: readonly ConfigEntry[];
  /** All that is wrong, and not only what is met first. */
  readonly problems: readonly ProglogError[];
}

/** What the sources make together, key by key: what `parseConfig` would return, or throw. */
export function reportConfig(sources: ConfigSources): ConfigReport {
  const given = listGiven(sources);
  const problems = given.flatMap((entry) => findProblem(entry, sources) ?? []);
  if (problems.length > 0) return { entries: [], problems };
  try {
    const config = parseConfig(sources);
    // A start looks at it before it opens anything.
    checkBindAddress(config.bindAddr, { isInsecure: config.insecure, isGuarded: isGuarded(config) });
    if (isClusterAsked(config)) checkPeerAddress(config);
    return { entries: configKeys.map((key) => entryOf(key, config, given)), problems };
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return { entries: [], problems: [error] };
  }
}

interface Given {
  readonly source: Exclude<ConfigEntry["source"], "default">;
  /** As it stands there. */
  readonly name: string;
  readonly sourceName: string;
  readonly value: unknown;
}

/** The last one of a key counts. */
function listGiven({ flags = {}, env = {}, file }: ConfigSources): readonly Given[] {
  const ofFile = Object.entries(file?.values ?? {}).map(([name, value]): Given => {
    return { source: "file", name, sourceName: `${name} in ${file?.path}`, value };
  });
  const ofEnvironment = Object.entries(env).flatMap(([name, value]): readonly Given[] => {
    return value === undefined || !name.startsWith(environmentPrefix)
      ? []
      : [{ source: "environment", name, sourceName: name, value }];
  });
  const ofFlags = Object.entries(flags).flatMap(([name, value]): readonly Given[] => {
    const key = findKey({ source: "flag", name });
    return value === undefined ? [] : [{ source: "flag", name, sourceName: `--${key?.name ?? name}`, value }];
  });
  return [...ofFile, ...ofEnvironment, ...ofFlags];
}

function findKey({ source, name }: Pick<Given, "source" | "name">): ConfigKey | undefined {
  return configKeys.find((key) => {
    if (source === "environment") return key.environment === name;
    return key.name === name || (source === "flag" && key.property === name);
  });
}

/** What is wrong with one of them by itself. */
function findProblem(given: Given, { file }: ConfigSources): ProglogError | undefined {
  const { source, name, sourceName, value } = given;
  const key = findKey(given);
  try {
    if (key !== undefined && !(source === "file" && key.property === "configFile")) parseConfigValue(key, value, sourceName);
    // It alone: what is said of keys that aren't known, and of those that may not stand there, is said in one place.
    else if (source === "file") parseConfig({ file: { path: file?.path ?? "", values: { [name]: value } } });
    else parseConfig(source === "flag" ? { flags: { [name]: value } } : { env: { [name]: String(value) } });
    return undefined;
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return error;
  }
}

function entryOf(key: ConfigKey, config: Config, given: readonly Given[]): ConfigEntry {
  const last = given.findLast((one) => findKey(one) === key);
  return { key, value: config[key.property], source: last?.source ?? "default", sourceName: last?.sourceName };
}

/** A value for people: with its unit or its word, and nothing of a secret but that there is one. */
export function formatConfigValue(key: ConfigKey, value: ConfigValue): string {
  if (value === null) return key.nullWord ?? "none";
  if (key.isSecret === true) return "********";
  const format = typeof value === "number" ? formats[key.kind] : undefined;
  return format === undefined || typeof value !== "number" ? String(value) : format(value);
}

const formats: Readonly<Partial<Record<ConfigKey["kind"], (value: number) => string>>> = {
  bytes: formatBytes,
  duration: formatDuration,
};
