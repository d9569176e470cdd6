import { peerAnswerMaxMs } from "../../src/base/cluster-limits.ts";
import { isProglogError, ProglogError } from "../../src/base/error.ts";
import { givenUpError, noWayError, toRefusal, unansweredError } from "../../src/replica/peer-error.ts";
import type {
  AskOptions,
  KnownPeer,
  PeerAddress,
  PeerIdentity,
  PeerListener,
  PeerMessage,
  PeerTransport,
} from "../../src/replica/peer-network.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Network } from "../network.ts";
import type { Machine } from "./machine.ts";
import { copyOfPlain } from "./copy-of-plain.ts";
import { Wire } from "./wire.ts";

/** As the real connections do it (docs/replication.md): who hears nothing for so long drops the connection; a dial may take so long. */
const silenceMaxMs = 4_000;
const pingMs = 1_000;
const handshakeMaxMs = 5_000;
const dialMinMs = 50;
const dialMaxMs = 1_000;

export interface PeersWorld {
  readonly queue: EventQueue;
  readonly network: Network;
  findMachine(address: string): Machine | undefined;
  note(...numbers: readonly number[]): void;
  tell(words: () => string): void;
}

/**
 * The network as one process of a node sees it: connections over the simulated wires, dialed again and again, each one way for messages and
 * questions, with answers coming back on it. Cut wires hold back, silence breaks a connection, and a new life of a peer ends those of
 * the earlier one.
 */
export class SimPeers implements PeerTransport {
  readonly machine: Machine;
  readonly identity: () => PeerIdentity;
  readonly listener: PeerListener;
  isUp = true;
  readonly #world: PeersWorld;
  readonly #ways = new Map<string, Way>();
  /** Those that lead here. */
  readonly #incoming = new Set<Connection>();
  readonly #asked = new Set<Connection>();

  constructor(
    world: PeersWorld,
    machine: Machine,
    { identity, listener }: { readonly identity: () => PeerIdentity; readonly listener: PeerListener },
  ) {
    this.#world = world;
    this.machine = machine;
    this.identity = identity;
    this.listener = listener;
  }

  setPeers(peers: readonly KnownPeer[]): void {
    if (!this.isUp) return;
    const own = this.identity().nodeId;
    const wanted = new Map(peers.filter(({ nodeId }) => nodeId !== own).map((peer) => [peer.nodeId, peer]));
    for (const [nodeId, way] of this.#ways)
      if (wanted.get(nodeId)?.address !== way.peer.address) {
        this.#ways.delete(nodeId);
        way.isWanted = false;
        way.connection?.break("it isn't wanted any more");
      }
    for (const [nodeId, peer] of wanted) {
      if (this.#ways.has(nodeId)) continue;
      const way: Way = { peer, connection: undefined, isWanted: true, delayMs: dialMinMs, number: 0 };
      this.#ways.set(nodeId, way);
      this.#dial(way);
    }
  }

  send(to: string, groupId: string, { message, frames }: PeerMessage): boolean {
    const connection = this.#ways.get(to)?.connection;
    if (!this.isUp || connection === undefined) return false;
    // Nobody writes to what was sent; a copy now would only find what a copy at the end can't.
    connection.there.send(() => {
      this.#world.note(2, connection.from.machine.ordinal, connection.to.machine.ordinal, message.term);
      connection.to.listener.received(connection.fromPeer, groupId, {
        message: copyOfPlain(message),
        frames: frames.map((frame) => Buffer.from(frame)),
      });
    });
    return true;
  }

  async ask(to: PeerAddress, kind: string, body: Buffer, options: AskOptions = {}): Promise<Buffer> {
    const { timeoutMs = peerAnswerMaxMs, signal } = options;
    if (signal?.aborted === true) throw givenUpError(to, kind);
    if (!this.isUp) throw noWayError(to, "this node's connections are closed");
    const asked = Promise.withResolvers<Buffer>();
    const timer = this.machine.clock.setTimer(timeoutMs, () => asked.reject(unansweredError(to, kind, timeoutMs)));
    const given = new AbortController();
    const giveUp = (): void => asked.reject(givenUpError(to, kind));
    signal?.addEventListener("abort", giveUp, { once: true });
    const put = (connection: Connection): void => this.#put(connection, { to, kind, body, asked, signal: given.signal });
    if ("nodeId" in to) {
      const connection = this.#ways.get(to.nodeId)?.connection;
      if (connection === undefined) asked.reject(noWayError(to, "there is no connection"));
      else put(connection);
    } else {
      this.#connect(to.address, {
        up: (connection) => {
          this.#asked.add(connection);
          connection.onBreak = () => this.#asked.delete(connection);
          put(connection);
        },
        failed: (error) => asked.reject(error),
      });
    }
    try {
      return await asked.promise;
    } finally {
      // With a reason of its own no exception has to be made for each question.
      given.abort("answered");
      timer.cancel();
      signal?.removeEventListener("abort", giveUp);
    }
  }

