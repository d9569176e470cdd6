import type { FastifyRequest } from "fastify";
import { backupPieceBytes, backupSegmentsMaxCount } from "../base/backup-limits.ts";
import { ProglogError } from "../base/error.ts";
import type { Replica } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import { type BackupTopics, formatBackupLog } from "../wire/backup-message.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import type { Access } from "./access/access-control.ts";
import { HeldShare } from "./held-bytes.ts";
import { goneSignal, type HttpApp, sendJson } from "./http-app.ts";
import { integerParameter, querySchema, querySchemas } from "./query.ts";
import type { RouteServices } from "./route-services.ts";

/**
 * What `proglog backup` asks a node for (docs/backup.md): the topics, and of each partition what its log is made of and the bytes. In a
 * cluster it is the leader that answers, since it alone knows at once what is committed.
 */
export function addBackupRoutes(app: HttpApp, { storage, answers, access, quota, clusterId }: BackupRouteParts): void {
  app.fastify.get("/v1/backup/topics", { schema: { querystring: querySchema({}) } }, async ({ caller }, reply) => {
    access.check(caller, "consume", "*");
    const topics = await storage.catalog.listTopics();
    const answer: BackupTopics = {
      storageId: storage.storageId,
      clusterId: clusterId() ?? null,
      topics: topics.map(({ name, uuid, createdAt, replicationFactor, settings, partitions }) => {
        return { name, uuid, createdAt, replicationFactor, settings, partitions: partitions.map((each) => each.uuid) };
      }),
    };
    return sendJson(reply, answer);
  });

  app.fastify.get<PartitionRoute>(
    `${partitionPath}/log`,
    { schema: { querystring: querySchema({}) } },
    async (request, reply) => {
      const replica = getLeader(request);
      // Else a leader that was elected just now would tell of less than others have acknowledged.
      await replica.confirm();
      const snapshot = await replica.copy((snapshots) => snapshots.take());
      return sendJson(reply, formatBackupLog({ uuid: replica.identity.uuid, ...snapshot }));
    },
  );

  app.fastify.get<PartitionRoute & { Querystring: SegmentsQuery }>(
    `${partitionPath}/segments`,
    { schema: { querystring: segmentsSchema } },
    async (request, reply) => {
      const { version, fromIndex, lastIndex } = request.query;
      const segments = await getLeader(request).copy((snapshots) =>
        snapshots.segments({
          version,
          fromIndex: integerParameter(fromIndex, "fromIndex", 1),
          lastIndex: integerParameter(lastIndex, "lastIndex", 0),
          maxCount: backupSegmentsMaxCount,
        }),
      );
      return sendJson(reply, { segments });
    },
  );

  app.fastify.get<PartitionRoute & { Querystring: StoreQuery }>(
    `${partitionPath}/store`,
    { schema: { querystring: storeSchema } },
    async (request, reply) => {
      const { version, baseIndex, position, endPosition } = request.query;
      quota.check(request.caller);
      const held = new HeldShare(answers, "send a piece of a log");
      goneSignal(reply).addEventListener("abort", () => held.end(), { once: true });
      const [from, to] = [integerParameter(position, "position", 0), integerParameter(endPosition, "endPosition", 0)];
      const maxBytes = Math.max(0, Math.min(to - from, backupPieceBytes));
      held.take(maxBytes);
      const bytes = await getLeader(request).copy((snapshots) =>
        snapshots.read({
          version,
          baseIndex: integerParameter(baseIndex, "baseIndex", 1),
          position: from,
          endPosition: to,
          maxBytes,
        }),
      );
      quota.charge(request.caller, bytes.length);
      return reply.header("content-type", "application/octet-stream").send(bytes);
    },
  );

  function getLeader({ caller, params: { topic, partition } }: FastifyRequest<PartitionRoute>): Replica {
    access.check(caller, "consume", topic);
    checkTopicName(topic);
    if (!/^[0-9]{1,9}$/.test(partition)) {
      const text = JSON.stringify(partition.slice(0, 64));
      throw new ProglogError("INVALID_ARGUMENT", `Cannot find partition ${text}: it isn't a number from 0 on`);
    }
    return storage.getLeaderOf(storage.getTopic(topic), Number(partition));
  }
}

export interface BackupRouteParts extends Pick<RouteServices, "storage" | "answers"> {
  readonly access: Access;
  readonly quota: ByteQuota;
  /** Of the cluster that the node is in. */
  readonly clusterId: () => string | undefined;
}

const partitionPath = "/v1/backup/topics/:topic/partitions/:partition";

interface PartitionParams {
  readonly topic: string;
  readonly partition: string;
}

interface PartitionRoute {
  readonly Params: PartitionParams;
}

interface SegmentsQuery {
  readonly version: string;
  readonly fromIndex: string;
  readonly lastIndex: string;
}

interface StoreQuery {
  readonly version: string;
  readonly baseIndex: string;
  readonly position: string;
  readonly endPosition: string;
}

const version = { type: "string", minLength: 1, maxLength: 80 };
const { integer } = querySchemas;

const segmentsSchema = {
  ...querySchema({ version, fromIndex: integer, lastIndex: integer }),
  required: ["version", "fromIndex", "lastIndex"],
};

const storeSchema = {
  ...querySchema({ version, baseIndex: integer, position: integer, endPosition: integer }),
  required: ["version", "baseIndex", "position", "endPosition"],
};
