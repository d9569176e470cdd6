import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { clientCallMaxMs, clientTransportsMaxCount } from "../base/limits.ts";
import { decodeTopicResponse, encodeTopicNameRequest, type TopicDescription } from "../wire/topic-message.ts";
import type { Transport } from "./transport.ts";

/**
 * Who leads what. A client begins with some addresses and asks whichever answers; from then on requests for a partition go to the
 * node that leads it. On a single node all of that is the one address.
 */
export class Routes {
  readonly #bootstrap: readonly string[];
  readonly #connect: (address: string) => Transport;
  readonly #transports = new Map<string, Transport>();
  readonly #topics = new Map<string, Promise<TopicDescription>>();
  /** Of the bootstrap addresses, the one that answered last. */
  #preferred = 0;

  constructor(bootstrap: readonly string[], connect: (address: string) => Transport) {
    this.#bootstrap = bootstrap;
    this.#connect = connect;
  }

  /** Asks any node, one after the other, and goes on to the next only where there was no connection. */
  async call(method: string, request: Buffer, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Buffer> {
    let failure: unknown;
    for (let tried = 0; tried < this.#bootstrap.length; tried += 1) {
      try {
        return await this.#any().call(method, request, { ...options, timeoutMs: clientCallMaxMs });
      } catch (error) {
        if (!isProglogError(error, "UNAVAILABLE") && !isProglogError(error, "SHUTTING_DOWN")) throw error;
        failure = error;
        this.#preferred = (this.#preferred + 1) % this.#bootstrap.length;
      }
    }
    if (this.#bootstrap.length === 1) throw failure;
    throw new ProglogError("UNAVAILABLE", `Cannot reach ${this.#bootstrap.join(", ")}: ${messageOf(failure)}`, {
      hint: "Is proglog serve running there?",
      cause: failure,
    });
  }

  /** The topic, as it was when it was asked for first; `forget` has it asked for again. Throws TOPIC_NOT_FOUND. */
  getTopic(name: string): Promise<TopicDescription> {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    const asked = this.call(describeTopic, encodeTopicNameRequest(name)).then(decodeTopicResponse);
    this.#topics.set(name, asked);
    // A failure is for those who asked for it now; the next one asks anew.
    asked.catch(() => this.forget(name));
    return asked;
  }

  /** The topic as it is now. When that can't be heard, what was known stays. */
  async refreshTopic(name: string): Promise<TopicDescription> {
    const topic = decodeTopicResponse(await this.call(describeTopic, encodeTopicNameRequest(name)));
    this.#topics.set(name, Promise.resolve(topic));
    return topic;
  }

  forget(topic: string): void {
    this.#topics.delete(topic);
  }

  /** The way to the node that leads the partition; to any, where the topic isn't there yet or nobody is known to lead it. */
  async getLeader(topic: string, partition: number): Promise<Transport> {
    const description = await this.getTopic(topic).catch((error: unknown) => {
      if (isProglogError(error, "TOPIC_NOT_FOUND")) return undefined;
      throw error;
    });
    const address = description?.partitions.find((each) => each.partition === partition)?.leaderRpcAddr ?? "";
    return address === "" ? this.#any() : this.#to(address);
  }

  async close(): Promise<void> {
    const transports = [...this.#transports.values()];
    this.#transports.clear();
    await Promise.all(transports.map((transport) => transport.close()));
  }

  #any(): Transport {
    return this.#to(this.#bootstrap[this.#preferred] ?? "");
  }

  #to(address: string): Transport {
    const known = this.#transports.get(address);
    if (known !== undefined) return known;
    const transport = this.#connect(address);
    this.#transports.set(address, transport);
    if (this.#transports.size > clientTransportsMaxCount) this.#closeOldest();
    return transport;
  }

  /** Of those that were found on the way. Whoever still uses it hears that the connection broke, and asks again who leads. */
  #closeOldest(): void {
    for (const [address, transport] of this.#transports) {
      if (this.#bootstrap.includes(address)) continue;
      this.#transports.delete(address);
      // Closing waits for the socket; nobody waits for that.
      void transport.close();
      return;
    }
  }
}

/** How often it is asked anew how many partitions a topic has: an operator adds some, and nobody is told. */
export const topicMaxAgeMs = 10_000;

const describeTopic = "/log.v1.Topics/DescribeTopic";
