import type { Clock } from "../../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { catalogAppendMaxBytes, catalogProposalsMaxCount, catalogTurnMaxCount } from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import type { CommandOutcome } from "./apply-command.ts";
import type { CatalogFold } from "./catalog-fold.ts";
import type { CatalogGroup } from "./catalog-group.ts";
import { type CatalogRequest, CommandMaker, notLeaderError } from "./catalog-request.ts";

/**
 * What is proposed where group 0 is led. One turn at a time: the fold is brought up to date, commands are made of the requests that have gathered,
 * appended together, and folded; then the next turn. So each turn decides on all that the last one did, placements
 * stay even, and a snapshot has nothing come between its taking and its writing.
 */
export class CatalogProposals {
  readonly #options: CatalogProposalsOptions;
  readonly #proposals = new Map<string, Proposal>();
  /** Those that no turn has taken yet. */
  #waiting: Proposal[] = [];
  #isRunning = false;
  #end: ProglogError | undefined;

  constructor(options: CatalogProposalsOptions) {
    this.#options = options;
  }

  /**
   * Resolves with an offset behind which the change is folded, once it is here. Throws why it isn't made: NOT_LEADER, OVERLOADED, codes of
   * the catalog; LEADERSHIP_LOST and others leave it open. The same id may be proposed again at any time.
   */
  propose(request: CatalogRequest): Promise<number> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    const { group } = this.#options;
    if (!group.isLeader) return Promise.reject(notLeaderError("change the catalog", group.leader));
    const known = this.#proposals.get(request.id);
    if (known !== undefined) return known.result.promise;
    if (this.#proposals.size >= catalogProposalsMaxCount) {
      const message = `Cannot change the catalog: ${this.#proposals.size} changes are waiting`;
      return Promise.reject(new ProglogError("OVERLOADED", message));
    }
    const proposal = { request, result: Promise.withResolvers<number>() };
    this.#proposals.set(request.id, proposal);
    this.#waiting.push(proposal);
    void this.#run();
    return proposal.result.promise;
  }

  /** A command was folded. */
  folded(id: string, outcome: CommandOutcome, nextOffset: number): void {
    const proposal = this.#proposals.get(id);
    if (proposal === undefined) return;
    if (outcome.kind === "refused") this.#refuse(proposal, outcome.error);
    else this.#resolve(proposal, nextOffset);
  }

  close(reason: ProglogError): void {
    this.#end ??= reason;
    this.#waiting = [];
    for (const proposal of this.#proposals.values()) this.#refuse(proposal, this.#end);
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#waiting.length > 0) {
        await this.#takeTurn();
        await this.#tidy();
      }
    } finally {
      this.#isRunning = false;
    }
  }

  async #takeTurn(): Promise<void> {
    const { refresh, fold, clock, random, group, isUp } = this.#options;
    try {
      await refresh();
      if (!group.isLeader) throw notLeaderError("change the catalog", group.leader);
    } catch (error) {
      // Nothing was written, so whoever waits may ask again, here or elsewhere.
      for (const proposal of this.#waiting.splice(0)) this.#refuse(proposal, error);
      return;
    }
    const { state, nextOffset } = fold();
    const reserved = this.#options.reservedTopics?.() ?? new Set();
    const maker = new CommandMaker(state, { now: Math.floor(clock.now()), random, reserved, isUp });
    const turn: { readonly proposal: Proposal; readonly value: Buffer }[] = [];
    let bytes = 0;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (state.applied.has(next.request.id)) this.#resolve(next, nextOffset);
      else {
        const value = this.#make(maker, next);
        if (value !== undefined) {
          bytes += value.length;
          if (turn.length > 0 && (bytes > catalogAppendMaxBytes || turn.length >= catalogTurnMaxCount)) break;
          turn.push({ proposal: next, value });
        }
      }
      this.#waiting.shift();
    }
    if (turn.length > 0) await this.#append(turn);
  }

  #make(maker: CommandMaker, proposal: Proposal): Buffer | undefined {
    try {
      return maker.make(proposal.request);
    } catch (error) {
      this.#refuse(proposal, error);
      return undefined;
    }
  }

  async #append(turn: readonly { readonly proposal: Proposal; readonly value: Buffer }[]): Promise<void> {
    const { group, untilFolded } = this.#options;
    try {
      const { baseOffset } = await group.append(turn.map(({ value }) => value));
      await untilFolded(baseOffset + turn.length);
    } catch (error) {
      for (const { proposal } of turn) this.#refuse(proposal, error);
      return;
    }
    // Each was answered by the fold, unless something else was folded in its place; which nobody may count on.
    for (const { proposal } of turn) this.#refuse(proposal, lostError());
  }

  /** What a leader does for the log once in a while. What fails is tried after the next change. */
  async #tidy(): Promise<void> {
    const { group, fold, logger } = this.#options;
    if (!group.isLeader || this.#end !== undefined) return;
    try {
      if (fold().isSnapshotDue) await this.#takeSnapshot();
      const { snapshotOffset = 0 } = fold();
      if (snapshotOffset > group.logStartOffset) await group.trim(snapshotOffset);
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, "the catalog can't be shortened yet");
    }
  }

  async #takeSnapshot(): Promise<void> {
    const { group, fold, untilFolded, random, logger } = this.#options;
    const at = fold().nextOffset;
    const parts = fold().takeSnapshot(random.bytes(16).toString("hex"));
    let end = at;
    for (let first = 0; first < parts.length; ) {
      let last = first + 1;
      let bytes = parts[first]?.length ?? 0;
      while (last < parts.length && bytes + (parts[last]?.length ?? 0) <= catalogAppendMaxBytes) {
        bytes += parts[last]?.length ?? 0;
        last += 1;
      }
      const { baseOffset } = await group.append(parts.slice(first, last));
      // Somebody else led in between; a piece more would change nothing.
      if (baseOffset !== end) return;
      end = baseOffset + last - first;
      first = last;
    }
    await untilFolded(end);
    logger.info({ offset: at, parts: parts.length }, "a snapshot of the catalog was taken");
  }

  #resolve(proposal: Proposal, offset: number): void {
    this.#proposals.delete(proposal.request.id);
    proposal.result.resolve(offset);
  }

  #refuse(proposal: Proposal, error: unknown): void {
    if (!this.#proposals.delete(proposal.request.id)) return;
    proposal.result.reject(error);
  }
}

export interface CatalogProposalsOptions {
  readonly group: CatalogGroup;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Topics that are to come into the catalog as they are: nobody else may make or delete one of that name. */
  readonly reservedTopics?: () => ReadonlySet<string>;
  /** Whether there is a way to a node. Default: to all. */
  readonly isUp?: (node: string) => boolean;
  /** The fold that is in force. */
  readonly fold: () => CatalogFold;
  /** Resolves when the fold has all that was acknowledged before the call. */
  readonly refresh: () => Promise<void>;
  readonly untilFolded: (nextOffset: number) => Promise<void>;
}

interface Proposal {
  readonly request: CatalogRequest;
  readonly result: PromiseWithResolvers<number>;
}

function lostError(): ProglogError {
  return new ProglogError("LEADERSHIP_LOST", "Cannot say what became of a change of the catalog: another node led meanwhile");
}

/** Whether an error leaves open what became of a proposal. Of all others it is known that nothing was done. */
export function isOpenOutcome(error: unknown): boolean {
  if (!isProglogError(error)) return true;
  return ["LEADERSHIP_LOST", "TIMEOUT", "UNAVAILABLE", "CANCELLED", "SHUTTING_DOWN", "LOG_CLOSED", "INTERNAL"].includes(
    error.code,
  );
}
