import type { Member, NodeId } from "../../raft/member.ts";
import type { Membership, MembershipChange } from "../../raft/membership.ts";
import { nodeNameRule, readNodeName, uuidPattern } from "./catalog-command.ts";
import type { GroupReport, PeerReport } from "./group-report.ts";
import { decodeFields, JsonFields, MalformedJson } from "./json-fields.ts";

/**
 * What the controller asks of a group's leader, as JSON. Who is asked and doesn't lead answers NOT_LEADER; a change that was planned on another
 * membership than there is now is refused with CHANGE_IN_PROGRESS. So a question that comes late, or again, does no harm: a replica that was
 * removed and placed anew isn't removed by it a second time.
 */
export const groupQuestions = { status: "group/status", change: "group/change", transfer: "group/transfer" } as const;

export type GroupQuestion = (typeof groupQuestions)[keyof typeof groupQuestions];

export interface StatusQuestion {
  readonly group: string;
}

export interface ChangeQuestion {
  readonly group: string;
  /** What it is planned on. */
  readonly membership: Membership;
  readonly changes: readonly MembershipChange[];
}

export interface TransferQuestion {
  readonly group: string;
  readonly to: NodeId;
}

export function encodeQuestion(question: StatusQuestion | ChangeQuestion | TransferQuestion): Buffer {
  return Buffer.from(JSON.stringify(question));
}

/** Each throws INVALID_ARGUMENT. */
export function decodeStatusQuestion(body: Buffer): StatusQuestion {
  return decodeFields(body, "a group", (fields) => ({ group: readGroup(fields) }));
}

export function decodeChangeQuestion(body: Buffer): ChangeQuestion {
  return decodeFields(body, "a group", (fields) => ({
    group: readGroup(fields),
    membership: readMembership(fields.value("membership")),
    changes: fields.list("changes", readChange),
  }));
}

export function decodeTransferQuestion(body: Buffer): TransferQuestion {
  return decodeFields(body, "a group", (fields) => ({ group: readGroup(fields), to: fields.text("to", nodeNameRule) }));
}

export function encodeReport(report: GroupReport): Buffer {
  return Buffer.from(JSON.stringify(report));
}

export function decodeReport(body: Buffer): GroupReport {
  return decodeFields(body, "a group", (fields) => ({
    leader: fields.text("leader", nodeNameRule),
    isLeaderDamaged: fields.flag("isLeaderDamaged"),
    membership: readMembership(fields.value("membership")),
    isSettled: fields.flag("isSettled"),
    lastIndex: fields.integer("lastIndex"),
    peers: fields.list("peers", readPeer),
  }));
}

/** A uuid, or the cluster's id for group 0. */
function readGroup(fields: JsonFields): string {
  return fields.text("group", { pattern: groupPattern });
}

const groupPattern = new RegExp(`${uuidPattern.source}|^[0-9a-f]{32}$`);

function readMembership(value: unknown): Membership {
  const fields = new JsonFields(value, "a membership");
  const membership = {
    voters: fields.list("voters", readMember),
    outgoing: fields.list("outgoing", readMember),
    learners: fields.list("learners", readMember),
  };
  fields.end();
  return membership;
}

function readMember(value: unknown): Member {
  const fields = new JsonFields(value, "a member");
  const member = { nodeId: fields.text("nodeId", nodeNameRule), storageId: fields.text("storageId", { maxChars: 255 }) };
  fields.end();
  return member;
}

function readChange(value: unknown): MembershipChange {
  const fields = new JsonFields(value, "a change");
  const kind = fields.text("kind");
  const change = changeOf(kind, fields);
  fields.end();
  return change;
}

function changeOf(kind: string, fields: JsonFields): MembershipChange {
  if (kind === "add-learner") return { kind, member: readMember(fields.value("member")) };
  if (kind === "promote" || kind === "demote" || kind === "remove")
    return { kind, nodeId: readNodeName(fields.value("nodeId")) };
  throw new MalformedJson(`${JSON.stringify(kind.slice(0, 64))} is no kind of change`);
}

function readPeer(value: unknown): PeerReport {
  const fields = new JsonFields(value, "a peer");
  const peer = {
    nodeId: fields.text("nodeId", nodeNameRule),
    lag: fields.integer("lag"),
    isActive: fields.flag("isActive"),
    isLost: fields.flag("isLost"),
  };
  fields.end();
  return peer;
}
