import type { Clock } from "../../base/clock.ts";
import { sleep } from "../../base/sleep.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import {
  catalogProposalMaxMs,
  catalogRetryMaxMs,
  catalogRetryMinMs,
  catalogWaitsMaxCount,
  describeMaxMs,
} from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import type { NodeId } from "../../raft/member.ts";
import type { Catalog, NewTopic, TopicChange } from "../catalog.ts";
import { changeSettings } from "../effective-settings.ts";
import { checkPartitionCount } from "../partition-count.ts";
import type { PeerNetwork } from "../peer-network.ts";
import { checkTopicName } from "../topic-name.ts";
import { makeUuid } from "../uuid.ts";
import type { CatalogChange } from "./catalog-command.ts";
import { CatalogFold, type CatalogRecord } from "./catalog-fold.ts";
import type { CatalogGroup } from "./catalog-group.ts";
import { CatalogProposals, isOpenOutcome } from "./catalog-proposals.ts";
import { type CatalogRequest, type CatalogWish, decodeRequest, encodeRequest, notLeaderError } from "./catalog-request.ts";
import type { CatalogState, CatalogTopic } from "./catalog-state.ts";

/** The question by which a follower of group 0 hands a request to its leader. */
export const proposeQuestion = "catalog/propose";

/**
 * The catalog of a cluster, as a node has it: a fold of group 0 that follows the log, and a way to change it. What this node knows is answered at
 * once and may lag; what must be fresh is confirmed first. A change is handed to the leader, again and again until it has an answer or
 * the time is over: its id sees to it that it is made once. When a call resolves, this node's fold has it too.
 */
export class ClusterCatalog implements Catalog {
  readonly #group: CatalogGroup;
  readonly #options: ClusterCatalogOptions;
  readonly #proposals: CatalogProposals;
  readonly #closing = new AbortController();
  readonly #watchers = new Set<() => void>();
  readonly #waits = new Set<Wait>();
  #fold: CatalogFold;
  /** Begun anew, since the log begins behind the other one by now; in force when it is ready. */
  #incoming: CatalogFold | undefined;
  #isNotifying = false;
  #end: ProglogError | undefined;
  readonly #running: Promise<void>;

