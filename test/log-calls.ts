import { fromGrpcStatus } from "../src/wire/grpc-status.ts";
import type { ProglogError } from "../src/base/error.ts";
import { type Channel, GrpcStatusError } from "../src/grpc/index.ts";
import { type ConsumeRequest, encodeConsumeRequest } from "../src/wire/consume-message.ts";
import {
  decodeProduceResponse,
  encodeProduceRequest,
  type ProduceRequest,
  type ProduceResponse,
} from "../src/wire/produce-message.ts";
import { bytesMethod } from "./grpc-pair.ts";

/** The calls of `log.v1.Log` as bytes, so that a test may send what no client would. */
export const produce = bytesMethod("/log.v1.Log/Produce", "unary");
export const produceStream = bytesMethod("/log.v1.Log/ProduceStream", "bidi-stream");
export const consume = bytesMethod("/log.v1.Log/Consume", "unary");
export const consumeStream = bytesMethod("/log.v1.Log/ConsumeStream", "server-stream");

export function produceBytes(request: Partial<ProduceRequest>): Buffer {
  return encodeProduceRequest({ topic: "", records: [], acks: "quorum", answersErrors: false, ...request });
}

export function consumeBytes(request: Partial<ConsumeRequest>): Buffer {
  return encodeConsumeRequest({
    topic: "",
    partition: 0,
    from: 0,
    maxRecords: 0,
    maxBytes: 0,
    waitMs: 0,
    isPacked: false,
    stopsAtEnd: false,
    atLeastOffset: 0,
    leaderOnly: false,
    ...request,
  });
}

export async function produceOnce(channel: Channel, request: Partial<ProduceRequest>): Promise<ProduceResponse> {
  return decodeProduceResponse(await channel.unary(produce, produceBytes(request)));
}

/** The error that a call ends with, as a client makes one of it. */
export async function failureOf(call: Promise<unknown>): Promise<ProglogError> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof GrpcStatusError)) throw error;
    return fromGrpcStatus({ code: error.code, message: error.message, details: error.details });
  }
  throw new Error("the call went well");
}
