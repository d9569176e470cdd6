import { querySchema, querySchemas } from "./query.ts";

/** The record routes as data: what they check, and what a description of the API is made of. */
export const recordsPath = "/v1/topics/:topic/records";

export interface TopicParams {
  readonly topic: string;
}

const { integer, startingPoint } = querySchemas;
const flag = { type: "string", enum: ["true", "false"] };
const params = { type: "object", properties: { topic: { type: "string" } } };

export const produceSchema = {
  params,
  querystring: querySchema({
    partition: integer,
    key: { type: "string" },
    keyBase64: { type: "string" },
    acks: { type: "string", enum: ["quorum", "leader"] },
  }),
};

export const consumeSchema = {
  params,
  querystring: querySchema({
    partition: integer,
    from: startingPoint,
    limit: integer,
    maxBytes: integer,
    waitMs: integer,
    follow: flag,
    leaderOnly: flag,
    atLeastOffset: integer,
  }),
};
