import type { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import { defaultSettings } from "../../src/raft/raft-settings.ts";
import { minuteMs } from "../../src/base/units.ts";
import { fairWeather } from "../network.ts";
import { createSeededRandom } from "../random.ts";
import { ClusterWorld } from "./cluster-world.ts";
import type { Machine } from "./machine.ts";

/** How long what is waited for may take, by the world's clock. */
const patienceMs = 5 * minuteMs;

/** How often what must hold is looked at. */
const lookMs = 50;

/** Whole nodes in a world in which nothing goes wrong by itself, and nobody asks them for anything: what happens is the test's to say. */
export class QuietCluster {
  readonly world: ClusterWorld;

  constructor(name: string, { nodes = 3, spares = 0, log = {} }: QuietOptions = {}) {
    this.world = new ClusterWorld(
      createSeededRandom(name),
      {
        firstNodes: nodes,
        spares,
        isBootstrapped: false,
        ...{ safetyMs: 0, clients: 0, realClients: 0, thinkMs: 0, operatorMeanMs: 0, faultMeanMs: 0, valueMaxBytes: 0 },
        weather: fairWeather,
        syncMeanMs: 0.3,
        crashModel: "strict",
        clockSkew: 0,
        tickMs: 50,
        raft: defaultSettings,
        log: { sync: "always", retentionIntervalMs: minuteMs, ...log },
        hasLyingDisks: false,
        ...{ rotMeanMs: undefined, stallMeanMs: undefined },
      },
      Number(process.env["STORY"] ?? 0),
    );
  }

  /** So many nodes that form a cluster, and know it. */
  static async form(name: string, options: QuietOptions = {}): Promise<QuietCluster> {
    const cluster = new QuietCluster(name, options);
    for (const machine of cluster.machines) machine.start();
    cluster.#look();
    const count = options.nodes ?? 3;
    await cluster.until("all nodes know all", () =>
      cluster.machines.slice(0, count).every(({ served }) => served?.clusterCatalog?.state.nodes.size === count),
    );
    return cluster;
  }

  get machines(): readonly Machine[] {
    return this.world.machines;
  }

  machine(name: string): Machine {
    const machine = this.machines.find((it) => it.name === name);
    if (machine === undefined) throw new Error(`There is no machine ${name}`);
    return machine;
  }

  /** The node that serves on a machine. */
  node(name: string): ClusteredNode {
    const { served } = this.machine(name);
    if (served === undefined) throw new Error(`${name} doesn't serve`);
    return served;
  }

  /** The machine that leads group 0, as soon as there is one. */
  async leader(): Promise<Machine> {
    await this.until("somebody leads group 0", () => this.world.findCatalogLeader() !== undefined);
    const leader = this.world.findCatalogLeader();
    if (leader === undefined) throw new Error("nobody leads group 0");
    return leader;
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    await this.world.run(this.world.nowMs + ms);
    this.#checkSound();
  }

  /** Lets time pass until something is so. */
  async until(fact: string, isSo: () => boolean): Promise<void> {
    if (isSo()) return;
    await this.world.run(this.world.nowMs + patienceMs, isSo);
    this.#checkSound();
    if (!isSo()) throw new Error(`It didn't come about that ${fact}${this.#story()}`);
  }

  /** Lets time pass until something that was asked for is answered. */
  async answered<Answer>(question: Promise<Answer>): Promise<Answer> {
    let isAnswered = false;
    const end = (): void => void (isAnswered = true);
    question.then(end, end);
    await this.until("a question is answered", () => isAnswered);
    return question;
  }

  #look(): void {
    this.world.queue.after(lookMs, () => {
      this.#look();
      try {
        this.world.checks.look();
      } catch (error) {
        this.world.failed(error);
      }
    });
  }

  #checkSound(): void {
    const { violation } = this.world;
    if (violation !== undefined) throw new Error(`${violation.message}${this.#story()}`, { cause: violation });
  }

  #story(): string {
    return `\n${this.world.trace.story().join("\n")}`;
  }
}

export interface QuietOptions {
  readonly nodes?: number;
  readonly spares?: number;
  readonly log?: { readonly segmentMaxBytes?: number };
}
