import { join } from "node:path";
import { findBatchProducer } from "../src/batch/batch-header.ts";
import { assert } from "../src/base/assert.ts";
import type { Clock } from "../src/base/clock.ts";
import type { Disk } from "../src/base/disk.ts";
import { isProglogError, messageOf, type ProglogError } from "../src/base/error.ts";
import { silentLogger } from "../src/base/logger.ts";
import type { Random } from "../src/base/random.ts";
import type { Frame } from "../src/log/frame.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import type { ReplicaLog } from "../src/log/replica-log.ts";
import type { StampedEntry } from "../src/log/stamped-entry.ts";
import type { Member, NodeId } from "../src/raft/member.ts";
import type { ChangeOutcome } from "../src/raft/membership-change.ts";
import type { Membership, MembershipChange } from "../src/raft/membership.ts";
import type { Raft } from "../src/raft/raft.ts";
import type { RaftSettings } from "../src/raft/raft-settings.ts";
import type { RaftState } from "../src/raft/raft-state.ts";
import type { Ready } from "../src/raft/ready.ts";
import type { PeerNetwork } from "../src/replica/peer-network.ts";
import type { CopyQuestionKind } from "../src/replica/group/copy-questions.ts";
import { GroupReplica } from "../src/replica/group/group-replica.ts";
import { HardStateLog } from "../src/replica/group/hard-state-log.ts";
import type { SavedHardState } from "../src/replica/group/hard-state-slot.ts";
import type { PeerMessage } from "../src/replica/peer-network.ts";

export type { PeerMessage };

/** A node of a simulated world: one replica of the world's one group, its hard state in a file of its own, and a clock that ticks. */
export interface RaftNodeOptions {
  readonly self: Member;
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly groupId: Buffer;
  /** Of the group, as it was made; unknown to a node that joins. */
  readonly firstMembership: Membership | undefined;
  readonly settings: RaftSettings;
  readonly segmentMaxBytes: number;
  readonly tickMs: number;
  readonly listener: RaftNodeListener;
}

/** What a node tells those around it. */
export interface RaftNodeListener {
  /** The log was read, and this is what the core begins with. */
  recovered(state: RaftState): void;
  send(message: PeerMessage): void;
  ask: PeerNetwork["ask"];
  /** A scrub found nothing bad. */
  whole(): void;
  /** Term and vote are on the disk. */
  saved(hardState: SavedHardState): void;
  stepped(ready: Ready | undefined): void;
  handed(truncateTo: number | undefined, entries: readonly StampedEntry[]): void;
  wrote(entries: readonly StampedEntry[]): void;
  truncating(index: number): void;
  /** The process ends: its disk failed, or the replica stopped itself. */
  failed(error: unknown): void;
}

export type ProposeAnswer =
  | { readonly outcome: "committed"; readonly baseOffset: number }
  | { readonly outcome: "refused"; readonly leader: NodeId | undefined }
  /** It may be committed yet, or never. */
  | { readonly outcome: "unknown" };

export interface ReadAnswer {
  readonly batches: readonly SeenBatch[];
  /** Where what is shown ends. */
  readonly nextOffset: number;
}

export interface SeenBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Of everything that the producer sealed. */
  readonly crc: number;
  readonly producerId: number;
  readonly baseSequence: number;
}

/** Little, so that the file is written anew again and again. */
const hardStateCopyBytes = 4096;

/** How long a process stays that can't write any more, until somebody starts it anew. */
const damagedMs = 1_500;

export class RaftNode {
  readonly log: ReplicaLog;
  readonly #replica: GroupReplica;
  readonly #options: RaftNodeOptions;
  readonly #hardStates: HardStateLog;

  private constructor(options: RaftNodeOptions, replica: GroupReplica, log: ReplicaLog, hardStates: HardStateLog) {
    this.#options = options;
    this.#replica = replica;
    this.log = log;
    this.#hardStates = hardStates;
  }

  /** `onFrame` is told of every entry that was recovered. */
  static async open(options: RaftNodeOptions, onFrame: (frame: Frame) => void): Promise<RaftNode> {
    const { self, directory, disk, clock, random, groupId, settings, segmentMaxBytes, listener } = options;
    await disk.makeDirectory(directory);
    const logDirectory = join(directory, "log");
    const hardStates = await HardStateLog.open(disk, join(directory, "hard-state"), {
      storageId: self.storageId,
      logger: silentLogger,
      // It was there before the log was.
      createIfMissing: !disk.isDirectory(logDirectory),
      copyMinBytes: hardStateCopyBytes,
    });
    const slot = hardStates.slot("group");
    const { saved } = slot;
    let log: ReplicaLog | undefined;
    let node: RaftNode | undefined;
    try {
      const replica: GroupReplica = await GroupReplica.open({
        self,
        directory: logDirectory,
        disk,
        clock,
        random,
        groupId,
        groupName: "group",
        firstMembership: options.firstMembership,
        openFiles: new OpenFiles(),
        settings,
        log: { index: "heap", segmentMaxBytes },
        hardState: {
          saved,
          async write(state) {
            await slot.write(state);
            if (!replica.isEnded) listener.saved(state);
          },
        },
        ask: (...question) => listener.ask(...question),
        // What was repaired was found by one of these; perhaps there is more.
        observer: { repaired: () => void node?.scrub() },
        send(_to, _group, message) {
          listener.send(message);
          return true;
        },
        listener: {
          damaged(reason) {
            if (node !== undefined) node.#damaged(reason);
          },
          failed: (error) => listener.failed(error),
        },
        witness: {
          async opened(state, opened) {
            log = opened;
            await opened.scan(opened.base.index + 1, onFrame);
            listener.recovered(state);
            if (saved !== undefined) listener.saved(saved);
          },
          stepped: (ready) => listener.stepped(ready),
          handed: (truncateTo, entries) => listener.handed(truncateTo, entries),
          wrote: (entries) => listener.wrote(entries),
          truncating: (index) => listener.truncating(index),
        },
      });
      assert(log !== undefined, "an opening is witnessed");
      node = new RaftNode(options, replica, log, hardStates);
      node.#armTick();
      return node;
    } catch (error) {
      await hardStates.close();
      throw error;
    }
  }

