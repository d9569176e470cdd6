import { ProglogError } from "../../base/error.ts";
import { copyQuestions, groupOfQuestion, isCopyQuestion } from "../group/copy-questions.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import { leadersQuestion } from "../group/leader-exchange.ts";
import type { PeerIdentity } from "../peer-network.ts";
import { answerRenewal, renewQuestion } from "./catalog-renewal.ts";
import { type ClusterCatalog, proposeQuestion } from "./cluster-catalog.ts";
import type { ClusterIdentity } from "./cluster-identity.ts";
import { answerGroupQuestion, isGroupQuestion } from "./group-answers.ts";
import { mayAsk, type PeerStanding } from "./peer-check.ts";

export interface PeerQuestion {
  readonly from: PeerIdentity;
  readonly standing: PeerStanding;
  readonly kind: string;
  readonly body: Buffer;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What of a node answers; undefined what it hasn't got yet. */
export interface AnsweringParts {
  readonly identity: ClusterIdentity | undefined;
  readonly groups: GroupSet<GroupReplica> | undefined;
  readonly catalog: ClusterCatalog | undefined;
}

/** Answers what another node asks this one. What it throws is the answer as well; UNAVAILABLE while this node is starting. */
export async function answerPeerQuestion(
  question: PeerQuestion,
  { identity, groups, catalog }: AnsweringParts,
): Promise<Buffer> {
  const { from, standing, kind, body, signal } = question;
  const clusterId = identity?.record.state.clusterId;
  // Who leads group 0 may be new to this node, or have a new disk: how else should this one hear of it, if it lags too far behind for messages?
  const isCatalogCopy = kind === copyQuestions.catchUp && from.clusterId === clusterId && groupOfQuestion(body) === clusterId;
  if (!mayAsk(standing, kind) && !isCatalogCopy)
    throw new ProglogError("PEER_REFUSED", `Cannot answer ${from.nodeId}: it isn't known to be of this cluster`, {
      details: { node: from.nodeId, storageId: from.storageId, reason: "outsider" },
    });
  if (kind.startsWith("formation/")) {
    if (identity === undefined) throw startingError();
    return identity.answer(kind, body, signal);
  }
  if (isCopyQuestion(kind) && groups !== undefined) return groups.answerCopy(from.nodeId, kind, body, signal);
  if (kind === leadersQuestion) return groups?.answerLeaders(from.nodeId, body) ?? Buffer.alloc(0);
  if (catalog === undefined) throw startingError();
  if (kind === proposeQuestion) return catalog.answer(body);
  if (kind === renewQuestion) return answerRenewal(from, body, { catalog, replica: () => groups?.find(clusterId ?? "") });
  if (isGroupQuestion(kind)) return answerGroupQuestion(kind, body, (group) => groups?.find(group));
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot answer ${JSON.stringify(kind.slice(0, 64))}: no such question is known here`,
  );
}

export function startingError(): ProglogError {
  return new ProglogError("UNAVAILABLE", "Cannot answer: this node is starting");
}
