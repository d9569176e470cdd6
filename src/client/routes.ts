import type { Clock, Timer } from "../base/clock.ts";
import { type ErrorCode, isProglogError, messageOf, ProglogError } from "../base/error.ts";
import {
  clientCallMaxMs,
  clientHedgeMs,
  clientHintsMaxCount,
  clientTopicIntervalMs,
  clientTopicsMaxCount,
  clientTransportsMaxCount,
} from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import { minuteMs } from "../base/units.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import { decodeTopicResponse, encodeTopicNameRequest, type TopicDescription } from "../wire/topic-message.ts";
import { isAddress } from "./address.ts";
import { askInTurn } from "./ask-in-turn.ts";
import { TopicRoutes } from "./topic-routes.ts";
import type { Transport } from "./transport.ts";

/**
 * Who leads what. A client begins with some addresses and asks whichever answers; from then on it knows the nodes by what they tell
 * of each other, and requests for a partition go to the node that leads it. On a single node all of that is the one address.
 *
 * When a leader is gone, hundreds of partitions notice at once. They share one question, which goes out again no sooner than
 * `clientTopicIntervalMs`; and a node that doesn't answer holds nobody up, since another one is asked meanwhile.
 */
export class Routes {
  readonly #bootstrap: readonly string[];
  readonly #parts: RoutesParts;
  readonly #transports = new Map<string, Transport>();
  readonly #topics = new Map<string, Entry>();
  readonly #waits = new Set<{ readonly timer: Timer; readonly end: () => void }>();
  /** The node that answered last, and when others were found not to be there. */
  #preferred: string;
  readonly #missedAtMs = new Map<string, number>();
  /** Nodes that topics were said to lie on. */
  readonly #known = new Set<string>();
  /** Whose turn it is among followers. */
  #turn = 0;
  #isClosed = false;

  constructor(bootstrap: readonly string[], parts: RoutesParts) {
    this.#bootstrap = bootstrap;
    this.#preferred = bootstrap[0] ?? "";
    this.#parts = parts;
  }

