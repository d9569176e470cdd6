import { messageOf, ProglogError } from "../../base/error.ts";
import type { Disk } from "../../base/disk.ts";
import type { Logger } from "../../base/logger.ts";
import { advanceChain, findChainFault } from "../../log/chain.ts";
import { decodeBaseRecord, type BaseRecord } from "../../log/base-record.ts";
import { hasIncoming, removeIncoming } from "../../log/installing.ts";
import { openIncomingLog, type ReplicaLog, type ReplicaLogOptions } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { InstallOutcome, InstallRequest } from "../../raft/install.ts";
import type { NodeId } from "../../raft/member.ts";
import { unknownMembership } from "../../raft/membership.ts";
import type { Raft } from "../../raft/raft.ts";
import { type BaseAnswer, decodeBaseAnswer, decodeEntriesAnswer, type FetchQuestion } from "./copy-questions.ts";
import { findMemberships } from "./group-log.ts";

/**
 * Fetches what a leader's log begins with, for a replica that lacks what the leader has trimmed: the base record, then the entries of its
 * sealed segments, a piece at a time, into a log beside this one (`installing.ts`). What is fetched is committed, so it stays good whoever
 * leads next: a copy that was broken off, by a lost connection, another leader or a crash, goes on where it stopped.
 *
 * When it is whole, the core is asked; its write order then has `install` put the one log in the place of the other.
 */
export class LogReceiver {
  readonly #parts: ReceiverParts;
  #running: { readonly stop: AbortController; readonly work: Promise<number> } | undefined;
  /** What has had its turn, and may be at the disk. */
  #receiving: Promise<number> | undefined;
  #ready: { readonly received: ReplicaLog; readonly installed: PromiseWithResolvers<void> } | undefined;
  /** What an earlier copy left may be there. */
  #mayBeLeft: boolean;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#mayBeLeft = hasIncoming(parts.disk, parts.directory);
  }

  /** Resolves with the index up to which this replica has the leader's log. One at a time: a later call takes the place of an earlier one. */
  async receive(from: NodeId, term: number, signal: AbortSignal): Promise<number> {
    const previous = this.#running;
    const stop = new AbortController();
    previous?.stop.abort();
    const work = (async () => {
      await previous?.work.catch(() => {});
      return this.#parts.inTurn(() => (this.#receiving = this.#receive(from, term, AbortSignal.any([signal, stop.signal]))));
    })();
    const running = { stop, work };
    this.#running = running;
    try {
      return await work;
    } finally {
      if (this.#running === running) this.#running = undefined;
    }
  }

  /** What the core was told of is put in place. */
  async install(): Promise<void> {
    const ready = this.#ready;
    if (ready === undefined) throw new Error("nothing was received that could be installed");
    this.#ready = undefined;
    try {
      await this.#parts.log.install(ready.received);
      this.#mayBeLeft = false;
      ready.installed.resolve();
    } catch (error) {
      ready.installed.reject(error);
      throw error;
    }
  }

  /** More was committed here: this replica isn't behind anybody's base, and what was received before is needed no more. */
  async progressed(): Promise<void> {
    if (!this.#mayBeLeft || this.#running !== undefined) return;
    this.#mayBeLeft = false;
    const { disk, directory, logger } = this.#parts;
    try {
      await removeIncoming(disk, directory);
    } catch (error) {
      logger.warn({ directory, reason: messageOf(error) }, "could not remove what an earlier catching up left");
    }
  }

  end(): void {
    this.#running?.stop.abort();
    this.#ready?.installed.reject(this.#stoppedError());
    this.#ready = undefined;
  }

  /** Behind `end`: resolves when nothing of it is at the disk any more. */
  async ended(): Promise<void> {
    await this.#receiving?.catch(() => {});
  }

  async #receive(from: NodeId, term: number, signal: AbortSignal): Promise<number> {
    const { raft, disk, directory, logOptions } = this.#parts;
    const offer = decodeBaseAnswer(await this.#ask(from, { group: this.#parts.groupName, wants: "base" }, signal));
    const base = this.#baseOf(from, offer);
    if (base.baseIndex <= raft.commitIndex) return base.baseIndex;
    this.#mayBeLeft = true;
    const isFit = ({ base: found, last }: ReplicaLog): boolean =>
      found.index > raft.commitIndex && last.index >= base.baseIndex;
    const received = await openIncomingLog(directory, { ...logOptions, disk }, { base, isFit });
    let request: InstallRequest;
    try {
      await this.#fetchAll(from, received, offer.lastIndex, signal);
      request = { from, term, ...(await this.#describe(from, received)) };
      await received.finish(offer.logStartOffset);
    } catch (error) {
      await received.close();
      throw error;
    }
    this.#checkGoesOn(signal);
    return this.#offer(request, received);
  }

  #baseOf(from: NodeId, { record, lastIndex, membership }: BaseAnswer): BaseRecord {
    const base = decodeBaseRecord(record)?.record;
    const isSound = base !== undefined && base.logId.equals(this.#parts.log.logId) && base.baseIndex <= lastIndex;
    if (!isSound) throw this.#wrongAnswer(from, "its base record is none of this group");
    return withMembership(base, membership);
  }

  async #fetchAll(from: NodeId, received: ReplicaLog, lastIndex: number, signal: AbortSignal): Promise<void> {
    const { groupName: group } = this.#parts;
    while (received.last.index < lastIndex) {
      this.#checkGoesOn(signal);
      const index = received.last.index + 1;
      const body = await this.#ask(from, { group, wants: "entries", index, lastIndex }, signal);
      const { frames } = decodeEntriesAnswer(body);
      if (frames.length === 0) throw this.#wrongAnswer(from, `entry ${index} isn't among what it sent`);
      this.#checkGoesOn(signal);
      await received.append(this.#entriesOf(from, received, frames));
    }
  }

  /** Each with both its checksums, of this group's log, and following the one before. */
  #entriesOf(from: NodeId, received: ReplicaLog, frames: readonly Buffer[]): StampedEntry[] {
    const entries: StampedEntry[] = [];
    let chain = received.last;
    for (const frame of frames) {
      const entry = received.decodeFromPeer(frame);
      const fault = entry === undefined ? "a frame is damaged" : findChainFault(chain, { ...entry, syncedBack: 0 });
      if (entry === undefined || fault !== undefined) throw this.#wrongAnswer(from, fault ?? "a frame is damaged");
      chain = advanceChain({ ...entry, syncedBack: 0 });
      entries.push(entry);
    }
    return entries;
  }

  async #describe(from: NodeId, received: ReplicaLog): Promise<Pick<InstallRequest, "base" | "membership" | "tail">> {
    const { base, last, termHistory } = received;
    const memberships = await findMemberships(received, unknownMembership);
    const membership = memberships.findLast(({ index }) => index <= base.index);
    if (membership === undefined) throw this.#wrongAnswer(from, "it doesn't tell the group's members");
    const behind = memberships.filter(({ index }) => index > base.index);
    const { index: lastIndex, nextOffset } = last;
    return { base, membership, tail: { lastIndex, nextOffset, termHistory, memberships: behind } };
  }

  async #offer(request: InstallRequest, received: ReplicaLog): Promise<number> {
    const { act, raft, disk, directory, logger, groupName } = this.#parts;
    const installed = Promise.withResolvers<void>();
    installed.promise.catch(() => {});
    this.#ready = { received, installed };
    let outcome: InstallOutcome | undefined;
    act(() => {
      outcome = raft.installBase(request);
    });
    switch (outcome) {
      case "accepted":
        await installed.promise;
        logger.info(
          { group: groupName, from: request.from, baseIndex: request.base.index, lastIndex: received.last.index },
          "this replica was too far behind, and has what its leader's log begins with",
        );
        return received.last.index;
      case "unneeded":
        this.#ready = undefined;
        await removeIncoming(disk, directory);
        return request.base.index;
      case "malformed":
      case "contradiction":
        this.#ready = undefined;
        logger.error({ group: groupName, from: request.from, outcome }, "what a leader's log begins with can't be installed");
        await removeIncoming(disk, directory);
        throw this.#wrongAnswer(request.from, "what it sent can't be that group's log");
      default:
        this.#ready = undefined;
        throw this.#stoppedError();
    }
  }

  #ask(from: NodeId, question: FetchQuestion, signal: AbortSignal): Promise<Buffer> {
    this.#checkGoesOn(signal);
    return this.#parts.fetch(from, question, signal);
  }

  #checkGoesOn(signal: AbortSignal): void {
    if (signal.aborted) throw this.#stoppedError();
  }

  #stoppedError(): ProglogError {
    return new ProglogError("CANCELLED", "Cannot go on catching up: nobody waits for it any more");
  }

  #wrongAnswer(from: NodeId, reason: string): ProglogError {
    return new ProglogError("UNAVAILABLE", `Cannot catch up with ${from}: ${reason}`);
  }
}

