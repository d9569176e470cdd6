import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { peerAnswerMaxMs } from "../base/cluster-limits.ts";
import type { NodeId } from "../raft/member.ts";
import { givenUpError, noWayError, toRefusal, unansweredError } from "./peer-error.ts";
import type {
  AskOptions,
  KnownPeer,
  PeerAddress,
  PeerIdentity,
  PeerListener,
  PeerMessage,
  PeerTransport,
} from "./peer-network.ts";

/**
 * A network between nodes of one process, for tests: nothing is lost but what a cut or a stop takes, all that is sent arrives in the
 * order in which it was sent, in a later turn, and the same calls give the same run. Frames and bodies are copied when they arrive:
 * two nodes share no bytes.
 *
 * A link is one way, from who sends or asks to who is told or asked, as a connection is (docs/replication.md); answers come back on it.
 */
export class MemoryPeers {
  readonly #clock: Clock;
  readonly #nodes = new Map<NodeId, MemoryNode>();
  readonly #cuts = new Set<string>();
  #deliveries: (() => void)[] = [];
  #pumping: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A node that is up from now on; an earlier life of it is stopped. It is connected with all there are until `setPeers` says otherwise.
   * `identity` is asked for at each handshake.
   */
  join(identity: () => PeerIdentity, listener: PeerListener): PeerTransport {
    const { nodeId } = identity();
    this.stop(nodeId);
    const node = new MemoryNode(this, identity, listener);
    this.#nodes.set(nodeId, node);
    this.connectAll();
    return node;
  }

  /** The node is gone at once, with all that was on its way to it and from it. */
  stop(nodeId: NodeId): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    this.#nodes.delete(nodeId);
    node.isUp = false;
    for (const link of node.links.values()) this.#break(node, link);
    node.breakQuestions(() => true);
    for (const other of this.#nodes.values()) {
      this.#breakTo(other, nodeId);
      other.breakQuestions(({ target }) => target === node);
    }
  }

  /** Nothing gets from the one to the other any more, answers to the other's questions included; what is under way is lost. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(linkName(from, to));
    const node = this.#nodes.get(from);
    if (node !== undefined) this.#breakTo(node, to);
  }

  mend(from: NodeId, to: NodeId): void {
    this.#cuts.delete(linkName(from, to));
    this.connectAll();
  }

  /** Cuts a node off from all others, both ways. */
  isolate(nodeId: NodeId): void {
    for (const other of this.#nodes.keys()) {
      if (other === nodeId) continue;
      this.cut(nodeId, other);
      this.cut(other, nodeId);
    }
  }

  mendAll(): void {
    this.#cuts.clear();
    this.connectAll();
  }

  /** Resolves when nothing is on its way: what listeners do in later turns of their own may send again. */
  async settled(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping;
  }

  /** For the nodes: makes the links that can be and aren't. */
  connectAll(): void {
    for (const from of this.#nodes.values())
      for (const to of this.#nodes.values()) {
        const toId = to.identity().nodeId;
        if (from === to || from.links.has(toId) || !from.knows(toId) || this.isCut(from.nodeId, toId)) continue;
        if (this.#canSpeak(from, to)) this.#connect(from, to);
      }
  }

  disconnectUnknown(node: MemoryNode): void {
    for (const nodeId of node.links.keys()) if (!node.knows(nodeId)) this.#breakTo(node, nodeId);
  }

  /** A node says anew who it is: links on which one end doesn't want to speak with the other any more break. */
  announce(node: MemoryNode): void {
    for (const other of this.#nodes.values()) {
      if (other === node) continue;
      for (const [from, to] of [
        [node, other],
        [other, node],
      ] as const) {
        const link = from.links.get(to.nodeId);
        if (link === undefined) continue;
        if (this.#canSpeak(from, to)) this.#tell(link, from, to);
        else this.#breakTo(from, to.nodeId);
      }
    }
    this.connectAll();
  }

  isCut(from: NodeId, to: NodeId): boolean {
    return this.#cuts.has(linkName(from, to));
  }

  findNode(to: PeerAddress): MemoryNode | undefined {
    if ("nodeId" in to) return this.#nodes.get(to.nodeId);
    for (const node of this.#nodes.values()) if (node.identity().address === to.address) return node;
    return undefined;
  }

  #canSpeak(from: MemoryNode, to: MemoryNode): boolean {
    try {
      checkEachOther(from, to);
      return true;
    } catch (error) {
      if (isProglogError(error)) from.listener.refused?.(copyOf(error));
      return false;
    }
  }

  /** A link for one question, to an address: it is nobody's. Throws as the handshake would. */
  linkFor(from: MemoryNode, to: PeerAddress): MemoryLink {
    if (!from.isUp) throw noWayError(to, "this node's connections are closed");
    if ("nodeId" in to) {
      const link = from.links.get(to.nodeId);
      if (link === undefined) throw noWayError(to, "there is no connection");
      return link;
    }
    const target = this.findNode(to);
    if (target === undefined || this.isCut(from.nodeId, target.nodeId) || this.isCut(target.nodeId, from.nodeId))
      throw noWayError(to, "nobody is reached there");
    checkEachOther(from, target);
    return { from: from.identity(), target, isUp: true };
  }

  /** Runs it in a later turn, behind all that was given before. */
  later(run: () => void): void {
    this.#deliveries.push(run);
    this.#pumping ??= this.#pump();
  }

  setTimer(delayMs: number, run: () => void): { cancel(): void } {
    return this.#clock.setTimer(delayMs, run);
  }

  #connect(from: MemoryNode, to: MemoryNode): void {
    const link: MemoryLink = { from: from.identity(), target: to, isUp: true };
    from.links.set(to.nodeId, link);
    this.#tell(link, from, to);
  }

  #tell(link: MemoryLink, from: MemoryNode, to: MemoryNode): void {
    link.from = from.identity();
    const peer = to.identity();
    this.later(() => {
      if (link.isUp) from.listener.connected(peer);
    });
  }

  #breakTo(from: MemoryNode, to: NodeId): void {
    const link = from.links.get(to);
    if (link !== undefined) this.#break(from, link);
  }

  #break(from: MemoryNode, link: MemoryLink): void {
    link.isUp = false;
    from.links.delete(link.target.nodeId);
    const { nodeId } = link.target;
    this.later(() => {
      if (from.isUp) from.listener.disconnected(nodeId);
    });
    from.breakQuestions((asked) => asked === link);
  }

  /** One turn after the other, each with what was given until it began. */
  async #pump(): Promise<void> {
    try {
      while (this.#deliveries.length > 0) {
        await this.#clock.turn();
        const due = this.#deliveries;
        this.#deliveries = [];
        for (const deliver of due) deliver();
      }
    } finally {
      this.#pumping = undefined;
    }
  }
}

