import type { PartitionDescription, TopicDescription } from "../wire/topic-message.ts";

/**
 * What is known of who leads a topic's partitions, from answers that may be old: a node tells what it last heard. Of two the one with
 * the higher term is the newer. A hint, "I don't lead it, that one does", is newer than what sent us there, and holds until a
 * later term is heard of or it turns out wrong.
 */
export class TopicRoutes {
  #description: TopicDescription;
  readonly #hints = new Map<number, Hint>();

  constructor(description: TopicDescription) {
    this.#description = description;
  }

  get description(): TopicDescription {
    return this.#description;
  }

  /** Takes over an answer, but for what was known better. */
  learn(heard: TopicDescription): void {
    // A topic of the same name that was made anew begins with its terms anew.
    if (heard.uuid !== this.#description.uuid) this.#hints.clear();
    else heard = { ...heard, partitions: heard.partitions.map((partition) => this.#newerOf(partition)) };
    this.#description = heard;
    for (const [partition, { term }] of this.#hints) {
      if ((this.#find(partition)?.term ?? 0) > term) this.#hints.delete(partition);
    }
  }

  hint(partition: number, address: string): void {
    this.#hints.set(partition, { address, term: this.#find(partition)?.term ?? 0 });
  }

  /** What was said to lead doesn't, or can't be reached. */
  dropHint(partition: number, address: string): void {
    if (this.#hints.get(partition)?.address === address) this.#hints.delete(partition);
  }

  /** "" where nobody is known to lead it. */
  leaderOf(partition: number): string {
    return this.#hints.get(partition)?.address ?? this.#find(partition)?.leaderRpcAddr ?? "";
  }

  /** Addresses of the replicas that could lead it, or serve reads in the leader's place. */
  followersOf(partition: number): readonly string[] {
    const leader = this.leaderOf(partition);
    const replicas = this.#find(partition)?.replicas ?? [];
    return replicas.flatMap(({ rpcAddr, isInSync }) => (isInSync && rpcAddr !== "" && rpcAddr !== leader ? [rpcAddr] : []));
  }

  isReplicated(partition: number): boolean {
    return (this.#find(partition)?.replicas.length ?? 0) > 1;
  }

  /** Of all nodes that are named. */
  addresses(): readonly string[] {
    const all = this.#description.partitions.flatMap(({ leaderRpcAddr, replicas }) => [
      leaderRpcAddr,
      ...replicas.map(({ rpcAddr }) => rpcAddr),
    ]);
    return [...new Set(all)].filter((address) => address !== "");
  }

  #newerOf(heard: PartitionDescription): PartitionDescription {
    const known = this.#find(heard.partition);
    if (known === undefined || known.term <= heard.term) return heard;
    const { leaderId, leaderRpcAddr, term, replicas } = known;
    return { ...heard, leaderId, leaderRpcAddr, term, replicas };
  }

  #find(partition: number): PartitionDescription | undefined {
    const { partitions } = this.#description;
    // They stand in their order.
    const there = partitions[partition];
    return there?.partition === partition ? there : partitions.find((each) => each.partition === partition);
  }
}

interface Hint {
  readonly address: string;
  /** The highest that was known when it came. */
  readonly term: number;
}
