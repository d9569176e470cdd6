import { AssertionError } from "../../src/base/assert.ts";
import { isProglogError, messageOf } from "../../src/base/error.ts";
import { encodeState } from "../../src/replica/cluster/catalog-snapshot.ts";
import { membersOf } from "../../src/raft/membership.ts";
import { mayDeleteReplica } from "../../src/replica/cluster/catalog-state.ts";
import type { ClusterCatalog } from "../../src/replica/cluster/cluster-catalog.ts";
import type { GroupReplica } from "../../src/replica/group/group-replica.ts";
import { nodeRecordName } from "../../src/replica/cluster/node-record-state.ts";
import type { Call } from "../fault-plan.ts";
import { Violation } from "../violation.ts";
import { dataPath, type Machine } from "./machine.ts";
import { TrimmedRecords } from "./trimmed-records.ts";

const recordPath = `${dataPath}/${nodeRecordName}`;
const logDirectory = new RegExp(`^${dataPath}/logs/([0-9a-f-]+)$`);
const logFile = new RegExp(`^${dataPath}/logs/([0-9a-f-]+)/`);

/** What must hold at every moment, whoever looks: of catalogs, of groups and of what lies on disks. */
export class ClusterChecks {
  readonly #machines: readonly Machine[];
  /** The catalog's state at each offset, as the first had it who got there. */
  readonly #states = new Map<number, { readonly text: string; readonly who: string }>();
  /** Up to where each catalog was looked at. */
  readonly #looked = new WeakMap<ClusterCatalog, number>();
  /** The catalog that is furthest ahead. */
  #newest: ClusterCatalog | undefined;
  /** All that ever were. */
  readonly #groups = new Set<string>();
  readonly #leaders = new Map<string, string>();
  readonly #terms = new WeakMap<object, number>();
  readonly #ledTerms = new Map<string, number>();
  readonly #commits = new WeakMap<object, number>();
  /** Logs that were ever made: disk, group and incarnation. */
  readonly #made = new Set<string>();
  /** Those that took part: what they acknowledged, they may not forget. */
  readonly #used = new Set<string>();
  readonly trimmed = new TrimmedRecords();
  electionCount = 0;
  /** Stores that went since their records were trimmed, of all replicas. */
  trimmedCount = 0;

  constructor(machines: readonly Machine[]) {
    this.#machines = machines;
  }

