import type { ProglogError } from "../base/error.ts";
import { peerAskedAddressesMaxCount, peerIdleMaxMs } from "../base/limits.ts";
import { noWayError } from "../replica/peer-error.ts";
import { OutgoingPeer } from "./outgoing-peer.ts";
import type { PeerContext } from "./peer-context.ts";
import { type PeerWait, waitForPeer } from "./peer-wait.ts";

/**
 * Connections to addresses of which it isn't known who answers there: they ask, and nothing else. One is opened with the first question
 * to its address and serves those that come meanwhile; it goes when nothing was asked for a while.
 */
export class AskedAddresses {
  readonly #context: PeerContext;
  readonly #entries = new Map<string, AskedAddress>();

  constructor(context: PeerContext) {
    this.#context = context;
  }

  get connections(): readonly OutgoingPeer[] {
    return [...this.#entries.values()].flatMap(({ connection }) => connection ?? []);
  }

  async ask(address: string, kind: string, body: Buffer, wait: PeerWait): Promise<Buffer> {
    const entry = this.#entryOf(address);
    entry.waitingCount += 1;
    try {
      const connection = await waitForPeer(entry.opening, wait);
      return await connection.ask(kind, body, wait);
    } finally {
      entry.waitingCount -= 1;
      entry.idleSinceMs = this.#context.clock.monotonic();
    }
  }

  /** Ends those that nobody has used for a while. */
  sweep(nowMs: number): void {
    for (const entry of this.#entries.values())
      if (entry.waitingCount === 0 && nowMs - entry.idleSinceMs > peerIdleMaxMs)
        this.#end(entry, noWayError(entry, "nothing was asked for a while"));
  }

  close(error: ProglogError): void {
    for (const entry of this.#entries.values()) this.#end(entry, error);
  }

  #entryOf(address: string): AskedAddress {
    const known = this.#entries.get(address);
    if (known !== undefined) return known;
    if (this.#entries.size >= peerAskedAddressesMaxCount) {
      const idle = [...this.#entries.values()].find(({ waitingCount }) => waitingCount === 0);
      if (idle === undefined) throw noWayError({ address }, `${peerAskedAddressesMaxCount} other addresses are being asked`);
      this.#end(idle, noWayError(idle, "another address is asked"));
    }
    const abort = new AbortController();
    const opening = OutgoingPeer.dial(this.#context, {
      address,
      purpose: "questions",
      signal: abort.signal,
      onEnd: () => this.#remove(entry),
    });
    const entry: AskedAddress = { address, abort, opening, connection: undefined, waitingCount: 0, idleSinceMs: 0 };
    this.#entries.set(address, entry);
    opening.then(
      (connection) => {
        entry.connection = connection;
        if (connection.isOver) this.#remove(entry);
      },
      () => this.#remove(entry),
    );
    return entry;
  }

  #end(entry: AskedAddress, error: ProglogError): void {
    this.#remove(entry);
    entry.abort.abort();
    entry.connection?.close(error);
  }

  #remove(entry: AskedAddress): void {
    if (this.#entries.get(entry.address) === entry) this.#entries.delete(entry.address);
  }
}

interface AskedAddress {
  readonly address: string;
  readonly abort: AbortController;
  readonly opening: Promise<OutgoingPeer>;
  connection: OutgoingPeer | undefined;
  waitingCount: number;
  idleSinceMs: number;
}
