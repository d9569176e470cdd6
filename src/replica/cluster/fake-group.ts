import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { ProglogError } from "../../base/error.ts";
import { promotionMaxLag } from "../../base/cluster-limits.ts";
import type { Member } from "../../raft/member.ts";
import {
  changeMembership,
  findInMembership,
  isJoint,
  leaveJoint,
  type Membership,
  membersOf,
  votersOf,
} from "../../raft/membership.ts";
import { quorumValue } from "../../raft/quorum.ts";
import type { GroupReport } from "./group-report.ts";

/**
 * For tests of the controller: a group as its leader and the rules of raft make it, without messages. Each member has so many entries on
 * its disk; entries are committed that a quorum has. What a wrong change of members would do, it does: an election that needs those
 * who lack what was committed loses it, and says so in `violations`.
 */
export class FakeGroup {
  readonly id: string;
  leader: string | undefined;
  lastIndex = 1;
  commitIndex = 1;
  /** Entries on each disk that has the replica; who isn't here has none. */
  readonly matches = new Map<string, number>();
  readonly violations: string[] = [];
  changeCount = 0;
  /** Memberships in the log, by index: the newest is in force. */
  #memberships: { readonly index: number; readonly membership: Membership }[];

  constructor(id: string, voters: readonly Member[]) {
    this.id = id;
    this.#memberships = [{ index: 1, membership: { voters, outgoing: [], learners: [] } }];
    for (const { storageId } of voters) this.matches.set(storageId, 1);
  }

  get membership(): Membership {
    return this.#newest.membership;
  }

