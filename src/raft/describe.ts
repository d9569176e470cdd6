import { unreachable } from "../base/assert.ts";
import { windowCount } from "./byte-window.ts";
import type { Entry } from "./entry.ts";
import { lastTerm, newestMembership } from "./log-coordinates.ts";
import type { Member } from "./member.ts";
import { isJoint, type Membership } from "./membership.ts";
import type { Message } from "./message.ts";
import type { Progress } from "./progress.ts";
import type { RaftState } from "./raft-state.ts";
import type { Ready, SendOrder, WriteOrder } from "./ready.ts";
import type { Role } from "./role.ts";

/** One line for what a person reads in a script, a trace or a log. An entry is written `index@term`. */
export function describeMessage(message: Message): string {
  return `${message.from}>${message.to} ${message.kind} term=${message.term}${describeBody(message)}`;
}

function describeBody(message: Message): string {
  switch (message.kind) {
    case "pre-vote-request":
    case "vote-request": {
      const isTransfer = message.kind === "vote-request" && message.isTransfer;
      return ` last=${message.lastIndex}@${message.lastTerm}${isTransfer ? " transfer" : ""}`;
    }
    case "pre-vote-response":
    case "vote-response":
      return message.isGranted ? " granted" : " refused";
    case "append": {
      const entries = message.entries.length === 0 ? "" : ` entries=${message.entries.map(describeEntry).join(",")}`;
      return ` prev=${message.prevIndex}@${message.prevTerm}${entries} commit=${message.commitIndex}`;
    }
    case "append-accepted":
      return ` match=${message.matchIndex} agreed=${message.agreedIndex}`;
    case "append-rejected":
      return ` prev=${message.prevIndex} hint=${message.hintIndex}@${message.hintTerm}`;
    case "commit-notice":
      return ` commit=${message.commitIndex}`;
    case "heartbeat":
      return ` commit=${message.commitIndex} match=${message.matchIndex}${message.round > 0 ? ` round=${message.round}` : ""}`;
    case "heartbeat-response":
      return `${message.round > 0 ? ` round=${message.round}` : ""}${message.hasForgotten ? " forgotten" : ""}`;
    case "read-request":
      return ` id=${message.id}`;
    case "read-response":
      return ` id=${message.id} index=${message.index}`;
    case "sleep-request":
      return ` round=${message.round} commit=${message.commitIndex}`;
    case "sleep-response":
      return ` round=${message.round} ${message.isAgreed ? "agreed" : "refused"}`;
    case "removed":
      return ` ${message.storageId} at=${message.membershipIndex}`;
    case "newer-term":
    case "timeout-now":
      return "";
    default:
      // Unlike elsewhere it isn't asserted: what is described may be what was refused.
      message satisfies never;
      return "";
  }
}

export function describeEntry({ index, term, kind, membership }: Entry): string {
  const what = membership === undefined ? (kind === "data" ? "" : `:${kind}`) : `:${describeMembership(membership)}`;
  return `${index}@${term}${what}`;
}

/** `(n1 n2 n3)`, joint `(n1 n2 n4)&(n1 n2 n3)`, with learners `(n1 n2 n3)+n4`. */
export function describeMembership(membership: Membership): string {
  const { voters, outgoing, learners } = membership;
  const joint = isJoint(membership) ? `&(${names(outgoing)})` : "";
  return `(${names(voters)})${joint}${learners.length === 0 ? "" : `+${names(learners)}`}`;
}

function names(members: readonly Member[]): string {
  return members.map(({ nodeId }) => nodeId).join(" ");
}

