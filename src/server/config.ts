import { checkClusterConfig } from "./cluster-config.ts";
import { configDefinitions, type ConfigDefinition, environmentPrefix } from "./config-definitions.ts";
import type { ConfigFile } from "./config-file.ts";
import { type ConfigValue, parseConfigValue } from "./config-value.ts";
import { checkTlsConfig } from "./tls-config.ts";
import { ProglogError } from "../base/error.ts";
import { findNearest } from "../base/nearest.ts";
import { checkCompression, type Compression } from "../batch/compression.ts";

/** What a node is started with. Each key stands with its default, bounds and text in `config-definitions.ts`. */
export interface Config {
  readonly dataDir: string;
  readonly bindAddr: string;
  readonly rpcPort: number;
  /** Null: none. */
  readonly configFile: string | null;
  /** `host:port`. Null: auto, where it listens. */
  readonly advertiseAddr: string | null;
  /** Null: auto, the host's name and the port. */
  readonly nodeName: string | null;
  /** `host:port` with a comma between. Null: none. */
  readonly startJoinAddrs: string | null;
  /** Null: none. */
  readonly initialNodes: number | null;
  readonly bootstrap: boolean;
  readonly insecure: boolean;
  /** Files of certificates, PEM. Null: none. */
  readonly serverTlsCertFile: string | null;
  readonly serverTlsKeyFile: string | null;
  readonly serverTlsCaFile: string | null;
  readonly serverTlsCrlFile: string | null;
  readonly serverTlsClientAuth: "require" | "optional";
  readonly peerTlsCertFile: string | null;
  readonly peerTlsKeyFile: string | null;
  readonly peerTlsCaFile: string | null;
  readonly peerTlsCrlFile: string | null;
  /** A model of casbin, and a policy: what the access policy begins with, where there is none. Null: none. */
  readonly aclModelFile: string | null;
  readonly aclPolicyFile: string | null;
  /** Who sends what stands in it may do everything. Null: none. */
  readonly adminTokenFile: string | null;
  /** Who signs tokens, for whom, by which keys, and which claim names who shows them. Null: none; of the keys: those that the issuer tells. */
  readonly oidcIssuer: string | null;
  readonly oidcAudience: string | null;
  readonly oidcKeysFile: string | null;
  readonly oidcNameClaim: string;
  /** Origins with a comma between. Null: off, none but the node's own. */
  readonly allowOrigin: string | null;
  /** Bytes a second that each principal may have of this node. Null: as many as there are. */
  readonly produceQuotaBytesPerSecond: number | null;
  readonly consumeQuotaBytesPerSecond: number | null;
  readonly autoCreateTopics: boolean;
  readonly sync: "always" | "interval" | "never";
  readonly syncIntervalMs: number;
  readonly segmentMaxBytes: number;
  readonly segmentMaxAgeMs: number;
  /** Null: unlimited. */
  readonly retentionMaxBytes: number | null;
  /** Null: unlimited. */
  readonly retentionMaxAgeMs: number | null;
  readonly retentionIntervalMs: number;
  readonly index: "auto" | "mmap" | "heap";
  readonly compression: Compression;
  /** Null: off. */
  readonly scrubIntervalMs: number | null;
  /** What a node of a cluster sends of logs to those that catch up, over all partitions. */
  readonly catchUpBytesPerSecond: number;
  readonly maxBodyBytes: number;
  readonly maxConnections: number;
  readonly stopGraceMs: number;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  readonly logFormat: "auto" | "json" | "pretty";
  /** Of a collector: `http://host:4318`. Null: off. */
  readonly otlpEndpoint: string | null;
  readonly otlpIntervalMs: number;
  readonly otlpTraces: boolean;
  /** `name=value`, several with a comma between. Null: none. */
  readonly otlpHeaders: string | null;
}

/** A key as a command line or a page of documentation needs it: plain data. */
export interface ConfigKey extends ConfigDefinition<ConfigValue> {
  /** In the code: `dataDir`. */
  readonly property: keyof Config;
  /** On the command line, without its hyphens: `data-dir`. */
  readonly name: string;
  /** In the environment: `PROGLOG_DATA_DIR`. */
  readonly environment: string;
}

export const configKeys: readonly ConfigKey[] = (Object.keys(configDefinitions) as (keyof Config)[]).map((property) => {
  const name = property.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    ...configDefinitions[property],
    property,
    name,
    environment: environmentPrefix + name.toUpperCase().replaceAll("-", "_"),
  };
});

export interface ConfigSources {
  /** By name (`data-dir`) or property (`dataDir`); undefined is the same as absent. Goes before the environment. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What the environment goes before. */
  readonly file?: ConfigFile;
}

