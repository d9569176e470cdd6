import grpcJs from "@grpc/grpc-js";
import { type CallOptions, type Channel, GrpcStatusError, Metadata, type MetadataValues } from "../src/grpc/index.ts";
import { bytesMethod } from "./grpc-pair.ts";

/** What the interop cases ask of a client, so that ours and another implementation's can both be held to them. Messages are bytes. */
export interface InteropClient {
  unary(path: string, request: Buffer, options?: InteropOptions): Promise<Buffer>;
  clientStream(path: string, options?: InteropOptions): Promise<InteropSending & { readonly response: Promise<Buffer> }>;
  serverStream(path: string, request: Buffer, options?: InteropOptions): Promise<InteropReading>;
  bidiStream(path: string, options?: InteropOptions): Promise<InteropSending & InteropReading>;
}

export interface InteropOptions {
  readonly metadata?: MetadataValues;
  readonly timeoutMs?: number;
  readonly isCompressing?: boolean;
  readonly onHeaders?: (headers: ReceivedMetadata) => void;
  readonly onTrailers?: (trailers: ReceivedMetadata) => void;
}

export interface ReceivedMetadata {
  text(name: string): string | undefined;
  bytes(name: string): Buffer | undefined;
}

export interface InteropSending {
  send(request: Buffer): Promise<void>;
  end(): void;
  cancel(): void;
}

export interface InteropReading {
  /** Undefined at the end. Throws an error with the status' `code` and `details`. */
  read(): Promise<Buffer | undefined>;
}

/** An error of either client, seen alike. */
export function statusOf(error: unknown): { readonly code: number; readonly message: string } {
  if (error instanceof GrpcStatusError) return { code: error.code, message: error.message };
  const { code, details } = error as grpcJs.ServiceError;
  return { code, message: details };
}

export function ourInteropClient(channel: Channel): InteropClient {
  const optionsOf = ({ metadata, timeoutMs, isCompressing, onHeaders, onTrailers }: InteropOptions = {}): CallOptions => ({
    ...(metadata !== undefined && { metadata: Metadata.of(metadata) }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(isCompressing !== undefined && { isCompressing }),
    ...(onHeaders !== undefined && { onHeaders: (headers) => onHeaders(received(headers)) }),
    ...(onTrailers !== undefined && { onTrailers: (trailers) => onTrailers(received(trailers)) }),
  });
  const received = (metadata: Metadata): ReceivedMetadata => ({
    text: (name) => metadata.get(name),
    bytes: (name) => metadata.getBytes(name),
  });
  return {
    unary: (path, request, options) => channel.unary(bytesMethod(path, "unary"), request, optionsOf(options)),
    clientStream: (path, options) => channel.clientStream(bytesMethod(path, "client-stream"), optionsOf(options)),
    async serverStream(path, request, options) {
      const { responses } = await channel.serverStream(bytesMethod(path, "server-stream"), request, optionsOf(options));
      return { read: () => responses.read() };
    },
    async bidiStream(path, options) {
      const call = await channel.bidiStream(bytesMethod(path, "bidi-stream"), optionsOf(options));
      return {
        send: (request) => call.send(request),
        end: () => call.end(),
        cancel: () => call.cancel(),
        read: () => call.responses.read(),
      };
    },
  };
}

const asBytes = (bytes: Buffer): Buffer => bytes;

export function grpcJsInteropClient(client: grpcJs.Client): InteropClient {
  const metadataOf = ({ metadata = {} }: InteropOptions = {}): grpcJs.Metadata => {
    const made = new grpcJs.Metadata();
    for (const [name, value] of Object.entries(metadata)) made.set(name, value as string | Buffer);
    return made;
  };
  const optionsOf = ({ timeoutMs }: InteropOptions = {}): grpcJs.CallOptions =>
    timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
  const received = (metadata: grpcJs.Metadata): ReceivedMetadata => ({
    text: (name) => metadata.get(name)[0] as string | undefined,
    bytes: (name) => metadata.get(name)[0] as Buffer | undefined,
  });
  const listen = (call: grpcJs.ClientUnaryCall | grpcJs.ClientReadableStream<Buffer>, options: InteropOptions = {}): void => {
    call.on("metadata", (metadata: grpcJs.Metadata) => options.onHeaders?.(received(metadata)));
    call.on("status", (status: grpcJs.StatusObject) => options.onTrailers?.(received(status.metadata)));
  };
  const sendingOf = (call: grpcJs.ClientWritableStream<Buffer>): InteropSending => ({
    send: (request) => new Promise((resolve) => void call.write(request, () => resolve())),
    end: () => void call.end(),
    cancel: () => call.cancel(),
  });
  const readingOf = (call: grpcJs.ClientReadableStream<Buffer>): InteropReading => {
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    return {
      async read() {
        const next = await messages.next();
        return next.done === true ? undefined : next.value;
      },
    };
  };
  return {
    unary(path, request, options) {
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
      const call = client.makeUnaryRequest(
        path,
        asBytes,
        asBytes,
        request,
        metadataOf(options),
        optionsOf(options),
        (error, response) => (error === null ? resolve(response as Buffer) : reject(error)),
      );
      listen(call, options);
      // The status comes after the response, and the trailers with it.
      return Promise.all([promise, new Promise((done) => void call.on("status", done))]).then(([response]) => response);
    },
    clientStream(path, options) {
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
      promise.catch(() => {});
      const call = client.makeClientStreamRequest(
        path,
        asBytes,
        asBytes,
        metadataOf(options),
        optionsOf(options),
        (error, response) => (error === null ? resolve(response as Buffer) : reject(error)),
      );
      listen(call, options);
      return Promise.resolve({ ...sendingOf(call), response: promise });
    },
    serverStream(path, request, options) {
      const call = client.makeServerStreamRequest(path, asBytes, asBytes, request, metadataOf(options), optionsOf(options));
      listen(call, options);
      return Promise.resolve(readingOf(call));
    },
    bidiStream(path, options) {
      const call = client.makeBidiStreamRequest(path, asBytes, asBytes, metadataOf(options), optionsOf(options));
      listen(call, options);
      return Promise.resolve({ ...sendingOf(call), ...readingOf(call) });
    },
  };
}
