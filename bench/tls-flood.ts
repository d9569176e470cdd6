import { connect as connectSocket, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { MiB } from "../src/base/units.ts";
import type { Bench } from "./bench.ts";
import { flagsOf, makeCertificates } from "./mutual-tls.ts";
import { Driver } from "./peers/driver.ts";
import { startProglog } from "./peers/proglog.ts";
import { type Row, rowOf } from "./row.ts";

/**
 * What strangers who only open TLS connections do to a client with a certificate, and to the node's memory. Strangers and client share the
 * machine with the node, so what they take of the processors counts, too: it is the worst case, not a network's.
 */
export const tlsFlood: Bench = {
  name: "tls-flood",
  about: "strangers who stop amid handshakes, or finish them in vain, beside a client who produces",
  isOnlyByName: true,
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 2, default: 4, full: 8 });
    const seconds = choose({ quick: 1, default: 3, full: 6 });
    const certificates = makeCertificates(scratch.directory("certificates"));
    const node = await startProglog(scratch.directory("node"), flagsOf("node0", certificates));
    const driver = await Driver.start("proglog", `${node.address}#${certificates}`);
    const produce = { kind: "produce", topic: "one", recordBytes: 100, recordsPerSend: 1, outstanding: 1, seconds } as const;
    const p99 = async (): Promise<number> => (await driver.tell(produce)).p99Us ?? Number.NaN;
    const rows: Row[] = [];
    try {
      await p99();
      for (const { name, dial } of floods) {
        const figures = { alone: [] as number[], flooded: [] as number[], before: [] as number[], peak: [] as number[] };
        for (let round = 0; round < rounds; round += 1) {
          figures.alone.push(await p99());
          figures.before.push((node.residentBytes() ?? Number.NaN) / MiB);
          const flood = new Flood(() => dial(node.port));
          figures.flooded.push(await p99());
          figures.peak.push((node.residentBytes() ?? Number.NaN) / MiB);
          flood.stop();
        }
        const alone = { what: "without them", figures: figures.alone };
        const before = { what: "before them", figures: figures.before };
        rows.push(
          rowOf({ name: `${name}, produce one at a time, p99`, unit: "µs", figures: figures.flooded, ceilings: alone }),
        );
        rows.push(rowOf({ name: `${name}, the node's memory`, unit: "MiB", figures: figures.peak, ceilings: before }));
      }
      return rows;
    } finally {
      await driver.stop();
      await node.stop();
    }
  },
};

/** So many at once; whoever is dropped comes back. */
class Flood {
  readonly #dial: () => Socket;
  readonly #open = new Set<Socket>();
  #isOver = false;

  constructor(dial: () => Socket) {
    this.#dial = dial;
    for (let count = 0; count < strangers; count += 1) this.#add();
  }

  stop(): void {
    this.#isOver = true;
    for (const socket of this.#open) socket.destroy();
  }

  #add(): void {
    const socket = this.#dial();
    this.#open.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => {
      this.#open.delete(socket);
      // After a pause: the one who floods is to have time for it, too.
      if (!this.#isOver) setTimeout(() => this.#isOver || this.#add(), comeBackMs);
    });
  }
}

/** Within the node's 512 connections, so that the client isn't kept out by their number. */
const strangers = 400;
const comeBackMs = 100;

const floods: readonly { readonly name: string; readonly dial: (port: number) => Socket }[] = [
  { name: "400 connections that say nothing", dial: (port) => connectSocket({ host: "127.0.0.1", port }) },
  {
    name: "400 TLS handshakes that stop at half",
    dial: (port) => {
      const socket = connectSocket({ host: "127.0.0.1", port });
      // The first bytes of a ClientHello of 512: the node waits for the rest.
      socket.write(Buffer.from("160301020001", "hex"));
      return socket;
    },
  },
  {
    name: "400 strangers without a certificate, again and again",
    dial: (port) => {
      const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
      socket.resume();
      return socket;
    },
  },
];
