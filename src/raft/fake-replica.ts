import { assert } from "../base/assert.ts";
import type { Entry } from "./entry.ts";
import type { ReplicaView } from "./group-witness.ts";
import type { InstalledLog, LogBase, LogTail, MembershipAt } from "./log-coordinates.ts";
import type { Member, NodeId } from "./member.ts";
import { type Membership, unknownMembership } from "./membership.ts";
import type { AppendMessage, Message } from "./message.ts";
import { findProgress } from "./progress.ts";
import { createRaft, type Raft } from "./raft.ts";
import type { RaftSettings } from "./raft-settings.ts";
import type { RaftStart } from "./raft-state.ts";
import type { CatchUpOrder, HardStateOrder, ReadAnswer, Ready, SendOrder } from "./ready.ts";
import type { SentReport } from "./replication.ts";
import { extendHistory, type TermStart } from "./term-history.ts";

/**
 * A replica that does what docs/raft.md asks of one, on a disk of arrays: writes at once, syncs when told, and loses in a crash
 * what wasn't synced. For tests; plain data beside the core, so that a search can copy it.
 */
export interface FakeReplica {
  raft: Raft;
  readonly settings: RaftSettings;
  isUp: boolean;
  /** How often it was started again. */
  starts: number;
  /** What a crash leaves. */
  readonly disk: FakeDisk;
  /** The log as written: ahead of the disk, or beside it after a truncation that isn't synced. */
  written: FakeLog;
  generation: number;
  hardStatePending: HardStateOrder | undefined;
  /** A sync of the log that has begun: what it will have brought to the disk. */
  syncing: { readonly log: FakeLog; readonly generation: number } | undefined;
  /** Send orders aren't carried out at once, but when it is told. */
  isSlowToSend: boolean;
  /** Orders handed out, oldest first. */
  orders: readonly SendOrder[];
  /** What was sent of orders and isn't reported yet. */
  reports: readonly (SentReport & { readonly term: number })[];
  /** Logs whose files were shipped here. */
  shipped: readonly FakeLog[];
}

export interface FakeDisk {
  term: number;
  vote: Member | undefined;
  log: FakeLog;
}

/** Swapped whole, never changed: copies may share it. */
export interface FakeLog {
  readonly base: LogBase;
  readonly membership: MembershipAt;
  /** Behind the base. */
  readonly entries: readonly Entry[];
}

export interface FakeEffects {
  readonly messages: Message[];
  readonly readies: Ready[];
  readonly catchUps: CatchUpOrder[];
  readonly reads: ReadAnswer[];
}

/**
 * Timeouts are near their upper end, so that there is time between the end of a lease and an election; and each start of a replica
 * draws something else.
 */
function randomOf(starts: number): { readonly float: () => number } {
  return { float: () => 0.9 + starts * 1e-6 };
}

export function emptyFakeLog(membership: Membership): FakeLog {
  return { base: { index: 0, term: 0, nextOffset: 0 }, membership: { index: 0, membership }, entries: [] };
}

export function newFakeReplica(self: Member, disk: FakeDisk, settings: RaftSettings): FakeReplica {
  return {
    raft: createRaft(startOf(self, disk), settings, randomOf(0)),
    settings,
    starts: 0,
    isUp: true,
    disk,
    written: disk.log,
    generation: 1,
    hardStatePending: undefined,
    syncing: undefined,
    isSlowToSend: false,
    orders: [],
    reports: [],
    shipped: [],
  };
}

