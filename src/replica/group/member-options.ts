import type { Membership } from "../../raft/membership.ts";
import type { NodeId } from "../../raft/member.ts";
import type { ReplicaRecord } from "../cluster/node-record-state.ts";
import type { GroupSeams } from "./group-member.ts";
import type { GroupReplicaOptions } from "./group-options.ts";

/** What a replica is opened with that follows from the node record and from the set that it is opened in. */
export function memberOptionsOf(
  { logId, incarnation, firstMembers }: ReplicaRecord,
  seams: GroupSeams,
  { nodeId, storageId }: { readonly nodeId: NodeId; readonly storageId: string },
) {
  const { groupId, directory, hardState, send, ask, copies, unsynced, checkRoom, createIfMissing } = seams;
  const { roleChanged, sleepChanged, failed } = seams;
  return {
    self: { nodeId, storageId: `${storageId}/${incarnation}` },
    groupId: Buffer.from(logId, "hex"),
    groupName: groupId,
    firstMembership: firstMembers === undefined ? undefined : firstMembershipOf(firstMembers),
    ...{ directory, hardState, send, ask, copies, unsynced, checkRoom },
    log: { createIfMissing },
    listener: { roleChanged, sleepChanged, failed },
  } satisfies Partial<GroupReplicaOptions>;
}

function firstMembershipOf(voters: Membership["voters"]): Membership {
  return { voters, outgoing: [], learners: [] };
}
