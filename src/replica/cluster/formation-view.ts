import { ProglogError } from "../../base/error.ts";
import { formationAddressesMaxCount, formationBodyMaxBytes, initialNodesMaxCount } from "../../base/cluster-limits.ts";
import { faultOfProposal, type FormationMember, type FormationProposal } from "./formation-proposal.ts";
import { hexIdPattern } from "./node-record-state.ts";

/** What a node says of itself to one that asks, and asking. Every question and every answer of formation carries one. */
export interface NodeView {
  readonly name: string;
  readonly storageId: string;
  readonly address: string;
  /** Drawn at each start: two processes that run on copies of one directory differ in this alone. */
  readonly run: string;
  readonly bootCounter: number;
  /** Of the node record: of two views of one run the later one has the higher. */
  readonly generation: number;
  /** The cluster that it belongs to. */
  readonly clusterId: string | undefined;
  /** What its storage id promised. */
  readonly promise: FormationProposal | undefined;
  /** Of how many nodes it wants to form a cluster. */
  readonly initialNodes: number | undefined;
  /** It wants to begin a cluster of its own. */
  readonly isBootstrapping: boolean;
  /** Where other nodes without a cluster are, as far as it knows. */
  readonly addresses: readonly string[];
}

/** The body of formation/probe, formation/promise and formation/adopt, and of their answers. */
export interface FormationMessage {
  readonly view: NodeView;
  /** In formation/promise: what is to be promised. */
  readonly proposal?: FormationProposal;
  /** In its answer: why it isn't promised. */
  readonly refusal?: string;
}

/** What a node is told that was taken in. */
export interface Joined {
  readonly clusterId: string;
  /** Of its replica of the catalog's group. */
  readonly incarnation: number;
}

/** The body of formation/join. */
export interface JoinRequest {
  readonly name: string;
  readonly storageId: string;
  readonly address: string;
}

/** What a proposal binds a storage id to; undefined while it is free. It never changes again. */
export function boundTo({ promise, clusterId }: Pick<NodeView, "promise" | "clusterId">): string | undefined {
  return promise?.clusterId ?? clusterId;
}

export function encodeFormationMessage({ view, proposal, refusal }: FormationMessage): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, view, proposal, refusal }));
}

/** Throws INVALID_ARGUMENT for what is none. */
export function decodeFormationMessage(body: Buffer): FormationMessage {
  const { version, view, proposal, refusal } = parseObject(body);
  if (version !== 1) throw invalid(`its version is ${JSON.stringify(version)}, and 1 is known`);
  return {
    view: parseView(view),
    ...(proposal === undefined ? {} : { proposal: parseProposal(proposal) }),
    ...(refusal === undefined ? {} : { refusal: text(refusal, "the refusal") }),
  };
}

export function encodeJoinRequest({ name, storageId, address }: JoinRequest): Buffer {
  return Buffer.from(JSON.stringify({ name, storageId, address }));
}

export function decodeJoinRequest(body: Buffer): JoinRequest {
  return parseMember(parseObject(body), "who wants to join");
}

export function encodeJoined({ clusterId, incarnation }: Joined): Buffer {
  return Buffer.from(JSON.stringify({ clusterId, incarnation }));
}

export function decodeJoined(body: Buffer): Joined {
  const fields = parseObject(body);
  return {
    clusterId: hexId(fields["clusterId"], "the cluster id"),
    incarnation: whole(fields["incarnation"], "the incarnation"),
  };
}

function parseView(value: unknown): NodeView {
  const fields = object(value, "the view");
  const { clusterId, promise, initialNodes, isBootstrapping, addresses } = fields;
  if (typeof isBootstrapping !== "boolean") throw invalid("whether it bootstraps is missing");
  if (!Array.isArray(addresses) || addresses.length > formationAddressesMaxCount) throw invalid("its addresses are no list");
  return {
    ...parseMember(fields, "the view"),
    run: hexId(fields["run"], "the run"),
    bootCounter: whole(fields["bootCounter"], "the boot counter"),
    generation: whole(fields["generation"], "the generation"),
    clusterId: clusterId === undefined ? undefined : hexId(clusterId, "the cluster id"),
    promise: promise === undefined ? undefined : parseProposal(promise),
    initialNodes: initialNodes === undefined ? undefined : whole(initialNodes, "the number of initial nodes"),
    isBootstrapping,
    addresses: addresses.map((address) => text(address, "an address")),
  };
}

function parseProposal(value: unknown): FormationProposal {
  const { clusterId, proposer, members } = object(value, "the proposal");
  if (!Array.isArray(members) || members.length === 0 || members.length > initialNodesMaxCount)
    throw invalid("the proposal's members are no list of nodes");
  const proposal = {
    clusterId: hexId(clusterId, "the proposal's cluster id"),
    proposer: hexId(proposer, "the proposal's proposer"),
    members: members.map((member) => parseMember(object(member, "a member"), "a member")),
  };
  const fault = faultOfProposal(proposal);
  if (fault !== undefined) throw invalid(`in the proposal, ${fault}`);
  return proposal;
}

function parseMember(fields: Record<string, unknown>, what: string): FormationMember {
  return {
    name: text(fields["name"], `the name of ${what}`),
    storageId: hexId(fields["storageId"], `the storage id of ${what}`),
    address: text(fields["address"], `the address of ${what}`),
  };
}

function parseObject(body: Buffer): Record<string, unknown> {
  if (body.length > formationBodyMaxBytes)
    throw invalid(`it has ${body.length} bytes, and at most ${formationBodyMaxBytes} are taken`);
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw invalid("it is no JSON", error);
  }
  return object(value, "it");
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${what} is no object`);
  return value as Record<string, unknown>;
}

/** Names and addresses are of any kind: who they belong to is another's affair. They are bounded with the body. */
function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value === "") throw invalid(`${what} is missing`);
  return value;
}

function hexId(value: unknown, what: string): string {
  if (typeof value !== "string" || !hexIdPattern.test(value)) throw invalid(`${what} isn't 32 hex digits`);
  return value;
}

function whole(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw invalid(`${what} is no number`);
  return Number(value);
}

function invalid(why: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read a message about formation: ${why}`, { cause });
}
