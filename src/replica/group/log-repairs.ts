import type { Clock, Timer } from "../../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { repairRetryMaxMs, repairRetryMinMs } from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import { entryFlags } from "../../log/frame.ts";
import type { ReplicaLog } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { NodeId } from "../../raft/member.ts";
import { membersOf } from "../../raft/membership.ts";
import type { Raft } from "../../raft/raft.ts";
import { membershipOf } from "../../raft/raft-state.ts";
import { decodeEntriesAnswer, type FetchQuestion } from "./copy-questions.ts";

/**
 * Repairs what rotted in this replica's log, by itself: the same entries are fetched from the other members, whichever has them whole. An
 * entry is the same where index and term are; and since each piece is asked of one after the other, a log heals that is bad at another
 * place on each node.
 *
 * What all others have trimmed isn't repaired but trimmed here as well.
 *
 * Until it is whole the replica doesn't vote or lead (`GroupDamage`), and is read where it isn't hit.
 */
export class LogRepairs {
  readonly #parts: RepairParts;
  /** Stores in which something is bad. */
  readonly #stores = new Set<string>();
  readonly #stopped = new AbortController();
  #isRunning = false;
  #retryMs = repairRetryMinMs;
  #timer: Timer | undefined;
  /** Who had what was asked for last. */
  #helper: NodeId | undefined;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /** Something is bad in a store. */
  found(store: string): void {
    this.#stores.add(store);
    if (this.#isRunning || this.#timer !== undefined || this.#stopped.signal.aborted) return;
    this.#isRunning = true;
    // Who found it is still in the middle of something.
    queueMicrotask(() => void this.#run());
  }

  /** Another log has taken the place of this one. */
  forgetAll(): void {
    this.#stores.clear();
    this.#parts.repaired();
  }

  end(): void {
    this.#stopped.abort();
    this.#timer?.cancel();
  }

  /** Never rejects: what can't be repaired now is tried again later. */
  async #run(): Promise<void> {
    const { groupName: group, logger, log, observer, repaired } = this.#parts;
    let isStuck = false;
    for (const store of [...this.#stores]) {
      if (this.#stopped.signal.aborted) return;
      try {
        this.#stores.delete(store);
        const { entries, bytes } = await log.repairStore(store, (index, lastIndex) => this.#fetch(index, lastIndex));
        if (this.#stopped.signal.aborted) return;
        if (entries > 0) {
          logger.info({ group, store, entries, bytes }, "a damaged part of a replica's log was repaired from its peers");
          observer?.({ entries, bytes });
        }
      } catch (error) {
        if (this.#stopped.signal.aborted || isProglogError(error, "LOG_CLOSED")) return;
        this.#stores.add(store);
        isStuck = true;
        logger.warn({ group, store, reason: messageOf(error) }, "a damaged part of a replica's log couldn't be repaired yet");
      }
    }
    this.#isRunning = false;
    if (this.#stores.size === 0) {
      this.#retryMs = repairRetryMinMs;
      repaired();
    } else this.#runLater(isStuck);
  }

  #runLater(isStuck: boolean): void {
    const { clock } = this.#parts;
    if (!isStuck) {
      for (const store of this.#stores) this.found(store);
      return;
    }
    this.#timer = clock.setTimer(this.#retryMs, () => {
      this.#timer = undefined;
      this.#isRunning = true;
      void this.#run();
    });
    this.#retryMs = Math.min(2 * this.#retryMs, repairRetryMaxMs);
  }

  /** Of whoever has them: the one who had the last, then the others. */
  async #fetch(index: number, lastIndex: number): Promise<readonly StampedEntry[]> {
    const { raft, fetch, groupName: group } = this.#parts;
    const { self } = raft.state;
    const others = membersOf(membershipOf(raft.state)).filter(({ nodeId }) => nodeId !== self.nodeId);
    const peers = others.map(({ nodeId }) => nodeId);
    let failure: unknown = new ProglogError("UNAVAILABLE", `Cannot fetch entry ${index}: nobody else has a replica`);
    for (const peer of peers.toSorted((a, b) => Number(b === this.#helper) - Number(a === this.#helper))) {
      if (this.#stopped.signal.aborted) break;
      try {
        const body = await fetch(peer, { group, wants: "entries", index, lastIndex }, this.#stopped.signal);
        const entries = this.#entriesOf(peer, index, lastIndex, decodeEntriesAnswer(body).frames);
        this.#helper = peer;
        return entries;
      } catch (error) {
        if (!isProglogError(error)) throw error;
        failure = error;
        await this.#trimAs(error, lastIndex);
      }
    }
    throw failure;
  }

  /**
   * Where a peer has trimmed all that was asked for, the trim is committed, and this replica perhaps hasn't heard of it yet: out of the write path
   * it may never. So it trims as far, and what is bad goes with it.
   */
  async #trimAs(error: ProglogError, lastIndex: number): Promise<void> {
    const { log, trimmed } = this.#parts;
    const { baseIndex, logStartOffset } = error.details;
    if (error.code !== "OFFSET_OUT_OF_RANGE" || typeof baseIndex !== "number" || typeof logStartOffset !== "number") return;
    const offset = Math.min(logStartOffset, log.log.highWatermark);
    if (baseIndex < lastIndex || offset <= log.log.logStartOffset) return;
    await log.trim(offset);
    if (!this.#stopped.signal.aborted) trimmed();
  }

  /** Whole, one behind the other from `index` on, and of the terms that this log has there: else they are another log's. */
  #entriesOf(peer: NodeId, index: number, lastIndex: number, frames: readonly Buffer[]): StampedEntry[] {
    const { log, raft } = this.#parts;
    const wrong = (reason: string) => new ProglogError("UNAVAILABLE", `Cannot use what ${peer} sent of the log: ${reason}`);
    if (frames.length === 0) throw wrong(`entry ${index} isn't among it`);
    return frames.map((frame, position) => {
      const entry = log.decodeFromPeer(frame);
      if (entry === undefined) throw wrong("a frame is damaged");
      if (entry.index !== index + position || entry.index > lastIndex) throw wrong(`entry ${entry.index} wasn't asked for`);
      if (entry.term !== raft.termAt(entry.index)) throw wrong(`entry ${entry.index} is of term ${entry.term}`);
      // What repair without peers gave up there is lost there alone.
      if ((entry.flags & entryFlags.lost) !== 0) throw wrong(`entry ${entry.index} is lost there`);
      const isCompacted = (entry.flags & entryFlags.compacted) !== 0;
      if (isCompacted && entry.index > raft.commitIndex)
        throw wrong(`entry ${entry.index} is compacted, and not known committed`);
      return entry;
    });
  }
}

export interface RepairParts {
  readonly groupName: string;
  readonly log: ReplicaLog;
  readonly raft: Raft;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asks a peer. */
  readonly fetch: (from: NodeId, question: FetchQuestion, signal: AbortSignal) => Promise<Buffer>;
  /** The log begins behind another base now. */
  readonly trimmed: () => void;
  /** Told what was fetched, for metrics. */
  readonly observer: ((event: { readonly entries: number; readonly bytes: number }) => void) | undefined;
  /** Nothing is known to be bad any more. */
  readonly repaired: () => void;
}
