import { createServer } from "node:net";
import grpcJs from "@grpc/grpc-js";
import { GrpcServer, serve } from "../../src/grpc/index.ts";
import { bytesCodec, type GrpcSide, grpcMethods } from "../grpc-methods.ts";
import { say } from "./say.ts";

/** Serves the methods of the benchmark, by our server or by grpc-js's (`argv[2]`), and says on which port. Ends by being killed. */
const side = process.argv[2] as GrpcSide;

const lengthOf = (bytes: number): Buffer => {
  const answer = Buffer.allocUnsafe(4);
  answer.writeUInt32BE(bytes >>> 0);
  return answer;
};

if (side === "ours") {
  const server = new GrpcServer({
    methods: [
      serve(grpcMethods.unary, (request) => lengthOf(request.length)),
      serve(grpcMethods.upload, async (requests) => {
        let bytes = 0;
        for await (const request of requests) bytes += request.length;
        return lengthOf(bytes);
      }),
      serve(grpcMethods.chat, async (requests, responses) => {
        for (;;) {
          const some = await requests.readAvailable();
          if (some.length === 0) return;
          let room: Promise<void> | undefined;
          for (const request of some) room = responses.send(request);
          await room;
        }
      }),
    ],
  });
  const listener = createServer({ noDelay: true }, (socket) => server.acceptSocket(socket));
  listener.listen(0, "127.0.0.1", () => {
    const address = listener.address();
    say({ port: typeof address === "object" ? address?.port : undefined });
  });
} else {
  const server = new grpcJs.Server();
  const definition = (
    path: string,
    requestStream: boolean,
    responseStream: boolean,
  ): grpcJs.MethodDefinition<Buffer, Buffer> => ({
    path,
    requestStream,
    responseStream,
    requestSerialize: bytesCodec.encode,
    requestDeserialize: bytesCodec.decode,
    responseSerialize: bytesCodec.encode,
    responseDeserialize: bytesCodec.decode,
  });
  server.addService(
    {
      unary: definition(grpcMethods.unary.path, false, false),
      upload: definition(grpcMethods.upload.path, true, false),
      chat: definition(grpcMethods.chat.path, true, true),
    },
    {
      unary: (call: grpcJs.ServerUnaryCall<Buffer, Buffer>, answer: grpcJs.sendUnaryData<Buffer>) =>
        answer(null, lengthOf(call.request.length)),
      upload: (call: grpcJs.ServerReadableStream<Buffer, Buffer>, answer: grpcJs.sendUnaryData<Buffer>) => {
        let bytes = 0;
        call.on("data", (request: Buffer) => (bytes += request.length));
        call.on("end", () => answer(null, lengthOf(bytes)));
      },
      chat: (call: grpcJs.ServerDuplexStream<Buffer, Buffer>) => {
        call.on("data", (request: Buffer) => call.write(request));
        call.on("end", () => call.end());
      },
    },
  );
  server.bindAsync("127.0.0.1:0", grpcJs.ServerCredentials.createInsecure(), (_, port) => say({ port }));
}
