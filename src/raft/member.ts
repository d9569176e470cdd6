/** A node's name, as people know it. */
export type NodeId = string;

/** Random, made with a directory: a wiped disk is somebody else, whatever its node is called. */
export type StorageId = string;

/** One disk of one node. */
export interface Member {
  readonly nodeId: NodeId;
  readonly storageId: StorageId;
}

export function findMember(members: readonly Member[], nodeId: NodeId): Member | undefined {
  // A loop rather than `find`: this runs for each message, and a group has three members or five.
  for (const member of members) if (member.nodeId === nodeId) return member;
  return undefined;
}
