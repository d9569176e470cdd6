import type { Clock } from "../../base/clock.ts";
import type { ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import type { Random } from "../../base/random.ts";
import type { ReplicaLog, ReplicaLogOptions } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { Member, NodeId } from "../../raft/member.ts";
import type { Membership } from "../../raft/membership.ts";
import type { RaftSettings } from "../../raft/raft-settings.ts";
import type { RaftState } from "../../raft/raft-state.ts";
import type { Ready, RoleChange } from "../../raft/ready.ts";
import type { PeerNetwork } from "../peer-network.ts";
import type { WriteTurn } from "./entry-writer.ts";
import type { CopyShare } from "./log-copies.ts";
import type { HardStateSlot } from "./hard-state-slot.ts";
import type { UnsyncedAccount } from "./unsynced-bytes.ts";

export interface GroupReplicaOptions extends Pick<ReplicaLogOptions, "openFiles"> {
  /** Its storage id is that of the replica: `<storage id>/<incarnation>`. */
  readonly self: Member;
  /** Of the log. Made where it is missing, unless `log.createIfMissing` says no. */
  readonly directory: string;
  readonly disk: NonNullable<ReplicaLogOptions["disk"]>;
  readonly clock: Clock;
  readonly random: Random;
  /** The id of the log, 16 bytes: the same in all replicas. */
  readonly groupId: Buffer;
  /** The group's uuid, as it stands on messages. */
  readonly groupName: string;
  /** The members that the group was made with; undefined to learn them from its leader. */
  readonly firstMembership: Membership | undefined;
  readonly hardState: HardStateSlot;
  readonly send: PeerNetwork["send"];
  /** Where a node serves clients, for those who are told to ask there. */
  readonly rpcAddressOf?: (nodeId: NodeId) => string | undefined;
  readonly settings?: RaftSettings;
  /** What the log is opened with: sizes, what the topic says, observer. */
  readonly log?: Omit<ReplicaLogOptions, "logId" | "disk" | "clock" | "random" | "logger" | "openFiles">;
  readonly logger?: Logger;
  readonly listener?: GroupListener;
  /** Told of the group, for metrics; the log's own is told of what is written and synced. */
  readonly observer?: GroupObserver;
  /** Default: at once. */
  readonly writeTurn?: WriteTurn;
  /** Is kept up with what this replica has taken and not synced. */
  readonly unsynced?: UnsyncedAccount;
  /** Throws OVERLOADED where the groups of the node together have too much that isn't synced: asked before an append is taken. */
  readonly checkRoom?: (bytes: number) => void;
  /** Of the network, for what is copied between replicas. Without it a peer that lacks what was trimmed here stays behind. */
  readonly ask?: PeerNetwork["ask"];
  /** What the groups of the node share where logs are copied. Default: an own one. */
  readonly copies?: CopyShare;
  readonly witness?: GroupReplicaWitness;
}

/** What a replica tells those around it, when it is done with whatever made it so. */
export interface GroupListener {
  roleChanged?(change: RoleChange): void;
  /** It fell asleep, or woke. */
  sleepChanged?(isAsleep: boolean): void;
  /** More is committed, or shown. */
  progress?(): void;
  /** It left the write path for this reason, or is back where there is none. */
  damaged?(error: ProglogError | undefined): void;
  /** It stopped itself: nothing that a disk or a network may bring about. */
  failed?(error: unknown): void;
}

/** Told what a group does. One that throws harms nobody and is logged. */
export interface GroupObserver {
  /**
   * Entries were committed, as far as this replica knows: control entries among them. `waitedMs` has an element for each append that was
   * taken here: how long it took from then on.
   */
  committed?(event: { readonly entries: number; readonly waitedMs: readonly number[] }): void;
  /** An append message with entries went to a peer. `bytes` counts frames whole. */
  sent?(event: { readonly to: NodeId; readonly entries: number; readonly bytes: number }): void;
  /** What rotted here was fetched from other members, and is whole again. `bytes` counts frames whole. */
  repaired?(event: { readonly entries: number; readonly bytes: number }): void;
  /** This replica was elected. */
  elected?(event: { readonly term: number }): void;
}

/** Sees each step as it is made: for the simulator. */
export interface GroupReplicaWitness {
  opened?(state: RaftState, log: ReplicaLog): Promise<void> | void;
  /** Something happened to the core, and what followed was begun. */
  stepped?(ready: Ready | undefined): void;
  /** The core ordered a write: what lies behind `truncateTo` is to go, if that is given, and these entries follow. */
  handed?(truncateTo: number | undefined, entries: readonly StampedEntry[]): void;
  /** Entries are in the log, and synced. */
  wrote?(entries: readonly StampedEntry[]): void;
  /** What lay behind `index` is going. */
  truncating?(index: number): void;
}
