import { ProglogError } from "../base/error.ts";
import type { PartitionDescription } from "../wire/topic-message.ts";
import { type Appended, FakeNode, FakePartition, type NodeRules } from "./fake-node.ts";
import type { Transport } from "./transport.ts";

/**
 * Nodes that lead, lose and regain partitions. Of each partition there is one log, of what is committed, and one leader that may
 * append to it; but each node has its own word on who that is, which is old until it `hears`. A leader that was deposed and doesn't
 * know it answers from what it knew: of what follows that it says nothing until it hears, and then that leadership was lost; of what
 * doesn't follow that at once. A follower shows as much of the log as it has `followed`.
 */
export class FakeCluster {
  readonly nodes: readonly FakeNode[];
  readonly partitions: FakePartition[];
  /** What becomes of the next batches that reach their leader: it loses leadership, and they are there, or not. */
  readonly fates: ("kept" | "dropped")[] = [];
  /** Whether a node that doesn't lead says who does. */
  isHinting = true;
  readonly #leaders: Leading[];
  readonly #words: NodeWords[];

  /** `later` calls back in a turn of its own. */
  constructor(topic: string, { nodeCount, partitionCount, later }: FakeClusterOptions) {
    this.partitions = Array.from({ length: partitionCount }, () => new FakePartition());
    this.#leaders = this.partitions.map((_, partition) => ({ node: partition % nodeCount, term: 1 }));
    this.#words = Array.from({ length: nodeCount }, () => ({
      leaders: [...this.#leaders],
      visible: this.partitions.map(() => 0),
      deposed: new Map(),
    }));
    this.nodes = this.#words.map(
      (words, number) =>
        new FakeNode(topic, 0, later, {
          address: addressOf(number),
          rules: this.#rulesOf(number, words),
          partitions: this.partitions,
        }),
    );
  }

  connect(address: string): Transport {
    const node = this.nodes.find((each) => each.address === address);
    if (node === undefined) throw new Error(`there is no node at ${address}`);
    return node.connect();
  }

  get addresses(): readonly string[] {
    return this.nodes.map(({ address }) => address);
  }

  leaderOf(partition: number): FakeNode {
    return this.#node(this.#leader(partition).node);
  }

  /** Another node leads from now on. It knows; the others don't. */
  moveLeader(partition: number, to: number): void {
    const { node, term } = this.#leader(partition);
    if (node === to) return;
    const log = this.partitions[partition];
    if (log !== undefined) this.#word(node).deposed.set(partition, log.copyOfProducers());
    this.#leaders[partition] = { node: to, term: term + 1 };
    this.#hear(to, partition);
  }

  /** A node hears who leads, and answers what it held back. */
  hear(number: number): void {
    for (const partition of this.partitions.keys()) this.#hear(number, partition);
    this.#node(number).release();
  }

  /** A follower gets what is committed. */
  follow(number: number): void {
    const { visible } = this.#word(number);
    this.partitions.forEach((log, partition) => {
      visible[partition] = log.endOffset;
      log.wake();
    });
  }

  /** Delivers one message somewhere. False when there is none. */
  step(pick: (count: number) => number = () => 0): boolean {
    const first = pick(this.nodes.length);
    return this.nodes.some((_, i) => this.#node((first + i) % this.nodes.length).step(pick));
  }

  #hear(number: number, partition: number): void {
    const word = this.#word(number);
    word.leaders[partition] = this.#leader(partition);
    word.deposed.delete(partition);
    // What it led it had all of; and whoever reads there from a leader that isn't one any more is to be told.
    this.partitions[partition]?.wake();
  }

  #rulesOf(number: number, words: NodeWords): NodeRules {
    const believes = (partition: number): Leading => words.leaders[partition] ?? { node: 0, term: 0 };
    const isDeposed = (partition: number): boolean =>
      believes(partition).node === number && this.#leader(partition).node !== number;
    return {
      describe: (partition) => this.#describe(believes(partition)),
      isHeld: (partition, batch) => isDeposed(partition) && !isJudged(words.deposed.get(partition), batch),
      append: (partition, batch, append) => {
        const { node } = believes(partition);
        if (node !== number) throw this.#notLeader(node);
        const old = words.deposed.get(partition);
        if (isDeposed(partition) && old !== undefined) {
          // It was held back behind another's, and the node was deposed meanwhile.
          if (!isJudged(old, batch)) throw new ProglogError("LEADERSHIP_LOST", "Another node leads now");
          return old.append(batch);
        }
        return this.#append(partition, append);
      },
      checkRead: (partition, leaderOnly) => {
        const { node } = believes(partition);
        if (leaderOnly && node !== number) throw this.#notLeader(node);
      },
      visibleEnd: (partition, endOffset) => {
        const { node } = believes(partition);
        if (node === number) return words.deposed.get(partition)?.endOffset ?? endOffset;
        return words.visible[partition] ?? 0;
      },
    };
  }

  #append(partition: number, append: () => Appended): Appended {
    const fate = this.fates.shift();
    if (fate === undefined) return append();
    if (fate === "kept") append();
    const { node } = this.#leader(partition);
    this.moveLeader(partition, (node + 1) % this.nodes.length);
    this.#hear(node, partition);
    throw new ProglogError("LEADERSHIP_LOST", "Another node leads now", {
      details: this.#detailsOf(this.#leader(partition).node),
    });
  }

  #notLeader(leader: number): ProglogError {
    return new ProglogError("NOT_LEADER", "This node doesn't lead it", { details: this.#detailsOf(leader) });
  }

  #detailsOf(leader: number): { readonly leaderId?: string; readonly leaderRpcAddr?: string } {
    return this.isHinting ? { leaderId: `n${leader}`, leaderRpcAddr: addressOf(leader) } : {};
  }

  #describe({ node, term }: Leading): Pick<PartitionDescription, "leaderId" | "leaderRpcAddr" | "replicas" | "term"> {
    const replicas = this.nodes.map(({ address }, i) => ({ nodeId: `n${i}`, rpcAddr: address, isVoter: true, isInSync: true }));
    return { leaderId: `n${node}`, leaderRpcAddr: addressOf(node), term, replicas };
  }

  #leader(partition: number): Leading {
    return this.#leaders[partition] ?? { node: 0, term: 0 };
  }

  #node(number: number): FakeNode {
    const node = this.nodes[number];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    return node;
  }

  #word(number: number): NodeWords {
    const words = this.#words[number];
    if (words === undefined) throw new Error(`there is no node ${number}`);
    return words;
  }
}

export interface FakeClusterOptions {
  readonly nodeCount: number;
  readonly partitionCount: number;
  readonly later: (run: () => void) => void;
}

interface Leading {
  readonly node: number;
  readonly term: number;
}

/** What one node knows, which may be old. */
interface NodeWords {
  readonly leaders: Leading[];
  /** As a follower, by partition. */
  readonly visible: number[];
  /** Partitions that it led and doesn't know it lost, as they were then. */
  readonly deposed: Map<number, FakePartition>;
}

function addressOf(node: number): string {
  return `n${node}:1`;
}

/** Whether a deposed leader can say something of the batch by what it knew: that it has it, or that it doesn't follow. */
function isJudged(old: FakePartition | undefined, batch: Buffer): boolean {
  if (old === undefined) return false;
  const trial = old.copyOfProducers();
  try {
    return trial.append(Buffer.from(batch)).isDuplicate;
  } catch {
    return true;
  }
}
