import type { Clock, Timer } from "../../base/clock.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import { catalogLookMs } from "../../base/cluster-limits.ts";
import {
  catalogVoterGoneMs,
  controllerIntervalMs,
  controllerMovesMaxCount,
  controllerPauseMs,
  controllerRetryMaxMs,
  controllerRetryMinMs,
  controllerStallMs,
  controllerStepsMaxCount,
  controllerTransfersMaxCount,
  leaderReturnMs,
} from "../../base/limits.ts";
import type { Logger } from "../../base/logger.ts";
import { findMember, type NodeId } from "../../raft/member.ts";
import type { PeerNetwork } from "../peer-network.ts";
import { type CatalogPartition, findPartition, partitionsOf } from "./catalog-state.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import { type ControllerFacts, drainedNodes, findLeft, misledGroups, wishOf, wishOfCatalog } from "./controller-work.ts";
import { decodeReport, encodeQuestion, groupQuestions } from "./group-questions.ts";
import type { GroupReport } from "./group-report.ts";
import { type GroupStep, type GroupWish, isHealthy, planGroupStep } from "./group-step.ts";
import { planMoves } from "./moves.ts";

/**
 * Makes the groups what the catalog wishes, where group 0 is led. It keeps nothing: each step is planned on the catalog and on what a group's
 * leader says at that moment, and whoever does it refuses when that is no longer the case. So a controller that
 * leads no more, or begins in the middle, does no harm, and two at once only disagree.
 *
 * One step at a time a group, and few groups at a time get new members, since each copies a log. What fails is tried again, later and later.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #works = new Map<string, GroupWork>();
  readonly #stopWatching: () => void;
  #timer: Timer | undefined;
  #isClosed = false;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;
  /** What moves were planned for last: with thousands of partitions it takes some milliseconds, and nothing comes of it until one of this changes. */
  #plannedFor: string | undefined;
  /** The catalog that is known here has all that was written before this node led group 0. */
  #isCurrent = false;
  #runningCount = 0;
  #transferCount = 0;
  /** Groups whose members are being changed: when each last got further. */
  readonly #slots = new Map<GroupWork, { progressMs: number; mark: string }>();

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#stopWatching = options.catalog.watch(() => this.#catalogChanged());
    this.#setTimer();
  }

  status(): ControllerStatus {
    const works = [...this.#works.values()];
    return {
      isActive: this.#options.catalog.isLeader,
      movingCount: this.#slots.size,
      failingCount: works.filter(({ failures }) => failures > 0).length,
    };
  }

  /** Waits for what is under way: as long as a change or a question may take, unless catalog and peers were closed before. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopWatching();
    this.#timer?.cancel();
    await this.#running;
    for (const { running } of this.#works.values()) await running;
  }

  #setTimer(): void {
    this.#timer = this.#options.clock.setTimer(controllerIntervalMs, () => {
      this.#setTimer();
      this.#wake();
    });
  }

  /** Who is to be in group 0 may be others now: it is looked at again, though it was settled. */
  #catalogChanged(): void {
    const { clusterId } = this.#options.catalog.state;
    const work = clusterId === undefined ? undefined : this.#works.get(clusterId);
    if (work?.failures === 0) work.dueMs = Math.min(work.dueMs, this.#options.clock.monotonic() + controllerPauseMs);
    this.#wake();
  }

  /** A turn, and another one behind it when asked for meanwhile. */
  #wake(): void {
    if (this.#isClosed) return;
    if (this.#running !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#running = this.#takeTurn()
      .catch((error: unknown) => this.#options.logger.warn({ reason: messageOf(error) }, "the controller's turn failed"))
      .finally(() => {
        this.#running = undefined;
        if (!this.#isAskedAgain) return;
        this.#isAskedAgain = false;
        this.#wake();
      });
  }

  async #takeTurn(): Promise<void> {
    const { catalog } = this.#options;
    // Who has just started, and leads, may still be reading what is long past: nodes that have come since would be sent away again.
    if (catalog.isLeader && !this.#isCurrent) {
      await catalog.refresh();
      this.#isCurrent = true;
    }
    if (!catalog.isLeader || catalog.state.clusterId === undefined || this.#isClosed) {
      this.#plannedFor = undefined;
      this.#isCurrent = false;
      for (const [group, work] of this.#works) this.#forget(group, work);
      return;
    }
    for (const [group, work] of this.#works) if (!this.#isWork(group)) this.#forget(group, work);
    this.#lookAfter(catalog.state.clusterId, "catalog");
    await this.#placeAnew();
    const { facts, clock } = this.#options;
    for (const { uuid } of this.#movingGroups()) this.#lookAfter(uuid, "members");
    for (const { uuid } of misledGroups(catalog.state, { facts, nowMs: clock.monotonic(), returnMs: leaderReturnMs })) {
      if (this.#transferCount >= controllerTransfersMaxCount) break;
      this.#lookAfter(uuid, "leader");
    }
  }

  /** Decides on new placements, as many as there is room for. */
  async #placeAnew(): Promise<void> {
    const { catalog, facts, tolerance = 0.1 } = this.#options;
    const available = [...catalog.state.nodes.keys()].filter((node) => facts.presenceOf(node).isConnected);
    const movingCount = this.#movingGroups().length;
    const unled = new Set<string>();
    for (const { partition } of partitionsOf(catalog.state))
      if (facts.leaderOf(partition.uuid) === undefined) unled.add(partition.uuid);
    const basis = JSON.stringify([catalog.nextOffset, available, facts.lostVersion, movingCount, [...unled]]);
    if (basis === this.#plannedFor) return;
    const moves = planMoves(catalog.state, {
      isAvailable: (node) => available.includes(node),
      isLost: (group, replica) => facts.isLost(group, replica),
      isLed: (group) => !unled.has(group),
      tolerance,
      maxCount: Math.max(0, controllerMovesMaxCount - movingCount),
    });
    for (const move of moves) {
      if (!catalog.isLeader || this.#isClosed) return;
      await catalog.propose({ kind: "place-partition", ...move });
    }
    this.#plannedFor = basis;
  }

  /** Those that aren't led can't be helped now, and take nobody's place. */
  #movingGroups(): readonly CatalogPartition[] {
    const { catalog, facts } = this.#options;
    return [...partitionsOf(catalog.state)]
      .map(({ partition }) => partition)
      .filter(({ uuid, isMoving }) => isMoving && facts.leaderOf(uuid) !== undefined);
  }

  #lookAfter(group: string, what: Work): void {
    if (this.#runningCount >= controllerStepsMaxCount) return;
    const work = this.#works.get(group) ?? { failures: 0, dueMs: 0, running: undefined };
    if (work.running !== undefined || work.dueMs > this.#options.clock.monotonic()) return;
    if (what === "members" && !this.#takeSlot(work)) return;
    this.#works.set(group, work);
    this.#runningCount += 1;
    if (what === "leader") this.#transferCount += 1;
    const { catalog } = this.#options;
    const { nextOffset } = catalog;
    work.running = this.#step(group, what)
      .then(
        // What it was planned on may have been another catalog.
        (pauseMs) => this.#stepped(work, catalog.nextOffset === nextOffset ? pauseMs : Math.min(pauseMs, controllerIntervalMs)),
        (error: unknown) => this.#failed(group, work, error),
      )
      .finally(() => {
        this.#runningCount -= 1;
        if (what === "leader") this.#transferCount -= 1;
        work.running = undefined;
        this.#wakeAt(work.dueMs);
      });
  }

  /** The next step of a group. Resolves with how long to wait before another one is looked for. */
  async #step(group: string, what: Work): Promise<number> {
    const { catalog, facts } = this.#options;
    const leader = what === "catalog" ? catalog.leader : facts.leaderOf(group);
    if (leader === undefined) return controllerRetryMinMs;
    const report = decodeReport(await this.#ask(leader, groupQuestions.status, { group }));
    // What was wished before the question may be another thing by now.
    if (what === "catalog") return this.#stepCatalog(group, leader, report);
    const partition = findPartition(catalog.state, group);
    if (partition === undefined || !catalog.isLeader) return controllerRetryMinMs;
    const wish = wishOf(catalog.state, partition);
    if (what === "leader") return this.#handBack(group, leader, { wish, report });
    this.#noteProgress(group, report, wish);
    // First of all: a replica that is to come after one on the same node can't be made before that is gone.
    const left = findLeft(partition, report);
    if (left !== undefined) {
      await catalog.propose({ kind: "replica-left", group, basis: partition.placedAt, replica: left });
      return controllerPauseMs;
    }
    const step = planGroupStep(wish, report);
    if (step.kind !== "settled") return this.#take(group, leader, { step, report });
    await catalog.propose({ kind: "placement-done", group, basis: partition.placedAt });
    return controllerPauseMs;
  }

  async #stepCatalog(group: string, leader: NodeId, report: GroupReport): Promise<number> {
    const { catalog, facts, clock } = this.#options;
    const nowMs = clock.monotonic();
    const wish = wishOfCatalog(catalog.state, report, { facts, nowMs, goneMs: catalogVoterGoneMs });
    const step = planGroupStep(wish, report);
    if (step.kind !== "settled") return this.#take(group, leader, { step, report });
    // Whoever drains votes no more by now. It hears of its removal as a learner, and then it is one no more.
    const [name] = drainedNodes(catalog.state);
    if (name === undefined) return catalogLookMs;
    await catalog.propose({ kind: "remove-node", name, isForced: false });
    return controllerPauseMs;
  }

  async #handBack(group: string, leader: NodeId, { wish, report }: Planned): Promise<number> {
    const to = wish.leader;
    if (to === undefined || to === report.leader || !report.isSettled) return controllerRetryMinMs;
    const isVoter = report.membership.voters.some(({ nodeId }) => nodeId === to);
    if (!isVoter || !isHealthy(report, to)) return controllerIntervalMs;
    await this.#ask(leader, groupQuestions.transfer, { group, to });
    // Long enough for it to be known who leads then.
    return controllerIntervalMs;
  }

  async #take(group: string, leader: NodeId, { step, report }: TakenStep): Promise<number> {
    if (step.kind === "change") {
      await this.#ask(leader, groupQuestions.change, { group, membership: report.membership, changes: step.changes });
      this.#options.logger.info({ group, changes: step.changes }, "a group's members are changed");
      return controllerPauseMs;
    }
    if (step.kind === "transfer") await this.#ask(leader, groupQuestions.transfer, { group, to: step.to });
    return controllerRetryMinMs;
  }

  #ask(to: NodeId, kind: string, question: Parameters<typeof encodeQuestion>[0]): Promise<Buffer> {
    return this.#options.peers.ask({ nodeId: to }, kind, encodeQuestion(question));
  }

  #stepped(work: GroupWork, pauseMs: number): void {
    work.failures = 0;
    work.dueMs = this.#options.clock.monotonic() + pauseMs;
  }

  #failed(group: string, work: GroupWork, error: unknown): void {
    const { clock, logger } = this.#options;
    const delayMs = Math.min(controllerRetryMinMs * 2 ** work.failures, controllerRetryMaxMs);
    work.failures = Math.min(work.failures + 1, 30);
    work.dueMs = clock.monotonic() + delayMs;
    // Somebody else leads, or something came in between: that is everyday's business.
    const isUsual = isProglogError(error, "NOT_LEADER") || isProglogError(error, "CHANGE_IN_PROGRESS");
    logger[isUsual ? "debug" : "warn"]({ group, reason: messageOf(error), delayMs }, "a group can't be changed yet");
  }

  /** Few groups at a time get new members. One that gets no further for a while makes room for others. */
  #takeSlot(work: GroupWork): boolean {
    const nowMs = this.#options.clock.monotonic();
    const slot = this.#slots.get(work);
    if (slot !== undefined) {
      if (nowMs - slot.progressMs < controllerStallMs) return true;
      this.#slots.delete(work);
      // Not before those that wait have had their turn.
      work.dueMs = nowMs + controllerIntervalMs;
      return false;
    }
    if (this.#slots.size >= controllerMovesMaxCount) return false;
    this.#slots.set(work, { progressMs: nowMs, mark: "" });
    return true;
  }

  #noteProgress(group: string, report: GroupReport, wish: GroupWish): void {
    const work = this.#works.get(group);
    const slot = work === undefined ? undefined : this.#slots.get(work);
    // How far those are whom it waits for, in entries: what they lack may grow however fast they copy.
    const learners = report.membership.learners.filter(({ nodeId }) => findMember(wish.voters, nodeId) !== undefined);
    const matches = learners.map(({ nodeId }) => {
      return report.lastIndex - (report.peers.find((peer) => peer.nodeId === nodeId)?.lag ?? report.lastIndex);
    });
    const mark = JSON.stringify([report.membership, matches]);
    if (slot === undefined || slot.mark === mark) return;
    slot.mark = mark;
    slot.progressMs = this.#options.clock.monotonic();
  }

  #forget(group: string, work: GroupWork): void {
    if (work.running !== undefined) return;
    this.#works.delete(group);
    this.#slots.delete(work);
  }

  #isWork(group: string): boolean {
    const { catalog, facts } = this.#options;
    if (group === catalog.state.clusterId) return true;
    const partition = findPartition(catalog.state, group);
    return partition !== undefined && (partition.isMoving || facts.leaderOf(group) !== partition.leader);
  }

  #wakeAt(dueMs: number): void {
    const { clock } = this.#options;
    const delayMs = dueMs - clock.monotonic();
    // The next turn of the timer is soon enough for what is later.
    if (!this.#isClosed && delayMs < controllerIntervalMs) clock.setTimer(Math.max(0, delayMs), () => this.#wake());
  }
}

export interface ControllerOptions {
  readonly catalog: Pick<ClusterCatalog, "state" | "nextOffset" | "isLeader" | "leader" | "propose" | "refresh" | "watch">;
  readonly facts: ControllerFacts;
  /** Asks any node, this one included. */
  readonly peers: Pick<PeerNetwork, "ask">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Share of the mean by which nodes may differ before partitions are moved for balance alone. Default 0.1. */
  readonly tolerance?: number;
}

export interface ControllerStatus {
  /** Whether group 0 is led here. */
  readonly isActive: boolean;
  /** Groups whose members are being changed. */
  readonly movingCount: number;
  /** Groups at which the last attempt failed. */
  readonly failingCount: number;
}

type Work = "catalog" | "members" | "leader";

interface Planned {
  readonly wish: GroupWish;
  readonly report: GroupReport;
}

interface TakenStep {
  readonly step: GroupStep;
  readonly report: GroupReport;
}

interface GroupWork {
  failures: number;
  dueMs: number;
  running: Promise<void> | undefined;
}
