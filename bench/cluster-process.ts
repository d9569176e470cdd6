import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, type ClientTls, connect } from "../src/client/index.ts";
import { CuttableNetwork } from "./cuttable-network.ts";
import { findFreePort, ServerProcess } from "./server-process.ts";

/** Three nodes that form a cluster, a process each on this machine, each with a directory of its own. */
export class ClusterProcess {
  readonly #ports: readonly number[];
  readonly #directories: readonly string[];
  readonly #nodes: (ServerProcess | undefined)[] = [];
  /** Stands before the nodes where they are to be cut off. */
  readonly network: CuttableNetwork | undefined;
  readonly #options: ClusterOptions;

  private constructor(
    ports: readonly number[],
    directories: readonly string[],
    network: CuttableNetwork | undefined,
    options: ClusterOptions,
  ) {
    this.#ports = ports;
    this.#directories = directories;
    this.network = network;
    this.#options = options;
  }

  /** Resolves when it takes topics. */
  static async start(directory: string, options: ClusterOptions = {}): Promise<ClusterProcess> {
    const { isCuttable = false } = options;
    const ports = await Promise.all([findFreePort(), findFreePort(), findFreePort()]);
    const network = isCuttable
      ? await CuttableNetwork.open(ports.map((port, number) => ({ name: nameOf(number), port })))
      : undefined;
    const cluster = new ClusterProcess(
      ports,
      ports.map((_, number) => join(directory, `node${number}`)),
      network,
      options,
    );
    await Promise.all(ports.map((_, number) => cluster.startNode(number)));
    await cluster.untilServing();
    return cluster;
  }

  /** Of all nodes, with a comma between. */
  get address(): string {
    return this.addresses.join(",");
  }

  /** Where nodes and clients find each node. */
  get addresses(): readonly string[] {
    return (this.network?.ports ?? this.#ports).map((port) => `127.0.0.1:${port}`);
  }

  get nodes(): readonly ServerProcess[] {
    return this.#nodes.filter((node) => node !== undefined);
  }

  async startNode(number: number): Promise<void> {
    const port = this.#ports[number] ?? 0;
    const script = join(import.meta.dirname, "../src/cli/bin.ts");
    const parameters = [
      ...[script, "serve", "--node-name", nameOf(number), "--rpc-port", `${port}`, "--log-level", "error"],
      ...["--data-dir", this.#directories[number] ?? "", "--initial-nodes", "3", "--start-join-addrs", this.address],
      ...(this.network === undefined ? [] : ["--advertise-addr", this.addresses[number] ?? ""]),
      ...(this.#options.flagsOf?.(nameOf(number)) ?? []),
    ];
    this.#nodes[number] = await ServerProcess.start({
      what: `node ${number}`,
      command: process.execPath,
      parameters,
      port,
    });
  }

  /** Which node leads the partition, by number; waits until one does. */
  async findLeader(client: Client, topic: string): Promise<number> {
    for (const deadline = performance.now() + waitMaxMs; ; await pause(20)) {
      const { partitions } = await client.describeTopic(topic);
      const number = this.addresses.indexOf(partitions[0]?.leaderRpcAddr ?? "");
      if (number >= 0) return number;
      if (performance.now() > deadline) throw new Error(`nobody leads ${topic}`);
    }
  }

  /** By its process id. */
  signal(number: number, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#nodes[number]?.signal(signal);
  }

  /** After a SIGKILL: its process is gone. */
  async ended(number: number): Promise<void> {
    await this.#nodes[number]?.ended();
    this.#nodes[number] = undefined;
  }

  /** Until a topic can be made: then there is a cluster, and somebody leads it. */
  async untilServing(): Promise<void> {
    const { tls } = this.#options;
    const client = connect(this.addresses, tls === undefined ? {} : { tls });
    try {
      for (const deadline = performance.now() + waitMaxMs; ; await pause(100)) {
        try {
          await client.createTopic("ready");
          return;
        } catch (error) {
          if (performance.now() > deadline) throw error;
        }
      }
    } finally {
      await client.close();
    }
  }

  /** In order, as an operator does it: it hands over, ends, and is started again. */
  async restartNode(number: number): Promise<void> {
    await this.#nodes[number]?.stop();
    await this.startNode(number);
  }

  /** Every node is there, and every partition led and on all of its replicas. */
  async untilWhole(client: Client): Promise<void> {
    for (const deadline = performance.now() + waitMaxMs; ; await pause(50)) {
      const status = await client.cluster.status();
      const isUp = status.nodes.every((node) => node.state === "up");
      if (isUp && status.underReplicatedCount === 0 && status.leaderlessCount === 0) return;
      if (performance.now() > deadline) throw new Error(`the cluster isn't whole: ${JSON.stringify(status)}`);
    }
  }

  /** The node serves: it has opened what it has. */
  async untilReady(number: number): Promise<void> {
    const address = this.#nodes[number]?.address ?? "";
    for (const deadline = performance.now() + waitMaxMs; ; await pause(20)) {
      const answer = await fetch(`http://${address}/readyz`).catch(() => undefined);
      if (answer?.status === 200) return;
      if (performance.now() > deadline) throw new Error(`${nameOf(number)} doesn't serve again`);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.network?.close();
  }
}

export interface ClusterOptions {
  readonly isCuttable?: boolean;
  /** Flags of one node, beside the others'. */
  readonly flagsOf?: (name: string) => readonly string[];
  /** How clients speak with it. Default: in clear. */
  readonly tls?: ClientTls;
}

export function nameOf(number: number): string {
  return `node${number}`;
}

/** A thousand partitions take a while to be made on a busy machine. */
const waitMaxMs = 180_000;