/** One way between two lives of two nodes. */
interface MemoryLink {
  /** Who speaks, as it said last. */
  from: PeerIdentity;
  readonly target: MemoryNode;
  isUp: boolean;
}

class MemoryNode implements PeerTransport {
  readonly nodeId: NodeId;
  readonly identity: () => PeerIdentity;
  readonly listener: PeerListener;
  readonly links = new Map<NodeId, MemoryLink>();
  isUp = true;
  readonly #network: MemoryPeers;
  readonly #questions = new Set<Question>();
  #known: ReadonlySet<NodeId> | undefined;

  constructor(network: MemoryPeers, identity: () => PeerIdentity, listener: PeerListener) {
    this.#network = network;
    this.identity = identity;
    this.listener = listener;
    this.nodeId = identity().nodeId;
  }

  knows(nodeId: NodeId): boolean {
    return this.#known?.has(nodeId) ?? true;
  }

  send(to: NodeId, groupId: string, { message, frames }: PeerMessage): boolean {
    assert(message.kind !== "append" || message.entries.length === 0, "the entries of a message between peers are frames");
    const link = this.links.get(to);
    if (link === undefined) return false;
    this.#network.later(() => {
      if (!link.isUp || !link.target.isUp) return;
      link.target.listener.received(link.from, groupId, {
        message: structuredClone(message),
        frames: frames.map((frame) => Buffer.from(frame)),
      });
    });
    return true;
  }

  async ask(to: PeerAddress, kind: string, body: Buffer, options: AskOptions = {}): Promise<Buffer> {
    const { timeoutMs = peerAnswerMaxMs, signal } = options;
    if (signal?.aborted === true) throw givenUpError(to, kind);
    const link = this.#network.linkFor(this, to);
    const asked = Promise.withResolvers<Buffer>();
    const given = new AbortController();
    const question: Question = {
      link,
      fail: (error) => {
        given.abort();
        asked.reject(error);
      },
    };
    const giveUp = (): void => question.fail(givenUpError(to, kind));
    signal?.addEventListener("abort", giveUp, { once: true });
    const timer = this.#network.setTimer(timeoutMs, () => question.fail(unansweredError(to, kind, timeoutMs)));
    this.#questions.add(question);
    this.#network.later(() => {
      if (!link.isUp || !link.target.isUp) return question.fail(noWayError(to, "the connection broke"));
      if (given.signal.aborted) return;
      const answer = Promise.try(() => link.target.listener.answer(link.from, kind, Buffer.from(body), given.signal));
      void this.#carryAnswer(to, question, asked, answer);
    });
    try {
      return await asked.promise;
    } finally {
      this.#questions.delete(question);
      signal?.removeEventListener("abort", giveUp);
      timer.cancel();
    }
  }

  async #carryAnswer(
    to: PeerAddress,
    { link, fail }: Question,
    asked: PromiseWithResolvers<Buffer>,
    answer: Promise<Buffer>,
  ): Promise<void> {
    const deliver = await answer.then(
      (body) => () => asked.resolve(Buffer.from(body)),
      (error: unknown) => () => asked.reject(copyOf(toRefusal(error))),
    );
    this.#network.later(() => {
      const isWayBack = link.isUp && link.target.isUp && !this.#network.isCut(link.target.nodeId, this.nodeId);
      if (isWayBack) deliver();
      else fail(noWayError(to, "the connection broke"));
    });
  }

  breakQuestions(isBroken: (link: MemoryLink) => boolean): void {
    for (const { link, fail } of this.#questions)
      if (isBroken(link)) fail(noWayError({ nodeId: link.target.nodeId }, "the connection broke"));
  }

  setPeers(peers: readonly KnownPeer[]): void {
    this.#known = new Set(peers.map(({ nodeId }) => nodeId));
    if (!this.isUp) return;
    this.#network.disconnectUnknown(this);
    this.#network.connectAll();
  }

  announce(): void {
    if (this.isUp) this.#network.announce(this);
  }

  async close(): Promise<void> {
    if (this.isUp) this.#network.stop(this.nodeId);
  }
}

interface Question {
  readonly link: MemoryLink;
  readonly fail: (error: ProglogError) => void;
}

function checkEachOther(from: MemoryNode, to: MemoryNode): void {
  to.listener.check(from.identity());
  from.listener.check(to.identity());
}

/** What a peer refused with doesn't bring its cause along. */
function copyOf({ code, message, hint, details }: ProglogError): ProglogError {
  return new ProglogError(code, message, { ...(hint === undefined ? {} : { hint }), details });
}

function linkName(from: NodeId, to: NodeId): string {
  return `${from}>${to}`;
}
