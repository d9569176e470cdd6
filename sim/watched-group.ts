import type { StampedEntry } from "../src/log/stamped-entry.ts";
import type { Member } from "../src/raft/member.ts";
import { encodeMembership } from "../src/raft/membership-payload.ts";
import { createRaft, type Raft } from "../src/raft/raft.ts";
import { defaultSettings } from "../src/raft/raft-settings.ts";
import { emptyStart, type RaftState } from "../src/raft/raft-state.ts";
import { GroupWatch } from "./group-watch.ts";

/** A group of one under watch, which leads and has committed its first entry: for tests of those who watch. */
export class WatchedGroup {
  readonly self: Member = { nodeId: "n1", storageId: "n1-disk1" };
  readonly raft: Raft;
  readonly watch: GroupWatch;
  /** What is on its disk. */
  readonly entries: StampedEntry[] = [];
  isOnPlatter = true;

  constructor() {
    const membership = { voters: [this.self], outgoing: [], learners: [] };
    this.watch = new GroupWatch(membership, () => this.isOnPlatter);
    this.raft = createRaft(emptyStart(this.self, membership), defaultSettings, { float: () => 0 });
    this.watch.recovered(this.raft.state, []);
    const order = this.raft.ready()?.hardState;
    if (order === undefined) throw new Error("a group of one votes for itself at once");
    this.watch.saved(this.raft.state, order);
    this.raft.hardStateDurable(order.sequence);
    this.writeReady([]);
  }

  get state(): RaftState {
    return this.raft.state;
  }

  append(batches: readonly Buffer[]): void {
    this.raft.propose(batches.map((batch) => ({ kind: "data", span: 1, bytes: batch.length })));
    this.writeReady(batches);
  }

  /** Carries out what the core wants written. */
  writeReady(batches: readonly Buffer[]): void {
    const write = this.raft.ready()?.write;
    const data = [...batches];
    const entries = (write?.entries ?? []).map(({ index, term, kind, span, baseOffset, membership }): StampedEntry => {
      const control = membership === undefined ? Buffer.alloc(0) : encodeMembership(membership);
      const payload = kind === "data" ? (data.shift() ?? control) : control;
      return { kind, index, term, span, baseOffset, appendTime: 0, flags: 0, payload };
    });
    this.watch.handed(this.state, write?.truncateTo, entries);
    this.watch.wrote(this.state, entries);
    this.entries.push(...entries);
    this.raft.durable({ index: this.entries.length, generation: this.raft.generation });
    this.watch.stepped(this.state);
  }
}
