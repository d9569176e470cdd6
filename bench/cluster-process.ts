import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect } from "../src/client/index.ts";
import { findFreePort, ServerProcess } from "./server-process.ts";

/** Three nodes that form a cluster, a process each on this machine, each with a directory of its own. */
export class ClusterProcess {
  readonly #ports: readonly number[];
  readonly #directories: readonly string[];
  readonly #flags: readonly string[];
  readonly #nodes: (ServerProcess | undefined)[] = [];

  private constructor(ports: readonly number[], directories: readonly string[], flags: readonly string[]) {
    this.#ports = ports;
    this.#directories = directories;
    this.#flags = flags;
  }

  /** Resolves when it takes topics. */
  static async start(directory: string, flags: readonly string[] = []): Promise<ClusterProcess> {
    const ports = await Promise.all([findFreePort(), findFreePort(), findFreePort()]);
    const cluster = new ClusterProcess(
      ports,
      ports.map((_, number) => join(directory, `node${number}`)),
      flags,
    );
    await Promise.all(ports.map((_, number) => cluster.startNode(number)));
    await cluster.untilServing();
    return cluster;
  }

  /** Of all nodes, with a comma between. */
  get address(): string {
    return this.#ports.map((port) => `127.0.0.1:${port}`).join(",");
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
      ...this.#flags,
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
      const number = this.#ports.findIndex((port) => partitions[0]?.leaderRpcAddr === `127.0.0.1:${port}`);
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
    const client = connect(this.address.split(","));
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

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

export function nameOf(number: number): string {
  return `node${number}`;
}

const waitMaxMs = 60_000;
