import type { NodeId } from "../../raft/member.ts";
import type { PeerMessage } from "../peer-network.ts";
import type { GroupMember, GroupSeams } from "./group-member.ts";

/** A replica of a group that does nothing, and remembers what it was told. For tests of what has many of them. */
export class FakeMember implements GroupMember {
  readonly seams: GroupSeams;
  readonly told: string[] = [];
  term = 0;
  leader: NodeId | undefined;
  isLeader = false;
  isAsleep = false;
  tickCount = 0;
  isClosed = false;
  /** Thrown by whatever it is told next. */
  fault: Error | undefined;
  closeFault: Error | undefined;
  /** Closing waits for it. */
  closeHold: Promise<void> | undefined;

  constructor(seams: GroupSeams) {
    this.seams = seams;
  }

  receive({ message, frames }: PeerMessage): void {
    this.#hear(`${message.kind} of ${message.from}, ${frames.length} frames`);
    this.seams.unsynced.take(frames.reduce((sum, frame) => sum + frame.length, 0));
  }

  tick(): void {
    if (this.fault !== undefined) this.#hear("tick");
    this.tickCount += 1;
  }

  disconnected(nodeId: NodeId): void {
    this.#hear(`disconnected ${nodeId}`);
  }

  peerLost(nodeId: NodeId): void {
    this.#hear(`lost ${nodeId}`);
  }

  peerFound(nodeId: NodeId): void {
    this.#hear(`found ${nodeId}`);
  }

  wake(): void {
    this.#hear("wake");
  }

  transferLeadership(): void {
    this.#hear("transfer");
  }

  async close(): Promise<void> {
    await this.closeHold;
    this.isClosed = true;
    if (this.closeFault !== undefined) throw this.closeFault;
  }

  /** As its core would have it. */
  sleeps(): void {
    this.isAsleep = true;
    this.seams.sleepChanged(true);
  }

  wakes(): void {
    this.isAsleep = false;
    this.seams.sleepChanged(false);
  }

  /** As its core would have it. */
  becomes(leader: NodeId | undefined, term: number, self: NodeId): void {
    this.leader = leader;
    this.term = term;
    this.isLeader = leader === self;
    this.seams.roleChanged({ leader, term });
  }

  #hear(what: string): void {
    if (this.fault !== undefined) throw this.fault;
    this.told.push(what);
  }
}
