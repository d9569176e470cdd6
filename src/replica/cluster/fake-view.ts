import type { FormationProposal } from "./formation-proposal.ts";
import type { NodeView } from "./formation-view.ts";

/** Views and proposals of nodes that go by numbers, for tests. */
export function makeView(number: number, change: Partial<NodeView> = {}): NodeView {
  return {
    name: `n${number}`,
    storageId: hex(number),
    address: `n${number}:8000`,
    run: hex(1_000 + number),
    bootCounter: 1,
    generation: 2,
    clusterId: undefined,
    promise: undefined,
    initialNodes: 3,
    isBootstrapping: false,
    addresses: [],
    ...change,
  };
}

/** The first member proposed it. */
export function makeProposal(clusterNumber: number, memberNumbers: readonly number[]): FormationProposal {
  return {
    clusterId: hex(clusterNumber),
    proposer: hex(memberNumbers[0] ?? 0),
    members: memberNumbers.map((number) => ({ name: `n${number}`, storageId: hex(number), address: `n${number}:8000` })),
  };
}

export function hex(number: number): string {
  return number.toString(16).padStart(32, "0");
}
