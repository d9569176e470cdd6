import { assert, unreachable } from "../../base/assert.ts";
import { isProglogError, type ProglogError } from "../../base/error.ts";
import type { CallContext, ServedMethod } from "../../grpc/index.ts";
import { defaultTopicName } from "../../replica/topic-name.ts";
import { toStatusError } from "../grpc-codecs.ts";
import type { AccessControl } from "./access-control.ts";
import { type AccessRule, grpcAccessRules } from "./access-rules.ts";
import { type Caller, setCaller } from "./caller.ts";

/** Puts the table of `access-rules.ts` before each method: who may not call it doesn't get to its handler. */
export class GrpcAccess {
  readonly #access: AccessControl;

  constructor(access: AccessControl) {
    this.#access = access;
  }

  /** A method that the table says nothing of is a fault of ours, at the start. */
  guarded({ method, handler }: ServedMethod): ServedMethod {
    const rule = grpcAccessRules[method.path];
    assert(rule !== undefined, `the table of access has a rule for ${method.path}`);
    if (rule.kind === "open") return { method, handler };
    const isStream = method.kind === "bidi-stream" || method.kind === "client-stream";
    const guarded = (...args: readonly unknown[]): unknown => {
      const call = args.at(-1) as CallContext;
      const enter = (caller: Caller): unknown => {
        setCaller(call, caller);
        const check = this.#checkOf(rule, caller, isStream ? undefined : args[0]);
        asStatus(check);
        const release = isLasting(rule) ? this.#hold(caller, check, call) : undefined;
        const answer = (handler as (...all: readonly unknown[]) => unknown)(...args);
        if (release === undefined) return answer;
        if (answer instanceof Promise) return answer.finally(release);
        release();
        return answer;
      };
      let found: Caller | Promise<Caller>;
      try {
        found = this.#access.identify({ socket: call.socket, authorization: call.metadata.getAll("authorization") });
      } catch (error) {
        return this.#refuseLater(error, call);
      }
      return found instanceof Promise ? this.#enterLater(found, enter, call) : enter(found);
    };
    return { method, handler: guarded };
  }

  #checkOf(rule: AccessRule, caller: Caller, request: unknown): () => void {
    switch (rule.kind) {
      case "open":
        return () => {};
      case "known":
        return () => this.#access.checkKnown(caller, "describe");
      case "whole":
        return () => this.#access.check(caller, rule.action, "*");
      case "topic": {
        if ("eachField" in rule.from) return () => this.#access.checkKnown(caller, rule.action);
        assert("field" in rule.from, "a message's topic is one of its fields");
        const topic = topicOf(request, rule.from);
        return () => this.#access.check(caller, rule.action, topic);
      }
      default:
        return unreachable(rule);
    }
  }

  /** While it waits or streams, it may be taken back. */
  #hold(caller: Caller, check: () => void, call: CallContext): () => void {
    return this.#access.hold(caller, check, (error: ProglogError) => call.end(toStatusError(error)));
  }

  async #enterLater(finding: Promise<Caller>, enter: (caller: Caller) => unknown, call: CallContext): Promise<unknown> {
    let caller: Caller;
    try {
      caller = await finding;
    } catch (error) {
      return this.#refuseLater(error, call);
    }
    return enter(caller);
  }

  async #refuseLater(error: unknown, call: CallContext): Promise<never> {
    if (isProglogError(error, "UNAUTHENTICATED")) await this.#access.heldUp(call.socket);
    throw toStatusError(error);
  }
}

function asStatus(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw toStatusError(error);
  }
}

/** What is answered at once needn't be watched over; what follows a stream of requests watches over itself, message by message. */
function isLasting(rule: AccessRule): boolean {
  return rule.kind === "topic" && rule.action === "consume";
}

function topicOf(request: unknown, { field, isDefaulted = false }: { readonly field: string; readonly isDefaulted?: boolean }) {
  // A message of one field is read as that field.
  const value = typeof request === "string" ? request : (request as Readonly<Record<string, unknown>>)[field];
  const name = typeof value === "string" ? value : "";
  return name === "" && isDefaulted ? defaultTopicName : name;
}
