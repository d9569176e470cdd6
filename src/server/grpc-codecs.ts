import { type CallKind, GrpcStatusError, type Method } from "../grpc/index.ts";
import {
  type ConsumeRequest,
  decodeConsumeRequest,
  encodeConsumeResponse,
  type ConsumeResponse,
} from "../wire/consume-message.ts";
import { toGrpcStatus } from "../wire/grpc-status.ts";
import {
  decodeProduceRequest,
  encodeProduceResponse,
  type ProduceRequest,
  type ProduceResponse,
} from "../wire/produce-message.ts";

/** What any error is as the status of a call. */
export function toStatusError(error: unknown): GrpcStatusError {
  if (error instanceof GrpcStatusError) return error;
  const { code, message, details } = toGrpcStatus(error);
  return new GrpcStatusError(code, message, { details, cause: error });
}

export interface MethodMessages<Request, Response> {
  readonly decodeRequest: (bytes: Buffer) => Request;
  readonly encodeResponse: (response: Response) => Buffer;
}

/** A method as its server knows it: it reads requests and writes responses, and never the other way round. */
export function serverMethod<Request, Response, Kind extends CallKind>(
  path: string,
  kind: Kind,
  { decodeRequest, encodeResponse }: MethodMessages<Request, Response>,
): Method<Request, Response, Kind> {
  return {
    path,
    kind,
    request: { encode: clientsOnly, decode: (bytes) => decodeAs(decodeRequest, bytes) },
    response: { encode: encodeResponse, decode: clientsOnly },
  };
}

/** A produce request that came in. */
export interface ReceivedProduce extends ProduceRequest {
  /**
   * All of the memory that its batch lies in, where nothing else lies there: it may be given back before a collection comes round to it, when
   * nobody reads the batch any more.
   */
  readonly memory?: ArrayBuffer;
}

function decodeReceived(bytes: Buffer): ReceivedProduce {
  const request = decodeProduceRequest(bytes);
  const { buffer } = bytes;
  // A message of several frames was gathered in memory of its own; a smaller one lies beside others in what was read from a socket.
  const isAlone = bytes.byteOffset === 0 && bytes.length === buffer.byteLength && buffer instanceof ArrayBuffer;
  return request.batch !== undefined && isAlone ? { ...request, memory: buffer } : request;
}

export const produceMessages: MethodMessages<ReceivedProduce, ProduceResponse> = {
  decodeRequest: decodeReceived,
  encodeResponse: encodeProduceResponse,
};

export const consumeMessages: MethodMessages<ConsumeRequest, ConsumeResponse> = {
  decodeRequest: decodeConsumeRequest,
  encodeResponse: encodeConsumeResponse,
};

/** A message that can't be read is the client's fault, with our code; the layer below would call it its own. */
function decodeAs<Request>(decode: (bytes: Buffer) => Request, bytes: Buffer): Request {
  try {
    return decode(bytes);
  } catch (error) {
    throw toStatusError(error);
  }
}

function clientsOnly(): never {
  throw new TypeError("a server doesn't send requests");
}
