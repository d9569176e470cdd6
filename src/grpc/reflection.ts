import { type DescriptorFile, DescriptorIndex } from "./descriptor-index.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import { type MessageCodec, type Method, serve, type ServedMethod } from "./method.ts";
import { bytesField, findField, integerField, type ProtobufField, readFields, textOf } from "./protobuf-fields.ts";
import { statusCodes } from "./status-code.ts";

/**
 * Server reflection, v1 and v1alpha, whose messages are the same: it tells tools like grpcurl which services there are and what
 * their messages look like, out of a FileDescriptorSet as `protoc` and `buf` make it.
 */
export function reflectionMethods(descriptorSet: Buffer): readonly ServedMethod[] {
  const index = new DescriptorIndex(descriptorSet);
  return ["grpc.reflection.v1", "grpc.reflection.v1alpha"].map((scope) =>
    serve(reflectionInfo(scope), async (requests, responses) => {
      // A file is sent once a stream: its asker keeps it.
      const sent = new Set<DescriptorFile>();
      for await (const request of requests) await responses.send(answerTo(request, index, sent));
    }),
  );
}

/** Requests and responses go as protobuf's bytes: what is asked is read here, once. */
export function reflectionInfo(scope: string): Method<Buffer, Buffer, "bidi-stream"> {
  const path = `/${scope}.ServerReflection/ServerReflectionInfo`;
  return { path, kind: "bidi-stream", request: asBytes, response: asBytes };
}

const asBytes: MessageCodec<Buffer> = { encode: (bytes) => bytes, decode: (bytes) => bytes };

function answerTo(request: Buffer, index: DescriptorIndex, sent: Set<DescriptorFile>): Buffer {
  const fields = readFields(request);
  const host = textOf(fields, 1);
  const answer = (number: number, message: Buffer): Buffer =>
    Buffer.concat([bytesField(1, host), bytesField(2, request), bytesField(number, message)]);
  try {
    const asked = fields.findLast(({ number }) => number >= 3 && number <= 7);
    if (asked === undefined)
      throw new GrpcStatusError("INVALID_ARGUMENT", "Cannot answer: the request asks nothing that is known");
    return answer(responseFieldOf[asked.number] ?? 0, messageFor(asked, index, sent));
  } catch (error) {
    if (!(error instanceof GrpcStatusError)) throw error;
    return answer(7, Buffer.concat([integerField(1, error.code), bytesField(2, error.message)]));
  }
}

/** Of a request's field, the field of the response that answers it. */
const responseFieldOf: Readonly<Record<number, number>> = { 3: 4, 4: 4, 5: 4, 6: 5, 7: 6 };

function messageFor({ number, bytes }: ProtobufField, index: DescriptorIndex, sent: Set<DescriptorFile>): Buffer {
  const text = bytes.toString("utf8");
  switch (number) {
    case 3:
      return filesOf(index.findByName(text), text, index, sent);
    case 4:
      return filesOf(index.findBySymbol(text), text, index, sent);
    case 5: {
      const fields = readFields(bytes);
      const type = textOf(fields, 1);
      const extension = findField(fields, 2)?.integer ?? 0;
      return filesOf(index.findByExtension(type, extension), `extension ${extension} of ${type}`, index, sent);
    }
    case 6: {
      const numbers = index.extensionNumbers(text);
      if (numbers === undefined) throw notFound(text);
      return Buffer.concat([bytesField(1, text), ...numbers.map((one) => integerField(2, one))]);
    }
    default:
      return Buffer.concat(index.services.map((name) => bytesField(1, bytesField(1, name))));
  }
}

function filesOf(file: DescriptorFile | undefined, asked: string, index: DescriptorIndex, sent: Set<DescriptorFile>): Buffer {
  if (file === undefined) throw notFound(asked);
  // The one that was asked for always, and first; of what it needs, what wasn't sent yet.
  const others = index.withDependencies(file).filter((one) => one !== file && !sent.has(one));
  for (const one of [file, ...others]) sent.add(one);
  return Buffer.concat([file, ...others].map((one) => bytesField(1, one.bytes)));
}

function notFound(asked: string): GrpcStatusError {
  return new GrpcStatusError(statusCodes.NOT_FOUND, `Cannot find ${asked.slice(0, 200)}: no file of this server has it`);
}
