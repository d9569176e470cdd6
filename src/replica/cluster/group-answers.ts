import { isDeepStrictEqual } from "node:util";
import { unreachable } from "../../base/assert.ts";
import { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";
import { notLeaderError } from "../group/group-errors.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import {
  decodeChangeQuestion,
  decodeStatusQuestion,
  decodeTransferQuestion,
  encodeReport,
  type GroupQuestion,
  groupQuestions,
} from "./group-questions.ts";
import { reportOf } from "./group-report.ts";

/**
 * Answers what the controller asks this node of a group. Throws NOT_LEADER where the group isn't led here, CHANGE_IN_PROGRESS where now
 * isn't the time, UNAVAILABLE where it isn't known whether it still is, INVALID_ARGUMENT.
 */
export async function answerGroupQuestion(
  kind: GroupQuestion,
  body: Buffer,
  find: (group: string) => GroupReplica | undefined,
): Promise<Buffer> {
  switch (kind) {
    case groupQuestions.status:
      return answerStatus(getLeader(find, decodeStatusQuestion(body).group, "say how the group stands"));
    case groupQuestions.change:
      return answerChange(body, find);
    case groupQuestions.transfer: {
      const { group, to } = decodeTransferQuestion(body);
      const attempt = `hand group ${group} over to ${to}`;
      const replica = getLeader(find, group, attempt);
      return settle(attempt, replica, replica.transferLeadership(to));
    }
    default:
      return unreachable(kind);
  }
}

export function isGroupQuestion(kind: string): kind is GroupQuestion {
  return (Object.values(groupQuestions) as readonly string[]).includes(kind);
}

async function answerStatus(replica: GroupReplica): Promise<Buffer> {
  // A group that sleeps knows of nobody whether it is there. Who asks has something in mind, and asks again.
  replica.wake();
  // What was committed is told as what is: by one that was replaced, and doesn't know yet, a move could end that another leader has only begun,
  // and the files of a member be removed.
  await replica.confirmLead();
  const report = reportOf(replica.raft.state);
  if (report === undefined) throw notLeading("say how the group stands", replica.leader);
  return encodeReport(report);
}

function answerChange(body: Buffer, find: (group: string) => GroupReplica | undefined): Buffer {
  const { group, membership, changes } = decodeChangeQuestion(body);
  const attempt = `change the members of group ${group}`;
  const replica = getLeader(find, group, attempt);
  if (!isDeepStrictEqual(replica.membership, membership))
    throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: they were changed since it was planned`);
  return settle(attempt, replica, replica.changeMembership(changes));
}

type Outcome = ReturnType<GroupReplica["changeMembership"]> | ReturnType<GroupReplica["transferLeadership"]>;

function settle(attempt: string, replica: GroupReplica, outcome: Outcome): Buffer {
  switch (outcome.outcome) {
    case "appended":
    case "begun":
      return Buffer.alloc(0);
    case "not-leader":
      throw notLeading(attempt, replica.leader);
    case "handing-over":
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it is being handed over to ${outcome.to}`);
    case "not-now":
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: ${outcome.reason}`);
    case "overloaded":
      throw new ProglogError("OVERLOADED", `Cannot ${attempt}: too much of it isn't committed yet`);
    case "impossible":
      throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${outcome.reason}`);
    default:
      return unreachable(outcome);
  }
}

function getLeader(find: (group: string) => GroupReplica | undefined, group: string, attempt: string): GroupReplica {
  const replica = find(group);
  if (replica?.isLeader === true) return replica;
  throw notLeading(attempt, replica?.leader);
}

function notLeading(attempt: string, nodeId: NodeId | undefined): ProglogError {
  return notLeaderError(attempt, { nodeId, rpcAddress: undefined });
}
