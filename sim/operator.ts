import { membersOf, type MembershipChange } from "../src/raft/membership.ts";
import type { NodeSlot } from "./node-slot.ts";
import type { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

/** How often whoever runs the group looks after it. */
const roundMs = 500;

const hastyChance = 0.1;

/**
 * Whoever runs the group: replaces what is lost, and, when told to, changes the membership and hands leadership over. Cautious as a
 * person is: it takes no voter away that works while one is lost, and never leaves fewer than there were at first.
 */
export class Operator {
  readonly #world: World;
  readonly #random: SeededRandom;
  #isEnded = false;

  constructor(world: World, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    this.#world.after(roundMs, () => {
      if (this.#isEnded) return;
      this.start();
      this.#repair();
    });
  }

  /** Leaves the group as it is from now on. */
  end(): void {
    this.#isEnded = true;
  }

  /** Whether one more node may be lost: no other is, and the rest are a quorum of every membership there may be. */
  mayLose(slot: NodeSlot): boolean {
    const { slots, settings, watch } = this.#world;
    if (settings.voters < 3 || slot.isLost || slots.some(({ isLost }) => isLost)) return false;
    const leader = this.#world.findLeader();
    if (leader?.node === undefined || leader.node.state.log.memberships.length > 1) return false;
    return watch.membership.outgoing.length === 0 && watch.membership.voters.length >= 3;
  }

  /** Now and then the group is changed at the worst moment: when a leader knows least of what is committed. */
  leaderElected(): void {
    const { nowMs, settings } = this.#world;
    if (nowMs >= settings.safetyMs || !this.#random.chance(hastyChance)) return;
    this.#world.after(this.#random.float(), () => this.change());
  }

  /** Any change that makes sense now, by chance. */
  change(): void {
    const leader = this.#world.findLeader();
    if (leader?.node === undefined) return;
    const { voters, learners } = this.#world.watch.membership;
    const anyLost = this.#world.slots.some(({ isLost }) => isLost);
    const outside = this.#world.slots.filter(
      ({ nodeId, isLost }) => !isLost && ![...voters, ...learners].some((member) => member.nodeId === nodeId),
    );
    const mayShrink = !anyLost && voters.length > Math.max(1, Math.min(3, this.#world.settings.voters));
    const changes: MembershipChange[] = [];
    if (outside.length > 0 && this.#random.chance(0.5)) {
      const { member } = this.#random.pick(outside);
      changes.push({ kind: "add-learner", member });
    }
    if (learners.length > 0 && this.#random.chance(0.7)) {
      const { nodeId } = this.#random.pick(learners);
      const isPromoted = !this.#world.slotOf(nodeId).isLost && this.#random.chance(0.7);
      changes.push({ kind: isPromoted ? "promote" : "remove", nodeId });
    }
    if (mayShrink && this.#random.chance(0.6)) {
      const { nodeId } = this.#random.pick(voters);
      changes.push({ kind: this.#random.chance(0.5) ? "demote" : "remove", nodeId });
    }
    this.#propose(leader, changes);
  }

  transfer(): void {
    const leader = this.#world.findLeader();
    if (leader?.node === undefined) return;
    const to = this.#random.chance(0.5) ? undefined : this.#random.pick(this.#world.nodeIds);
    this.#world.tell(() => `${leader.nodeId} is to hand over to ${to ?? "whoever is ahead"}`);
    leader.node.transferLeadership(to);
  }

  #propose(leader: NodeSlot, changes: readonly MembershipChange[]): boolean {
    if (changes.length === 0) return false;
    const outcome = leader.node?.changeMembership(changes);
    this.#world.note(10, changes.length, outcome?.outcome === "appended" ? 1 : 0);
    this.#world.tell(() => {
      const what = changes.map(
        (change) => `${change.kind} ${change.kind === "add-learner" ? change.member.storageId : change.nodeId}`,
      );
      return `the operator asks ${leader.nodeId} for ${what.join(", ")}: ${outcome?.outcome ?? "no answer"}`;
    });
    return outcome?.outcome === "appended";
  }

  /** One step towards a group in which nobody is lost. */
  #repair(): void {
    const leader = this.#world.findLeader();
    if (leader?.node === undefined) return;
    const members = membersOf(this.#world.watch.membership);
    for (const slot of this.#world.slots) {
      const { nodeId, member } = slot;
      const known = members.find((candidate) => candidate.nodeId === nodeId);
      if (slot.condition === "halted") {
        this.#world.tell(() => `the operator gives ${nodeId} another disk`);
        slot.wipe();
        slot.start();
        return;
      }
      if (!slot.isReplaced) continue;
      if (known === undefined) this.#propose(leader, [{ kind: "add-learner", member }]);
      else if (known.storageId !== member.storageId) this.#propose(leader, [{ kind: "remove", nodeId }]);
      else if (this.#world.watch.membership.learners.includes(known)) this.#propose(leader, [{ kind: "promote", nodeId }]);
      else slot.isReplaced = false;
      return;
    }
  }
}
