import { type Clock, systemClock } from "../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { RecordInput } from "../batch/record.ts";
import type { GroupReplica } from "./group/group-replica.ts";
import type { GroupStatus } from "./group/group-status.ts";
import type { Acks } from "./group/proposals.ts";
import { PartitionTraffic } from "./partition-traffic.ts";
import { type ReadBounds, readRecords, type RecordsRead } from "./read-records.ts";
import { RecordPacker } from "./record-packer.ts";
import { type LogSnapshots, snapshotsOf } from "../log/log-snapshot.ts";
import {
  type AppendOptions,
  type AppendResult,
  type BatchReadOptions,
  type LargeBatch,
  type Log,
  type LogChanges,
  type LogDamage,
  type LogObserver,
  type LogOptions,
  openLog,
  type Portion,
  type StartingPoint,
  type StoredBatch,
} from "../log/index.ts";

/**
 * This node's copy of one partition: on a single node a log, where what is synced is committed and there is nobody to ask; in a cluster
 * the replica of a group, of which it is the face to those who serve clients.
 *
 * A log that doesn't open makes a replica all the same, one that answers everything with the error: one damaged partition must keep
 * a node from serving neither the others nor the question what is wrong with this one.
 */
export class Replica {
  readonly identity: ReplicaIdentity;
  readonly traffic: Readonly<PartitionTraffic>;
  #state: ReplicaState;
  readonly #damages: DamageCount;
  readonly #clock: Clock;
  /** By acks: what one is packed with is answered when it is. */
  readonly #packers: Readonly<Record<Acks, RecordPacker<AppendResult>>> = {
    quorum: this.#packerOf("quorum"),
    leader: this.#packerOf("leader"),
    none: this.#packerOf("none"),
  };
  /** What was appended to last: the others have nothing that waits. */
  #packer = this.#packers.quorum;

  private constructor(identity: ReplicaIdentity, state: ReplicaState, { damages, clock, traffic }: ReplicaParts) {
    this.identity = identity;
    this.traffic = traffic;
    this.#state = state;
    this.#damages = damages;
    this.#clock = clock;
  }

  /** Never rejects: see `openError`. */
  static async open(identity: ReplicaIdentity, directory: string, options: ReplicaOptions): Promise<Replica> {
    const { logger } = options;
    const damages: DamageCount = { count: 0 };
    const traffic = new PartitionTraffic();
    const parts = { damages, clock: options.log.clock ?? systemClock, traffic };
    const observer: LogObserver = {
      ...traffic.counting(options.log.observer),
      damaged(damage: LogDamage) {
        damages.count += 1;
        logger.error({ ...identity, ...damage }, "a log is damaged");
        options.log.observer?.damaged?.(damage);
      },
      poisoned(event: { readonly error: ProglogError }) {
        logger.error({ ...identity, code: event.error.code, reason: event.error.message }, "a log takes no more appends");
        options.log.observer?.poisoned?.(event);
      },
    };
    try {
      const log = await openLog(directory, { ...options.log, ...options.settings?.(), observer, takesLock: false });
      if (log.recovery.kind === "recovered") logger.info({ ...identity, recovery: log.recovery }, "a log was recovered");
      return new Replica(identity, { kind: "open", log }, parts);
    } catch (error) {
      const openError = isProglogError(error)
        ? error
        : new ProglogError("DISK_FAILED", `Cannot open the log ${directory}: ${messageOf(error)}`, { cause: error });
      logger.error(
        { ...identity, code: openError.code, reason: openError.message, hint: openError.hint },
        "a log doesn't open",
      );
      return new Replica(identity, { kind: "failed", error: openError }, parts);
    }
  }

  /** The face of a group's replica, which it closes. */
  static ofGroup(identity: ReplicaIdentity, group: GroupReplica, { clock }: { readonly clock: Clock }): Replica {
    const { log, traffic } = group;
    return new Replica(identity, { kind: "open", log, group }, { damages: { count: 0 }, clock, traffic });
  }

  /** One that answers everything with `error`: its log doesn't open. */
  static failed(identity: ReplicaIdentity, error: ProglogError): Replica {
    const parts = { damages: { count: 0 }, clock: systemClock, traffic: new PartitionTraffic() };
    return new Replica(identity, { kind: "failed", error }, parts);
  }

  /** Why its log didn't open; undefined when it did. */
  get openError(): ProglogError | undefined {
    return this.#state.kind === "failed" ? this.#state.error : undefined;
  }

  /** As the group has it; undefined on a single node, where nobody else could lead. */
  get role(): GroupStatus["role"] | undefined {
    return this.#group?.role;
  }

  /** The node that leads the group, as far as it is known here; undefined on a single node too. */
  get leader(): string | undefined {
    return this.#group?.leader;
  }

  /** Whether appends are taken here, as far as this replica knows. */
  get isLeader(): boolean {
    return this.#group?.isLeader ?? true;
  }

  /**
   * Appends the records, whole or not at all. Resolves when they are committed, or in a group when `acks` says. Without other options they may
   * share a batch with those of others who append at the same time. In a group: NOT_LEADER, LEADERSHIP_LOST and the rest of docs/replication.md.
   */
  append(records: readonly RecordInput[], options: ReplicaAppendOptions = {}): Promise<ReplicaAppend> {
    if (options.producer === undefined && options.expectedOffset === undefined)
      return this.#packerFor(options.acks).append(records);
    this.#packer.flush();
    return this.#use((log) => (this.#group ?? log).append(records, options));
  }

  /**
   * Appends a packed record batch v2 as it is. It must not be changed any more: in a group it may be written and sent after it is answered.
   * `onReleased` is called once nobody reads it any more, where that is known: on a single node when it is appended.
   */
  appendBatch(
    batch: Buffer,
    options?: Pick<ReplicaAppendOptions, "acks" | "expectedOffset">,
    onReleased?: () => void,
  ): Promise<ReplicaAppend> {
    this.#packer.flush();
    const appended = this.#use((log) => (this.#group ?? log).appendBatch(batch, options));
    if (onReleased !== undefined && this.#group === undefined) appended.then(onReleased, ignore);
    return appended;
  }

  /**
   * Resolves once this replica shows everything that was acknowledged before the call: to be awaited before saying that there is nothing. At
   * once on a single node. UNAVAILABLE when that can't be told here in time.
   */
  async confirm(): Promise<void> {
    await this.#use(async () => this.#group?.confirm());
  }

  /** More may have been acknowledged than is shown here: then only behind `confirm` there is nothing where nothing is found. */
  get mayLag(): boolean {
    return this.#group !== undefined;
  }

  /**
   * What `from` means right now: an offset from the log start offset to the high watermark. What rests on where the log ends (the end, a time
   * that no record has come to, an offset beyond) is confirmed first.
   */
  findOffset(from: StartingPoint): Promise<number> {
    return this.#use(async (log) => {
      const find = async (): Promise<number> => (typeof from === "number" ? from : log.findOffset(from));
      let offset = await find();
      if (this.#group !== undefined && restsOnEnd(from, offset, log)) {
        await this.#group.confirm();
        offset = await find();
      }
      checkReadable(offset, log);
      return offset;
    });
  }

  /** Aborted, with NOT_LEADER, when this replica no longer leads its group; undefined on a single node. Throws NOT_LEADER where it doesn't. */
  leadership(attempt: string): AbortSignal | undefined {
    this.#getLog();
    return this.#group?.leadership(attempt);
  }

  /**
   * Reads records from `offset` on, up to the high watermark. It stops early at a batch that can't be decoded or read; only when
   * that is the first one, it throws LOG_CORRUPT or UNDECODABLE_BATCH. `nextOffset` may lie behind the last record: a batch may span more
   * offsets than it holds records.
   */
  read(offset: number, bounds: ReadBounds): Promise<ReplicaRead> {
    return this.#use(async (log) => {
      checkReadable(offset, log);
      const read = await readRecords(log, offset, bounds, this.#clock);
      const { logStartOffset, highWatermark } = log;
      return { ...read, logStartOffset, highWatermark };
    });
  }

  /**
   * The batches from `offset` on as they lie on disk, as many at a time as are read together, and further ones as they come, until
   * `signal` is aborted; with `stopsAtEnd` up to the high watermark. They are valid until the next ones are asked for. With `leaderOnly`
   * NOT_LEADER as soon as another leads, or may: so a tail doesn't hang on a node that is cut off.
   */
  tail(offset: number, options: TailOptions): AsyncGenerator<readonly StoredBatch[], void, undefined> {
    return this.#tail(options, (log, signal) => log.pieces(readOptionsOf(offset, { ...options, signal })));
  }

  /** The same, of which no more than `maxBytes` are in memory: a larger batch comes without its bytes, which are read as they are wanted. */
  async *tailPortions(offset: number, options: TailOptions): AsyncGenerator<Portion, void, undefined> {
    const portions = this.#tail(options, (log, signal) =>
      log.portions({ ...readOptionsOf(offset, { ...options, signal }), wholeMaxBytes: options.maxBytes }),
    );
    for await (const portion of portions) {
      if (portion.kind === "batches") yield portion;
      else yield { kind: "large", batch: this.#explained(portion.batch) };
    }
  }

  #explained(batch: LargeBatch): LargeBatch {
    const { baseOffset, nextOffset, byteLength } = batch;
    const explain = (error: unknown): unknown => this.#explain(error);
    const read = async function* (pieceBytes: number): AsyncGenerator<Buffer, void, undefined> {
      try {
        yield* batch.read(pieceBytes);
      } catch (error) {
        throw explain(error);
      }
    };
    return { baseOffset, nextOffset, byteLength, read };
  }

  async *#tail<T>(
    options: TailOptions,
    read: (log: Log, signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    const { leaderOnly = false } = options;
    const log = this.#getLog();
    const leadership = leaderOnly ? this.leadership("read from the leader") : undefined;
    const signal = leadership === undefined ? options.signal : AbortSignal.any([options.signal, leadership]);
    try {
      yield* read(log, signal);
    } catch (error) {
      throw this.#explain(error);
    }
    if (options.signal.aborted) return;
    if (leadership?.aborted === true) throw this.#closeReason() ?? leadership.reason;
    // A tail ends without a word when its log is closed; whoever asked for it is to know that there will be more.
    const reason = this.#closeReason();
    if (reason !== undefined) throw reason;
  }

  /** For a backup: what the log is made of, and the bytes of it. What was acknowledged before is in what is taken after `confirm`. */
  copy<Result>(run: (snapshots: LogSnapshots) => Promise<Result>): Promise<Result> {
    return this.#use((log) => run(snapshotsOf(log)));
  }

  /** What can be read at the moment. */
  range(): { readonly logStartOffset: number; readonly highWatermark: number } {
    const { logStartOffset, highWatermark } = this.#getLog();
    return { logStartOffset, highWatermark };
  }

  /** Resolves once there is something to read at `offset`, or when `signal` is aborted. */
  waitForOffset(offset: number, signal: AbortSignal): Promise<void> {
    return this.#use(async (log) => {
      try {
        await log.waitForOffset(offset, { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    });
  }

  /** Changes how the log behaves from now on. One that isn't open has its options when it is opened. */
  configure(changes: LogChanges): void {
    if (this.#state.kind === "open") this.#state.log.configure(changes);
  }

  status(): ReplicaStatus {
    const state = this.#state;
    const common = { ...this.identity, damages: this.#damages.count };
    if (state.kind !== "open") {
      return { ...common, state: state.kind, error: describeError(state.error) };
    }
    const { logStartOffset, logEndOffset, highWatermark } = state.log;
    const { state: logState, storeBytes, segments, queuedBytes, dirtyRatio, damages } = state.log.status();
    const offsets = { logStartOffset, logEndOffset, highWatermark };
    const shared = { ...common, state: logState, ...offsets, storeBytes, segments, queuedBytes, dirtyRatio };
    if (state.group === undefined) return shared;
    const group = state.group.status();
    const { damage } = group;
    const error = damage === undefined ? {} : { error: describeError(damage) };
    return { ...shared, ...error, damages, queuedBytes: group.queuedBytes, group };
  }

  /** Syncs and closes the log. From then on everything is answered with `reason`. Twice is fine. */
  async close(reason: ProglogError): Promise<void> {
    const state = this.#state;
    if (state.kind === "closed") return;
    this.#state = { kind: "closed", error: reason };
    if (state.kind === "open") await (state.group?.close(reason) ?? state.log.close());
  }

  #packerOf(acks: Acks): RecordPacker<AppendResult> {
    return new RecordPacker((records) => {
      const append = this.#group?.prepare(records, { acks }) ?? this.#getLog().prepare(records);
      return () => this.#use(append);
    });
  }

  /** On a single node all go the same way, and so together. */
  #packerFor(acks: Acks = "quorum"): RecordPacker<AppendResult> {
    const packer = this.#packers[this.#group === undefined ? "quorum" : acks];
    if (packer !== this.#packer) this.#packer.flush();
    this.#packer = packer;
    return packer;
  }

  get #group(): GroupReplica | undefined {
    return this.#state.kind === "open" ? this.#state.group : undefined;
  }

  async #use<Result>(operation: (log: Log) => Promise<Result>): Promise<Result> {
    const log = this.#getLog();
    try {
      return await operation(log);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #getLog(): Log {
    if (this.#state.kind === "open") return this.#state.log;
    throw this.#state.error;
  }

  /** What was under way when the replica closed hears why: "the topic was deleted" says more than "the log is closed". */
  #explain(error: unknown): unknown {
    return isProglogError(error, "LOG_CLOSED") ? (this.#closeReason() ?? error) : error;
  }

  #closeReason(): ProglogError | undefined {
    return this.#state.kind === "closed" ? this.#state.error : undefined;
  }
}