  /** A while passes: `isUp` says who runs. */
  pass(isUp: (nodeId: string) => boolean, { appended, copied, mayBegin }: FakePassing): void {
    const isThere = (member: Member): boolean => isUp(member.nodeId) && this.matches.has(member.storageId);
    if (this.#leaderMember === undefined || !isThere(this.#leaderMember) || !this.#isQuorum(this.membership, isThere))
      this.leader = undefined;
    if (this.leader === undefined) this.#elect(isThere);
    const leader = this.#leaderMember;
    if (leader === undefined) return;
    this.lastIndex += appended;
    for (const member of membersOf(this.membership)) {
      if (!isUp(member.nodeId)) continue;
      const match = this.matches.get(member.storageId);
      // A learner begins its copy; a voter without one lost it, and makes none.
      if (match === undefined && this.#isLearner(member) && mayBegin(member)) this.matches.set(member.storageId, 0);
      else if (match !== undefined) this.matches.set(member.storageId, Math.min(this.lastIndex, match + copied));
    }
    this.matches.set(leader.storageId, this.lastIndex);
    const { membership } = this;
    const onQuorum = quorumValue(membership, (nodeId) => this.#matchOf(findInMembership(membership, nodeId)));
    this.commitIndex = Math.max(this.commitIndex, onQuorum);
    if (this.#newest.index > this.commitIndex) return;
    if (isJoint(membership)) this.#enter(leaveJoint(membership));
    else if (!membership.voters.includes(leader)) this.leader = undefined;
  }

  report(isUp: (nodeId: string) => boolean): GroupReport {
    assert(this.leader !== undefined, "who reports leads");
    const { leader } = this;
    return {
      leader,
      isLeaderDamaged: false,
      membership: this.membership,
      isSettled: !isJoint(this.membership) && this.#newest.index <= this.commitIndex,
      lastIndex: this.lastIndex,
      peers: membersOf(this.membership)
        .filter(({ nodeId }) => nodeId !== leader)
        .map(({ nodeId, storageId }) => ({
          nodeId,
          lag: this.lastIndex - (this.matches.get(storageId) ?? 0),
          isActive: isUp(nodeId) && this.matches.has(storageId),
          isLost: false,
        })),
    };
  }

  change(membership: Membership, changes: Parameters<typeof changeMembership>[1]): void {
    const isSame = JSON.stringify(membership) === JSON.stringify(this.membership);
    if (!isSame || this.#newest.index > this.commitIndex)
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot change group ${this.id}: it was changed since`);
    const next = changeMembership(this.membership, changes);
    if (typeof next === "string") throw new ProglogError("INVALID_ARGUMENT", `Cannot change group ${this.id}: ${next}`);
    for (const change of changes) {
      if (change.kind !== "promote") continue;
      const match = this.matches.get(findInMembership(this.membership, change.nodeId)?.storageId ?? "") ?? 0;
      if (this.lastIndex - match > promotionMaxLag)
        throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot promote ${change.nodeId}: it lags`);
    }
    const has = ({ storageId }: Member): boolean => (this.matches.get(storageId) ?? 0) >= this.commitIndex - promotionMaxLag;
    if (2 * next.voters.filter(has).length <= next.voters.length)
      this.violations.push(`most of ${next.voters.map(({ nodeId }) => nodeId).join()} lack what is committed`);
    this.changeCount += 1;
    this.#enter(next);
  }

  transfer(to: string): void {
    const member = this.membership.voters.find(({ nodeId }) => nodeId === to);
    if (member !== undefined && this.matches.get(member.storageId) === this.lastIndex) this.leader = to;
  }

  #elect(isThere: (member: Member) => boolean): void {
    const everybody = this.#memberships.flatMap(({ membership }) => membersOf(membership)).filter(isThere);
    const [best] = everybody.sort((a, b) => this.#matchOf(b) - this.#matchOf(a));
    const match = this.#matchOf(best);
    // Each goes by what stands in its own log.
    const known = this.#memberships.findLast(({ index }) => index <= match) ?? this.#memberships[0];
    if (best === undefined || known === undefined || !this.#isQuorum(known.membership, isThere)) return;
    const voters = votersOf(known.membership).filter(isThere);
    const [elected] = voters.sort((a, b) => this.#matchOf(b) - this.#matchOf(a));
    if (elected === undefined) return;
    const end = this.#matchOf(elected);
    if (end < this.commitIndex) this.violations.push(`${elected.nodeId} leads with ${end} of ${this.commitIndex} entries`);
    const kept = this.#memberships.filter(({ index }) => index <= Math.max(end, this.commitIndex));
    if (kept.length > 0) this.#memberships = kept;
    // What it lacks goes, and an entry of its own comes.
    for (const [storageId, index] of this.matches) this.matches.set(storageId, Math.min(index, end));
    this.leader = elected.nodeId;
    this.lastIndex = end + 1;
    this.matches.set(elected.storageId, this.lastIndex);
  }

  #isQuorum(membership: Membership, isThere: (member: Member) => boolean): boolean {
    return quorumValue(membership, (nodeId) => Number(isThere(findInMembership(membership, nodeId) ?? nobody))) === 1;
  }

  #matchOf(member: Member | undefined): number {
    return this.matches.get(member?.storageId ?? "") ?? 0;
  }

  get #newest(): { readonly index: number; readonly membership: Membership } {
    const newest = this.#memberships.at(-1);
    assert(newest !== undefined, "a group has a membership");
    return newest;
  }

  get #leaderMember(): Member | undefined {
    return findInMembership(this.membership, this.leader ?? "");
  }

  #isLearner({ storageId }: Member): boolean {
    return this.membership.learners.some((member) => member.storageId === storageId);
  }

  #enter(membership: Membership): void {
    this.lastIndex += 1;
    this.#memberships.push({ index: this.lastIndex, membership });
    const leader = this.#leaderMember;
    if (leader !== undefined) this.matches.set(leader.storageId, this.lastIndex);
  }
}

export interface FakePassing {
  readonly appended: number;
  /** Entries that a member that lacks some gets. */
  readonly copied: number;
  /** Whether the node of a learner that has nothing can make its replica. */
  readonly mayBegin: (member: Member) => boolean;
}

const nobody: Member = { nodeId: "", storageId: "" };

/** Calls that take a moment on a clock that others drive. */
export async function delay(clock: Clock, delayMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.setTimer(delayMs, resolve);
  await promise;
}
