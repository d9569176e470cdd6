import type { Clock, Timer } from "../../base/clock.ts";
import { replicaKeeperRetryMs, replicaLostAfterMs } from "../../base/cluster-limits.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { membersOf } from "../../raft/membership.ts";
import { notLeaderError } from "../group/group-errors.ts";
import { isPassing } from "../group/entry-writer.ts";
import type { GroupMember } from "../group/group-member.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { PeerIdentity, PeerNetwork } from "../peer-network.ts";
import { replicaStorageId } from "./catalog-state.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import { reportOf } from "./group-report.ts";
import { decodeFields } from "./json-fields.ts";
import type { NodeRecord } from "./node-record.ts";

/** The question by which a node has its replica of group 0 placed anew, and hears when the earlier one has left. */
export const renewQuestion = "catalog/renew";

/**
 * Gets this node's replica of group 0 anew, where that is lost or doesn't open any more. A partition's is replaced by what the catalog says;
 * but who lost group 0 can't read the catalog, so the node asks the leader: to be placed under a new incarnation, and then, until that is so,
 * whether the committed members are without the old one. Only then do its files go, and the new replica learns everything from the others.
 *
 * An earlier start may have asked, and the replica be whole again in this one; the leader wouldn't speak with it any more, and it would wait
 * for ever. So what opened is asked for once, too.
 *
 * One that only found no room is opened again, as long as it takes: another one would find none either.
 */
export class CatalogRenewal {
  readonly #options: CatalogRenewalOptions;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  /** Since when the replica has been out of action. */
  #outSinceMs: number | undefined;
  /** Since it was opened the leader has said that it is the one that counts. */
  #isConfirmed = false;
  #told: string | undefined;
  #isClosed = false;

  constructor(options: CatalogRenewalOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #schedule(): void {
    this.#timer = this.#options.clock.setTimer(replicaKeeperRetryMs, () => {
      this.#running = this.#takeTurn()
        .catch((error: unknown) => this.#failed(error))
        .finally(() => {
          if (!this.#isClosed) this.#schedule();
        });
    });
  }

  async #takeTurn(): Promise<void> {
    const { groups, record, clusterId, clock } = this.#options;
    const listed = record.state.replicas.find(({ groupId, state }) => groupId === clusterId && state !== "deleted");
    const incarnation = record.state.catalogIncarnation;
    // What was begun is finished first: that the old one has left was known before it was noted.
    if (listed !== undefined && listed.incarnation !== incarnation) {
      if (groups.stateOf(clusterId) !== undefined) await groups.delete(clusterId, listed.incarnation);
      return this.#make();
    }
    if (listed === undefined) return this.#make();
    const state = groups.stateOf(clusterId);
    if (state?.kind !== "failed" && state?.kind !== "lost") {
      this.#outSinceMs = undefined;
      if (state?.kind === "open" && !this.#isConfirmed) await this.#renew(incarnation, false);
      return;
    }
    this.#isConfirmed = false;
    this.#outSinceMs ??= clock.monotonic();
    if (state.kind === "failed" && isPassing(state.error)) return groups.reopen(clusterId);
    if (clock.monotonic() - this.#outSinceMs >= replicaLostAfterMs) await this.#renew(incarnation, true);
  }

  async #renew(incarnation: number, isLost: boolean): Promise<void> {
    const { groups, record, clusterId, ask, logger } = this.#options;
    const leader = groups.findLeader(clusterId)?.leaderId;
    if (leader === undefined) throw new ProglogError("UNAVAILABLE", "nobody is known to lead group 0");
    const body = Buffer.from(JSON.stringify({ incarnation, isLost }));
    const answer = decodeRenewed(await ask({ nodeId: leader }, renewQuestion, body));
    this.#isConfirmed = !isLost && answer.incarnation === incarnation;
    if (this.#isClosed || answer.incarnation <= incarnation || !answer.hasLeft) return;
    logger.warn(
      { incarnation: answer.incarnation, before: incarnation },
      "this node's replica of the catalog is lost: another one takes its place",
    );
    await record.renewCatalog(answer.incarnation);
    await groups.delete(clusterId, incarnation);
    await this.#make();
  }

  async #make(): Promise<void> {
    if (this.#isClosed || this.#options.groups.stateOf(this.#options.clusterId) !== undefined) return;
    this.#outSinceMs = undefined;
    await this.#options.create();
  }

  #failed(error: unknown): void {
    const reason = messageOf(error);
    const isUsual = isProglogError(error, "NOT_LEADER") || isProglogError(error, "UNAVAILABLE") || this.#told === reason;
    this.#told = reason;
    this.#options.logger[isUsual ? "debug" : "warn"]({ reason }, "this node's replica of the catalog can't be replaced yet");
  }
}

