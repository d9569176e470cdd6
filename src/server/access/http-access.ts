import { assert } from "../../base/assert.ts";
import { isProglogError } from "../../base/error.ts";
import type { FastifyRequest } from "fastify";
import type { AccessControl } from "./access-control.ts";
import { type AccessRule, httpAccessRules } from "./access-rules.ts";
import type { Caller } from "./caller.ts";
import { insider } from "./caller.ts";

/** What the HTTP side asks about each request, before its handler does anything. */
export interface HttpAccess {
  /** Throws where the table says nothing of a route: a node with such a one must not start. */
  checkRoute(method: string, url: string): void;
  /** Notes who asks, as `request.caller`. Throws what `Access.check` does. */
  admit(request: FastifyRequest): Promise<void>;
  /** The same, once the body is read. */
  admitBody(request: FastifyRequest): void;
}

/** By the table of `access-rules.ts`. */
export class RouteAccess implements HttpAccess {
  readonly #access: AccessControl;

  constructor(access: AccessControl) {
    this.#access = access;
  }

  checkRoute(method: string, url: string): void {
    assert(httpAccessRules[`${method} ${url}`] !== undefined, `the table of access has a rule for ${method} ${url}`);
  }

  async admit(request: FastifyRequest): Promise<void> {
    const rule = ruleOf(request);
    if (rule === undefined || rule.kind === "open") return;
    const { socket } = request.raw;
    let caller: Caller;
    try {
      caller = await this.#access.identify({ socket, authorization: authorizationOf(request) });
    } catch (error) {
      if (isProglogError(error, "UNAUTHENTICATED")) await this.#access.heldUp(socket);
      throw error;
    }
    request.caller = caller;
    switch (rule.kind) {
      case "known":
        if (rule.isEarly !== true || this.#access.isKnown || !caller.isLocal) this.#access.checkKnown(caller, "describe");
        return;
      case "whole":
        return this.#access.check(caller, rule.action, "*");
      case "topic":
        return this.#admitTo(rule, request);
    }
  }

  admitBody(request: FastifyRequest): void {
    const rule = ruleOf(request);
    if (rule?.kind !== "topic" || !("body" in rule.from)) return;
    const name = (request.body as Readonly<Record<string, unknown>> | undefined)?.[rule.from.body];
    this.#access.check(request.caller, rule.action, typeof name === "string" ? name : "");
  }

  #admitTo({ action, from }: Extract<AccessRule, { readonly kind: "topic" }>, request: FastifyRequest): void {
    const { caller, params } = request;
    if ("topic" in from) return this.#access.check(caller, action, from.topic);
    if ("body" in from) return this.#access.checkKnown(caller, action);
    assert("parameter" in from, "a route's topic is in its path, its body, or always the same");
    // As the handler will have it: decoded once, by the same code.
    const name = (params as Readonly<Record<string, unknown>>)[from.parameter];
    this.#access.check(caller, action, typeof name === "string" ? name : "");
  }
}

/** Asks nothing: for tests of what lies behind. */
export const openHttpAccess: HttpAccess = {
  checkRoute: () => {},
  admit: async (request) => {
    request.caller = insider;
  },
  admitBody: () => {},
};

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks: of each request that is admitted, but those of routes that ask for nothing. */
    caller: Caller;
  }
}

/** Undefined where there is no such route: its answer says so, and nothing else. */
function ruleOf(request: FastifyRequest): AccessRule | undefined {
  const { method, url } = request.routeOptions;
  return url === undefined ? undefined : httpAccessRules[`${[method].flat()[0]} ${url}`];
}

/** node:http keeps the first of several: which one was meant isn't ours to choose. */
function authorizationOf({ raw: { rawHeaders } }: FastifyRequest): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() === "authorization") values.push(rawHeaders[at + 1] ?? "");
  return values;
}
