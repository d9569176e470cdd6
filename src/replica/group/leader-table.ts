import { ledGroupsMaxCount } from "../../base/cluster-limits.ts";
import type { NodeId } from "../../raft/member.ts";

/** Who leads a group, in which term. */
export interface GroupLeader {
  readonly leaderId: NodeId;
  readonly term: number;
}

/**
 * Who leads which group, as far as this node has heard: of its own groups from their replicas, of others from the nodes that lead them.
 * In a term there is one leader, so of two answers the one with the higher term is the newer. What stands here is a hint: who goes by it
 * and is wrong hears so.
 */
export class LeaderTable {
  readonly #leaders = new Map<string, { readonly leaderId: NodeId | undefined; readonly term: number }>();
  readonly #maxCount: number;

  constructor(maxCount: number = ledGroupsMaxCount) {
    this.#maxCount = maxCount;
  }

  get count(): number {
    return this.#leaders.size;
  }

  find(groupId: string): GroupLeader | undefined {
    const { leaderId, term } = this.#leaders.get(groupId) ?? { leaderId: undefined, term: 0 };
    return leaderId === undefined ? undefined : { leaderId, term };
  }

  /** True when that is news. Of more groups than can be nobody is remembered. */
  led(groupId: string, { leaderId, term }: GroupLeader): boolean {
    const known = this.#leaders.get(groupId);
    if (known === undefined && this.#leaders.size >= this.#maxCount) return false;
    if (known !== undefined && (known.term > term || (known.term === term && known.leaderId === leaderId))) return false;
    this.#leaders.set(groupId, { leaderId, term });
    return true;
  }

  /** It led in that term and does no more: until a later one nobody does. */
  left(groupId: string, { leaderId, term }: GroupLeader): void {
    const known = this.#leaders.get(groupId);
    if (known?.term === term && known.leaderId === leaderId) this.#leaders.set(groupId, { leaderId: undefined, term });
  }

  /** It leads none but these any more. */
  leftAllBut(leaderId: NodeId, groupIds: ReadonlySet<string>): void {
    for (const [groupId, known] of this.#leaders)
      if (known.leaderId === leaderId && !groupIds.has(groupId)) this.left(groupId, { leaderId, term: known.term });
  }

  /** The group is deleted. */
  forget(groupId: string): void {
    this.#leaders.delete(groupId);
  }
}

/**
 * Who leads, by what a replica here knows and by what was told. A replica that left its group keeps the leader that it knew last, and whoever
 * followed that one says so in a later term.
 */
export function newestLeader(
  own: { readonly leader: NodeId | undefined; readonly term: number } | undefined,
  told: GroupLeader | undefined,
): NodeId | undefined {
  return own?.leader !== undefined && own.term >= (told?.term ?? 0) ? own.leader : told?.leaderId;
}