  constructor(group: CatalogGroup, options: ClusterCatalogOptions) {
    this.#group = group;
    this.#options = options;
    this.#fold = new CatalogFold(group.logStartOffset);
    this.#proposals = new CatalogProposals({
      ...options,
      group,
      fold: () => this.#fold,
      refresh: () => this.#refreshOnce(),
      untilFolded: (nextOffset) => this.#untilFolded(nextOffset),
    });
    this.#running = this.#follow();
  }

  /** As this node knows it. It changes with each record; nothing that lies in its maps does. */
  get state(): CatalogState {
    return this.#fold.state;
  }

  /** The offset behind the last record of group 0 that `state` has. */
  get nextOffset(): number {
    return this.#fold.nextOffset;
  }

  /** Whether `state` has all that this node knows to be committed: a node that starts goes through what was before. */
  get isCurrent(): boolean {
    return this.#fold.isReady && this.#fold.nextOffset >= this.#group.endOffset;
  }

  /** Snapshots that said something else than what was folded here: 0, or something is wrong on one of the nodes. */
  get divergenceCount(): number {
    return this.#fold.divergenceCount;
  }

  /** Why it no longer follows group 0: it was closed, or met a format that this release doesn't know. */
  get endReason(): ProglogError | undefined {
    return this.#end;
  }

  /** Whether group 0 is led here: then `controller.ts` has something to do. */
  get isLeader(): boolean {
    return this.#group.isLeader;
  }

  /** Who leads group 0, as far as this node knows. */
  get leader(): NodeId | undefined {
    return this.#group.leader;
  }

  /** Calls `run` some time after the state has changed, once for many changes. Returns how to stop it. */
  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }

  /**
   * Resolves when `state` has all that was acknowledged anywhere before the call; tried for a while where nobody leads. UNAVAILABLE,
   * TIMEOUT, OVERLOADED, or why it ended.
   */
  async refresh(): Promise<void> {
    const retries = this.#retries();
    for (;;) {
      try {
        await this.#refreshOnce(retries.deadline);
        return;
      } catch (error) {
        if (this.#end !== undefined || !isProglogError(error, "UNAVAILABLE") || !(await retries.wait())) throw error;
      }
    }
  }

  async #refreshOnce(deadline?: number): Promise<void> {
    if (this.#end !== undefined) throw this.#end;
    await this.#group.confirm();
    await this.#untilFolded(this.#group.endOffset, deadline);
  }

  findTopic(name: string): CatalogTopic | undefined {
    return this.#fold.state.topics.get(name);
  }

  async listTopics(): Promise<readonly CatalogTopic[]> {
    await this.refresh();
    return [...this.state.topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * As it is now; but when that can't be told soon, as it was known here: whoever looks for a leader must not need group 0 to be led. Who goes
   * by what is old hears so elsewhere, and a change is made to the topic of that uuid or to none.
   */
  async describeTopic(name: string): Promise<CatalogTopic> {
    const known = this.findTopic(name);
    if (known === undefined) await this.refresh();
    else await this.#within(this.#options.clock.monotonic() + describeMaxMs, this.#refreshOnce()).catch(this.#checkEnd);
    return this.#getTopic(name, "find");
  }

  readonly #checkEnd = (): void => {
    if (this.#end !== undefined) throw this.#end;
  };

  async createTopic({ name, partitions = 1, replicationFactor, settings = {} }: NewTopic): Promise<CatalogTopic> {
    const attempt = `create topic ${name}`;
    checkTopicName(name);
    checkPartitionCount(partitions, attempt);
    checkReplicationFactor(replicationFactor, attempt);
    checkSync(settings, replicationFactor, attempt);
    const checked = changeSettings({}, settings);
    const uuid = makeUuid(this.#options.random);
    const factor = replicationFactor === undefined ? {} : { replicationFactor };
    await this.#submit({ kind: "wish-topic", name, uuid, partitions, ...factor, settings: checked }, attempt);
    const topic = this.findTopic(name);
    if (topic?.uuid === uuid) return topic;
    throw new ProglogError("TOPIC_NOT_FOUND", `Cannot show topic ${name}: it was created, and deleted since`);
  }

  async changeTopic(name: string, change: TopicChange): Promise<CatalogTopic> {
    const { partitions, replicationFactor, settings = {} } = change;
    const attempt = `change topic ${name}`;
    if (partitions !== undefined) checkPartitionCount(partitions, attempt);
    checkReplicationFactor(replicationFactor, attempt);
    const topic = await this.describeTopic(name);
    checkSync(settings, replicationFactor ?? topic.replicationFactor, attempt);
    changeSettings(topic.settings, settings);
    const set = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const counts = {
      ...(partitions === undefined ? {} : { partitions }),
      ...(replicationFactor === undefined ? {} : { replicationFactor }),
    };
    await this.#submit({ kind: "wish-change", name, uuid: topic.uuid, ...counts, settings: set }, attempt);
    return this.#getTopic(name, "find");
  }

  async deleteTopic(name: string): Promise<void> {
    const { uuid } = await this.describeTopic(name);
    await this.#submit({ kind: "delete-topic", name, uuid }, `delete topic ${name}`);
  }

  /** Says who is to have a partition, and maybe who is to lead it. When it resolves that is decided; the controller does it. */
  async moveReplicas(wish: Omit<Extract<CatalogWish, { readonly kind: "wish-replicas" }>, "kind">): Promise<void> {
    await this.#submit({ kind: "wish-replicas", ...wish }, `move partition ${wish.partition} of topic ${wish.topic}`);
  }

  /** Makes any other change. Throws the codes that `applyCommand` refuses with, NOT_LEADER, OVERLOADED, or TIMEOUT. */
  async propose(change: CatalogChange): Promise<void> {
    await this.#submit(change, change.kind.replace("-", " "));
  }

  /** Answers `catalog/propose`. */
  async answer(body: Buffer): Promise<Buffer> {
    const offset = await this.#proposals.propose(decodeRequest(body));
    return Buffer.from(JSON.stringify({ offset }));
  }

  /** Everything that waits is refused with `reason`. */
  async close(reason: ProglogError): Promise<void> {
    this.#stop(reason);
    this.#closing.abort(reason);
    await this.#running;
  }

  #stop(reason: ProglogError): void {
    this.#end ??= reason;
    this.#proposals.close(this.#end);
    for (const wait of [...this.#waits]) wait.end(this.#end);
  }

  async #submit(wish: CatalogWish, attempt: string): Promise<void> {
    const request: CatalogRequest = { id: this.#options.random.bytes(16).toString("hex"), wish };
    const retries = this.#retries();
    let isOpen = false;
    for (;;) {
      try {
        const offset = await this.#within(retries.deadline, this.#hand(request, retries.deadline));
        await this.#untilFolded(offset, retries.deadline);
        return;
      } catch (error) {
        const isOpenNow: boolean = isOpenOutcome(error) && (error !== this.#end || isOpen);
        if (!isOpenNow && !isPassing(error, wish)) throw error;
        isOpen ||= isOpenNow;
        if (this.#end !== undefined || !(await retries.wait())) throw isOpen ? outcomeUnknown(error, attempt) : error;
      }
    }
  }

  /** Waits that grow, until the time for a call is over. */
  #retries(): { readonly deadline: number; wait(): Promise<boolean> } {
    const { clock, random, proposalMaxMs = catalogProposalMaxMs } = this.#options;
    const deadline = clock.monotonic() + proposalMaxMs;
    let delayMs = catalogRetryMinMs;
    return {
      deadline,
      wait: async () => {
        // Somewhat unlike others' waits, so that those who were refused together don't come back together.
        const waitMs = Math.ceil(delayMs * (0.5 + random.float()));
        if (clock.monotonic() + waitMs >= deadline) return false;
        delayMs = Math.min(2 * delayMs, catalogRetryMaxMs);
        await sleep(this.#options.clock, waitMs, this.#closing.signal);
        return this.#end === undefined;
      },
    };
  }

  async #hand(request: CatalogRequest, deadline: number): Promise<number> {
    if (this.#end !== undefined) throw this.#end;
    if (this.#group.isLeader) return this.#proposals.propose(request);
    const { leader } = this.#group;
    if (leader === undefined) throw notLeaderError("change the catalog", undefined);
    const { peers, clock } = this.#options;
    const timeoutMs = Math.max(1, deadline - clock.monotonic());
    const options = { timeoutMs, signal: this.#closing.signal };
    const answer = await peers.ask({ nodeId: leader }, proposeQuestion, encodeRequest(request), options);
    const { offset } = JSON.parse(answer.toString()) as { readonly offset: number };
    return offset;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    let delayMs = catalogRetryMinMs;
    let reason: string | undefined;
    while (this.#end === undefined) {
      const fold = this.#incoming ?? this.#fold;
      try {
        for await (const record of this.#group.tail(fold.nextOffset, signal)) {
          if (this.#end !== undefined) return;
          delayMs = catalogRetryMinMs;
          reason = undefined;
          this.#take(fold, record);
        }
      } catch (error) {
        if (this.#end !== undefined) return;
        if (isProglogError(error, "OFFSET_OUT_OF_RANGE") && this.#group.logStartOffset > fold.nextOffset) {
          this.#incoming = new CatalogFold(this.#group.logStartOffset);
          continue;
        }
        if (isProglogError(error, "UNSUPPORTED_FORMAT")) {
          this.#options.logger.error({ reason: error.message }, "the catalog is left as it is");
          this.#stop(error);
          return;
        }
        // Once a second at most, and only what is new: it may stay so until the replica is repaired.
        if (messageOf(error) !== reason)
          this.#options.logger.warn({ reason: messageOf(error) }, "the catalog's log can't be read at the moment");
        reason = messageOf(error);
      }
      await sleep(this.#options.clock, delayMs, this.#closing.signal);
      delayMs = Math.min(2 * delayMs, catalogRetryMaxMs);
    }
  }

  #take(fold: CatalogFold, record: CatalogRecord): void {
    const divergences = fold.divergenceCount;
    const folded = fold.fold(record);
    if (fold.divergenceCount > divergences)
      this.#options.logger.error(
        { offset: record.offset },
        "a snapshot of the catalog says something else than was folded here",
      );
    if (fold === this.#incoming) {
      if (!fold.isReady) return;
      this.#incoming = undefined;
      this.#fold = fold;
    }
    if (folded?.command !== undefined) this.#proposals.folded(folded.command.id, folded.outcome, fold.nextOffset);
    for (const wait of [...this.#waits]) if (wait.nextOffset <= fold.nextOffset) wait.end();
    void this.#notify();
  }

  async #notify(): Promise<void> {
    if (this.#isNotifying) return;
    this.#isNotifying = true;
    await this.#options.clock.turn();
    this.#isNotifying = false;
    if (this.#end === undefined) for (const run of [...this.#watchers]) run();
  }

  #untilFolded(nextOffset: number, deadline?: number): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (this.#fold.isReady && this.#fold.nextOffset >= nextOffset) return Promise.resolve();
    if (this.#waits.size >= catalogWaitsMaxCount)
      return Promise.reject(new ProglogError("OVERLOADED", `Cannot wait for the catalog: ${this.#waits.size} calls do`));
    const { clock } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer =
      deadline === undefined ? undefined : clock.setTimer(deadline - clock.monotonic(), () => wait.end(lateError()));
    const wait: Wait = {
      nextOffset,
      end: (error) => {
        this.#waits.delete(wait);
        timer?.cancel();
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    this.#waits.add(wait);
    return promise;
  }

  async #within<Result>(deadline: number, result: Promise<Result>): Promise<Result> {
    const { clock } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = clock.setTimer(deadline - clock.monotonic(), () => late.reject(lateError()));
    // Whichever loses the race may still fail.
    result.catch(() => {});
    try {
      return await Promise.race([result, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  #getTopic(name: string, attempt: string): CatalogTopic {
    const topic = this.findTopic(name);
    if (topic !== undefined) return topic;
    throw new ProglogError("TOPIC_NOT_FOUND", `Cannot ${attempt} topic ${name}: there is none of that name`);
  }
}

export interface ClusterCatalogOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly peers: Pick<PeerNetwork, "ask">;
  /** Topics of this node that are still to come into the catalog: nobody else may make or delete one of that name. */
  readonly reservedTopics?: () => ReadonlySet<string>;
  /** Whether there is a way to a node: new replicas are placed on those first. Default: to all. */
  readonly isUp?: (node: NodeId) => boolean;
  /** How long a change is tried. Default `catalogProposalMaxMs`. */
  readonly proposalMaxMs?: number;
}

interface Wait {
  readonly nextOffset: number;
  readonly end: (error?: ProglogError) => void;
}

/** Whether the same request may do better at once: another node is to be asked, or another change came in between. */
function isPassing(error: unknown, { kind }: CatalogWish): boolean {
  if (isProglogError(error, "NOT_LEADER")) return true;
  return isProglogError(error, "CHANGE_IN_PROGRESS") && kind === "wish-change";
}

function outcomeUnknown(error: unknown, attempt: string): ProglogError {
  return new ProglogError("TIMEOUT", `Cannot say what became of the attempt to ${attempt}: ${messageOf(error)}`, {
    hint: "Look at what there is, and try again if need be.",
    cause: error,
  });
}

function lateError(): ProglogError {
  return new ProglogError("TIMEOUT", "Cannot go on with the catalog: no answer came in time");
}

function checkReplicationFactor(count: number | undefined, attempt: string): void {
  if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${count} is no number of replicas`);
}

/** No topic has such a setting; who asks for it is told why, where that is the reason. */
function checkSync(settings: object, replicationFactor: number | undefined, attempt: string): void {
  const sync = (settings as { readonly sync?: unknown }).sync;
  if (sync === undefined || sync === null || sync === "always" || replicationFactor === 1) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot ${attempt} with sync ${JSON.stringify(sync).slice(0, 64)}: a topic with more than one replica always syncs`,
    { hint: "Leave sync out: an acknowledged record is on a quorum of disks.", details: { setting: "sync" } },
  );
}
