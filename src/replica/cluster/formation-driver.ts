import { unreachable } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import {
  formationAddressesMaxCount,
  formationAnswerMaxMs,
  formationFreshMs,
  formationReminderMs,
  formationRoundMs,
  formationSettleMs,
} from "../../base/cluster-limits.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import type { PeerNetwork } from "../peer-network.ts";
import { type FormationSituation, type FormationStep, nextFormationStep, refusalOfPromise } from "./formation.ts";
import type { FormationMember, FormationProposal } from "./formation-proposal.ts";
import {
  decodeFormationMessage,
  decodeJoined,
  encodeFormationMessage,
  encodeJoinRequest,
  type FormationMessage,
  type NodeView,
} from "./formation-view.ts";
import { KnownNodes } from "./known-nodes.ts";
import type { NodeRecord } from "./node-record.ts";

export interface FormationOptions {
  readonly record: NodeRecord;
  /** This node's name, and where others reach it. */
  readonly name: string;
  readonly address: string;
  /** `host:port` each, where a host may be a name of many. */
  readonly joinAddresses: readonly string[];
  readonly initialNodes: number | undefined;
  readonly isBootstrapping: boolean;
  /** The directory has topics of a single node. */
  readonly hasTopics: boolean;
  /** The addresses behind one `host:port`. */
  readonly resolve: (address: string) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What formation needs of the network. `announce` says anew who this node is. */
export interface FormationNetwork extends Pick<PeerNetwork, "ask"> {
  announce(): void;
}

/**
 * Carries out what formation decides: asks, answers and makes durable. Asking never waits for one slow node: each address has one
 * question under way, and whatever comes in wakes the loop that decides.
 */
export class FormationDriver {
  readonly #options: FormationOptions;
  readonly #known = new KnownNodes();
  readonly #run: string;
  readonly #underWay = new Set<string>();
  /** Where nodes are that came to this one by themselves. */
  readonly #introduced = new Set<string>();
  /** Addresses at which this node answered itself. */
  readonly #own = new Set<string>();
  /** By storage id, why it doesn't promise. */
  readonly #refusals = new Map<string, string>();
  /** By address, why somebody there doesn't speak with this node. */
  readonly #shunned = new Map<string, string>();
  /** When each address last answered. */
  readonly #answeredAtMs = new Map<string, number>();
  /** What the join addresses were last found to be, and whether each of them was found. */
  #resolved: readonly string[] = [];
  #areAllFound = false;
  #isJoining = false;
  #isLookingAround = false;
  #nextRoundAtMs = 0;
  /** Who was there when that last changed, and when it did. */
  #company = "";
  #companySinceMs = 0;
  /** Something came in since the last step was decided. */
  #hasNews = false;
  #wake: (() => void) | undefined;
  #told: { readonly why: string; readonly atMs: number } | undefined;

  constructor(options: FormationOptions) {
    this.#options = options;
    this.#run = options.random.bytes(16).toString("hex");
  }

  /** What this node says of itself. */
  get view(): NodeView {
    const { record, name, address, initialNodes, isBootstrapping, clock } = this.#options;
    const { storageId, bootCounter, generation, clusterId, promise } = record.state;
    const addresses = this.#known
      .fresh(clock.monotonic())
      .filter((other) => other.clusterId === undefined)
      .map((other) => other.address)
      .slice(0, formationAddressesMaxCount);
    return {
      name,
      storageId,
      address,
      run: this.#run,
      bootCounter,
      generation,
      clusterId,
      promise,
      initialNodes,
      isBootstrapping,
      addresses,
    };
  }

  /** Why there is no cluster yet, as a sentence; undefined once there is one. */
  get waitsFor(): string | undefined {
    return this.#options.record.state.clusterId === undefined ? this.#told?.why : undefined;
  }