export function describeState(state: RaftState): string {
  const { self, hardState, log, commitIndex, role } = state;
  const parts = [
    `${self.nodeId} ${role.kind}${state.isDamaged ? " damaged" : ""}${state.isAsleep ? " asleep" : ""}${state.removedAt > 0 ? ` removed-at=${state.removedAt}` : ""}`,
    `term=${hardState.term}`,
    ...(hardState.vote === undefined ? [] : [`vote=${hardState.vote.nodeId}`]),
    ...(role.kind === "follower" ? [`leader=${role.leader ?? "-"}`] : []),
    ...(log.base.index === 0 ? [] : [`base=${log.base.index}@${log.base.term}`]),
    `last=${log.lastIndex}@${lastTerm(log)}`,
    `end=${log.nextOffset}`,
    `durable=${log.durableIndex}`,
    `commit=${commitIndex}`,
    ...(state.owed === undefined ? [] : [`owes=${state.owed.index}`]),
    `members=${describeMembership(newestMembership(log).membership)}`,
    describeRole(role),
  ];
  return parts.filter((part) => part !== "").join(" ");
}

function describeRole(role: Role): string {
  switch (role.kind) {
    case "follower":
      return `agreed=${role.agreedIndex}`;
    case "pre-candidate":
    case "candidate":
      return `votes=${role.votes.map(({ nodeId, isGranted }) => `${isGranted ? "" : "!"}${nodeId}`).join(",") || "-"}`;
    case "leader": {
      const handover = role.handover === undefined ? "" : ` handing-over=${role.handover.to}`;
      return role.peers.map((peer) => `[${describeProgress(peer)}]`).join(" ") + handover;
    }
    default:
      return unreachable(role);
  }
}

function describeProgress({ nodeId, flow, matchIndex, nextIndex, lostIndex }: Progress): string {
  const more =
    flow.kind === "replicate" && windowCount(flow.inflight) > 0
      ? ` inflight=${windowCount(flow.inflight)}/${flow.inflight.bytes}B`
      : flow.kind === "probe" && flow.isWaiting
        ? " waiting"
        : "";
  return `${nodeId} ${flow.kind} match=${matchIndex} next=${nextIndex}${more}${lostIndex > 0 ? ` lost=${lostIndex}` : ""}`;
}

export function describeReady(ready: Ready): string {
  const { hardState, write, sends, messages, catchUps, withdrawals, commitIndex, reads, isAsleep, role } = ready;
  const parts = [
    ...(role === undefined ? [] : [`role ${role.kind} term=${role.term} leader=${role.leader ?? "-"}`]),
    ...(isAsleep === undefined ? [] : [isAsleep ? "sleeps" : "wakes"]),
    ...(hardState === undefined
      ? []
      : [`hard-state ${hardState.sequence} term=${hardState.term} vote=${hardState.vote?.nodeId ?? "-"}`]),
    ...(write === undefined ? [] : [describeWrite(write)]),
    ...(commitIndex === undefined ? [] : [`commit ${commitIndex}`]),
    ...sends.map(describeSend),
    ...catchUps.map(({ to, matchIndex }) => `catch-up ${to} behind ${matchIndex}`),
    ...withdrawals.map(({ to, id }) => `catch-up ${id} of ${to} withdrawn`),
    ...reads.map((read) => `read ${read.id} ${read.outcome === "confirmed" ? `at ${read.index}` : "failed"}`),
    ...messages.map(describeMessage),
  ];
  return parts.join("; ");
}

export function describeWrite({ generation, install, truncateTo, entries }: WriteOrder): string {
  const parts = [
    `write generation=${generation}`,
    ...(install === undefined
      ? []
      : [`install=${install.index}@${install.term}${install.lastIndex > install.index ? ` to ${install.lastIndex}` : ""}`]),
    ...(truncateTo === undefined ? [] : [`truncate=${truncateTo}`]),
    ...(entries.length === 0 ? [] : [`entries=${entries.map(describeEntry).join(",")}`]),
  ];
  return parts.join(" ");
}

export function describeSend({ to, prevIndex, prevTerm, maxBytes, generation }: SendOrder): string {
  return `send ${to} prev=${prevIndex}@${prevTerm} max=${maxBytes}B generation=${generation}`;
}
