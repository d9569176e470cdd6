import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Ports of this machine on which nobody listens, for nodes that come back to the one they had. They lie below those that systems give
 * to outgoing connections, so none of these takes one while its node is down; nor does another run of tests, since of each port that was
 * found the one of that number for datagrams is held until this process ends.
 */
export async function findFreePorts(count: number): Promise<readonly number[]> {
  const found: number[] = [];
  for (let tried = 0; found.length < count; tried += 1) {
    if (tried > spanCount) throw new Error(`fewer than ${count} ports are free`);
    const port = firstPort + (next++ % spanCount);
    if ((await isFree(port)) && (await reserve(port))) found.push(port);
  }
  return found;
}

const firstPort = 20_000;
const spanCount = 12_000;
/** Runs side by side begin elsewhere. */
let next = (process.pid * 37) % spanCount;

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch {
    return false; // taken: the next one may not be
  } finally {
    server.close();
  }
}

async function reserve(port: number): Promise<boolean> {
  const socket = createSocket("udp4");
  try {
    socket.bind({ port, address: "127.0.0.1", exclusive: true });
    await once(socket, "listening");
    socket.unref();
    return true;
  } catch {
    socket.close();
    return false; // somebody else's, whose node is down
  }
}