export interface ReplicaIdentity {
  readonly topic: string;
  readonly partition: number;
  readonly uuid: string;
}

export interface ReplicaOptions {
  readonly log: Omit<LogOptions, "takesLock">;
  /** What the topic says, before `log`. When it throws, the log doesn't open for that reason. */
  readonly settings?: () => LogChanges;
  readonly logger: Logger;
}

export interface ReplicaAppend {
  readonly baseOffset: number;
  readonly count: number;
  /** Milliseconds since 1970, by this node's clock. */
  readonly appendTime: number;
  /** False where it is answered before it is certain to stay: as the log is told to sync, or with acks "leader" and "none". */
  readonly isDurable: boolean;
  /** It was a retry of what had been appended before: nothing was appended now. */
  readonly isDuplicate: boolean;
}

export interface ReplicaAppendOptions extends AppendOptions {
  /** In a group, when it is answered. Default "quorum". On a single node the log's sync policy decides. */
  readonly acks?: Acks;
}

export type { Acks, AppendOptions, LargeBatch, Portion, StoredBatch };

export interface TailOptions {
  readonly signal: AbortSignal;
  /** Bytes of batches read together; the first comes whatever its size. */
  readonly maxBytes: number;
  /** Default false. */
  readonly stopsAtEnd?: boolean;
  /** Only while this replica leads its group. Default false. */
  readonly leaderOnly?: boolean;
}

