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
  groupQuestions,
} from "./group-questions.ts";
import { reportOf } from "./group-report.ts";

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
