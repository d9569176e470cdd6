import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/error.ts";
import { leaderNewsRetryMs } from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { NodeId } from "../../raft/member.ts";
import type { PeerNetwork } from "../peer-network.ts";
import { decodeLeaderNews, encodeLeaderNews, type GroupTerm, type LeaderNews } from "./leader-news.ts";
import type { LeaderTable } from "./leader-table.ts";

export const leadersQuestion = "leaders";

export interface LeaderExchangeOptions {
  readonly ask: PeerNetwork["ask"];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly table: LeaderTable;
  /** All that this node leads. */
  readonly led: () => Iterable<GroupTerm>;
  /** All whose replicas here are out of action. */
  readonly out: () => Iterable<string>;
  /** A peer's replica of a group is out of action, or back. */
  readonly heardOut: (peer: NodeId, groupId: string, isOut: boolean) => void;
}

/**
 * Nodes tell each other what they lead: everything when they meet, and what changes from then on. One question to a peer at a time, with
 * all that gathered meanwhile; after one that failed everything is told again. With it goes which of their replicas are out of action:
 * what only a node can say of a replica that says nothing more (docs/raft.md, "Sleeping groups").
 */
export class LeaderExchange {
  readonly #options: LeaderExchangeOptions;
  readonly #peers = new Map<NodeId, Peer>();
  /** As peers said last. */
  readonly #out = new Map<NodeId, ReadonlySet<string>>();

  constructor(options: LeaderExchangeOptions) {
    this.#options = options;
  }

  connected(nodeId: NodeId): void {
    this.#peers.set(nodeId, { changes: new Map(), needsAll: true, needsOut: false, isAsking: false, retryAtMs: 0 });
  }

  disconnected(nodeId: NodeId): void {
    this.#peers.delete(nodeId);
    const out = this.#out.get(nodeId) ?? [];
    this.#out.delete(nodeId);
    // What it says when it is back tells of those that are out then. If it isn't, it is lost to all groups as a whole, in a second.
    for (const groupId of out) this.#options.heardOut(nodeId, groupId, false);
  }

  /** A replica here went out of action, or is back. */
  outChanged(): void {
    for (const peer of this.#peers.values()) peer.needsOut = true;
  }

  /** The peers whose replicas of a group are out of action. */
  outOf(groupId: string): readonly NodeId[] {
    return [...this.#out].filter(([, groupIds]) => groupIds.has(groupId)).map(([nodeId]) => nodeId);
  }

  /** This node leads the group from now on, or has left its lead in that term. */
  changed([groupId, term]: GroupTerm, isLed: boolean): void {
    for (const peer of this.#peers.values()) if (!peer.needsAll) peer.changes.set(groupId, { term, isLed });
  }

  /** Tells what there is to tell: at each tick, so that an election of a thousand groups is one question. */
  tell(): void {
    const nowMs = this.#options.clock.monotonic();
    for (const [nodeId, peer] of this.#peers) {
      const hasNews = peer.needsAll || peer.needsOut || peer.changes.size > 0;
      if (!hasNews || peer.isAsking || nowMs < peer.retryAtMs) continue;
      void this.#ask(nodeId, peer);
    }
  }

  /** What another node asks by `leadersQuestion`. Throws INVALID_ARGUMENT. */
  answer(from: NodeId, body: Buffer): Buffer {
    const news = decodeLeaderNews(body);
    this.#take(from, news);
    const { led, out } = this.#options;
    return encodeLeaderNews({ isFull: news.isFull, leads: news.isFull ? [...led()] : [], left: [], out: [...out()] });
  }

  /** Never rejects. */
  async #ask(nodeId: NodeId, peer: Peer): Promise<void> {
    const news = this.#newsFor(peer);
    peer.isAsking = true;
    peer.needsAll = false;
    peer.needsOut = false;
    peer.changes.clear();
    try {
      const answer = await this.#options.ask({ nodeId }, leadersQuestion, encodeLeaderNews(news));
      this.#take(nodeId, decodeLeaderNews(answer));
    } catch (error) {
      this.#options.logger.debug({ peer: nodeId, reason: messageOf(error) }, "a peer wasn't told who leads what");
      peer.needsAll = true;
      peer.retryAtMs = this.#options.clock.monotonic() + leaderNewsRetryMs;
    } finally {
      peer.isAsking = false;
    }
  }

  #newsFor({ needsAll, changes }: Peer): LeaderNews {
    const out = [...this.#options.out()];
    if (needsAll) return { isFull: true, leads: [...this.#options.led()], left: [], out };
    const leads: GroupTerm[] = [];
    const left: GroupTerm[] = [];
    for (const [groupId, { term, isLed }] of changes) (isLed ? leads : left).push([groupId, term]);
    return { isFull: false, leads, left, out };
  }

  #take(from: NodeId, { isFull, leads, left, out }: LeaderNews): void {
    const { table, heardOut } = this.#options;
    if (isFull) table.leftAllBut(from, new Set(leads.map(([groupId]) => groupId)));
    for (const [groupId, term] of leads) table.led(groupId, { leaderId: from, term });
    for (const [groupId, term] of left) table.left(groupId, { leaderId: from, term });
    const before = this.#out.get(from) ?? new Set();
    const now = new Set(out);
    this.#out.set(from, now);
    for (const groupId of now) if (!before.has(groupId)) heardOut(from, groupId, true);
    for (const groupId of before) if (!now.has(groupId)) heardOut(from, groupId, false);
  }
}

interface Peer {
  /** Since it was told everything. */
  readonly changes: Map<string, { readonly term: number; readonly isLed: boolean }>;
  needsAll: boolean;
  needsOut: boolean;
  isAsking: boolean;
  retryAtMs: number;
}
