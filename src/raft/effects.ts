import { heldMessagesMaxCount } from "../base/cluster-limits.ts";
import type { Envelope, Message } from "./message.ts";
import type { CatchUpOrder, CatchUpWithdrawal, ReadAnswer, SendOrder } from "./ready.ts";
import type { RaftState } from "./raft-state.ts";

/** What has come together since `ready()` was last called. */
export interface Effects {
  /** They speak for a hard state that isn't durable yet. In the order of its sequence. */
  readonly held: { readonly sequence: number; readonly message: Message }[];
  messages: Message[];
  sends: SendOrder[];
  catchUps: CatchUpOrder[];
  withdrawals: CatchUpWithdrawal[];
  reads: ReadAnswer[];
  toldCommitIndex: number;
  toldAsleep: boolean;
  toldRole: { readonly kind: string; readonly term: number; readonly leader: string | undefined };
}

type Unaddressed<M> = M extends Message ? Omit<M, keyof Envelope> : never;

/** The part of a message that says something; the envelope is the core's. */
export type MessageBody = Unaddressed<Message>;

/**
 * Sends a message, once the hard state it was made under is durable. All messages go this way: which of them could do without
 * is a proof for each, while hard states change only in elections. Behind a disk that stalls, what is too much is lost, as on a
 * network: its receiver asks again.
 */
export function emit(state: RaftState, to: string, body: MessageBody, term: number = state.hardState.term): void {
  const { effects, hardState, self } = state;
  const message = { ...body, from: self.nodeId, fromStorage: self.storageId, to, term } as Message;
  if (hardState.durableSequence === hardState.sequence) effects.messages.push(message);
  else if (effects.held.length < heldMessagesMaxCount) effects.held.push({ sequence: hardState.sequence, message });
}

/** Lets go what waited for hard states up to the durable one. */
export function releaseHeld({ effects, hardState }: RaftState): void {
  let released = 0;
  for (const { sequence, message } of effects.held) {
    if (sequence > hardState.durableSequence) break;
    effects.messages.push(message);
    released += 1;
  }
  if (released > 0) effects.held.splice(0, released);
}
