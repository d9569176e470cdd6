import type { AccessAction } from "./access-action.ts";

/**
 * What each method and each route asks for: the one table. A method that isn't here isn't served, and a node with a route that isn't here doesn't
 * start; tests hold it against what the proto and the API's document have.
 */
export type AccessRule =
  /** Nothing: whoever reaches the port. */
  | { readonly kind: "open" }
  /** Any rule at all. Its answer shows what the caller may describe. `isEarly`: also while nobody knows who may do what; then it shows nothing. */
  | { readonly kind: "known"; readonly isEarly?: boolean }
  /** The action on `*`. */
  | { readonly kind: "whole"; readonly action: AccessAction }
  /** The action on a topic: of a request's field, of the path or the body; "" is what the API takes for "default". */
  | { readonly kind: "topic"; readonly action: AccessAction; readonly from: TopicPlace };

export type TopicPlace =
  /** A field of the message. */
  | { readonly field: string; readonly isDefaulted?: boolean }
  /** The same, in each message of the stream: asked by who takes them. */
  | { readonly eachField: string }
  /** A parameter of the path. */
  | { readonly parameter: string }
  /** A field of the JSON body. */
  | { readonly body: string }
  /** The book's routes know but one. */
  | { readonly topic: string };

const open: AccessRule = { kind: "open" };
const known: AccessRule = { kind: "known" };
const administers: AccessRule = { kind: "whole", action: "admin" };

function on(action: AccessAction, from: TopicPlace): AccessRule {
  return { kind: "topic", action, from };
}

/** By path. */
export const grpcAccessRules: Readonly<Record<string, AccessRule>> = {
  "/log.v1.Log/Produce": on("produce", { field: "topic", isDefaulted: true }),
  "/log.v1.Log/ProduceStream": on("produce", { eachField: "topic" }),
  "/log.v1.Log/Consume": on("consume", { field: "topic", isDefaulted: true }),
  "/log.v1.Log/ConsumeStream": on("consume", { field: "topic", isDefaulted: true }),
  "/log.v1.Log/GetServers": known,
  "/log.v1.Topics/ListTopics": known,
  "/log.v1.Topics/CreateTopic": on("admin", { field: "name" }),
  "/log.v1.Topics/DescribeTopic": on("describe", { field: "name" }),
  "/log.v1.Topics/AlterTopic": on("admin", { field: "name" }),
  "/log.v1.Topics/DeleteTopic": on("admin", { field: "name" }),
  "/log.v1.Cluster/GetStatus": known,
  "/log.v1.Cluster/RemoveNode": { kind: "whole", action: "cluster" },
  "/log.v1.Cluster/AddNode": { kind: "whole", action: "cluster" },
  "/log.v1.Cluster/TransferLeadership": on("cluster", { field: "topic", isDefaulted: true }),
  "/log.v1.Cluster/MovePartition": on("cluster", { field: "topic", isDefaulted: true }),
  "/log.v1.Access/GetPolicy": administers,
  "/log.v1.Access/ChangePolicy": administers,
  "/log.v1.Access/TestPolicy": administers,
  "/log.v1.Access/CreateToken": administers,
  "/log.v1.Access/RevokeToken": administers,
  "/grpc.health.v1.Health/Check": open,
  "/grpc.health.v1.Health/Watch": open,
  "/grpc.health.v1.Health/List": open,
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": known,
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": known,
};

/** By method and path, as they are registered. */
export const httpAccessRules: Readonly<Record<string, AccessRule>> = {
  "POST /": on("produce", { topic: "default" }),
  "GET /": on("consume", { topic: "default" }),
  "POST /v1/topics/:topic/records": on("produce", { parameter: "topic" }),
  "GET /v1/topics/:topic/records": on("consume", { parameter: "topic" }),
  "GET /v1/topics": known,
  "POST /v1/topics": on("admin", { body: "name" }),
  "GET /v1/topics/:topic": on("describe", { parameter: "topic" }),
  "PATCH /v1/topics/:topic": on("admin", { parameter: "topic" }),
  "DELETE /v1/topics/:topic": on("admin", { parameter: "topic" }),
  "GET /v1/cluster": known,
  "PUT /v1/cluster/nodes/:node": { kind: "whole", action: "cluster" },
  "DELETE /v1/cluster/nodes/:node": { kind: "whole", action: "cluster" },
  "POST /v1/topics/:topic/partitions/:partition/leader": on("cluster", { parameter: "topic" }),
  "PUT /v1/topics/:topic/partitions/:partition/replicas": on("cluster", { parameter: "topic" }),
  "GET /v1/backup/topics": { kind: "whole", action: "consume" },
  "GET /v1/backup/topics/:topic/partitions/:partition/log": on("consume", { parameter: "topic" }),
  "GET /v1/backup/topics/:topic/partitions/:partition/segments": on("consume", { parameter: "topic" }),
  "GET /v1/backup/topics/:topic/partitions/:partition/store": on("consume", { parameter: "topic" }),
  "GET /v1/log-level": administers,
  "PUT /v1/log-level": administers,
  "GET /v1/access": administers,
  "POST /v1/access": administers,
  "POST /v1/access/test": administers,
  "POST /v1/access/tokens": administers,
  "DELETE /v1/access/tokens/:id": administers,
  "GET /v1/status": { kind: "known", isEarly: true },
  "GET /metrics": { kind: "whole", action: "describe" },
  "GET /v1/openapi.json": open,
  "GET /livez": open,
  "GET /readyz": open,
};
