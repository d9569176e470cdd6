import { ProglogError } from "../../base/error.ts";
import {
  accessRulesMaxCount,
  accessTokensMaxCount,
  policyMaxBytes,
  principalNameMaxChars,
} from "../../base/security-limits.ts";
import { type AccessAction, accessActions, isAccessAction } from "./access-action.ts";
import { tokenIdPattern } from "./bearer-token.ts";

/**
 * Who may do what, as it lies in the manifest or the catalog: one text (docs/security.md). It is parsed strictly, and what can't be read is never
 * taken for nothing: nobody may do anything then.
 */
export interface AccessDocument {
  /** Counts up with each change, from 1; 0 where there is none. */
  readonly revision: number;
  /** Since the first rule, and from then on for good: what no rule allows is denied. */
  readonly isOn: boolean;
  /** Of casbin, where it isn't the book's. */
  readonly model?: string;
  readonly rules: readonly PolicyRule[];
  readonly roles: readonly RoleGrant[];
  readonly tokens: readonly TokenEntry[];
}

export interface PolicyRule {
  /** A principal or a role. */
  readonly subject: string;
  /** A topic, `prefix*`, or `*`. */
  readonly resource: string;
  readonly action: AccessAction;
}

/** `subject`, a principal or a role, has all that `role` has. */
export interface RoleGrant {
  readonly subject: string;
  readonly role: string;
}

export interface TokenEntry {
  readonly id: string;
  /** The principal that shows it. */
  readonly name: string;
  /** SHA-256 of its secret, as hex digits. */
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** From then on it is none. Absent: never. */
  readonly expiresAt?: number;
}

export const emptyAccessDocument: AccessDocument = { revision: 0, isOn: false, rules: [], roles: [], tokens: [] };

/** "" is the empty one. Throws UNSUPPORTED_FORMAT for what can't be read. */
export function parseAccessDocument(text: string): AccessDocument {
  if (text === "") return emptyAccessDocument;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw unreadable("it is no JSON", error);
  }
  const fields = fieldsOf(json, ["version", "revision", "isOn", "model", "rules", "roles", "tokens"], "it");
  if (fields["version"] !== documentVersion) throw unreadable("it is of another version");
  const { revision, isOn, model } = fields;
  if (!isCount(revision) || typeof isOn !== "boolean") throw unreadable("its revision is missing");
  if (model !== undefined && typeof model !== "string") throw unreadable("its model is no text");
  return {
    revision,
    isOn,
    ...(model === undefined ? {} : { model }),
    rules: listOf(fields["rules"], "rules").map(readRule),
    roles: listOf(fields["roles"], "roles").map(readRole),
    tokens: listOf(fields["tokens"], "tokens").map(readToken),
  };
}

/** Throws INVALID_ARGUMENT where it has grown beyond a limit. */
export function formatAccessDocument({ revision, isOn, model, rules, roles, tokens }: AccessDocument): string {
  const limits = [
    { what: "rules and roles", count: rules.length + roles.length, max: accessRulesMaxCount },
    { what: "tokens", count: tokens.length, max: accessTokensMaxCount },
  ];
  for (const { what, count, max } of limits)
    if (count > max) throw tooMuch(`it would have ${count} ${what}, and ${max} are allowed`);
  const text = JSON.stringify({
    version: documentVersion,
    revision,
    isOn,
    ...(model === undefined ? {} : { model }),
    rules: rules.map(({ subject, resource, action }) => [subject, resource, action]),
    roles: roles.map(({ subject, role }) => [subject, role]),
    tokens,
  });
  const bytes = Buffer.byteLength(text);
  if (bytes > policyMaxBytes) throw tooMuch(`it would take ${bytes} bytes, and ${policyMaxBytes} are allowed`);
  return text;
}

/** Throws INVALID_ARGUMENT for what can't stand in a rule. */
export function checkRule({ subject, resource, action }: { readonly [Field in keyof PolicyRule]: string }): PolicyRule {
  checkName(subject, "principal");
  if (!resourcePattern.test(resource))
    throw invalid(`${shown(resource)} is no resource`, "Name a topic, a prefix of topics as in orders-*, or *.");
  if (!isAccessAction(action)) throw invalid(`${shown(action)} is no action`, `It is one of ${accessActions.join(", ")}.`);
  return { subject, resource, action };
}

