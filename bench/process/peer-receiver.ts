import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { openPeerEnd, type PeerEnd } from "./peer-end.ts";
import { say } from "./say.ts";

/**
 * Acknowledges what peers send: over our transport (`argv[2]` is "ours"), or over a bare socket that takes `[length u32][answer's
 * length u32][bytes]` and answers each with so many bytes.
 */
if (process.argv[2] === "ours") await receiveOurs();
else await receiveBare();

async function receiveOurs(): Promise<void> {
  let onConnected: () => void = () => {};
  const end: PeerEnd = await openPeerEnd("receiver", {
    received({ nodeId: to }, groupId, { message }) {
      const envelope = { from: "receiver", fromStorage: "storage-receiver/1", to, term: message.term };
      if (message.kind === "append") {
        const matchIndex = message.prevIndex + 1;
        end.peers.send(to, groupId, {
          message: { kind: "append-accepted", ...envelope, matchIndex, agreedIndex: matchIndex },
          frames: [],
        });
      } else if (message.kind === "heartbeat") {
        end.peers.send(to, groupId, {
          message: { kind: "heartbeat-response", ...envelope, round: message.round, hasForgotten: false },
          frames: [],
        });
      }
    },
    connected: () => onConnected(),
    /** Every sender asks once, so that it is dialed: answered when there is a way back. */
    async answer({ nodeId, address }, _kind, body) {
      const { promise, resolve } = Promise.withResolvers<void>();
      onConnected = resolve;
      end.peers.setPeers([{ nodeId, address }]);
      await promise;
      return body;
    },
  });
  say({ address: end.address });
}

async function receiveBare(): Promise<void> {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    let head = Buffer.alloc(0);
    let answer = Buffer.alloc(0);
    let left = 0;
    socket.on("data", (chunk: Buffer) => {
      socket.cork();
      for (let at = 0; at < chunk.length; ) {
        if (left === 0) {
          const taken = chunk.subarray(at, at + headBytes - head.length);
          head = Buffer.concat([head, taken]);
          at += taken.length;
          if (head.length < headBytes) break;
          left = head.readUInt32LE(0);
          answer = Buffer.alloc(head.readUInt32LE(4));
          head = Buffer.alloc(0);
        }
        const taken = Math.min(left, chunk.length - at);
        at += taken;
        left -= taken;
        if (left === 0) socket.write(answer);
      }
      socket.uncork();
    });
    socket.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  say({ address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
}

const headBytes = 8;
