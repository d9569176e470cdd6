import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type Client, type ClientTls, connect, type ConnectOptions } from "../src/client/index.ts";
import type { TopicDescription } from "../src/wire/topic-message.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** Three nodes of one cluster in this process, over real sockets and false disks: for what services do with a cluster behind them. */
export class ThreeNodes implements AsyncDisposable {
  /** Knows all nodes. */
  readonly client: Client;
  readonly #nodes: ReadonlyMap<string, TestNode>;
  readonly #links: Links;
  readonly #options: ConnectOptions;

  private constructor(nodes: ReadonlyMap<string, TestNode>, links: Links, options: ConnectOptions) {
    this.#nodes = nodes;
    this.#links = links;
    this.#options = options;
    const addresses = [...nodes.values()].map(({ port }) => `127.0.0.1:${port}`);
    this.client = connect(addresses, options);
  }

  /** Named n1, n2 and n3; n1 began the cluster. With `flagsOf` each has flags of its own, and dials by itself: it can't be isolated. */
  static async start(
    flags: Readonly<Record<string, unknown>> = {},
    { flagsOf, tls }: ThreeNodesOptions = {},
  ): Promise<ThreeNodes> {
    const links = new Links();
    const nodes = new Map<string, TestNode>();
    const start = async (name: string, clusterFlags: object): Promise<TestNode> => {
      const node = await startTestNode({
        flags: { "node-name": name, ...clusterFlags, ...flags, ...flagsOf?.(name) },
        ...(flagsOf === undefined ? { connectPeer: ({ host, port }) => links.connect(name, { host, port }) } : {}),
      });
      nodes.set(name, node);
      links.names.set(node.port, name);
      return node;
    };
    try {
      const first = await start("n1", { bootstrap: true });
      const join = { "start-join-addrs": `127.0.0.1:${first.port}` };
      const started = await Promise.allSettled([start("n2", join), start("n3", join)]);
      for (const result of started) if (result.status === "rejected") throw result.reason;
      const cluster = new ThreeNodes(nodes, links, tls === undefined ? {} : { tls });
      for (const name of cluster.names) await cluster.until(() => cluster.#isWhole(name));
      return cluster;
    } catch (error) {
      await Promise.all([...nodes.values()].map((node) => node[Symbol.asyncDispose]()));
      throw error;
    }
  }

  /** Whether a node knows all nodes, that they are there, and that all keep the catalog: one may go then. */
  async #isWhole(name: string): Promise<boolean> {
    await using client = connect(`127.0.0.1:${this.node(name).port}`, this.#options);
    const { nodes } = await client.cluster.status().catch(() => ({ nodes: [] }));
    return nodes.length === this.names.length && nodes.every(({ state, isVoter }) => state === "up" && isVoter);
  }

  node(name: string): TestNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`There is no node ${name}`);
    return node;
  }

  get names(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  /** Who leads a partition, as soon as everybody knows. */
  async leaderOf(topic: string, partition = 0): Promise<string> {
    let leader = "";
    await this.until(async () => {
      const answers = await Promise.all(this.names.map((name) => this.describe(name, topic)));
      const told = new Set(answers.map(({ partitions }) => partitions[partition]?.leaderId));
      [leader = ""] = [...told].flatMap((id) => id ?? []);
      return told.size === 1 && leader !== "";
    });
    return leader;
  }

  /** What one node says of a topic. */
  async describe(name: string, topic: string): Promise<TopicDescription> {
    await using client = connect(`127.0.0.1:${this.node(name).port}`, this.#options);
    return await client.describeTopic(topic);
  }

  /** Nothing gets to a node from the others any more, nor from it to them; clients still do. */
  isolate(name: string): void {
    this.#links.isolate(name);
  }

  /** Asks again, with time for the nodes to get on between, until `isDone` says so. */
  async until(isDone: () => Promise<boolean>): Promise<void> {
    for (let waited = 0; !(await isDone()); waited += askAgainMs) {
      if (waited >= untilMaxMs) throw new Error(`It didn't come about: ${isDone.toString()}`);
      await setTimeout(askAgainMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await Promise.all([...this.#nodes.values()].map((node) => node[Symbol.asyncDispose]()));
  }
}

export interface ThreeNodesOptions {
  readonly flagsOf?: (name: string) => Readonly<Record<string, unknown>>;
  /** What clients trust and show. Default: they speak in clear. */
  readonly tls?: ClientTls;
}

/** Nodes form a cluster and elect by timers of theirs, so what they bring about takes its time, and on a busy machine more. */
const askAgainMs = 10;
const untilMaxMs = 60_000;

/** The connections between nodes. */
class Links {
  /** Of nodes, by port. */
  readonly names = new Map<number, string>();
  readonly #open = new Set<{ readonly from: string; readonly port: number; readonly socket: Socket }>();
  readonly #isolated = new Set<string>();

  async connect(from: string, { host, port }: { readonly host: string; readonly port: number }): Promise<Socket> {
    if (this.#isCut(from, port)) throw new Error("isolated");
    const socket = connectSocket({ host, port });
    await once(socket, "connect");
    const link = { from, port, socket };
    this.#open.add(link);
    socket.once("close", () => this.#open.delete(link));
    return socket;
  }

  isolate(name: string): void {
    this.#isolated.add(name);
    for (const { from, port, socket } of this.#open) if (this.#isCut(from, port)) socket.destroy();
  }

  #isCut(from: string, port: number): boolean {
    return this.#isolated.has(from) || this.#isolated.has(this.names.get(port) ?? "");
  }
}