export interface CatalogRenewalOptions {
  readonly groups: Pick<GroupSet<GroupMember>, "delete" | "findLeader" | "reopen" | "stateOf">;
  readonly record: Pick<NodeRecord, "state" | "renewCatalog">;
  readonly clusterId: string;
  /** Makes the replica of group 0 under the incarnation that the record has. */
  readonly create: () => Promise<void>;
  readonly ask: PeerNetwork["ask"];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** On the leader of group 0. Throws NOT_LEADER, NODE_NOT_FOUND, INVALID_ARGUMENT, and the errors of a change of the catalog. */
export async function answerRenewal(
  from: Pick<PeerIdentity, "nodeId" | "storageId">,
  body: Buffer,
  { catalog, replica }: RenewalParts,
): Promise<Buffer> {
  const { incarnation, isLost } = decodeQuestion(body);
  const attempt = `place the replica of group 0 on ${from.nodeId} anew`;
  await catalog.refresh();
  if (catalog.state.clusterId === undefined)
    throw new ProglogError("UNAVAILABLE", `Cannot ${attempt}: the catalog isn't begun yet`);
  const node = catalog.state.nodes.get(from.nodeId);
  if (node?.storageId !== from.storageId)
    throw new ProglogError("NODE_NOT_FOUND", `Cannot ${attempt}: that directory isn't the cluster's any more`);
  if (node.incarnation <= incarnation) {
    if (!isLost) return Buffer.from(JSON.stringify({ incarnation, hasLeft: false }));
    const { name, storageId, address, version } = node;
    await catalog.propose({ kind: "update-node", node: { name, storageId, address, version }, isRenewed: true });
  }
  const group = replica();
  // What is committed by who leads no more may be old news: the members may have changed since.
  await group?.confirm();
  const report = group === undefined ? undefined : reportOf(group.raft.state);
  if (report === undefined) throw notLeaderError(attempt, { nodeId: group?.leader, rpcAddress: undefined });
  const old = replicaStorageId(from.storageId, incarnation);
  const hasLeft = report.isSettled && !membersOf(report.membership).some(({ storageId }) => storageId === old);
  const placed = catalog.state.nodes.get(from.nodeId)?.incarnation ?? incarnation;
  return Buffer.from(JSON.stringify({ incarnation: placed, hasLeft }));
}

export interface RenewalParts {
  readonly catalog: Pick<ClusterCatalog, "state" | "refresh" | "propose">;
  /** This node's replica of group 0. */
  readonly replica: () => Pick<GroupReplica, "confirm" | "leader" | "raft"> | undefined;
}

function decodeQuestion(body: Buffer): { readonly incarnation: number; readonly isLost: boolean } {
  return decodeFields(body, "a replica of group 0", (fields) => ({
    incarnation: fields.integer("incarnation"),
    isLost: fields.flag("isLost"),
  }));
}

function decodeRenewed(body: Buffer): { readonly incarnation: number; readonly hasLeft: boolean } {
  return decodeFields(body, "a replica of group 0", (fields) => ({
    incarnation: fields.integer("incarnation"),
    hasLeft: fields.flag("hasLeft"),
  }));
}
