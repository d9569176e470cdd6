import type { Clock } from "../../base/clock.ts";
import { isProglogError, ProglogError } from "../../base/error.ts";
import type { Random } from "../../base/random.ts";
import { policyChangeTriesMaxCount, tokenLifeMaxMs } from "../../base/security-limits.ts";
import type { PolicyStore } from "../../replica/policy-store.ts";
import type {
  AccessGrant,
  ChangePolicyRequest,
  CreatedToken,
  CreateTokenRequest,
  PolicyDescription,
  RevokeTokenRequest,
  TestPolicyRequest,
  TestPolicyResult,
} from "../../wire/access-message.ts";
import type { AccessControl } from "./access-control.ts";
import {
  type AccessDocument,
  checkGrant,
  checkRule,
  checkTokenName,
  formatAccessDocument,
  isSameGrant,
  isSameRule,
  parseAccessDocument,
  type PolicyRule,
  type RoleGrant,
} from "./access-document.ts";
import type { AuditLog } from "./audit-log.ts";
import { auditedChange } from "./audited-change.ts";
import { hashSecret, makeToken } from "./bearer-token.ts";
import type { Caller } from "./caller.ts";
import { administratorsOf } from "./lockout.ts";

/**
 * Rules and tokens, as administrators look at them and change them. A change is made from the policy that there is, and made anew when another one
 * came between: so of two at once none is lost.
 */
export class AccessAdmin {
  readonly #options: AccessAdminOptions;

  constructor(options: AccessAdminOptions) {
    this.#options = options;
  }

  async describe(caller: Caller): Promise<PolicyDescription> {
    this.#check(caller);
    await this.#options.store.refresh();
    return describeDocument(this.#read());
  }

  /** Throws INVALID_ARGUMENT for what is no rule, for one taken away that isn't there, and when nobody would have `admin` on `*` any more. */
  async change(caller: Caller, request: ChangePolicyRequest): Promise<PolicyDescription> {
    this.#check(caller);
    const [added, removed] = [request.add.map(readGrant), request.remove.map(readGrant)];
    if (added.length + removed.length === 0)
      throw new ProglogError("INVALID_ARGUMENT", "Cannot change who may do what: nothing is to be added or removed");
    const change = [...request.add.map(wordsOf("+")), ...request.remove.map(wordsOf("-"))].join("; ").slice(0, 1_000);
    const changed = await this.#update(caller, change, (before) => {
      let after = before;
      for (const grant of removed) after = without(after, grant);
      for (const grant of added) after = withGrant(after, grant);
      after = { ...after, isOn: before.isOn || after.rules.length > 0 };
      if (!request.force) checkLockout(before, after, caller, this.#options.clock.now());
      return after;
    });
    // Whoever made the first rule may not look any more: it is told what it has done all the same.
    return describeDocument(changed);
  }

  /** What would be decided for somebody. */
  async test(caller: Caller, { subject, resource, action }: TestPolicyRequest): Promise<TestPolicyResult> {
    this.#check(caller);
    const rule = checkRule({ subject, resource, action });
    const { access } = this.#options;
    // By the policy itself: of one that can't be read or isn't known it must not be said that it permits.
    if (!this.#read().isOn) return { isPermitted: true, isOn: false };
    return { isPermitted: access.judge?.permits(rule.subject, rule.action, rule.resource) === true, isOn: true };
  }

  /** `expiresAt` 0 is never. What it returns is shown once. */
  async createToken(caller: Caller, { name, expiresAt }: CreateTokenRequest): Promise<CreatedToken> {
    this.#check(caller);
    checkTokenName(name);
    const createdAt = Math.floor(this.#options.clock.now());
    if (expiresAt !== 0 && !(expiresAt > createdAt && expiresAt <= createdAt + tokenLifeMaxMs))
      throw new ProglogError("INVALID_ARGUMENT", `Cannot make a token that ends at ${expiresAt}: it is ${createdAt} now`, {
        hint: "Name a time to come, in milliseconds since 1970, within 100 years; or none.",
      });
    const { id, secret, text } = makeToken(this.#options.random);
    const entry = { id, name, hash: hashSecret(secret), createdAt, ...(expiresAt === 0 ? {} : { expiresAt }) };
    await this.#update(caller, `create token ${id} of ${name}`, (before) => ({ ...before, tokens: [...before.tokens, entry] }));
    return { id, token: text, name, createdAt, expiresAt };
  }

  /** Throws INVALID_ARGUMENT for one that isn't there, and for the caller's own unless forced. */
  async revokeToken(caller: Caller, { id, force }: RevokeTokenRequest): Promise<void> {
    this.#check(caller);
    const refuse = (reason: string, hint: string): ProglogError =>
      new ProglogError("INVALID_ARGUMENT", `Cannot revoke token ${JSON.stringify(id.slice(0, 64))}: ${reason}`, { hint });
    if (caller.tokenId === id && !force) throw refuse("it is the one that asks", "Say --force, or ask with another.");
    await this.#update(caller, `revoke token ${id.slice(0, 64)}`, (before) => {
      if (!before.tokens.some((token) => token.id === id))
        throw refuse("there is none of that id", '"proglog tokens list" shows them.');
      return { ...before, tokens: before.tokens.filter((token) => token.id !== id) };
    });
  }

  async #update(caller: Caller, change: string, make: (before: AccessDocument) => AccessDocument): Promise<AccessDocument> {
    const { store, audit, access } = this.#options;
    return auditedChange(audit, { caller, action: "admin", resource: "*", change }, async () => {
      for (let tries = 1; ; tries += 1) {
        await store.refresh();
        const basis = this.#readText();
        const before = parseAccessDocument(basis);
        const after = { ...make(before), revision: before.revision + 1 };
        try {
          await store.replace(basis, formatAccessDocument(after));
          await access.settled();
          return after;
        } catch (error) {
          if (!isProglogError(error, "CHANGE_IN_PROGRESS") || tries >= policyChangeTriesMaxCount) throw error;
        }
      }
    });
  }