  get raft(): Raft {
    return this.#replica.raft;
  }

  get state(): RaftState {
    return this.raft.state;
  }

  get isEnded(): boolean {
    return this.#replica.isEnded;
  }

  /** A tick out of turn: an election timer that is early. */
  tickNow(): void {
    this.#replica.tick();
  }

  /** Ends it in order. */
  async close(): Promise<void> {
    await this.#replica.close();
    await this.#hardStates.close();
  }

  /** The process is gone: whatever still comes back changes nothing. */
  end(): void {
    this.#replica.end();
  }

  receive(message: PeerMessage): void {
    this.#replica.receive(message);
  }

  async propose(batch: Buffer): Promise<ProposeAnswer> {
    try {
      const { baseOffset } = await this.#replica.appendBatch(batch);
      return { outcome: "committed", baseOffset };
    } catch (error) {
      if (!isProglogError(error)) throw error;
      const { code, details } = error;
      // A batch that came late, of a client that knows long since what became of it.
      if (code === "LEADERSHIP_LOST" || code === "DUPLICATE_SEQUENCE") return { outcome: "unknown" };
      if (!refusals.has(code)) throw error;
      const { leaderId } = details;
      return { outcome: "refused", leader: typeof leaderId === "string" ? leaderId : undefined };
    }
  }

  changeMembership(changes: readonly MembershipChange[]): ChangeOutcome {
    return this.#replica.changeMembership(changes);
  }

  answerCopy(from: NodeId, kind: CopyQuestionKind, body: Buffer): Promise<Buffer> {
    return this.#replica.answerCopy(from, kind, body, new AbortController().signal);
  }

  /** Looks for rot; what is found is repaired. */
  async scrub(): Promise<void> {
    try {
      const { damages } = await this.#replica.log.scrub();
      if (damages.length === 0 && !this.isEnded) this.#options.listener.whole();
    } catch (error) {
      // Its process ends, or its disk is gone; whoever comes next looks again.
      if (!this.isEnded && !isProglogError(error)) this.#fail(error);
    }
  }

  transferLeadership(to?: NodeId): void {
    this.#replica.transferLeadership(to);
  }

  /** What the node notices of others, for its groups. */
  peerLost(nodeId: NodeId): void {
    this.#replica.peerLost(nodeId);
  }

  peerFound(nodeId: NodeId): void {
    this.#replica.peerFound(nodeId);
  }

  /** What is shown here from `from` on. Undefined when it couldn't be read. */
  async readShown(from: number, limit: number): Promise<ReadAnswer | undefined> {
    if (this.isEnded) return undefined;
    const { log } = this.#replica;
    const batches: SeenBatch[] = [];
    try {
      const { highWatermark } = log;
      if (from > highWatermark) return { batches, nextOffset: highWatermark };
      for await (const { baseOffset, nextOffset, batch } of log.batches({ from, limit })) {
        const { producerId = -1, baseSequence = -1 } = findBatchProducer(batch) ?? {};
        batches.push({ baseOffset, nextOffset, crc: batch.readUInt32BE(17), producerId, baseSequence });
      }
      return { batches, nextOffset: Math.max(highWatermark, batches.at(-1)?.nextOffset ?? 0) };
    } catch {
      // What is rotten is repaired meanwhile: who asks asks again, or somebody else.
      return undefined;
    }
  }

  /** The same, once everything is shown that was acknowledged before it was asked for. Undefined when it has to be asked again. */
  async readLatest(from: number, limit: number): Promise<ReadAnswer | undefined> {
    try {
      await this.#replica.confirm();
    } catch (error) {
      // Why a replica ended is told by it, and not by who happens to wait there.
      const isPassing = ["UNAVAILABLE", "LOG_CLOSED", "LOG_POISONED"].some(
        (code) => isProglogError(error) && error.code === code,
      );
      if (this.isEnded || isPassing) return undefined;
      throw error;
    }
    return this.readShown(from, limit);
  }

  /** What rots is repaired, and a full disk gets room again; what can't write any more goes on for a while, for others to see. */
  #damaged(reason: ProglogError | undefined): void {
    if (reason === undefined || passing.has(reason.code)) return;
    this.#options.clock.setTimer(damagedMs, () => this.#fail(reason));
  }

  #fail(error: unknown): void {
    if (this.isEnded) return;
    this.end();
    this.#options.listener.failed(error);
  }

  #armTick(): void {
    this.#options.clock.setTimer(this.#options.tickMs, () => {
      if (this.isEnded) return;
      this.#armTick();
      if (!this.raft.isAsleep) this.#replica.tick();
    });
  }
}

/** Damage that a replica gets over. */
const passing = new Set<string>(["DISK_FULL", "OVERLOADED", "LOG_CORRUPT"]);

/** It wasn't appended. */
const refusals = new Set<string>([
  "NOT_LEADER",
  "OVERLOADED",
  "APPEND_QUEUE_FULL",
  "DISK_FULL",
  "LOG_POISONED",
  "LOG_CORRUPT",
  "LOG_CLOSED",
]);

/** Why a replica is out, for a story. */
export function describeFailure(error: unknown): string {
  return isProglogError(error) ? `${error.code}: ${error.message}` : messageOf(error);
}
