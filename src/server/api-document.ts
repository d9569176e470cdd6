import { isDeepStrictEqual } from "node:util";
import type { ErrorCode } from "../base/error.ts";
import { integerMax } from "../base/limits.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import { problemMediaType } from "../wire/problem.ts";
import { httpAccessRules } from "./access/access-rules.ts";
import {
  type ApiAnswer,
  type ApiOperation,
  type ApiTag,
  accessErrors,
  anyRouteErrors,
  apiOperations,
  apiTags,
  servingErrors,
} from "./api-operations.ts";
import { shapes } from "./api-shapes.ts";
import { querySchemas } from "./query.ts";
import { ref, type Schema } from "./schema.ts";

/** A route as it was registered. */
export interface RegisteredRoute {
  readonly method: string;
  /** With its parameters as `:name`. */
  readonly url: string;
  /** What its query is checked against. */
  readonly querystring?: { readonly properties?: Readonly<Record<string, Schema>> } | undefined;
  /** Served while the node starts and stops. */
  readonly isAlwaysServed: boolean;
}

/**
 * The OpenAPI 3.1 document of these routes. Which there are and which parameters they take is the routes' own word; what those mean,
 * what is sent and answered stands in `api-operations.ts` and `api-shapes.ts`; the errors come from the one table. A route that nothing
 * is said of is in it with its parameters alone: that is for a test to find, and no reason not to start.
 */
export function buildApiDocument(routes: readonly RegisteredRoute[], version: string): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of routes) {
    const operation = apiOperations[`${route.method} ${route.url}`];
    const path = route.url.replaceAll(/:([a-zA-Z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describeOperation(route, operation) };
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "proglog",
      version,
      summary: "A durable commit log over HTTP.",
      description:
        "Programs match on an error's `code`; the list only grows, and so do the fields of answers. Offsets and timestamps are numbers up to 2^53-1.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: Object.entries(apiTags).map(([name, description]) => ({ name, description })),
    paths,
    security: [{}, { bearer: [] }],
    components: { schemas: shapes, securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
  };
}

function describeOperation(route: RegisteredRoute, operation: ApiOperation | undefined): Schema {
  if (operation === undefined) {
    const parameters = [...pathParameters(route), ...queryParameters(route)];
    return { parameters, responses: { default: { description: "Not described." } } };
  }
  const { operationId, tag, summary, description, body, isBodyOptional = false } = operation;
  const parameters = [...pathParameters(route), ...queryParameters(route, operation.query), ...headerParameters(operation)];
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: !isBodyOptional, content: describeContent(body) } }),
    responses: describeResponses(route, operation),
  };
}

function pathParameters({ url }: RegisteredRoute): Schema[] {
  return [...url.matchAll(/:([a-zA-Z]+)/g)].map(([, name]) => {
    return { name, in: "path", required: true, schema: pathShapes[name ?? ""] ?? { type: "string" } };
  });
}

const pathShapes: Readonly<Record<string, Schema>> = {
  topic: ref("TopicName"),
  partition: { type: "integer", minimum: 0 },
};

/** What is text to the route is a number to its client. */
function queryParameters({ querystring }: RegisteredRoute, query: ApiOperation["query"] = {}): Schema[] {
  const checked = querystring?.properties ?? query;
  return Object.entries(checked).map(([name, schema]) => {
    const isInteger = isDeepStrictEqual(schema, querySchemas.integer);
    const { description, ...meant } = {
      ...(isInteger ? { type: "integer", minimum: 0, maximum: integerMax } : schema),
      ...query[name],
    } as Record<string, unknown>;
    return { name, in: "query", ...(description === undefined ? {} : { description }), schema: meant };
  });
}

function headerParameters({ headers = {} }: ApiOperation): Schema[] {
  return Object.entries(headers).map(([name, { description, ...schema }]) => {
    return { name, in: "header", ...(description === undefined ? {} : { description }), schema };
  });
}

function describeResponses(route: RegisteredRoute, operation: ApiOperation): Schema {
  const isGuarded = httpAccessRules[`${route.method} ${route.url}`]?.kind !== "open";
  const codes = new Set([
    ...anyRouteErrors,
    ...(isGuarded ? accessErrors : []),
    ...(route.isAlwaysServed ? [] : servingErrors),
    ...operation.errors,
  ]);
  const isPlain = operation.hasPlainErrors === true;
  const byStatus = Map.groupBy(codes, (code) => (isPlain ? plainStatusOf(code) : errorTableEntry(code).http));
  const errors = [...byStatus].map(([status, ofStatus]) => [status, describeError(status, ofStatus, isPlain)] as const);
  const elsewhere = redirectedCodes.filter((code) => codes.has(code));
  if (elsewhere.length > 0 && redirectedTags.includes(operation.tag))
    errors.push([redirectStatus, describeRedirect(elsewhere)]);
  const answers = Object.entries(operation.answers).map(([status, answer]) => [status, describeAnswer(answer)] as const);
  // Where a status is an answer of the route's own, its errors have the same.
  return Object.fromEntries([...errors, ...answers]);
}

function describeAnswer({ description, headers, content }: ApiAnswer): Schema {
  return {
    description,
    ...(headers === undefined ? {} : { headers: describeHeaders(headers) }),
    ...(content === undefined ? {} : { content: describeContent(content) }),
  };
}

function describeError(status: number, codes: readonly ErrorCode[], isPlain: boolean): Schema {
  const retryAfter = { type: "integer", minimum: 0, description: "Seconds." };
  return {
    description: codes.map((code) => `\`${code}\``).join(", "),
    ...(status === 503 ? { headers: describeHeaders({ "Retry-After": retryAfter }) } : {}),
    content: describeContent(
      isPlain
        ? { "text/plain": { type: "string" } }
        : { [problemMediaType]: { ...ref("Problem"), properties: { code: { enum: codes }, status: { const: status } } } },
    ),
  };
}

/** In a cluster, where it is known who answers instead. Also where other errors are plain text. */
function describeRedirect(codes: readonly ErrorCode[]): Schema {
  const problem = { ...ref("Problem"), properties: { code: { enum: codes }, status: { const: redirectStatus } } };
  return {
    description: `Another node of the cluster answers this: ${codes.map((code) => `\`${code}\``).join(", ")}`,
    headers: describeHeaders({ Location: { type: "string", description: "Where to send the same request." } }),
    content: describeContent({ [problemMediaType]: problem }),
  };
}

const redirectedCodes = ["NOT_LEADER", "NOT_A_REPLICA", "SHUTTING_DOWN"] as const satisfies readonly ErrorCode[];
const redirectedTags: readonly ApiTag[] = ["records", "book", "backup"];
const redirectStatus = 307;

/** As the book's routes answer: what it has no notion of is its 500. */
export function plainStatusOf(code: ErrorCode): number {
  const { http } = errorTableEntry(code);
  return http < 500 || http === 503 ? http : 500;
}

function describeHeaders(headers: Readonly<Record<string, Schema>>): Schema {
  return Object.fromEntries(
    Object.entries(headers).map(([name, { description, ...schema }]) => {
      return [name, { ...(description === undefined ? {} : { description }), schema }];
    }),
  );
}

function describeContent(content: Readonly<Record<string, Schema>>): Schema {
  return Object.fromEntries(Object.entries(content).map(([mediaType, schema]) => [mediaType, { schema }]));
}
