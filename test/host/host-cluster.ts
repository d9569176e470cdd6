import { join } from "node:path";
import { ClusterProcesses, MemberProcess } from "../cluster-processes.ts";
import { cutOffLack, HostDisk } from "./host-disk.ts";
import { checkTracing } from "./false-syncs.ts";
import type { HostNetwork } from "./host-network.ts";
import { runCommand } from "./run-command.ts";
import { reasonAgainst } from "./tool.ts";

/** What a fault may take beyond namespaces and loop mounts. */
export type HostNeed = "filter" | "tracing" | "cutting off";

/** Three nodes of one cluster, each a process with a network namespace and a file system of its own. */
export class HostCluster implements AsyncDisposable {
  readonly processes: ClusterProcesses;
  readonly network: HostNetwork;
  readonly #disks: ReadonlyMap<string, HostDisk>;

  private constructor(processes: ClusterProcesses, network: HostNetwork, disks: ReadonlyMap<string, HostDisk>) {
    this.processes = processes;
    this.network = network;
    this.#disks = disks;
  }

  static async form(network: HostNetwork, folder: string): Promise<HostCluster> {
    const disks = new Map<string, HostDisk>();
    try {
      const certificates = join(folder, "certificates");
      await makeCertificates(certificates);
      for (const name of nodeNames) disks.set(name, HostDisk.make(join(folder, `${name}.ext4`), join(folder, name)));
      const addresses = nodeNames.map((name) => `${network.hostOf(name)}:8400`);
      const flags = ["--insecure", "--initial-nodes", String(nodeNames.length), "--start-join-addrs", addresses.join(",")];
      const members = nodeNames.map((name, number) => {
        const { image = "", mountPoint = "" } = disks.get(name) ?? {};
        return new MemberProcess({
          ...{ name, address: addresses[number] ?? "", directory: join(mountPoint, "data") },
          flags: [...flags, ...certificateFlags(certificates, name)],
          ...{ launcher: network.launcherOf(name), keep: () => `/data in the ext4 image ${image}` },
        });
      });
      return new HostCluster(await ClusterProcesses.start(members), network, disks);
    } catch (error) {
      for (const disk of disks.values()) disk[Symbol.dispose]();
      throw error;
    }
  }

  get members(): readonly MemberProcess[] {
    return this.processes.members;
  }

  others(of: MemberProcess): readonly MemberProcess[] {
    return this.members.filter((member) => member !== of);
  }

  diskOf({ name }: MemberProcess): HostDisk {
    const disk = this.#disks.get(name);
    if (disk === undefined) throw new Error(`no node is called ${name}`);
    return disk;
  }

  /** The power of these nodes fails in one moment, and comes back: their files are what their disks had by then. */
  async cutPower(members: readonly MemberProcess[]): Promise<void> {
    // None of them sees what becomes of its disk.
    for (const member of members) member.signal("SIGSTOP");
    for (const member of members) this.diskOf(member).cutOff();
    await this.replaceDisks(members);
  }

  /** Disks that were cut off are there again, and their nodes start on them. */
  async replaceDisks(members: readonly MemberProcess[]): Promise<void> {
    await Promise.all(members.map((member) => member.end("SIGKILL")));
    for (const member of members) {
      this.diskOf(member).mountAgain();
      member.start();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
    for (const disk of this.#disks.values()) disk[Symbol.dispose]();
    this.network.mendAll();
  }
}

export const nodeNames = ["n0", "n1", "n2"] as const;

/** Nodes that aren't on one loopback speak by mutual TLS. Clients don't need to. */
async function makeCertificates(directory: string): Promise<void> {
  await runCommand("certs", "init", "--dir", directory);
  for (const name of nodeNames) await runCommand("certs", "node", name, "--host", name, "--dir", directory);
}

function certificateFlags(directory: string, name: string): readonly string[] {
  const files = { cert: `${name}-peer.pem`, key: `${name}-peer-key.pem`, ca: "peer-ca.pem" };
  return Object.entries(files).flatMap(([kind, file]) => [`--peer-tls-${kind}-file`, join(directory, file)]);
}

/** Why what is needed can't be had here, by what it is; only that which can't. */
export function findLacks(network: HostNetwork, disk: HostDisk): ReadonlyMap<HostNeed, string> {
  const lacks: readonly (readonly [HostNeed, string | undefined])[] = [
    ["filter", network.filterLack],
    ["tracing", reasonAgainst(checkTracing)],
    ["cutting off", cutOffLack(disk)],
  ];
  return new Map(lacks.filter((lack): lack is readonly [HostNeed, string] => lack[1] !== undefined));
}
