import type { CallContext } from "../../grpc/index.ts";
import { anonymous, type Principal } from "../principal.ts";

/** Who sent a request, and from where. */
export interface Caller {
  readonly principal: Principal;
  /** As the socket has it; "" where it has none. */
  readonly address: string;
  /** It comes from the node's own machine. */
  readonly isLocal: boolean;
  /** It showed the node's own token: it may do everything. */
  readonly isAdmin: boolean;
  /** Of the token that it showed. */
  readonly tokenId?: string;
  /** When what it showed is over, where that says so itself. */
  readonly expiresAt?: number;
}

/** Whoever uses a node from within its process: for tests of services, and nothing that listens. */
export const insider: Caller = { principal: anonymous, address: "", isLocal: true, isAdmin: true };

/** What rules name it by. */
export function subjectOf({ principal }: Caller): string {
  return principal.kind === "anonymous" ? "anonymous" : principal.name;
}

/** Noted when a call is admitted. */
export function setCaller(call: CallContext, caller: Caller): void {
  (call as AdmittedCall)[callerKey] = caller;
}

/** Who makes the call. Of one that nobody admitted there is none: an error of ours, which must not pass for somebody. */
export function callerOf(call: CallContext): Caller {
  const caller = (call as AdmittedCall)[callerKey];
  if (caller === undefined) throw new Error(`the call of ${call.path} wasn't admitted`);
  return caller;
}

/** On the call itself: a WeakMap with an entry for each call costs the collector more than all the rest of admitting it. */
const callerKey = Symbol("caller");

interface AdmittedCall extends CallContext {
  [callerKey]?: Caller;
}