  /** A node came by itself: one of a cluster that looks for who was here before may be all that leads there. */
  introduce(address: string): void {
    if (this.#introduced.size < formationAddressesMaxCount) this.#introduced.add(address);
  }

  /** Asks every address it knows, and waits for nobody. */
  async lookAround(network: FormationNetwork, signal: AbortSignal): Promise<void> {
    if (this.#isLookingAround) return;
    this.#isLookingAround = true;
    try {
      await this.#askAround([], network, signal);
    } finally {
      this.#isLookingAround = false;
    }
  }

  /** Resolves when the node belongs to a cluster. Throws why it can't: NODE_ALREADY_EXISTS, INVALID_CONFIG, PEER_REFUSED, a disk's errors. */
  async form(network: FormationNetwork, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#changed();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        if (signal.aborted) throw new ProglogError("CANCELLED", "Cannot go on beginning a cluster: the node is stopping");
        this.#hasNews = false;
        const step = nextFormationStep(this.#situation());
        this.#tell(step);
        if (await this.#take(step, network, signal)) return;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Answers formation/probe, formation/promise and formation/adopt, for as long as the node runs. */
  async answer(kind: string, body: Buffer): Promise<Buffer> {
    const { record } = this.#options;
    const { view, proposal } = decodeFormationMessage(body);
    this.#hear(view);
    switch (kind) {
      case "formation/probe":
        return this.#reply();
      case "formation/promise": {
        if (proposal === undefined) throw new ProglogError("INVALID_ARGUMENT", "Cannot promise: there is no proposal");
        const refusal = refusalOfPromise(this.#situation(), proposal);
        if (refusal !== undefined) return this.#reply(refusal);
        try {
          await record.promise(proposal);
        } catch (error) {
          // Something else was promised meanwhile.
          if (isProglogError(error, "PEER_REFUSED")) return this.#reply(error.message);
          throw error;
        }
        this.#changed();
        return this.#reply();
      }
      case "formation/adopt": {
        const { promise, clusterId } = record.state;
        if (clusterId === undefined && promise !== undefined && this.#known.isFormed(promise.clusterId)) {
          await record.adopt(promise.clusterId);
          this.#changed();
        }
        return this.#reply();
      }
      default:
        throw new ProglogError("INVALID_ARGUMENT", `Cannot answer ${kind}: there is no such question`);
    }
  }

  /** True when the node belongs to a cluster. */
  async #take(step: FormationStep, network: FormationNetwork, signal: AbortSignal): Promise<boolean> {
    const { record, random, logger } = this.#options;
    switch (step.kind) {
      case "member":
        network.announce();
        return true;
      case "adopt":
        await record.adopt(step.proposal.clusterId);
        for (const member of step.proposal.members) void this.#ask(network, member.address, "formation/adopt", signal);
        return false;
      case "renew": {
        const storageId = random.bytes(16).toString("hex");
        logger.warn(
          { promised: step.promisedId, storageId, why: step.why },
          "the cluster that was promised can't come to be; this empty directory begins anew",
        );
        await record.renew(storageId, step.promisedId);
        this.#refusals.clear();
        network.announce();
        return false;
      }
      case "propose": {
        const clusterId = random.bytes(16).toString("hex");
        await this.#propose({ clusterId, proposer: record.state.storageId, members: step.members });
        // The others are there: they are asked at once.
        this.#nextRoundAtMs = 0;
        return false;
      }
      case "join":
        if (await this.#join(step, network, signal)) return false;
        await this.#askAround([], network, signal);
        await this.#pause();
        return false;
      case "refuse":
        throw step.error;
      case "wait":
        await this.#askAround(step.asks, network, signal);
        await this.#pause();
        return false;
      default:
        return unreachable(step);
    }
  }

  async #propose(proposal: FormationProposal): Promise<void> {
    try {
      await this.#options.record.promise(proposal);
    } catch (error) {
      // Something else was promised meanwhile; the next step goes by that.
      if (!isProglogError(error, "PEER_REFUSED")) throw error;
    }
  }

  /** True when a node of the cluster took this one in. A refusal for good is thrown, all else is tried again. */
  async #join(
    { clusterId, through }: Extract<FormationStep, { kind: "join" }>,
    network: FormationNetwork,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { record, name, address, logger } = this.#options;
    this.#isJoining = true;
    const body = encodeJoinRequest({ name, storageId: record.state.storageId, address });
    for (const peer of this.#shuffled(through)) {
      try {
        const joined = decodeJoined(await network.ask({ address: peer.address }, "formation/join", body, { signal }));
        if (joined.clusterId !== clusterId) continue;
        await record.join(clusterId, joined.incarnation);
        return true;
      } catch (error) {
        if (isProglogError(error) && finalRefusals.has(error.code)) {
          // A promise was given before this node began to join: it goes before.
          if (record.state.promise !== undefined) break;
          throw error;
        }
        logger.debug(
          { peer: peer.name, address: peer.address, reason: messageOf(error) },
          "a node of the cluster can't take this one in yet",
        );
      }
    }
    this.#isJoining = false;
    return false;
  }

  /** Asks every address that isn't being asked, not more often than once a round. */
  async #askAround(asks: readonly FormationMember[], network: FormationNetwork, signal: AbortSignal): Promise<void> {
    const { clock, random, record } = this.#options;
    if (clock.monotonic() < this.#nextRoundAtMs) return;
    this.#nextRoundAtMs = clock.monotonic() + formationRoundMs * (0.5 + random.float());
    const promiseFrom = new Set(asks.map(({ address }) => address));
    const { promise } = record.state;
    for (const address of await this.#addresses()) {
      const kind = promise !== undefined && promiseFrom.has(address) ? "formation/promise" : "formation/probe";
      void this.#ask(network, address, kind, signal);
    }
  }

  async #addresses(): Promise<ReadonlySet<string>> {
    const { joinAddresses, address: own, record, clock } = this.#options;
    await this.#resolve(joinAddresses);
    const fresh = this.#known.fresh(clock.monotonic());
    const addresses = new Set([
      ...(record.state.promise?.members ?? []).map((member) => member.address),
      ...fresh.map((other) => other.address),
      ...this.#resolved,
      ...this.#introduced,
      ...fresh.flatMap((other) => other.addresses),
    ]);
    addresses.delete(own);
    for (const address of this.#own) addresses.delete(address);
    return new Set([...addresses].slice(0, formationAddressesMaxCount));
  }

  async #resolve(joinAddresses: readonly string[]): Promise<void> {
    const { resolve, logger } = this.#options;
    const found = await Promise.all(
      joinAddresses.map(async (joinAddress) => {
        try {
          return await resolve(joinAddress);
        } catch (error) {
          logger.debug({ address: joinAddress, reason: messageOf(error) }, "a join address can't be found");
          return [];
        }
      }),
    );
    const resolved = [...new Set(found.flat())];
    this.#resolved = resolved;
    this.#areAllFound = found.every((addresses) => addresses.length > 0);
    // Addresses that are none any more must not count as answered should they come back.
    for (const address of this.#answeredAtMs.keys()) if (!resolved.includes(address)) this.#answeredAtMs.delete(address);
  }

  /** Never rejects: who doesn't answer is asked again. */
  async #ask(network: FormationNetwork, address: string, kind: string, signal: AbortSignal): Promise<void> {
    const { clock, record } = this.#options;
    const { promise } = record.state;
    const key = kind === "formation/adopt" ? `${kind} ${address}` : address;
    if (this.#underWay.has(key) || address === this.#options.address) return;
    this.#underWay.add(key);
    try {
      const message: FormationMessage = {
        view: this.view,
        ...(kind === "formation/promise" && promise !== undefined ? { proposal: promise } : {}),
      };
      const body = await network.ask({ address }, kind, encodeFormationMessage(message), {
        timeoutMs: formationAnswerMaxMs,
        signal,
      });
      const { view, refusal } = decodeFormationMessage(body);
      this.#answeredAtMs.set(address, clock.monotonic());
      if (view.run === this.#run) this.#own.add(address);
      this.#hear(view);
      if (kind === "formation/promise") this.#noteRefusal(view.storageId, refusal);
    } catch (error) {
      this.#noteSilence(address, kind, error);
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** It is shown with what this node waits for. */
  #noteRefusal(storageId: string, refusal: string | undefined): void {
    if (this.#refusals.get(storageId) === refusal) return;
    if (refusal === undefined) this.#refusals.delete(storageId);
    else if (this.#refusals.size < formationAddressesMaxCount) this.#refusals.set(storageId, refusal);
    this.#changed();
  }

  /** Who doesn't answer may come; who refuses to speak with this node has a reason that somebody has to see. */
  #noteSilence(address: string, kind: string, error: unknown): void {
    const { logger } = this.#options;
    const reason = messageOf(error);
    const isNews = isProglogError(error, "PEER_REFUSED") && this.#shunned.get(address) !== reason;
    if (!isNews) return logger.debug({ address, kind, reason }, "a node doesn't answer");
    if (this.#shunned.size < formationAddressesMaxCount) this.#shunned.set(address, reason);
    logger.warn({ address, hint: error.hint }, `waiting for a cluster: ${reason}`);
  }

  #hear(view: NodeView): void {
    const { storageId, bootCounter } = this.#options.record.state;
    if (view.run === this.#run) return;
    // What this directory said in an earlier life, and comes late.
    if (view.storageId === storageId && view.bootCounter < bootCounter) return;
    if (this.#known.hear(view, this.#options.clock.monotonic())) this.#changed();
  }

  #changed(): void {
    this.#hasNews = true;
    this.#wake?.();
  }

  #reply(refusal?: string): Buffer {
    return encodeFormationMessage({ view: this.view, ...(refusal === undefined ? {} : { refusal }) });
  }

  #situation(): FormationSituation {
    const { hasTopics, joinAddresses, clock } = this.#options;
    const nowMs = clock.monotonic();
    const others = this.#known.fresh(nowMs);
    const company = others.map(({ run, storageId, clusterId }) => `${run} ${storageId} ${clusterId}`).join();
    if (company !== this.#company) {
      this.#company = company;
      this.#companySinceMs = nowMs;
    }
    return {
      self: this.view,
      others,
      isSettled: nowMs - this.#companySinceMs >= formationSettleMs,
      bondOf: (storageId) => this.#known.bondOf(storageId),
      isFormed: (clusterId) => this.#known.isFormed(clusterId),
      refusalOf: (storageId) => this.#refusals.get(storageId),
      hasTopics,
      hasJoinAddresses: joinAddresses.length > 0,
      haveAllAnswered: this.#areAllFound && this.#resolved.every((address) => this.#hasAnswered(address, nowMs)),
      isJoining: this.#isJoining,
    };
  }

  #hasAnswered(address: string, nowMs: number): boolean {
    if (address === this.#options.address || this.#own.has(address)) return true;
    const atMs = this.#answeredAtMs.get(address);
    return atMs !== undefined && nowMs - atMs <= formationFreshMs;
  }

  /** Until the next round is due, or something came in. */
  async #pause(): Promise<void> {
    const { clock } = this.#options;
    if (this.#hasNews) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimer(Math.max(0, this.#nextRoundAtMs - clock.monotonic()), resolve);
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
    timer.cancel();
  }

  #shuffled(nodes: readonly NodeView[]): readonly NodeView[] {
    const { random } = this.#options;
    return nodes
      .map((node) => ({ node, order: random.float() }))
      .toSorted((a, b) => a.order - b.order)
      .map(({ node }) => node);
  }

  /** What it waits for is said when it changes, and again now and then. */
  #tell(step: FormationStep): void {
    if (step.kind !== "wait") return;
    const { clock, logger, name } = this.#options;
    const nowMs = clock.monotonic();
    if (this.#told?.why === step.why && nowMs - this.#told.atMs < formationReminderMs) return;
    this.#told = { why: step.why, atMs: nowMs };
    const text = `waiting for a cluster: ${step.why}`;
    if (step.isTrouble) logger.warn({ node: name }, text);
    else logger.info({ node: name }, text);
  }
}

/** What no further try changes. */
const finalRefusals: ReadonlySet<string> = new Set([
  "NODE_ALREADY_EXISTS",
  "PEER_REFUSED",
  "INVALID_ARGUMENT",
  "INVALID_CONFIG",
]);
