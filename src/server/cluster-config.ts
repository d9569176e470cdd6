import { ProglogError } from "../base/error.ts";
import { nodeNameMaxChars } from "../base/cluster-limits.ts";
import type { ClusterFlags } from "../replica/cluster/cluster-identity.ts";
import type { Config } from "./config.ts";
import { formatNodeAddress } from "./node-address.ts";

/** What an operator said of the cluster. */
export function clusterFlags(config: ClusterConfig): ClusterFlags {
  return {
    nodeName: config.nodeName ?? undefined,
    startJoinAddrs: config.startJoinAddrs?.split(",") ?? [],
    initialNodes: config.initialNodes ?? undefined,
    isBootstrapping: config.bootstrap,
  };
}

export type ClusterConfig = Pick<
  Config,
  "nodeName" | "startJoinAddrs" | "initialNodes" | "bootstrap" | "advertiseAddr" | "bindAddr" | "rpcPort" | "sync"
>;

/** Whether the node is to form or join a cluster. One that is in one already needs no flags for it. */
export function isClusterAsked({
  startJoinAddrs,
  initialNodes,
  bootstrap,
}: Pick<Config, "startJoinAddrs" | "initialNodes" | "bootstrap">): boolean {
  return startJoinAddrs !== null || initialNodes !== null || bootstrap;
}

/** Throws INVALID_CONFIG for flags of a cluster that make no sense together. */
export function checkClusterConfig(config: ClusterConfig): void {
  const { startJoinAddrs, initialNodes, bootstrap, bindAddr, advertiseAddr } = config;
  if (!isClusterAsked(config)) return;
  if (bootstrap && initialNodes !== null)
    throw refuse(
      "initial-nodes",
      `--initial-nodes ${initialNodes} with --bootstrap`,
      "the one forms a cluster of several nodes, the other begins one alone",
      "Start all nodes of a new cluster with --initial-nodes, or one with --bootstrap and the others with --start-join-addrs alone.",
    );
  if (initialNodes !== null && startJoinAddrs === null)
    throw refuse(
      "initial-nodes",
      `--initial-nodes ${initialNodes}`,
      "there is no address where the others could be found",
      "Name some or all of the nodes in --start-join-addrs.",
    );
  checkClusterSync(config);
  if (advertiseAddr === null && ["0.0.0.0", "::"].includes(bindAddr))
    throw refuse(
      "advertise-addr",
      `--bind-addr ${bindAddr} in a cluster`,
      "it doesn't say where other nodes reach this one",
      "Say it by --advertise-addr host:port, or bind to one address.",
    );
}

/** Throws INVALID_CONFIG unless appends are synced: what a node of a cluster acknowledges, its leader counts on. */
export function checkClusterSync({ sync }: Pick<Config, "sync">): void {
  if (sync === "always") return;
  throw refuse(
    "sync",
    `--sync ${sync} in a cluster`,
    "a replica that acknowledges what a power cut takes loses it for all",
    "Leave --sync out. Producers choose by acks what they wait for.",
  );
}

/** What is odd and not wrong, for the logger. */
export function clusterWarnings({ initialNodes }: Pick<Config, "initialNodes">): readonly string[] {
  if (initialNodes === null || initialNodes % 2 === 1) return [];
  const isLost =
    initialNodes === 2 ? "and stands still when either is down" : `and bears no more than ${initialNodes - 1} would`;
  return [
    `--initial-nodes ${initialNodes} is an even number: a cluster of ${initialNodes} needs ${initialNodes / 2 + 1} of them, ${isLost}`,
  ];
}

/** Where other nodes reach this one; `port` is the one that it listens on. */
export function advertisedAddress(
  { advertiseAddr, bindAddr }: Pick<Config, "advertiseAddr" | "bindAddr">,
  port: number,
): string {
  return advertiseAddr ?? formatNodeAddress({ host: bindAddr, port });
}

/** The name of a node that was given none. */
export function defaultNodeName(hostName: string, port: number): string {
  const host = hostName.replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, nodeNameMaxChars - 6);
  return `${host === "" ? "node" : host}:${port}`;
}

function refuse(key: string, what: string, reason: string, hint: string): ProglogError {
  return new ProglogError("INVALID_CONFIG", `Cannot use ${what}: ${reason}`, { hint, details: { key, source: `--${key}` } });
}
