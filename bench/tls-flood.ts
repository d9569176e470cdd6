import { connect as connectSocket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Bench } from "./bench.ts";
import { type Flood, measureFloods } from "./flood.ts";
import { flagsOf, makeCertificates } from "./mutual-tls.ts";
import { startProglog } from "./peers/proglog.ts";

/** What strangers who only open TLS connections do to a client with a certificate, and to the node's memory. */
export const tlsFlood: Bench = {
  name: "tls-flood",
  about: "strangers who stop amid handshakes, or finish them in vain, beside a client who produces",
  isOnlyByName: true,
  async run({ scratch, choose }) {
    const certificates = makeCertificates(scratch.directory("certificates"));
    const node = await startProglog(scratch.directory("node"), flagsOf("node0", certificates));
    try {
      const rounds = choose({ quick: 2, default: 4, full: 8 });
      const seconds = choose({ quick: 1, default: 3, full: 6 });
      return await measureFloods({ node, address: `${node.address}#${certificates}`, floods, rounds, seconds });
    } finally {
      await node.stop();
    }
  },
};

/** Within the node's 512 connections, so that the client isn't kept out by their number. */
const crowd = { strangers: 400, comeBackMs: 100 };

const floods: readonly Flood[] = [
  { ...crowd, name: "400 connections that say nothing", dial: (port) => connectSocket({ host: "127.0.0.1", port }) },
  {
    ...crowd,
    name: "400 TLS handshakes that stop at half",
    dial: (port) => {
      const socket = connectSocket({ host: "127.0.0.1", port });
      // The first bytes of a ClientHello of 512: the node waits for the rest.
      socket.write(Buffer.from("160301020001", "hex"));
      return socket;
    },
  },
  {
    ...crowd,
    name: "400 strangers without a certificate, again and again",
    dial: (port) => connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }),
  },
];