  announce(): void {
    if (!this.isUp) return;
    for (const { connection } of this.#ways.values())
      if (connection !== undefined) connection.there.send(() => connection.introduce(this.identity(), "from"));
    for (const connection of this.#incoming)
      connection.back.send(() => {
        connection.introduce(this.identity(), "to");
        if (connection.isUp && connection.isPeers) connection.from.listener.connected(connection.toPeer);
      });
  }

  async close(): Promise<void> {
    this.end(true);
  }

  /** The process is gone; `tells` where its system still ends the connections. */
  end(tells: boolean): void {
    if (!this.isUp) return;
    this.isUp = false;
    for (const way of this.#ways.values()) way.isWanted = false;
    const open = [...this.#incoming, ...this.#asked, ...[...this.#ways.values()].flatMap(({ connection }) => connection ?? [])];
    for (const connection of open) {
      if (!tells) continue;
      const isOpener = connection.from === this;
      const wire = isOpener ? connection.there : connection.back;
      wire.send(() => connection.break("the other end was closed"));
    }
  }

  /** Takes a connection in; the ones that an earlier life of that node opened, or that lead to it, are over. */
  accept(connection: Connection): void {
    for (const other of this.#incoming)
      if (connection.isPeers && other.isPeers && other.fromPeer.nodeId === connection.fromPeer.nodeId)
        other.break("another one took its place");
    this.#incoming.add(connection);
    this.noticeLife(connection.fromPeer);
  }

  noticeLife({ nodeId, storageId, bootCounter }: PeerIdentity): void {
    const way = this.#ways.get(nodeId);
    const known = way?.connection?.toPeer;
    if (known === undefined || (known.storageId === storageId && known.bootCounter === bootCounter)) return;
    way?.connection?.break("the node there has begun another life");
  }

  forget(connection: Connection): void {
    this.#incoming.delete(connection);
  }

  #put(connection: Connection, { to, kind, body, asked, signal }: Question): void {
    connection.failures.add(asked.reject);
    const end = (): void => void connection.failures.delete(asked.reject);
    asked.promise.then(end, end);
    connection.there.send(() => {
      this.#world.note(3, connection.from.machine.ordinal, connection.to.machine.ordinal, body.length);
      if (signal.aborted) return;
      const answered = Promise.try(() => connection.to.listener.answer(connection.fromPeer, kind, Buffer.from(body), signal));
      answered.then(
        (answer) => connection.back.send(() => asked.resolve(Buffer.from(answer))),
        (error: unknown) => {
          if (!isProglogError(error)) connection.to.machine.foundFault(error);
          connection.back.send(() => asked.reject(copyOf(toRefusal(error))));
        },
      );
    });
    if (!connection.isUp) asked.reject(noWayError(to, "the connection broke"));
  }

  #dial(way: Way): void {
    if (!way.isWanted || !this.isUp) return;
    way.number += 1;
    const again = (error?: ProglogError): void => {
      if (error !== undefined) this.#world.tell(() => `${this.machine.name} can't dial ${way.peer.nodeId}: ${error.message}`);
      const { delayMs } = way;
      way.delayMs = Math.min(2 * delayMs, dialMaxMs);
      this.#world.queue.after(delayMs, () => this.machine.arrive(() => this.#dial(way)));
    };
    this.#connect(way.peer.address, {
      nodeId: way.peer.nodeId,
      up: (connection) => {
        if (!way.isWanted || !this.isUp) {
          connection.break("it isn't wanted any more");
          return;
        }
        way.connection = connection;
        way.delayMs = dialMinMs;
        connection.onBreak = (why) => {
          way.connection = undefined;
          if (!this.isUp) return;
          this.#world.tell(() => `${this.machine.name} has no way to ${way.peer.nodeId}: ${why}`);
          this.listener.disconnected(way.peer.nodeId);
          again();
        };
        this.listener.connected(connection.toPeer);
        this.noticeLife(connection.toPeer);
      },
      failed: again,
    });
  }

  #connect(address: string, { nodeId, up, failed }: Dial): void {
    const { queue, network } = this.#world;
    const target = this.#world.findMachine(address);
    const here = this.machine;
    if (target === undefined)
      return void queue.after(1, () => here.arrive(() => failed(noWayError({ address }, "nobody is there"))));
    const tripMs = network.drawDelayMs() + network.drawDelayMs();
    const fail = (error: ProglogError): void => here.arrive(() => this.isUp && failed(error));
    queue.after(tripMs, () => {
      if (network.isCut(here.name, target.name) || network.isCut(target.name, here.name)) {
        queue.after(handshakeMaxMs, () => fail(noWayError({ address }, "nothing is heard from there")));
        return;
      }
      const wasUp = target.peers?.isUp;
      if (wasUp !== true) return fail(noWayError({ address }, "nobody listens there"));
      target.arrive(() =>
        here.arrive(() => {
          const to = target.peers;
          if (!this.isUp) return;
          if (to?.isUp !== true) return failed(noWayError({ address }, "nobody listens there"));
          const [fromPeer, toPeer] = [this.identity(), to.identity()];
          try {
            if (nodeId !== undefined && toPeer.nodeId !== nodeId)
              throw new ProglogError("PEER_REFUSED", `Cannot speak with ${nodeId}: ${toPeer.nodeId} is at ${address}`);
            to.listener.check(fromPeer);
            this.listener.check(toPeer);
          } catch (error) {
            if (!isProglogError(error)) target.foundFault(error);
            const refusal = copyOf(toRefusal(error));
            this.listener.refused?.(refusal);
            return failed(refusal);
          }
          const connection = new Connection(this.#world, { from: this, to, fromPeer, toPeer, isPeers: nodeId !== undefined });
          to.accept(connection);
          up(connection);
        }),
      );
    });
  }
}

/** One connection, from who dialed to who was dialed. */
export class Connection {
  readonly from: SimPeers;
  readonly to: SimPeers;
  /** Who they said they are, last. */
  fromPeer: PeerIdentity;
  toPeer: PeerIdentity;
  /** For messages; others carry one question. */
  readonly isPeers: boolean;
  readonly there: Wire;
  readonly back: Wire;
  readonly failures = new Set<(error: ProglogError) => void>();
  isUp = true;
  onBreak: (why: string) => void = () => {};
  #silentMs = 0;
  readonly #world: PeersWorld;

