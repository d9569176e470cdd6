import { compressions } from "../batch/compression.ts";
import { catchUpBytesPerSecond, initialNodesMaxCount } from "../base/cluster-limits.ts";
import { bodiesMaxBytes, bodyMaxBytes, connectionsMaxCount } from "../base/limits.ts";
import { quotaMinBytesPerSecond } from "../base/security-limits.ts";
import { dayMs, GiB, hourMs, KiB, MiB, minuteMs, secondMs } from "../base/units.ts";
import type { Config } from "./config.ts";
import type { ConfigValue } from "./config-value.ts";

/** One key: what it may be, what it is when nobody says, and what it does. Names keep the book's words where the concept is the book's. */
export interface ConfigDefinition<Value extends ConfigValue> {
  /**
   * `bytes` and `duration` take units: 64MiB, 7d. `flag` is true or false. `origins` are sites, `addresses` are `host:port`, `headers` are
   * `name=value`, with a comma between. `url` is one of http or https.
   */
  readonly kind:
    | "text"
    | "name"
    | "address"
    | "addresses"
    | "origins"
    | "url"
    | "headers"
    | "flag"
    | "choice"
    | "integer"
    | "bytes"
    | "duration";
  readonly default: Value;
  /** For `integer`, `bytes` (in bytes) and `duration` (in ms): inclusive. */
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  /** The word for null, where null is possible. */
  readonly nullWord?: "unlimited" | "off" | "none" | "auto";
  /** Shown to nobody: `proglog config show` masks it, and an error doesn't quote it. */
  readonly isSecret?: boolean;
  /** A sentence for `--help`. */
  readonly help: string;
}

export const environmentPrefix = "PROGLOG_";

function fileOf(help: string): ConfigDefinition<string | null> {
  return { kind: "text", default: null, nullWord: "none", help };
}

function textOf(help: string): ConfigDefinition<string | null> {
  return { kind: "text", default: null, nullWord: "none", help };
}

function quotaOf(help: string): ConfigDefinition<number | null> {
  return {
    kind: "bytes",
    default: null,
    nullWord: "unlimited",
    min: quotaMinBytesPerSecond,
    max: Number.MAX_SAFE_INTEGER,
    help,
  };
}

/** As good as for ever. */
const durationMaxMs = 100 * 365 * dayMs;

