import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import { type ErrorCode, type ErrorDetails, isProglogError, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import { GrpcServer, type GrpcServerObserver, Health, reflectionMethods, serve, type ServedMethod } from "../grpc/index.ts";
import {
  decodeChangePolicyRequest,
  decodeCreateTokenRequest,
  decodeRevokeTokenRequest,
  decodeTestPolicyRequest,
  encodeCreateTokenResponse,
  encodePolicyResponse,
  encodeTestPolicyResponse,
} from "../wire/access-message.ts";
import { encodeDescriptorSet } from "../wire/descriptor-set.ts";
import {
  decodeAddNodeRequest,
  decodeGetStatusRequest,
  decodeMovePartitionRequest,
  decodeRemoveNodeRequest,
  decodeTransferLeadershipRequest,
  encodeAddNodeResponse,
  encodeGetStatusResponse,
  encodeRemoveNodeResponse,
  encodeTransferLeadershipResponse,
} from "../wire/cluster-message.ts";
import { naming } from "../replica/group/group-errors.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { defaultTopicName } from "../replica/topic-name.ts";
import {
  decodeAlterTopicRequest,
  decodeCreateTopicRequest,
  decodeTopicNameRequest,
  emptyMessage,
  encodeGetServersResponse,
  encodeListTopicsResponse,
  encodeTopicResponse,
  type ServerDescription,
} from "../wire/topic-message.ts";
import type { AccessAdmin } from "./access/access-admin.ts";
import type { AccessControl } from "./access/access-control.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import { callerOf } from "./access/caller.ts";
import { GrpcAccess } from "./access/grpc-access.ts";
import type { ClusterService } from "./cluster-service.ts";
import type { ConsumeService } from "./consume-service.ts";
import { consumeMessages, produceMessages, serverMethod, toStatusError } from "./grpc-codecs.ts";
import { GrpcConsume } from "./grpc-consume.ts";
import { GrpcProduce } from "./grpc-produce.ts";
import { GrpcTopics } from "./grpc-topics.ts";
import type { ProduceService } from "./produce-service.ts";
import type { TopicService } from "./topic-service.ts";

/** The services that a node offers over gRPC, and the connections that speak it. */
export class GrpcDoor {
  readonly #server: GrpcServer;
  readonly #stopping = new AbortController();
  readonly #consume: GrpcConsume;
  readonly #produce: GrpcProduce;
  readonly #health = new Health();
  #isServing = false;

  constructor(parts: GrpcDoorParts) {
    const { storage, clock, random, observer } = parts;
    const stopping = this.#stopping.signal;
    this.#consume = new GrpcConsume({ ...parts, stopping });
    this.#produce = new GrpcProduce({ ...parts, stopping });
    const access = new GrpcAccess(parts.access);
    const methods = [
      ...logMethods({ ...parts, consume: this.#consume, produce: this.#produce }),
      ...topicMethods(new GrpcTopics(storage, parts.topics)),
      ...clusterMethods(parts.cluster),
      ...accessMethods(parts.accessAdmin),
    ].map((served) => this.#onceServing(access.guarded(this.#untilStopping(served, storage))));
    const always = [...this.#health.methods, ...reflectionMethods(encodeDescriptorSet())];
    this.#setHealth("NOT_SERVING");
    this.#server = new GrpcServer({
      methods: [...methods, ...always.map((served) => access.guarded(served))],
      clock,
      random,
      statusOf: (error) => {
        if (isProglogError(error)) parts.onError(error.code);
        return toStatusError(error);
      },
      observer,
    });
  }

  /** The logs are open: from now on calls are taken. Health and reflection answer before. */
  serve(): void {
    this.#isServing = true;
    this.#setHealth("SERVING");
  }

  get connectionCount(): number {
    return this.#server.sessionCount;
  }

  get callCount(): number {
    return this.#server.callCount;
  }

  get consumeStreamCount(): number {
    return this.#consume.streamCount;
  }

  /** Bytes that ConsumeStreams hold, beside what waits to be sent. */
  get consumeStreamBytes(): number {
    return this.#consume.streamBytes;
  }

  /** Bytes of messages received and not taken, sent and not gone. */
  get heldBytes(): number {
    return this.#server.heldBytes;
  }

  /** Bytes of produce requests under way, and how many streams and requests wait for room. */
  get produceRoom(): { readonly bytes: number; readonly waitingCount: number } {
    return this.#produce.room;
  }

  /** Takes over a connection that speaks HTTP/2. Its first bytes are to be read again. */
  takeConnection(socket: Duplex): void {
    this.#server.acceptSocket(socket);
  }

  /** Ends the streams with `reason`, lets calls under way finish for `limitMs`, and closes the connections. */
  async drain(reason: ProglogError, limitMs: number): Promise<void> {
    this.#stopping.abort(reason);
    this.#setHealth("NOT_SERVING");
    await this.#server.drain({ limitMs });
  }

  /** Ends everything now. Twice is fine. */
  close(): Promise<void> {
    return this.#server.close();
  }

  #setHealth(status: "SERVING" | "NOT_SERVING"): void {
    for (const service of ["", "log.v1.Log", "log.v1.Topics", "log.v1.Cluster", "log.v1.Access"])
      this.#health.set(service, status);
  }

  /** Whoever comes before the logs are open must not hear that a topic isn't there. */
  #onceServing(served: ServedMethod): ServedMethod {
    return checked(served, () => {
      if (!this.#isServing) throw new ProglogError("UNAVAILABLE", "Cannot answer: the node is starting", notAppended);
    });
  }

  /** Behind the question whether it may ask: where to go instead is for those alone who may. */
  #untilStopping(served: ServedMethod, storage: NodeStorage): ServedMethod {
    const { signal } = this.#stopping;
    return checked(served, (request) => {
      if (signal.aborted) throw naming(signal.reason, successorFor(request, storage));
    });
  }
}

function checked({ method, handler }: ServedMethod, check: (request: unknown) => void): ServedMethod {
  const checkedHandler = (...args: readonly unknown[]): unknown => {
    check(args[0]);
    return (handler as (...all: readonly unknown[]) => unknown)(...args);
  };
  return { method, handler: checkedHandler };
}

/** Who answers in this node's place what is asked of a partition. */
function successorFor(request: unknown, storage: NodeStorage): ErrorDetails {
  if (typeof request !== "object" || request === null || !("topic" in request) || !("partition" in request)) return {};
  const { topic, partition } = request;
  if (typeof topic !== "string" || (partition !== undefined && typeof partition !== "number")) return {};
  return storage.findSuccessor(topic === "" ? defaultTopicName : topic, partition);
}

const notAppended = { hint: "Come back: it opens its logs.", details: { outcome: "not-appended" } };

export interface GrpcDoorParts {
  readonly storage: NodeStorage;
  readonly produce: ProduceService;
  readonly consume: ConsumeService;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observer: GrpcServerObserver;
  /** An append failed whose client had its answer before (`acks` "none"). */
  readonly onUnheardFailure: () => void;
  /** A call, or a request of a stream, was answered with an error. */
  readonly onError: (code: ErrorCode) => void;
  /** The nodes, as this one sees them. */
  readonly listServers: () => readonly ServerDescription[];
  readonly topics: TopicService;
  readonly cluster: ClusterService;
  readonly access: AccessControl;
  /** How much each principal may consume. */
  readonly quota: ByteQuota;
  readonly accessAdmin: AccessAdmin;
}

interface LogHandlers {
  readonly produce: GrpcProduce;
  readonly consume: GrpcConsume;
  readonly listServers: () => readonly ServerDescription[];
}

function logMethods({ produce, consume, listServers }: LogHandlers): readonly ServedMethod[] {
  const serversMessages = { decodeRequest: () => undefined, encodeResponse: encodeGetServersResponse };
  return [
    serve(serverMethod("/log.v1.Log/Produce", "unary", produceMessages), (request, call) => produce.produce(request, call)),
    serve(serverMethod("/log.v1.Log/ProduceStream", "bidi-stream", produceMessages), (requests, responses, call) =>
      produce.produceStream(requests, responses, call),
    ),
    serve(serverMethod("/log.v1.Log/Consume", "unary", consumeMessages), (request, call) => consume.consume(request, call)),
    serve(serverMethod("/log.v1.Log/ConsumeStream", "server-stream", consumeMessages), (request, responses, call) =>
      consume.consumeStream(request, responses, call),
    ),
    serve(serverMethod("/log.v1.Log/GetServers", "unary", serversMessages), listServers),
  ];
}

function topicMethods(topics: GrpcTopics): readonly ServedMethod[] {
  const nothing = { decodeRequest: () => undefined };
  const named = { decodeRequest: decodeTopicNameRequest };
  const topic = { encodeResponse: encodeTopicResponse };
  return [
    serve(
      serverMethod("/log.v1.Topics/ListTopics", "unary", { ...nothing, encodeResponse: encodeListTopicsResponse }),
      (_, call) => topics.list(call),
    ),
    serve(
      serverMethod("/log.v1.Topics/CreateTopic", "unary", { decodeRequest: decodeCreateTopicRequest, ...topic }),
      (request, call) => topics.create(request, call),
    ),
    serve(serverMethod("/log.v1.Topics/DescribeTopic", "unary", { ...named, ...topic }), (name, call) =>
      topics.describe(name, call),
    ),
    serve(
      serverMethod("/log.v1.Topics/AlterTopic", "unary", { decodeRequest: decodeAlterTopicRequest, ...topic }),
      (request, call) => topics.alter(request, call),
    ),
    serve(serverMethod("/log.v1.Topics/DeleteTopic", "unary", { ...named, encodeResponse: () => emptyMessage }), (name, call) =>
      topics.delete(name, call),
    ),
  ];
}

function clusterMethods(cluster: ClusterService): readonly ServedMethod[] {
  const status = { decodeRequest: decodeGetStatusRequest, encodeResponse: encodeGetStatusResponse };
  const removal = { decodeRequest: decodeRemoveNodeRequest, encodeResponse: encodeRemoveNodeResponse };
  const addition = { decodeRequest: decodeAddNodeRequest, encodeResponse: encodeAddNodeResponse };
  const transfer = { decodeRequest: decodeTransferLeadershipRequest, encodeResponse: encodeTransferLeadershipResponse };
  const move = { decodeRequest: decodeMovePartitionRequest, encodeResponse: () => emptyMessage };
  return [
    serve(serverMethod("/log.v1.Cluster/GetStatus", "unary", status), (request, call) =>
      cluster.getStatus(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Cluster/RemoveNode", "unary", removal), (request, call) =>
      cluster.removeNode(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Cluster/AddNode", "unary", addition), (request, call) =>
      cluster.addNode(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Cluster/TransferLeadership", "unary", transfer), (request, call) =>
      cluster.transferLeadership(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Cluster/MovePartition", "unary", move), (request, call) =>
      cluster.movePartition(callerOf(call), request),
    ),
  ];
}

function accessMethods(admin: AccessAdmin): readonly ServedMethod[] {
  const policy = { decodeRequest: () => undefined, encodeResponse: encodePolicyResponse };
  const change = { decodeRequest: decodeChangePolicyRequest, encodeResponse: encodePolicyResponse };
  const question = { decodeRequest: decodeTestPolicyRequest, encodeResponse: encodeTestPolicyResponse };
  const token = { decodeRequest: decodeCreateTokenRequest, encodeResponse: encodeCreateTokenResponse };
  const revocation = { decodeRequest: decodeRevokeTokenRequest, encodeResponse: () => emptyMessage };
  return [
    serve(serverMethod("/log.v1.Access/GetPolicy", "unary", policy), (_, call) => admin.describe(callerOf(call))),
    serve(serverMethod("/log.v1.Access/ChangePolicy", "unary", change), (request, call) =>
      admin.change(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Access/TestPolicy", "unary", question), (request, call) => admin.test(callerOf(call), request)),
    serve(serverMethod("/log.v1.Access/CreateToken", "unary", token), (request, call) =>
      admin.createToken(callerOf(call), request),
    ),
    serve(serverMethod("/log.v1.Access/RevokeToken", "unary", revocation), (request, call) =>
      admin.revokeToken(callerOf(call), request),
    ),
  ];
}
