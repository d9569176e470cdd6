import { findMember, type Member, type NodeId } from "./member.ts";

/**
 * Who belongs to a group. While it is joint (paper §6) an election or a commit needs a quorum of `voters` and one of `outgoing`.
 * A member that is demoted stands in `outgoing` and in `learners`: it votes in the half that is being left, and nowhere after.
 */
export interface Membership {
  readonly voters: readonly Member[];
  /** The voters before, until they are left; empty when the membership isn't joint. */
  readonly outgoing: readonly Member[];
  readonly learners: readonly Member[];
}

export type MembershipChange =
  | { readonly kind: "add-learner"; readonly member: Member }
  | { readonly kind: "promote"; readonly nodeId: NodeId }
  | { readonly kind: "demote"; readonly nodeId: NodeId }
  | { readonly kind: "remove"; readonly nodeId: NodeId };

/** Of a replica that hasn't heard of its group yet. */
export const unknownMembership: Membership = { voters: [], outgoing: [], learners: [] };

export function isJoint(membership: Membership): boolean {
  return membership.outgoing.length > 0;
}

/** A voter of either half: that disk, not merely that node. */
export function isVoter({ voters, outgoing }: Membership, { nodeId, storageId }: Member): boolean {
  const found = findMember(voters, nodeId) ?? findMember(outgoing, nodeId);
  return found?.storageId === storageId;
}

/** The member of that name in whatever part it stands; a name stands for one storage in all of them. */
export function findInMembership(membership: Membership, nodeId: NodeId): Member | undefined {
  return (
    findMember(membership.voters, nodeId) ?? findMember(membership.outgoing, nodeId) ?? findMember(membership.learners, nodeId)
  );
}

/** Every member once: voters, then those that only the outgoing half has, then learners. */
export function membersOf(membership: Membership): Member[] {
  const members = [...membership.voters];
  for (const member of [...membership.outgoing, ...membership.learners])
    if (findMember(members, member.nodeId) === undefined) members.push(member);
  return members;
}

/** Every voter of either half, once. */
export function votersOf(membership: Membership): Member[] {
  return membersOf({ ...membership, learners: [] });
}

/**
 * The membership that follows by `changes`, or why there is none. It is joint when voters change, however few: one way for all
 * changes, and no need to prove which ones could do without.
 */
export function changeMembership(membership: Membership, changes: readonly MembershipChange[]): Membership | string {
  if (isJoint(membership)) return "a change is under way";
  if (changes.length === 0) return "nothing is to change";
  let voters = [...membership.voters];
  let learners = [...membership.learners];
  const touched = new Set<NodeId>();
  for (const change of changes) {
    const nodeId = change.kind === "add-learner" ? change.member.nodeId : change.nodeId;
    if (touched.has(nodeId)) return `${nodeId} is named twice`;
    touched.add(nodeId);
    const voter = findMember(voters, nodeId);
    const learner = findMember(learners, nodeId);
    switch (change.kind) {
      case "add-learner":
        if (voter !== undefined || learner !== undefined) return `${nodeId} is a member already`;
        learners.push(change.member);
        break;
      case "promote":
        if (learner === undefined) return `${nodeId} is no learner`;
        learners = learners.filter((member) => member !== learner);
        voters.push(learner);
        break;
      case "demote":
        if (voter === undefined) return `${nodeId} is no voter`;
        voters = voters.filter((member) => member !== voter);
        learners.push(voter);
        break;
      case "remove":
        if (voter === undefined && learner === undefined) return `${nodeId} is no member`;
        voters = voters.filter((member) => member !== voter);
        learners = learners.filter((member) => member !== learner);
        break;
    }
  }
  if (voters.length === 0) return "no voter would be left";
  const isSameVoters = voters.length === membership.voters.length && voters.every((voter) => membership.voters.includes(voter));
  return { voters, outgoing: isSameVoters ? [] : membership.voters, learners };
}

/** What follows when the joint membership is left. */
export function leaveJoint(membership: Membership): Membership {
  return { voters: membership.voters, outgoing: [], learners: membership.learners };
}

/** Why a membership can't be one, or undefined. */
export function findMembershipFault({ voters, outgoing, learners }: Membership): string | undefined {
  const storages = new Map<NodeId, string>();
  for (const part of [voters, outgoing, learners]) {
    const inPart = new Set<NodeId>();
    for (const { nodeId, storageId } of part) {
      if (nodeId === "" || storageId === "") return "a member has a name and a storage id";
      if (inPart.has(nodeId)) return `${nodeId} stands twice in a part`;
      inPart.add(nodeId);
      if ((storages.get(nodeId) ?? storageId) !== storageId) return `${nodeId} has two storage ids`;
      storages.set(nodeId, storageId);
    }
  }
  if (voters.length === 0) return "there is no voter";
  const both = learners.find(({ nodeId }) => findMember(voters, nodeId) !== undefined);
  return both === undefined ? undefined : `${both.nodeId} is voter and learner`;
}
