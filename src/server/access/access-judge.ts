import { decisionsMaxCount, rolesMaxCount } from "../../base/security-limits.ts";
import { type AccessAction, allowingActions } from "./access-action.ts";
import type { AccessDocument } from "./access-document.ts";

/** Whether a model allows it, by the rules as they are written: the three are what stands in a request to it. */
export type Matcher = (subject: string, resource: string, action: string) => boolean;

/**
 * Decides by one policy, and remembers what it decided. A question is put to the model several times: for the principal and each of its roles, for
 * the topic, for `*`, and for each prefix among the rules that the topic begins with, and for each action that includes the one asked
 * for. So a model that only compares knows roles and prefixes, too. One yes is enough, which is right only where rules do nothing but
 * allow: `casbin-model.ts` takes no other model.
 */
export class AccessJudge {
  readonly document: AccessDocument;
  readonly #isAllowed: Matcher;
  readonly #prefixes: readonly string[];
  readonly #roles = new Map<string, readonly string[]>();
  readonly #ruled: ReadonlySet<string>;
  /** By subject, then by action and resource. */
  readonly #decisions = new Map<string, Map<string, boolean>>();
  #decisionCount = 0;

  /** Without a matcher the book's: all three are equal. */
  constructor(document: AccessDocument, matcher?: Matcher) {
    this.document = document;
    this.#isAllowed = matcher ?? equalityMatcher(document);
    const resources = new Set(document.rules.map(({ resource }) => resource));
    this.#prefixes = [...resources].filter((resource) => resource.endsWith("*") && resource !== "*");
    this.#ruled = new Set(document.rules.map(({ subject }) => subject));
  }

  get decisionCount(): number {
    return this.#decisionCount;
  }

  permits(subject: string, action: AccessAction, resource: string): boolean {
    // No topic has such a name; and it isn't worth remembering.
    if (resource.length > resourceMaxChars) return false;
    const key = `${action} ${resource}`;
    const known = this.#decisions.get(subject)?.get(key);
    if (known !== undefined) return known;
    const isPermitted = this.#decide(subject, action, resource);
    this.#remember(subject, key, isPermitted);
    return isPermitted;
  }

  /** Whether there is a rule at all for the principal or one of its roles. */
  knows(subject: string): boolean {
    return this.#subjectsOf(subject).some((name) => this.#ruled.has(name));
  }

  #decide(subject: string, action: AccessAction, resource: string): boolean {
    const subjects = this.#subjectsOf(subject);
    const resources = resource === "*" ? ["*"] : [resource, "*", ...this.#prefixesOf(resource)];
    return allowingActions(action).some((allowing) =>
      resources.some((asked) => subjects.some((name) => this.#isAllowed(name, asked, allowing))),
    );
  }

  #prefixesOf(topic: string): readonly string[] {
    return this.#prefixes.filter((prefix) => topic.startsWith(prefix.slice(0, -1)));
  }

  /** The principal and its roles, those that they have included. */
  #subjectsOf(subject: string): readonly string[] {
    const known = this.#roles.get(subject);
    if (known !== undefined) return known;
    const found = rolesOf(this.document, subject);
    if (this.#roles.size >= decisionsMaxCount) this.#roles.clear();
    this.#roles.set(subject, found);
    return found;
  }

  #remember(subject: string, key: string, isPermitted: boolean): void {
    if (this.#decisionCount >= decisionsMaxCount) {
      this.#decisions.clear();
      this.#decisionCount = 0;
    }
    const ofSubject = this.#decisions.get(subject) ?? new Map<string, boolean>();
    this.#decisions.set(subject, ofSubject.set(key, isPermitted));
    this.#decisionCount += 1;
  }
}

/** The subject itself first, then all that it has by its roles; in a circle of roles each once. */
export function rolesOf({ roles }: AccessDocument, subject: string): readonly string[] {
  const found = new Set([subject]);
  for (const name of found)
    for (const grant of roles) if (grant.subject === name && found.size <= rolesMaxCount) found.add(grant.role);
  return [...found];
}

/** What the book's model does: of three texts each is the same. A look into a set instead of a walk over all rules. */
function equalityMatcher({ rules }: AccessDocument): Matcher {
  const allowed = new Map<string, Set<string>>();
  for (const { subject, resource, action } of rules) {
    const ofSubject = allowed.get(subject) ?? new Set<string>();
    allowed.set(subject, ofSubject.add(`${action} ${resource}`));
  }
  return (subject, resource, action) => allowed.get(subject)?.has(`${action} ${resource}`) === true;
}

/** Of a topic's name, and some: what is longer is none. */
const resourceMaxChars = 250;
