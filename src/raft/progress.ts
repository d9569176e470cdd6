import { type ByteWindow, emptyWindow, freeWindow, windowCount } from "./byte-window.ts";
import type { NodeId } from "./member.ts";

/** What a leader knows of a peer. */
export interface Progress {
  readonly nodeId: NodeId;
  /** Up to here the leader's log is on the peer's disk. */
  matchIndex: number;
  /** The first entry that it is to be sent next. */
  nextIndex: number;
  flow: Flow;
  /** The send order that is out, 0 none. One at a time: only its report tells how far it went. */
  order: number;
  /** The order that is out was given up: its report frees the way for the next and says nothing else. */
  isOrderGivenUp: boolean;
  /** The highest commit index that it was told. */
  toldCommitIndex: number;
  /** Heard from since the quorum was last checked. */
  isActive: boolean;
  /** The highest round of reads that it answered. */
  round: number;
  /** The last time that it fell asleep when asked to. */
  sleepRound: number;
  /**
   * Up to here it had acknowledged, and then rejected it: its disk has lost something. It counts for nothing until it has that again;
   * status shows it. 0 when nothing was lost.
   */
  lostIndex: number;
}

export type Flow = ProbeFlow | ReplicateFlow | CatchUpFlow;

/** One append is out: where do the logs agree? */
export interface ProbeFlow {
  readonly kind: "probe";
  /** Until it is answered, or a heartbeat is: then it may have been lost. */
  isWaiting: boolean;
  /** One went out from here already. Who doesn't answer that may be damaged, or may contradict itself: it is asked again without entries. */
  isRepeated: boolean;
}

/** Orders follow each other without waiting, up to the limits of what is in flight. */
export interface ReplicateFlow {
  readonly kind: "replicate";
  readonly inflight: ByteWindow;
  /** An empty append goes out though there is nothing to tell: what was sent may have been lost. */
  isProbing: boolean;
}

/** It lacks what was trimmed here, and is given files by other means. */
export interface CatchUpFlow {
  readonly kind: "catch-up";
  /** Of the order. */
  readonly id: number;
  /** Where the leader's log began then. */
  readonly baseIndex: number;
}

export function newProgress(nodeId: NodeId, nextIndex: number): Progress {
  return {
    nodeId,
    matchIndex: 0,
    nextIndex,
    flow: { kind: "probe", isWaiting: false, isRepeated: false },
    order: 0,
    isOrderGivenUp: false,
    toldCommitIndex: 0,
    isActive: false,
    round: 0,
    sleepRound: 0,
    lostIndex: 0,
  };
}

export function findProgress(peers: readonly Progress[], nodeId: NodeId): Progress | undefined {
  for (const peer of peers) if (peer.nodeId === nodeId) return peer;
  return undefined;
}

export function becomeProbe(peer: Progress, nextIndex: number, isWaiting: boolean): void {
  peer.flow = { kind: "probe", isWaiting, isRepeated: false };
  peer.nextIndex = nextIndex;
  giveUpOrder(peer);
  peer.toldCommitIndex = Math.min(peer.toldCommitIndex, peer.matchIndex);
}

export function becomeReplicate(peer: Progress, nextIndex: number): void {
  peer.flow = { kind: "replicate", inflight: emptyWindow(), isProbing: false };
  peer.nextIndex = nextIndex;
  giveUpOrder(peer);
}

export function becomeCatchUp(peer: Progress, order: { readonly id: number; readonly baseIndex: number }): void {
  peer.flow = { kind: "catch-up", ...order };
  giveUpOrder(peer);
}

/** What an order was to go on from doesn't hold any more. It stays out until it is answered: one at a time. */
function giveUpOrder(peer: Progress): void {
  peer.isOrderGivenUp = peer.order !== 0;
}

/** The order that was out is answered. True when its report counts. */
export function endOrder(peer: Progress): boolean {
  const counts = !peer.isOrderGivenUp;
  peer.order = 0;
  peer.isOrderGivenUp = false;
  return counts;
}

/** Takes an acknowledgement in. False when it says nothing new. */
export function raiseMatch(peer: Progress, matchIndex: number): boolean {
  if (matchIndex <= peer.matchIndex) return false;
  peer.matchIndex = matchIndex;
  if (matchIndex >= peer.lostIndex) peer.lostIndex = 0;
  peer.nextIndex = Math.max(peer.nextIndex, matchIndex + 1);
  if (peer.flow.kind === "replicate") freeWindow(peer.flow.inflight, matchIndex);
  return true;
}

/** It rejected what it had acknowledged. Nothing of what it said holds any more. */
export function forgetMatch(peer: Progress): void {
  peer.lostIndex = Math.max(peer.lostIndex, peer.matchIndex);
  peer.matchIndex = 0;
}

/** What counts of it towards a commit: who broke its word is believed again when it is as good as that. */
export function countedMatch({ matchIndex, lostIndex }: Progress): number {
  return lostIndex > 0 ? 0 : matchIndex;
}

export interface InflightLimits {
  readonly inflightMaxBytes: number;
  readonly inflightMaxCount: number;
}

export function isInflightFull({ inflight }: ReplicateFlow, limits: InflightLimits): boolean {
  return inflight.bytes >= limits.inflightMaxBytes || windowCount(inflight) >= limits.inflightMaxCount;
}
