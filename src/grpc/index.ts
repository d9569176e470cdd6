/** gRPC over HTTP/2, both ends. It knows nothing of logs: what serves, calls and encodes is handed in. */
export type { CallContext } from "./call-context.ts";
export type { CallOptions } from "./call-options.ts";
export {
  type BidiStreamCall,
  Channel,
  type ChannelOptions,
  type ClientStreamCall,
  connect,
  type RequestStream,
  type ResponseStream,
  type ServerStreamCall,
} from "./channel.ts";
export { Health, healthCheck, healthList, healthWatch, type ServingStatus } from "./health.ts";
export { GrpcServer, type GrpcServerObserver, type GrpcServerOptions } from "./grpc-server.ts";
export { type GrpcServerLimits, grpcServerLimits } from "./grpc-server-limits.ts";
export { GrpcStatusError, type GrpcStatusErrorOptions, isGrpcStatusError } from "./grpc-status-error.ts";
export type { EncodedMessage, MessageInPieces } from "./message-sender.ts";
export { Metadata, type MetadataValues } from "./metadata.ts";
export {
  type CallKind,
  type Handlers,
  type MessageCodec,
  type Method,
  type Requests,
  type Responses,
  serve,
  type ServedMethod,
  type StreamedResponses,
} from "./method.ts";
export { reflectionMethods } from "./reflection.ts";
export { nameOfStatus, type StatusName, statusCodes } from "./status-code.ts";
