import type { Member } from "../../raft/member.ts";

/**
 * Who is to be a cluster: made by one node, promised by each that it names. Two of the same cluster id are the same, since nobody
 * else can have drawn it.
 */
export interface FormationProposal {
  /** 32 hex digits, drawn for this proposal. */
  readonly clusterId: string;
  /** The storage id of who made it; it promised before it told anybody. */
  readonly proposer: string;
  /** By storage id. */
  readonly members: readonly FormationMember[];
}

export interface FormationMember {
  readonly name: string;
  readonly storageId: string;
  /** `host:port`. */
  readonly address: string;
}

/** The members that vote in group 0 from its beginning: the first three, or five of five and more. The others learn. */
export function firstVoters({ members }: Pick<FormationProposal, "members">): readonly FormationMember[] {
  return members.slice(0, members.length < 5 ? 3 : 5);
}

/** The storage id of a replica, as the core has it: a replica that is placed anew on the same disk is somebody else. */
export function replicaMember(nodeId: string, storageId: string, incarnation: number): Member {
  return { nodeId, storageId: `${storageId}/${incarnation}` };
}

/** Why nobody may promise it; undefined when it is one. */
export function faultOfProposal({ proposer, members }: FormationProposal): string | undefined {
  for (const [key, what] of [
    ["name", "the name"],
    ["storageId", "the storage id"],
    ["address", "the address"],
  ] as const) {
    const twice = findTwice(members.map((member) => member[key]));
    if (twice !== undefined) return `two nodes have ${what} ${twice}`;
  }
  if (!members.some(({ storageId }) => storageId === proposer)) return "who made it isn't among its members";
  return undefined;
}

export function sortMembers(members: readonly FormationMember[]): readonly FormationMember[] {
  return members.toSorted((a, b) => (a.storageId < b.storageId ? -1 : 1));
}

export function findTwice(values: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return values.find((value) => seen.has(value) || !seen.add(value));
}
