import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { CuttableNetwork } from "../../bench/cuttable-network.ts";
import { findFreePort } from "../../bench/server-process.ts";
import type { ProcessHeap, ProcessSample } from "./process-sampler.ts";
import type { Sample } from "./sample.ts";

export const nodeNames = ["node1", "node2", "node3"] as const;
export type NodeName = (typeof nodeNames)[number];

/** Three nodes of one cluster, a process each, that tell what they are like; behind a network that can be cut. */
export class SoakNodes {
  readonly #directory: string;
  readonly #ports: readonly number[];
  readonly #network: CuttableNetwork;
  readonly #processes = new Map<NodeName, ChildProcess>();
  readonly #onSample: (sample: Omit<Sample, "atMs">) => void;
  /** Those that are ended on purpose just now. */
  readonly #ending = new Set<ChildProcess>();
  /** What nodes said as they ended by themselves. */
  readonly ends: string[] = [];

  private constructor(parts: Parts) {
    ({ directory: this.#directory, ports: this.#ports, network: this.#network, onSample: this.#onSample } = parts);
  }

  static async start(directory: string, onSample: (sample: Omit<Sample, "atMs">) => void): Promise<SoakNodes> {
    const ports = await Promise.all(nodeNames.map(() => findFreePort()));
    const network = await CuttableNetwork.open(nodeNames.map((name, number) => ({ name, port: ports[number] ?? 0 })));
    const nodes = new SoakNodes({ directory, ports, network, onSample });
    for (const name of nodeNames) nodes.startNode(name);
    return nodes;
  }

  /** Where nodes and clients find each node. */
  get addresses(): readonly string[] {
    return this.#network.ports.map((port) => `127.0.0.1:${port}`);
  }

  startNode(name: NodeName): void {
    const number = nodeNames.indexOf(name);
    const child = spawn(
      process.execPath,
      [
        ...["--expose-gc", "--import", pathToFileURL(join(import.meta.dirname, "process-sampler.ts")).href],
        ...[command, "serve", "--node-name", name, "--rpc-port", `${this.#ports[number]}`, "--log-level", "error"],
        ...[
          "--retention-interval-ms",
          "5s",
          "--data-dir",
          join(this.#directory, name),
          "--advertise-addr",
          this.addresses[number] ?? "",
        ],
        ...["--initial-nodes", `${nodeNames.length}`, "--start-join-addrs", this.addresses.join(",")],
      ],
      { stdio: ["ignore", "ignore", "pipe", "ipc"] },
    );
    let said = "";
    child.stderr?.on("data", (piece: Buffer) => (said = (said + piece.toString()).slice(-saidKeptCharacters)));
    child.on("message", (message: ProcessSample | ProcessHeap) => {
      if (message.kind === "heap") return;
      const { kind: _, ...sample } = message;
      this.#onSample({ node: name, ...sample, descriptors: countDescriptors(child.pid) });
    });
    child.once("exit", (code, signal) => {
      if (!this.#ending.has(child)) this.ends.push(`${name} ended by itself (${signal ?? code}): ${said}`);
    });
    this.#processes.set(name, child);
  }

  /** In good order, or at once. */
  async endNode(name: NodeName, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#processes.get(name);
    this.#processes.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#ending.add(child);
    const ended = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), endMaxMs);
    await ended;
    clearTimeout(timer);
  }

  async stall(name: NodeName, ms: number): Promise<void> {
    const child = this.#processes.get(name);
    child?.kill("SIGSTOP");
    try {
      await pause(ms);
    } finally {
      child?.kill("SIGCONT");
    }
  }

  async cutOff(name: NodeName, ms: number): Promise<void> {
    this.#network.cut(name);
    try {
      await pause(ms);
    } finally {
      this.#network.heal();
    }
  }

  /** What lives on each heap, after all else was collected; a node that ends meanwhile is left out. */
  async liveHeaps(): Promise<ReadonlyMap<NodeName, number>> {
    const heaps = new Map<NodeName, number>();
    for (const [name, child] of this.#processes) {
      const { promise, resolve } = Promise.withResolvers<number | undefined>();
      const listen = (message: ProcessSample | ProcessHeap): void => {
        if (message.kind === "heap") resolve(message.liveBytes);
      };
      child.on("message", listen);
      child.once("exit", () => resolve(undefined));
      // One that has ended can't be asked any more.
      if (child.connected) child.send("collect", (error) => void (error !== null && resolve(undefined)));
      else resolve(undefined);
      const bytes = await promise;
      child.off("message", listen);
      if (bytes !== undefined) heaps.set(name, bytes);
    }
    return heaps;
  }

  async stop(): Promise<void> {
    await Promise.all(nodeNames.map((name) => this.endNode(name, "SIGTERM")));
    await this.#network.close();
  }

  /** At once, whatever they are doing: for the end of this process. */
  kill(): void {
    for (const child of this.#processes.values()) child.kill("SIGKILL");
  }

  /** Reads every byte of what the nodes left, which have to be stopped. What is damaged is returned, a line each. */
  verify(): readonly string[] {
    return nodeNames.flatMap((name) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [command, "verify", join(this.#directory, name)], {
        encoding: "utf8",
      });
      return status === 0 ? [] : [`${name}: proglog verify ended with ${status}: ${stdout}${stderr}`];
    });
  }
}

interface Parts {
  readonly directory: string;
  readonly ports: readonly number[];
  readonly network: CuttableNetwork;
  readonly onSample: (sample: Omit<Sample, "atMs">) => void;
}

const command = join(import.meta.dirname, "../../src/cli/bin.ts");
const saidKeptCharacters = 4_000;
const endMaxMs = 30_000;

/** Of a process, where the system tells. */
function countDescriptors(pid: number | undefined): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return undefined; // not on Linux, or just gone
  }
}
