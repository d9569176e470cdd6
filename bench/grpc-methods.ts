import type { CallKind, Method } from "../src/grpc/index.ts";

/** Whose implementation. */
export type GrpcSide = "ours" | "grpc-js";

/** Bytes as they are: it is the layer that is measured, not a codec. */
export const bytesCodec = { encode: (bytes: Buffer) => bytes, decode: (bytes: Buffer) => bytes };

function method<Kind extends CallKind>(name: string, kind: Kind): Method<Buffer, Buffer, Kind> {
  return { path: `/bench.Bench/${name}`, kind, request: bytesCodec, response: bytesCodec };
}

export const grpcMethods = {
  unary: method("Unary", "unary"),
  upload: method("Upload", "client-stream"),
  chat: method("Chat", "bidi-stream"),
};
