import type { ReplicaLog } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { Member, NodeId } from "../../raft/member.ts";
import type { Raft } from "../../raft/raft.ts";
import type { SendOrder } from "../../raft/ready.ts";
import type { PeerMessage } from "../peer-network.ts";
import type { EntryWriter } from "./entry-writer.ts";

/**
 * Carries out send orders: entries are sent from memory while they are still to be written, else they are read. An order is held
 * against the core when its entries are at hand, since reading takes time: if anything isn't as it was, it is dropped, and the core
 * told so.
 */
export class SendDispatch {
  readonly #parts: SendParts;
  /** Orders whose entries are being read, by peer: one at a time. */
  readonly #reading = new Map<NodeId, number>();

  constructor(parts: SendParts) {
    this.#parts = parts;
  }

  dispatch(order: SendOrder): void {
    const { writer, log, raft } = this.#parts;
    const unwritten = writer.unwritten(order.prevIndex + 1, order.maxBytes);
    if (unwritten.length > 0) {
      this.#send(order, unwritten);
      return;
    }
    // What the core knows of and isn't here was cut or trimmed, and the order is of before.
    if (order.prevIndex >= log.last.index || order.prevIndex < log.base.index) {
      raft.unreachable(order.to);
      return;
    }
    this.#reading.set(order.to, order.id);
    log.read(order.prevIndex + 1, order.maxBytes).then(
      (frames) => {
        if (this.#isUnderWay(order))
          this.#parts.act(() =>
            this.#send(
              order,
              frames.map((entry) => ({ entry, frame: log.encodeForPeer(entry) })),
            ),
          );
      },
      (error: unknown) => {
        if (this.#isUnderWay(order)) this.#parts.act(() => raft.unreachable(order.to));
        this.#parts.readFailed(error);
      },
    );
  }

  /** What is being read for that peer is dropped: the core knows. */
  forget(to: NodeId): void {
    this.#reading.delete(to);
  }

  #isUnderWay({ to, id }: SendOrder): boolean {
    const isUnderWay = this.#reading.get(to) === id;
    if (isUnderWay) this.#reading.delete(to);
    return isUnderWay;
  }

  #send(order: SendOrder, entries: readonly SentEntry[]): void {
    const { raft, self, send } = this.#parts;
    const { to, term, prevIndex, prevTerm, commitIndex } = order;
    const isCurrent = term === raft.term && order.generation === raft.generation;
    const fits = entries.every(
      ({ entry }, position) => entry.index === prevIndex + 1 + position && raft.termAt(entry.index) === entry.term,
    );
    if (!isCurrent || !fits || entries.length === 0) {
      raft.unreachable(to);
      return;
    }
    const { nodeId, storageId } = self;
    const frames = entries.map(({ frame }) => frame);
    const envelope = { from: nodeId, fromStorage: storageId, to, term };
    const message = { kind: "append", ...envelope, prevIndex, prevTerm, commitIndex, entries: [] } as const;
    if (!send({ message, frames })) {
      raft.unreachable(to);
      return;
    }
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    raft.sent({ to, order: order.id, lastIndex: prevIndex + entries.length, bytes });
  }
}

export interface SendParts {
  readonly self: Member;
  readonly log: Pick<ReplicaLog, "last" | "base" | "read" | "encodeForPeer">;
  readonly raft: Pick<Raft, "term" | "generation" | "termAt" | "sent" | "unreachable">;
  readonly writer: Pick<EntryWriter, "unwritten">;
  /** False when it was dropped. */
  readonly send: (message: PeerMessage) => boolean;
  /** Lets something happen to the core, and does what follows. */
  readonly act: (event: () => void) => void;
  readonly readFailed: (error: unknown) => void;
}

interface SentEntry {
  readonly entry: StampedEntry;
  readonly frame: Buffer;
}
