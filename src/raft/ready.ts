import type { Entry } from "./entry.ts";
import type { InstalledLog } from "./log-coordinates.ts";
import type { Member, NodeId } from "./member.ts";
import type { Message } from "./message.ts";
import type { Role } from "./role.ts";

/** What is to be done. All of it at once and in any order, except that write orders follow each other (docs/raft.md). */
export interface Ready {
  readonly hardState: HardStateOrder | undefined;
  readonly write: WriteOrder | undefined;
  readonly sends: readonly SendOrder[];
  readonly messages: readonly Message[];
  readonly catchUps: readonly CatchUpOrder[];
  /** Catch-ups that were ordered and aren't wanted any more. */
  readonly withdrawals: readonly CatchUpWithdrawal[];
  /** When it moved. */
  readonly commitIndex: number | undefined;
  readonly reads: readonly ReadAnswer[];
  /** When it fell asleep, or woke: whether it is to be ticked. */
  readonly isAsleep: boolean | undefined;
  /** When it changed. */
  readonly role: RoleChange | undefined;
}

/** Make it durable, then report `sequence`. */
export interface HardStateOrder {
  readonly sequence: number;
  readonly term: number;
  readonly vote: Member | undefined;
}

/** Install, truncate, append, in this order; then report durable what was synced, with this generation. */
export interface WriteOrder {
  readonly generation: number;
  /** Of what was shipped: base, and entries up to `lastIndex`. */
  readonly install: InstalledLog | undefined;
  /** The last index that stays. */
  readonly truncateTo: number | undefined;
  /** The very objects that came in a message or went out of `propose`. */
  readonly entries: readonly Entry[];
}

/** Read frames behind `prevIndex`, at least one, up to `maxBytes`; send them as an `append`; report `sent`. */
export interface SendOrder {
  readonly id: number;
  readonly to: NodeId;
  readonly term: number;
  readonly generation: number;
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commitIndex: number;
  readonly maxBytes: number;
}

/** The peer lacks what was trimmed here: give it base record and segments, then report `caughtUp` or `catchUpFailed`. */
export interface CatchUpOrder {
  readonly id: number;
  readonly to: NodeId;
  readonly term: number;
  /** Where the log begins now: what lies behind it is to stay until this is answered. */
  readonly baseIndex: number;
  /** What the peer is known to have. */
  readonly matchIndex: number;
}

/** The peer has it by now, is no member any more, or another leads: what is under way may end, and needs no report. */
export interface CatchUpWithdrawal {
  readonly id: number;
  readonly to: NodeId;
}

/** Of a reader that asked by `id`. */
export type ReadAnswer =
  | { readonly id: number; readonly outcome: "confirmed"; readonly index: number }
  | { readonly id: number; readonly outcome: "failed" };

export interface RoleChange {
  readonly kind: Role["kind"];
  readonly term: number;
  readonly leader: NodeId | undefined;
}