/**
 * The configuration that the sources make, defaults where they say nothing. Throws INVALID_CONFIG for an unknown key, naming the
 * nearest known one, for a value that isn't of its key's kind or bounds, and for a cluster's that contradict each other; `details` has `key` and `source`. Throws
 * UNSUPPORTED_COMPRESSION for a compression whose package isn't installed.
 */
export function parseConfig({ flags = {}, env = {}, file }: ConfigSources = {}): Config {
  const values: Partial<Record<keyof Config, ConfigValue>> = {};
  for (const { property, default: value } of configKeys) values[property] = value;
  if (file !== undefined) Object.assign(values, parseFile(file));
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.startsWith(environmentPrefix)) continue;
    const key = configKeys.find(({ environment }) => environment === name);
    if (key !== undefined) values[key.property] = parseConfigValue(key, value, name);
    else if (!isForeign(name, value))
      throw unknownKey(
        name,
        configKeys.map(({ environment }) => environment),
      );
  }
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const key = configKeys.find((candidate) => candidate.name === name || candidate.property === name);
    if (key === undefined)
      throw unknownKey(
        `--${name}`,
        configKeys.map((known) => `--${known.name}`),
      );
    values[key.property] = parseConfigValue(key, value, `--${key.name}`);
  }
  // Every key has a default, and parseConfigValue returns what its kind says.
  const config = values as unknown as Config;
  checkClusterConfig(config);
  checkOtlpConfig(config);
  checkTlsConfig(config);
  checkCompression(config.compression, `Cannot use --compression ${config.compression}`);
  return config;
}

function checkOtlpConfig({ otlpTraces, otlpEndpoint }: Config): void {
  if (!otlpTraces || otlpEndpoint !== null) return;
  throw new ProglogError("INVALID_CONFIG", "Cannot use --otlp-traces: there is no collector to push them to", {
    hint: "Name one by --otlp-endpoint.",
    details: { key: "otlp-traces", source: "--otlp-traces" },
  });
}

/** The file that flags or environment name, if one does. Nothing else of them is judged yet: the file may add to it. */
export function findConfigFile({ flags = {}, env = {} }: ConfigSources): string | undefined {
  const key = configKeys.find(({ property }) => property === "configFile");
  if (key === undefined) return undefined;
  const flag = flags[key.name] ?? flags[key.property];
  const given = flag ?? env[key.environment];
  if (given === undefined) return undefined;
  const value = parseConfigValue(key, given, flag === undefined ? key.environment : `--${key.name}`);
  return typeof value === "string" ? value : undefined;
}

function parseFile({ path, values }: ConfigFile): Partial<Record<keyof Config, ConfigValue>> {
  const parsed: Partial<Record<keyof Config, ConfigValue>> = {};
  for (const [name, value] of Object.entries(values)) {
    const source = `${name} in ${path}`;
    const key = configKeys.find((candidate) => candidate.name === name);
    if (key === undefined)
      throw unknownKey(
        source,
        configKeys.map((known) => known.name),
        name,
      );
    if (key.property === "configFile")
      throw new ProglogError("INVALID_CONFIG", `Cannot use ${source}: a file can't name another`, {
        details: { key: name, source },
      });
    parsed[key.property] = parseConfigValue(key, value, source);
  }
  return parsed;
}

/**
 * Names that begin like ours and aren't: the client's, and those that Kubernetes sets in every pod beside a Service named
 * "proglog" (PROGLOG_SERVICE_HOST, PROGLOG_PORT=tcp://…). Refusing these would keep a node from starting there.
 */
function isForeign(name: string, value: string): boolean {
  if (clientEnvironment.includes(name)) return true;
  return /_SERVICE_(HOST|PORT)(_|$)/.test(name) || /_PORT_\d+_(TCP|UDP)/.test(name) || /^(tcp|udp|sctp):\/\//.test(value);
}

const clientEnvironment = [
  "PROGLOG_SERVER",
  "PROGLOG_TOKEN",
  "PROGLOG_TOKEN_FILE",
  "PROGLOG_TLS_CA_FILE",
  "PROGLOG_TLS_CERT_FILE",
  "PROGLOG_TLS_KEY_FILE",
  "PROGLOG_TLS_SERVER_NAME",
];

function unknownKey(source: string, known: readonly string[], name: string = source): ProglogError {
  const nearest = findNearest(name, known);
  return new ProglogError("INVALID_CONFIG", `Cannot use ${source}: there is no such key`, {
    hint: nearest === undefined ? "See proglog serve --help." : `Did you mean ${nearest}?`,
    details: { source },
  });
}