/** Carries out what the core wants, but for syncs: those are told. */
export function processReady(replica: FakeReplica, effects: FakeEffects): void {
  for (let ready = replica.raft.ready(); ready !== undefined; ready = replica.raft.ready()) {
    effects.readies.push(ready);
    if (ready.hardState !== undefined) replica.hardStatePending = ready.hardState;
    if (ready.write !== undefined) {
      const { install, truncateTo, entries, generation } = ready.write;
      let log = replica.written;
      if (install !== undefined) log = shippedLog(replica, install);
      const kept = truncateTo === undefined ? log.entries : log.entries.slice(0, truncateTo - log.base.index);
      replica.written = { ...log, entries: [...kept, ...entries] };
      replica.generation = generation;
    }
    dropStrangers(replica);
    for (const order of ready.sends) {
      const isOut = [...replica.orders, ...replica.reports].some(({ to, term }) => to === order.to && term === order.term);
      assert(!isOut, "one order is out per peer");
    }
    replica.orders = [...replica.orders, ...ready.sends];
    if (!replica.isSlowToSend) sendAll(replica, effects.messages);
    effects.messages.push(...ready.messages);
    effects.catchUps.push(...ready.catchUps);
    effects.reads.push(...ready.reads);
  }
}

/** What is out to a peer that is no member any more is dropped: if it is added again, it begins anew. */
function dropStrangers(replica: FakeReplica): void {
  const { role } = replica.raft.state;
  if (role.kind !== "leader") return;
  const isMember = ({ to }: { readonly to: NodeId }): boolean => findProgress(role.peers, to) !== undefined;
  replica.orders = replica.orders.filter(isMember);
  replica.reports = replica.reports.filter(isMember);
}

/** Carries out what is left of send orders, and reports it. */
export function sendAll(replica: FakeReplica, messages: Message[]): void {
  while (replica.orders.length > 0 || replica.reports.length > 0) {
    reportSent(replica);
    const message = sendOne(replica);
    if (message !== undefined) messages.push(message);
  }
}

/** Carries out the oldest send order; drops it when the core has gone on to another term or generation, or when it is told to. */
export function sendOne(replica: FakeReplica, isLost = false): AppendMessage | undefined {
  const { raft, written } = replica;
  const [order, ...rest] = replica.orders;
  if (order === undefined) return undefined;
  replica.orders = rest;
  const isStale = order.term !== raft.term || order.generation !== raft.generation || order.prevIndex < written.base.index;
  if (isStale || isLost) {
    breakConnection(replica, order.to);
    return undefined;
  }
  const message = readAppend(replica, order);
  const bytes = message.entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const lastIndex = order.prevIndex + message.entries.length;
  replica.reports = [...replica.reports, { to: order.to, order: order.id, lastIndex, bytes, term: order.term }];
  return message;
}

/** The connection broke: orders to that peer are answered by that. */
export function breakConnection(replica: FakeReplica, to: NodeId): void {
  replica.orders = replica.orders.filter((order) => order.to !== to);
  replica.reports = replica.reports.filter((report) => report.to !== to);
  replica.raft.unreachable(to);
}

/** Reports the oldest that was sent. */
export function reportSent(replica: FakeReplica): void {
  const [report, ...rest] = replica.reports;
  if (report === undefined) return;
  replica.reports = rest;
  replica.raft.sent(report);
}

/** Reads what a send order asks for: one entry at least, up to its bytes. */
function readAppend({ raft, written }: FakeReplica, order: SendOrder): AppendMessage {
  const entries: Entry[] = [];
  let bytes = 0;
  for (const entry of written.entries.slice(order.prevIndex - written.base.index)) {
    if (entries.length > 0 && bytes + entry.bytes > order.maxBytes) break;
    entries.push(entry);
    bytes += entry.bytes;
  }
  assert(
    entries.every((entry) => raft.termAt(entry.index) === entry.term),
    "the log is what the core thinks it is",
  );
  const { nodeId, storageId } = raft.state.self;
  const { to, term, prevIndex, prevTerm, commitIndex } = order;
  return { kind: "append", from: nodeId, fromStorage: storageId, to, term, prevIndex, prevTerm, commitIndex, entries };
}

