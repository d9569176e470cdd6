import type { AccessGrant, PolicyDescription, TestPolicyRequest } from "../wire/access-message.ts";
import { parseJson } from "../wire/record-body.ts";
import type { AccessAdmin } from "./access/access-admin.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import { checkJson } from "./cluster-routes.ts";
import { querySchema } from "./query.ts";
import type { RequestBodies } from "./request-bodies.ts";

/** Who may do what, and tokens: `log.v1.Access` over HTTP (docs/http.md). */
export function addAccessRoutes(app: HttpApp, { admin, bodies }: AccessRouteParts): void {
  const noQuery = querySchema({});
  const readBody = async (request: BodyRequest, reply: { readonly raw: Parameters<RequestBodies["read"]>[1] }) => {
    checkJson(request.headers["content-type"]);
    request.body = parseJson(await bodies.read(request.raw, reply.raw), "the body");
  };

  app.fastify.get("/v1/access", { schema: { querystring: noQuery } }, async ({ caller }, reply) => {
    return sendJson(reply, formatPolicy(await admin.describe(caller)));
  });

  app.fastify.post<{ Body: ChangeBody }>(
    "/v1/access",
    { schema: { querystring: noQuery, body: changeSchema }, preValidation: readBody },
    async ({ caller, body }, reply) => {
      const { add = [], remove = [], force = false } = body;
      const policy = await admin.change(caller, { add: add.map(toGrant), remove: remove.map(toGrant), force });
      return sendJson(reply, formatPolicy(policy));
    },
  );

  app.fastify.post<{ Body: TestPolicyRequest }>(
    "/v1/access/test",
    { schema: { querystring: noQuery, body: testSchema }, preValidation: readBody },
    async ({ caller, body }, reply) => sendJson(reply, await admin.test(caller, body)),
  );

  app.fastify.post<{ Body: { readonly name: string; readonly expiresAt?: number } }>(
    "/v1/access/tokens",
    { schema: { querystring: noQuery, body: tokenSchema }, preValidation: readBody },
    async ({ caller, body }, reply) => {
      const { expiresAt, ...made } = await admin.createToken(caller, { name: body.name, expiresAt: body.expiresAt ?? 0 });
      return sendJson(reply.code(201), { ...made, ...(expiresAt === 0 ? {} : { expiresAt }) });
    },
  );

  app.fastify.delete<{ Params: { readonly id: string }; Querystring: { readonly force?: "true" | "false" } }>(
    "/v1/access/tokens/:id",
    { schema: { querystring: querySchema({ force: { type: "string", enum: ["true", "false"] } }) } },
    async ({ caller, params, query }, reply) => {
      await admin.revokeToken(caller, { id: params.id, force: query.force === "true" });
      return reply.code(204).send();
    },
  );
}

export interface AccessRouteParts {
  readonly admin: AccessAdmin;
  readonly bodies: RequestBodies;
}

interface BodyRequest {
  readonly headers: { readonly "content-type"?: string | undefined };
  readonly raw: Parameters<RequestBodies["read"]>[0];
  body: unknown;
}

interface ChangeBody {
  readonly add?: readonly GrantBody[];
  readonly remove?: readonly GrantBody[];
  readonly force?: boolean;
}

type GrantBody = { readonly subject: string } & Partial<Omit<AccessGrant, "subject">>;

const text = { type: "string" };
const grants = {
  type: "array",
  items: {
    type: "object",
    additionalProperties: false,
    required: ["subject"],
    properties: { subject: text, resource: text, action: text, role: text },
  },
};
const changeSchema = {
  type: "object",
  additionalProperties: false,
  properties: { add: grants, remove: grants, force: { type: "boolean" } },
};
const testSchema = {
  type: "object",
  additionalProperties: false,
  required: ["subject", "resource", "action"],
  properties: { subject: text, resource: text, action: text },
};
const tokenSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name"],
  properties: { name: text, expiresAt: { type: "integer", minimum: 1 } },
};

function toGrant({ subject, resource = "", action = "", role = "" }: GrantBody): AccessGrant {
  return { subject, resource, action, role };
}

function formatPolicy({ revision, isOn, model, grants: all, tokens }: PolicyDescription): object {
  return {
    revision,
    isOn,
    ...(model === "" ? {} : { model }),
    rules: all.filter(({ role }) => role === "").map(({ subject, resource, action }) => ({ subject, resource, action })),
    roles: all.filter(({ role }) => role !== "").map(({ subject, role }) => ({ subject, role })),
    tokens: tokens.map(({ expiresAt, ...token }) => ({ ...token, ...(expiresAt === 0 ? {} : { expiresAt }) })),
  };
}
