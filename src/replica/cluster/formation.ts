import { ProglogError } from "../../base/error.ts";
import { faultOfProposal, findTwice, type FormationMember, type FormationProposal, sortMembers } from "./formation-proposal.ts";
import { boundTo, type NodeView } from "./formation-view.ts";

/**
 * How a cluster begins, and how a node joins one: what a node does next, as a function of what it is and what it has heard
 * (docs/replication.md). It asks nobody and writes nothing.
 *
 * Why two clusters never come out of one set of nodes: a cluster is formed when *every* member of a proposal has promised it, a storage
 * id promises once and for ever, and a promise can't be had twice. So whoever sees all promises may say that the cluster is there, who
 * proposed it or not, and nobody can see all promises of two proposals that share a member. Everything else here (who proposes, who is
 * counted, when a promise is refused) serves only to get all promises of one proposal together soon; being wrong in it costs time.
 *
 * A promise that can't be kept any more, since a member's storage id is bound to something else, would hold its nodes for ever. They
 * become somebody else then: a new storage id, as after wiping the (empty) directory. Where a member is just gone, its promise may have
 * been given all the same; then nothing is dropped, and the logger says whom it waits for and what an operator may do.
 */
export interface FormationSituation {
  readonly self: NodeView;
  /** Other nodes that were heard of lately. */
  readonly others: readonly NodeView[];
  /** What a storage id is known to be bound to: for ever, so however long ago that was heard. */
  readonly bondOf: (storageId: string) => string | undefined;
  /** True when some node is known to belong to that cluster. */
  readonly isFormed: (clusterId: string) => boolean;
  /** Why a node last refused to promise what this one has promised. */
  readonly refusalOf: (storageId: string) => string | undefined;
  /** The directory has topics of a single node. */
  readonly hasTopics: boolean;
  readonly hasJoinAddresses: boolean;
  /** Each join address was found, and each node found there answered lately. */
  readonly haveAllAnswered: boolean;
  /** Who is there and who belongs to a cluster has been the same for a while. */
  readonly isSettled: boolean;
  /** It asked a cluster to take it in, and doesn't know whether it did. */
  readonly isJoining: boolean;
}

export type FormationStep =
  /** It belongs to a cluster. */
  | { readonly kind: "member" }
  /** All have promised: note it, and tell the others. */
  | { readonly kind: "adopt"; readonly proposal: FormationProposal }
  /** Become somebody else: what was promised can't come to be. */
  | { readonly kind: "renew"; readonly promisedId: string; readonly why: string }
  /** Promise these members a new cluster, before anybody is told. */
  | { readonly kind: "propose"; readonly members: readonly FormationMember[] }
  /** Ask one of these nodes to be taken in. */
  | { readonly kind: "join"; readonly clusterId: string; readonly through: readonly NodeView[] }
  /** Ask again what is there, and these nodes to promise what this one has promised. */
  | { readonly kind: "wait"; readonly asks: readonly FormationMember[]; readonly why: string; readonly isTrouble: boolean }
  /** It can't be. */
  | { readonly kind: "refuse"; readonly error: ProglogError };

export function nextFormationStep(situation: FormationSituation): FormationStep {
  const { self } = situation;
  if (self.clusterId !== undefined) return { kind: "member" };
  const copy = findCopy(situation);
  if (copy !== undefined) return trouble(copy);
  if (self.promise !== undefined) return stepOfPromise(situation, self.promise);
  const clusterStep = stepTowardsCluster(situation);
  if (clusterStep !== undefined) return clusterStep;
  if (self.isBootstrapping) return stepOfBootstrap(situation);
  if (self.initialNodes !== undefined) return stepOfCandidate(situation, self.initialNodes);
  if (!situation.hasJoinAddresses) return { kind: "refuse", error: nothingToDo(self) };
  return wait(situation.others.length === 0 ? "no node answers" : "no node that answers belongs to a cluster");
}

