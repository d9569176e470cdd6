import {
  type CallContext,
  GrpcStatusError,
  type Requests,
  type Responses,
  serve,
  type ServedMethod,
} from "../src/grpc/index.ts";
import { bytesMethod } from "./grpc-pair.ts";
import {
  decodeInputRequest,
  decodeSimpleRequest,
  decodeStreamingRequest,
  type EchoStatus,
  encodeInputResponse,
  payloadField,
} from "./interop-messages.ts";

/**
 * `grpc.testing.TestService` as gRPC's interop descriptions say. The handlers ask little of what calls them, so that another
 * implementation's server can have them, too.
 */

const initialKey = "x-grpc-test-echo-initial";
const trailingKey = "x-grpc-test-echo-trailing-bin";

export const interopPaths = {
  empty: "/grpc.testing.TestService/EmptyCall",
  unary: "/grpc.testing.TestService/UnaryCall",
  input: "/grpc.testing.TestService/StreamingInputCall",
  output: "/grpc.testing.TestService/StreamingOutputCall",
  duplex: "/grpc.testing.TestService/FullDuplexCall",
  unimplementedMethod: "/grpc.testing.TestService/UnimplementedCall",
  unimplementedService: "/grpc.testing.UnimplementedService/UnimplementedCall",
} as const;

/** What a handler needs of its call. */
export type InteropContext = Pick<CallContext, "metadata" | "headers" | "trailers" | "isRequestCompressed" | "isCompressing">;

export const interopHandlers = {
  empty: (): Buffer => Buffer.alloc(0),

  unary: (bytes: Buffer, call: InteropContext): Buffer => {
    const request = decodeSimpleRequest(bytes);
    echoMetadata(call);
    checkCompressed(request.expectCompressed, call);
    echoStatus(request.status);
    call.isCompressing = request.responseCompressed === true;
    return payloadField(1, Buffer.alloc(request.responseSize));
  },

  input: async (requests: Requests<Buffer>, call: InteropContext): Promise<Buffer> => {
    let size = 0;
    for await (const bytes of requests) {
      const request = decodeInputRequest(bytes);
      checkCompressed(request.expectCompressed, call);
      size += request.size;
    }
    return encodeInputResponse(size);
  },

  output: async (bytes: Buffer, responses: Responses<Buffer>, call: InteropContext): Promise<void> => {
    const request = decodeStreamingRequest(bytes);
    // Told in the headers, which go before the first message whether that one is compressed or not.
    call.isCompressing = request.responses.some(({ isCompressed }) => isCompressed);
    for (const { size, isCompressed = false } of request.responses) {
      const sent = payloadField(1, Buffer.alloc(size));
      if (call.isCompressing && !isCompressed) (call as Partial<CallContext>).sendHeaders?.();
      call.isCompressing = isCompressed;
      await responses.send(sent);
    }
    echoStatus(request.status);
  },

  duplex: async (requests: Requests<Buffer>, responses: Responses<Buffer>, call: InteropContext): Promise<void> => {
    echoMetadata(call);
    for await (const bytes of requests) {
      const request = decodeStreamingRequest(bytes);
      echoStatus(request.status);
      for (const { size } of request.responses) await responses.send(payloadField(1, Buffer.alloc(size)));
    }
  },
};

export const interopMethods: readonly ServedMethod[] = [
  serve(bytesMethod(interopPaths.empty, "unary"), interopHandlers.empty),
  serve(bytesMethod(interopPaths.unary, "unary"), interopHandlers.unary),
  serve(bytesMethod(interopPaths.input, "client-stream"), interopHandlers.input),
  serve(bytesMethod(interopPaths.output, "server-stream"), interopHandlers.output),
  serve(bytesMethod(interopPaths.duplex, "bidi-stream"), interopHandlers.duplex),
];

function echoMetadata(call: InteropContext): void {
  const initial = call.metadata.get(initialKey);
  if (initial !== undefined) call.headers.set(initialKey, initial);
  const trailing = call.metadata.getBytes(trailingKey);
  if (trailing !== undefined) call.trailers.set(trailingKey, trailing);
}

function echoStatus(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0) throw new GrpcStatusError(status.code, status.message);
}

function checkCompressed(expected: boolean | undefined, call: InteropContext): void {
  if (expected === true && !call.isRequestCompressed)
    throw new GrpcStatusError("INVALID_ARGUMENT", "the request was to be compressed, and isn't");
}
