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
<<<<<<< HEAD
=======
  type GroupQuestion,
>>>>>>> 797bd24 (replica: a group's leader answers the controller)
  groupQuestions,
} from "./group-questions.ts";
import { reportOf } from "./group-report.ts";

<<<<<<< HEAD
/** Answers what the controller asks of a group's leader (group-questions.ts): who doesn't lead says who does, and changes nothing. */
export class GroupAnswers {
  readonly #parts: GroupAnswersParts;

  constructor(parts: GroupAnswersParts) {
    this.#parts = parts;
  }

  /** Throws INVALID_ARGUMENT, NOT_LEADER or CHANGE_IN_PROGRESS. */
  answer(kind: string, body: Buffer): Buffer {
    switch (kind) {
      case groupQuestions.status:
        return this.#status(decodeStatusQuestion(body).group);
      case groupQuestions.change:
        return this.#change(body);
      case groupQuestions.transfer:
        return this.#transfer(body);
      default:
        throw new ProglogError(
          "INVALID_ARGUMENT",
          `Cannot answer ${JSON.stringify(kind.slice(0, 64))}: it is no question of groups`,
        );
    }
  }

  #status(group: string): Buffer {
    const report = reportOf(this.#getLeading(group, "tell of a group").raft.state);
    if (report === undefined) throw this.#notLeader(group, "tell of a group");
    return encodeReport(report);
  }

  #change(body: Buffer): Buffer {
    const { group, membership, changes } = decodeChangeQuestion(body);
    const attempt = `change the members of group ${group}`;
    const replica = this.#getLeading(group, attempt);
    if (!isDeepStrictEqual(replica.membership, membership))
      throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it has other members by now`);
    const outcome = replica.changeMembership(changes);
    switch (outcome.outcome) {
      case "appended":
        return nothing;
      case "not-leader":
        throw this.#notLeader(group, attempt);
      case "handing-over":
        throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: its leadership is being handed over to ${outcome.to}`);
      case "overloaded":
        throw new ProglogError("OVERLOADED", `Cannot ${attempt}: too much is proposed and not committed yet`);
      case "not-now":
        throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: ${outcome.reason}`);
      case "impossible":
        throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${outcome.reason}`);
      default:
        return unreachable(outcome);
    }
  }

  #transfer(body: Buffer): Buffer {
    const { group, to } = decodeTransferQuestion(body);
    const attempt = `hand group ${group} over to ${to}`;
    const outcome = this.#getLeading(group, attempt).transferLeadership(to);
    switch (outcome.outcome) {
      case "begun":
        return nothing;
      case "not-leader":
        throw this.#notLeader(group, attempt);
      case "handing-over":
        if (outcome.to === to) return nothing;
        throw new ProglogError("CHANGE_IN_PROGRESS", `Cannot ${attempt}: it is being handed over to ${outcome.to}`);
      case "impossible":
        throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${outcome.reason}`);
      default:
        return unreachable(outcome);
    }
  }

  #getLeading(group: string, attempt: string): GroupReplica {
    const replica = this.#parts.find(group);
    if (replica?.isLeader === true) return replica;
    throw this.#notLeader(group, attempt);
  }

  #notLeader(group: string, attempt: string): ProglogError {
    const nodeId = this.#parts.findLeader(group);
    return notLeaderError(attempt, { nodeId, rpcAddress: nodeId === undefined ? undefined : this.#parts.addressOf(nodeId) });
  }
}

export interface GroupAnswersParts {
  readonly find: (group: string) => GroupReplica | undefined;
  readonly findLeader: (group: string) => NodeId | undefined;
  readonly addressOf: (nodeId: NodeId) => string | undefined;
}

const nothing = Buffer.alloc(0);
=======
/**
 * Answers what the controller asks this node of a group. Throws NOT_LEADER where the group isn't led here, CHANGE_IN_PROGRESS where now
 * isn't the time, INVALID_ARGUMENT.
 */
export function answerGroupQuestion(
  kind: GroupQuestion,
  body: Buffer,
  find: (group: string) => GroupReplica | undefined,
): Buffer {
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

function answerStatus(replica: GroupReplica): Buffer {
  // A group that sleeps knows of nobody whether it is there. Who asks has something in mind, and asks again.
  replica.wake();
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
>>>>>>> 797bd24 (replica: a group's leader answers the controller)
