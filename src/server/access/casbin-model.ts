import { messageOf, ProglogError } from "../../base/error.ts";
import type { AccessDocument } from "./access-document.ts";
import type { Matcher } from "./access-judge.ts";

/**
 * A model file of casbin. The book's, which compares, needs no casbin to go by it: undefined. Any other is kept as it is, and casbin is loaded
 * for it. Throws INVALID_CONFIG for what is no model over `sub, obj, act`, and for one whose rules may deny: it is asked several times
 * for one decision (`access-judge.ts`), and a denial would be one answer among others.
 */
export async function readModel(text: string): Promise<string | undefined> {
  const { newModel } = await import("casbin");
  let model;
  try {
    model = newModel(text).model;
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
  const tokensOf = (section: string): string => (model.get(section)?.get(section)?.tokens ?? []).join(", ");
  if (tokensOf("r") !== "r_sub, r_obj, r_act") throw refuse("its request isn't sub, obj, act");
  if (tokensOf("p") !== "p_sub, p_obj, p_act") throw refuse("its policy isn't sub, obj, act");
  if (model.get("e")?.get("e")?.value !== "some(where (p_eft == allow))")
    throw refuse("its effect isn't some(where (p.eft == allow)), and no other is taken");
  const matcher = model.get("m")?.get("m")?.value.replaceAll(/\s+/g, "") ?? "";
  const parts = matcher.split("&&").toSorted();
  return bookParts.every((part, at) => part === parts[at]) && parts.length === bookParts.length ? undefined : text;
}

/** What a model of casbin makes of the rules. */
export async function openModel(text: string, { rules, roles }: AccessDocument): Promise<Matcher> {
  const { newEnforcer, newModel } = await import("casbin");
  const model = newModel(text);
  const enforcer = await newEnforcer(model);
  await enforcer.addPolicies(rules.map(({ subject, resource, action }) => [subject, resource, action]));
  if (model.model.has("g")) await enforcer.addGroupingPolicies(roles.map(({ subject, role }) => [subject, role]));
  return (subject, resource, action) => enforcer.enforceSync(subject, resource, action);
}

const bookParts = ["r_act==p_act", "r_obj==p_obj", "r_sub==p_sub"];

function refuse(reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_CONFIG", `Cannot use the access model: ${reason}`, {
    hint: "Take the book's, or leave it out: it is what holds without one.",
    ...(cause === undefined ? {} : { cause }),
  });
}
