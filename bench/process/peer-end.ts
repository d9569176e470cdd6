import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import type { PeerIdentity, PeerListener } from "../../src/replica/peer-network.ts";
import { SocketPeers } from "../../src/server/peer-transport.ts";

/** One end of the transport between nodes, on a free port, for processes of the benchmark. */
export interface PeerEnd {
  readonly peers: SocketPeers;
  readonly address: string;
}

export async function openPeerEnd(
  nodeId: string,
  heard: Pick<PeerListener, "received"> & Partial<Pick<PeerListener, "answer" | "connected">>,
): Promise<PeerEnd> {
  const server: Server = createServer((socket) => peers.takeConnection(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const identity: PeerIdentity = {
    clusterId: "bench",
    nodeId,
    storageId: `storage-${nodeId}`,
    bootCounter: 1,
    life: randomBytes(8).toString("hex"),
    address,
  };
  const peers: SocketPeers = new SocketPeers({
    identity: () => identity,
    listener: {
      check: () => {},
      answer: () => Promise.resolve(Buffer.alloc(0)),
      connected: () => {},
      disconnected: () => {},
      ...heard,
    },
  });
  return { peers, address };
}