  constructor(
    world: PeersWorld,
    parts: {
      readonly from: SimPeers;
      readonly to: SimPeers;
      readonly fromPeer: PeerIdentity;
      readonly toPeer: PeerIdentity;
      readonly isPeers: boolean;
    },
  ) {
    this.#world = world;
    this.from = parts.from;
    this.to = parts.to;
    this.fromPeer = parts.fromPeer;
    this.toPeer = parts.toPeer;
    this.isPeers = parts.isPeers;
    const { queue, network } = world;
    const [here, target] = [this.from.machine, this.to.machine];
    this.there = new Wire({
      ...{ from: here.name, to: target.name, network, queue },
      arrive: (run) => target.arrive(() => this.to.isUp && run()),
    });
    this.back = new Wire({
      ...{ from: target.name, to: here.name, network, queue },
      arrive: (run) => here.arrive(() => this.from.isUp && run()),
    });
    queue.after(pingMs, () => this.#ping());
  }

  /** Says anew who one end is: the other may not want to speak with it any more. */
  introduce(peer: PeerIdentity, end: "from" | "to"): void {
    if (end === "from") this.fromPeer = peer;
    else this.toPeer = peer;
    try {
      (end === "from" ? this.to : this.from).listener.check(peer);
    } catch (error) {
      if (!isProglogError(error)) this.to.machine.foundFault(error);
      this.break("who is there isn't spoken with");
    }
  }

  break(why: string): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.there.break();
    this.back.break();
    this.to.forget(this);
    const error = noWayError({ nodeId: this.toPeer.nodeId }, "the connection broke");
    this.from.machine.arrive(() => {
      this.onBreak(why);
      if (this.from.isUp) for (const fail of this.failures) fail(error);
    });
  }

  #ping(): void {
    if (!this.isUp) return;
    const [here, target] = [this.from.machine, this.to.machine];
    const { network, queue } = this.#world;
    const isCut = network.isCut(here.name, target.name) || network.isCut(target.name, here.name);
    const isHeard = !isCut && !target.isStopped && this.to.isUp;
    this.#silentMs = isHeard ? 0 : this.#silentMs + pingMs;
    // Its system answers for a process that is gone.
    const isReset = !isCut && !this.to.isUp && target.peers !== this.to && target.condition === "up";
    if (this.#silentMs >= silenceMaxMs || isReset || !this.from.isUp) return this.break("nothing was heard");
    // A question's connection ends with it.
    if (!this.isPeers && this.failures.size === 0) return this.break("it is done");
    queue.after(pingMs, () => this.#ping());
  }
}

interface Way {
  readonly peer: KnownPeer;
  connection: Connection | undefined;
  isWanted: boolean;
  delayMs: number;
  number: number;
}

interface Dial {
  /** Who is to be there; anybody when undefined. */
  readonly nodeId?: string;
  readonly up: (connection: Connection) => void;
  readonly failed: (error: ProglogError) => void;
}

interface Question {
  readonly to: PeerAddress;
  readonly kind: string;
  readonly body: Buffer;
  readonly asked: PromiseWithResolvers<Buffer>;
  readonly signal: AbortSignal;
}

/** What a peer refused with doesn't bring its cause along. */
function copyOf({ code, message, hint, details }: ProglogError): ProglogError {
  return new ProglogError(code, message, { ...(hint === undefined ? {} : { hint }), details });
}
