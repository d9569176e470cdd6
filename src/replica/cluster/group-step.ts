import { promotionMaxLag } from "../../base/cluster-limits.ts";
import { findMember, type Member, type NodeId } from "../../raft/member.ts";
import { isJoint, type MembershipChange } from "../../raft/membership.ts";
import type { GroupReport } from "./group-report.ts";

/** Who is to be in a group, and who is to lead it where it can. */
export interface GroupWish {
  readonly voters: readonly Member[];
  readonly learners: readonly Member[];
  readonly leader: NodeId | undefined;
}

export type GroupStep =
  | { readonly kind: "change"; readonly changes: readonly MembershipChange[] }
  /** For a change that this leader stands in the way of, or because another one is wished. */
  | { readonly kind: "transfer"; readonly to: NodeId }
  /** Something is to be done, and can't be yet. */
  | { readonly kind: "wait"; readonly reason: string }
  /** The committed members are those wished. */
  | { readonly kind: "settled" };

/**
 * The next thing to do for a group, one at a time: whoever isn't a member yet learns, catches up, and becomes a voter in the same change
 * in which another one leaves. What is taken away never makes fewer: behind each change most voters have everything and answer, and as
 * many as before do, up to as many as are wished. Only a replica that stands in its own successor's way, being of the same node, goes
 * first; it is lost, or it wouldn't be replaced.
 */
export function planGroupStep(wish: GroupWish, report: GroupReport): GroupStep {
  const { membership, isSettled } = report;
  if (!isSettled || isJoint(membership)) return { kind: "wait", reason: "a change is under way" };
  return planLearners(wish, report) ?? planVoters(wish, report) ?? { kind: "settled" };
}

/** Whether a replica has what it should and answers. */
export function isHealthy({ leader, isLeaderDamaged, peers }: GroupReport, nodeId: NodeId): boolean {
  if (nodeId === leader) return !isLeaderDamaged;
  const peer = peers.find((it) => it.nodeId === nodeId);
  return peer !== undefined && peer.isActive && !peer.isLost && peer.lag <= promotionMaxLag;
}

function planLearners(wish: GroupWish, report: GroupReport): GroupStep | undefined {
  const { voters, learners } = report.membership;
  const wished = [...wish.voters, ...wish.learners];
  const unwanted = learners.find((member) => !isAmong(wished, member));
  if (unwanted !== undefined) return change({ kind: "remove", nodeId: unwanted.nodeId });
  const present = [...voters, ...learners];
  const missing = (members: readonly Member[]) => members.find(({ nodeId }) => findMember(present, nodeId) === undefined);
  const learner = missing(wish.learners);
  if (learner !== undefined) return change({ kind: "add-learner", member: learner });
  const voter = missing(wish.voters);
  if (voter === undefined) return undefined;
  // One copy at a time; but nobody waits for one that doesn't answer.
  const isCopying = learners.some((member) => isAmong(wish.voters, member) && isActive(report, member.nodeId));
  return isCopying ? undefined : change({ kind: "add-learner", member: voter });
}

function planVoters(wish: GroupWish, report: GroupReport): GroupStep | undefined {
  const { membership, leader } = report;
  const { voters, learners } = membership;
  const surplus = voters.filter((member) => !isAmong(wish.voters, member));
  const pending = wish.voters.filter((member) => !isAmong(voters, member));
  if (surplus.length === 0 && pending.length === 0) return undefined;

  if (surplus.some(({ nodeId }) => nodeId === leader)) {
    const to = successorOf(wish, report);
    if (to !== undefined) return { kind: "transfer", to };
  }
  const leavable = surplus.filter(({ nodeId }) => nodeId !== leader);
  const inTheWay = leavable.find(({ nodeId }) => findMember(pending, nodeId) !== undefined);
  if (inTheWay !== undefined) {
    const others = voters.filter((member) => member !== inTheWay);
    if (isMostlyHealthy(report, others)) return change({ kind: "remove", nodeId: inTheWay.nodeId });
    return { kind: "wait", reason: `${inTheWay.nodeId} can't go: too few others have everything` };
  }

  const ready = learners.find((member) => isAmong(pending, member) && isHealthy(report, member.nodeId));
  // Whoever is worth the least goes first.
  const leaving = leavable.find(({ nodeId }) => !isHealthy(report, nodeId)) ?? leavable[0];
  if (ready !== undefined) {
    const promote: MembershipChange = { kind: "promote", nodeId: ready.nodeId };
    if (leaving !== undefined && keepsEnough(wish, report, [...without(voters, leaving), ready]))
      return change(promote, leaveOf(wish, leaving));
    if (keepsEnough(wish, report, [...voters, ready])) return change(promote);
    return { kind: "wait", reason: `${ready.nodeId} can't vote yet: too few others have everything` };
  }
  const copying = pending.find((member) => isAmong(learners, member));
  if (copying !== undefined) return { kind: "wait", reason: `${copying.nodeId} has to catch up` };
  if (pending.length > 0 || leaving === undefined) {
    // The leader stands in the way of its own successor, and of those who stay nobody votes yet: one that is to go leads meanwhile.
    const [other] = othersOf(report);
    if (other !== undefined) return { kind: "transfer", to: other.nodeId };
    return { kind: "wait", reason: `${leader} leads, and nobody can take over` };
  }
  if (keepsEnough(wish, report, without(voters, leaving))) return change(leaveOf(wish, leaving));
  return { kind: "wait", reason: `${leaving.nodeId} can't go: too few others have everything` };
}

/** Whether the voters that would be left are enough, so that nothing is worse than before. */
function keepsEnough(wish: GroupWish, report: GroupReport, after: readonly Member[]): boolean {
  const healthyBefore = countHealthy(report, report.membership.voters);
  return isMostlyHealthy(report, after) && countHealthy(report, after) >= Math.min(healthyBefore, wish.voters.length);
}

function isMostlyHealthy(report: GroupReport, voters: readonly Member[]): boolean {
  return 2 * countHealthy(report, voters) > voters.length;
}

function countHealthy(report: GroupReport, members: readonly Member[]): number {
  return members.filter(({ nodeId }) => isHealthy(report, nodeId)).length;
}

/** Who is to lead in the place of a leader that is to go: a voter that stays. */
function successorOf(wish: GroupWish, report: GroupReport): NodeId | undefined {
  const staying = othersOf(report).filter((member) => isAmong(wish.voters, member));
  return (findMember(staying, wish.leader ?? "") ?? staying[0])?.nodeId;
}

/** The voters beside the leader that could take over. */
function othersOf(report: GroupReport): readonly Member[] {
  return report.membership.voters.filter(({ nodeId }) => nodeId !== report.leader && isHealthy(report, nodeId));
}

function isActive({ leader, peers }: GroupReport, nodeId: NodeId): boolean {
  return nodeId === leader || peers.some((peer) => peer.nodeId === nodeId && peer.isActive);
}

function leaveOf(wish: GroupWish, member: Member): MembershipChange {
  return { kind: isAmong(wish.learners, member) ? "demote" : "remove", nodeId: member.nodeId };
}

function change(...changes: readonly MembershipChange[]): GroupStep {
  return { kind: "change", changes };
}

function without(members: readonly Member[], member: Member): readonly Member[] {
  return members.filter((it) => it !== member);
}

function isAmong(members: readonly Member[], { nodeId, storageId }: Member): boolean {
  return findMember(members, nodeId)?.storageId === storageId;
}
