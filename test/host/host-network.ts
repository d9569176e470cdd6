import { reasonAgainst, runTool } from "./tool.ts";

/**
 * A network namespace for each node, each with a cable to a bridge in the namespace of this process, where the clients are:
 *
 *     n0 (10.77.0.1) ──┐
 *     n1 (10.77.0.2) ──┼── bridge ── clients (10.77.0.254)
 *     n2 (10.77.0.3) ──┘
 *
 * Everything lies in the namespaces that this process runs in, and is gone when it ends, however that comes about.
 */
export class HostNetwork {
  readonly #numbers: ReadonlyMap<string, number>;
  #filterLack: string | undefined;

  private constructor(names: readonly string[]) {
    this.#numbers = new Map(names.map((name, number) => [name, number + 1]));
  }

  static make(names: readonly string[]): HostNetwork {
    const network = new HostNetwork(names);
    // The names of namespaces are files: in a folder of our own, so that none of them stays.
    runTool("mkdir", "-p", "/run/netns");
    runTool("mount", "-t", "tmpfs", "proglog-netns", "/run/netns");
    runTool("ip", "link", "set", "lo", "up");
    runTool("ip", "link", "add", bridge, "type", "bridge");
    runTool("ip", "address", "add", `${prefix}254/24`, "dev", bridge);
    runTool("ip", "link", "set", bridge, "up");
    for (const name of names) network.#addNode(name);
    network.#filterLack = reasonAgainst(() => names.forEach((name) => network.#addFilter(name)));
    return network;
  }

  /** Why packets can't be picked out; undefined where they can. */
  get filterLack(): string | undefined {
    return this.#filterLack;
  }

  #addNode(name: string): void {
    runTool("ip", "netns", "add", name);
    runTool("ip", "link", "add", cableOf(name), "type", "veth", "peer", "name", "eth0", "netns", name);
    runTool("ip", "link", "set", cableOf(name), "master", bridge, "up");
    runTool("ip", "-n", name, "address", "add", `${this.hostOf(name)}/24`, "dev", "eth0");
    for (const device of ["lo", "eth0"]) runTool("ip", "-n", name, "link", "set", device, "up");
  }

  #addFilter(name: string): void {
    this.#nft(name, "add table inet proglog");
    this.#nft(name, "add chain inet proglog arriving { type filter hook input priority 0; }");
  }

  hostOf(name: string): string {
    return `${prefix}${this.#numbers.get(name) ?? 0}`;
  }

  /** What runs a command in the node's namespace, in its own place. Unlike `ip netns exec` it makes no namespace of mounts, which would hold disks. */
  launcherOf(name: string): readonly string[] {
    return ["nsenter", `--net=/run/netns/${name}`];
  }

  /** Pulls the cable: nothing comes in or goes out, and nobody is told. */
  unplug(name: string): void {
    runTool("ip", "link", "set", cableOf(name), "down");
  }

  plugIn(name: string): void {
    runTool("ip", "link", "set", cableOf(name), "up");
  }

  /** What one node sends doesn't arrive at another: it is lost, every so many-th of its packets is, or the connection is reset. */
  block(from: string, to: string, how: "lost" | "reset" | { readonly everyNth: number } = "lost"): void {
    const verdict = how === "reset" ? "reject with tcp reset" : "drop";
    const chosen = typeof how === "string" ? "" : `numgen inc mod ${how.everyNth} == 0 `;
    this.#nft(to, `add rule inet proglog arriving ip saddr ${this.hostOf(from)} meta l4proto tcp ${chosen}${verdict}`);
  }

  mendAll(): void {
    for (const name of this.#numbers.keys()) {
      this.plugIn(name);
      if (this.#filterLack === undefined) this.#nft(name, "flush chain inet proglog arriving");
    }
  }

  #nft(name: string, command: string): void {
    const [launcher = "", ...parameters] = this.launcherOf(name);
    runTool(launcher, ...parameters, "nft", command);
  }
}

const bridge = "proglog0";
const prefix = "10.77.0.";

/** The bridge's end of it. */
function cableOf(name: string): string {
  return `to-${name}`;
}
