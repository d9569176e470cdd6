import { orphansMaxCount } from "../base/limits.ts";
import type { ClusteredNode } from "../replica/cluster/clustered-node.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { Access } from "./access/access-control.ts";
import { describeClusterNode, describeReplica } from "./cluster-status.ts";
import { type HttpApp, sendJson, sendText } from "./http-app.ts";
import type { Metrics } from "./metrics.ts";
import { querySchema } from "./query.ts";
import type { SecurityStatus } from "./security.ts";

/**
 * How the node is. `/livez`: the loop turns. `/readyz`: the logs are opened and the node serves; a partition that is damaged isn't in
 * it, so that it doesn't take the others off the air. That stands in the status and the metrics.
 */
export function addHealthRoutes(
  app: HttpApp,
  { storage, access, cluster, metrics, startedAt, now, version, security }: HealthOptions,
): void {
  const config = { isAlwaysServed: true };
  const schema = { querystring: querySchema({}) };

  app.fastify.get("/livez", { config }, async (_request, reply) => sendText(reply, 200, "ok\n"));

  app.fastify.get("/readyz", { config }, async (_request, reply) => {
    const phase = cluster?.stopped.aborted === true ? "stopping" : app.phase;
    return phase === "serving" ? sendText(reply, 200, "ok\n") : sendText(reply, 503, `${phase}\n`);
  });

  app.fastify.get("/metrics", { config }, async (_request, reply) => {
    return reply.header("content-type", metrics.contentType).send(await metrics.text());
  });

  app.fastify.get("/v1/status", { config, schema }, async ({ caller }, reply) => {
    return sendJson(reply, {
      ...(version === undefined ? {} : { version }),
      phase: app.phase,
      startedAt,
      uptimeMs: now() - startedAt,
      storageId: storage.storageId,
      security: security(),
      ...(cluster === undefined ? {} : { cluster: describeClusterNode(cluster) }),
      orphans: { count: storage.orphans.length, names: storage.orphans.slice(0, orphansMaxCount) },
      partitions: [...storage.replicas.values()]
        .filter(({ identity }) => access.permits(caller, "describe", identity.topic))
        .map((replica) => describeReplica(replica.status())),
    });
  });
}

export interface HealthOptions {
  readonly storage: NodeStorage;
  /** How its port is protected. */
  readonly security: () => SecurityStatus;
  readonly access: Access;
  /** Undefined on a node that is in no cluster, nor about to be. */
  readonly cluster: ClusteredNode | undefined;
  readonly metrics: Metrics;
  readonly startedAt: number;
  readonly now: () => number;
  readonly version?: string | undefined;
}