  #check(caller: Caller): void {
    this.#options.access.check(caller, "admin", "*");
  }

  #read(): AccessDocument {
    return parseAccessDocument(this.#readText());
  }

  #readText(): string {
    const { text } = this.#options.store;
    if (text !== undefined) return text;
    throw new ProglogError("UNAVAILABLE", "Cannot tell who may do what: this node hasn't heard from its cluster yet", {
      details: { outcome: "not-appended" },
    });
  }
}

export interface AccessAdminOptions {
  readonly store: PolicyStore;
  readonly access: AccessControl;
  readonly audit?: AuditLog | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

type Grant = { readonly kind: "rule"; readonly rule: PolicyRule } | { readonly kind: "role"; readonly grant: RoleGrant };

function readGrant({ subject, resource, action, role }: AccessGrant): Grant {
  if (role === "") return { kind: "rule", rule: checkRule({ subject, resource, action }) };
  if (resource === "" && action === "") return { kind: "role", grant: checkGrant({ subject, role }) };
  throw new ProglogError("INVALID_ARGUMENT", "Cannot change who may do what: a rule and a role are two", {
    hint: "Name a resource and an action, or a role.",
  });
}

function withGrant(document: AccessDocument, grant: Grant): AccessDocument {
  if (grant.kind === "rule") {
    if (document.rules.some((known) => isSameRule(known, grant.rule))) return document;
    return { ...document, rules: [...document.rules, grant.rule] };
  }
  if (document.roles.some((known) => isSameGrant(known, grant.grant))) return document;
  return { ...document, roles: [...document.roles, grant.grant] };
}

function without(document: AccessDocument, grant: Grant): AccessDocument {
  const rules = grant.kind === "rule" ? document.rules.filter((known) => !isSameRule(known, grant.rule)) : document.rules;
  const roles = grant.kind === "role" ? document.roles.filter((known) => !isSameGrant(known, grant.grant)) : document.roles;
  if (rules.length < document.rules.length || roles.length < document.roles.length) return { ...document, rules, roles };
  throw new ProglogError("INVALID_ARGUMENT", "Cannot take away what isn't there: there is no such rule or role", {
    hint: '"proglog acl list" shows what there is.',
  });
}

/** Nobody is to lock themselves, and everybody else, out by accident. */
function checkLockout(before: AccessDocument, after: AccessDocument, caller: Caller, now: number): void {
  if (!after.isOn) return;
  // What was a role a moment ago isn't somebody now, only since nobody has it any more.
  const formerRoles = new Set(before.roles.map(({ role }) => role));
  const names = administratorsOf(after).filter((name) => !formerRoles.has(name));
  if (names.length === 0) {
    // Where nobody has it, as with the book's files, there is nothing to be lost.
    if (before.isOn && administratorsOf(before).length === 0) return;
    throw new ProglogError("INVALID_ARGUMENT", "Cannot change who may do what: nobody would have admin on * any more", {
      hint: "Give it to somebody first (proglog acl add NAME '*' admin), or say --force.",
    });
  }
  if (before.isOn) return;
  const isInForce = ({ expiresAt = Number.POSITIVE_INFINITY }: { readonly expiresAt?: number }): boolean => expiresAt > now;
  const hasToken = after.tokens.some((token) => names.includes(token.name) && isInForce(token));
  const isOwn = caller.isAdmin || (caller.principal.kind !== "anonymous" && names.includes(caller.principal.name));
  if (hasToken || isOwn) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot begin with rules: ${names.join(", ").slice(0, 256)} has no token yet`, {
    hint: "Make one first (proglog tokens create NAME), or say --force where it shows a certificate.",
  });
}

function describeDocument({ revision, isOn, model, rules, roles, tokens }: AccessDocument): PolicyDescription {
  return {
    revision,
    isOn,
    model: model ?? "",
    grants: [...rules.map(grantOfRule), ...roles.map(({ subject, role }) => ({ subject, resource: "", action: "", role }))],
    tokens: tokens.map(({ id, name, createdAt, expiresAt = 0 }) => ({ id, name, createdAt, expiresAt })),
  };
}

function grantOfRule({ subject, resource, action }: PolicyRule): AccessGrant {
  return { subject, resource, action, role: "" };
}

function wordsOf(sign: "+" | "-"): (grant: AccessGrant) => string {
  return ({ subject, resource, action, role }) =>
    `${sign}${role === "" ? `${subject}, ${resource}, ${action}` : `${subject}, ${role}`}`;
}
