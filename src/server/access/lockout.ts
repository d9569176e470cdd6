import type { AccessDocument } from "./access-document.ts";
import { rolesOf } from "./access-judge.ts";

/** The principals and roles that may change the policy itself: those with `admin` on `*`, roles only as far as somebody has them. */
export function administratorsOf(document: AccessDocument): readonly string[] {
  const holders = new Set(
    document.rules.filter(({ resource, action }) => resource === "*" && action === "admin").map(({ subject }) => subject),
  );
  const given = new Set(document.roles.map(({ role }) => role));
  const named = new Set([...document.rules, ...document.roles].map(({ subject }) => subject));
  for (const { name } of document.tokens) named.add(name);
  // What is given to somebody is a role; that it has the right helps nobody but its holders.
  return [...named].filter(
    (name) => name !== "anonymous" && !given.has(name) && rolesOf(document, name).some((one) => holders.has(one)),
  );
}
