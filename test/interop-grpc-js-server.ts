import type { Readable } from "node:stream";
import grpcJs from "@grpc/grpc-js";
import { type GrpcStatusError, Metadata, type Requests } from "../src/grpc/index.ts";
import { type InteropContext, interopHandlers, interopPaths } from "./interop-service.ts";

/** The test service behind grpc-js's server, with the same handlers. */
export class GrpcJsInteropServer implements AsyncDisposable {
  readonly address: string;
  readonly #server: grpcJs.Server;

  private constructor(server: grpcJs.Server, port: number) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  static async open(): Promise<GrpcJsInteropServer> {
    const server = new grpcJs.Server();
    server.addService(definition, implementation);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    server.bindAsync("127.0.0.1:0", grpcJs.ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    return new GrpcJsInteropServer(server, await promise);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await Promise.resolve();
  }
}

const asBytes = (bytes: Buffer): Buffer => bytes;

function methodOf(path: string, requestStream: boolean, responseStream: boolean): grpcJs.MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: asBytes,
    requestDeserialize: asBytes,
    responseSerialize: asBytes,
    responseDeserialize: asBytes,
  };
}

const definition: grpcJs.ServiceDefinition = {
  empty: methodOf(interopPaths.empty, false, false),
  unary: methodOf(interopPaths.unary, false, false),
  input: methodOf(interopPaths.input, true, false),
  output: methodOf(interopPaths.output, false, true),
  duplex: methodOf(interopPaths.duplex, true, true),
};

/** A call's context as our handlers want it, out of grpc-js's. */
function contextOf(metadata: grpcJs.Metadata): InteropContext {
  const received = new Metadata();
  for (const name of ["x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"])
    for (const value of metadata.get(name)) received.append(name, value);
  return {
    metadata: received,
    headers: new Metadata(),
    trailers: new Metadata(),
    isRequestCompressed: false,
    isCompressing: false,
  };
}

function theirs(metadata: Metadata): grpcJs.Metadata {
  const made = new grpcJs.Metadata();
  for (const name of metadata.names())
    made.set(name, name.endsWith("-bin") ? (metadata.getBytes(name) ?? Buffer.alloc(0)) : (metadata.get(name) ?? ""));
  return made;
}

function statusOf(error: unknown): grpcJs.StatusObject {
  const { code, message } = error as GrpcStatusError;
  return { code, details: message, metadata: new grpcJs.Metadata() };
}

function requestsOf(call: AsyncIterable<Buffer>): Requests<Buffer> {
  return call as unknown as Requests<Buffer>;
}

/** The requests of a call whose sending side outlives them. */
function iterate(call: Readable): AsyncIterable<Buffer> {
  return call.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
}

const implementation: grpcJs.UntypedServiceImplementation = {
  empty: (_call: grpcJs.ServerUnaryCall<Buffer, Buffer>, answer: grpcJs.sendUnaryData<Buffer>) =>
    answer(null, interopHandlers.empty()),

  unary(call: grpcJs.ServerUnaryCall<Buffer, Buffer>, answer: grpcJs.sendUnaryData<Buffer>) {
    const context = contextOf(call.metadata);
    try {
      const response = interopHandlers.unary(call.request, context);
      call.sendMetadata(theirs(context.headers));
      answer(null, response, theirs(context.trailers));
    } catch (error) {
      answer(statusOf(error));
    }
  },

  input(call: grpcJs.ServerReadableStream<Buffer, Buffer>, answer: grpcJs.sendUnaryData<Buffer>) {
    interopHandlers.input(requestsOf(iterate(call)), contextOf(call.metadata)).then(
      (response) => answer(null, response),
      (error: unknown) => answer(statusOf(error)),
    );
  },

  output(call: grpcJs.ServerWritableStream<Buffer, Buffer>) {
    const send = (response: Buffer): Promise<void> => new Promise((resolve) => void call.write(response, () => resolve()));
    interopHandlers.output(call.request, { send }, contextOf(call.metadata)).then(
      () => call.end(),
      (error: unknown) => call.emit("error", statusOf(error)),
    );
  },

  duplex(call: grpcJs.ServerDuplexStream<Buffer, Buffer>) {
    const context = contextOf(call.metadata);
    let isFirst = true;
    const send = (response: Buffer): Promise<void> => {
      if (isFirst) call.sendMetadata(theirs(context.headers));
      isFirst = false;
      return new Promise((resolve) => void call.write(response, () => resolve()));
    };
    interopHandlers.duplex(requestsOf(iterate(call)), { send }, context).then(
      () => call.end(theirs(context.trailers)),
      (error: unknown) => call.emit("error", statusOf(error)),
    );
  },
};
