import { join } from "node:path";
import type { Disk } from "../src/base/disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { nodeDisk } from "../src/base/node-disk.ts";
import { type Client, connect } from "../src/client/index.ts";
import { type Node, parseConfig, startNode } from "../src/server/index.ts";
import type { Folder } from "./command-process.ts";
import type { Witness } from "./evidence.ts";
import { findFreePorts } from "./free-ports.ts";
import { PeerLinks } from "./peer-links.ts";
import { collectingLogger, type LoggedLine } from "./test-node.ts";
import { waitUntil } from "./wait-until.ts";

/** Nodes of one cluster in this process, on real sockets, with every link between two of them in the test's hands. */
export class TestCluster implements AsyncDisposable {
  readonly members: readonly TestMember[];
  readonly links: PeerLinks;
  /** By the node that they ask; "" asks any. */
  readonly #clients = new Map<string, Client>();

  private constructor(members: readonly TestMember[], links: PeerLinks) {
    this.members = members;
    this.links = links;
  }

  /** So many nodes `a`, `b`, … none of which runs. */
  static async make(
    count: number,
    { folder, disk, diskOf, directory = folder?.path ?? "/cluster" }: TestClusterOptions = {},
  ): Promise<TestCluster> {
    const shared = disk ?? (folder === undefined ? createMemoryDisk() : nodeDisk);
    const ports = await findFreePorts(count);
    const names = ports.map((_, number) => String.fromCharCode(97 + number));
    const links = new PeerLinks((port) => names[ports.indexOf(port)]);
    const addresses = ports.map((port) => `127.0.0.1:${port}`);
    const members = names.map(
      (name, number) =>
        new TestMember(name, ports[number] ?? 0, {
          ...{ disk: diskOf?.(name) ?? shared, directory: join(directory, name), folder },
          ...{ links, joinAddresses: addresses },
        }),
    );
    return new TestCluster(members, links);
  }