export function syncHardState(replica: FakeReplica): void {
  const order = replica.hardStatePending;
  if (order === undefined) return;
  replica.hardStatePending = undefined;
  replica.disk.term = order.term;
  replica.disk.vote = order.vote;
  replica.raft.hardStateDurable(order.sequence);
}

/** A sync covers what was written when it began, whatever is written while it runs. */
export function beginSync(replica: FakeReplica): void {
  replica.syncing = { log: replica.written, generation: replica.generation };
}

export function endSync(replica: FakeReplica): void {
  const { syncing } = replica;
  if (syncing === undefined) return;
  replica.syncing = undefined;
  replica.disk.log = syncing.log;
  replica.raft.durable({ index: lastOf(syncing.log), generation: syncing.generation });
}

export function hasUnsynced(replica: FakeReplica): boolean {
  return replica.disk.log !== replica.written;
}

/** Ends the process. What was written and not synced is lost, or is on the disk all the same. */
export function crash(replica: FakeReplica, keepsWritten: boolean): void {
  if (keepsWritten) replica.disk.log = replica.written;
  replica.isUp = false;
  replica.hardStatePending = undefined;
  replica.syncing = undefined;
  replica.orders = [];
  replica.reports = [];
  replica.written = replica.disk.log;
}

export function restart(replica: FakeReplica): void {
  replica.starts += 1;
  replica.raft = createRaft(startOf(replica.raft.state.self, replica.disk), replica.settings, randomOf(replica.starts));
  replica.generation = replica.raft.generation;
  replica.isUp = true;
}

/** What recovery tells the core, once it has synced the log again. */
export function startOf(self: Member, { term, vote, log }: FakeDisk): RaftStart {
  const { base, membership, entries } = log;
  const termHistory: TermStart[] = [];
  const memberships = [membership];
  for (const entry of entries) {
    extendHistory(termHistory, { term: entry.term, firstIndex: entry.index, firstOffset: entry.baseOffset });
    if (entry.membership !== undefined) memberships.push({ index: entry.index, membership: entry.membership });
  }
  const last = entries.at(-1);
  const nextOffset = last === undefined ? base.nextOffset : last.baseOffset + last.span;
  return { self, term, vote, base, lastIndex: lastOf(log), nextOffset, termHistory, memberships, durableIndex: lastOf(log) };
}

export function lastOf({ base, entries }: FakeLog): number {
  return base.index + entries.length;
}

export function entryAt({ base, entries }: FakeLog, index: number): Entry | undefined {
  return index > base.index ? entries[index - base.index - 1] : undefined;
}

export function viewOf(replica: FakeReplica): ReplicaView {
  return {
    state: replica.raft.state,
    entryAt: (index) => entryAt(replica.written, index),
    durableEntryAt: (index) => entryAt(replica.disk.log, index),
    durableBaseIndex: replica.disk.log.base.index,
  };
}

function shippedLog({ shipped }: FakeReplica, { index, term, lastIndex }: InstalledLog): FakeLog {
  const found = shipped.findLast((log) => log.base.index === index && log.base.term === term && lastOf(log) === lastIndex);
  assert(found !== undefined, "what is installed was shipped");
  return found;
}

/** What a base doesn't tell of a log. */
export function tailOf(self: Member, log: FakeLog): LogTail {
  const { lastIndex, nextOffset, termHistory, memberships } = startOf(self, { term: 0, vote: undefined, log });
  return { lastIndex, nextOffset, termHistory, memberships: memberships.slice(1) };
}

/** The newest membership at or before an index. */
export function membershipAt({ written, shipped }: FakeReplica, index: number): MembershipAt {
  let found: MembershipAt = { index: 0, membership: unknownMembership };
  const inLog = written.entries.flatMap((entry) =>
    entry.membership === undefined ? [] : [{ index: entry.index, membership: entry.membership }],
  );
  for (const candidate of [written.membership, ...inLog, ...shipped.map(({ membership }) => membership)])
    if (candidate.index <= index && candidate.index >= found.index) found = candidate;
  return found;
}
