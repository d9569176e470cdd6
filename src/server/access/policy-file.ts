import { isProglogError, ProglogError } from "../../base/error.ts";
import { checkGrant, checkRule, isSameGrant, isSameRule, type PolicyRule, type RoleGrant } from "./access-document.ts";

/** Reads a policy file of casbin: `p, root, *, produce` and `g, alice, writers`, a line each. Throws INVALID_CONFIG, naming the line. */
export function readPolicyFile(text: string): { readonly rules: readonly PolicyRule[]; readonly roles: readonly RoleGrant[] } {
  const rules: PolicyRule[] = [];
  const roles: RoleGrant[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [kind, subject = "", second = "", action = "", ...more] = line.split(",").map((field) => field.trim());
    try {
      if (line.includes('"')) throw refuse("quotes aren't read");
      if (kind === "p" && more.length === 0) {
        const rule = checkRule({ subject, resource: second, action });
        if (!rules.some((known) => isSameRule(known, rule))) rules.push(rule);
      } else if (kind === "g" && action === "" && more.length === 0) {
        const grant = checkGrant({ subject, role: second });
        if (!roles.some((known) => isSameGrant(known, grant))) roles.push(grant);
      } else throw refuse("it is neither p, subject, resource, action nor g, subject, role");
    } catch (error) {
      if (!isProglogError(error)) throw error;
      const reason = error.message.replace(/^[^:]*: /, "");
      throw new ProglogError("INVALID_CONFIG", `Cannot use the access policy's file: line ${at + 1}: ${reason}`, {
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        cause: error,
      });
    }
  }
  return { rules, roles };
}

function refuse(reason: string): ProglogError {
  return new ProglogError("INVALID_CONFIG", `Cannot read it: ${reason}`);
}
