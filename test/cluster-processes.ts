import { join } from "node:path";
import { type Client, connect } from "../src/client/index.ts";
import { type ChildCommand, Command, type Folder } from "./command-process.ts";
import { withEvidence, type Witness } from "./evidence.ts";
import { findFreePorts } from "./free-ports.ts";
import { checkSameFiles } from "./replica-files.ts";
import { untilWell } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

/** Nodes of one cluster, each a process of its own with a directory on the disk: what only a process can show, kill -9 and SIGSTOP. */
export class ClusterProcesses implements AsyncDisposable {
  readonly members: readonly MemberProcess[];
  /** By the node that they ask; "" asks any. */
  readonly #clients = new Map<string, Client>();

  private constructor(members: readonly MemberProcess[]) {
    this.members = members;
  }

  static async form(folder: Folder, count = 3): Promise<ClusterProcesses> {
    const ports = await findFreePorts(count);
    const addresses = ports.map((port) => `127.0.0.1:${port}`);
    const flags = ["--initial-nodes", String(count), "--start-join-addrs", addresses.join(",")];
    return ClusterProcesses.start(
      addresses.map((address, number) => {
        const name = `n${number}`;
        const directory = join(folder.path, name);
        return new MemberProcess({ name, address, directory, flags, keep: () => (folder.keep(), directory) });
      }),
    );
  }

  /** Of nodes that don't run yet. */
  static async start(members: readonly MemberProcess[]): Promise<ClusterProcesses> {
    const cluster = new ClusterProcesses(members);
    try {
      for (const member of cluster.members) member.start();
      await Promise.all(cluster.members.map((member) => member.untilServing()));
      await cluster.untilWell();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get addresses(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  /** Of all nodes or of one; closed with the cluster. */
  connect(member?: MemberProcess): Client {
    const key = member?.name ?? "";
    const client = this.#clients.get(key) ?? connect(member?.address ?? this.addresses);
    this.#clients.set(key, client);
    return client;
  }

  get witnesses(): readonly Witness[] {
    return this.members;
  }

  /** As those that run see it. */
  async untilWell(): Promise<void> {
    await untilWell(this.members.filter(({ isRunning }) => isRunning).map((member) => this.connect(member)));
  }

  /** In good order; and then all their files are held against each other. */
  async endAndCompare(): Promise<{ readonly groups: number; readonly entries: number }> {
    for (const member of this.members) if (member.isRunning) await member.end("SIGTERM");
    return await withEvidence(
      this.witnesses,
      () => undefined,
      () => checkSameFiles(this.members),
    );
  }

  async findLeader(topic: string, among: readonly MemberProcess[] = this.members): Promise<MemberProcess> {
    const clients = among.map((member) => ({ member, client: this.connect(member) }));
    return waitUntil(`somebody leads ${topic}/0`, async () => {
      for (const { member, client } of clients) {
        const { partitions } = await client.describeTopic(topic);
        if (partitions[0]?.leaderId === member.name) return member;
      }
      return undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
    await Promise.all(this.members.map((member) => member[Symbol.asyncDispose]()));
  }
}

export interface MemberOptions {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly flags: readonly string[];
  /** What it is run by, which is to end as itself. */
  readonly launcher?: readonly string[];
  /** The test failed: its data is to stay. Returns where it does. */
  readonly keep: () => string;
}

/** One of them, over all its lives. */
export class MemberProcess implements AsyncDisposable, Witness {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly #options: MemberOptions;
  #command: ChildCommand | undefined;
  /** Of the lives before. */
  #said = "";

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.address = options.address;
    this.directory = options.directory;
    this.#options = options;
  }

  start(): void {
    const { name, address, directory, flags, launcher } = this.#options;
    const [host = "", port = ""] = address.split(":");
    const parameters = [
      ...["serve", "--node-name", name, "--bind-addr", host, "--rpc-port", port],
      ...["--data-dir", directory, "--log-level", "warn", ...flags],
    ];
    this.#command = launcher === undefined ? new Command(...parameters) : Command.behind(launcher, ...parameters);
  }

  get pid(): number {
    return this.#running.child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#command !== undefined;
  }

  get diagnostics(): string {
    return this.#said + (this.#command?.stderr ?? "");
  }

  keepDirectory(): string {
    return this.#options.keep();
  }

  async untilServing(): Promise<void> {
    await this.#running.waitFor("stdout", /serves http:/);
  }

  /** What it says as it ends by itself, with a code other than 0. */
  async failure(): Promise<string> {
    const command = this.#running;
    const exit = await command.exit();
    this.#said += command.stderr;
    this.#command = undefined;
    if (exit.code === 0 || exit.code === null) throw new Error(`${this.name} ended with ${exit.code ?? exit.signal}`);
    return command.stderr;
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#running.child.kill(signal);
  }

  /** Until the process is gone. SIGTERM is answered with 0. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const command = this.#running;
    command.child.kill(signal);
    const exit = await command.exit();
    this.#said += `${command.stderr}(${signal})\n`;
    if (signal === "SIGTERM" && exit.code !== 0) throw new Error(`${this.name} ended with ${exit.code}: ${command.stderr}`);
    this.#command = undefined;
  }

  get #running(): ChildCommand {
    if (this.#command === undefined) throw new Error(`${this.name} doesn't run`);
    return this.#command;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Also one that is stopped: SIGKILL needs no SIGCONT.
    await this.#command?.[Symbol.asyncDispose]();
  }
}