/** Why this node doesn't promise a proposal now; undefined when it does. It may later, as long as it promised nothing else. */
export function refusalOfPromise(situation: FormationSituation, proposal: FormationProposal): string | undefined {
  const { self, others, hasTopics, isJoining } = situation;
  if (self.clusterId !== undefined) return `it belongs to cluster ${self.clusterId}`;
  if (self.promise !== undefined)
    return self.promise.clusterId === proposal.clusterId ? undefined : `it promised cluster ${self.promise.clusterId}`;
  const named = proposal.members.find(({ storageId }) => storageId === self.storageId);
  if (named === undefined) return `its storage id ${self.storageId} isn't among the members`;
  // An address may change at each start; the name is what the cluster will know it by.
  if (named.name !== self.name) return `it is called ${self.name}, not ${named.name}`;
  if (hasTopics) return "it has topics of a single node";
  if (self.initialNodes !== proposal.members.length)
    return self.initialNodes === undefined
      ? "it wasn't started with --initial-nodes"
      : `it was started with --initial-nodes ${self.initialNodes}, not ${proposal.members.length}`;
  if (isJoining) return "it asked a cluster to take it in";
  const member = others.find(({ clusterId }) => clusterId !== undefined);
  if (member !== undefined) return `${member.name} belongs to cluster ${member.clusterId}, which it would join`;
  const isMember = ({ storageId }: NodeView): boolean => proposal.members.some((other) => other.storageId === storageId);
  const stranger = others.find((other) => isCandidate(other) && !isMember(other));
  if (stranger !== undefined)
    return proposal.members.some(({ name }) => name === stranger.name)
      ? `${describe(stranger)} runs on another directory now`
      : `${describe(stranger)} is there too, and not among the members`;
  return findCopy(situation) ?? faultOfProposal(proposal);
}

function stepOfPromise(situation: FormationSituation, proposal: FormationProposal): FormationStep {
  const { self, bondOf, isFormed } = situation;
  const { clusterId, proposer, members } = proposal;
  if (isFormed(clusterId)) return { kind: "adopt", proposal };
  // Who proposed promised first.
  const isPromisedBy = (storageId: string): boolean =>
    storageId === self.storageId || storageId === proposer || bondOf(storageId) === clusterId;
  const missing = members.filter(({ storageId }) => !isPromisedBy(storageId)).map((member) => locate(member, situation));
  if (missing.length === 0) return { kind: "adopt", proposal };
  const lost = members.find(({ storageId }) => (bondOf(storageId) ?? clusterId) !== clusterId);
  if (lost !== undefined)
    return { kind: "renew", promisedId: clusterId, why: `${lost.name} is bound to cluster ${bondOf(lost.storageId)}` };
  return waitForPromises(situation, proposal, missing);
}

function waitForPromises(
  situation: FormationSituation,
  { clusterId, members }: FormationProposal,
  missing: readonly FormationMember[],
): FormationStep {
  const names = missing.map(({ name, address }) => `${name} at ${address}`).join(", ");
  const why = `it promised a cluster of ${members.length} (${clusterId}), and waits for the promise of ${names}`;
  const obstacles = missing.flatMap((member) => obstacleAt(member, situation) ?? []);
  if (obstacles.length === 0) return wait(why, missing);
  const wayOut = "Where that can't be put right, stop this node, remove its data directory, which is empty, and start it again";
  return { ...wait(`${why}. ${obstacles.join("; ")}. ${wayOut}`, missing), isTrouble: true };
}

/** Its promise may have been given all the same, or be given yet: so nothing is dropped for that. */
function obstacleAt(
  { name, address, storageId }: FormationMember,
  { others, refusalOf }: FormationSituation,
): string | undefined {
  if (others.some((other) => other.storageId === storageId)) {
    const refusal = refusalOf(storageId);
    return refusal === undefined ? undefined : `${name} doesn't promise: ${refusal}`;
  }
  const isReplaced = others.some((other) => other.name === name || other.address === address);
  return isReplaced ? `${name} runs on another directory now` : `${name} doesn't answer`;
}

/** A node that is free goes to a cluster that is there, whatever it was started for. */
function stepTowardsCluster({
  self,
  others,
  hasTopics,
  hasJoinAddresses,
  isSettled,
}: FormationSituation): FormationStep | undefined {
  const members = others.filter(({ clusterId }) => clusterId !== undefined);
  const [first, ...rest] = members;
  if (first?.clusterId === undefined || !hasJoinAddresses) return undefined;
  const other = rest.find(({ clusterId }) => clusterId !== first.clusterId);
  if (other !== undefined)
    return trouble(
      `${first.name} belongs to cluster ${first.clusterId} and ${other.name} to ${other.clusterId}: name one of them in --start-join-addrs`,
    );
  if (hasTopics)
    return {
      kind: "refuse",
      error: new ProglogError(
        "INVALID_CONFIG",
        `Cannot join cluster ${first.clusterId} as ${self.name}: the data directory has topics of a single node`,
        { hint: "Two nodes' topics can't be put together. Start with an empty directory, or copy the records to the cluster." },
      ),
    };
  if (!isSettled) return wait(`${describe(first)} belongs to cluster ${first.clusterId}`);
  return { kind: "join", clusterId: first.clusterId, through: members };
}

