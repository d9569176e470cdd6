import { hostname } from "node:os";
import type { Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import { ClusteredNode } from "../replica/cluster/clustered-node.ts";
import type { GroupObserver } from "../replica/group/group-options.ts";
import type { LogObserver, LogSettings } from "../replica/data-directory.ts";
import { advertisedAddress, checkClusterSync, clusterFlags, clusterWarnings, defaultNodeName } from "./cluster-config.ts";
import type { Config } from "./config.ts";
import type { PeerConnect, PeerObserver } from "./peer-context.ts";
import { SocketPeers } from "./peer-transport.ts";
import { resolveAddress } from "./resolve-address.ts";
import { checkCertifiedName, checkPeerAddress } from "./tls-config.ts";
import { connectPeerBy } from "./tls/connect-peer.ts";
import type { TlsPlane } from "./tls/tls-plane.ts";

/** A node of a cluster with its sockets: what listens hands peers' connections to it. */
export interface OpenedCluster {
  readonly node: ClusteredNode;
  /** Takes over a connection that begins as a peer's; one that comes too early is dropped, and comes again. */
  readonly takeConnection: (socket: Socket) => void;
  readonly peers: () => SocketPeers | undefined;
}

export interface OpenClusteredOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly log: LogSettings;
  readonly observer: LogObserver;
  readonly groupObserver?: GroupObserver;
  readonly peerObserver?: PeerObserver;
  /** The port that the node listens on; asked once it does. */
  readonly getPort: () => number;
  /** Default: TCP, encrypted where `peerTls` is there, and else in clear on this machine only. */
  readonly connectPeer?: PeerConnect | undefined;
  readonly peerTls?: TlsPlane | undefined;
}

/** Takes the directory of a node that is, or is to be, in a cluster. Errors as those of `ClusteredNode.open`, INVALID_CONFIG and INSECURE_ADDRESS. */
export async function openClustered(config: Config, options: OpenClusteredOptions): Promise<OpenedCluster> {
  const { disk, clock, random, logger, log, observer, groupObserver, peerObserver, getPort, peerTls } = options;
  checkClusterSync(config);
  checkPeerAddress(config);
  checkCertifiedName(config, peerTls);
  const connectPeer = options.connectPeer ?? (peerTls === undefined ? undefined : connectPeerBy(peerTls));
  for (const warning of clusterWarnings(config)) logger.warn({}, warning);
  let peers: SocketPeers | undefined;
  const node = await ClusteredNode.open({
    ...{ path: config.dataDir, disk, clock, random, logger, log, observer },
    ...(groupObserver === undefined ? {} : { groupObserver }),
    flags: clusterFlags(config),
    catchUpBytesPerSecond: config.catchUpBytesPerSecond,
    defaultName: () => peerTls?.material.nodeName ?? defaultNodeName(hostname(), getPort()),
    address: () => advertisedAddress(config, getPort()),
    resolve: (address) => resolveAddress(address),
    connectPeers: (parts) => {
      const observing = peerObserver === undefined ? {} : { observer: peerObserver };
      const connect = connectPeer === undefined ? {} : { connect: connectPeer };
      peers = new SocketPeers({ ...parts, ...connect, ...observing, clock, random, logger });
      return peers;
    },
  });
  return {
    node,
    takeConnection: (socket) => {
      if (peers === undefined) socket.destroy();
      else peers.takeConnection(socket);
    },
    peers: () => peers,
  };
}