  look(): void {
    for (const machine of this.#machines) {
      const { node } = machine;
      if (node === undefined) continue;
      this.#lookAtCatalog(machine, node.clusterCatalog);
      for (const { record, state } of node.groups?.states() ?? []) {
        if (state.kind === "failed" && isOwnFault(state.error))
          throw new Violation("I19", `${machine.name} has a replica of ${record.groupId} that failed: ${stackOf(state.error)}`);
        if (state.kind !== "open") continue;
        const { member } = state;
        const where = `${machine.name} of ${record.groupId}`;
        const own = `${node.storageId}/${record.groupId}/${record.incarnation}`;
        const known = Math.max(this.#terms.get(member) ?? 0, this.#ledTerms.get(own) ?? 0);
        if (member.term < known) throw new Violation("I2", `${where} went back from term ${known} to ${member.term}`);
        this.#terms.set(member, member.term);
        const { commitIndex, state: core } = member.raft;
        if (commitIndex > 0 && core.log.durableIndex > 0) this.#used.add(own);
        if (commitIndex < (this.#commits.get(member) ?? 0)) throw new Violation("I2", `${where} takes its commit index back`);
        this.#commits.set(member, commitIndex);
        if (!member.isLeader) continue;
        // Who leads has voted for itself, durably.
        this.#ledTerms.set(own, member.term);
        this.#sawLeader(record.groupId, member.term, own);
      }
    }
  }

  /** A call to a disk that says what a node does with its replicas. */
  diskCalled(machine: Machine, { kind, path }: Call): void {
    // What it notes of its replicas follows from a catalog that may be gone with it in the next moment, and the files go when it is back.
    if (path.startsWith(recordPath)) this.#lookAtCatalog(machine, machine.node?.clusterCatalog);
    if (kind === "remove") this.#removing(machine, path);
    if (kind !== "make-directory" && kind !== "remove-directory") return;
    const group = logDirectory.exec(path)?.[1];
    const { node } = machine;
    if (group === undefined || node === undefined) return;
    for (const { record } of node.groups?.states() ?? []) {
      if (record.groupId !== group) continue;
      const { incarnation } = record;
      if (kind === "make-directory") {
        const name = `${node.storageId}/${group}/${incarnation}`;
        if (this.#made.has(name) && this.#used.has(name))
          throw new Violation("ONCE", `${machine.name} makes its replica ${name} a second time`);
        this.#made.add(name);
      } else if (!this.#mayGo(machine, group, incarnation))
        throw new Violation("DELETED", `${machine.name} removes its replica of ${group}, which nobody gave up`);
    }
  }

  /** The term of a committed entry, as far as a replica that is open knows it. */
  committedTermOf(group: string, index: number): number | undefined {
    for (const { raft } of this.#membersOf(group)) {
      const term = index <= raft.commitIndex ? raft.termAt(index) : undefined;
      if (term !== undefined) return term;
    }
    return undefined;
  }

  #membersOf(group: string): readonly GroupReplica[] {
    return this.#machines.flatMap(({ node }) => node?.groups?.find(group) ?? []);
  }

  /** A file of a log goes: that of a segment only where a committed entry says so, or where what was installed begins behind it. */
  #removing(machine: Machine, path: string): void {
    const group = logFile.exec(path)?.[1];
    if (group === undefined) return;
    const { trimmed } = this;
    const committedTermOf = (index: number): number | undefined => this.committedTermOf(group, index);
    const base = trimmed.removing(machine.disk, path, group, committedTermOf);
    if (base === undefined) return;
    this.trimmedCount += 1;
    const own = machine.node?.groups?.find(group);
    // While it opens nobody knows what it has heard, and what it trimmed before is done to the end.
    if (own === undefined || base.logStartOffset <= trimmed.wishedOf(group)) return;
    trimmed.lookInto(machine.disk, path.slice(0, path.lastIndexOf("/")), group, committedTermOf);
    const others = this.#membersOf(group).filter((member) => member !== own);
    if (base.logStartOffset <= trimmed.wishedOf(group)) return;
    if (others.some(({ log }) => log.logStartOffset >= base.logStartOffset)) return;
    throw new Violation("I15", `${machine.name} trims ${group} to ${base.logStartOffset}, and nothing committed says so`);
  }

  /** A node that is in the catalog no more may do with its disk what it likes. */
  #mayGo(machine: Machine, group: string, incarnation: number): boolean {
    const state = this.#newest?.state;
    const own = machine.node?.clusterCatalog?.state;
    const isAllowed = (known: typeof state): boolean =>
      known !== undefined && mayDeleteReplica(known, group, { node: machine.nodeName, incarnation });
    // Of a deleted group the catalog forgets in the end that it ever was, and a node that is out of the cluster isn't waited for.
    const isForgotten = state?.groups.has(group) === false && this.#groups.has(group);
    return isAllowed(state) || isAllowed(own) || isForgotten || this.#isRenewed(machine, group, incarnation);
  }

  /** Of group 0 a replica may go when another one is to take its place, and who leads counts on it no more. */
  #isRenewed(machine: Machine, group: string, incarnation: number): boolean {
    const state = this.#newest?.state;
    if (group !== state?.clusterId || state.nodes.get(machine.nodeName)?.incarnation === incarnation) return false;
    const own = `${machine.node?.storageId}/${incarnation}`;
    const leaders = this.#machines
      .flatMap(({ served }) => served?.groups?.find(group) ?? [])
      .filter(({ isLeader }) => isLeader);
    return leaders.every(({ membership }) => !membersOf(membership).some(({ storageId }) => storageId === own));
  }

  #lookAtCatalog(machine: Machine, catalog: ClusterCatalog | undefined): void {
    if (catalog === undefined) return;
    if (catalog.divergenceCount > 0) throw new Violation("CATALOG", `${machine.name} folded what a snapshot contradicts`);
    const { nextOffset } = catalog;
    if (this.#looked.get(catalog) === nextOffset) return;
    this.#looked.set(catalog, nextOffset);
    if (this.#newest === undefined || nextOffset >= this.#newest.nextOffset) this.#newest = catalog;
    for (const group of catalog.state.groups.keys()) this.#groups.add(group);
    const text = encodeState(catalog.state);
    const known = this.#states.get(nextOffset);
    if (known === undefined) this.#states.set(nextOffset, { text, who: machine.name });
    else if (known.text !== text)
      throw new Violation(
        "CATALOG",
        `${machine.name} and ${known.who} have other catalogs at ${nextOffset}: ${text} ${known.text}`,
      );
  }

  #sawLeader(group: string, term: number, who: string): void {
    const name = `${group}@${term}`;
    const known = this.#leaders.get(name);
    if (known === undefined) this.electionCount += 1;
    else if (known !== who) throw new Violation("I1", `${group} is led in term ${term} by ${known} and by ${who}`);
    this.#leaders.set(name, who);
  }
}

/** Something that it believed isn't so, or code that is wrong: nothing that a disk or a network may bring about. */
export function isOwnFault(error: unknown): boolean {
  if (error instanceof AssertionError || error instanceof TypeError || error instanceof RangeError) return true;
  if (isProglogError(error, "INTERNAL") || isProglogError(error, "INVALID_ARGUMENT") || isProglogError(error, "INVALID_CONFIG"))
    return true;
  return error instanceof Error && error.cause !== undefined && isOwnFault(error.cause);
}

export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? messageOf(error)) : String(error);
}
