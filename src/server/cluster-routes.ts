import { ProglogError } from "../base/error.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import { parseJson } from "../wire/record-body.ts";
import type { ClusterService } from "./cluster-service.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import { parseMediaType } from "./media-type.ts";
import { querySchema } from "./query.ts";
import type { RequestBodies } from "./request-bodies.ts";

/** What the cluster is made of, how it is, and what an operator does to it: `log.v1.Cluster` over HTTP (docs/http.md). */
export function addClusterRoutes(app: HttpApp, { cluster, bodies }: ClusterRouteParts): void {
  app.fastify.get<{ Querystring: { readonly troubledOnly?: "true" | "false" } }>(
    "/v1/cluster",
    { schema: { querystring: querySchema({ troubledOnly: flag }) } },
    async (request, reply) => {
      return sendJson(reply, await cluster.getStatus(request.caller, { troubledOnly: request.query.troubledOnly === "true" }));
    },
  );

  app.fastify.delete<{ Params: { readonly node: string }; Querystring: { readonly force?: "true" | "false" } }>(
    "/v1/cluster/nodes/:node",
    { schema: { querystring: querySchema({ force: flag }) } },
    async (request, reply) => {
      const { params, query } = request;
      return sendJson(reply, await cluster.removeNode(request.caller, { name: params.node, force: query.force === "true" }));
    },
  );

  app.fastify.put<{ Params: { readonly node: string } }>(
    "/v1/cluster/nodes/:node",
    { schema: { querystring: querySchema({}) } },
    async (request, reply) => sendJson(reply, await cluster.addNode(request.caller, { name: request.params.node })),
  );

  const readBody = async (request: BodyRequest, reply: { readonly raw: Parameters<RequestBodies["read"]>[1] }) => {
    checkJson(request.headers["content-type"]);
    const body = await bodies.read(request.raw, reply.raw);
    request.body = body.length === 0 ? {} : parseJson(body, "the body");
  };

  app.fastify.post<{ Params: PartitionParams; Body: { readonly node?: string } }>(
    "/v1/topics/:topic/partitions/:partition/leader",
    { schema: { querystring: querySchema({}), body: leaderSchema }, preValidation: readBody },
    async (request, reply) => {
      const { node = "" } = request.body;
      return sendJson(reply, await cluster.transferLeadership(request.caller, { ...placeOf(request.params), to: node }));
    },
  );

  app.fastify.put<{ Params: PartitionParams; Body: { readonly nodes: readonly string[] } }>(
    "/v1/topics/:topic/partitions/:partition/replicas",
    { schema: { querystring: querySchema({}), body: replicasSchema }, preValidation: readBody },
    async (request, reply) => {
      await cluster.movePartition(request.caller, { ...placeOf(request.params), replicas: request.body.nodes });
      return reply.code(204).send();
    },
  );
}

export interface ClusterRouteParts {
  readonly cluster: ClusterService;
  readonly bodies: RequestBodies;
}

interface BodyRequest {
  readonly headers: { readonly "content-type"?: string | undefined };
  readonly raw: Parameters<RequestBodies["read"]>[0];
  body: unknown;
}

interface PartitionParams {
  readonly topic: string;
  readonly partition: string;
}

const flag = { type: "string", enum: ["true", "false"] };

const leaderSchema = { type: "object", additionalProperties: false, properties: { node: { type: "string", minLength: 1 } } };

const replicasSchema = {
  type: "object",
  additionalProperties: false,
  required: ["nodes"],
  properties: { nodes: { type: "array", minItems: 1, items: { type: "string", minLength: 1 } } },
};

function placeOf({ topic, partition }: PartitionParams): { readonly topic: string; readonly partition: number } {
  checkTopicName(topic);
  if (!/^[0-9]{1,9}$/.test(partition)) {
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot find partition ${JSON.stringify(partition.slice(0, 64))}: it isn't a number from 0 on`,
    );
  }
  return { topic, partition: Number(partition) };
}

/** Strict, so that no form of another site gets as far as to move anything. */
export function checkJson(contentType: string | undefined): void {
  const mediaType = parseMediaType(contentType);
  if (mediaType === undefined || mediaType === "application/json") return;
  throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read a change from ${JSON.stringify(mediaType.slice(0, 64))}`, {
    hint: "Send application/json, and say so in Content-Type.",
  });
}