export type { ReadBounds };

export interface ReplicaRead extends RecordsRead {
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

export interface ReplicaStatus extends ReplicaIdentity {
  readonly state: (typeof replicaStates)[number];
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  /** Ranges found rotten since the start, by reads and scrubs. */
  readonly damages: number;
  readonly logStartOffset?: number;
  readonly logEndOffset?: number;
  readonly highWatermark?: number;
  readonly storeBytes?: number;
  readonly segments?: number;
  readonly queuedBytes?: number;
  /** See `LogStatus.dirtyRatio`. */
  readonly dirtyRatio?: number;
  /** In a cluster. */
  readonly group?: GroupStatus;
}

/** `failed`: the log didn't open. `poisoned`: it is read, but takes no more appends. A replica of a group may be out of the write path for other reasons: then there is an `error`. */
export const replicaStates = ["open", "poisoned", "closed", "failed"] as const;

type ReplicaState =
  | { readonly kind: "open"; readonly log: Log; readonly group?: GroupReplica }
  | { readonly kind: "failed" | "closed"; readonly error: ProglogError };

interface ReplicaParts {
  readonly damages: DamageCount;
  readonly clock: Clock;
  readonly traffic: PartitionTraffic;
}

function readOptionsOf(offset: number, { signal, maxBytes, stopsAtEnd = false }: TailOptions): BatchReadOptions {
  return { from: offset, tail: !stopsAtEnd, signal, maxPieceBytes: maxBytes, reusesMemory: true };
}

interface DamageCount {
  count: number;
}

function describeError({ code, message, hint }: ProglogError): NonNullable<ReplicaStatus["error"]> {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function checkReadable(offset: number, { logStartOffset, highWatermark }: Log): void {
  if (offset >= logStartOffset && offset <= highWatermark) return;
  const reason = offset < logStartOffset ? `the log starts at ${logStartOffset}` : `the log ends at ${highWatermark}`;
  throw new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot read offset ${offset}: ${reason}`, {
    details: { offset, logStartOffset, highWatermark },
  });
}

/** Whether what was found for `from` could be something else once more is shown. What was trimmed stays so. */
function restsOnEnd(from: StartingPoint, offset: number, { highWatermark }: Log): boolean {
  if (from === "start") return false;
  return typeof from === "number" ? offset > highWatermark : offset >= highWatermark;
}

/** Whoever appended hears of it. */
function ignore(): void {}
