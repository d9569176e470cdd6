import { create, toBinary } from "@bufbuild/protobuf";
import { type Channel, isGrpcStatusError, Metadata } from "../src/grpc/index.ts";
import { type AccessRule, grpcAccessRules, httpAccessRules } from "../src/server/access/access-rules.ts";
import { file_log_v1_log } from "../src/wire/gen/log/v1/log_pb.ts";
import { decodeProduceResponse, encodeProduceRequest } from "../src/wire/produce-message.ts";
import { fromGrpcStatus } from "../src/wire/grpc-status.ts";
import { bytesMethod } from "./grpc-pair.ts";

/** A request of each kind that the table of access has, and how it is told whether it was refused for who sent it. */
export interface AccessRequest {
  /** "/log.v1.Log/Produce", or "GET /v1/topics/:topic". */
  readonly name: string;
  readonly rule: AccessRule;
  /** The code of what came back; undefined when it was served. */
  ask(way: AccessWay): Promise<string | undefined>;
}

/** How somebody reaches a node. */
export interface AccessWay {
  readonly channel: Channel;
  /** What the header `authorization` has; undefined: there is none. */
  readonly authorization: string | undefined;
  readonly http: (method: string, path: string, options: HttpOptions) => Promise<HttpAnswer>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

export interface HttpOptions {
  readonly body?: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** All are about the topic `orders`, those that are about one; and about the topic `default` where nothing else can be said. */
export function accessRequests(): readonly AccessRequest[] {
  return [
    ...Object.entries(grpcAccessRules).map(([name, rule]) => ({ name, rule, ask: (way: AccessWay) => askGrpc(name, way) })),
    ...Object.entries(httpAccessRules).map(([name, rule]) => ({ name, rule, ask: (way: AccessWay) => askHttp(name, way) })),
  ];
}

/** Codes that say: not you. */
export const refusals: readonly (string | undefined)[] = ["UNAUTHENTICATED", "PERMISSION_DENIED"];

async function askGrpc(path: string, { channel, authorization }: AccessWay): Promise<string | undefined> {
  const metadata = Metadata.of(authorization === undefined ? {} : { authorization });
  const found = file_log_v1_log.services
    .flatMap((service) => service.methods.map((method) => ({ path: `/${service.typeName}/${method.name}`, method })))
    .find((one) => one.path === path);
  const request = found === undefined ? Buffer.alloc(0) : Buffer.from(exampleOf(found.method.input));
  const kind = found?.method.methodKind ?? kindOfForeign(path);
  try {
    switch (kind) {
      case "unary":
        await channel.unary(bytesMethod(path, "unary"), request, { metadata });
        return undefined;
      case "server_streaming": {
        const call = await channel.serverStream(bytesMethod(path, "server-stream"), request, { metadata });
        await call.responses.read();
        call.cancel();
        return undefined;
      }
      default: {
        const call = await channel.bidiStream(bytesMethod(path, "bidi-stream"), { metadata });
        if (path.endsWith("/ProduceStream")) await call.send(exampleProduce);
        else await call.send(request);
        const answer = await call.responses.read();
        call.cancel();
        const error = answer !== undefined && path.endsWith("/ProduceStream") ? decodeProduceResponse(answer).error : undefined;
        return error?.code;
      }
    }
  } catch (error) {
    if (!isGrpcStatusError(error)) throw error;
    return fromGrpcStatus(error).code;
  }
}

/** Health and reflection aren't in our proto. */
function kindOfForeign(path: string): "unary" | "server_streaming" | "bidi_streaming" {
  if (path.endsWith("/ServerReflectionInfo")) return "bidi_streaming";
  return path.endsWith("/Watch") ? "server_streaming" : "unary";
}

type Message = (typeof file_log_v1_log.services)[number]["methods"][number]["input"];

/** It names the topic where it names one. */
function exampleOf(input: Message): Uint8Array {
  const init: Record<string, unknown> = {};
  for (const { localName } of input.fields) if (localName === "topic") init[localName] = "orders";
  if (/^log\.v1\.(Create|Describe|Alter|Delete)Topic/.test(input.typeName)) init["name"] = "orders";
  return toBinary(input, create(input, init));
}

const exampleProduce = encodeProduceRequest({
  topic: "orders",
  records: [{ value: "x" }],
  acks: "quorum",
  answersErrors: true,
});

async function askHttp(name: string, { authorization, http }: AccessWay): Promise<string | undefined> {
  const [method = "", template = ""] = name.split(" ");
  const path = template
    .replace(":topic", "orders")
    .replace(":partition", "0")
    .replaceAll(/:(node|id)/g, "none");
  const headers = { ...(authorization === undefined ? {} : { authorization }), "content-type": "application/json" };
  const body = exampleBodies[name] ?? (method === "GET" || method === "DELETE" ? undefined : "{}");
  const { status, text } = await http(method, path, { headers, ...(body === undefined ? {} : { body }) });
  if (status < 400) return undefined;
  if (text.startsWith("{")) return (JSON.parse(text) as { readonly code: string }).code;
  return status === 401 ? "UNAUTHENTICATED" : status === 403 ? "PERMISSION_DENIED" : `HTTP ${status}`;
}

/** Of routes that look at their body before they say who may not. */
const exampleBodies: Readonly<Record<string, string>> = {
  "POST /": '{"record":{"value":"eA=="}}',
  "POST /v1/topics": '{"name":"orders"}',
  "POST /v1/topics/:topic/records": '{"value":"x"}',
  "PUT /v1/topics/:topic/partitions/:partition/replicas": '{"nodes":["a"]}',
  "POST /v1/access/test": '{"subject":"a","resource":"*","action":"admin"}',
  // Of a name that can't be: nothing is to be left behind.
  "POST /v1/access/tokens": '{"name":"no name"}',
};
