import { policyDigest } from "../policy-store.ts";
import type { CatalogChange, CatalogCommand, NodeIdentity } from "./catalog-command.ts";
import { type CatalogState, partitionsOf } from "./catalog-state.ts";

/** For tests: a command that could come next, sensible or not, of few enough names that they meet each other. */
export function randomCommand(random: Luck, state: CatalogState, count: number): CatalogCommand {
  // Now and then one is proposed again.
  const id = random.chance(0.05) ? random.pick([...state.applied, "c0"]) : `c${count}`;
  return { id, ...randomChange(random, state, count) };
}

function randomChange(random: Luck, state: CatalogState, count: number): CatalogChange {
  if (state.clusterId === undefined && random.chance(0.7)) return formCluster(random);
  const partitions = [...partitionsOf(state)];
  const topic = random.chance(0.1) || state.topics.size === 0 ? undefined : random.pick([...state.topics.values()]);
  const name = topic?.name ?? `topic-${random.integer(6)}`;
  const uuid = topic?.uuid ?? randomUuid(random);
  const settings = random.chance(0.5) ? {} : { [`s${random.integer(3)}`]: random.pick([1, "a", null, { b: [2] }]) };
  const { topic: owner, partition } =
    partitions.length > 0 ? random.pick(partitions) : { topic: undefined, partition: undefined };
  const group = partition === undefined || random.chance(0.05) ? randomUuid(random) : partition.uuid;
  const basis = random.chance(0.1) ? count : (partition?.placedAt ?? 0);
  switch (random.integer(16)) {
    case 0:
      return formCluster(random);
    case 1:
    case 2:
      return { kind: "add-node", node: randomNode(random) };
    case 3:
      return { kind: "update-node", node: randomNode(random), isRenewed: random.chance(0.3) };
    case 4:
      return { kind: "drain-node", name: randomName(random), isDraining: random.chance(0.6) };
    case 5:
      return { kind: "remove-node", name: randomName(random), isForced: random.chance(0.4) };
    case 6:
    case 7:
    case 8: {
      const isSame = random.chance(0.2);
      return {
        kind: "create-topic",
        name: isSame ? name : `topic-${random.integer(6)}`,
        uuid: isSame ? uuid : randomUuid(random),
        createdAt: count,
        replicationFactor: 1 + random.integer(3),
        settings,
        placed: randomPlaced(random, state),
      };
    }
    case 9: {
      const first = random.chance(0.8) ? (topic?.partitions.length ?? 1) : 1 + random.integer(4);
      return {
        kind: "alter-topic",
        name,
        uuid,
        settings,
        ...(random.chance(0.3) ? { replicationFactor: 1 + random.integer(3) } : {}),
        ...(random.chance(0.5) ? { added: { first, ...randomPlaced(random, state) } } : {}),
      };
    }
    case 10:
      if (random.chance(0.3)) return { kind: "delete-topic", name, uuid };
      return { kind: "set-policy", policy: `policy ${count}`, ...randomBasis(random, state) };
    case 11:
    case 12: {
      const present = [...(partition?.replicas ?? []), ...(partition?.leaving ?? [])];
      const replicas = Array.from({ length: 1 + random.integer(3) }, () => {
        const kept = present.length > 0 && random.chance(0.6) ? random.pick(present) : undefined;
        return kept ?? (random.chance(0.1) ? { node: randomName(random), incarnation: count } : { node: randomName(random) });
      });
      return { kind: "place-partition", group, basis, replicas, leader: random.pick(replicas).node };
    }
    case 13: {
      const [replica = { node: randomName(random), incarnation: 1 }] = partition?.leaving ?? [];
      if (random.chance(0.5)) return { kind: "replica-left", group, basis, replica };
      return { kind: "placement-done", group, basis };
    }
    case 14: {
      const groups = [...state.deleted.keys(), group].filter(() => random.chance(0.5));
      return { kind: "forget-deleted", node: randomName(random), groups };
    }
    default:
      return random.chance(0.3)
        ? { kind: "raise-version", version: 1 }
        : { kind: "alter-topic", name: owner?.name ?? name, uuid: owner?.uuid ?? uuid, settings };
  }
}

function randomBasis(random: Luck, { policy }: CatalogState): { readonly basis?: string } {
  if (random.chance(0.3)) return {};
  return { basis: policyDigest(random.chance(0.6) ? policy : "another") };
}

function formCluster(random: Luck): CatalogChange {
  const nodes = Array.from({ length: random.integer(4) }, () => randomNode(random));
  return { kind: "form-cluster", version: 1, clusterId: random.bytes(16).toString("hex"), nodes };
}

function randomName(random: Luck): string {
  return `n${random.integer(6)}`;
}

function randomNode(random: Luck): NodeIdentity {
  const number = random.integer(6);
  // Mostly its own disk; else the disk of another, or a new one.
  const disk = random.chance(0.8) ? number : random.integer(8);
  return {
    name: `n${number}`,
    storageId: String(disk).repeat(32),
    address: `host-${random.integer(3)}:8000`,
    version: random.chance(0.9) ? 1 : 2,
  };
}

function randomPlaced(random: Luck, state: CatalogState) {
  const nodes = [...state.nodes.keys()].filter(() => random.chance(0.8));
  if (nodes.length === 0 || random.chance(0.05)) nodes.push(randomName(random));
  const partitions = Array.from({ length: 1 + random.integer(3) }, () => {
    const at = Array.from({ length: 1 + random.integer(3) }, () => random.integer(nodes.length));
    const replicas = random.chance(0.9) ? [...new Set(at)] : at;
    const uuid = random.chance(0.03)
      ? ([...state.groups.keys(), ...state.deleted.keys()][0] ?? randomUuid(random))
      : randomUuid(random);
    return { uuid, ...(random.chance(0.2) ? { logId: random.bytes(16).toString("hex") } : {}), replicas };
  });
  return { nodes, partitions };
}

export function randomUuid(random: Luck): string {
  const hex = random.bytes(16).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** What is drawn from; the simulator's generator is one. */
interface Luck {
  integer(end: number): number;
  chance(probability: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  bytes(count: number): Buffer;
}