export interface ReceiverParts {
  readonly groupName: string;
  readonly directory: string;
  readonly disk: Disk;
  readonly log: ReplicaLog;
  /** What the log was opened with. */
  readonly logOptions: ReplicaLogOptions;
  readonly raft: Raft;
  readonly logger: Logger;
  /** Asks a peer. */
  readonly fetch: (from: NodeId, question: FetchQuestion, signal: AbortSignal) => Promise<Buffer>;
  /** Lets something happen to the core, and does what follows. */
  readonly act: (event: () => void) => void;
  /** Runs it when it is its turn among all groups of the node. */
  readonly inTurn: <Result>(run: () => Promise<Result>) => Promise<Result>;
}

/** With the membership in force at the base among those that are listed, as if it were the base's own entry where it isn't there any more. */
function withMembership(base: BaseRecord, payload: Buffer): BaseRecord {
  const { baseIndex, controls } = base;
  const isListed = controls.entries.some(({ kind, index }) => kind === "membership" && index <= baseIndex);
  if (isListed) return base;
  const behind = controls.entries.filter(({ index }) => index > baseIndex);
  const entries = [{ index: baseIndex, kind: "membership" as const, payload }, ...behind];
  return {
    ...base,
    membership: base.membership.length > 0 ? base.membership : payload,
    controls: { fromIndex: Math.max(controls.fromIndex, baseIndex), entries },
  };
}
