import { ProglogError } from "../base/error.ts";
import type { NewTopic, Topic, TopicChange } from "../replica/catalog.ts";
import type { NodeStorage, PartitionPlace } from "../replica/node-storage.ts";
import type { ReplicaStatus } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import { parseJson } from "../wire/record-body.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import { querySchema } from "./query.ts";
import type { RouteServices } from "./route-services.ts";

/** Listing, making, describing, changing and deleting topics (docs/http.md). */
export function addTopicRoutes(app: HttpApp, { storage, topics, bodies }: RouteServices): void {
  app.fastify.get("/v1/topics", { schema: { querystring: noQuery } }, async ({ caller }, reply) => {
    const listed = await topics.list(caller);
    return sendJson(reply, { topics: listed.map((topic) => describeTopic(topic, storage)) });
  });

  app.fastify.post<{ Body: NewTopic }>(
    "/v1/topics",
    {
      schema: { querystring: noQuery, body: newTopicSchema },
      preValidation: async (request, reply) => {
        checkJson(request.headers["content-type"]);
        request.body = parseJson(await bodies.read(request.raw, reply.raw), "the body") as NewTopic;
      },
    },
    async (request, reply) => {
      const topic = await topics.create(request.caller, request.body);
      return sendJson(reply.code(201).header("location", `/v1/topics/${topic.name}`), describeTopic(topic, storage));
    },
  );

  app.fastify.get<{ Params: TopicParams }>(
    "/v1/topics/:topic",
    { schema: { querystring: noQuery } },
    async (request, reply) => {
      return sendJson(reply, describeTopic(await topics.describe(request.caller, request.params.topic), storage));
    },
  );

  app.fastify.patch<{ Params: TopicParams; Body: TopicChange }>(
    "/v1/topics/:topic",
    {
      schema: { querystring: noQuery, body: topicChangeSchema },
      preValidation: async (request, reply) => {
        checkTopicName(request.params.topic);
        checkJson(request.headers["content-type"], ["application/json", mergePatchMediaType]);
        request.body = parseJson(await bodies.read(request.raw, reply.raw), "the body") as TopicChange;
      },
    },
    async (request, reply) => {
      const topic = await topics.change(request.caller, request.params.topic, request.body);
      return sendJson(reply, describeTopic(topic, storage));
    },
  );

  app.fastify.delete<{ Params: TopicParams }>(
    "/v1/topics/:topic",
    { schema: { querystring: noQuery } },
    async (request, reply) => {
      await topics.delete(request.caller, request.params.topic);
      return reply.code(204).send();
    },
  );
}

interface TopicParams {
  readonly topic: string;
}

const noQuery = querySchema({});

const partitions = { type: "integer", minimum: 1 };
const replicationFactor = { type: "integer", minimum: 1 };
/** Names and values are the catalog's to judge: it knows the nearest name, and says what a value should be. */
const settings = { type: "object" };

const newTopicSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name"],
  properties: { name: { type: "string" }, partitions, replicationFactor, settings },
};

const topicChangeSchema = {
  type: "object",
  additionalProperties: false,
  properties: { partitions, replicationFactor, settings },
};

/** A change is one: what isn't there stays, null takes away (RFC 7396). */
const mergePatchMediaType = "application/merge-patch+json";

function checkJson(contentType: string | undefined, mediaTypes: readonly string[] = ["application/json"]): void {
  const mediaType = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType === undefined || mediaTypes.includes(mediaType)) return;
  throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read a topic from ${JSON.stringify(mediaType.slice(0, 64))}`, {
    hint: "Send application/json, and say so in Content-Type.",
  });
}

/** A topic as it is shown: with who has its partitions, and their state, as far as they are on this node. */
function describeTopic(topic: Topic, storage: NodeStorage): object {
  return {
    name: topic.name,
    uuid: topic.uuid,
    createdAt: topic.createdAt,
    replicationFactor: topic.replicationFactor,
    settings: topic.settings,
    effectiveSettings: storage.effectiveSettings(topic),
    partitions: topic.partitions.map(({ partition, uuid: logUuid }) => {
      const status = storage.replicas.find(logUuid)?.status();
      const place = describePlace(storage.findPlace(topic, partition));
      return { ...(status === undefined ? { partition, state: "closed" } : describePartition(status)), ...place };
    }),
  };
}

function describePartition(status: ReplicaStatus): object {
  const { topic: _topic, uuid: _uuid, group: _group, ...shown } = status;
  return shown;
}

/** Nothing on a single node, which has all there is. */
function describePlace({ leader, replicas, term }: PartitionPlace): object {
  if (replicas.length === 0) return {};
  return {
    ...(leader === undefined ? {} : { leaderId: leader.nodeId, leaderRpcAddr: leader.address }),
    term,
    replicas: replicas.map(({ address: rpcAddr, ...replica }) => ({ ...replica, rpcAddr })),
  };
}
