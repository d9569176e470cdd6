import { type CatalogChange, encodeCommand } from "../../src/replica/cluster/catalog-command.ts";
import { CatalogFold } from "../../src/replica/cluster/catalog-fold.ts";
import { encodeState } from "../../src/replica/cluster/catalog-snapshot.ts";
import { policyDigest } from "../../src/replica/policy-store.ts";

/**
 * The records of group 0 whose bytes are kept in the repository: what one version wrote, every later one has to read, and to make
 * the same catalog of. Each kind of command of docs/catalog.md is there, and each field.
 */
const goldenChanges: readonly CatalogChange[] = [
  { kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes: [node(1), node(2), node(3)] },
  { kind: "add-node", node: node(4) },
  { kind: "add-node", node: node(5) },
  { kind: "update-node", node: { ...node(2), address: "two.example:8000" }, isRenewed: false },
  { kind: "update-node", node: node(3), isRenewed: true },
  { kind: "raise-version", version: 1 },
  {
    kind: "create-topic",
    name: "orders",
    uuid: uuid(1),
    createdAt: 1_760_000_000_000,
    replicationFactor: 3,
    settings: { retentionMs: 604_800_000, cleanup: "both", ofALaterVersion: { note: "kept as it is" } },
    placed: {
      nodes: ["n1", "n2", "n3", "n4"],
      partitions: [
        { uuid: uuid(2), replicas: [0, 1, 2] },
        { uuid: uuid(3), logId: "ab".repeat(16), replicas: [1, 3, 0] },
      ],
    },
  },
  {
    kind: "alter-topic",
    name: "orders",
    uuid: uuid(1),
    settings: { retentionMs: null, segmentBytes: 67_108_864 },
    replicationFactor: 2,
    added: { first: 2, nodes: ["n5", "n3"], partitions: [{ uuid: uuid(4), replicas: [0, 1] }] },
  },
  {
    kind: "place-partition",
    group: uuid(3),
    basis: 6,
    replicas: [{ node: "n2", incarnation: 6 }, { node: "n1" }],
    leader: "n1",
  },
  {
    kind: "place-partition",
    group: uuid(2),
    basis: 6,
    replicas: [{ node: "n1", incarnation: 6 }, { node: "n5" }],
    leader: "n5",
  },
  { kind: "placement-done", group: uuid(2), basis: 9 },
  {
    kind: "create-topic",
    name: "gone",
    uuid: uuid(5),
    createdAt: 1_760_000_000_001,
    replicationFactor: 1,
    settings: {},
    placed: { nodes: ["n1"], partitions: [{ uuid: uuid(6), replicas: [0] }] },
  },
  { kind: "delete-topic", name: "gone", uuid: uuid(5) },
  { kind: "forget-deleted", node: "n1", groups: [uuid(6)] },
  { kind: "set-policy", policy: "p, äöü, orders, produce\n" },
  { kind: "set-policy", policy: "p, äöü, orders, consume\n", basis: policyDigest("p, äöü, orders, produce\n") },
  { kind: "drain-node", name: "n4", isDraining: true },
  { kind: "remove-node", name: "n5", isForced: true },
  { kind: "replica-left", group: uuid(2), basis: 17, replica: { node: "n5", incarnation: 9 } },
];

/** Offset i is line i. A snapshot of all before it is the last record. */
export function goldenCatalogLog(): readonly Buffer[] {
  const fold = new CatalogFold(0);
  const values = goldenChanges.map((change, at) => encodeCommand({ id: `c${at}`, ...change }));
  for (const [offset, value] of values.entries()) fold.fold({ offset, value });
  return [...values, ...fold.takeSnapshot("s1")];
}

/** What is made of it. */
export function goldenCatalogState(log: readonly Buffer[]): string {
  const fold = new CatalogFold(0);
  for (const [offset, value] of log.entries()) fold.fold({ offset, value });
  return encodeState(fold.state);
}

function node(number: number) {
  return { name: `n${number}`, storageId: String(number).repeat(32), address: `n${number}.example:8000`, version: 1 };
}

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}
