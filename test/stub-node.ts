import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { CallContext, Responses } from "../src/grpc/index.ts";
import { type ServedMethod, serve } from "../src/grpc/index.ts";
import { ProglogError } from "../src/base/error.ts";
import type { ClusterAdmin } from "../src/server/cluster-admin.ts";
import {
  decodeGetStatusRequest,
  decodeMovePartitionRequest,
  decodeAddNodeRequest,
  decodeRemoveNodeRequest,
  decodeTransferLeadershipRequest,
  encodeGetStatusResponse,
  encodeAddNodeResponse,
  encodeRemoveNodeResponse,
  encodeTransferLeadershipResponse,
} from "../src/wire/cluster-message.ts";
import { toStatusError } from "../src/server/grpc-codecs.ts";
import { type ConsumeRequest, decodeConsumeRequest } from "../src/wire/consume-message.ts";
import { decodeProduceRequest, encodeProduceResponse, type ProduceResponse } from "../src/wire/produce-message.ts";
import { toProtoError } from "../src/wire/proto-error.ts";
import { emptyMessage, encodeListTopicsResponse, encodeTopicResponse } from "../src/wire/topic-message.ts";
import { type BatchHeader, readBatchHeader } from "../src/batch/batch-header.ts";
import { decodeBatch } from "../src/batch/decode-batch.ts";
import { bytesMethod, GrpcPair } from "./grpc-pair.ts";

/** What a node does that behaves as it does only on a bad day. What isn't given goes well, with one partition and no topics. */
export interface StubHandlers {
  /** Answers a produce, with the values of its batch; what it throws is the answer. Undefined: no answer. */
  produce?(values: readonly string[], node: GrpcPair, batch: BatchHeader): number | undefined | Promise<number | undefined>;
  /** The acknowledgements' word on whether they are synced. Default: true. */
  readonly isDurable?: boolean;
  consume?(request: ConsumeRequest, responses: Responses<Buffer>, call: CallContext): Promise<void>;
  listTopics?(node: GrpcPair): Buffer | Promise<Buffer>;
  readonly cluster?: Partial<ClusterAdmin>;
  /** Ends each produce stream after so many answers. */
  readonly produceAnswersMax?: number;
}

export function openStubNode(handlers: StubHandlers = {}): Promise<GrpcPair> {
  const opening: Promise<GrpcPair> = GrpcPair.open({
    statusOf: toStatusError,
    methods: [
      serve(bytesMethod("/log.v1.Topics/DescribeTopic", "unary"), () => encodeTopicResponse(oneTopic)),
      serve(bytesMethod("/log.v1.Topics/ListTopics", "unary"), async () => {
        const node = await opening;
        return handlers.listTopics === undefined ? encodeListTopicsResponse([]) : handlers.listTopics(node);
      }),
      ...clusterMethods(handlers.cluster),
      serve(bytesMethod("/log.v1.Log/ProduceStream", "bidi-stream"), async (requests, responses) => {
        const node = await opening;
        let answers = 0;
        for await (const request of requests) {
          if (answers === handlers.produceAnswersMax) return;
          const answer = await answerProduce(request, handlers, node);
          if (answer === undefined) continue;
          await responses.send(encodeProduceResponse(answer));
          answers += 1;
        }
      }),
      serve(bytesMethod("/log.v1.Log/ConsumeStream", "server-stream"), async (request, responses, call) => {
        await handlers.consume?.(decodeConsumeRequest(request), responses, call);
      }),
    ],
  });
  return opening;
}

function clusterMethods(cluster: Partial<ClusterAdmin> = {}): readonly ServedMethod[] {
  const method = (name: string) => bytesMethod(`/log.v1.Cluster/${name}`, "unary");
  return [
    serve(method("GetStatus"), async (request) => {
      return encodeGetStatusResponse(await stated(cluster.getStatus?.(decodeGetStatusRequest(request))));
    }),
    serve(method("RemoveNode"), async (request) => {
      return encodeRemoveNodeResponse(await stated(cluster.removeNode?.(decodeRemoveNodeRequest(request))));
    }),
    serve(method("AddNode"), async (request) => {
      return encodeAddNodeResponse(await stated(cluster.addNode?.(decodeAddNodeRequest(request))));
    }),
    serve(method("TransferLeadership"), async (request) => {
      const moved = await stated(cluster.transferLeadership?.(decodeTransferLeadershipRequest(request)));
      return encodeTransferLeadershipResponse(moved);
    }),
    serve(method("MovePartition"), async (request) => {
      await cluster.movePartition?.(decodeMovePartitionRequest(request));
      return emptyMessage;
    }),
  ];
}

function stated<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new ProglogError("NOT_CLUSTERED", "Cannot say: this stub is in no cluster");
  return value;
}

async function answerProduce(request: Buffer, handlers: StubHandlers, node: GrpcPair): Promise<ProduceResponse | undefined> {
  const batch = decodeProduceRequest(request).batch ?? Buffer.alloc(0);
  const values = decodeBatch(batch).map(({ value }) => String(value));
  const { isDurable = true } = handlers;
  const answer = { partition: 0, count: values.length, appendTime: 0, isDurable, isDuplicate: false };
  try {
    const offset = await handlers.produce?.(values, node, readBatchHeader(batch));
    return offset === undefined ? undefined : { ...answer, offset };
  } catch (error) {
    return { ...answer, offset: 0, error: toProtoError(error) };
  }
}

const nowhere = { leaderId: "", leaderRpcAddr: "", replicas: [], term: 0 };

const oneTopic = {
  name: "default",
  uuid: "",
  createdAt: 0,
  settings: {},
  effectiveSettings: {},
  replicationFactor: 1,
  partitions: [{ ...nowhere, partition: 0, uuid: "", state: "open", logStartOffset: 0, highWatermark: 0 }],
};

/** A server that speaks HTTP/1.1 and nothing else. */
export async function openStranger(): Promise<AsyncDisposable & { readonly address: string }> {
  const server = createServer((_request, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>hello"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