/** Throws INVALID_ARGUMENT. */
export function checkGrant({ subject, role }: RoleGrant): RoleGrant {
  checkName(subject, "principal");
  checkName(role, "role");
  if (subject === role) throw invalid(`${shown(role)} can't be given to itself`);
  return { subject, role };
}

/** Throws INVALID_ARGUMENT: of what rules may name a token's name is what can be typed and read without a doubt. */
export function checkTokenName(name: string): void {
  if (reservedNames.includes(name)) throw invalid(`${shown(name)} is no name for a token: it means somebody else`);
  if (tokenNamePattern.test(name)) return;
  throw invalid(`${shown(name)} is no name for a token`, "It has 1 to 64 of the characters A-Z a-z 0-9 . _ @ -");
}

export function isSameRule(a: PolicyRule, b: PolicyRule): boolean {
  return a.subject === b.subject && a.resource === b.resource && a.action === b.action;
}

export function isSameGrant(a: RoleGrant, b: RoleGrant): boolean {
  return a.subject === b.subject && a.role === b.role;
}

const documentVersion = 1;

/** With a comma casbin couldn't tell two rules from each other. */
const namePattern = /^[^\p{Cc},\s](?:[^\p{Cc},]*[^\p{Cc},\s])?$/u;
const resourcePattern = /^(?:\*|[A-Za-z0-9._-]{1,249}\*?)$/;
const tokenNamePattern = /^[A-Za-z0-9._@-]{1,64}$/;
/** What callers are called that showed no token of the policy. */
const reservedNames = ["anonymous", "admin-token-file"];
const hashPattern = /^[0-9a-f]{64}$/;

function checkName(name: string, what: string): void {
  if (name.length <= principalNameMaxChars && namePattern.test(name)) return;
  throw invalid(`${shown(name)} is no name of a ${what}`, "It has no comma, no control character, and no space at its ends.");
}

function readRule(value: unknown): PolicyRule {
  const [subject, resource, action] = textsOf(value, 3, "a rule");
  return reading(() => checkRule({ subject: subject ?? "", resource: resource ?? "", action: action ?? "" }));
}

function readRole(value: unknown): RoleGrant {
  const [subject, role] = textsOf(value, 2, "a role");
  return reading(() => checkGrant({ subject: subject ?? "", role: role ?? "" }));
}

function readToken(value: unknown): TokenEntry {
  const { id, name, hash, createdAt, expiresAt } = fieldsOf(value, ["id", "name", "hash", "createdAt", "expiresAt"], "a token");
  if (typeof id !== "string" || !tokenIdPattern.test(id)) throw unreadable("a token has no id");
  if (typeof name !== "string") throw unreadable("a token has no name");
  reading(() => checkTokenName(name));
  if (typeof hash !== "string" || !hashPattern.test(hash)) throw unreadable("a token has no hash");
  if (!isCount(createdAt) || !(expiresAt === undefined || isCount(expiresAt))) throw unreadable("a token has no times");
  return { id, name, hash, createdAt, ...(expiresAt === undefined ? {} : { expiresAt }) };
}

function fieldsOf(value: unknown, names: readonly string[], what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw unreadable(`${what} is no object`);
  for (const name of Object.keys(value)) if (!names.includes(name)) throw unreadable(`${what} has an unknown field`);
  return value as Readonly<Record<string, unknown>>;
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw unreadable(`its ${what} are no list`);
  return value;
}

function textsOf(value: unknown, count: number, what: string): readonly string[] {
  const list = listOf(value, what);
  if (list.length === count && list.every((text) => typeof text === "string")) return list;
  throw unreadable(`${what} is none`);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function reading<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw unreadable("what stands in it can't", error);
  }
}

function unreadable(reason: string, cause?: unknown): ProglogError {
  return new ProglogError("UNSUPPORTED_FORMAT", `Cannot read the access policy: ${reason}`, {
    hint: "Start the release of proglog that wrote it, or a later one.",
    ...(cause === undefined ? {} : { cause }),
  });
}

function invalid(reason: string, hint?: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot change who may do what: ${reason}`, hint === undefined ? {} : { hint });
}

function tooMuch(reason: string): ProglogError {
  return invalid(reason, "Use roles and prefixes, and revoke tokens that nobody needs.");
}

function shown(text: string): string {
  return JSON.stringify(text.length <= 64 ? text : `${text.slice(0, 64)}…`);
}