function stepOfBootstrap({ self, others, hasJoinAddresses, haveAllAnswered, isSettled }: FormationSituation): FormationStep {
  const alone: FormationStep = { kind: "propose", members: [memberOf(self)] };
  if (!hasJoinAddresses) return alone;
  const rival = others.find((other) => other.isBootstrapping && other.storageId < self.storageId);
  if (rival !== undefined) return trouble(`${describe(rival)} was started with --bootstrap too, and begins the cluster`);
  const promised = others.find(({ promise }) => promise !== undefined);
  if (promised !== undefined) return trouble(`${describe(promised)} takes part in the beginning of another cluster`);
  return haveAllAnswered && isSettled ? alone : wait("not all join addresses answer, and one may lead to a cluster");
}

function stepOfCandidate({ self, others, isSettled }: FormationSituation, initialNodes: number): FormationStep {
  const bootstrapping = others.find(({ isBootstrapping }) => isBootstrapping);
  if (bootstrapping !== undefined) return wait(`${describe(bootstrapping)} begins a cluster by --bootstrap`);
  const candidates = [self, ...others.filter(isCandidate)];
  const odd = candidates.find((candidate) => candidate.initialNodes !== initialNodes);
  if (odd !== undefined)
    return trouble(`${describe(odd)} was started with --initial-nodes ${odd.initialNodes}, and this node with ${initialNodes}`);
  const name = findTwice(candidates.map((candidate) => candidate.name));
  if (name !== undefined)
    return trouble(`two nodes are called ${name}: ${listOf(candidates.filter((node) => node.name === name))}`);
  const address = findTwice(candidates.map((candidate) => candidate.address));
  if (address !== undefined)
    return trouble(
      `two nodes say that they are reached at ${address}: ${listOf(candidates.filter((node) => node.address === address))}. Give each its own --advertise-addr`,
    );
  if (candidates.length > initialNodes)
    return trouble(
      `${candidates.length} nodes would form a cluster of ${initialNodes}, and nobody says who is too many: ${listOf(candidates)}`,
    );
  if (candidates.length < initialNodes)
    return wait(`${candidates.length} of ${initialNodes} nodes are there: ${listOf(candidates)}`);
  const bound = candidates.find((candidate) => boundTo(candidate) !== undefined);
  if (bound !== undefined) return wait(`${describe(bound)} has promised a cluster already, and will ask`);
  const members = sortMembers(candidates.map(memberOf));
  if (members[0]?.storageId !== self.storageId) return wait(`${members[0]?.name} is to propose the cluster`);
  return isSettled ? { kind: "propose", members } : wait("all are there");
}

/** A member where it is now. */
function locate(member: FormationMember, { others }: FormationSituation): FormationMember {
  return { ...member, address: others.find(({ storageId }) => storageId === member.storageId)?.address ?? member.address };
}

/** Two processes on copies of one directory could promise two things under one storage id. */
function findCopy({ self, others }: FormationSituation): string | undefined {
  const seen = new Map([[self.storageId, self]]);
  for (const other of others) {
    const twin = seen.get(other.storageId);
    if (twin !== undefined)
      return `${describe(twin)} and ${describe(other)} run from copies of one directory (storage id ${twin.storageId}): stop one, and empty its directory`;
    seen.set(other.storageId, other);
  }
  return undefined;
}

/** Those who only join wait until there is a cluster; those who belong to one have theirs. */
function isCandidate({ clusterId, initialNodes }: NodeView): boolean {
  return clusterId === undefined && initialNodes !== undefined;
}

/** Where a promise was all that it was started for, and that can't be kept. */
function nothingToDo({ name }: NodeView): ProglogError {
  return new ProglogError(
    "INVALID_CONFIG",
    `Cannot start ${name} in a cluster: what it had promised can't come to be any more`,
    {
      hint: "Start it with --start-join-addrs, or without any cluster flag as a single node.",
    },
  );
}

function memberOf({ name, storageId, address }: NodeView): FormationMember {
  return { name, storageId, address };
}

function describe({ name, address }: NodeView): string {
  return `${name} at ${address}`;
}

function listOf(nodes: readonly NodeView[]): string {
  return nodes.map(describe).join(", ");
}

function wait(why: string, asks: readonly FormationMember[] = []): FormationStep & { kind: "wait" } {
  return { kind: "wait", why, asks, isTrouble: false };
}

function trouble(why: string): FormationStep {
  return { kind: "wait", why, asks: [], isTrouble: true };
}