  /** A cluster of so many nodes that serves. */
  static async form(count = 3, options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = await TestCluster.make(count, options);
    try {
      await Promise.all(cluster.members.map((member) => member.start({ "initial-nodes": count })));
      await cluster.untilServing();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get addresses(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  get witnesses(): readonly Witness[] {
    return this.members;
  }

  member(name: string): TestMember {
    const found = this.members.find((member) => member.name === name);
    if (found === undefined) throw new Error(`no node is called ${name}`);
    return found;
  }

  others(name: string): readonly TestMember[] {
    return this.members.filter((member) => member.name !== name);
  }

  /** Of all nodes or of one; closed with the cluster. */
  connect(name?: string): Client {
    const key = name ?? "";
    const client = this.#clients.get(key) ?? connect(name === undefined ? this.addresses : this.member(name).address);
    this.#clients.set(key, client);
    return client;
  }

  /** Until somebody leads the catalog, and all that run know all others of them. */
  async untilServing(): Promise<void> {
    const running = this.members.filter(({ isRunning }) => isRunning);
    await waitUntil("all nodes know each other and their leader", async () => {
      for (const { name } of running) {
        const status = await this.connect(name).cluster.status();
        const [catalog] = status.groups;
        if (status.nodes.filter(({ state }) => state === "up").length < running.length || catalog?.leaderId === "")
          return false;
      }
      return true;
    });
  }

  /** Until every group has its leader and all its replicas are in sync, as each of the running nodes sees it. */
  async untilWell(): Promise<void> {
    const running = this.members.filter(({ isRunning }) => isRunning);
    await untilWell(running.map(({ name }) => this.connect(name)));
  }

  /** Who leads a partition, as those of `among` say that it is one of themselves. */
  async findLeader(topic: string, { partition = 0, among = this.members }: FindLeaderOptions = {}): Promise<TestMember> {
    const running = among.filter(({ isRunning }) => isRunning);
    return waitUntil(`somebody leads ${topic}/${partition}`, async () => {
      for (const member of running) {
        const { partitions } = await this.connect(member.name).describeTopic(topic);
        if (partitions[partition]?.leaderId === member.name) return member;
      }
      return undefined;
    });
  }

  /** Cuts both links between two nodes, or the one from the first to the second. */
  async cut(from: string, to: string, { isOneWay = false, isSilent = false }: CutOptions = {}): Promise<void> {
    const kind = isSilent ? "stall" : "cut";
    await this.links[kind](from, to, this.member(to).port);
    if (!isOneWay) await this.links[kind](to, from, this.member(from).port);
  }

  /** From all others. */
  async isolate(name: string, options: CutOptions = {}): Promise<void> {
    for (const other of this.others(name)) await this.cut(name, other.name, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
    await Promise.all(this.members.map((member) => member.stop()));
    await this.links[Symbol.asyncDispose]();
  }
}

/** A node that may run or not, with its port and its directory. */
export class TestMember implements Witness {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly disk: Disk;
  /** What it logged, over all its starts. */
  readonly lines: LoggedLine[] = [];
  readonly #parts: MemberParts;
  #running: { readonly started: Promise<Node>; readonly abort: AbortController } | undefined;

  constructor(name: string, port: number, parts: MemberParts) {
    this.name = name;
    this.port = port;
    this.directory = parts.directory;
    this.disk = parts.disk;
    this.#parts = parts;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get diagnostics(): string {
    // Thousands of requests were answered, too: what clients were told stands in their history.
    const lines = this.lines.filter(({ message }) => message !== "request");
    return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  }

  keepDirectory(): string | undefined {
    this.#parts.folder?.keep();
    return this.#parts.folder === undefined ? undefined : this.directory;
  }

  /** Resolves when it serves; that may take others. By default it knows all join addresses. */
  async start(flags: Readonly<Record<string, unknown>> = {}): Promise<Node> {
    const config = parseConfig({
      flags: {
        "data-dir": this.directory,
        "rpc-port": this.port,
        "node-name": this.name,
        "start-join-addrs": this.#parts.joinAddresses.join(","),
        ...flags,
      },
    });
    const abort = new AbortController();
    const started = startNode(config, {
      disk: this.disk,
      logger: collectingLogger(this.lines),
      connectPeer: this.#parts.links.connectFrom(this.name),
      signal: abort.signal,
    });
    const running = { started, abort };
    this.#running = running;
    try {
      return await started;
    } catch (error) {
      if (this.#running === running) this.#running = undefined;
      throw error;
    }
  }

  /** As it is told to by a signal, also while it still starts. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    running.abort.abort();
    const node = await running.started.catch(() => undefined); // told to stop while it started
    await node?.close();
  }
}

/** Until every group has its leader and all its replicas are in sync, as each of the clients is told by its node. */
export async function untilWell(clients: readonly Client[]): Promise<void> {
  await waitUntil("every group has a leader and all its replicas", async () => {
    for (const client of clients) {
      const { nodes, groups } = await client.cluster.status({ troubledOnly: true });
      const isWell = groups.length === 0 && nodes.every(({ state }) => state === "up");
      if (!isWell) throw new Error(JSON.stringify({ nodes, groups }));
    }
    return true;
  });
}

export interface TestClusterOptions {
  /** On the real disk, there. */
  readonly folder?: Folder;
  readonly disk?: Disk;
  /** Each node's own, where not all have one disk. */
  readonly diskOf?: (name: string) => Disk;
  readonly directory?: string;
}

export interface FindLeaderOptions {
  readonly partition?: number;
  readonly among?: readonly TestMember[];
}

export interface CutOptions {
  readonly isOneWay?: boolean;
  /** Connections don't break, nothing gets through. */
  readonly isSilent?: boolean;
}

interface MemberParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly folder: Folder | undefined;
  readonly links: PeerLinks;
  readonly joinAddresses: readonly string[];
}
