import type {
  AddNodeRequest,
  AddNodeResult,
  ClusterStatus,
  GetStatusRequest,
  GroupStatus,
  MovePartitionRequest,
  RemoveNodeRequest,
  RemoveNodeResult,
  TransferLeadershipRequest,
  TransferLeadershipResult,
} from "../wire/cluster-message.ts";
import type { AccessAction } from "./access/access-action.ts";
import type { Access } from "./access/access-control.ts";
import type { AuditLog } from "./access/audit-log.ts";
import { auditedChange } from "./access/audited-change.ts";
import type { Caller } from "./access/caller.ts";
import type { ClusterAdmin } from "./cluster-admin.ts";

/** The cluster, as clients look at it and change it, whichever way they came in. */
export class ClusterService {
  readonly #admin: ClusterAdmin;
  readonly #access: Access;
  readonly #audit: AuditLog | undefined;

  constructor(admin: ClusterAdmin, { access, audit }: { readonly access: Access; readonly audit?: AuditLog | undefined }) {
    this.#admin = admin;
    this.#access = access;
    this.#audit = audit;
  }

  /** With the groups of topics that the caller may see, and their numbers; the catalog's is seen by who may see all. */
  async getStatus(caller: Caller, request: GetStatusRequest): Promise<ClusterStatus> {
    if (this.#access.permits(caller, "describe", "*")) return this.#admin.getStatus(request);
    const status = await this.#admin.getStatus({ troubledOnly: false });
    const groups = status.groups.filter(({ topic }) => topic !== "" && this.#access.permits(caller, "describe", topic));
    return {
      ...status,
      nodes: status.nodes.map((node) => ({
        ...node,
        replicaCount: groups.filter(({ replicas }) => replicas.some(({ nodeId }) => nodeId === node.id)).length,
        leaderCount: groups.filter(({ leaderId }) => leaderId === node.id).length,
      })),
      groups: request.troubledOnly ? groups.filter(isTroubled) : groups,
      groupCount: groups.length,
      leaderlessCount: groups.filter(({ leaderId }) => leaderId === "").length,
      underReplicatedCount: groups.filter(({ isUnderReplicated }) => isUnderReplicated).length,
      movingCount: groups.filter(({ move }) => move !== undefined).length,
    };
  }

  async addNode(caller: Caller, request: AddNodeRequest): Promise<AddNodeResult> {
    return this.#change(caller, { resource: "*", change: `add node ${request.name}` }, () => this.#admin.addNode(request));
  }

  async removeNode(caller: Caller, request: RemoveNodeRequest): Promise<RemoveNodeResult> {
    const change = `remove node ${request.name}${request.force ? " by force" : ""}`;
    return this.#change(caller, { resource: "*", change }, () => this.#admin.removeNode(request));
  }

  async transferLeadership(caller: Caller, request: TransferLeadershipRequest): Promise<TransferLeadershipResult> {
    const change = `have ${request.to === "" ? "another node" : request.to} lead partition ${request.partition}`;
    return this.#change(caller, { resource: request.topic, change }, () => this.#admin.transferLeadership(request));
  }

  async movePartition(caller: Caller, request: MovePartitionRequest): Promise<void> {
    const change = `move partition ${request.partition} to ${request.replicas.join(", ")}`;
    return this.#change(caller, { resource: request.topic, change }, () => this.#admin.movePartition(request));
  }

  #change<Result>(
    caller: Caller,
    { resource, change }: { readonly resource: string; readonly change: string },
    run: () => Promise<Result>,
  ): Promise<Result> {
    const action: AccessAction = "cluster";
    this.#access.check(caller, action, resource);
    return auditedChange(this.#audit, { caller, action, resource, change: change.slice(0, 512) }, run);
  }
}

function isTroubled({ leaderId, isUnderReplicated, move }: GroupStatus): boolean {
  return leaderId === "" || isUnderReplicated || move !== undefined;
}
