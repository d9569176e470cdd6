import { isProglogError } from "../../base/error.ts";
import type { AccessAction } from "./access-action.ts";
import type { AuditLog } from "./audit-log.ts";
import { type Caller, subjectOf } from "./caller.ts";

/** Runs a change, and writes down who made it, and what came of it. */
export async function auditedChange<Result>(
  audit: AuditLog | undefined,
  { caller, action, resource, change }: AuditedChange,
  run: () => Promise<Result>,
): Promise<Result> {
  const note = (outcome: string): void => {
    const { principal, address } = caller;
    const who = { principal: subjectOf(caller), kind: principal.kind, address };
    audit?.changed({ event: "changed", ...who, action, resource: resource.slice(0, 256), outcome, change });
  };
  try {
    const result = await run();
    note("ok");
    return result;
  } catch (error) {
    note(isProglogError(error) ? error.code : "INTERNAL");
    throw error;
  }
}

export interface AuditedChange {
  readonly caller: Caller;
  readonly action: AccessAction;
  readonly resource: string;
  /** In a few words; no secret. */
  readonly change: string;
}