export const configDefinitions: { readonly [Property in keyof Config]: ConfigDefinition<Config[Property]> } = {
  dataDir: { kind: "text", default: "./data", help: "Directory of the node's data; made when it isn't there." },
  bindAddr: {
    kind: "text",
    default: "127.0.0.1",
    help: "Address to listen on. Other than loopback only with --server-tls-cert-file, or --insecure.",
  },
  rpcPort: { kind: "integer", default: 8000, min: 0, max: 65_535, help: "Port to listen on; 0 takes a free one." },
  configFile: {
    kind: "text",
    default: null,
    nullWord: "none",
    help: "File to read what follows from, YAML or JSON; flags and environment go before it.",
  },
  advertiseAddr: {
    kind: "address",
    default: null,
    nullWord: "auto",
    help: "Where other nodes and clients reach this one, host:port; auto: --bind-addr and the port.",
  },
  nodeName: {
    kind: "name",
    default: null,
    nullWord: "auto",
    help: "Name of the node, unique in its cluster and kept; auto: the host's name and the port.",
  },
  startJoinAddrs: {
    kind: "addresses",
    default: null,
    nullWord: "none",
    help: "Nodes of the cluster to join or to form, host:port, several with a comma between; a name may mean many.",
  },
  initialNodes: {
    kind: "integer",
    default: null,
    nullWord: "none",
    min: 1,
    max: initialNodesMaxCount,
    help: "Form a cluster of so many new nodes, once they all are there; the same number on each.",
  },
  bootstrap: { kind: "flag", default: false, help: "Begin a cluster with this node alone, which others then join." },
  insecure: { kind: "flag", default: false, help: "Listen beyond this machine without encryption or authentication." },
  serverTlsCertFile: fileOf("Certificate that clients are shown, PEM, with those between it and its authority. Turns TLS on."),
  serverTlsKeyFile: fileOf("Key of --server-tls-cert-file. Refused when others than its owner may read it."),
  serverTlsCaFile: fileOf("Authorities of clients' certificates, PEM: clients are asked for theirs."),
  serverTlsCrlFile: fileOf("Lists of revoked certificates of clients, PEM, one of each authority."),
  serverTlsClientAuth: {
    kind: "choice",
    default: "require",
    choices: ["require", "optional"],
    help: "Whether a client without a certificate is refused, where --server-tls-ca-file asks for one.",
  },
  peerTlsCertFile: fileOf(
    "Certificate that other nodes are shown, with the URI proglog://node/<name>. Turns TLS between nodes on.",
  ),
  peerTlsKeyFile: fileOf("Key of --peer-tls-cert-file. Refused when others than its owner may read it."),
  peerTlsCaFile: fileOf("Authorities of other nodes' certificates, PEM; not those of clients."),
  peerTlsCrlFile: fileOf("Lists of revoked certificates of nodes, PEM, one of each authority."),
  aclModelFile: fileOf("Model of casbin for --acl-policy-file; none: subject, object and action are compared."),
  aclPolicyFile: fileOf("Policy of casbin that the access policy begins with; ignored where there is one already."),
  adminTokenFile: fileOf(
    "File with a token that may do everything on this node, which not everybody may read. The last resort.",
  ),
  oidcIssuer: textOf("Identity provider whose signed tokens (JWT) are taken: the issuer that stands in them, an https URL."),
  oidcAudience: textOf("Whom its tokens have to be for: the audience that stands in them."),
  oidcKeysFile: fileOf("Its public keys, a JSON Web Key Set; none: they are fetched from it."),
  oidcNameClaim: { kind: "text", default: "sub", help: "Claim of its tokens that names the principal, behind oidc: in rules." },
  produceQuotaBytesPerSecond: quotaOf("Bytes a second that each principal may produce to this node."),
  consumeQuotaBytesPerSecond: quotaOf("Bytes a second that each principal may consume from this node."),
  allowOrigin: {
    kind: "origins",
    default: null,
    nullWord: "off",
    help: "Sites whose pages may use the node from a browser: https://app.example, several with a comma between.",
  },
  autoCreateTopics: { kind: "flag", default: true, help: "Make a topic that is produced to and isn't there." },
  sync: {
    kind: "choice",
    default: "always",
    choices: ["always", "interval", "never"],
    help: "When an append is on the disk: before its acknowledgement, every sync-interval-ms, or when the system likes.",
  },
  syncIntervalMs: { kind: "duration", default: secondMs, min: 1, max: hourMs, help: "How often --sync interval syncs." },
  segmentMaxBytes: { kind: "bytes", default: 256 * MiB, min: KiB, max: 64 * GiB, help: "Bytes at which a segment is sealed." },
  segmentMaxAgeMs: {
    kind: "duration",
    default: 7 * dayMs,
    min: secondMs,
    max: durationMaxMs,
    help: "Age at which a segment is sealed.",
  },
  retentionMaxBytes: {
    kind: "bytes",
    default: null,
    nullWord: "unlimited",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: "Bytes of a partition above which its oldest segments go.",
  },
  retentionMaxAgeMs: {
    kind: "duration",
    default: null,
    nullWord: "unlimited",
    min: 1,
    max: durationMaxMs,
    help: "Age above which a partition's oldest segments go.",
  },
  retentionIntervalMs: {
    kind: "duration",
    default: minuteMs,
    min: secondMs,
    max: dayMs,
    help: "How often retention is looked after.",
  },
  index: {
    kind: "choice",
    default: "auto",
    choices: ["auto", "mmap", "heap"],
    help: "Where the active index lives: mapped into memory, on the heap, or mapped where that works.",
  },
  compression: {
    kind: "choice",
    default: "none",
    choices: compressions,
    help: "How the server packs records; snappy and lz4 need the package snappy or lz4-napi.",
  },
  scrubIntervalMs: {
    kind: "duration",
    default: null,
    nullWord: "off",
    min: minuteMs,
    max: 365 * dayMs,
    help: "How often all sealed segments are verified in the background.",
  },
  catchUpBytesPerSecond: {
    kind: "bytes",
    default: catchUpBytesPerSecond,
    min: 64 * KiB,
    help: "Bytes a second that a node of a cluster sends to replicas that catch up, over all partitions.",
  },
  maxBodyBytes: {
    kind: "bytes",
    default: bodyMaxBytes,
    min: KiB,
    max: bodiesMaxBytes,
    help: "Bytes of a request's body.",
  },
  maxConnections: {
    kind: "integer",
    default: connectionsMaxCount,
    min: 1,
    max: 65_535,
    help: "Connections at once; further ones are dropped.",
  },
  stopGraceMs: {
    kind: "duration",
    default: 10 * secondMs,
    min: 0,
    max: hourMs,
    help: "How long a stop waits for requests under way before it cuts them off.",
  },
  logLevel: {
    kind: "choice",
    default: "info",
    choices: ["debug", "info", "warn", "error", "silent"],
    help: "What is logged: this and what is worse. proglog log-level changes it while the node runs.",
  },
  logFormat: {
    kind: "choice",
    default: "auto",
    choices: ["auto", "json", "pretty"],
    help: "How: JSON lines, or for people; auto: for people where it is a terminal.",
  },
  otlpEndpoint: {
    kind: "url",
    default: null,
    nullWord: "off",
    help: "Collector to push metrics to by OTLP over HTTP, as http://collector:4318.",
  },
  otlpIntervalMs: { kind: "duration", default: minuteMs, min: secondMs, max: hourMs, help: "How often metrics are pushed." },
  otlpTraces: {
    kind: "flag",
    default: false,
    help: "Push spans, too, of appended records whose headers say that their trace is kept.",
  },
  otlpHeaders: {
    kind: "headers",
    default: null,
    nullWord: "none",
    isSecret: true,
    help: "Headers of what is pushed, name=value, several with a comma between.",
  },
};
