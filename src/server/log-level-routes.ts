import { logLevelForMaxMs, logLevelForMinMs } from "../base/limits.ts";
import { parseJson } from "../wire/record-body.ts";
import type { AuditLog } from "./access/audit-log.ts";
import { auditedChange } from "./access/audited-change.ts";
import { checkJson } from "./cluster-routes.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import { type LevelledLogger, type LogLevel, logLevels } from "./levelled-logger.ts";
import { querySchema } from "./query.ts";
import type { RequestBodies } from "./request-bodies.ts";

/** What is logged, asked for and changed while the node runs; also while it starts, when one most wants to know. */
export function addLogLevelRoutes(app: HttpApp, { logger, bodies, audit }: LogLevelParts): void {
  const config = { isAlwaysServed: true };

  app.fastify.get("/v1/log-level", { config, schema: { querystring: querySchema({}) } }, async (_request, reply) => {
    return sendJson(reply, logger.status);
  });

  app.fastify.put<{ Body: { readonly level: LogLevel; readonly forMs?: number } }>(
    "/v1/log-level",
    {
      config,
      schema: { querystring: querySchema({}), body: bodySchema },
      preValidation: async (request, reply) => {
        checkJson(request.headers["content-type"]);
        request.body = parseJson(await bodies.read(request.raw, reply.raw), "the body") as { readonly level: LogLevel };
      },
    },
    async (request, reply) => {
      const { caller, body } = request;
      const change = { caller, action: "admin", resource: "*", change: `log level ${body.level}` } as const;
      await auditedChange(audit, change, async () => logger.change(body.level, body.forMs));
      return sendJson(reply, logger.status);
    },
  );
}

export interface LogLevelParts {
  readonly logger: LevelledLogger;
  readonly bodies: RequestBodies;
  readonly audit?: AuditLog | undefined;
}

const bodySchema = {
  type: "object",
  additionalProperties: false,
  required: ["level"],
  properties: {
    level: { type: "string", enum: logLevels },
    forMs: { type: "integer", minimum: logLevelForMinMs, maximum: logLevelForMaxMs },
  },
};