  /**
   * Asks any node. Where it can't be reached the next one is asked; where the answer was lost only if it `isRead`, since else it may
   * have been done.
   */
  async call(
    method: string,
    request: Buffer,
    { signal, isRead = false, last = [], onAnswer }: AskAnyOptions = {},
  ): Promise<Buffer> {
    const ask = async (address: string, over?: AbortSignal): Promise<Buffer> => {
      const signals = [signal, over].filter((each) => each !== undefined);
      const options = { signal: AbortSignal.any(signals), timeoutMs: clientCallMaxMs };
      try {
        const answer = await this.#to(address).call(method, request, options);
        this.#missedAtMs.delete(address);
        this.#preferred = address;
        onAnswer?.(address);
        return answer;
      } catch (error) {
        if (isUnheard(error)) this.avoid(address);
        throw error;
      }
    };
    const candidates = this.#candidates(last);
    try {
      if (!isRead) return await this.#callOnce(candidates, ask);
      return await askInTurn(candidates, ask, { clock: this.#parts.clock, hedgeMs: clientHedgeMs, isPassedOn: isUnheard });
    } catch (error) {
      if (candidates.length === 1 || !isUnheard(error)) throw error;
      const addresses = this.#bootstrap.join(", ");
      throw new ProglogError("UNAVAILABLE", `Cannot reach ${addresses}: ${messageOf(error)}`, {
        hint: "Is proglog serve running there?",
        details: { ...error.details, reason: `none of ${addresses} answers` },
        cause: error,
      });
    }
  }

  /** The topic as it was when it was heard of last, and asked for when what was known is no good any more. Throws TOPIC_NOT_FOUND. */
  async getTopic(name: string): Promise<TopicDescription> {
    const entry = this.#topics.get(name);
    if (entry?.routes === undefined || entry.isStale) return this.refreshTopic(name);
    if (this.#parts.clock.monotonic() - entry.heardAtMs > routeMaxAgeMs) this.refreshTopic(name).catch(() => {});
    return entry.routes.description;
  }

  /** The topic as it is now. When that can't be heard, what was known stays. Those who ask at the same time ask once. */
  refreshTopic(name: string): Promise<TopicDescription> {
    const entry = this.#entryOf(name);
    entry.asking ??= this.#ask(name, entry).finally(() => (entry.asking = undefined));
    return entry.asking;
  }

  forget(topic: string): void {
    this.#topics.delete(topic);
  }

  /** The way to the node that leads the partition; to any, where the topic isn't there yet or nobody is known to lead it. */
  async getLeader(topic: string, partition: number): Promise<Transport> {
    const routes = await this.#routesOf(topic);
    const address = routes?.leaderOf(partition) ?? "";
    if (address !== "") return this.#to(address);
    const followers = routes?.followersOf(partition) ?? [];
    return followers.length === 0 ? this.#any() : this.#to(this.#inTurn(followers));
  }

  /**
   * The way to a node that serves reads of the partition: one that follows its leader, each in turn, and the leader where none does.
   * Those in `avoided` only when there is nobody else.
   */
  async getFollower(topic: string, partition: number, avoided: ReadonlySet<string>): Promise<Transport> {
    // Of several replicas one is there even if what is known is old: nobody waits for news.
    const known = this.#topics.get(topic);
    if (known?.routes !== undefined && known.isStale) this.refreshTopic(topic).catch(() => {});
    const routes = known?.routes ?? (await this.#routesOf(topic));
    const followers = routes?.followersOf(partition) ?? [];
    const leader = routes?.leaderOf(partition) ?? "";
    const wished = followers.filter((address) => !avoided.has(address) && !this.#isMissed(address));
    if (wished.length > 0) return this.#to(this.#inTurn(wished));
    if (leader !== "" && !avoided.has(leader)) return this.#to(leader);
    const all = leader === "" ? followers : [...followers, leader];
    return all.length === 0 ? this.#any() : this.#to(this.#inTurn(all));
  }

  /** Whether there are other replicas that could serve it. */
  isReplicated(topic: string, partition: number): boolean {
    return this.#topics.get(topic)?.routes?.isReplicated(partition) === true;
  }

  /** Where the partition's leader is, as far as is known; "" where it isn't. */
  leaderAddress(topic: string, partition: number): string {
    return this.#topics.get(topic)?.routes?.leaderOf(partition) ?? "";
  }

  /**
   * What came from `address` says that it doesn't lead, or isn't there. Returns whether another leader is known already; else it is
   * asked for, by whoever wants to know next.
   */
  noteFailure({ topic, partition, address, error }: RouteFailure): boolean {
    const entry = this.#topics.get(topic);
    if (isUnheard(error)) this.avoid(address);
    const hinted = hintOf(error);
    const isNamed = hinted !== undefined && hinted !== address;
    // Of a topic that was made by what failed now nothing is known: whoever comes next asks for all of it.
    if (entry?.routes === undefined) return isNamed;
    entry.routes.dropHint(partition, address);
    if (isNamed) entry.routes.hint(partition, hinted);
    else entry.isStale = true;
    return isNamed;
  }

  /** It isn't there, or says nothing: for a while others are asked first. */
  avoid(address: string): void {
    this.#missedAtMs.set(address, this.#parts.clock.monotonic());
    if (this.#missedAtMs.size <= clientTransportsMaxCount) return;
    for (const oldest of this.#missedAtMs.keys()) {
      this.#missedAtMs.delete(oldest);
      break;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { timer, end } of this.#waits) {
      timer.cancel();
      end();
    }
    const transports = [...this.#transports.values()];
    this.#transports.clear();
    await Promise.all(transports.map((transport) => transport.close()));
  }

  /** One after the other, and the next only when nothing can have been done. */
  async #callOnce(candidates: readonly string[], ask: (address: string) => Promise<Buffer>): Promise<Buffer> {
    const left = [...candidates];
    let hints = 0;
    for (;;) {
      try {
        return await ask(left.shift() ?? this.#preferred);
      } catch (error) {
        if (!isProglogError(error) || !isUndone(error)) throw error;
        const hinted = hintOf(error);
        if (hinted !== undefined && hints < clientHintsMaxCount) {
          hints += 1;
          left.unshift(hinted);
        } else if (left.length === 0 || !(isUnheard(error) || isProglogError(error, "NOT_LEADER"))) {
          // Who knows of no leader may be cut off from those that have one.
          throw error;
        }
      }
    }
  }

  /**
   * All nodes that are known, the one that answered last before the others; behind them those of `last`, in their order, and then those
   * that weren't there.
   */
  #candidates(last: readonly string[] = []): readonly string[] {
    const known = [...new Set([this.#preferred, ...this.#bootstrap, ...this.#known])];
    const all = [...known.filter((address) => !last.includes(address)), ...last.filter((address) => known.includes(address))];
    return [...all.filter((address) => !this.#isMissed(address)), ...all.filter((address) => this.#isMissed(address))];
  }

  async #routesOf(topic: string): Promise<TopicRoutes | undefined> {
    try {
      await this.getTopic(topic);
    } catch (error) {
      if (isProglogError(error, "TOPIC_NOT_FOUND")) return undefined;
      throw error;
    }
    return this.#topics.get(topic)?.routes;
  }

  async #ask(name: string, entry: Entry): Promise<TopicDescription> {
    const { clock, random } = this.#parts;
    // Who wasn't answered waits before asking again by itself.
    const waitMs = entry.heardAtMs + clientTopicIntervalMs - clock.monotonic();
    // A little later for some: the clients of a leader that is gone noticed at the same time.
    if (waitMs > 0) await this.#wait(waitMs + random.float() * clientTopicIntervalMs);
    try {
      // What they told was no good: a node that is cut off goes on telling what it knew. So all others come before they are asked again.
      const last = entry.isStale ? entry.tellers : [];
      const onAnswer = (address: string): void => {
        entry.tellers = [...entry.tellers.filter((teller) => teller !== address), address].slice(-clientTransportsMaxCount);
      };
      const answer = await this.call(describeTopic, encodeTopicNameRequest(name), { isRead: true, last, onAnswer });
      const heard = decodeTopicResponse(answer);
      if (entry.routes === undefined) entry.routes = new TopicRoutes(heard);
      else entry.routes.learn(heard);
    } catch (error) {
      if (isProglogError(error, "TOPIC_NOT_FOUND") && this.#topics.get(name) === entry) this.forget(name);
      throw error;
    }
    for (const address of entry.routes.addresses()) this.#note(address);
    entry.heardAtMs = clock.monotonic();
    entry.isStale = false;
    return entry.routes.description;
  }

  /** To the end: of too many, the one that was named last is the last to go. */
  #note(address: string): void {
    this.#known.delete(address);
    this.#known.add(address);
    if (this.#known.size <= clientTransportsMaxCount) return;
    for (const oldest of this.#known) {
      this.#known.delete(oldest);
      break;
    }
  }

  #wait(delayMs: number): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        this.#waits.delete(wait);
        resolve();
      };
      const wait = { timer: this.#parts.clock.setTimer(delayMs, end), end };
      this.#waits.add(wait);
    });
  }

  #entryOf(topic: string): Entry {
    let entry = this.#topics.get(topic);
    if (entry !== undefined) return entry;
    entry = { routes: undefined, isStale: true, heardAtMs: Number.NEGATIVE_INFINITY, asking: undefined, tellers: [] };
    this.#topics.set(topic, entry);
    if (this.#topics.size > clientTopicsMaxCount) {
      for (const oldest of this.#topics.keys()) {
        this.#topics.delete(oldest);
        break;
      }
    }
    return entry;
  }

  /** It wasn't there a moment ago: others are asked first. */
  #isMissed(address: string): boolean {
    const atMs = this.#missedAtMs.get(address);
    return atMs !== undefined && this.#parts.clock.monotonic() - atMs < missedMaxMs;
  }

  #inTurn(addresses: readonly string[]): string {
    this.#turn += 1;
    return addresses[this.#turn % addresses.length] ?? this.#preferred;
  }

  #any(): Transport {
    return this.#to(this.#candidates()[0] ?? this.#preferred);
  }

  #to(address: string): Transport {
    const known = this.#transports.get(address);
    if (known !== undefined) {
      // To the end: the one that was used last is the last to go.
      this.#transports.delete(address);
      this.#transports.set(address, known);
      return known;
    }
    const transport = this.#parts.connect(address);
    this.#transports.set(address, transport);
    if (this.#transports.size > clientTransportsMaxCount) this.#closeOldest();
    return transport;
  }

  /** Of those that were found on the way. Whoever still uses it hears that the connection broke, and asks again who leads. */
  #closeOldest(): void {
    for (const [address, transport] of this.#transports) {
      if (this.#bootstrap.includes(address)) continue;
      this.#transports.delete(address);
      this.#missedAtMs.delete(address);
      // Closing waits for the socket; nobody waits for that.
      void transport.close();
      return;
    }
  }
}

export interface RoutesParts {
  readonly connect: (address: string) => Transport;
  readonly clock: Clock;
  readonly random: Random;
}

export interface AskAnyOptions {
  readonly signal?: AbortSignal | undefined;
  /** It changes nothing, so that it may be asked twice, and of several at once. */
  readonly isRead?: boolean;
  /** Asked behind all others, in this order. */
  readonly last?: readonly string[];
  /** Told who answered. */
  readonly onAnswer?: (address: string) => void;
}

export interface RouteFailure {
  readonly topic: string;
  readonly partition: number;
  /** Who was asked. */
  readonly address: string;
  readonly error: ProglogError;
}

interface Entry {
  routes: TopicRoutes | undefined;
  /** Something that went by it failed. */
  isStale: boolean;
  heardAtMs: number;
  asking: Promise<TopicDescription> | undefined;
  /** Who told of it, whoever did last at the end. */
  tellers: readonly string[];
}

/** How often it is asked anew how many partitions a topic has: an operator adds some, and nobody is told. */
export const topicMaxAgeMs = 10_000;

/** After that what leads is asked for again without a reason: replicas move, and those who read from followers aren't told. */
const routeMaxAgeMs = 5 * minuteMs;

/** A node that wasn't there may be back after a while, and have its turn again. */
const missedMaxMs = 10_000;

const describeTopic = "/log.v1.Topics/DescribeTopic";

/** Nobody is there, or says nothing: another might. */
function isUnheard(error: unknown): error is ProglogError {
  return isProglogError(error, "UNAVAILABLE") || isProglogError(error, "SHUTTING_DOWN") || isProglogError(error, "TIMEOUT");
}

function isUndone({ code, details }: ProglogError): boolean {
  return (details["outcome"] ?? errorTableEntry(code).outcome) === "not-appended";
}

/** Who is said to lead instead. */
function hintOf({ code, details }: ProglogError): string | undefined {
  const { leaderRpcAddr } = details;
  return leaderCodes.includes(code) && typeof leaderRpcAddr === "string" && isAddress(leaderRpcAddr)
    ? leaderRpcAddr
    : undefined;
}

const leaderCodes: readonly ErrorCode[] = ["NOT_LEADER", "NOT_A_REPLICA", "LEADERSHIP_LOST", "SHUTTING_DOWN"];
